//! `Csv`: one line of separated fields a record, as RFC 4180 has it.

mod read;
mod write;

pub(super) use read::CsvDecoder;
pub(super) use write::CsvEncoder;

use arrow::datatypes::Field;

use super::FormatError;
use super::kind::Kind;

/// Refuses what a field of a line cannot hold.
fn check(field: &Field) -> Result<(), FormatError> {
    match Kind::of(field) {
        Ok(kind) if kind.is_scalar() => Ok(()),
        Ok(kind) => Err(FormatError::unsupported(field.name(), "Csv", &kind)),
        Err(found) => Err(FormatError::unsupported(field.name(), "Csv", &found)),
    }
}

/// Names for a message.
fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
