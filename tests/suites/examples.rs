//! Every example of `deploy/examples`, on a real Kafka: its sample records in, and what its page promises out.
//!
//! The manifests are run as they are, but for the brokers' address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::pipeline::GUARD;
use millstream_tests::suite::{Case, Suite};
use serde_json::Value;

fn main() -> ExitCode {
    Suite::new(Settings::new())
        .test("upper_case", |case| show(case, &UPPER_CASE))
        .test("csv_field", |case| show(case, &CSV_FIELD))
        .test("sensors", |case| show(case, &SENSORS))
        .test("routing", |case| show(case, &ROUTING))
        .test("merge", |case| show(case, &MERGE))
        .test("flatten", |case| show(case, &FLATTEN))
        .test("every_example_is_shown", every_example)
        // Some examples write to one topic.
        .serial()
        .run()
}

/// What goes into an example and what comes out.
struct Example {
    name: &'static str,
    /// Topic and file of sample records, a line each.
    inputs: &'static [(&'static str, &'static str)],
    /// Topic, and key and value of its records.
    outputs: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    /// The dead-letter topic, and offset and reason of its records.
    dead: Option<(&'static str, &'static [(i64, &'static str)])>,
}

/// All of them, to be compared with what is in the directory.
const ALL: [&Example; 6] = [&UPPER_CASE, &CSV_FIELD, &SENSORS, &ROUTING, &MERGE, &FLATTEN];

const UPPER_CASE: Example = Example {
    name: "upper-case",
    inputs: &[("text_input", "lines.txt")],
    outputs: &[(
        "flink_output",
        &[
            ("null", "HELLO KAFKA"),
            ("null", "THE QUICK BROWN FOX"),
            ("null", "JUMPS OVER THE LAZY DOG"),
            ("null", "ALREADY UPPER"),
        ],
    )],
    dead: None,
};

const CSV_FIELD: Example = Example {
    name: "csv-field",
    inputs: &[("csv_input", "cities.csv")],
    outputs: &[(
        "flink_output",
        &[
            ("null", "Hamburg"),
            ("null", "\"Frankfurt, Main\""),
            ("null", "Köln"),
            ("null", "\"the \"\"quoted\"\" one\""),
        ],
    )],
    dead: Some(("csv_input.dead", &[(3, "malformed")])),
};

const SENSORS: Example = Example {
    name: "sensors",
    inputs: &[("sensor_data", "readings.csv")],
    outputs: &[(
        "flink_output",
        &[
            ("s1", r#"{"sensor":"s1","kind":"temp","value":22.0,"unit":"°C","ts":"2026-01-31T12:00:00Z"}"#),
            ("s2", r#"{"sensor":"s2","kind":"pressure","value":101.33,"unit":"kPa","ts":"2026-01-31T12:00:01Z"}"#),
            ("s3", r#"{"sensor":"s3","kind":"humidity","value":0.45,"unit":"","ts":"2026-01-31T12:00:02Z"}"#),
            ("s2", r#"{"sensor":"s2","kind":"pressure","value":99.87,"unit":"kPa","ts":"2026-01-31T12:00:05Z"}"#),
            ("s1", r#"{"sensor":"s1","kind":"temp","value":-20.0,"unit":"°C","ts":"2026-01-31T12:00:08Z"}"#),
        ],
    )],
    dead: Some((
        "sensor_data.dead",
        &[(3, "expression"), (4, "type"), (6, "expression"), (7, "expression"), (9, "malformed")],
    )),
};

const ROUTING: Example = Example {
    name: "routing",
    inputs: &[("events", "events.jsonl")],
    outputs: &[
        (
            "orders",
            &[
                ("null", r#"{"kind":"order","id":1,"amount":12.50}"#),
                ("null", r#"{"kind": "order", "id": 6, "note": "spaces are kept"}"#),
            ],
        ),
        (
            "payments",
            &[("null", r#"{"kind":"payment","id":2,"order":1}"#), ("null", r#"{"kind":"refund","id":3,"order":1}"#)],
        ),
        ("events.other", &[("null", r#"{"kind":"login","user":"ada"}"#), ("null", r#"{"id":4}"#)]),
    ],
    dead: Some(("events.dead", &[(5, "malformed")])),
};

const MERGE: Example = Example {
    name: "merge",
    inputs: &[("orders.csv", "old.csv"), ("orders.json", "new.jsonl")],
    outputs: &[(
        "orders",
        &[
            ("100", r#"{"id":100,"customer":"Eve","total":19.99,"at":"2026-01-31T12:00:00Z","origin":"new"}"#),
            ("101", r#"{"id":101,"customer":null,"total":0.05,"at":"2026-01-31T12:00:01.5Z","origin":"new"}"#),
            ("17", r#"{"id":17,"customer":"Ada","total":12.50,"at":"2026-01-31T12:00:00Z","origin":"old"}"#),
            ("18", r#"{"id":18,"customer":null,"total":7.00,"at":"2026-01-31T12:01:00Z","origin":"old"}"#),
        ],
    )],
    dead: Some(("orders.dead", &[(2, "type")])),
};

const FLATTEN: Example = Example {
    name: "flatten",
    inputs: &[("orders.nested", "orders.jsonl")],
    outputs: &[(
        "order_items",
        &[
            ("null", r#"{"order_id":1,"customer":"Ada","city":"London","sku":"a","quantity":2,"price":1.50}"#),
            ("null", r#"{"order_id":1,"customer":"Ada","city":"London","sku":"b","quantity":1,"price":20.00}"#),
            ("null", r#"{"order_id":3,"customer":"Eve","city":"Paris","sku":"c","quantity":1,"price":null}"#),
        ],
    )],
    dead: Some(("orders.nested.dead", &[(3, "type")])),
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples")
}

/// The topics of an example, each with one partition.
fn topics(example: &Example) -> impl Iterator<Item = &'static str> {
    let ins = example.inputs.iter().map(|(topic, _)| *topic);
    ins.chain(example.outputs.iter().map(|(topic, _)| *topic)).chain(example.dead.map(|(topic, _)| topic))
}

fn show(case: &Case<'_>, example: &Example) -> Result<()> {
    let home = directory().join(example.name);
    topics(example).try_for_each(|topic| case.client.create_topic(topic, 1, &[]))?;
    for (topic, file) in example.inputs {
        let text = fs::read_to_string(home.join(file)).with_context(|| format!("{}/{file}", example.name))?;
        case.client.write(text.lines().map(|line| Record::new(topic, line)))?;
    }
    let manifest = case.directory().join("pipeline.yaml");
    let text = fs::read_to_string(home.join("pipeline.yaml"))?;
    fs::write(&manifest, text.replace("localhost:9092", case.client.bootstrap()))?;
    let mut pipeline = case.run(&manifest, example.name).start()?;
    for (topic, expected) in example.outputs {
        compare(topic, &case.client.read_until(topic, expected.len(), GUARD)?, expected)?;
    }
    if let Some((topic, expected)) = example.dead {
        let letters = case.client.read_until(topic, expected.len(), GUARD)?;
        let found: Vec<(i64, String)> = letters.iter().map(place_and_reason).collect::<Result<_>>()?;
        let expected: Vec<(i64, String)> = expected.iter().map(|(n, reason)| (*n, (*reason).to_owned())).collect();
        ensure!(found == expected, "dead letters {found:?} instead of {expected:?}");
    }
    pipeline.stop()?;
    topics(example).try_for_each(|topic| case.client.delete_topic(topic))
}

fn place_and_reason(letter: &Record) -> Result<(i64, String)> {
    let header = |name: &str| letter.header_text(name).with_context(|| format!("no header {name}: {letter:?}"));
    Ok((header("millstream.offset")?.parse()?, header("millstream.reason")?))
}

/// Two sources come in no order of their own, so records are compared by key and value.
fn compare(topic: &str, records: &[Record], expected: &[(&str, &str)]) -> Result<()> {
    let sorted = |mut all: Vec<(String, String)>| {
        all.sort();
        all
    };
    let found = sorted(records.iter().map(|record| (record.key_text(), canonical(&record.text()))).collect());
    let expected = sorted(expected.iter().map(|(key, value)| ((*key).to_owned(), canonical(value))).collect());
    ensure!(found == expected, "{topic}: {found:#?} instead of {expected:#?}");
    Ok(())
}

/// JSON in one spelling; anything else as it is.
fn canonical(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

/// An example that is added must be shown here as well.
fn every_example(_: &Case<'_>) -> Result<()> {
    let mut there: Vec<String> = fs::read_dir(directory())?
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let mut shown: Vec<&str> = ALL.iter().map(|example| example.name).collect();
    shown.sort_unstable();
    ensure!(there == shown, "examples {there:?}, shown {shown:?}");
    Ok(())
}
