//! Values as text, and text from values: what several formats share.

use std::borrow::Cow;

use arrow::array::{Array, BinaryArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

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
