//! Properties over random schemas, rows and bytes. A failing case prints its smallest form and a seed.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Fields;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// A value of any type.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Text(String),
    Bytes(Vec<u8>),
    Boolean(bool),
    Whole(i128),
    Double(f64),
    Parts(Vec<Value>),
}

const SCALARS: [&str; 12] = [
    "string",
    "json",
    "binary",
    "boolean",
    "int",
    "bigint",
    "float",
    "double",
    "decimal(10,2)",
    "date",
    "timestamp",
    "decimal(38,19)",
];

/// The microseconds of the years 0001 to 9998, so that no zone leads out of what can be written.
const MICROS: std::ops::Range<i128> = -62_135_596_800_000_000..253_370_764_800_000_000;

fn scalar_type(name: &str) -> DataType {
    if name == "decimal(38,19)" { DataType::Decimal128(38, 19) } else { data_type(name) }
}

fn scalar_field(name: String, kind: &str) -> Field {
    let plain = Field::new(name, scalar_type(kind), true);
    if kind == "json" { plain.with_metadata(HashMap::from([(TYPE_KEY.into(), "json".into())])) } else { plain }
}

/// A field of any type; nested ones where `depth` allows.
fn any_field(depth: u32) -> BoxedStrategy<Field> {
    let name = "[a-c]|\\PC{0,4}|[\"\\\\,\n]";
    let scalar = (name, select(&SCALARS[..])).prop_map(|(name, kind)| scalar_field(name, kind));
    if depth == 0 {
        return scalar.boxed();
    }
    let list = (name, any_field(depth - 1))
        .prop_map(|(name, item)| Field::new(name, DataType::List(Arc::new(item.with_name("item"))), true));
    let row = (name, fields(depth - 1, 0)).prop_map(|(name, fields)| Field::new(name, DataType::Struct(fields), true));
    prop_oneof![4 => scalar, 1 => list, 1 => row].boxed()
}

/// Some fields of different names.
fn fields(depth: u32, least: usize) -> BoxedStrategy<Fields> {
    let rename = |(place, field): (usize, Field)| {
        let name = format!("{}{place}", field.name());
        field.with_name(name)
    };
    vec(any_field(depth), least..5).prop_map(move |fields| fields.into_iter().enumerate().map(rename).collect()).boxed()
}

/// A value of a type, or null.
fn any_value(field: &Field) -> BoxedStrategy<Value> {
    let whole = |range: std::ops::RangeInclusive<i128>| range.prop_map(Value::Whole).boxed();
    let value = match field.data_type() {
        DataType::Utf8 if field.metadata().contains_key(TYPE_KEY) => {
            select(vec!["1.50", "\"a,b\"", "[ 1,\n2]", "{\"k\": null}", "-0.0e-5", "true"])
                .prop_map(|text| Value::Text(text.into()))
                .boxed()
        }
        DataType::Utf8 => "\\PC{0,8}|[\"\\\\,;\r\n\u{0}-\u{1f}a]{0,6}|NULL".prop_map(Value::Text).boxed(),
        DataType::Binary => vec(any::<u8>(), 0..6).prop_map(Value::Bytes).boxed(),
        DataType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        DataType::Int32 => whole(i128::from(i32::MIN)..=i128::from(i32::MAX)),
        DataType::Int64 => whole(i128::from(i64::MIN)..=i128::from(i64::MAX)),
        DataType::Float32 => any::<f32>().prop_map(|value| Value::Double(value.into())).boxed(),
        DataType::Float64 => any::<f64>().prop_map(Value::Double).boxed(),
        DataType::Decimal128(precision, _) => {
            let limit = 10_i128.pow(u32::from(*precision)) - 1;
            whole(-limit..=limit)
        }
        DataType::Date32 => whole(MICROS.start / 86_400_000_000..=MICROS.end / 86_400_000_000),
        DataType::Timestamp(..) => whole(MICROS.start..=MICROS.end),
        DataType::List(item) => vec(any_value(item), 0..4).prop_map(Value::Parts).boxed(),
        DataType::Struct(fields) => {
            fields.iter().map(|field| any_value(field)).collect::<Vec<_>>().prop_map(Value::Parts).boxed()
        }
        other => panic!("no values of {other}"),
    };
    prop_oneof![1 => Just(Value::Null), 5 => value].boxed()
}

/// Takes the content of one kind out of a value; None for null.
macro_rules! content {
    ($values:expr, $kind:ident, $convert:expr) => {
        $values.iter().map(|value| match value {
            Value::$kind(content) => Some($convert(content.clone())),
            _ => None,
        })
    };
}

/// A column of values.
fn array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    match data_type {
        DataType::Utf8 => Arc::new(content!(values, Text, |text: String| text).collect::<StringArray>()),
        DataType::Binary => Arc::new(content!(values, Bytes, |bytes: Vec<u8>| bytes).collect::<BinaryArray>()),
        DataType::Boolean => Arc::new(content!(values, Boolean, |value: bool| value).collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(content!(values, Whole, |value: i128| value as i32).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(content!(values, Whole, |value: i128| value as i64).collect::<Int64Array>()),
        DataType::Float32 => Arc::new(content!(values, Double, |value: f64| value as f32).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(content!(values, Double, |value: f64| value).collect::<Float64Array>()),
        DataType::Decimal128(..) => {
            let array = content!(values, Whole, |value: i128| value).collect::<Decimal128Array>();
            Arc::new(array.with_data_type(data_type.clone()))
        }
        DataType::Date32 => Arc::new(content!(values, Whole, |value: i128| value as i32).collect::<Date32Array>()),
        DataType::Timestamp(..) => {
            let array = content!(values, Whole, |value: i128| value as i64).collect::<TimestampMicrosecondArray>();
            Arc::new(array.with_timezone("UTC"))
        }
        DataType::List(item) => {
            let lists: Vec<_> = content!(values, Parts, |items: Vec<Value>| items).collect();
            let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
            let items: Vec<_> = lists.iter().flatten().flatten().cloned().collect();
            let valid = lists.iter().map(Option::is_some).collect::<NullBuffer>();
            let items = array(item.data_type(), &items);
            Arc::new(ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, Some(valid)))
        }
        DataType::Struct(fields) => {
            let rows: Vec<_> = content!(values, Parts, |members: Vec<Value>| members).collect();
            let member =
                |row: &Option<Vec<Value>>, place: usize| row.as_ref().map_or(Value::Null, |row| row[place].clone());
            let column = |(place, field): (usize, &Arc<Field>)| {
                array(field.data_type(), &rows.iter().map(|row| member(row, place)).collect::<Vec<_>>())
            };
            let columns = fields.iter().enumerate().map(column).collect();
            let valid = rows.iter().map(Option::is_some).collect::<NullBuffer>();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, Some(valid), rows.len()).unwrap())
        }
        other => panic!("no columns of {other}"),
    }
}

/// Rows of random columns.
fn any_batch(depth: u32) -> impl Strategy<Value = RecordBatch> {
    (fields(depth, 1), 0..8_usize).prop_flat_map(|(fields, rows)| {
        let columns: Vec<_> = fields.iter().map(|field| vec(any_value(field), rows)).collect();
        columns.prop_map(move |columns| {
            let arrays = fields.iter().zip(&columns).map(|(field, values)| array(field.data_type(), values)).collect();
            RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), arrays).unwrap()
        })
    })
}

fn any_timestamps() -> impl Strategy<Value = Timestamps> {
    let zones = select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]);
    let pattern = Notation::Pattern("%Y-%m-%d %H:%M:%S%.6f %z".into());
    let notations = prop_oneof![Just(Notation::Rfc3339), Just(Notation::EpochMicros), Just(pattern)];
    (notations, zones).prop_map(|(notation, zone)| {
        let zone = if notation == Notation::EpochMicros { "UTC" } else { zone };
        Timestamps { notation, zone: TimeZone::get(zone).unwrap() }
    })
}

fn any_json() -> impl Strategy<Value = Format> {
    let unknown = select(vec![UnknownFields::Ignore, UnknownFields::Refuse]);
    (unknown, any_timestamps())
        .prop_map(|(unknown_fields, timestamps)| Format::Json(JsonSettings { unknown_fields, timestamps }))
}

/// Settings for a schema; the header may turn the columns around.
fn any_csv(schema: &SchemaRef) -> impl Strategy<Value = Format> + use<> {
    let mut names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
    names.reverse();
    let header = select(vec![None, Some(names)]);
    let separators = select(vec![(b',', b'"'), (b';', b'\''), (b'\t', b'"'), (b'1', b'a'), (b'-', b':')]);
    let null = select(vec!["", "NULL", "\\N", "0"]);
    (header, separators, null, any_timestamps()).prop_map(|(header, (delimiter, quote), null, timestamps)| {
        let special = null.bytes().any(|byte| byte == delimiter || byte == quote);
        let null_text = if special { String::new() } else { null.into() };
        Format::Csv(CsvSettings { delimiter, quote, header, null_text, timestamps })
    })
}

fn with_format(depth: u32) -> impl Strategy<Value = (RecordBatch, Format)> {
    let json = any_batch(depth).prop_flat_map(|batch| (Just(batch), any_json()));
    let csv = any_batch(0).prop_flat_map(|batch| {
        let format = any_csv(batch.schema_ref());
        (Just(batch), format)
    });
    prop_oneof![json, csv]
}

/// Records of a format, some of them damaged.
fn damaged() -> impl Strategy<Value = (SchemaRef, Format, BinaryArray)> {
    let damage = (0..6_u8, any::<Index>(), any::<u8>());
    (with_format(2), vec(damage, 8), vec(vec(any::<u8>(), 0..12), 0..3)).prop_map(|((batch, format), damage, noise)| {
        let encoded = Encoder::new(&format, batch.schema_ref()).unwrap().encode(&batch);
        let mut records: Vec<_> = encoded.values.iter().map(|record| record.unwrap().to_vec()).collect();
        for (record, (kind, place, byte)) in records.iter_mut().zip(damage) {
            if !record.is_empty() {
                hurt(record, kind, place.index(record.len()), byte);
            }
        }
        records.extend(noise);
        (Arc::clone(batch.schema_ref()), format, values(&records))
    })
}

fn hurt(record: &mut Vec<u8>, kind: u8, place: usize, byte: u8) {
    match kind {
        0 => record.truncate(place),
        1 => record[place] = byte,
        2 => record.insert(place, byte),
        3 => drop(record.remove(place)),
        4 => record.extend_from_within(place..),
        _ => {}
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((batch, format) in with_format(2)) {
        let encoded = Encoder::new(&format, batch.schema_ref()).unwrap().encode(&batch);
        prop_assert_eq!(&encoded.bad, &[]);
        let decoded = decode(&format, batch.schema_ref(), &encoded.values);
        prop_assert_eq!(&decoded.bad, &[]);
        for (read, written) in decoded.columns.iter().zip(batch.columns()) {
            prop_assert_eq!(read, written, "{:?}", encoded.values);
        }
    }

    #[test]
    fn a_record_means_the_same_alone((schema, format, records) in damaged()) {
        let together = decode(&format, &schema, &records);
        let mut bad = together.bad.iter().peekable();
        let mut good = 0;
        for row in 0..records.len() {
            let alone = decode(&format, &schema, &records.slice(row, 1));
            if let Some(failure) = bad.next_if(|failure| failure.row as usize == row) {
                prop_assert_eq!(&alone.bad, &[Failure { row: 0, ..failure.clone() }]);
                prop_assert_eq!(alone.rows.map(|rows| rows.len()), Some(0));
                continue;
            }
            prop_assert_eq!(&alone.bad, &[]);
            for (column, alone) in together.columns.iter().zip(&alone.columns) {
                prop_assert_eq!(&column.slice(good, 1), alone);
            }
            good += 1;
        }
        prop_assert!(bad.next().is_none());
        prop_assert!(together.columns.iter().all(|column| column.len() == good));
    }

    #[test]
    fn a_projection_only_leaves_columns_out((schema, format, records) in damaged(), used in vec(any::<bool>(), 5)) {
        let projection: Vec<_> = (0..schema.fields().len()).filter(|place| used[*place]).collect();
        let whole = decode(&format, &schema, &records);
        let part = decode_part(&format, &schema, &projection, &records);
        let rows = |decoded: &Decoded| match &decoded.rows {
            Some(rows) => rows.values().to_vec(),
            None => (0..records.len() as u32).collect(),
        };
        let (whole_rows, part_rows) = (rows(&whole), rows(&part));
        prop_assert!(whole_rows.iter().all(|row| part_rows.contains(row)));
        for (column, place) in part.columns.iter().zip(&projection) {
            for (at, row) in part_rows.iter().enumerate() {
                if let Ok(in_whole) = whole_rows.binary_search(row) {
                    prop_assert_eq!(&column.slice(at, 1), &whole.columns[*place].slice(in_whole, 1));
                }
            }
        }
        let syntax = decode_part(&format, &schema, &[], &records);
        for failure in syntax.bad.iter().filter(|failure| failure.reason != Reason::UnknownField) {
            prop_assert!(part.bad.contains(failure), "{failure:?} depends on the projection: {:?}", part.bad);
        }
    }

    #[test]
    fn raw_text_is_what_utf8_says(records in vec(vec(prop_oneof![0..0x80_u8, any::<u8>()], 0..4), 0..8)) {
        let format = Format::Raw(RawSettings { binary: false });
        let decoded = decode(&format, &schema(&[("value", "string")]), &values(&records));
        let texts: Vec<_> = records.iter().filter_map(|record| std::str::from_utf8(record).ok()).collect();
        prop_assert_eq!(decoded.columns[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), texts);
        prop_assert_eq!(decoded.bad.len() + decoded.columns[0].len(), records.len());
    }
}
