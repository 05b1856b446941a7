//! Writing CSV: a field is quoted only where it must be, and a record has no line break at its end.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};

use super::super::problem::{Checked, Problem};
use super::super::rows::{Rows, text_len};
use super::super::view::View;
use super::super::{CsvSettings, Encoded, FormatError};
use crate::records::Reason;

/// Writes `Csv` values.
#[derive(Debug)]
pub(in super::super) struct CsvEncoder {
    settings: CsvSettings,
    /// The columns that are written, in order, by their places in the batch.
    columns: Vec<(usize, FieldRef)>,
}

impl CsvEncoder {
    pub(in super::super) fn new(settings: &CsvSettings, schema: &SchemaRef) -> Result<Self, FormatError> {
        let columns = match &settings.header {
            None => schema.fields().iter().cloned().enumerate().collect(),
            Some(header) => header.iter().map(|name| column(name, schema)).collect::<Result<Vec<_>, _>>()?,
        };
        columns.iter().try_for_each(|(_, field)| super::check(field))?;
        Ok(Self { settings: settings.clone(), columns })
    }

    pub(in super::super) fn encode(&self, batch: &RecordBatch) -> Encoded {
        let columns: Vec<_> =
            self.columns.iter().map(|(place, field)| self.prepare(field, batch.column(*place).as_ref())).collect();
        let mut rows = Rows::with_capacity(batch.num_rows(), text_len(batch));
        for row in 0..batch.num_rows() {
            rows.row(row, |out| self.write_row(&columns, row, out));
        }
        rows.finish(batch.num_rows())
    }

    fn prepare<'a>(&self, field: &'a FieldRef, array: &'a dyn Array) -> Prepared<'a> {
        let view = View::of(field, array);
        let plain = match &view {
            View::String(texts) | View::Json(texts) => !self.has_special(texts.value_data()),
            _ => false,
        };
        Prepared { name: field.name(), view, plain }
    }

    fn write_row(&self, columns: &[Prepared<'_>], row: usize, out: &mut Vec<u8>) -> Checked {
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(self.settings.delimiter);
            }
            if column.view.is_null(row) {
                out.extend_from_slice(self.settings.null_text.as_bytes());
            } else {
                self.write_field(column, row, out).map_err(|problem| problem.within(column.name))?;
            }
        }
        Ok(())
    }

    fn write_field(&self, column: &Prepared<'_>, row: usize, out: &mut Vec<u8>) -> Checked {
        let start = out.len();
        column
            .view
            .write_text(row, &self.settings.timestamps, out)
            .map_err(|refused| Problem::new(Reason::Encode, format!("{refused} has no CSV")))?;
        let field = &out[start..];
        if *field == *self.settings.null_text.as_bytes() || (!column.plain && self.has_special(field)) {
            self.quote_from(start, out);
        }
        Ok(())
    }

    /// Whether bytes hold what only a quoted field can. Without branches, so that it is done many bytes at a time.
    fn has_special(&self, bytes: &[u8]) -> bool {
        let CsvSettings { delimiter, quote, .. } = self.settings;
        let special = |byte: u8| u8::from(byte == delimiter) | u8::from(byte == quote) | u8::from(is_break(byte));
        bytes.iter().fold(0, |found, byte| found | special(*byte)) != 0
    }

    /// Quotes what was written since `start`.
    fn quote_from(&self, start: usize, out: &mut Vec<u8>) {
        let quote = self.settings.quote;
        let field = out.split_off(start);
        out.push(quote);
        for byte in field {
            if byte == quote {
                out.push(quote);
            }
            out.push(byte);
        }
        out.push(quote);
    }
}

fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// A column with what was found out about it for the whole batch.
struct Prepared<'a> {
    name: &'a str,
    view: View<'a>,
    /// No text of the column has anything special in it.
    plain: bool,
}

/// The column that a name of the header means.
fn column(name: &str, schema: &SchemaRef) -> Result<(usize, FieldRef), FormatError> {
    match schema.fields().find(name) {
        Some((place, field)) => Ok((place, FieldRef::clone(field))),
        None => Err(FormatError::NoSuchColumn {
            name: name.into(),
            columns: super::names(schema.fields().iter().map(|field| field.name())),
        }),
    }
}
