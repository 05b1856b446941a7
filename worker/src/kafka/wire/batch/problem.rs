//! What can be wrong with record batches.

use super::compression::Codec;

/// A record batch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record batch at offset {offset}: {problem}")]
pub struct Malformed {
    /// The offset that the batch begins at, or that it should begin at if its header is unreadable.
    pub offset: i64,
    /// What was found.
    pub problem: Problem,
}

/// What was found in a record batch, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A message set of Kafka before 0.11.
    #[error(
        "is of message format v{0}; only v2 can be read. Topics that were written before Kafka 0.11 have to be copied \
         into new ones"
    )]
    OldFormat(i8),
    /// A message format that does not exist yet.
    #[error("is of message format v{0}; only v2 can be read")]
    UnknownFormat(i8),
    /// The batch is shorter than a batch's header.
    #[error("its length field says {0} bytes; a batch has at least 49")]
    Length(i32),
    /// The checksum does not fit the content.
    #[error("its checksum is {stated:#010x}, its content's {computed:#010x}: it was damaged on disk or on the way")]
    Checksum {
        /// What the header says.
        stated: u32,
        /// What the content gives.
        computed: u32,
    },
    /// A codec that does not exist.
    #[error("its attributes name compression codec {0}; known are 0 to 4")]
    UnknownCodec(u8),
    /// The compressed bytes are damaged.
    #[error("cannot be decompressed as {codec}: {found}")]
    Compression {
        /// The codec.
        codec: Codec,
        /// What it said.
        found: String,
    },
    /// The batch would be larger than what may be allocated for it.
    #[error("is larger than {limit} bytes when decompressed from {codec}")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The batch's offsets are impossible.
    #[error("begins at offset {base} and its last record is {delta} behind it")]
    Offsets {
        /// The first offset.
        base: i64,
        /// The last offset's distance.
        delta: i32,
    },
    /// The number of records is impossible.
    #[error("says that it has {count} records in {bytes} bytes; a record has at least 7")]
    Count {
        /// What the header says.
        count: i32,
        /// The bytes of all records.
        bytes: usize,
    },
    /// Something follows the last record.
    #[error("has {0} bytes behind its last record")]
    Rest(usize),
    /// A record is damaged.
    #[error("record {index} of {count}: {fault}")]
    Record {
        /// The record's place, from 0.
        index: i32,
        /// The number of records in the batch.
        count: i32,
        /// What was found.
        fault: Fault,
    },
}

/// What was found in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within a field.
    #[error("the bytes end within its {0}")]
    Short(Field),
    /// A number is longer than its type allows.
    #[error("its {0} is encoded in more bytes than such a number can have")]
    Overlong(Field),
    /// A length is negative where it must not be, or goes beyond what holds it.
    #[error("its {field} is {length}, with {left} bytes left")]
    Length {
        /// Which one.
        field: Field,
        /// What it says.
        length: i64,
        /// The bytes that are left.
        left: usize,
    },
    /// The fields do not fill the record.
    #[error("its fields end {0} bytes before its end")]
    Rest(usize),
    /// The offset is outside the batch, or not above that of the record before.
    #[error("its offset is {delta} behind the batch's first; allowed is {least} to {last}")]
    Offset {
        /// The distance from the batch's first offset.
        delta: i32,
        /// The least that is allowed.
        least: i32,
        /// The batch's last.
        last: i32,
    },
    /// The timestamp is beyond what 64 bits can hold.
    #[error("its timestamp {base} + {delta} does not fit 64 bits")]
    Timestamp {
        /// The batch's first timestamp.
        base: i64,
        /// The distance from it.
        delta: i64,
    },
    /// The key of a control record is not one.
    #[error("its key is none of a control record: {0} bytes, version {1}")]
    ControlKey(usize, i16),
}

/// The fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The record's own length.
    Length,
    /// The attributes.
    Attributes,
    /// The timestamp.
    Timestamp,
    /// The offset.
    Offset,
    /// The key and its length.
    Key,
    /// The value and its length.
    Value,
    /// The number of headers.
    Headers,
    /// A header's name and its length.
    HeaderName,
    /// A header's value and its length.
    HeaderValue,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Length => "length",
            Self::Attributes => "attributes",
            Self::Timestamp => "timestamp",
            Self::Offset => "offset",
            Self::Key => "key's length",
            Self::Value => "value's length",
            Self::Headers => "number of headers",
            Self::HeaderName => "header name's length",
            Self::HeaderValue => "header value's length",
        })
    }
}
