//! Raw, CSV, JSON ↔ Arrow columns.
//!
//! The values of a batch of records become columns, and rows become values again. Three things decide the shape of
//! this module:
//!
//! * **A record is judged alone.** A [`Decoder`] appends record after record to column builders; one that turns out bad
//!   is completed with nulls, noted in [`Decoded::bad`], and taken out at the end. Nothing is retried, and no record
//!   can change what another one means: decoding a batch equals decoding its records one by one.
//! * **Syntax always, types on demand.** Syntax and UTF-8 of the whole record are checked whatever the chain reads;
//!   types only of the columns in use (the projection).
//! * **Nothing is guessed.** Numbers are read from their text and never through a double, a number that does not fit
//!   is an error and never rounded or wrapped, and text is no number. Only finite numbers cross the border of a
//!   record: NaN and infinities are refused when read and when written.
//!
//! What is written can be read back: `decode(encode(rows))` gives the rows for every format and type, but for what the
//! encoder refuses with [`Reason::Encode`].

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};

use crate::records::Reason;

mod column;
mod csv;
mod json;
mod kind;
mod members;
mod number;
mod problem;
mod raw;
mod rows;
mod spec;
mod text;
mod time;
mod view;

pub use spec::{CsvSettings, Format, FormatProblem, JsonSettings, RawSettings, UnknownFields};
pub use time::{Notation, Timestamps};

/// Why a format and a schema do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// `Raw` has exactly one column.
    #[error("`Raw` holds one column of type string or binary, found {found}")]
    RawColumns {
        /// The columns found, as a person would name them.
        found: String,
    },
    /// A type that the format cannot hold.
    #[error("column `{column}`: {format} has no notation for {found}")]
    Unsupported {
        /// The column.
        column: String,
        /// The format's name.
        format: &'static str,
        /// The type.
        found: String,
    },
    /// A column that `csv.header` does not name.
    #[error("column `{column}` is not in `csv.header`, which names {header}")]
    NotInHeader {
        /// The column.
        column: String,
        /// The names in the header.
        header: String,
    },
    /// A name of `csv.header` without a column to write.
    #[error("`csv.header` names `{name}`, which is no column; the columns are {columns}")]
    NoSuchColumn {
        /// The name in the header.
        name: String,
        /// The names of the columns.
        columns: String,
    },
    /// A projection that points outside of the schema, or is not ascending.
    #[error("the projection {projection:?} does not fit a schema of {columns} columns")]
    Projection {
        /// The projection.
        projection: Vec<usize>,
        /// The number of columns.
        columns: usize,
    },
}

impl FormatError {
    fn unsupported(column: &str, format: &'static str, found: &dyn std::fmt::Display) -> Self {
        Self::Unsupported { column: column.into(), format, found: found.to_string() }
    }
}

/// A record that could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The row of the batch that was given.
    pub row: u32,
    /// The class of the problem.
    pub reason: Reason,
    /// What was found and what would be right.
    pub message: String,
}

/// What a batch of values became.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The columns of the projection, in its order, with the good rows only.
    pub columns: Vec<ArrayRef>,
    /// The rows that are good, ascending; None if all are.
    pub rows: Option<UInt32Array>,
    /// The rows that are not, ascending.
    pub bad: Vec<Failure>,
}

/// What a batch of rows became.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The values of the rows that could be written.
    pub values: BinaryArray,
    /// The rows that could be written, ascending; None if all could.
    pub rows: Option<UInt32Array>,
    /// The rows that could not, ascending.
    pub bad: Vec<Failure>,
}

/// Reads values into columns.
#[derive(Debug)]
pub struct Decoder {
    kind: DecoderKind,
}

#[derive(Debug)]
enum DecoderKind {
    Raw(raw::RawDecoder),
    Csv(csv::CsvDecoder),
    Json(json::JsonDecoder),
}

impl Decoder {
    /// A decoder for the declared columns `schema`, of which those at the places `projection` (ascending, may be
    /// empty) are in use.
    pub fn new(format: &Format, schema: &SchemaRef, projection: &[usize]) -> Result<Self, FormatError> {
        let ascending = projection.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || projection.last().is_some_and(|last| *last >= schema.fields().len()) {
            return Err(FormatError::Projection { projection: projection.to_vec(), columns: schema.fields().len() });
        }
        let kind = match format {
            Format::Raw(settings) => DecoderKind::Raw(raw::RawDecoder::new(settings, schema, projection)?),
            Format::Csv(settings) => DecoderKind::Csv(csv::CsvDecoder::new(settings, schema, projection)?),
            Format::Json(settings) => DecoderKind::Json(json::JsonDecoder::new(settings, schema, projection)?),
        };
        Ok(Self { kind })
    }

    /// Reads the values of a batch, in which there are no nulls.
    pub fn decode(&self, values: &BinaryArray) -> Decoded {
        match &self.kind {
            DecoderKind::Raw(decoder) => decoder.decode(values),
            DecoderKind::Csv(decoder) => decoder.decode(values),
            DecoderKind::Json(decoder) => decoder.decode(values),
        }
    }
}

/// Writes rows as values.
#[derive(Debug)]
pub struct Encoder {
    kind: EncoderKind,
}

#[derive(Debug)]
enum EncoderKind {
    Raw(raw::RawEncoder),
    Csv(csv::CsvEncoder),
    Json(json::JsonEncoder),
}

impl Encoder {
    /// An encoder for rows of `schema`.
    pub fn new(format: &Format, schema: &SchemaRef) -> Result<Self, FormatError> {
        let kind = match format {
            Format::Raw(_) => EncoderKind::Raw(raw::RawEncoder::new(schema)?),
            Format::Csv(settings) => EncoderKind::Csv(csv::CsvEncoder::new(settings, schema)?),
            Format::Json(settings) => EncoderKind::Json(json::JsonEncoder::new(settings, schema)?),
        };
        Ok(Self { kind })
    }

    /// Writes the rows of a batch of the encoder's schema.
    pub fn encode(&self, batch: &RecordBatch) -> Encoded {
        match &self.kind {
            EncoderKind::Raw(encoder) => encoder.encode(batch),
            EncoderKind::Csv(encoder) => encoder.encode(batch),
            EncoderKind::Json(encoder) => encoder.encode(batch),
        }
    }
}

/// The text form of a column, for keys: texts and bytes as they are, other values as [`Format::Csv`] would write them,
/// lists and structs as JSON. A null stays null; a value without text, such as NaN, gets its name.
pub fn text_form(column: &ArrayRef) -> Result<BinaryArray, FormatError> {
    text::text_form(column)
}

/// A row as JSON, for dead letters. Never fails: what has no JSON is written as a string, NaN as `"NaN"`.
pub fn row_as_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    json::row_as_json(batch, row)
}

/// Takes the rows of `bad` out of columns of `len` rows.
fn without_bad(columns: Vec<ArrayRef>, len: usize, bad: Vec<Failure>) -> Decoded {
    let Some(rows) = good_rows(len, &bad) else { return Decoded { columns, rows: None, bad } };
    let taken = columns.iter().map(|column| arrow::compute::take(column, &rows, None)).collect::<Result<_, _>>();
    match taken {
        Ok(columns) => Decoded { columns, rows: Some(rows), bad },
        // Taking fewer rows than there are cannot overflow anything; should it fail, no row may get lost.
        Err(error) => all_bad(columns.iter().map(|column| column.data_type()), len, Reason::Malformed, &error),
    }
}

/// Every row is bad for one reason that is not in it.
fn all_bad<'a>(
    types: impl Iterator<Item = &'a DataType>,
    len: usize,
    reason: Reason,
    error: &dyn std::fmt::Display,
) -> Decoded {
    Decoded {
        columns: types.map(arrow::array::new_empty_array).collect(),
        rows: Some(UInt32Array::from(Vec::<u32>::new())),
        bad: (0..len as u32).map(|row| Failure { row, reason, message: error.to_string() }).collect(),
    }
}

/// The rows of `0..len` that are not bad; None if all are good.
fn good_rows(len: usize, bad: &[Failure]) -> Option<UInt32Array> {
    if bad.is_empty() {
        return None;
    }
    let mut bad = bad.iter().map(|failure| failure.row).peekable();
    let good = (0..len as u32).filter(|row| bad.next_if_eq(row).is_none());
    Some(UInt32Array::from_iter_values(good))
}

#[cfg(test)]
mod tests;
