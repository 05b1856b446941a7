//! Fetching a shard's partitions, as a state machine.
//!
//! ```text
//!              next ─► Action: ask for metadata │ fetch from a broker
//!   Fetcher ◄─ metadata, fetched, failed        (answers, in any order)
//!              poll ─► columns, positions, events
//! ```
//!
//! Each broker has one request under way; it asks for all partitions that the broker leads and that have room. The next
//! one goes out as soon as the answer is here, from where that ends, so that the network works while the shard does.
//!
//! **Guarantees.** What is handed out of a partition is in its order, without gaps and without repetition, and only what
//! is committed. A position moves only over what was handed out or is nothing to hand out. What waits, and what was asked
//! for, is bounded by the prefetch, but for single batches that are larger. Partitions that waited longest come first in a
//! request, since a broker fills its answer in that order. An answer to a question that no longer counts (the slot was
//! moved, the broker's connection was lost) changes nothing.
//!
//! **Closest replicas** (KIP-392). In a rack, a partition's leader may name a follower that is closer. It is read from for
//! a while, and then the leader is asked again. A follower may lag behind and know neither offset nor epoch, so what it
//! says of lost positions counts for nothing: the leader is asked, as behind any other error of a follower.
//!
//! **Assumptions.** The caller carries out actions and reports each one's end; it calls `poll` again and again.

mod event;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::fetch_request::FetchTopic;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

pub use event::{FetchError, FetchEvent, Lost};

use super::backoff::Backoff;
use super::batch::{Decompressor, Position, Room, Target};
use super::cluster::{Cluster, Endpoint, Leader};
use crate::kafka::columns::Columns;
use crate::records::{SourceBatch, TopicPartition};
use slot::Slot;

/// Committed records only.
const READ_COMMITTED: i8 = 1;
/// Without a session: each request names all that it wants.
const NO_SESSION: i32 = -1;
/// Arrow's offsets have 32 bits, and names of headers may grow when they are made UTF-8; so much and one more batch are
/// well below that.
const MOST_BYTES: usize = 256 << 20;

/// How long a follower is read from before the leader is asked again: as long as Kafka's own client does by default.
const CLOSEST: Duration = Duration::from_mins(5);

/// The first batch begins with room for so many bytes, and grows.
const FIRST_ROOM: usize = 64 << 10;
/// What a batch may have more than the one before, without growing.
const SPARE: usize = 1 << 10;

/// How long a partition rests whose batch could not be read.
const MALFORMED: Duration = Duration::from_secs(1);

/// What a fetcher may do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a broker may wait for records.
    pub max_wait: Duration,
    /// The bytes that it waits for.
    pub least: usize,
    /// The bytes that may wait to be handed out, together with what was asked for.
    pub prefetch: usize,
    /// The bytes of one response.
    pub response: usize,
    /// The bytes of one partition in it.
    pub partition: usize,
    /// The bytes of one decompressed batch.
    pub batch: usize,
    /// Whether headers are read.
    pub headers: bool,
}

impl Settings {
    /// Settings that follow from the bytes that may be fetched ahead.
    pub fn for_prefetch(prefetch: usize) -> Self {
        let prefetch = prefetch.clamp(1 << 20, 1 << 30);
        Self {
            max_wait: Duration::from_millis(200),
            least: 1,
            prefetch,
            // Half of it, so that one response is on its way while another is read.
            response: prefetch / 2,
            partition: (prefetch / 8).clamp(1 << 16, 1 << 20),
            batch: 100 << 20,
            headers: true,
        }
    }
}

/// A partition to read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The partition.
    pub partition: TopicPartition,
    /// The source it belongs to.
    pub source: usize,
    /// Where to begin.
    pub position: Position,
    /// Records from this offset on are not read.
    pub end: Option<i64>,
}

/// Something to be done for a fetcher.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask any broker; then call [`Fetcher::metadata`] or [`Fetcher::metadata_failed`].
    Metadata(MetadataRequest),
    /// Ask this broker; then call [`Fetcher::fetched`] or [`Fetcher::fetch_failed`].
    Fetch {
        /// The broker.
        node: i32,
        /// The request.
        request: FetchRequest,
    },
}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Records, at most one batch a source.
    pub batches: Vec<SourceBatch>,
    /// Slots whose positions moved, and where to.
    pub positions: Vec<(u32, Position)>,
    /// What else happened.
    pub events: Vec<FetchEvent>,
    /// Bytes of keys and values in the batches.
    pub bytes: usize,
}

impl Fetched {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.positions.is_empty() && self.events.is_empty()
    }
}

/// What is under way with a broker.
#[derive(Debug, Default)]
struct Broker {
    request: Option<UnderWay>,
    // The number of its last request among all.
    asked: u64,
    backoff: Backoff,
}

#[derive(Debug)]
struct UnderWay {
    asked: Vec<Asked>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    slot: usize,
    generation: u32,
    leader: Leader,
    // Who is asked: the leader or a follower.
    node: i32,
}

impl Asked {
    fn is_of_follower(self) -> bool {
        self.node != self.leader.node
    }
}

/// The fetches of one shard.
#[derive(Debug)]
pub struct Fetcher {
    settings: Settings,
    rack: StrBytes,
    partitions: Arc<[TopicPartition]>,
    slots: Vec<Slot>,
    cluster: Cluster,
    brokers: BTreeMap<i32, Broker>,
    decompressor: Decompressor,
    events: Vec<FetchEvent>,
    requests: u64,
    asked: u64,
    // The slot that the next poll begins with.
    turn: usize,
    // The bytes of the last batch: the next one begins with room for as many.
    usual: usize,
}

impl Fetcher {
    /// A fetcher without partitions; the rack is empty if it does not matter.
    pub fn new(settings: Settings, rack: &str) -> Self {
        Self {
            settings,
            rack: StrBytes::from_string(rack.to_owned()),
            partitions: Arc::from([]),
            slots: Vec::new(),
            cluster: Cluster::default(),
            brokers: BTreeMap::new(),
            decompressor: Decompressor::new(settings.batch.min(MOST_BYTES)),
            events: Vec::new(),
            requests: 0,
            asked: 0,
            turn: 0,
            usual: FIRST_ROOM,
        }
    }

    /// Replaces what is read; slots count from 0 in the order given.
    pub fn assign(&mut self, readings: &[Reading]) {
        self.slots.clear();
        self.partitions = Arc::from([]);
        self.turn = 0;
        // Answers to what was asked for before find no slot of their generation.
        for broker in self.brokers.values_mut() {
            if let Some(request) = &mut broker.request {
                request.asked.clear();
            }
        }
        self.assign_more(readings);
        let kept = Arc::clone(&self.partitions);
        self.cluster.retain(|topic| kept.iter().any(|partition| &*partition.topic == topic));
    }

    /// Adds partitions; their slots follow the present ones.
    pub fn assign_more(&mut self, readings: &[Reading]) {
        let partitions = self.partitions.iter().chain(readings.iter().map(|reading| &reading.partition));
        self.partitions = partitions.cloned().collect();
        self.slots.extend(readings.iter().map(|reading| Slot::new(reading.source, reading.position, reading.end)));
        self.cluster.want();
    }

    /// Reads a slot from another place on. False if there is no such slot.
    pub fn move_to(&mut self, slot: u32, position: Position) -> bool {
        self.slots.get_mut(slot as usize).map(|slot| slot.move_to(position)).is_some()
    }

    /// Reads a slot no longer. False if there is no such slot.
    pub fn finish(&mut self, slot: u32) -> bool {
        self.slots.get_mut(slot as usize).map(Slot::stop).is_some()
    }

    /// The partitions by slot.
    pub fn partitions(&self) -> &Arc<[TopicPartition]> {
        &self.partitions
    }

    /// Where a broker listens, if metadata told it.
    pub fn endpoint(&self, node: i32) -> Option<&Endpoint> {
        self.cluster.endpoint(node)
    }

    /// What is known of the cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The bytes that wait to be handed out.
    pub fn buffered(&self) -> usize {
        self.slots.iter().map(Slot::bytes).sum()
    }

    /// What is to be done now; to be asked again until there is nothing.
    pub fn next(&mut self, now: Instant) -> Option<Action> {
        let reading = self.slots.iter().zip(&*self.partitions).filter(|(slot, _)| slot.is_reading());
        if let Some(request) = self.cluster.question(now, reading.map(|(_, partition)| &*partition.topic)) {
            return Some(Action::Metadata(request));
        }
        self.next_fetch(now)
    }

    /// When something will be to do although nothing happens.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let slots = self.slots.iter().filter(|slot| slot.is_reading()).filter_map(|slot| slot.backoff.end(now));
        let brokers = self.brokers.values().filter_map(|broker| broker.backoff.end(now));
        let cluster = self.slots.iter().any(Slot::is_reading).then(|| self.cluster.deadline(now)).flatten();
        slots.chain(brokers).chain(cluster).min()
    }

    fn next_fetch(&mut self, now: Instant) -> Option<Action> {
        let mut wanted: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
        let share = self.settings.partition.max(self.settings.prefetch / self.slots.len().max(1));
        for (index, (slot, partition)) in self.slots.iter().zip(&*self.partitions).enumerate() {
            if !slot.is_wanted(now, share) {
                continue;
            }
            match self.cluster.leader(&partition.topic, partition.partition) {
                None => self.cluster.want(),
                Some(leader) => {
                    let node = slot.closest(now).unwrap_or(leader.node);
                    let asked = Asked { slot: index, generation: slot.generation, leader, node };
                    wanted.entry(node).or_default().push(asked);
                }
            }
        }
        let bytes = self.free(wanted.keys())?;
        // Who was asked longest ago comes first: else brokers with nothing to give would take others' room for ever.
        let is_free = |broker: Option<&Broker>| broker.is_none_or(|b| b.request.is_none() && b.backoff.is_over(now));
        let free = wanted.into_iter().filter(|(node, _)| is_free(self.brokers.get(node)));
        let (node, mut asked) = free.min_by_key(|(node, _)| self.brokers.get(node).map_or(0, |broker| broker.asked))?;
        asked.sort_by_key(|asked| self.slots[asked.slot].served);
        let request = self.request(&asked, bytes);
        for asked in &asked {
            self.slots[asked.slot].asked();
        }
        self.asked += 1;
        let broker = self.brokers.entry(node).or_default();
        (broker.request, broker.asked) = (Some(UnderWay { asked, bytes }), self.asked);
        Some(Action::Fetch { node, request })
    }

    /// What may be asked of one broker, where others are asked, too. None if it is not worth a request.
    fn free<'a>(&'a self, wanted: impl Iterator<Item = &'a i32>) -> Option<usize> {
        let under_way = self.brokers.iter().filter_map(|(node, broker)| Some((node, broker.request.as_ref()?)));
        let taken: usize = under_way.clone().map(|(_, request)| request.bytes).sum();
        let brokers: BTreeSet<&i32> = under_way.map(|(node, _)| node).chain(wanted).collect();
        let share = self.settings.prefetch / brokers.len().max(1);
        let free = self.settings.prefetch.saturating_sub(self.buffered() + taken);
        (free >= self.settings.partition.min(share)).then(|| free.min(share).min(self.settings.response))
    }

    fn request(&self, asked: &[Asked], bytes: usize) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for asked in asked {
            let partition = &self.partitions[asked.slot];
            let question =
                self.slots[asked.slot].question(partition.partition, asked.leader, self.settings.partition as i32);
            // In the order of who waited longest, so a topic may be named more than once.
            match topics.last_mut().filter(|topic| topic.topic.as_str() == &*partition.topic) {
                Some(topic) => topic.partitions.push(question),
                None => {
                    let name = TopicName(StrBytes::from_string(partition.topic.to_string()));
                    topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![question]));
                }
            }
        }
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(self.settings.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(i32::try_from(self.settings.least).unwrap_or(i32::MAX))
            .with_max_bytes(i32::try_from(bytes).unwrap_or(i32::MAX))
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(NO_SESSION)
            .with_rack_id(self.rack.clone())
            .with_topics(topics)
    }

    /// Takes an answer of any broker.
    pub fn metadata(&mut self, now: Instant, response: &MetadataResponse) {
        let reading = self.slots.iter().zip(&*self.partitions).filter(|(slot, _)| slot.is_reading());
        let needed = reading.map(|(_, partition)| partition);
        for (topic, code) in self.cluster.answered(now, response, needed) {
            self.events.push(FetchEvent::Error(FetchError::NoTopic { topic: topic.to_string(), code }));
        }
    }

    /// No broker answered.
    pub fn metadata_failed(&mut self, now: Instant) {
        self.cluster.unanswered(now);
    }

    /// The broker did not answer, or its answer could not be read. Its partitions may have another leader now.
    pub fn fetch_failed(&mut self, now: Instant, node: i32) {
        let broker = self.brokers.entry(node).or_default();
        broker.backoff.failed(now);
        if let Some(request) = broker.request.take() {
            for asked in request.asked {
                self.unanswered(asked);
            }
        }
        self.cluster.want();
    }

    /// Takes a broker's answer.
    pub fn fetched(&mut self, now: Instant, node: i32, response: FetchResponse) {
        let broker = self.brokers.entry(node).or_default();
        let Some(request) = broker.request.take() else { return };
        if response.throttle_time_ms > 0 {
            broker.backoff.pause(now + Duration::from_millis(response.throttle_time_ms as u64));
        }
        if let Some(code) = response.error_code.err() {
            broker.backoff.failed(now);
            self.events.push(FetchEvent::Error(FetchError::RefusedAll { node, code }));
        } else {
            broker.backoff.worked();
        }
        self.requests += 1;
        let mut asked = request.asked;
        for topic in response.responses {
            for data in topic.partitions {
                let found = asked.iter().position(|asked| self.is_of(asked.slot, &topic.topic, data.partition_index));
                if let Some(asked) = found.map(|index| asked.swap_remove(index)) {
                    self.partition(now, asked, data);
                }
            }
        }
        // Of which the answer says nothing.
        for asked in asked {
            self.unanswered(asked);
        }
    }

    /// A question that no answer says anything of. A follower is not asked again.
    fn unanswered(&mut self, asked: Asked) {
        if self.answered(asked) && asked.is_of_follower() {
            self.slots[asked.slot].closest = None;
        }
    }

    fn is_of(&self, slot: usize, topic: &str, partition: i32) -> bool {
        self.partitions.get(slot).is_some_and(|known| known.partition == partition && &*known.topic == topic)
    }

    /// Whether a question still counts; its slot may then be asked for again.
    fn answered(&mut self, asked: Asked) -> bool {
        let slot = self.slots.get_mut(asked.slot).filter(|slot| slot.generation == asked.generation);
        slot.map(Slot::answered).is_some()
    }

    fn partition(&mut self, now: Instant, asked: Asked, data: PartitionData) {
        if !self.answered(asked) {
            return;
        }
        let diverging = &data.diverging_epoch;
        if asked.is_of_follower() && (data.error_code != 0 || diverging.end_offset >= 0) {
            self.ask_leader(now, asked, &data);
            return;
        }
        if let Some(code) = data.error_code.err() {
            self.refused(now, asked, code, &data);
            return;
        }
        if diverging.end_offset >= 0 {
            self.lost(asked.slot, |partition, at| Lost::Diverged {
                partition,
                offset: at.offset,
                leader_epoch: at.leader_epoch,
                epoch: diverging.epoch,
                end_offset: diverging.end_offset,
            });
            return;
        }
        let closest = data.preferred_read_replica.0;
        let is_known = closest != asked.leader.node && self.cluster.endpoint(closest).is_some();
        let slot = &mut self.slots[asked.slot];
        slot.backoff.worked();
        if is_known && !asked.is_of_follower() {
            slot.closest = Some((closest, now + CLOSEST));
        }
        if slot.take(data) {
            slot.served = self.requests;
        }
    }

    /// A follower cannot serve the partition, or not from there.
    fn ask_leader(&mut self, now: Instant, asked: Asked, data: &PartitionData) {
        use ResponseError as E;
        let slot = &mut self.slots[asked.slot];
        slot.closest = None;
        slot.backoff.failed(now);
        let moved = !matches!(data.error_code.err(), None | Some(E::OffsetOutOfRange | E::OffsetNotAvailable));
        if moved {
            let partition = self.partitions[asked.slot].clone();
            self.look_for_leader(asked, &partition, data);
        }
    }

    fn refused(&mut self, now: Instant, asked: Asked, code: ResponseError, data: &PartitionData) {
        use ResponseError as E;
        let partition = self.partitions[asked.slot].clone();
        match code {
            E::OffsetOutOfRange => {
                let log_start = data.log_start_offset;
                self.lost(asked.slot, |partition, at| Lost::OutOfRange { partition, offset: at.offset, log_start });
                return;
            }
            E::NotLeaderOrFollower
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::LeaderNotAvailable
            | E::ReplicaNotAvailable
            | E::KafkaStorageError
            | E::OffsetNotAvailable => self.look_for_leader(asked, &partition, data),
            E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId => {
                self.look_for_leader(asked, &partition, data);
                self.events.push(FetchEvent::Error(FetchError::Refused { partition, code }));
            }
            _ => self.events.push(FetchEvent::Error(FetchError::Refused { partition, code })),
        }
        self.slots[asked.slot].backoff.failed(now);
    }

    fn look_for_leader(&mut self, asked: Asked, partition: &TopicPartition, data: &PartitionData) {
        self.cluster.forget(&partition.topic, partition.partition, asked.leader);
        let told = &data.current_leader;
        if told.leader_id.0 >= 0 {
            let leader = Leader { node: told.leader_id.0, epoch: told.leader_epoch };
            self.cluster.hint(&partition.topic, partition.partition, leader);
        }
    }

    /// Stops a slot whose position is gone. What was fetched before is still good, and the position may be so again.
    fn lost(&mut self, index: usize, why: impl FnOnce(TopicPartition, Position) -> Lost) {
        let slot = &mut self.slots[index];
        if slot.hold() {
            return;
        }
        let lost = why(self.partitions[index].clone(), slot.position);
        slot.stop();
        self.events.push(FetchEvent::PositionLost { slot: index as u32, lost });
    }

    /// What is there, as far as there is room.
    pub fn poll(&mut self, now: Instant, room: Room) -> Fetched {
        let mut room = Room { bytes: room.bytes.min(MOST_BYTES), ..room };
        let mut columns: Vec<Columns> = Vec::new();
        let count = self.slots.len();
        let begin = self.turn;
        for step in 0..count {
            let index = (begin + step) % count;
            if room.is_full() {
                break;
            }
            self.read(now, index, &mut room, &mut columns);
            // Who comes first now comes last next time.
            self.turn = (index + 1) % count;
        }
        let bytes = columns.iter().map(Columns::bytes).sum();
        if bytes > 0 {
            self.usual = bytes + bytes / 8 + SPARE;
        }
        let batches = columns.into_iter().filter(|columns| !columns.is_empty());
        let mut positions = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.moved) {
                positions.push((index as u32, slot.position));
            }
        }
        Fetched {
            batches: batches.map(|columns| columns.finish(&self.partitions)).collect(),
            positions,
            events: std::mem::take(&mut self.events),
            bytes,
        }
    }

    fn read(&mut self, now: Instant, index: usize, room: &mut Room, columns: &mut Vec<Columns>) {
        let usual = self.usual;
        let slot = &mut self.slots[index];
        let (source, end) = (slot.source, slot.end);
        while let Some(records) = slot.front().filter(|_| !room.is_full()) {
            let columns = of_source(columns, source, *room, usual);
            let mut target = Target { columns, slot: index as u32, headers: self.settings.headers, end };
            let outcome = records.read(&mut target, room, &mut self.decompressor);
            slot.advance();
            if let Err(malformed) = outcome {
                // Fetched anew: it may have been damaged on the way.
                slot.drop_fetched();
                slot.backoff.pause(now + MALFORMED);
                let partition = self.partitions[index].clone();
                self.events.push(FetchEvent::Error(FetchError::Malformed { partition, malformed }));
                break;
            }
        }
    }
}

/// The columns of a source, made when they are first needed.
fn of_source(columns: &mut Vec<Columns>, source: usize, room: Room, bytes: usize) -> &mut Columns {
    let found = columns.iter().position(|columns| columns.source() == source);
    let index = found.unwrap_or_else(|| {
        columns.push(Columns::with_capacity(source, room.rows.min(bytes / 32), room.bytes.min(bytes)));
        columns.len() - 1
    });
    &mut columns[index]
}
