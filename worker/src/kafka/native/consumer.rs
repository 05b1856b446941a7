//! Reading a shard's partitions through librdkafka, message by message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Events, Kind};
use super::list::Place;
use super::messages::{KnownTopic, Message, MessageQueue};
use crate::kafka::columns::Columns;
use crate::kafka::consumer::{Assigned, ConsumerEvent, MAX_ROWS, Polled, STABLE, UNSTABLE};
use crate::kafka::error::{Code, KafkaError};
use crate::metrics::Metrics;
use crate::records::{SourceBatch, TopicPartition};

/// How long a batch is filled once there is something: long enough for batches worth their overhead, short enough
/// not to be felt beside a checkpoint's interval.
const FILL: Duration = Duration::from_millis(4);

#[derive(Debug)]
struct Slot {
    source: usize,
    next: i64,
    leader_epoch: i32,
    end: Option<i64>,
    moved: bool,
}

/// A consumer with an assignment by hand.
#[derive(Debug)]
pub(in crate::kafka) struct Consumer {
    queue: MessageQueue,
    client: Arc<Client>,
    group: String,
    known: Vec<KnownTopic>,
    partitions: Arc<[TopicPartition]>,
    slots: Vec<Slot>,
    // By the client's token of a topic: valid as long as the assignment holds the topic.
    tokens: HashMap<(usize, i32), u32>,
    last: Option<(usize, i32, u32)>,
    max_bytes: usize,
    record_bytes: usize,
}

impl Consumer {
    /// A consumer with these settings; `batch` bounds the bytes that a poll returns.
    pub(in crate::kafka) fn new(
        settings: &[(String, String)],
        group: &str,
        batch: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        let client = Arc::new(Client::new(Kind::Consumer, settings, Events::new(metrics))?);
        Ok(Self {
            queue: MessageQueue::new(Arc::clone(&client)),
            client,
            group: group.to_owned(),
            known: Vec::new(),
            partitions: Arc::from([]),
            slots: Vec::new(),
            tokens: HashMap::new(),
            last: None,
            max_bytes: usize::try_from(batch).unwrap_or(usize::MAX),
            record_bytes: 256,
        })
    }

    /// Asks for the leaders of topics that will be assigned: else the assignment would wait for them up to a second.
    pub(in crate::kafka) fn expect<'a>(&mut self, topics: impl Iterator<Item = &'a str>) {
        self.known.extend(topics.filter_map(|topic| KnownTopic::new(&self.client, topic)));
    }

    /// Replaces the assignment; slots count from 0 in the order given.
    pub(in crate::kafka) fn assign(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        self.queue.assign(&assigned.iter().map(place_of).collect::<Vec<_>>())?;
        self.slots.clear();
        self.partitions = Arc::from([]);
        self.remember(assigned);
        Ok(())
    }

    /// Adds partitions; their slots follow the present ones.
    pub(in crate::kafka) fn assign_more(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        self.queue.assign_more(&assigned.iter().map(place_of).collect::<Vec<_>>())?;
        self.remember(assigned);
        Ok(())
    }

    /// Reads a slot from another place on.
    pub(in crate::kafka) fn move_to(&mut self, slot: u32, offset: i64) -> Result<(), KafkaError> {
        let partition = self.partitions[slot as usize].clone();
        let place = Place { partition, offset, leader_epoch: -1, metadata: String::new() };
        self.queue.unassign(std::slice::from_ref(&place))?;
        self.queue.assign_more(std::slice::from_ref(&place))?;
        let slot = &mut self.slots[slot as usize];
        slot.next = offset;
        slot.leader_epoch = -1;
        self.forget_tokens();
        Ok(())
    }

    /// Reads a slot no longer.
    pub(in crate::kafka) fn finish(&mut self, slot: u32) -> Result<(), KafkaError> {
        let partition = self.partitions[slot as usize].clone();
        self.queue.unassign(&[Place { partition, offset: -1001, leader_epoch: -1, metadata: String::new() }])?;
        self.forget_tokens();
        Ok(())
    }

    fn remember(&mut self, assigned: &[Assigned]) {
        let partitions = self.partitions.iter().chain(assigned.iter().map(|a| &a.partition));
        self.partitions = partitions.cloned().collect();
        self.slots.extend(assigned.iter().map(|a| Slot {
            source: a.source,
            next: a.offset,
            leader_epoch: a.leader_epoch,
            end: a.end,
            moved: false,
        }));
        self.forget_tokens();
    }

    fn forget_tokens(&mut self) {
        self.tokens.clear();
        self.last = None;
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub(in crate::kafka) fn is_refused(&self) -> bool {
        self.client.events().is_refused()
    }

    /// The last error that the client told, if any since the last look.
    pub(in crate::kafka) fn take_error(&self) -> Option<KafkaError> {
        self.client.events().take_error()
    }

    /// The group's committed offsets of these partitions.
    pub(in crate::kafka) fn committed(
        &self,
        partitions: &[TopicPartition],
        wait: Duration,
    ) -> Result<Vec<Place>, KafkaError> {
        let places: Vec<_> = partitions
            .iter()
            .map(|partition| Place {
                partition: partition.clone(),
                offset: -1001,
                leader_epoch: -1,
                metadata: String::new(),
            })
            .collect();
        let (begun, deadline) = (Instant::now(), Instant::now() + wait);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // librdkafka asks again by itself while they are not stable, so a call is only as long as that is waited for.
            let patience = STABLE.saturating_sub(begun.elapsed());
            let call = if patience.is_zero() { left } else { left.min(patience) };
            let answers = self.client.group_offsets(&self.group, &places, !patience.is_zero(), call.max(UNSTABLE));
            match answers.and_then(|places| places.into_iter().collect()) {
                // A transaction over the offsets is being ended, or their log is being read.
                Err(error) if is_passing(&error) && left > UNSTABLE => std::thread::sleep(UNSTABLE),
                outcome => return outcome,
            }
        }
    }

    /// Records that are there, at most `max_rows`; waits up to `wait` for the first.
    pub(in crate::kafka) fn poll(&mut self, wait: Duration, max_rows: usize) -> Polled {
        let limit = (self.max_bytes / self.record_bytes).clamp(1, MAX_ROWS).min(max_rows.max(1));
        let mut collecting = Collecting::default();
        // librdkafka's batch call waits until the batch is full, so the first record is waited for alone.
        let started = Instant::now();
        let first = self.queue_poll(1, wait, limit, &mut collecting);
        let waited = started.elapsed();
        if first > 0 && limit > 1 {
            self.queue_poll(limit - 1, FILL, limit, &mut collecting);
        }
        Polled { waited, ..self.finish_poll(collecting) }
    }

    fn queue_poll(&mut self, limit: usize, wait: Duration, rows: usize, collecting: &mut Collecting) -> usize {
        let mut buffer = Resolver {
            partitions: &self.partitions,
            slots: &mut self.slots,
            tokens: &mut self.tokens,
            last: &mut self.last,
        };
        let messages = self.queue.poll(limit, wait);
        let capacity = (rows, rows * self.record_bytes);
        for message in messages.iter() {
            buffer.take(message, capacity, collecting);
        }
        messages.len()
    }

    fn finish_poll(&mut self, collecting: Collecting) -> Polled {
        let bytes: usize = collecting.columns.iter().map(Columns::bytes).sum();
        let batches: Vec<_> = collecting.columns.into_iter().map(|columns| columns.finish(&self.partitions)).collect();
        let rows: usize = batches.iter().map(SourceBatch::len).sum();
        if let Some(average) = bytes.checked_div(rows) {
            // Follows growing records at once and shrinking ones slowly: the bound is on bytes.
            let now = average + 32;
            self.record_bytes = now.max((self.record_bytes * 7 + now) / 8);
        }
        let mut positions = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.moved) {
                positions.push((index as u32, slot.next, slot.leader_epoch));
            }
        }
        Polled { batches, positions, events: collecting.events, bytes, waited: Duration::ZERO }
    }
}

#[derive(Default)]
struct Collecting {
    columns: Vec<Columns>,
    events: Vec<ConsumerEvent>,
}

impl Collecting {
    fn columns(&mut self, source: usize, capacity: (usize, usize)) -> &mut Columns {
        let found = self.columns.iter().position(|columns| columns.source() == source);
        let index = found.unwrap_or_else(|| {
            self.columns.push(Columns::with_capacity(source, capacity.0, capacity.1));
            self.columns.len() - 1
        });
        &mut self.columns[index]
    }
}

/// Finds the slot of a message and moves its position.
struct Resolver<'a> {
    partitions: &'a [TopicPartition],
    slots: &'a mut [Slot],
    tokens: &'a mut HashMap<(usize, i32), u32>,
    last: &'a mut Option<(usize, i32, u32)>,
}

impl Resolver<'_> {
    fn take(&mut self, message: Message<'_>, capacity: (usize, usize), collecting: &mut Collecting) {
        if message.is_record() {
            self.record(message, capacity, collecting);
        } else if message.is_end() {
            if let Some(slot) = self.slot(message) {
                self.advance(slot, message.offset(), None);
            }
        } else {
            let error = message.error();
            let lost = matches!(error.code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation);
            collecting.events.push(match self.slot(message) {
                Some(slot) if lost => ConsumerEvent::PositionLost { slot, error },
                _ => ConsumerEvent::Error(error),
            });
        }
    }

    fn record(&mut self, message: Message<'_>, capacity: (usize, usize), collecting: &mut Collecting) {
        let Some(index) = self.slot(message) else { return };
        let slot = &self.slots[index as usize];
        // After a seek the client may still hand out what it had fetched before.
        if message.offset() < slot.next {
            return;
        }
        if let Some(end) = slot.end.filter(|end| message.offset() >= *end) {
            self.advance(index, end, None);
            return;
        }
        let columns = collecting.columns(slot.source, capacity);
        match message.headers() {
            None => columns.push(index, message.row()),
            Some(headers) => columns.push_with_headers(index, message.row(), headers.iter()),
        }
        self.advance(index, message.offset() + 1, Some(message.leader_epoch()));
    }

    fn advance(&mut self, slot: u32, next: i64, leader_epoch: Option<i32>) {
        let slot = &mut self.slots[slot as usize];
        let next = slot.end.map_or(next, |end| next.min(end));
        if next > slot.next {
            slot.next = next;
            slot.leader_epoch = leader_epoch.unwrap_or(slot.leader_epoch);
            slot.moved = true;
        }
    }

    fn slot(&mut self, message: Message<'_>) -> Option<u32> {
        let (token, partition) = (message.topic_token(), message.partition());
        if let Some((last_token, last_partition, slot)) = *self.last
            && (last_token, last_partition) == (token, partition)
        {
            return Some(slot);
        }
        let slot = if let Some(slot) = self.tokens.get(&(token, partition)) {
            *slot
        } else {
            let slot = self.find(&message.topic(), partition)?;
            self.tokens.insert((token, partition), slot);
            slot
        };
        *self.last = Some((token, partition, slot));
        Some(slot)
    }

    fn find(&self, topic: &str, partition: i32) -> Option<u32> {
        let found = self.partitions.iter().position(|p| p.partition == partition && &*p.topic == topic);
        found.map(|slot| slot as u32)
    }
}

/// Whether the coordinator will answer the same question in a moment.
fn is_passing(error: &KafkaError) -> bool {
    matches!(error.code, Code::UnstableOffsetCommit | Code::CoordinatorLoadInProgress | Code::OperationTimedOut)
}

fn place_of(assigned: &Assigned) -> Place {
    Place {
        partition: assigned.partition.clone(),
        offset: assigned.offset,
        leader_epoch: assigned.leader_epoch,
        metadata: String::new(),
    }
}
