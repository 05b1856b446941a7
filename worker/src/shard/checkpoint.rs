//! Checkpoint, abort, release.
//!
//! A checkpoint is one committed transaction: output, the header, and the group's offsets as its mirror. The header
//! is the truth. Nothing to commit, no transaction.

use std::time::{Duration, Instant};

use arrow::array::{BinaryArray, Int64Array};

use super::error::Trouble;
use super::header::{Header, KEY, MirrorMark};
use super::shard::{Progress, Shard};
use super::takeover::transaction_timeout;
use crate::fault;
use crate::kafka::{Class, Place, WriteBatch};
use crate::metrics::TransactionOutcome;
use crate::plan::pipeline::Compression;

/// How long one call may take before it is tried again.
const WAIT: Duration = Duration::from_secs(5);
/// How long a position that moved only over markers waits for records to be committed with: otherwise every transaction
/// upstream would cause two here.
const MARKERS_AFTER: Duration = Duration::from_secs(5);
/// How often all offsets of an idle group are written, so that they do not expire.
const MIRROR_EVERY: Duration = Duration::from_hours(24);

impl Shard<'_> {
    /// Whether a checkpoint is due.
    pub fn checkpoint_due(&self) -> bool {
        let age = self.checkpointed.elapsed();
        let large = self.transaction.as_ref().is_some_and(|t| t.bytes >= self.shared().budget.transaction);
        let searching = self.identity.isolation.limit().is_some() && self.progress.records > 0;
        let asked = self.identity.id == 0 && self.open_question().is_some();
        let written = self.progress.records > 0 || self.transaction.is_some();
        let markers = self.progress.moved && age >= self.interval().max(MARKERS_AFTER);
        large
            || searching
            || asked
            || markers
            || (written && (self.fresh || age >= self.interval()))
            || self.mirrored.elapsed() >= MIRROR_EVERY
    }

    /// When the next checkpoint may be due, if something is to be committed.
    pub fn next_checkpoint_in(&self) -> Duration {
        self.interval().saturating_sub(self.checkpointed.elapsed())
    }

    /// Commits what was processed.
    pub fn checkpoint(&mut self) -> Result<(), Trouble> {
        let all = self.mirrored.elapsed() >= MIRROR_EVERY;
        self.commit_header(false, self.is_complete(), all)
    }

    /// Records of a topic that was made again in between must not be committed with positions of the former one.
    fn check_topics(&self) -> Result<(), Trouble> {
        if self.progress.records == 0 { Ok(()) } else { self.same_topics() }
    }

    /// Commits what was processed, with the mark that the shard is free.
    pub fn release(&mut self) -> Result<(), Trouble> {
        fault::point("release.before");
        self.commit_header(true, self.is_complete(), false)?;
        fault::point("release.after");
        Ok(())
    }

    /// One transaction: what was written since the last one, the header, and the group's offsets.
    pub fn commit_header(&mut self, released: bool, complete: bool, mirror_all: bool) -> Result<(), Trouble> {
        let question = self.open_question();
        let started = Instant::now();
        fault::point("checkpoint.begin");
        self.check_topics()?;
        self.flush_plain()?;
        self.begin()?;
        let header = self.next_header(released, complete);
        fault::point("checkpoint.before-header");
        self.write_header(&header)?;
        fault::point("checkpoint.after-header");
        let places = self.mirror(&header, mirror_all);
        let group = self.shared().pipeline.application_id.clone();
        let sent = self.producer.send_offsets(&group, &places, WAIT);
        sent.map_err(|error| self.undelivered().unwrap_or_else(|| error.into()))?;
        fault::point("checkpoint.after-offsets");
        fault::point("checkpoint.before-commit");
        self.commit()?;
        fault::point("checkpoint.after-commit");
        self.committed(header, mirror_all, started);
        if let (0, Some(question), Some(confirm)) = (self.identity.id, question, self.shared().ownership.confirm()) {
            confirm.answer(question);
        }
        // A request, or a marker of the broker's own, that comes late must not end the next transaction.
        if !released && self.producer.needs_takeover() {
            return Err(Trouble::Restart(
                "a connection was lost in the last transaction, which is committed".to_owned(),
            ));
        }
        Ok(())
    }

    /// What the other shards of this process want shard 0 to answer by a commit.
    pub fn open_question(&self) -> Option<u64> {
        self.shared().ownership.confirm()?.open_question()
    }

    /// With at-least-once, output must be safe before the positions move.
    fn flush_plain(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + transaction_timeout(self.interval());
        for index in 0..self.plain.len() {
            while let Some(producer) = &mut self.plain[index] {
                match producer.flush(WAIT) {
                    Ok(()) => break,
                    Err(error) if Instant::now() >= deadline => return Err(Trouble::Restart(error.to_string())),
                    Err(error) => tracing::debug!("{error}"),
                }
            }
        }
        if self.plain.iter().any(Option::is_some)
            && let Some(trouble) = self.undelivered()
        {
            return Err(trouble);
        }
        Ok(())
    }

    fn write_header(&mut self, header: &Header) -> Result<(), Trouble> {
        let topic = self.shared().state_topic();
        let value = header.to_bytes();
        let batch = WriteBatch {
            partitions: &[self.identity.id as i32],
            keys: &BinaryArray::from_vec(vec![KEY]),
            values: &BinaryArray::from_vec(vec![&value]),
            timestamps: &Int64Array::from(vec![-1]),
            headers: None,
        };
        let tenure = std::sync::Arc::clone(&self.identity.tenure);
        let written = self.producer.write(&topic, Compression::None, batch, &move || !tenure.asked());
        written.map_err(|error| self.undelivered().unwrap_or_else(|| error.into()))?;
        Ok(())
    }

    /// The offsets that moved, or all of them.
    fn mirror(&self, header: &Header, all: bool) -> Vec<Place> {
        let mark = MirrorMark { sequence: header.sequence, uid: header.uid.clone() }.to_text();
        let moved = |place: &Place| {
            let before = self.committed.partition(&place.partition.topic, place.partition.partition);
            all || before.is_none_or(|before| before.offset != place.offset)
        };
        let places = self.slots.iter().map(|slot| Place {
            partition: slot.partition.clone(),
            offset: slot.next,
            leader_epoch: slot.leader_epoch,
            metadata: mark.clone(),
        });
        places.filter(moved).collect()
    }

    /// Retriable: the same call again, until the coordinator would have aborted the transaction anyway.
    fn commit(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + transaction_timeout(self.interval());
        loop {
            let error = match self.producer.commit(WAIT) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(trouble) = self.undelivered() {
                return Err(trouble);
            }
            if error.class != Class::Retriable {
                return Err(error.into());
            }
            if Instant::now() >= deadline {
                self.identity.metrics.transaction(TransactionOutcome::Unknown);
                return Err(Trouble::Restart(format!("the outcome of the commit is unknown: {error}")));
            }
        }
    }

    fn committed(&mut self, header: Header, mirrored_all: bool, started: Instant) {
        let now = super::now_millis();
        let progress = std::mem::take(&mut self.progress);
        for (timestamp, records) in progress.timestamps {
            let latency = u64::try_from(now - timestamp).unwrap_or(0);
            self.identity.metrics.latency(Duration::from_millis(latency), records);
        }
        self.identity.metrics.transaction(TransactionOutcome::Committed);
        self.identity.metrics.checkpoint(started.elapsed());
        self.identity.metrics.open_transaction(None);
        self.transaction = None;
        self.fresh = false;
        self.committed = header;
        self.checkpointed = Instant::now();
        if mirrored_all {
            self.mirrored = Instant::now();
        }
        let positions = self.slots.iter().map(|slot| (slot.partition.clone(), slot.next));
        self.identity.isolation.committed(positions);
        self.publish_positions();
    }

    /// Aborts the open transaction, and goes back to the last checkpoint.
    pub fn abort(&mut self) -> Result<(), Trouble> {
        fault::point("abort.before");
        if self.transaction.take().is_some() {
            self.producer.abort(transaction_timeout(self.interval()))?;
            self.identity.metrics.transaction(TransactionOutcome::Aborted);
            self.identity.metrics.open_transaction(None);
        }
        // What failed with the transaction is not to be told again by the next one.
        self.producer.take_undelivered();
        fault::point("abort.after");
        self.progress = Progress::default();
        for slot in &mut self.slots {
            let topic = &slot.partition.topic;
            if let Some(position) = self.committed.partition(topic, slot.partition.partition) {
                (slot.next, slot.leader_epoch) = (position.offset, position.leader_epoch);
            }
        }
        self.assign()
    }
}
