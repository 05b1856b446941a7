//! `Csv`: tables of lines, and what they are read as and written as.

use arrow::array::{ArrayRef, Float64Array, StringArray};

use super::*;

fn three() -> SchemaRef {
    schema(&[("a", "string"), ("b", "int"), ("c", "string")])
}

#[test]
fn lines_are_read_as_rfc_4180_has_them() {
    for (line, expected) in [
        ("x,1,y", r#"{"a":"x","b":1,"c":"y"}"#),
        ("x,1,y\n", r#"{"a":"x","b":1,"c":"y"}"#),
        ("x,1,y\r\n", r#"{"a":"x","b":1,"c":"y"}"#),
        (",,", r#"{"a":null,"b":null,"c":null}"#),
        ("\"\",1,\"\"", r#"{"a":"","b":1,"c":""}"#),
        ("\"x,y\",\"1\",\"line\r\nline\"", r#"{"a":"x,y","b":1,"c":"line\r\nline"}"#),
        ("\"a \"\"b\"\"\",1,\"\"\"\"\"\"", r#"{"a":"a \"b\"","b":1,"c":"\"\""}"#),
        (" x , 1,y", "type: column `b`: expected int, found text \" 1\" in field 2"),
        (" x ,1,ü", r#"{"a":" x ","b":1,"c":"ü"}"#),
        ("x,1", "malformed: expected 3 fields, found 2"),
        ("x,one,y,z", "malformed: expected 3 fields, found 4"),
        ("", "malformed: expected 3 fields, found 1"),
        ("x,one,y", "type: column `b`: expected int, found text \"one\" in field 2"),
        ("x,\"\",y", "type: column `b`: expected int, found text \"\" in field 2"),
        ("x,1,\"y", "malformed: field 3 has no closing quote"),
        ("x,1,\"", "malformed: field 3 has no closing quote"),
        ("\"x\"y,1,z", "malformed: text after the closing quote of field 1 at byte 3"),
        ("\"x\" ,1,z", "malformed: text after the closing quote of field 1 at byte 3"),
        (
            "x,1,5\" pipe",
            "malformed: a quote within field 3 at byte 5; a field with \" in it is quoted and has it doubled",
        ),
        ("x,1,y\nx,2,y", "malformed: a line break outside of quotes in field 3 at byte 5; a record is one line"),
        ("x,1,y\n\n", "malformed: a line break outside of quotes in field 3 at byte 5; a record is one line"),
        ("x,1,y\r", "malformed: a line break outside of quotes in field 3 at byte 5; a record is one line"),
        ("x,1,\"y\"\n", r#"{"a":"x","b":1,"c":"y"}"#),
        ("x,1,\"y\"\nz", "malformed: text after the closing quote of field 3 at byte 7"),
    ] {
        assert_eq!(outcome(&csv_format(), &three(), line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn fields_are_read_by_their_type() {
    for (kind, field, expected) in [
        ("boolean", "TRUE", "true"),
        ("boolean", "1", "type: column `v`: expected boolean, found text \"1\" in field 1"),
        ("int", "+007", "7"),
        ("int", "1.0", "type: column `v`: expected int, found text \"1.0\" in field 1"),
        ("int", "2147483648", "type: column `v`: expected int, found text \"2147483648\" in field 1 (out of range)"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        ("double", "1e3", "1000.0"),
        ("double", "abc", "type: column `v`: expected double, found text \"abc\" in field 1"),
        (
            "double",
            "NaN",
            "type: column `v`: expected double, found text \"NaN\" in field 1 (only finite numbers are read)",
        ),
        (
            "double",
            "-inf",
            "type: column `v`: expected double, found text \"-inf\" in field 1 (only finite numbers are read)",
        ),
        ("double", "1e400", "type: column `v`: expected double, found text \"1e400\" in field 1 (out of range)"),
        ("float", "0.1", "0.1"),
        ("decimal(10,2)", "1.10", "1.10"),
        (
            "decimal(10,2)",
            "1.005",
            "type: column `v`: expected decimal(10,2), found text \"1.005\" in field 1 (more than 2 digits after the point)",
        ),
        ("date", "2026-11-22", "\"2026-11-22\""),
        ("timestamp", "2026-11-22 21:00:00", "\"2026-11-22T21:00:00Z\""),
        ("binary", "AAE=", "\"AAE=\""),
        ("json", " [1]", "[1]"),
        ("json", "null", "null"),
        (
            "json",
            "[1",
            "type: column `v`: expected json, found text \"[1\" in field 1 (no JSON: EOF while parsing a list at line 1 column 2)",
        ),
        ("string", "null", "\"null\""),
    ] {
        let row = outcome(&csv_format(), &schema(&[("v", kind)]), field.as_bytes());
        let expected = if expected.starts_with("type:") { expected.into() } else { format!("{{\"v\":{expected}}}") };
        assert_eq!(row, expected, "{kind} {field:?}");
    }
}

#[test]
fn a_header_binds_by_name() {
    let header = Some(vec!["c".into(), "unused".into(), "a".into()]);
    let format = Format::Csv(CsvSettings { header, delimiter: b';', quote: b'\'', ..csv_settings() });
    let schema = schema(&[("a", "string"), ("c", "int")]);
    assert_eq!(outcome(&format, &schema, b"1;what, \"ever\";'x;''y'''"), r#"{"a":"x;'y'","c":1}"#);
    assert_eq!(outcome(&format, &schema, b"1;x"), "malformed: expected 3 fields, found 2");
}

#[test]
fn null_is_the_unquoted_null_text() {
    let format = Format::Csv(CsvSettings { null_text: "NULL".into(), ..csv_settings() });
    assert_eq!(outcome(&format, &three(), b"NULL,NULL,\"NULL\""), r#"{"a":null,"b":null,"c":"NULL"}"#);
    assert_eq!(outcome(&format, &three(), b",1,null"), r#"{"a":"","b":1,"c":"null"}"#);
}

#[test]
fn only_columns_in_use_are_typed() {
    let last = Decoder::new(&csv_format(), &three(), &[2]).unwrap();
    let decoded = last.decode(&values(&["x,one,y", "x,\"one\",", "x,y"]));
    assert_eq!(decoded.bad.len(), 1);
    assert_eq!(decoded.columns, [Arc::new(StringArray::from(vec![Some("y"), None])) as ArrayRef]);
}

#[test]
fn fields_are_quoted_only_where_they_must() {
    let schema = schema(&[("a", "string"), ("b", "string")]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![
            Some("plain"),
            Some("a,b"),
            Some("a\"b"),
            Some("a\nb"),
            Some("-"),
            None,
            Some(""),
        ])),
        Arc::new(StringArray::from(vec!["é", "\r", "'", " ", "--", "", "x;y"])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let written = |settings: CsvSettings| {
        let encoded = Encoder::new(&Format::Csv(settings), &schema).unwrap().encode(&batch);
        assert!(encoded.bad.is_empty() && encoded.rows.is_none());
        encoded.values.iter().map(|line| String::from_utf8(line.unwrap().to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        written(CsvSettings { null_text: "-".into(), ..csv_settings() }),
        ["plain,é", "\"a,b\",\"\r\"", "\"a\"\"b\",'", "\"a\nb\", ", "\"-\",--", "-,", ",x;y"]
    );
    assert_eq!(
        written(CsvSettings { header: Some(vec!["b".into()]), delimiter: b';', ..csv_settings() })[4..],
        ["--", "\"\"", "\"x;y\""]
    );
}

#[test]
fn every_type_is_quoted_where_it_must() {
    // A delimiter that stands in numbers, and a quote in dates: unwise, but never ambiguous.
    let format = Format::Csv(CsvSettings { delimiter: b'.', quote: b'-', ..csv_settings() });
    let schema = schema(&[("d", "double"), ("t", "date"), ("m", "decimal(10,2)")]);
    let record = br#"{"d":1.5,"t":"2026-11-22","m":-0.5}"#;
    let line = rewritten(&json_format(), &format, &schema, record);
    assert_eq!(String::from_utf8(line.clone()).unwrap(), "-1.5-.-2026--11--22-.---0.50-");
    assert_eq!(rewritten(&format, &json_format(), &schema, &line), br#"{"d":1.5,"t":"2026-11-22","m":-0.50}"#);
}

#[test]
fn what_has_no_csv_is_refused() {
    let schema = schema(&[("d", "double")]);
    let column: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY, 0.5]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let encoded = Encoder::new(&csv_format(), &schema).unwrap().encode(&batch);
    let message = "column `d`: Infinity has no CSV".into();
    assert_eq!(encoded.bad, [Failure { row: 0, reason: Reason::Encode, message }]);
    assert_eq!(encoded.values.value(0), b"0.5");
}
