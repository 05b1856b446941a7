//! Values under construction: the bytes of row after row in one buffer.

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::problem::Checked;
use super::text::binary_array;
use super::{Encoded, Failure, good_rows};
use crate::records::Reason;

/// The bytes of a batch's rows, which are a part of what its buffers may hold: a guess at what they are as text.
pub(super) fn text_len(batch: &RecordBatch) -> usize {
    let len = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
    batch.columns().iter().map(len).sum()
}

/// The written rows of a batch.
#[derive(Debug)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    bad: Vec<Failure>,
}

impl Rows {
    /// Room for `rows` rows of together about `bytes` bytes.
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets, bad: Vec::new() }
    }

    /// Writes a row; one that fails leaves nothing behind.
    pub(super) fn row(&mut self, row: usize, write: impl FnOnce(&mut Vec<u8>) -> Checked) {
        let start = self.bytes.len();
        let message = match write(&mut self.bytes) {
            Ok(()) => match i32::try_from(self.bytes.len()) {
                Ok(end) => return self.offsets.push(end),
                Err(_) => Failure {
                    row: row as u32,
                    reason: Reason::Encode,
                    message: "the batch becomes larger than 2 GiB by this row".into(),
                },
            },
            Err(problem) => problem.of_row(row),
        };
        self.bytes.truncate(start);
        self.bad.push(message);
    }

    /// The values of `len` rows.
    pub(super) fn finish(self, len: usize) -> Encoded {
        let rows = good_rows(len, &self.bad);
        Encoded { values: binary_array(self.bytes, self.offsets), rows, bad: self.bad }
    }
}
