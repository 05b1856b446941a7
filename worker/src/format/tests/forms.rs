//! `text_form` and `row_as_json`.

use arrow::array::{
    Array, ArrayRef, BinaryArray, DurationSecondArray, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray,
};

use super::*;

fn forms(column: impl Array + 'static) -> Vec<Option<String>> {
    let column: ArrayRef = Arc::new(column);
    let forms = text_form(&column).unwrap();
    forms.iter().map(|form| form.map(|form| String::from_utf8(form.to_vec()).unwrap())).collect()
}

#[test]
fn every_type_has_a_text_form() {
    let some = |form: &str| Some(form.to_owned());
    assert_eq!(forms(StringArray::from(vec![Some("a\"b"), None])), [some("a\"b"), None]);
    assert_eq!(forms(BinaryArray::from(vec![Some(b"\x00x".as_slice()), None])), [some("\0x"), None]);
    assert_eq!(forms(Int32Array::from(vec![Some(-7), None])), [some("-7"), None]);
    assert_eq!(forms(Float64Array::from(vec![0.1, f64::NAN, -0.0])), [some("0.1"), some("NaN"), some("-0.0")]);
    let times = TimestampMicrosecondArray::from(vec![1_500_000, i64::MAX]).with_timezone("UTC");
    assert_eq!(forms(times), [some("1970-01-01T00:00:01.5Z"), some("9223372036854775807")]);
    for (kind, record, expected) in [
        ("boolean", "true", "true"),
        ("bigint", "9007199254740993", "9007199254740993"),
        ("decimal(10,2)", "1.5", "1.50"),
        ("date", "\"2026-11-22\"", "2026-11-22"),
        ("struct<a: int, b: list<string>>", r#"{"b":["x"]}"#, r#"{"a":null,"b":["x"]}"#),
    ] {
        let record = format!("{{\"k\":{record}}}");
        let decoded = decode(&json_format(), &schema(&[("k", kind)]), &values(&[record]));
        assert_eq!(forms(Arc::clone(&decoded.columns[0])), [some(expected)], "{kind}");
    }
}

#[test]
fn a_type_of_no_format_has_none() {
    let column: ArrayRef = Arc::new(DurationSecondArray::from(vec![1]));
    assert!(matches!(text_form(&column), Err(FormatError::Unsupported { .. })));
}

#[test]
fn rows_become_json_whatever_is_in_them() {
    let fields = vec![
        Field::new("d", DataType::Float64, true),
        Field::new("t", data_type("timestamp"), true),
        Field::new("o", DataType::Duration(TimeUnit::Second), true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 1.0])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MIN), None, Some(0)]).with_timezone("UTC")),
        Arc::new(DurationSecondArray::from(vec![90, 0, 1])),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let row = |row| String::from_utf8(row_as_json(&batch, row)).unwrap();
    assert_eq!(row(0), r#"{"d":"NaN","t":"-9223372036854775808","o":"PT90S"}"#);
    assert_eq!(row(1), r#"{"d":"-Infinity","t":null,"o":"P0D"}"#);
    assert_eq!(row(2), r#"{"d":1.0,"t":"1970-01-01T00:00:00Z","o":"PT1S"}"#);
}
