//! What a pipeline promises when nothing goes wrong: batch and streaming, delivery, keys, order, compression, topics
//! that appear while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::header;
use millstream_tests::installation::run;
use millstream_tests::pipeline::{DONE, GUARD};
use millstream_tests::process::Signal;
use millstream_tests::suite::{Case, Suite};
use millstream_tests::wait;

fn main() -> ExitCode {
    Suite::new(Settings::new())
        .test("batch_ends_and_says_so_again", batch)
        .test("batch_keeps_the_ends_of_its_first_start", batch_ends)
        .test("at_least_once_shows_output_before_the_commit", at_least_once)
        .test("exactly_once_shows_output_with_the_commit", exactly_once)
        .test("signals_end_a_run_in_order", signals)
        .test("sinks_compress_and_sources_decompress", compression)
        .test("keys_headers_timestamps_and_tombstones_are_kept", kept)
        .test("keys_go_to_the_partitions_of_the_java_client", java_partitions)
        .test("records_without_a_key_keep_their_order", order)
        .test("topics_of_a_pattern_are_found_while_running", pattern)
        .test("sources_are_united_and_sinks_routed", routing)
        .test("a_first_start_begins_where_the_manifest_says", start_from)
        .run()
}

/// One topic to another as it is.
const COPY: &str = "\
sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw, raw: {binary: true}}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw, raw: {binary: true}}}]
checkpoint: {interval: 100ms}
";

/// Numbered records, round the partitions.
fn numbers(topic: &str, numbers: std::ops::Range<usize>, partitions: usize) -> Vec<Record> {
    numbers.map(|n| Record::new(topic, format!("{n}")).to((n % partitions) as i32)).collect()
}

/// The values as numbers, sorted.
fn sorted(records: &[Record]) -> Vec<usize> {
    let mut numbers: Vec<usize> = records.iter().filter_map(|r| r.text().parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn batch(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 3), ("out", 2)])?;
    let manifest = case.manifest(&format!("{COPY}mode: Batch\n"))?;
    case.client.write(numbers(&case.topic("in"), 0..3000, 3))?;
    case.run(&manifest, "first").start()?.expect_exit(DONE, GUARD)?;
    let all = |case: &Case<'_>| Ok::<_, anyhow::Error>(sorted(&case.client.read(&case.topic("out"))?));
    ensure!(all(case)? == (0..3000).collect::<Vec<_>>(), "the output is not the input");
    ensure!(header::read(&case.client, &case.application_id())?.values().all(|h| h.complete), "not all are complete");

    case.client.write(numbers(&case.topic("in"), 3000..3100, 3))?;
    let mut again = case.run(&manifest, "again").start()?;
    again.expect_exit(DONE, GUARD)?;
    again.expect_words(&["complete"])?;
    ensure!(all(case)?.len() == 3000, "a complete batch has gone on");
    Ok(())
}

fn batch_ends(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 3), ("out", 2)])?;
    let manifest = case.manifest(&format!("{COPY}mode: Batch\n"))?;
    case.client.write(numbers(&case.topic("in"), 0..3000, 3))?;
    // Killed when the ends are written down, and nothing else.
    let code = case.run(&manifest, "killed").fault("takeover.taken=kill@3").start()?.wait(GUARD)?;
    ensure!(code == -9, "exit code {code}");
    case.client.write(numbers(&case.topic("in"), 3000..6000, 3))?;
    case.run(&manifest, "second").start()?.expect_exit(DONE, GUARD)?;
    let numbers = sorted(&case.client.read(&case.topic("out"))?);
    ensure!(numbers == (0..3000).collect::<Vec<_>>(), "{} records, not those of the first start", numbers.len());
    Ok(())
}

/// Stops a run of 100 records between writing and committing, and returns how many records others see then; goes on,
/// and returns how many there are at the end.
fn seen_before_and_after(case: &Case<'_>, spec: &str) -> Result<(usize, Vec<usize>)> {
    case.topics(&[("in", 1), ("out", 1)])?;
    let manifest = case.manifest(spec)?;
    let mut pipeline = case.run(&manifest, "run").fault("checkpoint.before-commit=stop@2").start()?;
    pipeline.wait_ready()?;
    case.client.write(numbers(&case.topic("in"), 0..100, 1))?;
    wait::until_true("the process to stop before its commit", GUARD, || {
        pipeline.must_run()?;
        Ok(pipeline.is_stopped())
    })?;
    let before = case.client.read(&case.topic("out"))?.len();
    pipeline.signal(Signal::Continue)?;
    case.client.read_until(&case.topic("out"), 100, GUARD)?;
    pipeline.stop()?;
    Ok((before, sorted(&case.client.read(&case.topic("out"))?)))
}

fn at_least_once(case: &Case<'_>) -> Result<()> {
    let (before, after) = seen_before_and_after(case, &format!("{COPY}delivery: AtLeastOnce\n"))?;
    ensure!(before > 0, "no output before the commit");
    ensure!((0..100).all(|n| after.contains(&n)), "output is missing: {after:?}");
    Ok(())
}

fn exactly_once(case: &Case<'_>) -> Result<()> {
    let (before, after) = seen_before_and_after(case, COPY)?;
    ensure!(before == 0, "{before} records before the commit");
    ensure!(after == (0..100).collect::<Vec<_>>(), "{after:?}");
    Ok(())
}

fn signals(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let manifest = case.manifest(COPY)?;
    for (round, signal) in [Signal::Terminate, Signal::Interrupt].into_iter().enumerate() {
        let mut pipeline = case.run(&manifest, &format!("run-{round}")).start()?;
        pipeline.wait_ready()?;
        let headers = header::read(&case.client, &case.application_id())?;
        ensure!(headers.len() == 2 && headers.values().all(|h| !h.released), "while running: {headers:?}");
        case.client.write(numbers(&case.topic("in"), round * 500..(round + 1) * 500, 2))?;
        case.client.read_until(&case.topic("out"), (round + 1) * 500, GUARD)?;
        pipeline.signal(signal)?;
        pipeline.expect_exit(DONE, GUARD)?;
        let headers = header::read(&case.client, &case.application_id())?;
        ensure!(headers.values().all(|h| h.released), "after {signal:?}: {headers:?}");
    }
    ensure!(sorted(&case.client.read(&case.topic("out"))?) == (0..1000).collect::<Vec<_>>());
    Ok(())
}

/// The codecs and their numbers in a record batch.
const CODECS: [(&str, &str, u8); 5] =
    [("none", "None", 0), ("gzip", "Gzip", 1), ("snappy", "Snappy", 2), ("lz4", "Lz4", 3), ("zstd", "Zstd", 4)];

fn compression(case: &Case<'_>) -> Result<()> {
    let mut spec = String::from("sources:\n- {name: in, kafka: {topics: [~in]}, format: {type: Raw}}\nsinks:\n");
    case.topics(&[("in", 1)])?;
    for (codec, name, _) in CODECS {
        case.topics(&[(codec, 1)])?;
        let sink = format!("{{name: {codec}, kafka: {{topic: ~{codec}, compression: {name}}}, format: {{type: Raw}}}}");
        spec.extend(["- ", &sink, "\n"]);
        let writer = case.client.writer(&[("compression.type", codec)])?;
        for n in 0..200 {
            millstream_tests::Client::send(&writer, &Record::new(&case.topic("in"), format!("{codec} {n}")))?;
        }
        millstream_tests::Client::flush(&writer)?;
    }
    let manifest = case.manifest(&format!("{spec}mode: Batch\n"))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    for (codec, _, number) in CODECS {
        let topic = case.topic(codec);
        let records = case.client.read(&topic)?;
        ensure!(records.len() == 1000, "{} records with {codec}", records.len());
        let segment = case.cluster.directory().join(format!("node-1/data/{topic}-0/00000000000000000000.log"));
        // Base offset, length, leader epoch, magic and checksum come before the attributes, whose low bits are the codec.
        let attributes = *fs::read(&segment)?.get(22).context("an empty segment")?;
        ensure!(attributes & 7 == number, "{codec}: attributes {attributes:#x}");
    }
    Ok(())
}

fn kept(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 3), ("out", 3)])?;
    let topic = case.topic("in");
    let mut records = vec![
        Record::new(&topic, "all").key("k1").at(1_600_000_000_123).header("a", "1").header("a", "2").header("b", ""),
        Record::new(&topic, "no key").to(1).at(1_600_000_000_000),
        Record::new(&topic, "empty key").key("").at(0),
        Record::new(&topic, vec![0xff, 0x00, 0xfe]).key(vec![0xc3, 0x28]).at(1_700_000_000_000),
        Record { value: None, ..Record::new(&topic, "").key("tombstone").at(1_700_000_000_001) },
        Record::new(&topic, "").key("empty value").at(1_700_000_000_002),
    ];
    records[0].headers.push(("null".into(), None));
    case.client.write(records)?;
    let manifest = case.manifest(&format!("{COPY}mode: Batch\n"))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;

    let parts = |topic: &str| -> Result<Vec<_>> {
        let records = case.client.read(&case.topic(topic))?.into_iter();
        let mut parts: Vec<_> = records.map(|r| (r.partition, r.timestamp, r.key, r.value, r.headers)).collect();
        parts.sort();
        Ok(parts)
    };
    let (input, output) = (parts("in")?, parts("out")?);
    ensure!(input == output, "in {input:#?}\nout {output:#?}");
    ensure!(output.len() == 6, "{} records", output.len());
    Ok(())
}

fn java_partitions(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 3), ("out", 7), ("java", 7)])?;
    let keys: Vec<String> = (0..500).map(|n| format!("{}ключ-{n}", "x".repeat(n % 7))).collect();
    case.client.write(keys.iter().map(|key| Record::new(&case.topic("in"), "v").key(key.as_bytes())))?;
    let manifest = case.manifest(&format!("{COPY}mode: Batch\n"))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;

    let mut java = case.cluster.installation().program("Stranger")?;
    java.args(["partitions", case.client.bootstrap(), &case.topic("java")]);
    let (output, success) = run(java, &keys.join("\n"))?;
    ensure!(success, "{output}");
    let expected: BTreeMap<String, String> = keys.into_iter().zip(output.lines().map(str::to_owned)).collect();
    let found: BTreeMap<String, String> = (case.client.read(&case.topic("out"))?.iter())
        .map(|r| (r.key_text(), r.partition.unwrap_or(-1).to_string()))
        .collect();
    ensure!(found.len() == 500 && found == expected, "partitions differ: {found:?}, by Java {expected:?}");
    Ok(())
}

fn order(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 5), ("out", 3)])?;
    let records = (0..5000).map(|n| Record::new(&case.topic("in"), format!("{},{}", n % 5, n / 5)).to(n % 5));
    case.client.write(records)?;
    let manifest = case.manifest(&format!("{COPY}mode: Batch\nshards: 2\n"))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    millstream_tests::oracle::check(case.cluster, &[&case.topic("out")], &[1000; 5])?.demand_exactly_once()?;
    for record in case.client.read(&case.topic("out"))? {
        let source: i32 = record.text().split(',').next().unwrap_or_default().parse()?;
        ensure!(record.partition == Some(source % 3), "{record:?} is not in its partition");
    }
    Ok(())
}

fn pattern(case: &Case<'_>) -> Result<()> {
    case.topics(&[("events.a", 2), ("other", 1), ("out", 2)])?;
    let manifest = case.manifest(
        "sources: [{name: in, kafka: {topicPattern: '~events\\..*'}, format: {type: Raw}}]\n\
         sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]\n\
         checkpoint: {interval: 100ms}\nshards: 2",
    )?;
    let mut pipeline = case.run(&manifest, "run").start()?;
    case.client.write(numbers(&case.topic("events.a"), 0..100, 2))?;
    case.client.write(numbers(&case.topic("other"), 900..1000, 1))?;
    case.client.read_until(&case.topic("out"), 100, GUARD)?;
    case.topics(&[("events.b", 3)])?;
    case.client.write(numbers(&case.topic("events.b"), 100..400, 3))?;
    // The goal is 10 s.
    case.client.read_until(&case.topic("out"), 400, Duration::from_secs(100))?;
    pipeline.stop()?;
    ensure!(sorted(&case.client.read(&case.topic("out"))?) == (0..400).collect::<Vec<_>>());
    Ok(())
}

fn routing(case: &Case<'_>) -> Result<()> {
    case.topics(&[("lines", 2), ("events", 2), ("low", 1), ("high", 2), ("all", 3)])?;
    let manifest = case.manifest(ROUTED)?;
    case.client.write((0..100).map(|n| Record::new(&case.topic("lines"), format!("l{n},{n}")).to(n % 2)))?;
    case.client.write((0..100).map(|n| Record::new(&case.topic("events"), event(n)).to(n % 2)))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    let texts = |topic: &str| -> Result<Vec<String>> {
        let mut texts: Vec<String> = case.client.read(&case.topic(topic))?.iter().map(Record::text).collect();
        texts.sort();
        Ok(texts)
    };
    let expected = |numbers: std::ops::Range<i32>, line: fn(i32) -> String, event: fn(i32) -> String| {
        let mut rows: Vec<String> = numbers.flat_map(|n| [line(n), event(n)]).collect();
        rows.sort();
        rows
    };
    // JSON that is only routed to JSON keeps its bytes, undeclared fields included; lines are written anew.
    let json: fn(i32) -> String = |n| format!(r#"{{"name":"l{n}","amount":{n}}}"#);
    let (low, high, all) = (texts("low")?, texts("high")?, texts("all")?);
    ensure!(low == expected(0..50, json, event), "low: {low:#?}");
    ensure!(high == expected(50..100, |n| format!("l{n};{n}"), |n| format!("e{n};{n}")), "high: {high:#?}");
    ensure!(all == expected(0..100, json, event), "all: {all:#?}");
    for record in case.client.read(&case.topic("all"))? {
        ensure!(record.text().contains(&format!(r#""{}""#, record.key_text())), "{record:?} has not its name as key");
    }
    Ok(())
}

/// A record of the source `events`.
fn event(n: i32) -> String {
    format!(r#"{{"extra":[{n}],"name":"e{n}","amount":{n}}}"#)
}

/// Two sources of different formats, united, and three sinks of different shares.
const ROUTED: &str = "\
sources:
  - name: lines
    kafka: {topics: [~lines]}
    format: {type: Csv}
    schema: [{name: name, type: string}, {name: amount, type: int}]
  - name: events
    kafka: {topics: [~events]}
    format: {type: Json}
    schema: [{name: name, type: string}, {name: amount, type: int}]
transforms:
  - {name: low, from: [lines, events], filter: amount < 50}
  - {name: high, from: [lines, events], filter: amount >= 50}
sinks:
  - {name: low_ones, from: [low], kafka: {topic: ~low}, format: {type: Json}}
  - {name: high_ones, from: [high], kafka: {topic: ~high}, format: {type: Csv, csv: {delimiter: ';'}}}
  - {name: all, from: [lines, events], kafka: {topic: ~all, keyColumn: name}, format: {type: Json}}
mode: Batch
";

fn start_from(case: &Case<'_>) -> Result<()> {
    let begin = 1_700_000_000_000;
    for (name, position, expected) in [
        ("earliest", "position: Earliest", 0..200),
        ("latest", "position: Latest", 100..200),
        ("timestamp", "position: Timestamp, timestamp: '2023-11-14T22:13:20.050Z'", 50..200),
    ] {
        let (input, output) = (format!("{name}.in"), format!("{name}.out"));
        case.topics(&[(&input, 1), (&output, 1)])?;
        let record = |n: usize| Record::new(&case.topic(&input), format!("{n}")).at(begin + n as i64);
        case.client.write((0..100).map(record))?;
        let manifest = case.manifest(&format!(
            "applicationId: tests.start.{name}\n\
             sources: [{{name: in, kafka: {{topics: [~{input}], startFrom: {{{position}}}}}, format: {{type: Raw}}}}]\n\
             sinks: [{{name: out, kafka: {{topic: ~{output}}}, format: {{type: Raw}}}}]"
        ))?;
        let mut pipeline = case.run(&manifest, name).start()?;
        pipeline.wait_ready()?;
        case.client.write((100..200).map(record))?;
        case.client.read_until(&case.topic(&output), expected.len(), GUARD)?;
        pipeline.stop()?;
        ensure!(sorted(&case.client.read(&case.topic(&output))?) == expected.collect::<Vec<_>>(), "{name}");
    }
    Ok(())
}
