//! Reading a shard's partitions in batches, through either client.

use std::sync::Arc;
use std::time::Duration;

use super::config::{ClientConfig, KafkaClient};
use super::error::KafkaError;
use super::native::list::Place;
use super::{native, wire};
use crate::metrics::Metrics;
use crate::records::{SourceBatch, TopicPartition};

/// The time between two questions for offsets that are not stable yet.
pub(super) const UNSTABLE: Duration = Duration::from_millis(20);
/// How long offsets are waited for that a transaction is about to change. It ends within milliseconds, or hangs: where a
/// broker has lost its marker, offsets are pending until the same transactional id commits others.
pub(super) const STABLE: Duration = Duration::from_secs(2);
/// The most records of a batch.
pub(super) const MAX_ROWS: usize = 8192;

/// A partition to read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub partition: TopicPartition,
    /// The source it belongs to.
    pub source: usize,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before `offset`, for the check of a diverging log; -1 if unknown.
    pub leader_epoch: i32,
    /// Records from this offset on are not read.
    pub end: Option<i64>,
}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Records, at most one batch a source.
    pub batches: Vec<SourceBatch>,
    /// Where partitions are read to after these batches: slot, next offset, leader epoch.
    pub positions: Vec<(u32, i64, i32)>,
    /// What else happened.
    pub events: Vec<ConsumerEvent>,
    /// Bytes of keys and values in the batches.
    pub bytes: usize,
    /// How long nothing was there.
    pub waited: Duration,
}

/// Something that is no record.
#[derive(Clone, Debug)]
pub enum ConsumerEvent {
    /// The position of a slot is gone: out of range, or on a log that diverged.
    PositionLost {
        /// The slot.
        slot: u32,
        /// What the client said.
        error: KafkaError,
    },
    /// Another error; the client goes on trying.
    Error(KafkaError),
}

/// A consumer with an assignment by hand.
#[derive(Debug)]
pub struct Consumer(Filling);

#[derive(Debug)]
enum Filling {
    Native(Box<native::consumer::Consumer>),
    Wire(Box<wire::consumer::Consumer>),
}

/// Calls the same method of either filling.
macro_rules! either {
    ($self:expr, $consumer:ident => $call:expr) => {
        match $self {
            Filling::Native($consumer) => $call,
            Filling::Wire($consumer) => $call,
        }
    };
}

impl Consumer {
    /// A consumer of the group; `prefetch` bounds what is fetched ahead, `batch` what a poll returns, both in bytes.
    pub fn new(
        config: &ClientConfig,
        client: &str,
        group: &str,
        prefetch: u64,
        batch: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        Ok(Self(match config.client() {
            KafkaClient::Librdkafka => {
                let settings = config.consumer(client, group, prefetch);
                Filling::Native(Box::new(native::consumer::Consumer::new(&settings, group, batch, metrics)?))
            }
            KafkaClient::Wire => {
                let settings = config.wire_consumer(client, prefetch)?;
                Filling::Wire(Box::new(wire::consumer::Consumer::new(settings, group, batch, metrics)?))
            }
        }))
    }

    /// A consumer for the ends of logs, which takes no time for what is not there: not for streams, since it asks brokers
    /// again and again.
    pub fn of_tails(
        config: &ClientConfig,
        client: &str,
        group: &str,
        bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        Ok(Self(match config.client() {
            KafkaClient::Librdkafka => {
                let settings = config.tail_consumer(client, group, bytes);
                Filling::Native(Box::new(native::consumer::Consumer::new(&settings, group, bytes, metrics)?))
            }
            KafkaClient::Wire => {
                let settings = config.wire_tail_consumer(client, bytes)?;
                Filling::Wire(Box::new(wire::consumer::Consumer::new(settings, group, bytes, metrics)?))
            }
        }))
    }

    /// Prepares for topics that will be assigned, so that the assignment need not wait for what can be had before.
    pub fn expect<'a>(&mut self, topics: impl Iterator<Item = &'a str>) {
        either!(&mut self.0, consumer => consumer.expect(topics));
    }

    /// Replaces the assignment; slots count from 0 in the order given.
    pub fn assign(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        either!(&mut self.0, consumer => consumer.assign(assigned))
    }

    /// Adds partitions; their slots follow the present ones.
    pub fn assign_more(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        either!(&mut self.0, consumer => consumer.assign_more(assigned))
    }

    /// Reads a slot from another place on.
    pub fn move_to(&mut self, slot: u32, offset: i64) -> Result<(), KafkaError> {
        either!(&mut self.0, consumer => consumer.move_to(slot, offset))
    }

    /// Reads a slot no longer.
    pub fn finish(&mut self, slot: u32) -> Result<(), KafkaError> {
        either!(&mut self.0, consumer => consumer.finish(slot))
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub fn is_refused(&self) -> bool {
        either!(&self.0, consumer => consumer.is_refused())
    }

    /// The last error that the client told, if any since the last look.
    pub fn take_error(&self) -> Option<KafkaError> {
        either!(&self.0, consumer => consumer.take_error())
    }

    /// The group's committed offsets of these partitions, with their metadata; -1001 where there is none. Those that a
    /// transaction is about to change are waited for, but not for ever: then it is what was committed before.
    pub fn committed(&self, partitions: &[TopicPartition], wait: Duration) -> Result<Vec<Place>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        either!(&self.0, consumer => consumer.committed(partitions, wait))
    }

    /// Records that are there, at most `max_rows`; waits up to `wait` for the first.
    pub fn poll(&mut self, wait: Duration, max_rows: usize) -> Polled {
        either!(&mut self.0, consumer => consumer.poll(wait, max_rows))
    }
}
