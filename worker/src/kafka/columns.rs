//! Messages become columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int64Array, ListArray, StringBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};

use super::native::messages::Message;
use crate::records::{SourceBatch, TopicPartition, header_fields};

/// Columns of one source under construction.
#[derive(Debug)]
pub(super) struct Columns {
    source: usize,
    slots: Vec<u32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    headers: Option<HeaderColumns>,
    bytes: usize,
}

impl Columns {
    /// Room for `rows` records with `bytes` of values.
    pub(super) fn with_capacity(source: usize, rows: usize, bytes: usize) -> Self {
        Self {
            source,
            slots: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            keys: BinaryBuilder::with_capacity(rows, 0),
            values: BinaryBuilder::with_capacity(rows, bytes),
            headers: None,
            bytes: 0,
        }
    }

    pub(super) fn source(&self) -> usize {
        self.source
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, slot: u32, message: Message<'_>) {
        let row = self.offsets.len();
        let (key, value) = (message.key(), message.value());
        self.bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        self.slots.push(slot);
        self.offsets.push(message.offset());
        self.timestamps.push(message.timestamp());
        self.keys.append_option(key);
        self.values.append_option(value);
        match (message.headers(), &mut self.headers) {
            (None, None) => {}
            (Some(headers), columns) => {
                columns.get_or_insert_with(|| HeaderColumns::after(row)).push(headers.iter());
            }
            (None, Some(columns)) => columns.push(std::iter::empty::<(String, Option<&[u8]>)>()),
        }
    }

    pub(super) fn finish(mut self, partitions: &Arc<[TopicPartition]>) -> SourceBatch {
        SourceBatch {
            source: self.source,
            partitions: Arc::clone(partitions),
            slots: UInt32Array::from(self.slots),
            offsets: Int64Array::from(self.offsets),
            timestamps: Int64Array::from(self.timestamps),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: self.headers.map(HeaderColumns::finish),
        }
    }
}

/// The column of headers, made once a record has some.
#[derive(Debug)]
pub struct HeaderColumns {
    names: StringBuilder,
    values: BinaryBuilder,
    ends: Vec<i32>,
}

impl HeaderColumns {
    /// A column that begins with `rows` records without headers.
    pub fn after(rows: usize) -> Self {
        Self { names: StringBuilder::new(), values: BinaryBuilder::new(), ends: vec![0; rows + 1] }
    }

    /// Adds the headers of the next record.
    pub fn push<'a, N: AsRef<str>>(&mut self, headers: impl Iterator<Item = (N, Option<&'a [u8]>)>) {
        let mut end = self.ends.last().copied().unwrap_or(0);
        for (name, value) in headers {
            self.names.append_value(name);
            self.values.append_option(value);
            end += 1;
        }
        self.ends.push(end);
    }

    /// The column, typed as [`crate::records::headers_type`].
    pub fn finish(mut self) -> ListArray {
        let names: ArrayRef = Arc::new(self.names.finish());
        let values: ArrayRef = Arc::new(self.values.finish());
        let fields = header_fields();
        let entries = StructArray::new(fields.clone(), vec![names, values], None::<NullBuffer>);
        let field = Arc::new(Field::new("item", DataType::Struct(fields), false));
        ListArray::new(field, OffsetBuffer::new(ScalarBuffer::from(self.ends)), Arc::new(entries), None)
    }
}

/// Name and value of each header of a row.
pub(super) fn headers_of(headers: &ListArray, row: usize) -> Vec<(String, Option<Vec<u8>>)> {
    use arrow::array::{Array, AsArray};
    let entries = headers.value(row);
    let entries = entries.as_struct();
    let names = entries.column(0).as_string::<i32>();
    let values: &BinaryArray = entries.column(1).as_binary::<i32>();
    (0..entries.len())
        .map(|entry| {
            let value = values.is_valid(entry).then(|| values.value(entry).to_vec());
            (names.value(entry).to_owned(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    #[test]
    fn headers_begin_where_the_first_record_has_some() {
        let mut column = HeaderColumns::after(2);
        column.push([("a", Some(b"1".as_slice())), ("b", None)].into_iter());
        column.push(std::iter::empty::<(&str, Option<&[u8]>)>());
        let column = column.finish();
        assert_eq!(column.len(), 4);
        assert_eq!(column.data_type(), &crate::records::headers_type());
        assert!(headers_of(&column, 0).is_empty() && headers_of(&column, 3).is_empty());
        assert_eq!(headers_of(&column, 2), [("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)]);
    }
}
