//! Formats from outside: batches of values in, columns out, and back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod csv;
mod forms;
mod json;
mod nasty;
mod properties;
mod raw;
mod settings;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::*;
use crate::format::kind::TYPE_KEY;

/// The type of a word of the manifest; only what tests need of the compiler's parser.
fn data_type(name: &str) -> DataType {
    match name {
        "string" | "json" => DataType::Utf8,
        "binary" => DataType::Binary,
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "decimal(10,2)" => DataType::Decimal128(10, 2),
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "list<int>" => list(field("item", "int")),
        "list<string>" => list(field("item", "string")),
        "list<struct<a: int, b: list<string>>>" => {
            list(Field::new("item", data_type("struct<a: int, b: list<string>>"), true))
        }
        "struct<a: int, b: list<string>>" => {
            DataType::Struct(Fields::from(vec![field("a", "int"), field("b", "list<string>")]))
        }
        other => panic!("no type {other}"),
    }
}

fn list(item: Field) -> DataType {
    DataType::List(Arc::new(item))
}

fn field(name: &str, kind: &str) -> Field {
    let metadata = if kind == "json" { HashMap::from([(TYPE_KEY.into(), "json".into())]) } else { HashMap::new() };
    Field::new(name, data_type(kind), true).with_metadata(metadata)
}

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| field(name, kind)).collect::<Vec<_>>()))
}

fn values<T: AsRef<[u8]>>(records: &[T]) -> BinaryArray {
    BinaryArray::from_iter_values(records.iter().map(AsRef::as_ref))
}

/// Decodes with all columns in use.
fn decode(format: &Format, schema: &SchemaRef, values: &BinaryArray) -> Decoded {
    let all: Vec<_> = (0..schema.fields().len()).collect();
    decode_part(format, schema, &all, values)
}

/// Decodes the columns of a projection. JSON is read in both ways, which must find the same.
fn decode_part(format: &Format, schema: &SchemaRef, projection: &[usize], values: &BinaryArray) -> Decoded {
    let decoder = Decoder::new(format, schema, projection).unwrap();
    let decoded = decoder.decode(values);
    if let DecoderKind::Json(json) = &decoder.kind {
        let strict = json.decode_strictly(values);
        assert_eq!(decoded.bad, strict.bad);
        assert_eq!(decoded.rows, strict.rows);
        assert_eq!(decoded.columns, strict.columns);
    }
    decoded
}

/// The decoded columns as a batch.
fn batch(schema: &SchemaRef, decoded: &Decoded, len: usize) -> RecordBatch {
    let rows = decoded.rows.as_ref().map_or(len, arrow::array::Array::len);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), decoded.columns.clone(), &options).unwrap()
}

/// What one record became, in one line: the row as JSON, or reason and message.
fn outcome(format: &Format, schema: &SchemaRef, record: &[u8]) -> String {
    let decoded = decode(format, schema, &values(&[record]));
    match decoded.bad.as_slice() {
        [] => String::from_utf8(row_as_json(&batch(schema, &decoded, 1), 0)).unwrap(),
        [failure] => format!("{}: {}", failure.reason.as_str(), failure.message),
        more => panic!("one record, {} failures", more.len()),
    }
}

/// Reads a record and writes it again.
fn rewritten(read: &Format, write: &Format, schema: &SchemaRef, record: &[u8]) -> Vec<u8> {
    let decoded = decode(read, schema, &values(&[record]));
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let encoded = Encoder::new(write, schema).unwrap().encode(&batch(schema, &decoded, 1));
    assert!(encoded.bad.is_empty(), "{:?}", encoded.bad);
    encoded.values.value(0).to_vec()
}

fn json_format() -> Format {
    Format::Json(JsonSettings { unknown_fields: UnknownFields::Ignore, timestamps: Timestamps::default() })
}

fn csv_format() -> Format {
    Format::Csv(csv_settings())
}

fn csv_settings() -> CsvSettings {
    CsvSettings {
        delimiter: b',',
        quote: b'"',
        header: None,
        null_text: String::new(),
        timestamps: Timestamps::default(),
    }
}
