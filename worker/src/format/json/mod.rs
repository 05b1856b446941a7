//! `Json`: one object a record.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Field;

mod plain;
mod read;
mod write;

pub(super) use read::{JsonDecoder, check};
pub(super) use write::JsonEncoder;

/// A row as an object, with a string where something has no JSON.
pub(super) fn row_as_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Nothing is refused in this style.
    let _ = write::write_json_row(batch, row, &write::Style::lenient(), &mut out);
    out
}

/// A value, with a string where something has no JSON.
pub(super) fn value_as_json(field: &Field, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let _ = write::write_json(field, array, row, &write::Style::lenient(), out);
}
