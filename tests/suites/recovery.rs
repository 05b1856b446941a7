//! What expires, is deleted, reset or changed behind a pipeline's back: each ends in the right result or in a stop that
//! names it, never in silent loss or repetition.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream::kafka::SecretStore;
use millstream::plan;
use millstream::shard::removal::{Removal, Removed};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::header;
use millstream_tests::oracle;
use millstream_tests::pipeline::{FENCED, GUARD, Millstream, STOPPED};
use millstream_tests::suite::{Case, Suite};
use millstream_tests::wait;
use rdkafka::producer::Producer;

/// How long transactional ids and producer ids live here. A test's steps take far less, or wait for their end.
const EXPIRES: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    let settings = Settings::new()
        .property("offsets.retention.minutes", "1")
        .property("offsets.retention.check.interval.ms", "500")
        .property("transactional.id.expiration.ms", "6000")
        .property("transaction.remove.expired.transaction.cleanup.interval.ms", "500")
        .property("producer.id.expiration.ms", "6000")
        .property("producer.id.expiration.check.interval.ms", "500")
        .property("group.consumer.heartbeat.interval.ms", "500")
        .property("group.consumer.min.heartbeat.interval.ms", "500");
    Suite::new(settings)
        .test("offsets_expired", offsets_expired)
        .test("transactional_and_producer_ids_expired_while_idle", ids_expired_while_idle)
        .test("transactional_and_producer_ids_expired_between_runs", ids_expired_between_runs)
        .test("a_classic_consumer_in_the_group", |case| stranger(case, "classic"))
        .test("a_kip_848_consumer_in_the_group", |case| stranger(case, "consumer"))
        .test("offsets_reset_by_a_tool", offsets_reset)
        .test("header_topic_deleted", header_topic_deleted)
        .test("header_topic_deleted_while_running", header_topic_deleted_while_running)
        .test("source_topic_made_again_fail", |case| made_again(case, "Fail"))
        .test("source_topic_made_again_earliest", |case| made_again(case, "Earliest"))
        .test("source_topic_made_again_latest", |case| made_again(case, "Latest"))
        .test("source_topic_made_again_while_running", made_again_while_running)
        .test("records_deleted_fail", |case| records_deleted(case, "Fail"))
        .test("records_deleted_earliest", |case| records_deleted(case, "Earliest"))
        .test("records_deleted_latest", |case| records_deleted(case, "Latest"))
        .test("partitions_added", partitions_added)
        .test("another_number_of_shards", another_number_of_shards)
        .test("state_topic_with_wrong_settings", wrong_state_topic)
        .test("state_topic_made_beforehand", right_state_topic)
        .test("a_header_of_another_uid", foreign_uid)
        .test("removed_from_kafka", removed)
        .test("source_topic_missing_is_waited_for", missing_topic)
        .threads(6)
        .run()
}

const COPY: &str = "\
sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]
checkpoint: {interval: 100ms}
";

/// The ids `range` of source 0, over two partitions by turns, and the value that the oracle reads.
fn write(case: &Case<'_>, range: std::ops::Range<i32>) -> Result<()> {
    case.client.write(range.map(|n| Record::new(&case.topic("in"), format!("{},{}", n % 2, n / 2)).to(n % 2)))
}

/// Waits for `count` records in the output and lets the oracle find each once.
fn all_there(case: &Case<'_>, count: i32) -> Result<()> {
    case.client.read_until(&case.topic("out"), count as usize, Duration::from_mins(2))?;
    let each = count as u64 / 2;
    oracle::check(case.cluster, &[&case.topic("out")], &[each, each])?.demand_exactly_once()
}

/// A pipeline that has copied 100 records and was stopped in order.
fn after_a_first_run(case: &Case<'_>, spec: &str) -> Result<std::path::PathBuf> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let manifest = case.manifest(spec)?;
    write(case, 0..100)?;
    let mut pipeline = case.run(&manifest, "first").start()?;
    all_there(case, 100)?;
    pipeline.stop()?;
    Ok(manifest)
}

fn offsets_expired(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    let group = case.application_id();
    // The shortest retention that a broker takes is a minute.
    wait::until_true("the group's offsets to expire", Duration::from_mins(5), || {
        Ok(case.client.group_offsets(&group, &case.topic("in"))?.is_empty())
    })?;
    write(case, 100..200)?;
    let mut pipeline = case.run(&manifest, "second").start()?;
    all_there(case, 200)?;
    pipeline.stop()
}

fn ids_expired_while_idle(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let mut pipeline = case.run(&case.manifest(COPY)?, "run").start()?;
    for round in 0..3 {
        write(case, round * 100..(round + 1) * 100)?;
        all_there(case, (round + 1) * 100)?;
        thread::sleep(EXPIRES + Duration::from_secs(2));
        pipeline.must_run()?;
    }
    pipeline.stop()
}

fn ids_expired_between_runs(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    thread::sleep(EXPIRES + Duration::from_secs(2));
    write(case, 100..200)?;
    // Killed, so that nothing is handed over in order.
    let mut pipeline = case.run(&manifest, "second").fault("checkpoint.before-commit=kill@2").start()?;
    let code = pipeline.wait(GUARD)?;
    ensure!(code == -9, "exit code {code}");
    thread::sleep(EXPIRES + Duration::from_secs(2));
    let mut pipeline = case.run(&manifest, "third").start()?;
    all_there(case, 200)?;
    pipeline.stop()
}

/// Another program that joins the pipeline's group and commits offsets into it.
struct Stranger(Child);

impl Stranger {
    fn join(case: &Case<'_>, protocol: &str) -> Result<Self> {
        let mut command = case.cluster.installation().program("Stranger")?;
        command.args(["join", case.client.bootstrap(), &case.application_id(), &case.topic("in"), protocol]);
        let mut child = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line.trim() == "joined", "the stranger said `{line}`");
        Ok(child)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// With a stranger in the group the pipeline goes on or stops with a word about the group; when the stranger has left,
/// the result is right.
fn stranger(case: &Case<'_>, protocol: &str) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let manifest = case.manifest(COPY)?;
    write(case, 0..100)?;
    let mut pipeline = case.run(&manifest, "first").start()?;
    all_there(case, 100)?;
    let stranger = Stranger::join(case, protocol)?;
    write(case, 100..200)?;
    goes_on_or_names(case, &mut pipeline, 200, &case.application_id())?;
    drop(pipeline);
    // A start with the stranger there.
    write(case, 200..300)?;
    let mut pipeline = case.run(&manifest, "second").start()?;
    goes_on_or_names(case, &mut pipeline, 300, &case.application_id())?;
    drop((pipeline, stranger));
    // The stranger's session ends only after a while.
    write(case, 300..400)?;
    let end = Instant::now() + Duration::from_mins(3);
    loop {
        let mut pipeline = case.run(&manifest, "third").start()?;
        let there = wait::until_true("all records", Duration::from_secs(20), || {
            Ok(pipeline.code()?.is_none() && case.client.read(&case.topic("out"))?.len() >= 400)
        });
        if there.is_ok() {
            all_there(case, 400)?;
            return pipeline.stop();
        }
        ensure!(Instant::now() < end, "the pipeline does not come back");
    }
}

/// Either the output grows to `count`, or the process stops with exit code 3 (4 if it takes itself for fenced) and names
/// `word`. Nothing may be twice in either case.
fn goes_on_or_names(case: &Case<'_>, pipeline: &mut Millstream, count: usize, word: &str) -> Result<()> {
    let code = wait::until("the pipeline to go on or to stop", GUARD, || {
        let enough = case.client.read(&case.topic("out"))?.len() >= count;
        Ok(pipeline.code()?.map(Some).or(enough.then_some(None)))
    })?;
    let verdict = oracle::check(case.cluster, &[&case.topic("out")], &[count as u64 / 2; 2])?;
    ensure!(verdict.duplicates + verdict.out_of_order + verdict.foreign == 0, "{verdict:?}");
    match code {
        None => Ok(()),
        Some(code) => {
            ensure!([STOPPED, FENCED].contains(&code), "exit code {code}");
            pipeline.expect_words(&[word])
        }
    }
}

fn offsets_reset(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    let (group, topic) = (case.application_id(), case.topic("in"));
    case.cluster.installation().tool(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &[
            "--bootstrap-server",
            case.client.bootstrap(),
            "--group",
            &group,
            "--topic",
            &topic,
            "--reset-offsets",
            "--to-earliest",
            "--execute",
        ],
    )?;
    let reset = case.client.group_offsets(&group, &topic)?;
    ensure!(reset.values().all(|(offset, _)| *offset == 0), "the offsets were not reset: {reset:?}");
    let mut pipeline = case.run(&manifest, "second").start()?;
    pipeline.wait_ready()?;
    write(case, 100..200)?;
    all_there(case, 200)?;
    pipeline.stop()?;
    let positions = header::positions(&case.client, &group)?;
    let mirror = case.client.group_offsets(&group, &topic)?;
    for ((_, partition), offset) in positions {
        ensure!(mirror.get(&partition).map(|(o, _)| *o) == Some(offset), "the mirror is not rewritten: {mirror:?}");
    }
    Ok(())
}

fn header_topic_deleted(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    let state = format!("{}.state", case.application_id());
    case.client.delete_topic(&state)?;
    for log in ["second", "third"] {
        case.run(&manifest, log).start()?.expect_stop(&[&state])?;
    }
    let records = case.client.read(&case.topic("out"))?.len();
    ensure!(records == 100, "{records} records: some were repeated");
    Ok(())
}

fn header_topic_deleted_while_running(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let manifest = case.manifest(COPY)?;
    write(case, 0..100)?;
    let mut pipeline = case.run(&manifest, "first").start()?;
    all_there(case, 100)?;
    let state = format!("{}.state", case.application_id());
    case.client.delete_topic(&state)?;
    write(case, 100..200)?;
    // It may wait for the topic or stop; it may not make a new one and begin again.
    let stopped = wait::until("a stop", Duration::from_secs(20), || pipeline.code()).ok();
    ensure!(stopped.is_none_or(|code| code == STOPPED), "exit code {stopped:?}");
    pipeline.expect_words(&[&state])?;
    pipeline.kill()?;
    case.run(&manifest, "second").start()?.expect_stop(&[&state])?;
    let verdict = oracle::check(case.cluster, &[&case.topic("out")], &[100, 100])?;
    ensure!(verdict.duplicates == 0, "{verdict:?}");
    Ok(())
}

fn policy(policy: &str) -> String {
    COPY.replace("format: {type: Raw}}]\nsinks", &format!("format: {{type: Raw}}, onDataLoss: {policy}}}]\nsinks"))
}

/// What must come out after a loss: a named stop, all that is there now, or only what comes later.
fn after_the_loss(case: &Case<'_>, manifest: &std::path::Path, loss: &str, there: usize) -> Result<()> {
    let before = case.client.read(&case.topic("out"))?.len();
    let mut pipeline = case.run(manifest, "second").start()?;
    if loss == "Fail" {
        pipeline.expect_stop(&[&case.topic("in")])?;
        let after = case.client.read(&case.topic("out"))?.len();
        ensure!(after == before, "{} records after the stop", after - before);
        return Ok(());
    }
    pipeline.wait_ready()?;
    let later = (0..20).map(|n| Record::new(&case.topic("in"), format!("later {n}")).to(n % 2));
    case.client.write(later)?;
    let expected = before + 20 + if loss == "Earliest" { there } else { 0 };
    let records = case.client.read_until(&case.topic("out"), expected, GUARD)?;
    ensure!(records.len() == expected, "{} records, not {expected}", records.len());
    pipeline.stop()
}

fn made_again(case: &Case<'_>, loss: &str) -> Result<()> {
    let manifest = after_a_first_run(case, &policy(loss))?;
    case.client.delete_topic(&case.topic("in"))?;
    case.topics(&[("in", 2)])?;
    // More than before, so that the old positions are within the new topic: only its id tells.
    let anew = (0..300).map(|n| Record::new(&case.topic("in"), format!("again {n}")).to(n % 2));
    case.client.write(anew)?;
    after_the_loss(case, &manifest, loss, 300)
}

fn made_again_while_running(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let manifest = case.manifest(COPY)?;
    write(case, 0..100)?;
    let mut pipeline = case.run(&manifest, "first").start()?;
    all_there(case, 100)?;
    case.client.delete_topic(&case.topic("in"))?;
    case.topics(&[("in", 2)])?;
    case.client.write((0..300).map(|n| Record::new(&case.topic("in"), format!("again {n}")).to(n % 2)))?;
    // The goal is 10 s.
    pipeline.expect_exit(STOPPED, Duration::from_secs(100))?;
    pipeline.expect_words(&[&case.topic("in")])?;
    // The client read on silently in the new topic; none of that may have been committed.
    let records = case.client.read(&case.topic("out"))?.len();
    ensure!(records == 100, "{records} records in the output instead of 100");
    case.run(&manifest, "second").start()?.expect_stop(&[&case.topic("in")])
}

fn records_deleted(case: &Case<'_>, loss: &str) -> Result<()> {
    let manifest = after_a_first_run(case, &policy(loss))?;
    write(case, 100..300)?;
    for partition in 0..2 {
        case.client.delete_records(&case.topic("in"), partition, 120)?;
    }
    after_the_loss(case, &manifest, loss, 60)
}

fn partitions_added(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let mut spec = COPY.replace("topics: [~in]", "topics: [~in], startFrom: {position: Latest}");
    spec += "shards: 2\n";
    let mut pipeline = case.run(&case.manifest(&spec)?, "run").start()?;
    pipeline.wait_ready()?;
    write(case, 0..100)?;
    all_there(case, 100)?;
    case.client.add_partitions(&case.topic("in"), 4)?;
    let new = (0..100).map(|n| Record::new(&case.topic("in"), format!("{},{}", 2 + n % 2, n / 2)).to(2 + n % 2));
    case.client.write(new)?;
    // The goal is 10 s; these records are older than the pipeline's knowledge of their partitions, and none may be lost.
    case.client.read_until(&case.topic("out"), 200, Duration::from_secs(100))?;
    pipeline.stop()?;
    oracle::check(case.cluster, &[&case.topic("out")], &[50; 4])?.demand_exactly_once()
}

fn another_number_of_shards(case: &Case<'_>) -> Result<()> {
    after_a_first_run(case, &format!("{COPY}shards: 2\n"))?;
    let manifest = case.manifest(&format!("{COPY}shards: 3\n"))?;
    write(case, 100..200)?;
    case.run(&manifest, "second").start()?.expect_stop(&["shards", "2", "3"])?;
    let records = case.client.read(&case.topic("out"))?.len();
    ensure!(records == 100, "{records} records");
    Ok(())
}

fn wrong_state_topic(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    write(case, 0..100)?;
    for (n, (settings, word)) in [
        (vec![("cleanup.policy", "delete")], "cleanup.policy"),
        (vec![("cleanup.policy", "compact,delete")], "cleanup.policy"),
        (
            vec![("cleanup.policy", "compact"), ("unclean.leader.election.enable", "true")],
            "unclean.leader.election.enable",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("{}.{n}", case.application_id());
        case.client.create_topic(&format!("{id}.state"), 2, &settings)?;
        let manifest = case.manifest(&format!("applicationId: {id}\n{COPY}"))?;
        case.run(&manifest, &format!("wrong-{n}")).start()?.expect_stop(&[&format!("{id}.state"), word])?;
    }
    let records = case.client.read(&case.topic("out"))?.len();
    ensure!(records == 0, "{records} records");
    Ok(())
}

/// The number of partitions is the number of shards.
fn right_state_topic(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 2), ("out", 2)])?;
    let settings = [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false")];
    case.client.create_topic(&format!("{}.state", case.application_id()), 5, &settings)?;
    write(case, 0..100)?;
    let mut pipeline = case.run(&case.manifest(COPY)?, "run").start()?;
    all_there(case, 100)?;
    pipeline.stop()?;
    let headers = header::read(&case.client, &case.application_id())?;
    ensure!(headers.len() == 5 && headers.values().all(|h| h.shards == 5), "{headers:?}");
    Ok(())
}

fn foreign_uid(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    let state = format!("{}.state", case.application_id());
    let headers = case.client.read(&state)?.into_iter().filter(|r| r.key_text() == "header");
    let uid = r#""uid":"5e1f6f0a-0000-4000-8000-000000000000""#;
    let foreign = headers.map(|mut record| {
        record.value = Some(record.text().replace(r#""uid":"local""#, uid).into_bytes());
        record
    });
    case.client.write(foreign.collect::<Vec<_>>())?;
    write(case, 100..200)?;
    case.run(&manifest, "second").start()?.expect_stop(&["5e1f6f0a", "adopt"])?;
    let adopting = case.manifest(&format!("{COPY}adopt: true\n"))?;
    let mut pipeline = case.run(&adopting, "third").start()?;
    all_there(case, 200)?;
    pipeline.stop()
}

/// What a pipeline has in Kafka is removed for its own uid only; who still holds a shard can commit nothing then, and the
/// pipeline begins anew.
fn removed(case: &Case<'_>) -> Result<()> {
    let manifest = after_a_first_run(case, COPY)?;
    let state = format!("{}.state", case.application_id());
    let zombie = Record::new(&case.topic("out"), "of a zombie");
    let zombie = case.client.open_transaction(&format!("{}.1", case.application_id()), [zombie])?;
    ensure!(remove(&manifest, "another")? == Removed::Foreign { uid: "local".into() }, "a foreign topic was taken");
    ensure!(case.client.partitions(&state)? == 2, "a foreign topic was deleted");
    for attempt in ["first", "second"] {
        ensure!(remove(&manifest, "local")? == Removed::All, "the {attempt} attempt left something");
        wait::until_true("the state topic to be gone", GUARD, || Ok(case.client.partitions(&state)? == 0))?;
    }
    let offsets = case.client.group_offsets(&case.application_id(), &case.topic("in"))?;
    ensure!(offsets.is_empty(), "the group has offsets: {offsets:?}");
    ensure!(zombie.commit_transaction(GUARD).is_err(), "a zombie could commit");
    all_there(case, 100)?;
    let mut again = case.run(&manifest, "again").start()?;
    let records = case.client.read_until(&case.topic("out"), 200, GUARD)?;
    ensure!(records.len() == 200, "{} records", records.len());
    again.stop()
}

/// As the operator does when a Pipeline with this uid is deleted.
fn remove(manifest: &Path, uid: &str) -> Result<Removed> {
    let documents = plan::manifest::read("pipeline.yaml", &fs::read_to_string(manifest)?)?;
    let pipeline = plan::compile(documents.first().context("there is no Pipeline")?)?.pipeline;
    Ok(Removal::new(pipeline, &SecretStore::default(), uid)?.run(&|_| true)?)
}

fn missing_topic(case: &Case<'_>) -> Result<()> {
    case.topics(&[("out", 2)])?;
    let mut pipeline = case.run(&case.manifest(COPY)?, "run").start()?;
    pipeline.wait_for_words(&[&case.topic("in")], GUARD)?;
    case.topics(&[("in", 2)])?;
    write(case, 0..100)?;
    all_there(case, 100)?;
    pipeline.stop()
}
