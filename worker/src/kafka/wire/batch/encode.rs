//! Record batches from columns or single records.

use std::borrow::Cow;
use std::io::{self, Write};

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
    /// An empty batch with room for `bytes` of records.
    pub fn with_capacity(bytes: usize) -> Self {
        let capacity = if bytes == 0 { 0 } else { HEADER + bytes };
        Self { batch: Vec::with_capacity(capacity), last_delta: -1, ..Self::default() }
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
    pub fn push<'a>(&mut self, row: Row<'_>, headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone) {
        if self.count == 0 {
            self.base_timestamp = row.timestamp;
            self.max_timestamp = row.timestamp;
            self.batch.resize(HEADER, 0);
        }
        self.max_timestamp = self.max_timestamp.max(row.timestamp);
        let since = row.timestamp.wrapping_sub(self.base_timestamp);
        let mut length = 1 + varint::size(since) + varint::size(row.offset) + size_of(row.key) + size_of(row.value);
        let mut count = 0;
        for (name, value) in headers.clone() {
            count += 1;
            length += size_of(Some(name.as_bytes())) + size_of(value);
        }
        length += varint::size(count);
        let mut numbers = Numbers::new();
        numbers.put(length as i64);
        // Attributes, of which there are none.
        numbers.put(0);
        numbers.put(since);
        numbers.put(row.offset);
        put_bytes(&mut self.batch, numbers, row.key, row.value);
        varint::put(&mut self.batch, count);
        for (name, value) in headers {
            put_bytes(&mut self.batch, Numbers::new(), Some(name.as_bytes()), value);
        }
        self.count += 1;
        self.last_delta = row.offset as i32;
    }

    /// Adds a row of columns, with the offset that follows the last record's and a timestamp of its own.
    pub fn push_row(&mut self, rows: Rows<'_>, at: usize, timestamp: i64) {
        let row = Row {
            offset: i64::from(self.last_delta) + 1,
            timestamp,
            key: rows.keys.is_valid(at).then(|| rows.keys.value(at)),
            value: rows.values.is_valid(at).then(|| rows.values.value(at)),
        };
        match rows.headers {
            None => self.push(row, std::iter::empty()),
            Some(headers) => self.push(row, headers_of(headers, at)),
        }
    }

    /// Adds rows of columns, with the offsets that follow the last record's.
    pub fn extend(&mut self, rows: Rows<'_>, range: std::ops::Range<usize>) {
        for at in range {
            self.push_row(rows, at, rows.timestamps.value(at));
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

/// Numbers that stand one behind the other; together they are appended at once.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl Numbers {
    /// Six numbers of ten bytes: more never come together.
    const MOST: usize = 60;

    fn new() -> Self {
        Self { bytes: [0; Self::MOST], len: 0 }
    }

    #[inline]
    fn put(&mut self, value: i64) {
        self.len += varint::write(&mut self.bytes[self.len..], value);
    }
}

fn size_of(bytes: Option<&[u8]>) -> usize {
    let length = bytes.map_or(-1, |bytes| bytes.len() as i64);
    varint::size(length) + length.max(0) as usize
}

/// Appends numbers, and then a key and a value, or a header's name and value, each behind its length.
#[inline]
fn put_bytes(out: &mut Vec<u8>, mut numbers: Numbers, key: Option<&[u8]>, value: Option<&[u8]>) {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    numbers.put(length(key));
    if let Some(key) = key {
        out.extend_from_slice(&numbers.bytes[..numbers.len]);
        out.extend_from_slice(key);
        numbers.len = 0;
    }
    numbers.put(length(value));
    out.extend_from_slice(&numbers.bytes[..numbers.len]);
    out.extend_from_slice(value.unwrap_or_default());
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
