//! What waits to be written to a partition.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Backoff, Identity};
use crate::kafka::wire::batch::{self, Codec, Producer, Rows, Writer};
use crate::kafka::wire::pool::Pool;
use crate::records::TopicPartition;

/// The first batch begins with room for so many bytes, and grows.
const FIRST_ROOM: usize = 16 << 10;
/// The batch's header, and by what a full one is larger than it should be: by a record, mostly a small one.
const SPARE: usize = 1 << 10;

/// A partition that is written to.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: TopicPartition,
    pub(super) added: bool,
    pub(super) backoff: Backoff,
    codec: Codec,
    pool: Pool,
    filling: Writer,
    // When the first record came into it.
    since: Option<Instant>,
    queue: VecDeque<Batch>,
    // The bytes of the last batch: the next one begins with room for as many.
    usual: usize,
    sequence: i32,
    under_way: bool,
}

/// A batch that gets no more records.
#[derive(Debug)]
struct Batch {
    content: Content,
    records: u64,
    size: usize,
    since: Instant,
}

#[derive(Debug)]
enum Content {
    Records(Writer),
    // What was sent once is sent again as it was.
    Sent(Bytes),
}

impl Partition {
    pub(super) fn new(name: TopicPartition, codec: Codec, pool: Pool) -> Self {
        Self {
            name,
            pool,
            added: false,
            backoff: Backoff::default(),
            codec,
            filling: Writer::new(Vec::new()),
            since: None,
            queue: VecDeque::new(),
            usual: FIRST_ROOM,
            sequence: 0,
            under_way: false,
        }
    }

    /// For messages.
    pub(super) fn doing(&self) -> String {
        format!("write to topic `{}` partition {}", self.name.topic, self.name.partition)
    }

    /// Adds rows; those without a timestamp get `millis`. A batch that has `most` bytes of records is full.
    pub(super) fn push(&mut self, now: Instant, rows: Rows<'_>, mut range: Range<usize>, millis: i64, most: usize) {
        while !range.is_empty() {
            if self.filling.is_empty() {
                self.filling = Writer::new(self.pool.take(self.usual.min(most + SPARE)));
                self.since = Some(now);
            }
            range.start += self.filling.extend(rows, range.clone(), millis, most);
            if self.filling.bytes() >= most {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        let Some(since) = self.since.take() else { return };
        let writer = std::mem::replace(&mut self.filling, Writer::new(Vec::new()));
        let (records, size) = (writer.len() as u64, writer.bytes());
        self.usual = size + SPARE;
        self.queue.push_back(Batch { content: Content::Records(writer), records, size, since });
    }

    /// A batch that is not full is sent when nothing is under way that it would only stand behind.
    pub(super) fn seal_if_due(&mut self, now: Instant, linger: Duration, flushing: bool) {
        let due = self.since.is_some_and(|since| flushing || now >= since + linger);
        if due && self.queue.is_empty() {
            self.seal();
        }
    }

    /// When the batch that is being filled is to be sent.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        self.since.filter(|_| self.queue.is_empty()).map(|since| since + linger)
    }

    /// When records can be sent that stand behind a batch under way, once that is acknowledged.
    pub(super) fn behind(&self, linger: Duration) -> Option<Instant> {
        let next = self.queue.get(1).map(|batch| batch.since);
        next.or_else(|| self.since.map(|since| since + linger)).filter(|_| self.under_way)
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.under_way && !self.queue.is_empty() && self.backoff.is_over(now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.filling.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.filling.bytes() + self.queue.iter().map(|batch| batch.size).sum::<usize>()
    }

    pub(super) fn records(&self) -> u64 {
        self.filling.len() as u64 + self.queue.iter().map(|batch| batch.records).sum::<u64>()
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queue.front().map(|batch| batch.since).or(self.since)
    }

    /// The first batch's bytes; it is under way then.
    pub(super) fn send(&mut self, identity: Identity, transactional: bool) -> Option<io::Result<Bytes>> {
        let (sequence, codec) = (self.sequence, self.codec);
        let batch = self.queue.front_mut()?;
        if let Content::Records(writer) = &mut batch.content {
            let writer = std::mem::replace(writer, Writer::new(Vec::new()));
            let producer = Producer { id: identity.id, epoch: identity.epoch, sequence, transactional };
            let settings = batch::Settings { codec, producer: Some(producer), ..batch::Settings::default() };
            match writer.finish(&settings) {
                Ok(bytes) => batch.content = Content::Sent(self.pool.lend(bytes)),
                Err(error) => return Some(Err(error)),
            }
        }
        self.under_way = true;
        match &batch.content {
            Content::Sent(bytes) => Some(Ok(bytes.clone())),
            Content::Records(_) => None,
        }
    }

    /// The first batch is acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.under_way = false;
        self.backoff.worked();
        if let Some(batch) = self.queue.pop_front() {
            // As the broker counts: from the largest number on to 0.
            self.sequence = ((i64::from(self.sequence) + batch.records as i64) & i64::from(i32::MAX)) as i32;
        }
    }

    /// The first batch is to be sent again.
    pub(super) fn again(&mut self, now: Instant) {
        self.under_way = false;
        self.backoff.failed(now);
    }

    /// The records of the batch that is under way.
    pub(super) fn first_records(&self) -> u64 {
        self.queue.front().map_or(0, |batch| batch.records)
    }

    /// Nothing waits any more, and sequences begin anew: with another epoch.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.filling = Writer::new(Vec::new());
        self.since = None;
        self.under_way = false;
        self.restart();
    }

    /// Sequences begin anew. Nothing may be under way.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
        self.added = false;
    }

    /// Whether the partition has to become a part of the transaction.
    pub(super) fn is_to_be_added(&self) -> bool {
        !self.added && !self.is_empty()
    }
}
