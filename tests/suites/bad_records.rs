//! Records that cannot be read, computed or written: each in the dead letters with its reason, all others through, in the
//! same transaction.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::header;
use millstream_tests::pipeline::{DONE, GUARD};
use millstream_tests::process::Signal;
use millstream_tests::suite::{Case, Suite, seed};
use millstream_tests::wait;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn main() -> ExitCode {
    Suite::new(Settings::new())
        .test("bad_json_is_told_by_its_reason", json)
        .test("bad_csv_is_told_by_its_reason", csv)
        .test("bad_text_is_told_by_its_reason", raw)
        .test("mutated_records_are_read_or_dead_letters", mutated)
        .test("expressions_that_fail_make_dead_letters", expressions)
        .test("dead_letters_come_with_their_transaction", one_transaction)
        .test("what_a_broker_would_refuse_is_a_dead_letter", refused)
        .test("a_refusal_that_could_not_be_foreseen_is_isolated", surprising_refusal)
        .test("a_huge_record_is_truncated_in_the_dead_letters", truncated)
        .test("tombstones_pass_or_are_dead_letters", tombstones)
        .test("the_policy_fail_stops_before_the_record", fail)
        .test("the_policy_skip_counts_and_goes_on", skip)
        .run()
}

/// A value, and the reasons that are right for it; none for a good one.
type Sample = (Vec<u8>, &'static [&'static str]);

fn sample(value: impl Into<Vec<u8>>, reasons: &'static [&'static str]) -> Sample {
    (value.into(), reasons)
}

/// A batch over `in`, with dead letters.
fn spec(format: &str, schema: &str, transforms: &str) -> String {
    let schema = if schema.is_empty() { String::new() } else { format!(", schema: [{schema}]") };
    format!(
        "sources: [{{name: input, kafka: {{topics: [~in]}}, format: {format}{schema}}}]\n\
         transforms: [{transforms}]\n\
         sinks: [{{name: output, kafka: {{topic: ~out}}, format: {format}}}]\n\
         errors: {{policy: DeadLetter, deadLetter: {{topic: ~dead}}}}\n\
         mode: Batch\n"
    )
}

/// Writes the samples with good records between them, runs the batch, and compares what came where.
fn judge(case: &Case<'_>, spec: &str, good: &str, samples: &[Sample]) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1), ("dead", 1)])?;
    let topic = case.topic("in");
    let values = samples.iter().flat_map(|(value, _)| [good.as_bytes().to_vec(), value.clone()]);
    let writer = case.client.writer(&[("message.max.bytes", "4000000")])?;
    for (n, value) in values.enumerate() {
        let record = Record::new(&topic, value).key(format!("k{n}")).at(1_700_000_000_000 + n as i64).header("h", "v");
        millstream_tests::Client::send(&writer, &record)?;
    }
    millstream_tests::Client::flush(&writer)?;
    let manifest = case.manifest(spec)?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;

    let dead: BTreeMap<i64, Record> = (case.client.read(&case.topic("dead"))?.into_iter())
        .map(|record| Ok((record.header_text("millstream.offset").context("no offset")?.parse()?, record)))
        .collect::<Result<_>>()?;
    let mut wrong = Vec::new();
    for (place, (value, reasons)) in samples.iter().enumerate() {
        let offset = 2 * place as i64 + 1;
        let found = dead.get(&offset).map(|record| check_letter(&topic, value, offset, record)).transpose()?;
        let right = found.as_deref().map_or(reasons.is_empty(), |reason| reasons.contains(&reason));
        if !right {
            let text: String = String::from_utf8_lossy(value).chars().take(60).collect();
            wrong.push(format!("`{text}`: {found:?} instead of {reasons:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let passed = samples.len() + samples.iter().filter(|(_, reasons)| reasons.is_empty()).count();
    let out = case.client.read(&case.topic("out"))?;
    ensure!(out.len() == passed, "{} records in the output, not {passed}", out.len());
    ensure!(dead.keys().all(|offset| offset % 2 == 1), "a good record is a dead letter: {:?}", dead.keys());
    Ok(())
}

/// A dead letter has key, value, headers and place of its record; returns the reason.
fn check_letter(topic: &str, value: &[u8], offset: i64, record: &Record) -> Result<String> {
    let header = |name: &str| record.header_text(&format!("millstream.{name}")).with_context(|| format!("no {name}"));
    ensure!(record.value.as_deref() == Some(value), "the value of offset {offset} has changed");
    ensure!(record.key_text() == format!("k{offset}"), "the key is {}", record.key_text());
    ensure!(record.header_text("h").as_deref() == Some("v"), "the record's own header is gone: {record:?}");
    ensure!((header("topic")?.as_str(), header("partition")?.as_str()) == (topic, "0"), "{record:?}");
    ensure!(header("timestamp")? == (1_700_000_000_000 + offset).to_string(), "{record:?}");
    ensure!(!header("message")?.is_empty() && !header("node")?.is_empty(), "{record:?}");
    header("reason")
}

const JSON_SCHEMA: &str = "\
{name: id, type: bigint}, {name: amount, type: double}, {name: price, type: 'decimal(10,2)'}, \
{name: at, type: timestamp}, {name: name, type: string}, {name: tags, type: list<string>}";
const GOOD_JSON: &str =
    r#"{"id":1,"amount":2.5,"price":3.25,"at":"2026-01-31T12:00:00Z","name":"n","tags":["a"],"more":{"x":[1]}}"#;

fn json(case: &Case<'_>) -> Result<()> {
    let deep = |n: usize| format!(r#"{{"id":1,"more":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    let mut invalid_in_unused = br#"{"id":1,"more":"xx"}"#.to_vec();
    invalid_in_unused[16] = 0xff;
    let samples = [
        sample(r#"{"id":1}"#, &[]),
        sample(r#"{"id":null,"unknown":1}"#, &[]),
        sample(r#" {"name":"\ud83d\ude00 \u00e9"} "#, &[]),
        sample(GOOD_JSON.get(..GOOD_JSON.len() - 1).unwrap_or_default(), &["malformed"]),
        sample("", &["malformed"]),
        sample(" ", &["malformed"]),
        sample(r#"{"id":1}{"id":2}"#, &["malformed"]),
        sample(r#"{"id":1} x"#, &["malformed"]),
        sample(r#"{"id":1,}"#, &["malformed"]),
        sample(r#"{"id":01}"#, &["malformed"]),
        sample(r#"{"amount":NaN}"#, &["malformed"]),
        sample(r#"{"amount":-Infinity}"#, &["malformed"]),
        sample("not json", &["malformed"]),
        sample("[1]", &["malformed", "type"]),
        sample("null", &["malformed", "type"]),
        sample(r#"{"name":"\ud800"}"#, &["malformed", "invalid-utf8", "type"]),
        sample("{\"name\":\"line\nbreak\"}", &["malformed"]),
        sample(invalid_in_unused, &["invalid-utf8"]),
        sample(&b"{\"name\":\"\xc3\x28\"}"[..], &["invalid-utf8"]),
        sample(r#"{"id":"text"}"#, &["type"]),
        sample(r#"{"id":1.5}"#, &["type"]),
        sample(r#"{"id":9223372036854775808}"#, &["type"]),
        sample(r#"{"amount":1e999}"#, &["type"]),
        sample(r#"{"amount":"x"}"#, &["type"]),
        sample(r#"{"price":12345678901.00}"#, &["type"]),
        sample(r#"{"at":"yesterday"}"#, &["type"]),
        sample(r#"{"at":"2026-02-30T00:00:00Z"}"#, &["type"]),
        sample(r#"{"tags":"a"}"#, &["type"]),
        sample(r#"{"tags":[1,{}]}"#, &["type"]),
        sample(deep(50), &[]),
        sample(deep(100_000), &["malformed"]),
        sample(format!(r#"{{"id":1,"more":{}}}"#, "9".repeat(100_000)), &[]),
        sample(format!(r#"{{"id":{}}}"#, "9".repeat(100_000)), &["type"]),
        sample(format!(r#"{{"more":"{}"}}"#, "x".repeat(900_000)), &[]),
    ];
    // All columns are in use; what is in use is what decides.
    judge(
        case,
        &spec("{type: Json}", JSON_SCHEMA, "{name: all, set: [{column: id, expression: id + 0}]}"),
        GOOD_JSON,
        &samples,
    )
}

fn csv(case: &Case<'_>) -> Result<()> {
    let schema =
        "{name: id, type: int}, {name: name, type: string}, {name: ok, type: boolean}, {name: day, type: date}";
    let samples = [
        sample("1,\"a,b\",true,2026-01-31", &[]),
        sample("1,\"say \"\"hi\"\"\",false,2026-01-31", &[]),
        sample(",,,", &[]),
        sample("1,a,true", &["malformed"]),
        sample("1,a,true,2026-01-31,more", &["malformed"]),
        sample("", &["malformed"]),
        sample("1,\"open,true,2026-01-31", &["malformed"]),
        sample("1,\"a\"x,true,2026-01-31", &["malformed"]),
        sample(&b"1,\xff,true,2026-01-31"[..], &["invalid-utf8"]),
        sample("x,a,true,2026-01-31", &["type"]),
        sample("2147483648,a,true,2026-01-31", &["type"]),
        sample("1.0,a,true,2026-01-31", &["type"]),
        sample("1,a,perhaps,2026-01-31", &["type"]),
        sample("1,a,true,2026-13-01", &["type"]),
        sample("1,a,true,2026-01-31\n2,b,true,2026-01-31", &["malformed", "type"]),
    ];
    let all = "{name: all, set: [{column: id, expression: id + 0}]}";
    judge(case, &spec("{type: Csv}", schema, all), "7,x,true,2026-01-01", &samples)
}

fn raw(case: &Case<'_>) -> Result<()> {
    let samples = [
        sample("text", &[]),
        sample("", &[]),
        sample("äöü \u{1f600}", &[]),
        sample(&b"\xff\xfe"[..], &["invalid-utf8"]),
        sample(&b"cut off \xe2\x82"[..], &["invalid-utf8"]),
        sample(&b"\xed\xa0\x80"[..], &["invalid-utf8"]),
    ];
    let upper = "{name: up, set: [{column: value, expression: upper(value)}]}";
    judge(case, &spec("{type: Raw}", "", upper), "good", &samples)
}

/// Random changes of bytes in good records: nothing may be lost, nothing may be twice, no process may die.
fn mutated(case: &Case<'_>) -> Result<()> {
    const RECORDS: usize = 20_000;
    let mut rng = StdRng::seed_from_u64(seed()?);
    case.topics(&[("in", 2), ("out", 2), ("dead", 2)])?;
    let topic = case.topic("in");
    let mut unchanged = 0;
    let records: Vec<Record> = (0..RECORDS)
        .map(|n| {
            let mut value = GOOD_JSON.as_bytes().to_vec();
            let changes = rng.random_range(0..3);
            unchanged += usize::from(changes == 0);
            for _ in 0..changes {
                mutate(&mut value, &mut rng);
            }
            Record::new(&topic, value).key(format!("{n}"))
        })
        .collect();
    case.client.write(records)?;
    let all = "{name: all, set: [{column: id, expression: id + 0}]}";
    let manifest = case.manifest(&spec("{type: Json}", JSON_SCHEMA, all))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;

    let (out, dead) = (case.client.read(&case.topic("out"))?, case.client.read(&case.topic("dead"))?);
    let mut keys: Vec<usize> = out.iter().chain(&dead).filter_map(|r| r.key_text().parse().ok()).collect();
    keys.sort_unstable();
    ensure!(keys == (0..RECORDS).collect::<Vec<_>>(), "{} + {} records, or not each once", out.len(), dead.len());
    ensure!(out.len() >= unchanged, "{unchanged} good records, {} came through", out.len());
    let known = ["malformed", "invalid-utf8", "type", "expression"];
    for record in &dead {
        let reason = record.header_text("millstream.reason").unwrap_or_default();
        ensure!(known.contains(&reason.as_str()), "reason `{reason}`: {record:?}");
    }
    Ok(())
}

/// One small change, of those that break parsers.
fn mutate(value: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..value.len().max(1)).min(value.len().saturating_sub(1));
    match rng.random_range(0..6) {
        0 => value.truncate(at),
        1 => value[at] = rng.random(),
        2 => value.insert(at, b"{}[]\",:0e-\\\x00\xff"[rng.random_range(0..13)]),
        3 if value.len() > 1 => drop(value.remove(at)),
        4 => value.extend_from_within(at..),
        _ => value[at] ^= 1 << rng.random_range(0..8),
    }
    if value.is_empty() {
        value.push(b' ');
    }
}

fn expressions(case: &Case<'_>) -> Result<()> {
    let schema = "{name: a, type: bigint}, {name: b, type: bigint}, {name: s, type: string}";
    let steps = "{name: computed, set: [{column: a, expression: 'a / b + a * a'}, \
                 {column: s, expression: 'CAST(s AS BIGINT)'}]}";
    let samples = [
        sample("6,2,1", &[]),
        sample(",2,", &[]),
        sample("6,0,1", &["expression"]),
        sample("9223372036854775807,1,1", &["expression"]),
        sample("6,2,x", &["expression"]),
    ];
    judge(case, &spec("{type: Csv}", schema, steps), "1,1,1", &samples)
}

fn one_transaction(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1), ("dead", 1)])?;
    let values = (0..100).map(|n| if n % 2 == 0 { format!("{n}") } else { format!("x{n}") });
    case.client.write(values.map(|value| Record::new(&case.topic("in"), value)))?;
    let text = spec("{type: Csv}", "{name: n, type: int}", "{name: all, filter: n >= 0}").replace("mode: Batch\n", "");
    let manifest = case.manifest(&text)?;
    let mut pipeline = case.run(&manifest, "stopped").fault("checkpoint.before-commit=stop@1").start()?;
    wait::until_true("the process to stop before a commit", GUARD, || {
        pipeline.must_run()?;
        Ok(pipeline.is_stopped())
    })?;
    let seen = case.client.read(&case.topic("out"))?.len() + case.client.read(&case.topic("dead"))?.len();
    ensure!(seen == 0, "{seen} records are there before the commit");
    let mut second = case.run(&manifest, "second").start()?;
    case.client.read_until(&case.topic("out"), 50, GUARD)?;
    case.client.read_until(&case.topic("dead"), 50, GUARD)?;
    pipeline.signal(Signal::Continue)?;
    pipeline.expect_exit(millstream_tests::pipeline::FENCED, GUARD)?;
    second.stop()?;
    let (out, dead) = (case.client.read(&case.topic("out"))?.len(), case.client.read(&case.topic("dead"))?.len());
    ensure!((out, dead) == (50, 50), "{out} records and {dead} dead letters");
    Ok(())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

const BINARY: &str = "{type: Raw, raw: {binary: true}}";

fn refused(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("dead", 1)])?;
    case.client.create_topic(
        &case.topic("out"),
        1,
        &[("max.message.bytes", "5000"), ("message.timestamp.before.max.ms", "3600000"), ("cleanup.policy", "compact")],
    )?;
    let topic = case.topic("in");
    let good = |n: usize| Record::new(&topic, format!("good {n}")).key(format!("g{n}"));
    case.client.write([
        good(0),
        Record::new(&topic, vec![b'x'; 20_000]).key("large"),
        good(1),
        Record::new(&topic, "old").key("old").at(now() - 7_200_000),
        good(2),
        Record::new(&topic, "no key"),
        good(3),
    ])?;
    let manifest = case.manifest(&spec(BINARY, "", "").replace("transforms: []\n", ""))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    let reasons: Vec<String> = (case.client.read(&case.topic("dead"))?.iter())
        .map(|r| r.header_text("millstream.reason").unwrap_or_default())
        .collect();
    ensure!(reasons == ["too-large", "timestamp", "null-key"], "{reasons:?}");
    let out: Vec<String> = case.client.read(&case.topic("out"))?.iter().map(Record::text).collect();
    ensure!(out == ["good 0", "good 1", "good 2", "good 3"], "{out:?}");
    Ok(())
}

/// The topic's settings change behind the pipeline's back: the broker refuses, and the records are found by halving.
fn surprising_refusal(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1), ("dead", 1)])?;
    let manifest = case.manifest(&spec(BINARY, "", "").replace("transforms: []\n", "").replace("mode: Batch\n", ""))?;
    let mut pipeline = case.run(&manifest, "run").start()?;
    pipeline.wait_ready()?;
    case.client.configure_topic(&case.topic("out"), &[("message.timestamp.before.max.ms", "3600000")])?;
    let (topic, old) = (case.topic("in"), now() - 7_200_000);
    let record = |n: i64| {
        let record = Record::new(&topic, format!("0,{n}"));
        if n % 250 == 7 { record.at(old) } else { record }
    };
    case.client.write((0..1000).map(record))?;
    case.client.read_until(&case.topic("dead"), 4, Duration::from_mins(2))?;
    case.client.read_until(&case.topic("out"), 996, GUARD)?;
    pipeline.stop()?;
    for letter in case.client.read(&case.topic("dead"))? {
        let reason = letter.header_text("millstream.reason").unwrap_or_default();
        ensure!(["timestamp", "refused"].contains(&reason.as_str()), "{reason}: {letter:?}");
    }
    let both = [case.topic("out"), case.topic("dead")];
    millstream_tests::oracle::check(case.cluster, &[&both[0], &both[1]], &[1000])?.demand_exactly_once()
}

fn truncated(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1)])?;
    case.client.create_topic(&case.topic("dead"), 1, &[("max.message.bytes", "10000")])?;
    case.client
        .write([Record::new(&case.topic("in"), vec![0xff; 500_000]).key("k"), Record::new(&case.topic("in"), "a")])?;
    let manifest = case.manifest(&spec("{type: Raw}", "", "{name: up, filter: value IS NOT NULL}"))?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    let dead = case.client.read(&case.topic("dead"))?;
    ensure!(dead.len() == 1, "{} dead letters", dead.len());
    let length = dead[0].value.as_ref().map_or(0, Vec::len);
    ensure!((1000..10_000).contains(&length), "{length} bytes");
    let says = dead[0].headers.iter().any(|(_, value)| {
        value.as_deref().is_some_and(|v| String::from_utf8_lossy(v).to_lowercase().contains("truncated"))
            || value.as_deref() == Some(b"500000")
    });
    ensure!(
        says || dead[0].headers.iter().any(|(k, _)| k.contains("truncated")),
        "it does not say so: {:?}",
        dead[0].headers
    );
    Ok(())
}

fn tombstones(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("kept", 1), ("keyed", 1), ("dead", 1)])?;
    let topic = case.topic("in");
    case.client.write([
        Record::new(&topic, "a,1").key("k1"),
        Record { value: None, ..Record::new(&topic, "").key("k1") },
        Record::new(&topic, "b,2").key("k2"),
    ])?;
    let manifest = case.manifest(
        "sources: [{name: in, kafka: {topics: [~in]}, format: {type: Csv}, \
         schema: [{name: name, type: string}, {name: n, type: int}]}]\n\
         transforms: [{name: some, filter: n > 0}]\n\
         sinks:\n\
         - {name: kept, kafka: {topic: ~kept}, format: {type: Csv}}\n\
         - {name: keyed, kafka: {topic: ~keyed, keyColumn: name}, format: {type: Csv}}\n\
         errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}\nmode: Batch\n",
    )?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    let texts = |name: &str| -> Result<Vec<String>> {
        Ok(case.client.read(&case.topic(name))?.iter().map(|r| format!("{}={}", r.key_text(), r.text())).collect())
    };
    ensure!(texts("kept")? == ["k1=a,1", "k1=null", "k2=b,2"], "kept: {:?}", texts("kept")?);
    ensure!(texts("keyed")? == ["a=a,1", "b=b,2"], "keyed: {:?}", texts("keyed")?);
    let dead = case.client.read(&case.topic("dead"))?;
    let reasons: Vec<Option<String>> = dead.iter().map(|r| r.header_text("millstream.reason")).collect();
    ensure!(reasons == [Some("tombstone".to_owned())], "{reasons:?}");
    ensure!(dead[0].value.is_none() && dead[0].key_text() == "k1", "{dead:?}");
    Ok(())
}

fn fail(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1)])?;
    let value = |n: usize| if n == 70 { "x".to_owned() } else { format!("{n}") };
    case.client.write((0..100).map(|n| Record::new(&case.topic("in"), value(n))))?;
    let text = spec("{type: Csv}", "{name: n, type: int}", "{name: all, filter: n >= 0}")
        .replace("errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}\n", "errors: {policy: Fail}\n");
    let manifest = case.manifest(&text)?;
    for log in ["first", "second"] {
        // The topic is `…in`, the partition 0, the offset 70.
        case.run(&manifest, log).start()?.expect_stop(&[&case.topic("in"), "70"])?;
        let out: Vec<String> = case.client.read(&case.topic("out"))?.iter().map(Record::text).collect();
        ensure!(out == (0..70).map(|n| format!("{n}")).collect::<Vec<_>>(), "{log}: {out:?}");
    }
    let positions = header::positions(&case.client, &case.application_id())?;
    ensure!(positions.values().copied().collect::<Vec<_>>() == [70], "{positions:?}");
    Ok(())
}

fn skip(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 1)])?;
    let value = |n: usize| if n % 10 == 3 { "x".to_owned() } else { format!("{n}") };
    case.client.write((0..100).map(|n| Record::new(&case.topic("in"), value(n))))?;
    let text = spec("{type: Csv}", "{name: n, type: int}", "{name: all, filter: n >= 0}")
        .replace("errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}\n", "errors: {policy: Skip}\n")
        .replace("mode: Batch\n", "");
    let mut pipeline = case.run(&case.manifest(&text)?, "run").start()?;
    let out = case.client.read_until(&case.topic("out"), 90, GUARD)?;
    ensure!(out.len() == 90, "{} records", out.len());
    let counted = pipeline.metric("millstream_bad_records_total", &["reason=\"type\""])?;
    ensure!((counted - 10.0).abs() < 0.5, "{counted} bad records counted");
    pipeline.stop()
}
