//! Writing a shard's output in batches, in a transaction or without.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, BinaryArray, Int64Array, ListArray};

use super::columns::headers_of;
use super::config::ClientConfig;
use super::error::{Code, KafkaError};
use super::native::client::{Client, Events, Kind, Undelivered};
use super::native::list::Place;
use super::native::producer::{Enqueued, Outgoing, OwnedHeaders, Topic};
use crate::metrics::Metrics;

/// How long to wait for room in the queue before looking whether waiting still makes sense.
const ROOM: Duration = Duration::from_millis(10);

/// Bounds of a producer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What may wait to be written.
    pub queue: u64,
    /// What is written at once: no more than any topic takes.
    pub batch: u64,
}

/// Records for one topic, as columns of equal length.
#[derive(Clone, Copy, Debug)]
pub struct WriteBatch<'a> {
    /// Each record's partition.
    pub partitions: &'a [i32],
    /// Each record's key.
    pub keys: &'a BinaryArray,
    /// Each record's value.
    pub values: &'a BinaryArray,
    /// Each record's timestamp in milliseconds since 1970; -1 lets the client set it.
    pub timestamps: &'a Int64Array,
    /// Each record's headers.
    pub headers: Option<&'a ListArray>,
}

/// Topics and the queue behind them.
#[derive(Debug)]
struct Writer {
    client: Arc<Client>,
    topics: HashMap<String, Topic>,
}

impl Writer {
    fn new(settings: &[(String, String)], metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let client = Client::new(Kind::Producer, settings, Events::new(metrics))?;
        Ok(Self { client: Arc::new(client), topics: HashMap::new() })
    }

    /// Gives all records to the queue; waits for room as long as `go_on` says so. Bytes written.
    fn write(
        &mut self,
        topic: &str,
        compression: &str,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), Topic::new(&self.client, topic, compression)?);
        }
        let Some(handle) = self.topics.get(topic) else {
            return Err(KafkaError::new("write", Code::UnknownTopic, topic));
        };
        let mut bytes = 0;
        for row in 0..batch.partitions.len() {
            let record = outgoing(&batch, row);
            bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            self.write_one(handle, record, batch.headers, row, go_on).map_err(|error| KafkaError {
                doing: format!("write to topic `{topic}` partition {}", record.partition),
                ..error
            })?;
        }
        Ok(bytes)
    }

    fn write_one(
        &self,
        topic: &Topic,
        record: Outgoing<'_>,
        headers: Option<&ListArray>,
        row: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), KafkaError> {
        loop {
            let headers = headers.and_then(|headers| owned_headers(headers, row));
            match topic.produce(record, headers) {
                Ok(Enqueued::Yes) => return Ok(()),
                Ok(Enqueued::QueueFull) => self.client.poll(ROOM),
                Err((error, _)) => return Err(error),
            }
            if self.client.events().has_undelivered() || !go_on() {
                return Err(KafkaError::new(
                    "write",
                    Code::QueueFull,
                    "the queue is full and its records cannot be delivered",
                ));
            }
        }
    }
}

fn outgoing<'a>(batch: &WriteBatch<'a>, row: usize) -> Outgoing<'a> {
    Outgoing {
        partition: batch.partitions[row],
        key: batch.keys.is_valid(row).then(|| batch.keys.value(row)),
        value: batch.values.is_valid(row).then(|| batch.values.value(row)),
        timestamp: batch.timestamps.value(row),
    }
}

fn owned_headers(headers: &ListArray, row: usize) -> Option<OwnedHeaders> {
    if headers.value_length(row) == 0 {
        return None;
    }
    let entries = headers_of(headers, row);
    Some(OwnedHeaders::of(entries.iter().map(|(name, value)| (name.as_str(), value.as_deref()))))
}

/// A producer of a shard's transactions.
#[derive(Debug)]
pub struct TransactionalProducer {
    writer: Writer,
}

impl TransactionalProducer {
    /// A producer with a transactional id, which is not taken over yet.
    pub fn new(
        config: &ClientConfig,
        client: &str,
        transactional_id: &str,
        timeout: Duration,
        room: Room,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        let settings = config.transactional_producer(client, transactional_id, timeout, room.queue, room.batch);
        Ok(Self { writer: Writer::new(&settings, metrics)? })
    }

    /// Takes the transactional id over: whatever its former owner left open is aborted, and he is fenced.
    pub fn init_transactions(&self, wait: Duration) -> Result<(), KafkaError> {
        self.writer.client.init_transactions(wait)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), KafkaError> {
        self.writer.client.begin_transaction()
    }

    /// Writes records in the open transaction. Waits for room as long as `go_on` says so.
    pub fn write(
        &mut self,
        topic: &str,
        compression: &str,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        self.writer.write(topic, compression, batch, go_on)
    }

    /// Waits until everything written is delivered, or failed.
    pub fn flush(&self, wait: Duration) -> Result<(), KafkaError> {
        self.writer.client.flush(wait)
    }

    /// Adds a group's offsets to the transaction.
    pub fn send_offsets(&self, group: &str, places: &[Place], wait: Duration) -> Result<(), KafkaError> {
        if places.is_empty() { Ok(()) } else { self.writer.client.send_offsets(group, places, wait) }
    }

    /// Commits.
    pub fn commit(&self, wait: Duration) -> Result<(), KafkaError> {
        self.writer.client.commit_transaction(wait)
    }

    /// Aborts.
    pub fn abort(&self, wait: Duration) -> Result<(), KafkaError> {
        self.writer.client.abort_transaction(wait)
    }

    /// Serves callbacks.
    pub fn poll(&self) {
        self.writer.client.poll(Duration::ZERO);
    }

    /// Records that could not be delivered since the last look.
    pub fn take_undelivered(&self) -> Option<Undelivered> {
        self.writer.client.events().take_undelivered()
    }

    /// The last error that the client told.
    pub fn take_error(&self) -> Option<KafkaError> {
        self.writer.client.events().take_error()
    }
}

/// An idempotent producer without transactions: output of at-least-once pipelines.
#[derive(Debug)]
pub struct PlainProducer {
    writer: Writer,
}

impl PlainProducer {
    /// A producer.
    pub fn new(config: &ClientConfig, client: &str, room: Room, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        Ok(Self { writer: Writer::new(&config.plain_producer(client, room.queue, room.batch), metrics)? })
    }

    /// Writes records. Waits for room as long as `go_on` says so.
    pub fn write(
        &mut self,
        topic: &str,
        compression: &str,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        self.writer.write(topic, compression, batch, go_on)
    }

    /// Waits until everything written is delivered; an error if anything was not.
    pub fn flush(&self, wait: Duration) -> Result<(), KafkaError> {
        self.writer.client.flush(wait)
    }

    /// Serves callbacks.
    pub fn poll(&self) {
        self.writer.client.poll(Duration::ZERO);
    }

    /// Records that could not be delivered since the last look.
    pub fn take_undelivered(&self) -> Option<Undelivered> {
        self.writer.client.events().take_undelivered()
    }
}
