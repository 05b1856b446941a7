//! Reading tests: what is wrong is said with its place, what is right is what was meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;

use super::document::{Cell, ExpectedRecord, ExpectedValue, Header, Record, read};
use super::*;
use crate::plan::manifest;

fn parse(text: &str) -> Result<PipelineTest, String> {
    let documents = manifest::documents("t.yaml", text).map_err(|problems| problems.to_string())?;
    let files = |name: &str| match name {
        "two.txt" => Ok(b"one\r\ntwo\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    read(&documents[0], &files).map_err(|problems| {
        let line = |problem: &Diagnostic| {
            let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}{help}", problem.headline())
        };
        problems.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

const HEAD: &str = "apiVersion: cli.millstream.dev/v1alpha1\nkind: PipelineTest\n";

#[test]
fn a_test_says_what_it_says() {
    let test = parse(&format!(
        "{HEAD}metadata: {{name: x}}
spec:
  pipeline: {{file: p.yaml, name: one}}
  now: 2026-01-31T12:00:00.000001Z
  inputs:
    - source: a
      lines: two.txt
    - source: b
      records:
        - {{topic: t, partition: 3, offset: 17, keyBase64: '/w==', value: null, timestamp: 1970-01-01T00:00:01Z}}
        - value: |
            text
          headers: [{{key: h, value: '1'}}, {{key: none}}]
  expected:
    sinks:
      - sink: s
        records:
          - {{key: null, value: '', timestamp: 1970-01-01T00:00:01Z}}
          - json: {{a: [1, 2.5, null, true, '3']}}
          - {{}}
    deadLetters:
      - {{offset: 4, reason: invalid-utf8}}
"
    ))
    .unwrap();
    assert_eq!((test.pipeline_file.as_deref(), test.pipeline_name.as_deref()), (Some("p.yaml"), Some("one")));
    assert_eq!(test.now, 1_769_860_800_000_001);
    let lines: Vec<_> = test.inputs[0].records.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(lines, [b"one".to_vec(), b"two".to_vec()]);
    let tombstone = Record {
        topic: Some("t".into()),
        partition: 3,
        offset: Some(17),
        key: Some(vec![0xff]),
        timestamp: Some(1_000_000),
        ..Record::default()
    };
    assert_eq!(test.inputs[1].records[0], tombstone);
    assert_eq!(test.inputs[1].records[1].value.as_deref(), Some(&b"text\n"[..]));
    let headers = [("h", Some(b"1".to_vec())), ("none", None)];
    assert_eq!(test.inputs[1].records[1].headers, headers.map(|(key, value)| Header { key: key.into(), value }));
    let expected = &test.sinks[0].records;
    assert_eq!(expected[0].key, Some(Cell(None)));
    assert_eq!(expected[0].value, Some(ExpectedValue::Bytes(Cell(Some(Vec::new())))));
    assert_eq!(expected[1].value, Some(ExpectedValue::Json(serde_json::json!({"a": [1, 2.5, null, true, "3"]}))));
    assert_eq!(expected[2], ExpectedRecord::default());
    assert_eq!(test.dead_letters[0].reason, Some(crate::records::Reason::InvalidUtf8));
}

#[test]
fn every_mistake_is_said_with_its_place() {
    let problems = parse(
        "apiVersion: cli.millstream.dev/v1
kind: PipelineTest
spec:
  pipelin: {file: p.yaml}
  now: yesterday
  inputs:
    - sorce: a
      lines: missing.txt
    - {source: a, records: [{value: 5, key: a, keyBase64: a}, {partition: -1}, 7]}
    - {source: a}
    - {source: a, records: {}, lines: two.txt}
  expected:
    sinks:
      - {sink: s, records: [{value: a, json: b}]}
      - {sink: s, records: [{valueBase64: '*'}, {json: .nan}]}
    deadLetters: [{reason: malformd}, {offset: two}]
",
    )
    .unwrap_err();
    let expected = "\
t.yaml:1:13: error[apiVersion]: `apiVersion` is `cli.millstream.dev/v1` (a test has `apiVersion: cli.millstream.dev/v1alpha1`)
t.yaml:4:3: error[pipelin]: unknown field `pipelin` (did you mean `pipeline`?)
t.yaml:5:8: error[now]: expected a time such as 2026-01-31T12:00:00Z, found the text `yesterday`
t.yaml:7:7: error[inputs[0]]: `source` is missing
t.yaml:7:14: error[inputs[0].sorce]: unknown field `sorce` (did you mean `source`?)
t.yaml:8:14: error[inputs[0].lines]: `missing.txt` cannot be read: entity not found
t.yaml:9:37: error[inputs[1].records[0].value]: expected a text, found the number `5` (put it in quotes: \"5\")
t.yaml:9:59: error[inputs[1].records[0].keyBase64]: `key` and `keyBase64` exclude each other
t.yaml:9:63: error[inputs[1].records[1]]: `value` is missing (write `value: null` for a tombstone)
t.yaml:9:75: error[inputs[1].records[1].partition]: expected a whole number from 0, found the number `-1`
t.yaml:9:80: error[inputs[1].records[2]]: expected fields, found the number `7`
t.yaml:10:7: error[inputs[2]]: `records` is missing (or name a file with `lines`)
t.yaml:11:39: error[inputs[3].lines]: `records` and `lines` exclude each other
t.yaml:14:46: error[expected.sinks[0].records[0].json]: `value` and `json` exclude each other
t.yaml:15:9: error[expected.sinks[1]]: sink `s` is named twice
t.yaml:15:43: error[expected.sinks[1].records[0].valueBase64]: is not Base64: Invalid symbol 42, offset 0.
t.yaml:15:56: error[expected.sinks[1].records[1].json]: JSON has no number `.nan`
t.yaml:16:28: error[expected.deadLetters[0].reason]: `malformd` is no reason (did you mean `malformed`?)
t.yaml:16:48: error[expected.deadLetters[1].offset]: expected a whole number from 0, found the text `two`";
    assert_eq!(problems, expected);
}

#[test]
fn a_test_belongs_to_one_pipeline() {
    let pipeline = |name: &str| {
        format!("apiVersion: millstream.dev/v1alpha1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec: {{}}\n---\n")
    };
    let choose_in = |names: &[&str], reference: &str| {
        let text: String = names.iter().map(|name| pipeline(name)).collect();
        let documents: Vec<_> = manifest::documents("p.yaml", &text).unwrap();
        let documents: Vec<_> = documents.into_iter().map(|raw| raw.pipeline().unwrap()).collect();
        let test = parse(&format!("{HEAD}spec: {{{reference} inputs: [], expected: {{}}}}")).unwrap();
        choose(&documents, &test).map(|document| document.name().to_owned())
    };
    assert_eq!(choose_in(&["a"], ""), Ok("a".into()));
    assert_eq!(choose_in(&["a", "b"], "pipeline: {name: b},"), Ok("b".into()));
    for (names, reference, expected) in [
        (&["a", "b"][..], "", "this file has several Pipelines (`a`, `b`); choose one with `pipeline: {name: …}`"),
        (&["a"], "pipeline: {name: c, file: p.yaml},", "there is no Pipeline `c` in p.yaml; there are `a`"),
        (&[], "", "there is no Pipeline in this file; name the file with `pipeline: {file: pipeline.yaml}`"),
    ] {
        assert_eq!(choose_in(names, reference), Err(expected.into()), "{reference}");
    }
}

/// The folder of the examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");

#[test]
fn every_example_does_what_its_test_says() {
    let results = run_files(&[EXAMPLES.into()]).unwrap();
    assert!(results.len() >= 6, "{} tests found", results.len());
    for TestResult { file, name, verdict } in results {
        match verdict {
            Verdict::Passed(records) => assert!(records > 0, "{file}: {name} has no input"),
            Verdict::Failed(differences) => panic!("{file}: {name}\n{differences}"),
            Verdict::Broken(problems) => panic!("{file}: {name}\n{problems}"),
        }
    }
}

#[test]
fn every_example_is_checked_without_an_error_or_warning() {
    let sources = files::read_all(&[EXAMPLES.into()]).unwrap();
    let report = crate::cli::check::check(&sources, true);
    assert!(report.ok && report.diagnostics.is_empty(), "{:#?}", report.diagnostics);
    assert!(report.pipelines.len() >= 6);
    assert!(report.pipelines.iter().all(|pipeline| pipeline.plan.as_ref().is_some_and(|plan| !plan.is_empty())));
}

/// A pipeline in upper case with a test whose expectation is given.
fn upper(expected: &str) -> Source {
    let text = format!(
        "apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {{name: p}}
spec:
  connections: [{{kafka: {{bootstrapServers: 'k:9092'}}}}]
  sources: [{{name: a, kafka: {{topics: [in]}}, format: {{type: Raw}}}}]
  transforms: [{{name: up, set: [{{column: value, expression: upper(value)}}]}}]
  sinks: [{{name: b, kafka: {{topic: out}}, format: {{type: Raw}}}}]
---
{HEAD}metadata: {{name: t}}
spec:
  inputs:
    - {{source: a, records: [{{value: x, key: k, headers: [{{key: h, value: v}}]}}, {{valueBase64: /w==}}, {{value: y}}]}}
  expected: {expected}
"
    );
    Source { name: "p.yaml".into(), folder: ".".into(), text, found: false }
}

fn differences(expected: &str) -> String {
    match run_source(&upper(expected), Style::PLAIN).remove(0).verdict {
        Verdict::Passed(records) => format!("{records} passed"),
        Verdict::Failed(text) => text,
        Verdict::Broken(problems) => problems.iter().map(Diagnostic::headline).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn differences_are_shown_where_they_are() {
    let bad = "deadLetters: [{topic: in, partition: 0, offset: 1, reason: invalid-utf8, node: a, valueBase64: /w==}]";
    let good = format!("{{sinks: [{{sink: b, records: [{{value: X, key: k}}, {{value: Y, key: null}}]}}], {bad}}}");
    assert_eq!(differences(&good), "3 passed");
    let wrong = format!("{{sinks: [{{sink: b, records: [{{value: Z}}, {{value: Y}}]}}], {bad}}}");
    let expected = "  sink b: 2 records expected (-), 2 records found (+)\n    - Z\n    + X\n      Y\n";
    assert_eq!(differences(&wrong), expected);
    let headers = format!("{{sinks: [{{sink: b, records: [{{headers: []}}, {{value: Y}}]}}], {bad}}}");
    let expected = "  sink b: 2 records expected (-), 2 records found (+)\n    - (any value)  headers=[]\n    \
                    + X  headers=[h=v]\n      Y  headers=[]\n";
    assert_eq!(differences(&headers), expected);
}

#[test]
fn what_is_not_expected_is_a_difference() {
    let text = differences("{}");
    assert!(
        text.starts_with(
            "  sink b: 0 records expected (-), 2 records found (+)\n    + X  key=k\n    + Y  key=(null)\n"
        ),
        "{text}"
    );
    let letter = "    + topic=in  partition=0  offset=1  node=a  reason=invalid-utf8  message=";
    assert!(
        text.contains("  dead letters: 0 records expected (-), 1 record found (+)\n") && text.contains(letter),
        "{text}"
    );
}

#[test]
fn names_in_a_test_are_those_of_the_pipeline() {
    let text = differences("{sinks: [{sink: bb, records: []}]}");
    assert_eq!(text, "p.yaml:16:29: error[expected.sinks[0].sink]: there is no sink `bb`");
    let other = upper("{}").text.replace("source: a, records", "source: x, records");
    let source = Source { text: other, ..upper("{}") };
    let Verdict::Broken(problems) = run_source(&source, Style::PLAIN).remove(0).verdict else { panic!("not broken") };
    assert!(problems.to_string().contains("there is no source `x`"), "{problems}");
}
