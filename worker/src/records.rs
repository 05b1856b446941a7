//! Batches of records: the language between `kafka/`, the chain and the shard loop.
//!
//! Everything on the path of data speaks of these columns, never of single records, so that a Kafka client that hands
//! out messages and one that hands out record batches are two fillings of one interface. Columns are Arrow arrays:
//! what a chain does not change is passed on by reference.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, ListArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Fields};

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Records of one source, as columns of equal length; rows of one partition are in the partition's order.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// The source's place in [`crate::plan::CompiledPipeline::sources`].
    pub source: usize,
    /// The partitions that `slots` points into.
    pub partitions: Arc<[TopicPartition]>,
    /// Each record's partition, as a place in `partitions`.
    pub slots: UInt32Array,
    /// Each record's offset.
    pub offsets: Int64Array,
    /// Each record's timestamp in milliseconds since 1970; -1 where the record has none.
    pub timestamps: Int64Array,
    /// Each record's key; null where it has none.
    pub keys: BinaryArray,
    /// Each record's value; null is a tombstone.
    pub values: BinaryArray,
    /// Each record's headers, typed as [`headers_type`]; None if no record of the batch has any.
    pub headers: Option<ListArray>,
}

impl SourceBatch {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.offsets.values().len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` records from `start` on, without copying.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            source: self.source,
            partitions: Arc::clone(&self.partitions),
            slots: self.slots.slice(start, len),
            offsets: self.offsets.slice(start, len),
            timestamps: self.timestamps.slice(start, len),
            keys: self.keys.slice(start, len),
            values: self.values.slice(start, len),
            headers: self.headers.as_ref().map(|h| h.slice(start, len)),
        }
    }

    /// The partition that a row came from.
    pub fn partition(&self, row: usize) -> &TopicPartition {
        &self.partitions[self.slots.value(row) as usize]
    }
}

/// Records for one sink, as columns of equal length, in the order in which they are to be written.
#[derive(Clone, Debug)]
pub struct SinkBatch {
    /// The sink's place in [`crate::plan::CompiledPipeline::sinks`].
    pub sink: usize,
    /// The row of the source batch that each record was derived from; ascending.
    pub rows: UInt32Array,
    /// Each record's key.
    pub keys: BinaryArray,
    /// Each record's value; null is a tombstone.
    pub values: BinaryArray,
    /// Each record's timestamp in milliseconds since 1970; -1 lets the client set it.
    pub timestamps: Int64Array,
    /// Each record's headers, typed as [`headers_type`].
    pub headers: Option<ListArray>,
}

/// A record that could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The row of the source batch.
    pub row: u32,
    /// The node that refused it.
    pub node: Arc<str>,
    /// The class of the problem.
    pub reason: Reason,
    /// What was found and what would be right, for a person. No secrets; values cut to a sensible length.
    pub message: String,
    /// The row as JSON, where the node refused a derived row and not the source record itself.
    pub derived: Option<Vec<u8>>,
}

/// Why a record is bad. The text forms stand in dead letters' header `millstream.reason` and in metrics' labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is not of the source's format: syntax, nesting, number of fields.
    Malformed,
    /// The value is not valid UTF-8 where text was expected.
    InvalidUtf8,
    /// A field does not fit the type of its column.
    Type,
    /// A field that the schema does not name, where such are refused.
    UnknownField,
    /// A null value where the chain needs columns of it.
    Tombstone,
    /// An expression failed: overflow, division by zero, a bad cast.
    Expression,
    /// The row cannot be written in the sink's format.
    Encode,
    /// The record is larger than the sink's topic takes.
    TooLarge,
    /// The record's timestamp is outside what the sink's topic takes.
    Timestamp,
    /// The record has no key, and the sink's topic is compacted.
    NullKey,
    /// The broker refused the record for another reason.
    Refused,
}

impl Reason {
    /// All reasons, for metrics and docs.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::InvalidUtf8,
        Self::Type,
        Self::UnknownField,
        Self::Tombstone,
        Self::Expression,
        Self::Encode,
        Self::TooLarge,
        Self::Timestamp,
        Self::NullKey,
        Self::Refused,
    ];

    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::InvalidUtf8 => "invalid-utf8",
            Self::Type => "type",
            Self::UnknownField => "unknown-field",
            Self::Tombstone => "tombstone",
            Self::Expression => "expression",
            Self::Encode => "encode",
            Self::TooLarge => "too-large",
            Self::Timestamp => "timestamp",
            Self::NullKey => "null-key",
            Self::Refused => "refused",
        }
    }
}

/// What a chain made of a source batch.
#[derive(Clone, Debug, Default)]
pub struct Processed {
    /// Output, at most one batch a sink.
    pub sinks: Vec<SinkBatch>,
    /// Records that some node refused, in the order of their rows.
    pub bad: Vec<BadRecord>,
}

/// The Arrow type of headers: a list of (key, value), the value null where Kafka's is.
pub fn headers_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(header_fields()), false)))
}

/// The fields of one header.
pub fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

/// The rows `indices` of a column of headers.
pub fn take_headers(headers: &ListArray, indices: &UInt32Array) -> Result<ListArray, arrow::error::ArrowError> {
    let taken: ArrayRef = arrow::compute::take(headers, indices, None)?;
    Ok(arrow::array::AsArray::as_list::<i32>(taken.as_ref()).clone())
}

/// The time in milliseconds since 1970, as in a record's timestamp.
pub(crate) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
