//! Writing JSON: members in the order of the columns, without spaces, nulls written out.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};

use super::super::kind::Kind;
use super::super::number::{write_float, write_integer};
use super::super::problem::{Checked, Problem};
use super::super::rows::{Rows, text_len};
use super::super::time::Timestamps;
use super::super::view::{Refused, View};
use super::super::{Encoded, FormatError, JsonSettings};
use crate::records::Reason;

/// Writes `Json` values.
#[derive(Debug)]
pub(in super::super) struct JsonEncoder {
    schema: SchemaRef,
    style: Style,
}

/// How JSON is written.
#[derive(Debug)]
pub(in super::super) struct Style {
    /// How timestamps stand in text.
    pub timestamps: Timestamps,
    /// Writes what has no JSON as a string instead of refusing it.
    pub lenient: bool,
}

impl Style {
    /// For people's eyes: timestamps as RFC 3339, nothing refused.
    pub(in super::super) fn lenient() -> Self {
        Self { timestamps: Timestamps::default(), lenient: true }
    }
}

impl JsonEncoder {
    pub(in super::super) fn new(settings: &JsonSettings, schema: &SchemaRef) -> Result<Self, FormatError> {
        for field in schema.fields() {
            Kind::of(field).map_err(|found| FormatError::unsupported(field.name(), "Json", &found))?;
        }
        let style = Style { timestamps: settings.timestamps.clone(), lenient: false };
        Ok(Self { schema: SchemaRef::clone(schema), style })
    }

    pub(in super::super) fn encode(&self, batch: &RecordBatch) -> Encoded {
        let object = JsonObject::new(self.schema.fields().iter().map(AsRef::as_ref), batch.columns());
        let room = text_len(batch) + batch.num_rows() * object.names_len();
        let mut rows = Rows::with_capacity(batch.num_rows(), room);
        for row in 0..batch.num_rows() {
            rows.row(row, |out| object.write(row, &self.style, out));
        }
        rows.finish(batch.num_rows())
    }
}

/// Appends a value of a column; null is `null`.
pub(in super::super) fn write_json(
    field: &Field,
    array: &dyn Array,
    row: usize,
    style: &Style,
    out: &mut Vec<u8>,
) -> Checked {
    JsonColumn::new(field, array).write(row, style, out)
}

/// Appends a row as an object.
pub(in super::super) fn write_json_row(batch: &RecordBatch, row: usize, style: &Style, out: &mut Vec<u8>) -> Checked {
    let schema = batch.schema_ref();
    JsonObject::new(schema.fields().iter().map(AsRef::as_ref), batch.columns()).write(row, style, out)
}

/// Columns that are written as the members of an object.
struct JsonObject<'a> {
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    name: &'a str,
    /// What comes before the value: `,"name":`.
    prefix: Vec<u8>,
    column: JsonColumn<'a>,
}

/// A column with what was found out about it for the whole batch.
struct JsonColumn<'a> {
    view: View<'a>,
    /// Some value is null.
    nulls: bool,
    /// No text of the column has to be escaped.
    plain: bool,
    parts: Parts<'a>,
}

enum Parts<'a> {
    None,
    Item(Box<JsonColumn<'a>>),
    Members(JsonObject<'a>),
}

impl<'a> JsonObject<'a> {
    fn new(fields: impl Iterator<Item = &'a Field>, arrays: &'a [arrow::array::ArrayRef]) -> Self {
        let members = fields.zip(arrays).enumerate().map(|(place, (field, array))| {
            let mut prefix = vec![if place == 0 { b'{' } else { b',' }];
            write_string(field.name(), &mut prefix);
            prefix.push(b':');
            Member { name: field.name(), prefix, column: JsonColumn::new(field, array) }
        });
        Self { members: members.collect() }
    }

    fn names_len(&self) -> usize {
        self.members.iter().map(|member| member.prefix.len()).sum()
    }

    fn write(&self, row: usize, style: &Style, out: &mut Vec<u8>) -> Checked {
        if self.members.is_empty() {
            out.push(b'{');
        }
        for member in &self.members {
            out.extend_from_slice(&member.prefix);
            member.column.write(row, style, out).map_err(|problem| problem.within(member.name))?;
        }
        out.push(b'}');
        Ok(())
    }
}

impl<'a> JsonColumn<'a> {
    fn new(field: &'a Field, array: &'a dyn Array) -> Self {
        let view = View::of(field, array);
        let (plain, parts) = match &view {
            View::String(texts) => {
                (!texts.value_data().iter().fold(false, |found, byte| found | must_escape(*byte)), Parts::None)
            }
            View::List(list, item) => (true, Parts::Item(Box::new(Self::new(item, list.values())))),
            View::Struct(row) => {
                let fields = row.fields().iter().map(AsRef::as_ref);
                (true, Parts::Members(JsonObject::new(fields, row.columns())))
            }
            _ => (true, Parts::None),
        };
        Self { view, nulls: array.null_count() > 0, plain, parts }
    }

    fn write(&self, row: usize, style: &Style, out: &mut Vec<u8>) -> Checked {
        if self.nulls && self.view.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match (&self.view, &self.parts) {
            (View::String(texts), _) => {
                if self.plain {
                    quoted(out, |out| out.extend_from_slice(texts.value(row).as_bytes()));
                } else {
                    write_string(texts.value(row), out);
                }
                Ok(())
            }
            (View::Bigint(numbers), _) => {
                write_integer(numbers.value(row), out);
                Ok(())
            }
            (View::Double(numbers), _) => {
                if write_float(numbers.value(row), out) {
                    return Ok(());
                }
                self.write_scalar(row, style, out)
            }
            (View::List(list, _), Parts::Item(item)) => {
                let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
                item.write_items(start as usize..end as usize, style, out)
            }
            (View::Struct(_), Parts::Members(members)) => members.write(row, style, out),
            _ => self.write_scalar(row, style, out),
        }
    }

    fn write_items(&self, items: std::ops::Range<usize>, style: &Style, out: &mut Vec<u8>) -> Checked {
        out.push(b'[');
        for (place, item) in items.enumerate() {
            if place > 0 {
                out.push(b',');
            }
            self.write(item, style, out).map_err(|problem| problem.at(place))?;
        }
        out.push(b']');
        Ok(())
    }

    fn write_scalar(&self, row: usize, style: &Style, out: &mut Vec<u8>) -> Checked {
        let start = out.len();
        let timestamps = &style.timestamps;
        let written = match &self.view {
            View::Timestamp(_) if timestamps.is_number() => self.view.write_text(row, timestamps, out),
            // Only a pattern can write what has to be escaped.
            View::Timestamp(_) if timestamps.is_pattern() => {
                let mut text = Vec::new();
                let written = self.view.write_text(row, timestamps, &mut text);
                write_string(&String::from_utf8_lossy(&text), out);
                written
            }
            View::Binary(_) | View::Date(_) | View::Timestamp(_) => {
                out.push(b'"');
                let written = self.view.write_text(row, timestamps, out);
                out.push(b'"');
                written
            }
            _ => self.view.write_text(row, timestamps, out),
        };
        let Err(refused) = written else { return Ok(()) };
        out.truncate(start);
        if !style.lenient {
            return Err(refusal(&refused));
        }
        let mut text = Vec::new();
        self.view.write_refused(row, &refused, &mut text);
        write_string(&String::from_utf8_lossy(&text), out);
        Ok(())
    }
}

fn refusal(refused: &Refused) -> Problem {
    Problem::new(Reason::Encode, format!("{refused} has no JSON"))
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Whether a byte cannot stand in a string as it is.
fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends a string with its quotes. Only what must be is escaped, in the shortest way.
fn write_string(text: &str, out: &mut Vec<u8>) {
    quoted(out, |out| {
        let mut rest = text.as_bytes();
        while let Some(place) = rest.iter().position(|byte| must_escape(*byte)) {
            out.extend_from_slice(&rest[..place]);
            write_escape(rest[place], out);
            rest = &rest[place + 1..];
        }
        out.extend_from_slice(rest);
    });
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
