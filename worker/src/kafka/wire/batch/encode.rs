//! Record batches from columns or single records.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, ListArray};

use super::compression::{Codec, XERIAL};
use super::header::{CHECKED, HEADER, Header, attributes};
use super::varint;
use crate::kafka::columns::Row;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first offset; a broker replaces it.
    pub base_offset: i64,
    /// The leader epoch; a broker replaces it.
    pub leader_epoch: i32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Who wrote it; None without idempotence.
    pub producer: Option<Producer>,
    /// The time of the broker, which then counts for all records.
    pub append_time: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { base_offset: 0, leader_epoch: -1, codec: Codec::None, producer: None, append_time: None }
    }
}

/// An idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The number of the batch's first record in its partition.
    pub sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

/// Columns of equal length to be written.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The keys.
    pub keys: &'a BinaryArray,
    /// The values.
    pub values: &'a BinaryArray,
    /// The timestamps, in milliseconds since 1970.
    pub timestamps: &'a Int64Array,
    /// The headers, typed as [`crate::records::headers_type`].
    pub headers: Option<&'a ListArray>,
}

/// A record batch under construction.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    // Room for the header, and the records behind it; empty before the first one.
    batch: Vec<u8>,
    count: i32,
    last_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Writer {
    /// An empty batch in an empty buffer, which grows where it has to.
    pub fn new(buffer: Vec<u8>) -> Self {
        Self { batch: buffer, last_delta: -1, ..Self::default() }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the records, before compression.
    pub fn bytes(&self) -> usize {
        self.batch.len().saturating_sub(HEADER)
    }

    /// Adds a record; its offset is the distance from the batch's first and has to be above the one before.
    #[inline]
    pub fn push<'a>(&mut self, row: Row<'_>, headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone) {
        if self.count == 0 {
            self.base_timestamp = row.timestamp;
            self.max_timestamp = row.timestamp;
            self.batch.resize(HEADER, 0);
        }
        self.max_timestamp = self.max_timestamp.max(row.timestamp);
        let since = row.timestamp.wrapping_sub(self.base_timestamp);
        let mut length = 1 + varint::size(since) + varint::size(row.offset) + length_of(row.key) + length_of(row.value);
        let mut count = 0;
        for (name, value) in headers.clone() {
            count += 1;
            length += length_of(Some(name.as_bytes())) + length_of(value);
        }
        length += varint::size(count);
        let (out, length) = (&mut self.batch, length as i64);
        // The second one is the attributes, of which there are none.
        match row.key {
            None => put_numbers(out, [length, 0, since, row.offset, -1, stated(row.value)]),
            Some(key) => {
                put_numbers(out, [length, 0, since, row.offset, key.len() as i64]);
                out.extend_from_slice(key);
                put_numbers(out, [stated(row.value)]);
            }
        }
        out.extend_from_slice(row.value.unwrap_or_default());
        match count {
            0 => out.push(0),
            _ => varint::put(out, count),
        }
        for (name, value) in headers {
            put_numbers(out, [name.len() as i64]);
            out.extend_from_slice(name.as_bytes());
            put_numbers(out, [stated(value)]);
            out.extend_from_slice(value.unwrap_or_default());
        }
        self.count += 1;
        self.last_delta = row.offset as i32;
    }

    /// Adds rows of columns, with the offsets that follow the last record's, until the batch has `most` bytes of records.
    /// Rows without a timestamp get `now`. How many rows it took: at least one, if there is one.
    pub fn extend(&mut self, rows: Rows<'_>, range: Range<usize>, now: i64, most: usize) -> usize {
        let (begin, end) = (range.start, range.end);
        for at in range {
            self.push_row(rows, at, now);
            if self.bytes() >= most {
                return at + 1 - begin;
            }
        }
        end - begin
    }

    #[inline]
    fn push_row(&mut self, rows: Rows<'_>, at: usize, now: i64) {
        let timestamp = rows.timestamps.value(at);
        let row = Row {
            offset: i64::from(self.last_delta) + 1,
            timestamp: if timestamp < 0 { now } else { timestamp },
            key: rows.keys.is_valid(at).then(|| rows.keys.value(at)),
            value: rows.values.is_valid(at).then(|| rows.values.value(at)),
        };
        match rows.headers {
            None => self.push(row, std::iter::empty()),
            Some(headers) => self.push(row, headers_of(headers, at)),
        }
    }

    /// The batch.
    pub fn finish(self, settings: &Settings) -> io::Result<Vec<u8>> {
        let transactional = settings.producer.is_some_and(|producer| producer.transactional);
        self.finish_as(settings, if transactional { attributes::TRANSACTIONAL } else { 0 })
    }

    /// The batch as a transaction's end marker; its key says which end.
    pub fn finish_control(self, settings: &Settings) -> io::Result<Vec<u8>> {
        self.finish_as(settings, attributes::TRANSACTIONAL | attributes::CONTROL)
    }

    fn finish_as(self, settings: &Settings, flags: i16) -> io::Result<Vec<u8>> {
        let producer = settings.producer.unwrap_or(Producer { id: -1, epoch: -1, sequence: -1, transactional: false });
        let append_time = if settings.append_time.is_some() { attributes::LOG_APPEND_TIME } else { 0 };
        let mut header = Header {
            base_offset: settings.base_offset,
            leader_epoch: settings.leader_epoch,
            checksum: 0,
            attributes: flags | append_time | settings.codec.bits(),
            last_offset_delta: self.last_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: settings.append_time.unwrap_or(self.max_timestamp),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.sequence,
            count: self.count,
        };
        let mut batch = self.batch;
        batch.resize(batch.len().max(HEADER), 0);
        if settings.codec != Codec::None {
            let records = compress(settings.codec, &batch[HEADER..])?.into_owned();
            batch.truncate(HEADER);
            batch.extend_from_slice(&records);
        }
        let total = batch.len();
        batch[..HEADER].copy_from_slice(&header.write(total));
        header.checksum = crc32c::crc32c(&batch[CHECKED..]);
        batch[..HEADER].copy_from_slice(&header.write(total));
        Ok(batch)
    }
}

/// Appends numbers that stand one behind the other. They are written to where they belong: copied there byte by byte they
/// would cost more than all the rest.
#[inline]
fn put_numbers<const COUNT: usize>(out: &mut Vec<u8>, numbers: [i64; COUNT]) {
    // Those before a value are at most 31 bytes: lengths and the offset five each, the timestamp ten, the attributes one.
    const MOST: usize = 32;
    let mut end = out.len();
    out.extend_from_slice(&[0; MOST]);
    for number in numbers {
        end += varint::write(&mut out[end..], number);
    }
    out.truncate(end);
}

#[inline]
fn length_of(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}

/// The length of what may be null.
#[inline]
fn stated(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| bytes.len() as i64)
}

fn headers_of(headers: &ListArray, row: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> + Clone {
    let entries = headers.values().as_struct();
    let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let range = headers.value_offsets()[row] as usize..headers.value_offsets()[row + 1] as usize;
    range.map(move |entry| (names.value(entry), values.is_valid(entry).then(|| values.value(entry))))
}

/// Compresses the records of one batch in the form that all of Kafka's clients read.
pub(super) fn compress(codec: Codec, plain: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let compressed = match codec {
        Codec::None => return Ok(Cow::Borrowed(plain)),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain)?;
            encoder.finish()
        }
        Codec::Snappy => snappy(plain),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain)?;
            encoder.finish().map_err(io::Error::other)
        }
        Codec::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    compressed.map(Cow::Owned)
}

/// Snappy in Java's framing: Kafka's own clients read no other.
fn snappy(plain: &[u8]) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 32 * 1024;
    let mut encoder = snap::raw::Encoder::new();
    let mut out = XERIAL.to_vec();
    for block in plain.chunks(BLOCK) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}
