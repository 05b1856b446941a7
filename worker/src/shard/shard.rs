//! A shard that runs: its clients, its positions, its open transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Trouble;
use super::header::{Header, HeaderPartition, HeaderTopic, VERSION};
use super::isolation::Isolation;
use super::rotation::{Access, Turn};
use super::shared::{Checkpointed, Shared};
use super::tenure::Tenure;
use super::topology::Topology;
use crate::health::ThreadWatch;
use crate::kafka::{Assigned, Consumer, Producer};
use crate::metrics::ShardMetrics;
use crate::records::TopicPartition;

/// A partition that the shard reads.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The partition.
    pub partition: TopicPartition,
    /// The source it belongs to.
    pub source: usize,
    /// The next offset that is not processed.
    pub next: i64,
    /// The leader epoch of the record before.
    pub leader_epoch: i32,
    /// With Batch: the offset to read up to.
    pub end: Option<i64>,
    /// The timestamp of the last record processed; -1 before the first.
    pub timestamp: i64,
}

impl Slot {
    /// Whether a batch has reached its end here.
    pub fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// A transaction that was begun.
#[derive(Debug)]
pub struct Transaction {
    /// Bytes written in it.
    pub bytes: u64,
}

/// What was processed since the last checkpoint.
#[derive(Debug, Default)]
pub struct Progress {
    /// Source records.
    pub records: u64,
    /// Source records that were begun with, be they written or not.
    pub tried: usize,
    /// While a refused record is searched: which records those are.
    pub searched: Vec<(TopicPartition, i64)>,
    /// Timestamps of records with how many they stand for, for the latency.
    pub timestamps: Vec<(i64, u64)>,
    /// Whether positions moved, be it only over markers.
    pub moved: bool,
}

/// The header that counted when a process held a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The process that wrote it.
    pub run: String,
    /// Its sequence; 0 where there was none.
    pub sequence: u64,
}

impl Held {
    /// What counts with this header.
    pub fn of(header: Option<&Header>) -> Self {
        header.map_or_else(Self::default, |header| Self { run: header.run.clone(), sequence: header.sequence })
    }
}

/// What is known of a shard before it is taken over, and survives its runs.
#[derive(Debug)]
pub struct Identity {
    /// The shard's number.
    pub id: u32,
    /// What the shards of this worker share.
    pub shared: Arc<Shared>,
    /// Whether the shard is to be prepared, owned or let go.
    pub tenure: Arc<Tenure>,
    /// The shard's counts.
    pub metrics: ShardMetrics,
    /// Watches the shard's thread.
    pub thread: ThreadWatch,
    /// Records that brokers refused, and the search for them.
    pub isolation: Isolation,
    /// The header that counted when this process last held the shard; None before its first takeover.
    pub held: Option<Held>,
    /// What the shard's clients are made of.
    pub access: Arc<Access>,
    /// The turn to make them anew, while the shard has it.
    pub turn: Option<Turn>,
}

impl Identity {
    /// Whether the secrets of the clients have been replaced since.
    pub fn is_outdated(&self) -> bool {
        self.shared.rotation.version() != self.access.version
    }

    /// Takes the turn to make the clients anew; whether the shard has it.
    pub fn take_turn(&mut self) -> bool {
        if self.turn.is_none() {
            self.turn = self.shared.rotation.turn();
        }
        self.turn.is_some()
    }
}

/// A shard that was taken over.
#[derive(Debug)]
pub struct Shard<'a> {
    /// What outlives this run.
    pub identity: &'a mut Identity,
    /// Reads sources, and headers at a takeover.
    pub consumer: Consumer,
    /// Writes headers, and with exactly-once everything.
    pub producer: Producer,
    /// With at-least-once: a producer of output a connection.
    pub plain: Vec<Option<Producer>>,
    /// The partitions, by the consumer's slots.
    pub slots: Vec<Slot>,
    /// The source topics as the next header names them.
    pub topics: Vec<HeaderTopic>,
    /// The last committed header.
    pub committed: Header,
    /// Whether a batch was complete when the shard was taken over.
    pub was_complete: bool,
    /// The open transaction.
    pub transaction: Option<Transaction>,
    /// What the next checkpoint is about.
    pub progress: Progress,
    /// Whether nothing was read since the takeover: the first records are committed at once, so that nobody waits an
    /// interval more for a shard that was away.
    pub fresh: bool,
    /// When the last checkpoint was made.
    pub checkpointed: Instant,
    /// When all offsets of the group were last written.
    pub mirrored: Instant,
    /// The topology that slots and topics follow.
    pub topology: Arc<Topology>,
    /// Its version.
    pub topology_version: u64,
}

impl Shard<'_> {
    /// What the shards of this worker share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.identity.shared
    }

    /// The time between two checkpoints.
    pub fn interval(&self) -> Duration {
        self.identity.shared.pipeline.checkpoint_interval
    }

    /// The header of the next checkpoint.
    pub fn next_header(&self, released: bool, complete: bool) -> Header {
        let partitions = self.slots.iter().filter_map(|slot| {
            let topic = self.topics.iter().position(|topic| *topic.name == *slot.partition.topic)?;
            Some(HeaderPartition {
                topic: topic as u32,
                partition: slot.partition.partition,
                offset: slot.next,
                leader_epoch: slot.leader_epoch,
                watermark: None,
                end: slot.end,
            })
        });
        Header {
            version: VERSION,
            sequence: self.committed.sequence + 1,
            uid: self.shared().uid.clone(),
            shards: self.shared().shards,
            run: self.shared().run.clone(),
            generation: self.identity.tenure.generation(),
            released,
            chain: self.shared().pipeline.chain_hash.clone(),
            complete,
            topics: self.topics.clone(),
            partitions: partitions.collect(),
        }
    }

    /// Whether brokers have refused one of the clients.
    pub fn is_refused(&self) -> bool {
        let plain = || self.plain.iter().flatten().any(Producer::is_refused);
        self.consumer.is_refused() || self.producer.is_refused() || plain()
    }

    /// Reads all slots from their positions on.
    pub fn assign(&mut self) -> Result<(), Trouble> {
        let assigned: Vec<_> = self.slots.iter().map(assigned).collect();
        self.consumer.assign(&assigned)?;
        for index in 0..self.slots.len() {
            self.finish_if_complete(index)?;
        }
        Ok(())
    }

    /// Reads a slot no longer once its end is reached.
    pub fn finish_if_complete(&mut self, slot: usize) -> Result<(), Trouble> {
        if self.slots[slot].is_complete() {
            self.consumer.finish(slot as u32)?;
        }
        Ok(())
    }

    /// Whether a batch has reached all its ends.
    pub fn is_complete(&self) -> bool {
        self.shared().pipeline.mode == crate::plan::pipeline::Mode::Batch && self.slots.iter().all(Slot::is_complete)
    }

    /// Tells the watcher and the status where the checkpoint is.
    pub fn publish_positions(&self) {
        for slot in &self.slots {
            let position = Checkpointed { offset: slot.next, timestamp: slot.timestamp };
            self.shared().positions.set(&slot.partition, position);
        }
        self.shared().status.checkpointed(self.identity.id, self.committed.sequence);
    }
}

/// A slot as the consumer takes it.
pub fn assigned(slot: &Slot) -> Assigned {
    Assigned {
        partition: slot.partition.clone(),
        source: slot.source,
        offset: slot.next,
        leader_epoch: slot.leader_epoch,
        end: slot.end,
    }
}
