//! Record batches (message format v2) to columns and back.
//!
//! ```text
//! bytes of a partition ─ header ─► skip? ─ checksum ─► decompress ─ record, record, … ─► Columns
//!                         (61 bytes)  │                 (once)        (a slice each)
//!                                     └ cut off, below the position, marker, aborted
//! ```
//!
//! A batch is checked and decompressed once; its records' keys and values are then copied into the columns straight from
//! where they lie. Nothing is allocated for a record.
//!
//! **Guarantees.** Any bytes give records or an error that says what was found at which offset; nothing panics, and
//! nothing is allocated by a number that was not compared with the bytes that are there, or with the bound on a
//! decompressed batch. Positions move over everything that is not handed out: markers, aborted transactions, records that
//! compaction removed. They never move over something that could not be read.

mod aborted;
mod compression;
mod encode;
mod header;
mod problem;
mod record;
#[cfg(test)]
mod tests;
mod varint;

use bytes::Bytes;

pub use aborted::Aborted;
pub use compression::{Codec, Decompressor};
pub use encode::{Producer, Rows, Settings, Writer};
pub use problem::{Fault, Field, Malformed, Problem};

use compression::Inflated;
use header::{CHECKED, HEADER, Header, attributes};
use record::Record;

use crate::kafka::columns::{Columns, Row};

/// A place in a partition: the next offset, and the leader epoch of what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next offset.
    pub offset: i64,
    /// The leader epoch of the batch before it; -1 if unknown.
    pub leader_epoch: i32,
}

/// How much may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Records.
    pub rows: usize,
    /// Bytes of records, headers included. The last record may go beyond it.
    pub bytes: usize,
}

impl Room {
    /// Whether nothing more may be read.
    pub fn is_full(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// Where rows go and which of them.
#[derive(Debug)]
pub struct Target<'a> {
    /// The columns.
    pub columns: &'a mut Columns,
    /// The slot that the rows belong to.
    pub slot: u32,
    /// Whether headers are read; without, they are not even looked at.
    pub headers: bool,
    /// Records from this offset on are not read.
    pub end: Option<i64>,
}

/// The batches of one partition in one response, being read.
#[derive(Debug)]
pub struct Records {
    left: Bytes,
    position: Position,
    stable: Option<i64>,
    aborted: Option<Aborted>,
    open: Option<Open>,
}

/// A batch whose records are being read.
#[derive(Debug)]
struct Open {
    header: Header,
    last_offset: i64,
    content: Content,
    at: usize,
    next: i32,
    least_delta: i32,
}

#[derive(Debug)]
enum Content {
    Plain(Bytes),
    Inflated(Inflated),
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Inflated(bytes) => bytes,
        }
    }
}

impl Records {
    /// All records from `position` on, committed or not.
    pub fn uncommitted(bytes: Bytes, position: Position) -> Self {
        Self { left: bytes, position, stable: None, aborted: None, open: None }
    }

    /// The committed records from `position` on, up to the last stable offset: behind it nobody knows yet.
    pub fn committed(bytes: Bytes, position: Position, stable: i64, aborted: Aborted) -> Self {
        Self { left: bytes, position, stable: Some(stable), aborted: Some(aborted), open: None }
    }

    /// Where the partition is read to.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether everything was read.
    pub fn is_drained(&self) -> bool {
        self.open.is_none() && self.left.is_empty()
    }

    /// The compressed bytes that were not opened yet, and the decompressed ones of the open batch.
    pub fn bytes(&self) -> usize {
        self.left.len() + self.open.as_ref().map_or(0, |open| open.content.len() - open.at)
    }

    /// The position that reading all of it will lead to, by the batches' headers alone. Does not go beyond a batch whose
    /// header is malformed.
    pub fn reach(&self) -> Position {
        let mut reach = self.position;
        if let Some(open) = &self.open {
            reach = Position { offset: open.last_offset + 1, leader_epoch: open.header.leader_epoch };
        }
        let mut left = self.left.as_ref();
        while let Ok(Some((header, total))) = Header::read(left) {
            let Ok(last_offset) = header.last_offset() else { break };
            if self.is_unstable(&header) {
                break;
            }
            if last_offset >= reach.offset {
                reach = Position { offset: last_offset + 1, leader_epoch: header.leader_epoch };
            }
            left = &left[total..];
        }
        reach
    }

    /// Moves records into the columns until there is no more room or nothing is left, and takes what was used from
    /// the room. After an error the position is before what could not be read, and the same error comes again.
    pub fn read(
        &mut self,
        target: &mut Target<'_>,
        room: &mut Room,
        decompressor: &mut Decompressor,
    ) -> Result<(), Malformed> {
        while !room.is_full() && target.end.is_none_or(|end| self.position.offset < end) {
            match &mut self.open {
                Some(open) => {
                    if !open.read(&mut self.position, target, room)? {
                        return Ok(());
                    }
                    self.close(target, decompressor);
                }
                None => {
                    if !self.advance(target.end, decompressor)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes over the batch that was read to its end.
    fn close(&mut self, target: &Target<'_>, decompressor: &mut Decompressor) {
        let Some(open) = self.open.take() else { return };
        self.move_behind(open.last_offset, open.header.leader_epoch, target.end);
        if let Content::Inflated(inflated) = open.content {
            decompressor.give_back(inflated);
        }
    }

    fn move_behind(&mut self, last_offset: i64, leader_epoch: i32, end: Option<i64>) {
        let offset = end.map_or(last_offset + 1, |end| end.min(last_offset + 1));
        if offset > self.position.offset {
            self.position = Position { offset, leader_epoch };
        }
    }

    /// Opens the next batch or goes over it. False if there is none.
    fn advance(&mut self, end: Option<i64>, decompressor: &mut Decompressor) -> Result<bool, Malformed> {
        let begin = self.position.offset;
        let header = Header::read(&self.left).map_err(|problem| Malformed { offset: begin, problem })?;
        let Some((header, total)) = header.filter(|(header, _)| !self.is_unstable(header)) else {
            self.left = Bytes::new();
            return Ok(false);
        };
        let batch = self.left.slice(..total);
        let at = |problem| Malformed { offset: header.base_offset, problem };
        let last_offset = header.last_offset().map_err(at)?;
        if last_offset >= begin {
            check(&header, &batch).map_err(at)?;
            if self.is_left_out(&header, last_offset, &batch, decompressor).map_err(at)? {
                self.move_behind(last_offset, header.leader_epoch, end);
            } else {
                self.open = Some(Open::new(header, last_offset, &batch, decompressor).map_err(at)?);
            }
        }
        // Not before all of it succeeded: an error has to come again.
        let _read = self.left.split_to(total);
        Ok(true)
    }

    fn is_unstable(&self, header: &Header) -> bool {
        self.stable.is_some_and(|stable| header.base_offset >= stable)
    }

    /// Whether none of the batch's records is handed out: a marker, or a part of an aborted transaction.
    fn is_left_out(
        &mut self,
        header: &Header,
        last_offset: i64,
        batch: &Bytes,
        decompressor: &mut Decompressor,
    ) -> Result<bool, Problem> {
        if let Some(aborted) = &mut self.aborted {
            aborted.advance(last_offset);
        }
        if header.is(attributes::CONTROL) {
            let is_abort = marker(header, last_offset, batch, decompressor)? == Some(Marker::Abort);
            if let Some(aborted) = self.aborted.as_mut().filter(|_| is_abort) {
                aborted.end(header.producer_id);
            }
            return Ok(true);
        }
        let aborted = self.aborted.as_ref().is_some_and(|aborted| aborted.contains(header.producer_id));
        Ok(aborted && header.is(attributes::TRANSACTIONAL))
    }
}

fn check(header: &Header, batch: &[u8]) -> Result<(), Problem> {
    let computed = crc32c::crc32c(&batch[CHECKED..]);
    if computed == header.checksum {
        return Ok(());
    }
    Err(Problem::Checksum { stated: header.checksum, computed })
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Abort,
    Other,
}

/// The first control record of a batch; compaction may have removed it.
fn marker(
    header: &Header,
    last_offset: i64,
    batch: &Bytes,
    decompressor: &mut Decompressor,
) -> Result<Option<Marker>, Problem> {
    let open = Open::new(*header, last_offset, batch, decompressor)?;
    if header.count == 0 {
        return Ok(None);
    }
    let fault = |fault| Problem::Record { index: 0, count: header.count, fault };
    let record = Record::take(&mut &*open.content).map_err(fault)?;
    let key = record.key.unwrap_or_default();
    let mut numbers = key.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    match (numbers.next(), numbers.next()) {
        (Some(0..), Some(0)) => Ok(Some(Marker::Abort)),
        (Some(0..), Some(_)) => Ok(Some(Marker::Other)),
        (version, _) => Err(fault(Fault::ControlKey(key.len(), version.unwrap_or(-1)))),
    }
}

impl Open {
    fn new(header: Header, last_offset: i64, batch: &Bytes, decompressor: &mut Decompressor) -> Result<Self, Problem> {
        let records = batch.slice(HEADER..);
        let content = match header.codec()? {
            Codec::None => Content::Plain(records),
            // What compaction left of an emptied batch is its header.
            _ if header.count == 0 && records.is_empty() => Content::Plain(records),
            codec => Content::Inflated(decompressor.decompress(codec, &records)?),
        };
        let fits = usize::try_from(header.count).is_ok_and(|count| count <= content.len() / record::LEAST);
        if !fits {
            return Err(Problem::Count { count: header.count, bytes: content.len() });
        }
        Ok(Self { header, last_offset, content, at: 0, next: 0, least_delta: 0 })
    }

    /// Reads on. True at the batch's end.
    fn read(&mut self, position: &mut Position, target: &mut Target<'_>, room: &mut Room) -> Result<bool, Malformed> {
        let bytes: &[u8] = match &self.content {
            Content::Plain(bytes) => bytes,
            Content::Inflated(bytes) => bytes,
        };
        let count = self.header.count;
        let malformed = |problem| Malformed { offset: self.header.base_offset, problem };
        let faulty = |index, fault| malformed(Problem::Record { index, count, fault });
        let mut rest = &bytes[self.at..];
        while self.next < count {
            if room.is_full() {
                return Ok(false);
            }
            let before = rest.len();
            let (record, row) =
                parse(&mut rest, &self.header, self.least_delta).map_err(|fault| faulty(self.next, fault))?;
            if row.offset >= position.offset {
                if target.end.is_some_and(|end| row.offset >= end) {
                    break;
                }
                push(target, record, row).map_err(|fault| faulty(self.next, fault))?;
                *position = Position { offset: row.offset + 1, leader_epoch: self.header.leader_epoch };
                room.rows -= 1;
                room.bytes = room.bytes.saturating_sub(before - rest.len());
            }
            self.at = bytes.len() - rest.len();
            self.next += 1;
            self.least_delta = record.offset_delta.saturating_add(1);
        }
        if self.next == count && !rest.is_empty() {
            return Err(malformed(Problem::Rest(rest.len())));
        }
        Ok(true)
    }
}

#[inline]
fn parse<'a>(rest: &mut &'a [u8], header: &Header, least: i32) -> Result<(Record<'a>, Row<'a>), Fault> {
    let record = Record::take(rest)?;
    let last = header.last_offset_delta;
    let delta = record.offset_delta;
    if delta < least || delta > last {
        return Err(Fault::Offset { delta, least, last });
    }
    let timestamp = if header.is(attributes::LOG_APPEND_TIME) {
        header.max_timestamp
    } else {
        let (base, delta) = (header.base_timestamp, record.timestamp_delta);
        base.checked_add(delta).ok_or(Fault::Timestamp { base, delta })?
    };
    let offset = header.base_offset + i64::from(delta);
    Ok((record, Row { offset, timestamp, key: record.key, value: record.value }))
}

#[inline]
fn push(target: &mut Target<'_>, record: Record<'_>, row: Row<'_>) -> Result<(), Fault> {
    if record.headers == 0 || !target.headers {
        target.columns.push(target.slot, row);
        return Ok(());
    }
    record.check_headers()?;
    target.columns.push_with_headers(target.slot, row, record.headers());
    Ok(())
}
