//! `Json`: tables of records, and what they are read as and written as.

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, TimestampMicrosecondArray};
use jiff::tz::TimeZone;

use super::*;

fn timed(notation: Notation, zone: &str) -> Format {
    let timestamps = Timestamps { notation, zone: TimeZone::get(zone).unwrap() };
    Format::Json(JsonSettings { unknown_fields: UnknownFields::Ignore, timestamps })
}

#[test]
fn values_are_read_by_their_type() {
    for (kind, value, expected) in [
        ("string", r#""""#, r#""""#),
        ("string", r#""a\u00e4\ud83d\ude00\n\/""#, r#""aä😀\n/""#),
        ("string", r#""\u0000""#, r#""\u0000""#),
        ("boolean", "false", "false"),
        ("int", "-2147483648", "-2147483648"),
        ("int", "-0", "0"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("double", "1e-5", "0.00001"),
        ("double", "0.1", "0.1"),
        ("double", "9007199254740993", "9007199254740992.0"),
        ("double", "-1e-400", "-0.0"),
        ("float", "16777217", "16777216.0"),
        ("decimal(10,2)", "12345678.90", "12345678.90"),
        ("decimal(10,2)", "1.5E+3", "1500.00"),
        ("decimal(10,2)", "-0.01", "-0.01"),
        ("binary", r#""AAH/""#, r#""AAH/""#),
        ("binary", r#""""#, r#""""#),
        ("date", r#""2024-02-29""#, r#""2024-02-29""#),
        ("date", r#""0000-01-01""#, r#""0000-01-01""#),
        ("timestamp", r#""2026-01-31T12:00:00Z""#, r#""2026-01-31T12:00:00Z""#),
        ("timestamp", r#""2026-01-31 12:00:00.5""#, r#""2026-01-31T12:00:00.5Z""#),
        ("timestamp", r#""2026-01-31t12:00:00.1234567z""#, r#""2026-01-31T12:00:00.123456Z""#),
        ("timestamp", r#""2026-01-31T12:00:00+05:30""#, r#""2026-01-31T06:30:00Z""#),
        ("timestamp", r#""2016-12-31T23:59:60Z""#, r#""2016-12-31T23:59:59Z""#),
        ("timestamp", r#""1969-12-31T23:59:59.9Z""#, r#""1969-12-31T23:59:59.9Z""#),
        ("json", r#" {"a" : [1, 1.50, "\u00e4"]} "#, r#"{"a" : [1, 1.50, "\u00e4"]}"#),
        ("json", r#""text""#, r#""text""#),
        ("json", "1e400", "1e400"),
        ("json", "null", "null"),
        ("list<int>", "[]", "[]"),
        ("list<int>", "[1, null,3]", "[1,null,3]"),
        ("struct<a: int, b: list<string>>", r#"{"b": ["x"], "c": {}, "a": 1}"#, r#"{"a":1,"b":["x"]}"#),
        ("struct<a: int, b: list<string>>", "{}", r#"{"a":null,"b":null}"#),
        (
            "list<struct<a: int, b: list<string>>>",
            r#"[{"a":1},null,{"b":[null]}]"#,
            r#"[{"a":1,"b":null},null,{"a":null,"b":[null]}]"#,
        ),
        ("int", "null", "null"),
    ] {
        let record = format!(" {{\t\"v\" :\n{value}\r}} ");
        let row = outcome(&json_format(), &schema(&[("v", kind)]), record.as_bytes());
        assert_eq!(row, format!("{{\"v\":{expected}}}"), "{kind} {value}");
        let written = rewritten(&json_format(), &json_format(), &schema(&[("v", kind)]), record.as_bytes());
        assert_eq!(String::from_utf8(written).unwrap(), row, "{kind} {value}");
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for (kind, value, message) in [
        ("string", "1", "expected string, found number 1 at byte 5"),
        (
            "string",
            r#""\ud800""#,
            r#"expected string, found text "\ud800" at byte 5 (half of a surrogate pair is no character)"#,
        ),
        ("boolean", "1", "expected boolean, found number 1 at byte 5"),
        ("boolean", r#""true""#, r#"expected boolean, found text "true" at byte 5"#),
        ("int", "1.5", "expected int, found number 1.5 at byte 5"),
        ("int", "1.0", "expected int, found number 1.0 at byte 5"),
        ("int", "2147483648", "expected int, found number 2147483648 at byte 5 (out of range)"),
        ("int", r#""5""#, r#"expected int, found text "5" at byte 5"#),
        ("bigint", "9223372036854775808", "expected bigint, found number 9223372036854775808 at byte 5 (out of range)"),
        ("double", "1e400", "expected double, found number 1e400 at byte 5 (out of range)"),
        ("double", r#""abc""#, r#"expected double, found text "abc" at byte 5"#),
        ("float", "-1e39", "expected float, found number -1e39 at byte 5 (out of range)"),
        (
            "decimal(10,2)",
            "1.234",
            "expected decimal(10,2), found number 1.234 at byte 5 (more than 2 digits after the point)",
        ),
        (
            "decimal(10,2)",
            "123456789",
            "expected decimal(10,2), found number 123456789 at byte 5 (more than 8 digits before the point)",
        ),
        ("decimal(10,2)", "true", "expected decimal(10,2), found true at byte 5"),
        ("date", r#""2023-02-29""#, r#"expected date, found text "2023-02-29" at byte 5 (dates are like 2026-01-31)"#),
        ("date", "20230228", "expected date, found number 20230228 at byte 5"),
        (
            "timestamp",
            r#""2026-01-31""#,
            r#"expected timestamp, found text "2026-01-31" at byte 5 (timestamps are like 2026-01-31T12:00:00Z)"#,
        ),
        (
            "timestamp",
            r#""2026-01-31T24:00:00Z""#,
            r#"expected timestamp, found text "2026-01-31T24:00:00Z" at byte 5 (timestamps are like 2026-01-31T12:00:00Z)"#,
        ),
        ("timestamp", "0", "expected timestamp, found number 0 at byte 5"),
        ("binary", r#""AAH""#, r#"expected binary, found text "AAH" at byte 5 (no base64: Invalid padding)"#),
        ("list<int>", "{}", "expected list, found an object at byte 5"),
        ("struct<a: int, b: list<string>>", "[]", "expected struct, found a list at byte 5"),
    ] {
        let record = format!("{{\"v\":{value}}}");
        let row = outcome(&json_format(), &schema(&[("v", kind)]), record.as_bytes());
        assert_eq!(row, format!("type: column `v`: {message}"), "{kind} {value}");
    }
}

#[test]
fn the_place_of_a_problem_is_named() {
    let schema = schema(&[("s", "list<struct<a: int, b: list<string>>>")]);
    let place = |record: &str| outcome(&json_format(), &schema, record.as_bytes());
    assert_eq!(
        place(r#"{"s":[{},{"b":["x",1]}]}"#),
        "type: column `s[1].b[1]`: expected string, found number 1 at byte 19"
    );
    assert_eq!(place(r#"{"s":[{"a":1,"a":2}]}"#), "malformed: column `s[0].a`: the name stands in the object twice");
    let long = format!("{{\"s\":\"{}\"}}", "ä".repeat(100));
    assert_eq!(place(&long), format!("type: column `s`: expected list, found text \"{}… at byte 5", "ä".repeat(63)));
}

#[test]
fn syntax_counts_first_and_always() {
    let schema = schema(&[("a", "int"), ("b", "int")]);
    for record in [
        r#"{"a":"x","b":1,}"#,
        r#"{"a":"x","c":[1,]}"#,
        r#"{"a":1} {}"#,
        r#"{"c":"\x"}"#,
        r#"{"a":01}"#,
        "{\"c\":\"\n\"}",
    ] {
        for projection in [&[][..], &[0], &[1], &[0, 1]] {
            let bad = decode_part(&json_format(), &schema, projection, &values(&[record])).bad;
            assert_eq!(bad.iter().map(|bad| bad.reason).collect::<Vec<_>>(), [Reason::Malformed], "{record}");
        }
    }
}

#[test]
fn only_columns_in_use_are_typed() {
    let schema = schema(&[("a", "int"), ("b", "int"), ("c", "string")]);
    let records = values(&[r#"{"a":"no int","a":2,"b":1,"c":"x"}"#, r#"{"c":"y"}"#]);
    let decoded = decode_part(&json_format(), &schema, &[1, 2], &records);
    assert!(decoded.bad.is_empty() && decoded.rows.is_none());
    assert_eq!(decoded.columns.len(), 2);
    assert_eq!(decoded.columns[1].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn bad_records_leave_the_others_as_they_are() {
    let schema = schema(&[("a", "int"), ("l", "list<struct<a: int, b: list<string>>>"), ("s", "string")]);
    let records = values(&[
        r#"{"a":1,"l":[{"b":["x"]}],"s":"one"}"#,
        r#"{"a":2,"l":[{"a":1,"b":["y","z",0]}],"s":"two"}"#,
        r#"{"s":"three","l":[{"b":["y"#,
        r#"{"s":"four"}"#,
        r#"{"a":5,"l":[{"a":7}],"s":5}"#,
        r#"{"l":[],"a":6}"#,
    ]);
    let decoded = decode(&json_format(), &schema, &records);
    assert_eq!(decoded.bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(decoded.rows.as_ref().unwrap().values(), &[0, 3, 5]);
    let batch = batch(&schema, &decoded, 6);
    let rows: Vec<_> = (0..3).map(|row| String::from_utf8(row_as_json(&batch, row)).unwrap()).collect();
    assert_eq!(
        rows,
        [
            r#"{"a":1,"l":[{"a":null,"b":["x"]}],"s":"one"}"#,
            r#"{"a":null,"l":null,"s":"four"}"#,
            r#"{"a":6,"l":[],"s":null}"#,
        ]
    );
}

#[test]
fn fields_come_in_any_order() {
    let schema = schema(&[("a", "int"), ("b", "int"), ("ü", "int")]);
    let records = values(&[r#"{"ü":3,"b":2,"a":1}"#, r#"{"a":1,"\u00fc":3,"b":2}"#, r#"{"b":2,"x":9,"ü":3,"a":1}"#]);
    let decoded = decode(&json_format(), &schema, &records);
    let batch = batch(&schema, &decoded, 3);
    for row in 0..3 {
        assert_eq!(String::from_utf8(row_as_json(&batch, row)).unwrap(), r#"{"a":1,"b":2,"ü":3}"#);
    }
}

#[test]
fn unknown_fields_are_refused_where_told() {
    let settings = JsonSettings { unknown_fields: UnknownFields::Refuse, timestamps: Timestamps::default() };
    let format = Format::Json(settings);
    let schema = schema(&[("a", "int"), ("s", "struct<a: int, b: list<string>>")]);
    for (record, expected) in [
        (r#"{"a":1,"tmp":[{}]}"#, "unknown-field: the schema has no column `tmp`"),
        (r#"{"tmp":1,"a":"x"}"#, "unknown-field: the schema has no column `tmp`"),
        (r#"{"s":{"c":1}}"#, "unknown-field: column `s`: the schema has no column `c`"),
        (r#"{"a":1}"#, r#"{"a":1,"s":null}"#),
    ] {
        assert_eq!(outcome(&format, &schema, record.as_bytes()), expected);
    }
    let records = values(&[r#"{"a":"x"}"#, r#"{"A":1}"#]);
    assert_eq!(decode_part(&format, &schema, &[], &records).bad.len(), 1, "declared columns are known");
}

#[test]
fn timestamps_follow_their_settings() {
    let berlin = "Europe/Berlin";
    let pattern = |text: &str| Notation::Pattern(text.into());
    for (format, value, expected) in [
        (timed(Notation::EpochSeconds, "UTC"), "1769860800", "2026-01-31T12:00:00Z"),
        (timed(Notation::EpochMillis, "UTC"), "-1", "1969-12-31T23:59:59.999Z"),
        (timed(Notation::EpochMicros, "UTC"), "1", "1970-01-01T00:00:00.000001Z"),
        (timed(Notation::Rfc3339, berlin), r#""2026-07-01T12:00:00+02:00""#, "2026-07-01T10:00:00Z"),
        (timed(pattern("%d.%m.%Y %H:%M"), berlin), r#""31.01.2026 13:00""#, "2026-01-31T12:00:00Z"),
        (timed(pattern("%d/%b/%Y:%H:%M:%S %z"), berlin), r#""31/Jan/2026:12:00:00 +0000""#, "2026-01-31T12:00:00Z"),
    ] {
        let schema = schema(&[("t", "timestamp")]);
        let record = format!("{{\"t\":{value}}}");
        assert_eq!(outcome(&format, &schema, record.as_bytes()), format!("{{\"t\":\"{expected}\"}}"), "{value}");
    }
    for (format, value, because) in [
        (timed(Notation::EpochMillis, "UTC"), r#""5""#, ""),
        (timed(Notation::EpochMillis, "UTC"), "1.5", " (timestamps are whole milliseconds since 1970)"),
        (timed(Notation::EpochSeconds, "UTC"), "9223372036854775807", " (timestamps are whole seconds since 1970)"),
        (timed(pattern("%Y-%m-%d"), "UTC"), r#""2026-13-01""#, " (timestamps are like \"%Y-%m-%d\")"),
    ] {
        let record = format!("{{\"t\":{value}}}");
        let row = outcome(&format, &schema(&[("t", "timestamp")]), record.as_bytes());
        assert!(row.starts_with("type: column `t`: expected timestamp, found ") && row.ends_with(because), "{row}");
    }
}

#[test]
fn local_times_that_clocks_skip_or_repeat_have_one_meaning() {
    let format = timed(Notation::Rfc3339, "Europe/Berlin");
    for (local, instant) in [
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25T03:30:00", "2026-10-25T02:30:00Z"),
    ] {
        let record = format!("{{\"t\":\"{local}\"}}");
        let row = outcome(&format, &schema(&[("t", "timestamp")]), record.as_bytes());
        assert_eq!(row, format!("{{\"t\":\"{instant}\"}}"));
    }
}

#[test]
fn timestamps_are_written_in_their_notation() {
    let schema = schema(&[("t", "timestamp")]);
    for (format, expected) in [
        (json_format(), r#"{"t":"2026-07-01T10:00:00.25Z"}"#),
        (timed(Notation::Rfc3339, "Europe/Berlin"), r#"{"t":"2026-07-01T12:00:00.25+02:00"}"#),
        (timed(Notation::EpochSeconds, "UTC"), r#"{"t":1782900000}"#),
        (timed(Notation::EpochMillis, "UTC"), r#"{"t":1782900000250}"#),
        (timed(Notation::EpochMicros, "UTC"), r#"{"t":1782900000250000}"#),
        (timed(Notation::Pattern("\"%d.%m.%Y\" %H:%M".into()), "Asia/Tokyo"), r#"{"t":"\"01.07.2026\" 19:00"}"#),
    ] {
        let written = rewritten(&json_format(), &format, &schema, br#"{"t":"2026-07-01T10:00:00.25Z"}"#);
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

#[test]
fn what_has_no_json_is_refused() {
    let schema = schema(&[("f", "float"), ("d", "double"), ("t", "timestamp")]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float32Array::from(vec![Some(1.5), Some(f32::INFINITY), None, Some(0.1)])),
        Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.0), None, Some(1e300)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(i64::MAX), Some(0)]).with_timezone("UTC")),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let encoded = Encoder::new(&json_format(), &schema).unwrap().encode(&batch);
    let bad: Vec<_> = encoded.bad.iter().map(|bad| (bad.row, bad.reason, bad.message.as_str())).collect();
    assert_eq!(
        bad,
        [
            (0, Reason::Encode, "column `d`: NaN has no JSON"),
            (1, Reason::Encode, "column `f`: Infinity has no JSON"),
            (2, Reason::Encode, "column `t`: a time outside of the years 0000 to 9999 has no JSON"),
        ]
    );
    assert_eq!(encoded.rows.unwrap().values(), &[3]);
    assert_eq!(encoded.values.value(0), br#"{"f":0.1,"d":1e+300,"t":"1970-01-01T00:00:00Z"}"#);
}

#[test]
fn names_and_texts_are_escaped() {
    let schema = schema(&[("a\"b", "string"), ("plain", "string")]);
    let record = r#"{"a\"b":"\u0001\b\f\n\r\t\"\\/\u007fé","plain":"plain"}"#;
    let written = rewritten(&json_format(), &json_format(), &schema, record.as_bytes());
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "{\"a\\\"b\":\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\u{7f}é\",\"plain\":\"plain\"}"
    );
}
