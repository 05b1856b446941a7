//! The metadata columns: what Kafka knows of a record besides its value.
//!
//! Every row of a stateless chain knows the source record that it was derived from, so that every node's expressions
//! can name these columns. They are not part of `*` nor of a sink's output, and are only materialised where an
//! expression names them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The metadata columns, in the order in which they follow a node's own columns.
pub const NAMES: [&str; 6] = ["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];

/// Whether a column of this name is a metadata column.
pub fn is_metadata(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The metadata columns' fields, in the order of [`NAMES`].
pub fn fields() -> [Field; 6] {
    let types = [
        DataType::Utf8,
        DataType::Int32,
        DataType::Int64,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Binary,
        headers_type(),
    ];
    let mut types = types.into_iter();
    NAMES.map(|name| Field::new(name, types.next().unwrap_or(DataType::Null), true))
}

/// What the expressions of a node see: the columns of its input, followed by the metadata columns.
pub fn table_of(columns: &Schema) -> SchemaRef {
    let own = columns.fields().iter().cloned();
    Arc::new(Schema::new(own.chain(fields().map(Arc::new)).collect::<Fields>()))
}

/// The type of `_headers`: as all columns' types, nullable throughout.
fn headers_type() -> DataType {
    let header =
        Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)]);
    DataType::List(Arc::new(Field::new("item", DataType::Struct(header), true)))
}
