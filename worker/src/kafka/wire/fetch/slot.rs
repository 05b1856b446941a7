//! One partition that is read.

use std::collections::VecDeque;
use std::time::Instant;

use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::PartitionData;

use crate::kafka::wire::backoff::Backoff;
use crate::kafka::wire::batch::{Aborted, Position, Records};
use crate::kafka::wire::cluster::Leader;

/// A partition, what was fetched of it, and what is known of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) source: usize,
    pub(super) end: Option<i64>,
    /// Where what was handed out ends.
    pub(super) position: Position,
    /// Whether the position moved since it was last told.
    pub(super) moved: bool,
    /// Counts assignments: an answer to a question of another one is not listened to.
    pub(super) generation: u32,
    /// When it was last given something, in requests: who waited longest comes first.
    pub(super) served: u64,
    pub(super) backoff: Backoff,
    /// The follower to read from, and until when.
    pub(super) closest: Option<(i32, Instant)>,
    state: State,
    fetched: VecDeque<Fetched>,
}

/// What may be asked about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What comes next.
    Ready,
    /// Nothing: a request is under way.
    Asked,
    /// What comes next, once all that was fetched is handed out: behind that something failed.
    Held,
    /// Nothing any more.
    Stopped,
}

/// What one response had of a partition.
#[derive(Debug)]
struct Fetched {
    records: Records,
    bytes: usize,
    reach: Position,
}

impl Slot {
    pub(super) fn new(source: usize, position: Position, end: Option<i64>) -> Self {
        Self {
            source,
            end,
            position,
            moved: false,
            generation: 0,
            served: 0,
            backoff: Backoff::default(),
            closest: None,
            state: State::Ready,
            fetched: VecDeque::new(),
        }
    }

    /// Reads from another place on.
    pub(super) fn move_to(&mut self, position: Position) {
        self.position = position;
        self.backoff = Backoff::default();
        self.drop_fetched();
    }

    /// The follower to read from, if there is one now.
    pub(super) fn closest(&self, now: Instant) -> Option<i32> {
        self.closest.filter(|(_, until)| now < *until).map(|(node, _)| node)
    }

    /// Reads no longer.
    pub(super) fn stop(&mut self) {
        self.drop_fetched();
        self.state = State::Stopped;
    }

    /// Forgets what was fetched and what is under way.
    pub(super) fn drop_fetched(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.state = State::Ready;
        self.fetched.clear();
    }

    /// Where the next request continues.
    pub(super) fn reach(&self) -> Position {
        self.fetched.back().map_or(self.position, |fetched| fetched.reach)
    }

    /// Whether there is still something to fetch.
    pub(super) fn is_reading(&self) -> bool {
        self.state != State::Stopped && self.end.is_none_or(|end| self.reach().offset < end)
    }

    /// Whether a request may ask for it, of which not more than `most` bytes should wait.
    pub(super) fn is_wanted(&self, now: Instant, most: usize) -> bool {
        self.state == State::Ready && self.is_reading() && self.backoff.is_over(now) && self.bytes() < most
    }

    /// A request asks for it.
    pub(super) fn asked(&mut self) {
        self.state = State::Asked;
    }

    /// The request was answered.
    pub(super) fn answered(&mut self) {
        self.state = State::Ready;
    }

    /// The bytes that wait to be handed out; a response's memory is free only when all of it is.
    pub(super) fn bytes(&self) -> usize {
        self.fetched.iter().map(|fetched| fetched.bytes).sum()
    }

    pub(super) fn question(&self, partition: i32, leader: Leader, bytes: i32) -> FetchPartition {
        let reach = self.reach();
        FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(leader.epoch)
            .with_fetch_offset(reach.offset)
            .with_last_fetched_epoch(reach.leader_epoch)
            .with_partition_max_bytes(bytes)
    }

    /// Takes what a broker sent without an error. False if there are no records.
    pub(super) fn take(&mut self, data: PartitionData) -> bool {
        let Some(bytes) = data.records.filter(|bytes| !bytes.is_empty()) else { return false };
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted = Aborted::new(aborted.iter().map(|of| (of.producer_id.0, of.first_offset)));
        let size = bytes.len();
        let records = Records::committed(bytes, self.reach(), data.last_stable_offset, aborted);
        let reach = records.reach();
        self.fetched.push_back(Fetched { records, bytes: size, reach });
        true
    }

    /// Something failed behind what was fetched: waits until all of that is handed out. False if it is.
    pub(super) fn hold(&mut self) -> bool {
        let waits = !self.fetched.is_empty();
        if waits {
            self.state = State::Held;
        }
        waits
    }

    /// What is to be handed out next.
    pub(super) fn front(&mut self) -> Option<&mut Records> {
        self.fetched.front_mut().map(|fetched| &mut fetched.records)
    }

    /// Takes over how far the front was read, and goes on to the next if it was read to its end.
    pub(super) fn advance(&mut self) {
        let Some(front) = self.fetched.front() else { return };
        let position = front.records.position();
        if position.offset > self.position.offset {
            self.position = position;
            self.moved = true;
        }
        if front.records.is_drained() {
            self.fetched.pop_front();
        }
        if self.end.is_some_and(|end| self.position.offset >= end) {
            self.fetched.clear();
        }
        if self.fetched.is_empty() && self.state == State::Held {
            self.state = State::Ready;
        }
    }
}
