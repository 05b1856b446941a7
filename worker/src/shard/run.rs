//! The loop of a shard: poll → process → write → checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Trouble;
use super::header::topic_id;
use super::output::Poison;
use super::resolve::position_after_loss;
use super::shard::{Shard, Slot};
use super::status::ShardState;
use super::takeover::{header_topics, new_slots, stop_if_last, transaction_timeout};
use crate::kafka::{ConsumerEvent, DescribedTopic, Polled, Producer};
use crate::records::{Processed, SourceBatch, TopicPartition};

/// The longest wait for records: requests to stop and new topologies are looked at in between.
const MAX_WAIT: Duration = Duration::from_millis(200);
/// How long our own code may work on one batch before `/healthz` says that it hangs.
const BATCH_DEADLINE: Duration = Duration::from_mins(1);
/// The most latencies kept for a checkpoint.
const MAX_SAMPLES: usize = 1024;

/// How a run ended without trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked; the shard is released.
    Released,
    /// A batch has reached its ends.
    Complete,
}

impl Shard<'_> {
    /// Runs until somebody asks to stop, or a batch is complete.
    pub fn run(&mut self) -> Result<Ended, Trouble> {
        loop {
            if self.identity.tenure.asked() {
                self.release()?;
                return Ok(Ended::Released);
            }
            match self.step() {
                Ok(()) => {}
                Err(Trouble::Refused(error)) => self.isolate(&error.to_string())?,
                Err(other) => return Err(other),
            }
            if self.is_complete() {
                return Ok(Ended::Complete);
            }
        }
    }

    /// One turn: what is there is processed, and committed when a checkpoint is due.
    fn step(&mut self) -> Result<(), Trouble> {
        self.follow_secrets()?;
        self.follow_topology()?;
        let polled = self.poll();
        let started = Instant::now();
        self.handle_events(&polled.events)?;
        self.process(&polled)?;
        if self.checkpoint_due() || self.reached_ends() {
            self.checkpoint()?;
        }
        self.producer.poll();
        self.plain.iter_mut().flatten().for_each(Producer::poll);
        self.identity.metrics.busy(started.elapsed());
        Ok(())
    }

    fn poll(&mut self) -> Polled {
        let pending = self.progress.records > 0;
        let wait = if pending { self.next_checkpoint_in().min(MAX_WAIT) } else { MAX_WAIT };
        let producers = self.plain.iter().flatten().chain([&self.producer]);
        let wait = producers.filter_map(Producer::rest).min().map_or(wait, |rest| rest.min(wait));
        let limit = self.identity.isolation.limit().unwrap_or(usize::MAX);
        let started = Instant::now();
        let polled = self.consumer.poll(wait, limit);
        self.identity.metrics.idle(polled.waited);
        self.identity.metrics.busy(started.elapsed().saturating_sub(polled.waited));
        polled
    }

    fn process(&mut self, polled: &Polled) -> Result<(), Trouble> {
        for (index, batch) in polled.batches.iter().enumerate() {
            if let Some(poison) = self.process_batch(batch)? {
                return self.stop_before(&poison, batch, &polled.batches[index + 1..], polled);
            }
        }
        self.advance(&polled.positions)
    }

    fn process_batch(&mut self, batch: &SourceBatch) -> Result<Option<Poison>, Trouble> {
        let pipeline = Arc::clone(&self.shared().pipeline);
        let source = &pipeline.sources[batch.source];
        self.try_records(batch);
        let processed = self.run_chain(batch);
        if let Some(poison) = self.write(batch, processed)? {
            // The records before it are good: they are committed before the stop.
            if poison.row > 0 {
                let before = batch.slice(0, poison.row);
                let processed = self.run_chain(&before);
                self.write(&before, processed)?;
                self.note(&source.name, &before);
            }
            return Ok(Some(poison));
        }
        self.note(&source.name, batch);
        Ok(None)
    }

    fn try_records(&mut self, batch: &SourceBatch) {
        self.progress.tried += batch.len();
        if self.identity.isolation.limit().is_some() {
            let records = (0..batch.len()).map(|row| (batch.partition(row).clone(), batch.offsets.value(row)));
            self.progress.searched.extend(records);
        }
    }

    fn run_chain(&self, batch: &SourceBatch) -> Processed {
        let _working = self.identity.thread.enter("process", BATCH_DEADLINE);
        let pipeline = &self.shared().pipeline;
        let now = super::now_millis() * 1000;
        let node = pipeline.sinks.first().map_or_else(|| Arc::from("sink"), |sink| Arc::clone(&sink.name));
        let refused = self.identity.isolation.known(batch, &node);
        if refused.is_empty() {
            return pipeline.chain.process(batch, now);
        }
        super::without::process_without(&pipeline.chain, batch, now, refused)
    }

    fn note(&mut self, source: &str, batch: &SourceBatch) {
        let bytes = batch.values.value_data().len() + batch.keys.value_data().len();
        self.identity.metrics.batch_in(source, batch.len() as u64, bytes as u64);
        self.identity.metrics.batch_rows(batch.len() as u64);
        self.progress.records += batch.len() as u64;
        let mut row = 0;
        for run in batch.slots.values().chunk_by(|one, next| one == next) {
            row += run.len();
            self.slots[run[0] as usize].timestamp = batch.timestamps.value(row - 1);
        }
        let timestamp = batch.timestamps.value(batch.len() / 2);
        if timestamp >= 0 && self.progress.timestamps.len() < MAX_SAMPLES {
            self.progress.timestamps.push((timestamp, batch.len() as u64));
        }
    }

    fn advance(&mut self, positions: &[(u32, i64, i32)]) -> Result<(), Trouble> {
        for (slot, next, leader_epoch) in positions {
            let index = *slot as usize;
            let slot = &mut self.slots[index];
            (slot.next, slot.leader_epoch) = (*next, *leader_epoch);
            self.progress.moved = true;
            self.finish_if_complete(index)?;
        }
        Ok(())
    }

    /// Whether the ends of a batch were reached since the last checkpoint.
    fn reached_ends(&self) -> bool {
        !self.committed.complete && self.is_complete()
    }

    /// With `Fail`: commits everything before the record, and stops.
    fn stop_before(
        &mut self,
        poison: &Poison,
        batch: &SourceBatch,
        rest: &[SourceBatch],
        polled: &Polled,
    ) -> Result<(), Trouble> {
        let unprocessed = std::iter::once(batch.slice(poison.row, batch.len() - poison.row)).chain(rest.to_vec());
        let mut first: BTreeMap<u32, i64> = BTreeMap::new();
        for batch in unprocessed {
            for row in 0..batch.len() {
                first.entry(batch.slots.value(row)).or_insert_with(|| batch.offsets.value(row));
            }
        }
        let positions: Vec<_> = polled
            .positions
            .iter()
            .map(|(slot, next, epoch)| (*slot, first.get(slot).copied().unwrap_or(*next), *epoch))
            .collect();
        self.advance(&positions)?;
        self.checkpoint()?;
        Err(Trouble::Stop(poison.message.clone()))
    }

    fn handle_events(&mut self, events: &[ConsumerEvent]) -> Result<(), Trouble> {
        for event in events {
            match event {
                ConsumerEvent::PositionLost { slot, error } => self.lost_position(*slot, &error.to_string())?,
                ConsumerEvent::Error(error) if error.is_denied() => return Err(Trouble::Denied(error.clone())),
                ConsumerEvent::Error(error) => tracing::warn!(shard = self.identity.id, "{error}"),
            }
        }
        Ok(())
    }

    fn lost_position(&mut self, slot: u32, why: &str) -> Result<(), Trouble> {
        let index = slot as usize;
        self.same_topics()?;
        let offset = match position_after_loss(self.identity, &self.slots[index], why) {
            Err(Trouble::Stop(why)) => {
                return Err(stop_if_last(self.identity, &mut self.consumer, Some(&self.committed), why));
            }
            offset => offset?,
        };
        self.consumer.move_to(slot, offset)?;
        (self.slots[index].next, self.slots[index].leader_epoch) = (offset, -1);
        self.progress.moved = true;
        Ok(())
    }

    /// Whether all topics are still those that the positions are of: one that was deleted and made again has offsets
    /// that mean other records. The takeover knows what follows from that.
    pub fn same_topics(&self) -> Result<(), Trouble> {
        let names: BTreeSet<String> = self.slots.iter().map(|slot| slot.partition.topic.to_string()).collect();
        let names: Vec<String> = names.into_iter().collect();
        for (name, described) in self.describe(&names)? {
            let known = self.topics.iter().find(|known| known.name == name);
            let now = described?;
            if known.is_none_or(|known| known.id != topic_id(&now.id)) {
                return Err(Trouble::Restart(format!("topic `{name}` was deleted and made again")));
            }
        }
        Ok(())
    }

    /// Brokers that are away are waited for as long as the transaction may stay open.
    fn describe(&self, names: &[String]) -> Result<Vec<DescribedTopic>, Trouble> {
        let shared = self.shared();
        let deadline = Instant::now() + transaction_timeout(self.interval());
        loop {
            match shared.admin().describe_topics(names) {
                Ok(described) => return Ok(described),
                Err(error) if !error.is_unavailable() || Instant::now() >= deadline => return Err(error.into()),
                Err(error) => tracing::debug!("{error}"),
            }
            if self.identity.tenure.sleep(Duration::from_millis(100)) {
                return Err(Trouble::Asked);
            }
        }
    }

    /// Ends the run when the secrets of its clients have been replaced: in its turn, after a checkpoint; at once if
    /// brokers refuse the clients, which then cannot make one.
    pub fn follow_secrets(&mut self) -> Result<(), Trouble> {
        if !self.identity.is_outdated() {
            return Ok(());
        }
        if !self.is_refused() {
            if !self.identity.take_turn() {
                return Ok(());
            }
            if self.progress.moved || self.progress.records > 0 || self.transaction.is_some() {
                self.checkpoint()?;
            }
        }
        Err(Trouble::Renew)
    }

    /// Reads partitions that are new, and ends the run if a topic is another one.
    fn follow_topology(&mut self) -> Result<(), Trouble> {
        let (version, topology) = self.shared().topology.get();
        if version == self.topology_version {
            return Ok(());
        }
        match topology.missing(&self.shared().pipeline) {
            Some(what) => self.shared().set_state(self.identity.id, ShardState::Waiting(what)),
            None => self.shared().set_state(self.identity.id, ShardState::Running),
        }
        let sources = topology.sources(&self.shared().pipeline);
        for topic in &sources {
            let known = self.topics.iter().find(|known| *known.name == *topic.name);
            if known.is_some_and(|known| known.id != topic.id) {
                return Err(Trouble::Restart(format!("topic `{}` was deleted and made again", topic.name)));
            }
        }
        let more = new_slots(self, &sources)?;
        self.add_slots(more)?;
        // Topics that are missing for now keep their place in the header.
        for topic in header_topics(&sources) {
            match self.topics.iter_mut().find(|known| known.name == topic.name) {
                Some(known) => *known = topic,
                None => self.topics.push(topic),
            }
        }
        (self.topology, self.topology_version) = (topology, version);
        Ok(())
    }

    fn add_slots(&mut self, more: Vec<Slot>) -> Result<(), Trouble> {
        if more.is_empty() {
            return Ok(());
        }
        for slot in &more {
            tracing::info!(shard = self.identity.id, partition = %slot.partition, offset = slot.next, "reads a new partition");
        }
        let assigned: Vec<_> = more.iter().map(super::shard::assigned).collect();
        self.slots.extend(more);
        self.consumer.assign_more(&assigned)?;
        self.progress.moved = true;
        Ok(())
    }

    /// A broker refused a record: back to the last checkpoint, and on in smaller steps.
    ///
    /// The only abort that does not end the run. It is safe as long as everything that was sent was answered: a batch that
    /// is still on its way would belong to the next transaction, which has the same epoch.
    fn isolate(&mut self, words: &str) -> Result<(), Trouble> {
        let positions: Vec<(TopicPartition, i64)> =
            self.slots.iter().map(|slot| (slot.partition.clone(), slot.next)).collect();
        let (tried, searched) = (self.progress.tried, std::mem::take(&mut self.progress.searched));
        self.identity.isolation.refused(tried, &searched, positions.into_iter(), words);
        if !self.producer.can_abort() {
            return Err(Trouble::Restart(format!("{words}; a connection was lost meanwhile")));
        }
        tracing::warn!(shard = self.identity.id, "back to checkpoint {}: {words}", self.committed.sequence);
        self.abort()
    }
}
