//! `Format::from_spec`: what is refused, and that everything is refused at once.

use millstream_crds::format::{
    CsvFormat, Format as Spec, FormatType, JsonFormat, RawFormat, TimestampEncoding, TimestampFormat,
};

use super::*;

fn problems(spec: &Spec) -> Vec<String> {
    let problems = Format::from_spec(spec).expect_err("the spec is wrong");
    problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
}

fn csv(change: impl FnOnce(&mut CsvFormat)) -> Spec {
    let mut csv = CsvFormat::default();
    change(&mut csv);
    Spec { r#type: FormatType::Csv, csv: Some(csv), ..Spec::default() }
}

fn timed(timestamps: TimestampFormat) -> Spec {
    Spec { r#type: FormatType::Json, timestamps: Some(timestamps), ..Spec::default() }
}

fn pattern(pattern: &str) -> Spec {
    timed(TimestampFormat { encoding: TimestampEncoding::Pattern, pattern: Some(pattern.into()), zone: None })
}

#[test]
fn defaults_are_valid() {
    assert_eq!(Format::from_spec(&Spec::default()), Ok(Format::Raw(RawSettings { binary: false })));
    assert_eq!(Format::from_spec(&Spec { r#type: FormatType::Csv, ..Spec::default() }), Ok(csv_format()));
    assert_eq!(Format::from_spec(&Spec { r#type: FormatType::Json, ..Spec::default() }), Ok(json_format()));
}

#[test]
fn wrong_settings_are_named() {
    let cases: Vec<(Spec, &[&str])> = vec![
        (csv(|csv| csv.delimiter = String::new()), &["csv.delimiter: expected one ASCII character, found \"\""]),
        (csv(|csv| csv.delimiter = "::".into()), &["csv.delimiter: expected one ASCII character, found \"::\""]),
        (csv(|csv| csv.delimiter = "§".into()), &["csv.delimiter: expected one ASCII character, found \"§\""]),
        (csv(|csv| csv.delimiter = "\n".into()), &["csv.delimiter: \"\\n\" cannot separate fields of one line"]),
        (csv(|csv| csv.quote = "„".into()), &["csv.quote: expected one ASCII character, found \"„\""]),
        (csv(|csv| csv.quote = ",".into()), &["csv.quote: `,` is the delimiter as well"]),
        (
            csv(|csv| csv.null_text = "a,b".into()),
            &["csv.nullText: ',' can only stand in a quoted field, which is never null"],
        ),
        (csv(|csv| csv.header = Some(vec![])), &["csv.header: the header names no field"]),
        (
            csv(|csv| csv.header = Some(vec!["a".into(), String::new(), "a".into()])),
            &["csv.header[1]: a field needs a name", "csv.header[2]: `a` is named twice"],
        ),
        (
            timed(TimestampFormat { zone: Some("Mars/Olympus".into()), ..TimestampFormat::default() }),
            &["timestamps.zone: unknown time zone `Mars/Olympus`"],
        ),
        (
            timed(TimestampFormat { encoding: TimestampEncoding::Pattern, ..TimestampFormat::default() }),
            &["timestamps.pattern: the encoding `Pattern` needs a pattern"],
        ),
        (
            timed(TimestampFormat { pattern: Some("%Y".into()), ..TimestampFormat::default() }),
            &["timestamps.pattern: the encoding `Rfc3339` takes no pattern"],
        ),
        (
            timed(TimestampFormat {
                encoding: TimestampEncoding::EpochMillis,
                zone: Some("Europe/Berlin".into()),
                ..TimestampFormat::default()
            }),
            &["timestamps.zone: the encoding `EpochMillis` counts in UTC and takes no zone"],
        ),
        (
            Spec { raw: Some(RawFormat::default()), r#type: FormatType::Json, ..Spec::default() },
            &["raw: these are settings of `Raw`, but the type is `Json`"],
        ),
        (
            Spec { timestamps: Some(TimestampFormat::default()), ..Spec::default() },
            &["timestamps: a `Raw` record has no timestamps in it"],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(problems(&spec), expected, "{spec:?}");
    }
}

#[test]
fn patterns_are_tried_out() {
    for good in
        ["%Y-%m-%d %H:%M:%S%.f", "%d.%m.%y %H:%M", "%s", "%Y%m%dT%H%M%S%z", "%A, %d %B %Y %I:%M:%S %p", "%Y-%m-%d"]
    {
        assert!(Format::from_spec(&pattern(good)).is_ok(), "{good}");
    }
    for bad in ["", "%", "%K", "%H:%M:%S", "%m-%d", "%Y-%m", "%Y-%m-%d %H:%M %Z", "always the same"] {
        let problems = problems(&pattern(bad));
        assert!(problems.len() == 1 && problems[0].starts_with("timestamps.pattern: "), "{bad}: {problems:?}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let mut spec = csv(|csv| {
        csv.delimiter = "ab".into();
        csv.quote = String::new();
        csv.header = Some(vec![]);
    });
    spec.json = Some(JsonFormat::default());
    spec.timestamps =
        Some(TimestampFormat { zone: Some("X".into()), pattern: Some("%q".into()), ..TimestampFormat::default() });
    let fields: Vec<_> = Format::from_spec(&spec).unwrap_err().into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["json", "timestamps.zone", "timestamps.pattern", "csv.delimiter", "csv.quote", "csv.header"]);
}

#[test]
fn columns_that_do_not_fit_the_format_are_refused() {
    let header = Format::Csv(CsvSettings { header: Some(vec!["a".into(), "b".into()]), ..csv_settings() });
    let raw = Format::Raw(RawSettings { binary: false });
    let interval = Arc::new(Schema::new(vec![Field::new("i", DataType::Duration(TimeUnit::Second), true)]));
    for (format, schema, read, write) in [
        (&raw, schema(&[("value", "int")]), "`Raw` holds one column", "`Raw` holds one column"),
        (&raw, schema(&[("a", "string"), ("b", "string")]), "found `a` string, `b` string", "found `a` string"),
        (
            &csv_format(),
            schema(&[("l", "list<int>")]),
            "column `l`: Csv has no notation for list<int>",
            "column `l`: Csv has",
        ),
        (
            &header,
            schema(&[("c", "int")]),
            "column `c` is not in `csv.header`",
            "`csv.header` names `a`, which is no column",
        ),
        (&json_format(), interval, "column `i`: Json has no notation for Duration", "column `i`: Json has no"),
    ] {
        let error = Decoder::new(format, &schema, &[]).unwrap_err().to_string();
        assert!(error.contains(read), "{error}");
        let error = Encoder::new(format, &schema).unwrap_err().to_string();
        assert!(error.contains(write), "{error}");
    }
    let error = Decoder::new(&json_format(), &schema(&[("a", "int"), ("b", "int")]), &[1, 0]).unwrap_err();
    assert_eq!(error, FormatError::Projection { projection: vec![1, 0], columns: 2 });
}
