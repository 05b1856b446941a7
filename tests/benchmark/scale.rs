//! What a process takes beside its records: time to start, and threads, connections, memory and CPU of many shards.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::pipeline::{GUARD, Millstream};
use millstream_tests::wait;

use crate::jobs::{Compression, Job, LINES, PARTITIONS};
use crate::measure::{Ends, Process, connections};
use crate::pipeline::{Delivery, Pipeline};
use crate::results::median;

/// Starts of a pipeline.
const STARTS: u32 = 5;
/// Records that wait for it.
const RECORDS: u64 = 1000;
/// How long idle shards are looked at.
const IDLE: Duration = Duration::from_secs(30);

/// Measures and prints.
pub fn run(shards: u32, more: u32) -> Result<()> {
    let single = Cluster::start(&Settings::new())?;
    starts(&single, "500ms")?;
    starts(&single, "1s")?;
    drop(single);
    let three = Cluster::start(&Settings::new().nodes(3))?;
    for shards in [1, shards] {
        idle(&three, shards)?;
    }
    for number in 1..=more {
        let began = Instant::now();
        started(&three, shards, &format!("more-{number}"))?.stop()?;
        println!("{shards} shards, 3 brokers, start {number}: {:.1} s to the stop", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Time from the start of a process to the first record that a reader of its output sees, on a broker that has served
/// the same pipeline before.
fn starts(cluster: &Cluster, checkpoint: &str) -> Result<()> {
    let bootstrap = cluster.bootstrap();
    let client = Client::new(&bootstrap)?;
    if client.partitions(LINES)? == 0 {
        client.create_topic(LINES, PARTITIONS, &[])?;
        client.write((0..RECORDS).map(|seq| Record::new(LINES, format!("line {seq}"))))?;
    }
    let mut times = Vec::new();
    for start in 0..=STARTS {
        let output = format!("start-{checkpoint}-{start}");
        client.create_topic(&output, PARTITIONS, &[])?;
        let ends = Ends::new(&bootstrap, &output, PARTITIONS)?;
        ensure!(!ends.has_committed()?, "the output is not empty");
        let began = Instant::now();
        let mut program = upper_case(cluster, &output, LINES, 1, checkpoint)?;
        wait::until_true("a committed record", GUARD, || ends.has_committed())?;
        times.push(began.elapsed().as_secs_f64());
        program.stop()?;
    }
    // The first one warms the broker: its transaction log, and the program's pages.
    let warm = median(times[1..].iter().copied()).unwrap_or_default();
    println!("start → first committed record, checkpoint {checkpoint}: {warm:.2} s (median of {STARTS}; {times:.2?})");
    Ok(())
}

/// A new pipeline, all of whose shards have been seen to work. When one has not, the error tells what the program did.
fn started(cluster: &Cluster, shards: u32, name: &str) -> Result<Millstream> {
    let client = Client::new(&cluster.bootstrap())?;
    let (input, output) = (format!("{name}-in-{shards}"), format!("{name}-out-{shards}"));
    client.create_topic(&input, shards as i32, &[])?;
    client.create_topic(&output, shards as i32, &[])?;
    let mut program = upper_case(cluster, &output, &input, shards, "500ms")?;
    let works = program.wait_ready().and_then(|()| {
        client.write((0..i64::from(shards) * 10).map(|seq| Record::new(&input, format!("line {seq}"))))?;
        wait::until_true("all records", GUARD, || Ok(client.read(&output)?.len() == shards as usize * 10))
    });
    works.with_context(|| program.output())?;
    Ok(program)
}

/// What a process takes that has nothing to do.
fn idle(cluster: &Cluster, shards: u32) -> Result<()> {
    let mut program = started(cluster, shards, "idle")?;
    // Connections to brokers that are not needed any more, caches of the start: let them settle.
    thread::sleep(IDLE / 3);
    let before = Process::read(program.id())?;
    thread::sleep(IDLE);
    let after = Process::read(program.id())?;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!(
        "{shards} shards, 3 brokers, idle: {} threads, {} connections, {cpu:.1} % of a processor, RSS {} MiB (peak {} MiB)",
        after.threads,
        connections(program.id())?,
        after.rss >> 20,
        after.peak_rss >> 20
    );
    program.stop()
}

fn upper_case(cluster: &Cluster, output: &str, input: &str, shards: u32, checkpoint: &str) -> Result<Millstream> {
    let pipeline = Pipeline {
        job: Job::UpperCase,
        client: KafkaClient::Wire,
        input,
        output,
        compression: Compression::None,
        mode: "Streaming",
        shards,
        checkpoint,
        delivery: Delivery::ExactlyOnce,
    };
    pipeline.start(cluster)
}
