//! Values as text, and text from values: what several formats share.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};

use super::json::value_as_json;
use super::kind::Kind;
use super::time::Timestamps;
use super::view::View;
use super::{FormatError, raw};

/// The values of a batch as text, checked at once where all of them are.
pub(super) enum Texts<'a> {
    /// All values are valid UTF-8; the array shares their bytes.
    All(StringArray),
    /// At least one is not.
    Some(&'a BinaryArray),
}

impl<'a> Texts<'a> {
    /// Checks the bytes of all values in one pass, and that none begins or ends within a character.
    pub(super) fn new(values: &'a BinaryArray) -> Self {
        let (start, end) = (values.value_offsets()[0], values.value_offsets()[values.len()]);
        let bytes = values.values().slice_with_length(start as usize, (end - start) as usize);
        let checked = StringArray::try_new(rebased(values.offsets(), start), bytes, values.nulls().cloned());
        checked.map_or(Self::Some(values), Self::All)
    }

    /// The text of a row, or what is wrong with its bytes.
    pub(super) fn get(&self, row: usize) -> Result<&str, String> {
        match self {
            Self::All(texts) => Ok(texts.value(row)),
            Self::Some(values) => std::str::from_utf8(values.value(row)).map_err(|error| {
                let at = error.valid_up_to();
                format!("byte {at} (0x{:02x}) is not valid UTF-8", values.value(row)[at])
            }),
        }
    }
}

/// The bytes of all values together, which may be a part of a larger buffer.
pub(super) fn bytes_of(values: &BinaryArray) -> &[u8] {
    let (start, end) = (values.value_offsets()[0], values.value_offsets()[values.len()]);
    &values.value_data()[start as usize..end as usize]
}

/// Offsets that begin at 0.
fn rebased(offsets: &OffsetBuffer<i32>, start: i32) -> OffsetBuffer<i32> {
    if start == 0 {
        return offsets.clone();
    }
    OffsetBuffer::new(offsets.iter().map(|offset| offset - start).collect::<ScalarBuffer<i32>>())
}

/// Bytes and where each value in them ends, as an array.
pub(super) fn binary_array(bytes: Vec<u8>, offsets: Vec<i32>) -> BinaryArray {
    BinaryArray::new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), None)
}

/// A text as it may stand in a message: cut to 64 characters.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The text form of every value of a column; nulls stay null.
pub(super) fn text_form(column: &ArrayRef) -> Result<BinaryArray, FormatError> {
    if matches!(column.data_type(), DataType::Utf8 | DataType::Binary) {
        return Ok(raw::as_bytes(column));
    }
    let field = Field::new("key", column.data_type().clone(), true);
    Kind::of(&field).map_err(|found| FormatError::unsupported("key", "the text form", &found))?;
    let view = View::of(&field, column);
    let mut forms = BinaryBuilder::with_capacity(column.len(), column.len() * 8);
    let mut text = Vec::new();
    for row in 0..column.len() {
        if view.is_null(row) {
            forms.append_null();
            continue;
        }
        text.clear();
        write_form(&view, &field, column, row, &mut text);
        forms.append_value(&text);
    }
    Ok(forms.finish())
}

fn write_form(view: &View<'_>, field: &Field, column: &ArrayRef, row: usize, text: &mut Vec<u8>) {
    if matches!(view, View::List(..) | View::Struct(_)) {
        value_as_json(field, column, row, text);
    } else if let Err(refused) = view.write_text(row, &Timestamps::default(), text) {
        view.write_refused(row, &refused, text);
    }
}
