//! Records become columns, whoever read them: librdkafka's messages and record batches from the wire fill the same ones.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int64Array, ListArray, NullBufferBuilder, StringBuilder, StructArray,
    UInt32Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};

use crate::records::{SourceBatch, TopicPartition, header_fields};

/// A record without its headers, as it lies in the memory of whoever read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if the record has no timestamp.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; None is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Columns of one source under construction. Keys and values are copied into them once and nothing else is allocated
/// for a record.
///
/// # Panics
/// Arrow's 32-bit offsets bound the keys, the values and the headers of one batch to 2 GiB each: who fills the columns
/// keeps below that.
#[derive(Debug)]
pub struct Columns {
    source: usize,
    slots: Vec<u32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BytesColumn,
    values: BytesColumn,
    headers: Option<HeaderColumns>,
}

impl Columns {
    /// Room for `rows` records with `bytes` of values.
    pub fn with_capacity(source: usize, rows: usize, bytes: usize) -> Self {
        Self {
            source,
            slots: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            keys: BytesColumn::with_capacity(rows, 0),
            values: BytesColumn::with_capacity(rows, bytes),
            headers: None,
        }
    }

    /// The source that the records are of.
    pub fn source(&self) -> usize {
        self.source
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.data.len() + self.values.data.len()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Adds a record without headers.
    #[inline]
    pub fn push(&mut self, slot: u32, row: Row<'_>) {
        self.fields(slot, row);
        if let Some(columns) = &mut self.headers {
            columns.push(std::iter::empty::<(&str, Option<&[u8]>)>());
        }
    }

    /// Adds a record with headers.
    pub fn push_with_headers<'a, N: AsRef<str>>(
        &mut self,
        slot: u32,
        row: Row<'_>,
        headers: impl Iterator<Item = (N, Option<&'a [u8]>)>,
    ) {
        let before = self.len();
        self.fields(slot, row);
        self.headers.get_or_insert_with(|| HeaderColumns::after(before)).push(headers);
    }

    #[inline]
    fn fields(&mut self, slot: u32, row: Row<'_>) {
        self.slots.push(slot);
        self.offsets.push(row.offset);
        self.timestamps.push(row.timestamp);
        self.keys.push(row.key);
        self.values.push(row.value);
    }

    /// The batch; its slots point into `partitions`.
    pub fn finish(self, partitions: &Arc<[TopicPartition]>) -> SourceBatch {
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

/// A column of bytes under construction. Records mostly have no key: as long as there are only nulls, they are counted.
#[derive(Debug)]
struct BytesColumn {
    /// The nulls before the first value.
    leading: usize,
    /// Where rows begin and end, from the first value on.
    offsets: Vec<i32>,
    data: Vec<u8>,
    /// From the first null beside a value on.
    validity: Option<NullBufferBuilder>,
    /// The room that was asked for, in rows.
    rows: usize,
}

impl BytesColumn {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { leading: 0, offsets: Vec::new(), data: Vec::with_capacity(bytes), validity: None, rows }
    }

    #[inline]
    fn push(&mut self, value: Option<&[u8]>) {
        if self.offsets.is_empty() {
            if value.is_none() {
                self.leading += 1;
                return;
            }
            self.begin();
        }
        if value.is_none() || self.validity.is_some() {
            let valid = self.offsets.len() - 1;
            let validity = self.validity.get_or_insert_with(|| NullBufferBuilder::new_with_len(valid));
            validity.append(value.is_some());
        }
        self.data.extend_from_slice(value.unwrap_or_default());
        // One that is too long shows as one that does not ascend.
        self.offsets.push(self.data.len() as i32);
    }

    /// Makes room, and the nulls that were counted.
    #[cold]
    fn begin(&mut self) {
        self.offsets.reserve(self.rows.max(self.leading) + 1);
        self.offsets.resize(self.leading + 1, 0);
        if self.leading > 0 {
            let mut validity = NullBufferBuilder::new(self.rows);
            validity.append_n_nulls(self.leading);
            self.validity = Some(validity);
        }
    }

    fn finish(mut self) -> BinaryArray {
        if self.offsets.is_empty() {
            return BinaryArray::new_null(self.leading);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = self.validity.as_mut().and_then(NullBufferBuilder::finish);
        BinaryArray::new(offsets, Buffer::from_vec(self.data), nulls)
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
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::Array;

    #[test]
    fn records_become_rows_in_order() {
        let mut columns = Columns::with_capacity(3, 2, 16);
        let row = |offset, key, value| Row { offset, timestamp: 7, key, value };
        columns.push(1, row(10, None, Some(b"value".as_slice())));
        columns.push_with_headers(0, row(4, Some(b"key".as_slice()), None), [("a", None)].into_iter());
        columns.push(1, row(11, Some(b"".as_slice()), Some(b"".as_slice())));
        assert_eq!((columns.source(), columns.len(), columns.bytes()), (3, 3, 8));
        let partitions: Vec<_> = (0..2).map(|partition| TopicPartition { topic: Arc::from("t"), partition }).collect();
        let batch = columns.finish(&Arc::from(partitions));
        assert_eq!(batch.slots.values(), &[1, 0, 1]);
        assert_eq!(batch.offsets.values(), &[10, 4, 11]);
        assert_eq!(batch.keys.iter().collect::<Vec<_>>(), [None, Some(b"key".as_slice()), Some(b"")]);
        assert_eq!(batch.values.iter().collect::<Vec<_>>(), [Some(b"value".as_slice()), None, Some(b"")]);
        let headers = batch.headers.unwrap();
        assert_eq!([0, 1, 2].map(|row| headers.value_length(row)), [0, 1, 0]);
    }

    #[test]
    fn columns_of_bytes_are_those_that_arrow_builds() {
        let (some, none): (Option<&[u8]>, Option<&[u8]>) = (Some(b"ab"), None);
        let cases: [&[Option<&[u8]>]; 7] =
            [&[], &[none], &[none, none], &[some], &[none, some, none], &[some, none, some], &[Some(b""), some]];
        for rows in cases {
            let mut column = BytesColumn::with_capacity(1, 1);
            for row in rows {
                column.push(*row);
            }
            let (built, expected) = (column.finish(), BinaryArray::from_iter(rows));
            assert_eq!(built, expected);
            assert_eq!(built.null_count(), expected.null_count());
        }
    }

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
