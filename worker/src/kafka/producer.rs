//! Writing a shard's output in batches, in a transaction or without, through either client.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BinaryArray, Int64Array, ListArray};

use super::config::{ClientConfig, KafkaClient};
use super::error::KafkaError;
use super::native::client::Undelivered;
use super::native::list::Place;
use super::{native, wire};
use crate::metrics::Metrics;
use crate::plan::pipeline::Compression;

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

/// Writes; with a transactional id also the calls of its transactions.
#[derive(Debug)]
pub struct Producer(Filling);

#[derive(Debug)]
enum Filling {
    Native(native::producer::Producer),
    Wire(Box<wire::producer::Producer>),
}

/// Calls the same method of either filling.
macro_rules! either {
    ($self:expr, $producer:ident => $call:expr) => {
        match $self {
            Filling::Native($producer) => $call,
            Filling::Wire($producer) => $call,
        }
    };
}

impl Producer {
    /// A producer of transactions, whose transactional id is not taken over yet.
    pub fn transactional(
        config: &ClientConfig,
        client: &str,
        transactional_id: &str,
        timeout: Duration,
        room: Room,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        Ok(Self(match config.client() {
            KafkaClient::Librdkafka => {
                let settings = config.transactional_producer(client, transactional_id, timeout, room.queue, room.batch);
                Filling::Native(native::producer::Producer::new(&settings, metrics)?)
            }
            KafkaClient::Wire => {
                let settings = config.wire_producer(client, Some((transactional_id, timeout)), room)?;
                Filling::Wire(Box::new(wire::producer::Producer::new(settings, metrics)?))
            }
        }))
    }

    /// An idempotent producer without transactions: output of at-least-once pipelines.
    pub fn idempotent(
        config: &ClientConfig,
        client: &str,
        room: Room,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        Ok(Self(match config.client() {
            KafkaClient::Librdkafka => {
                let settings = config.plain_producer(client, room.queue, room.batch);
                Filling::Native(native::producer::Producer::new(&settings, metrics)?)
            }
            KafkaClient::Wire => {
                let settings = config.wire_producer(client, None, room)?;
                Filling::Wire(Box::new(wire::producer::Producer::new(settings, metrics)?))
            }
        }))
    }

    /// Waits until a broker is met; whether one is.
    pub fn meet_brokers(&mut self, wait: Duration) -> bool {
        either!(&mut self.0, producer => producer.meet_brokers(wait))
    }

    /// Takes the transactional id over: whatever its former owner left open is aborted, and he is fenced.
    pub fn init_transactions(&mut self, wait: Duration) -> Result<(), KafkaError> {
        either!(&mut self.0, producer => producer.init_transactions(wait))
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<(), KafkaError> {
        either!(&mut self.0, producer => producer.begin())
    }

    /// Whether the open transaction can be aborted and the producer be used on: as long as no connection was lost since it
    /// began. What was under way on it may still reach the broker, even behind the transaction's end.
    pub fn can_abort(&self) -> bool {
        match &self.0 {
            Filling::Native(producer) => !producer.lost_connection(),
            Filling::Wire(producer) => !producer.is_tainted(),
        }
    }

    /// Whether the next transaction needs another epoch, behind one that was committed: a connection was closed since it
    /// began, and what was under way on it may still arrive. On the wire the producer sees to that by itself.
    pub fn needs_takeover(&self) -> bool {
        match &self.0 {
            Filling::Native(producer) => producer.lost_connection(),
            Filling::Wire(_) => false,
        }
    }

    /// Adds a group's offsets to the transaction.
    pub fn send_offsets(&mut self, group: &str, places: &[Place], wait: Duration) -> Result<(), KafkaError> {
        if places.is_empty() {
            return Ok(());
        }
        either!(&mut self.0, producer => producer.send_offsets(group, places, wait))
    }

    /// Commits; what was written is delivered first.
    pub fn commit(&mut self, wait: Duration) -> Result<(), KafkaError> {
        either!(&mut self.0, producer => producer.commit(wait))
    }

    /// Aborts.
    pub fn abort(&mut self, wait: Duration) -> Result<(), KafkaError> {
        either!(&mut self.0, producer => producer.abort(wait))
    }

    /// Waits until everything written is delivered, or failed.
    pub fn flush(&mut self, wait: Duration) -> Result<(), KafkaError> {
        either!(&mut self.0, producer => producer.flush(wait))
    }

    /// Goes on with what is under way, without waiting.
    pub fn poll(&mut self) {
        either!(&mut self.0, producer => producer.poll());
    }

    /// How long nobody has to call [`Self::poll`]; None if nothing waits for that. librdkafka has a thread of its own.
    pub fn rest(&self) -> Option<Duration> {
        match &self.0 {
            Filling::Native(_) => None,
            Filling::Wire(producer) => producer.rest(),
        }
    }

    /// Records that could not be delivered since the last look.
    pub fn take_undelivered(&mut self) -> Option<Undelivered> {
        either!(&mut self.0, producer => producer.take_undelivered())
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub fn is_refused(&self) -> bool {
        either!(&self.0, producer => producer.is_refused())
    }

    /// The last error that the client told.
    pub fn take_error(&self) -> Option<KafkaError> {
        either!(&self.0, producer => producer.take_error())
    }

    /// Takes all records; waits for room as long as `go_on` says so. Bytes written.
    pub fn write(
        &mut self,
        topic: &str,
        compression: Compression,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        either!(&mut self.0, producer => producer.write(topic, compression, batch, go_on))
    }
}
