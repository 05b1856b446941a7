//! `Raw`: one column with the whole record. Bytes are shared in both directions, never copied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};

use super::text::Texts;
use super::{Decoded, Encoded, Failure, FormatError, RawSettings, good_rows, kind, without_bad};
use crate::records::Reason;

/// Reads `Raw` values.
#[derive(Debug)]
pub(super) struct RawDecoder {
    binary: bool,
    used: bool,
}

impl RawDecoder {
    pub(super) fn new(settings: &RawSettings, schema: &SchemaRef, projection: &[usize]) -> Result<Self, FormatError> {
        let expected = if settings.binary { DataType::Binary } else { DataType::Utf8 };
        if schema.fields().len() != 1 || *schema.field(0).data_type() != expected {
            return Err(FormatError::RawColumns { found: describe(schema) });
        }
        Ok(Self { binary: settings.binary, used: !projection.is_empty() })
    }

    pub(super) fn decode(&self, values: &BinaryArray) -> Decoded {
        if self.binary {
            let columns = if self.used { vec![Arc::new(values.clone()) as ArrayRef] } else { vec![] };
            return Decoded { columns, rows: None, bad: vec![] };
        }
        let texts = Texts::new(values);
        let bad = match &texts {
            Texts::All(_) => vec![],
            Texts::Some(_) => (0..values.len()).filter_map(|row| Some(failure(row, texts.get(row).err()?))).collect(),
        };
        let columns = match texts {
            _ if !self.used => vec![],
            Texts::All(texts) => vec![Arc::new(texts) as ArrayRef],
            // The column as it came; the rows that are no text go before it is typed as text.
            Texts::Some(values) => return retyped(without_bad(vec![Arc::new(values.clone())], values.len(), bad)),
        };
        without_bad(columns, values.len(), bad)
    }
}

fn failure(row: usize, message: String) -> Failure {
    Failure { row: row as u32, reason: Reason::InvalidUtf8, message }
}

/// Types the one column, in which only text is left, as text.
fn retyped(mut decoded: Decoded) -> Decoded {
    for column in &mut decoded.columns {
        if let Texts::All(texts) = Texts::new(column.as_binary()) {
            *column = Arc::new(texts);
        }
    }
    decoded
}

/// Writes `Raw` values.
#[derive(Debug)]
pub(super) struct RawEncoder {
    column: String,
}

impl RawEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, FormatError> {
        let fits = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Binary);
        match schema.fields().iter().as_slice() {
            [field] if fits(field.data_type()) => Ok(Self { column: field.name().clone() }),
            _ => Err(FormatError::RawColumns { found: describe(schema) }),
        }
    }

    pub(super) fn encode(&self, batch: &RecordBatch) -> Encoded {
        let values = as_bytes(batch.column(0));
        if values.null_count() == 0 {
            return Encoded { values, rows: None, bad: vec![] };
        }
        // A null would be written as a tombstone, which says "delete" and not "unknown".
        let message = format!("column `{}` is null, which `Raw` cannot write", self.column);
        let bad: Vec<_> = (0..values.len())
            .filter(|row| values.is_null(*row))
            .map(|row| Failure { row: row as u32, reason: Reason::Encode, message: message.clone() })
            .collect();
        let rows = good_rows(values.len(), &bad);
        let good = without_bad(vec![Arc::new(values)], batch.num_rows(), bad);
        let values = good.columns[0].as_binary().clone();
        Encoded { values, rows, bad: good.bad }
    }
}

/// A column of text or bytes as bytes, shared.
pub(super) fn as_bytes(column: &ArrayRef) -> BinaryArray {
    match column.as_any().downcast_ref::<StringArray>() {
        Some(texts) => BinaryArray::from(texts.clone()),
        None => column.as_binary().clone(),
    }
}

fn describe(schema: &SchemaRef) -> String {
    let columns: Vec<_> =
        schema.fields().iter().map(|field| format!("`{}` {}", field.name(), kind::describe(field))).collect();
    if columns.is_empty() { "no column".into() } else { columns.join(", ") }
}
