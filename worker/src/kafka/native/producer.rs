//! Writing a shard's output through librdkafka, record by record.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array, ListArray};

use super::client::{Client, Events, Kind, Undelivered};
use super::list::Place;
use super::topics::{Enqueued, Outgoing, OwnedHeaders, Topic};
use crate::kafka::columns::headers_of;
use crate::kafka::error::{Code, KafkaError};
use crate::kafka::producer::WriteBatch;
use crate::metrics::Metrics;
use crate::plan::pipeline::Compression;

/// How long to wait for room in the queue before looking whether waiting still makes sense.
const ROOM: Duration = Duration::from_millis(10);

/// Topics and the queue behind them; with a transactional id also the calls of its transactions.
#[derive(Debug)]
pub(in crate::kafka) struct Producer {
    client: Arc<Client>,
    topics: HashMap<String, Topic>,
    // How many connections were closed before the transaction began.
    closed_before: AtomicU64,
}

impl Producer {
    /// A producer with these settings.
    pub(in crate::kafka) fn new(settings: &[(String, String)], metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let client = Client::new(Kind::Producer, settings, Events::new(metrics))?;
        Ok(Self { client: Arc::new(client), topics: HashMap::new(), closed_before: AtomicU64::new(0) })
    }

    /// Waits until a broker has told about the cluster; whether one has.
    pub(in crate::kafka) fn meet_brokers(&self, wait: Duration) -> bool {
        self.client.cluster_id(wait).is_some()
    }

    /// Takes the transactional id over: whatever its former owner left open is aborted, and he is fenced.
    pub(in crate::kafka) fn init_transactions(&self, wait: Duration) -> Result<(), KafkaError> {
        self.client.init_transactions(wait)
    }

    /// Begins a transaction.
    pub(in crate::kafka) fn begin(&self) -> Result<(), KafkaError> {
        self.closed_before.store(self.client.events().connections_closed(), Ordering::Relaxed);
        self.client.begin_transaction()
    }

    /// Whether a connection was closed since the transaction began. What was under way on it may still reach the broker,
    /// even behind the transaction's end: if it is aborted, in the next one of the same epoch.
    pub(in crate::kafka) fn lost_connection(&self) -> bool {
        self.client.events().connections_closed() != self.closed_before.load(Ordering::Relaxed)
    }

    /// Adds a group's offsets to the transaction.
    pub(in crate::kafka) fn send_offsets(
        &self,
        group: &str,
        places: &[Place],
        wait: Duration,
    ) -> Result<(), KafkaError> {
        self.client.send_offsets(group, places, wait).map_err(|error| self.named(error))
    }

    /// Commits; what was written is delivered first.
    pub(in crate::kafka) fn commit(&self, wait: Duration) -> Result<(), KafkaError> {
        self.client.commit_transaction(wait).map_err(|error| self.named(error))
    }

    /// What made the transaction fail before: a write does not tell, the transaction's calls do.
    fn failed_before(&self) -> Option<KafkaError> {
        let cause = self.client.begin_transaction().err()?;
        Some(self.named(KafkaError { doing: "go on with the transaction".to_owned(), ..cause }))
    }

    /// The error with the topic that it is about: librdkafka names that in its log only. Which call of the transaction
    /// came across it is chance, and says nothing.
    fn named(&self, error: KafkaError) -> KafkaError {
        match self.client.events().take_refused_partition() {
            Some(message) if error.code == Code::TopicAuthorizationFailed => {
                KafkaError { doing: "write in a transaction".to_owned(), message, ..error }
            }
            _ => error,
        }
    }

    /// Aborts.
    pub(in crate::kafka) fn abort(&self, wait: Duration) -> Result<(), KafkaError> {
        self.client.abort_transaction(wait)
    }

    /// Waits until everything written is delivered, or failed.
    pub(in crate::kafka) fn flush(&self, wait: Duration) -> Result<(), KafkaError> {
        self.client.flush(wait)
    }

    /// Serves callbacks.
    pub(in crate::kafka) fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    /// Records that could not be delivered since the last look.
    pub(in crate::kafka) fn take_undelivered(&self) -> Option<Undelivered> {
        self.client.events().take_undelivered()
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub(in crate::kafka) fn is_refused(&self) -> bool {
        self.client.events().is_refused()
    }

    /// The last error that the client told.
    pub(in crate::kafka) fn take_error(&self) -> Option<KafkaError> {
        self.client.events().take_error()
    }

    /// Gives all records to the queue; waits for room as long as `go_on` says so. Bytes written.
    pub(in crate::kafka) fn write(
        &mut self,
        topic: &str,
        compression: Compression,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), Topic::new(&self.client, topic, codec(compression))?);
        }
        let Some(handle) = self.topics.get(topic) else {
            return Err(KafkaError::new("write", Code::UnknownTopic, topic));
        };
        let mut bytes = 0;
        for row in 0..batch.partitions.len() {
            let record = outgoing(&batch, row);
            bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            self.write_one(handle, record, batch.headers, row, go_on).map_err(|error| match error.code {
                Code::State => self.failed_before().unwrap_or(error),
                _ => KafkaError { doing: format!("write to topic `{topic}` partition {}", record.partition), ..error },
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

/// librdkafka's name of a compression.
fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}
