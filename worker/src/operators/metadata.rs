//! The metadata columns: what Kafka knows of a record besides its value, and the batch's time.
//!
//! Every row of a stateless chain knows the source record that it was derived from, so that every node's expressions
//! can name these columns. They are not part of `*` nor of a sink's output, and are only materialised where an
//! expression names them.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::plan::sql::clock;
use crate::records::SourceBatch;

/// The metadata columns, in the order in which they follow a node's own columns.
pub const NAMES: [&str; 6] = ["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];

/// Columns behind a node's own: the metadata and the clock.
pub(super) const HIDDEN: usize = NAMES.len() + 1;

/// Whether a column of this name is a metadata column.
pub fn is_metadata(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The metadata columns' fields, in the order of [`NAMES`].
pub fn fields() -> [Field; 6] {
    let [topic, partition, offset, timestamp, key, headers] = NAMES;
    [
        Field::new(topic, DataType::Utf8, true),
        Field::new(partition, DataType::Int32, true),
        Field::new(offset, DataType::Int64, true),
        Field::new(timestamp, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new(key, DataType::Binary, true),
        Field::new(headers, DataType::List(header()), true),
    ]
}

/// What the expressions of a node see: the columns of its input, followed by the metadata columns.
pub fn table_of(columns: &Schema) -> SchemaRef {
    let own = columns.fields().iter().cloned();
    Arc::new(Schema::new(own.chain(fields().map(Arc::new)).collect::<Fields>()))
}

/// The field of a column behind a node's own, by its place among them.
pub(super) fn hidden_field(place: usize) -> Field {
    fields().into_iter().nth(place).unwrap_or_else(clock::field)
}

/// An element of `_headers`: as all columns' types, nullable throughout.
fn header() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(header_fields()), true))
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)])
}

/// The columns behind a node's own for one source batch, made when first asked for.
pub(super) struct Hidden<'a> {
    batch: &'a SourceBatch,
    now: i64,
    columns: [OnceCell<ArrayRef>; HIDDEN],
}

impl<'a> Hidden<'a> {
    /// The hidden columns of a batch, at a time in microseconds.
    pub(super) fn new(batch: &'a SourceBatch, now: i64) -> Self {
        Self { batch, now, columns: Default::default() }
    }

    /// A column for some rows of the batch; for all of them, if None.
    pub(super) fn column(&self, place: usize, rows: Option<&UInt32Array>) -> Result<ArrayRef, ArrowError> {
        let whole = match self.columns[place].get() {
            Some(whole) => whole,
            None => {
                let made = self.make(place)?;
                self.columns[place].get_or_init(|| made)
            }
        };
        rows.map_or_else(|| Ok(Arc::clone(whole)), |rows| take(whole, rows, None))
    }

    fn make(&self, place: usize) -> Result<ArrayRef, ArrowError> {
        let batch = self.batch;
        Ok(match place {
            0 => {
                let topics: StringArray = batch.partitions.iter().map(|at| Some(at.topic.as_ref())).collect();
                take(&topics, &batch.slots, None)?
            }
            1 => {
                let numbers: Int32Array = batch.partitions.iter().map(|at| at.partition).collect();
                take(&numbers, &batch.slots, None)?
            }
            2 => Arc::new(batch.offsets.clone()),
            3 => Arc::new(timestamps(batch)),
            4 => Arc::new(batch.keys.clone()),
            5 => Arc::new(headers(batch)?),
            _ => Arc::new(TimestampMicrosecondArray::from(vec![self.now; batch.len()]).with_timezone("UTC")),
        })
    }
}

/// In microseconds; null where a record has none.
fn timestamps(batch: &SourceBatch) -> TimestampMicrosecondArray {
    let micros = |millis: i64| if millis < 0 { None } else { millis.checked_mul(1000) };
    let found: TimestampMicrosecondArray = batch.timestamps.iter().map(|millis| millis.and_then(micros)).collect();
    found.with_timezone("UTC")
}

/// The same headers, typed as columns are; a record without any has an empty list.
fn headers(batch: &SourceBatch) -> Result<ListArray, ArrowError> {
    let (offsets, entries, nulls) = match &batch.headers {
        Some(headers) => (headers.offsets().clone(), headers.values().as_struct().clone(), headers.nulls().cloned()),
        None => (OffsetBuffer::new_zeroed(batch.len()), StructArray::new_null(header_fields(), 0), None),
    };
    let (_, columns, valid) = entries.into_parts();
    let entries = StructArray::try_new(header_fields(), columns, valid)?;
    ListArray::try_new(header(), offsets, Arc::new(entries), nulls)
}
