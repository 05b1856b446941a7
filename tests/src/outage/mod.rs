//! Exactly-once on Kubernetes under faults: a pipeline of three workers whose pods, kubelet, operator, API server and
//! broker fail while input keeps coming, and Kafka's own client that decides at the end whether every id came out once
//! and in order.
//!
//! ```text
//!   feed ──► input (12 partitions) ──► workers in pods ──► output, dead letters ──► oracle
//!                                           ╰──► state topic ──► pauses of each shard
//! ```
//!
//! The suite `cluster` lets each fault happen once; `soak --cluster` again and again, and counts the pauses.

mod fault;
pub mod pauses;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use fault::{FAULTS, Fault, Moves, Target};

use crate::chaos::feed::{self, Feed, Input};
use crate::evidence;
use crate::oracle;
use crate::site::Site;
use crate::wait;
use pauses::{Watch, between, percentile};

/// The guard for everything that takes seconds.
const GUARD: Duration = Duration::from_mins(3);
/// Shards, which are partitions.
const SHARDS: i32 = 12;
/// The checkpoint interval of the pipeline.
const INTERVAL: Duration = Duration::from_millis(250);
/// The quiet time before a fault, in which the usual time between two checkpoints is seen.
const QUIET: Duration = Duration::from_secs(3);

const PIPELINE: &str = "\
sources:
  - name: input
    kafka: {topics: [~in]}
    format: {type: Csv}
    schema: [{name: source, type: int}, {name: sequence, type: bigint}, {name: amount, type: bigint}]
transforms: [{name: doubled, set: [{column: amount, expression: amount * 2}]}]
sinks: [{name: output, kafka: {topic: ~out}, format: {type: Csv}}]
errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}
checkpoint: {interval: 250ms}
replicas: 3
worker: {resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 1Gi}}}
";

/// A fault that was survived.
#[derive(Clone, Debug)]
pub struct Survived {
    /// What it was.
    pub name: &'static str,
    /// From its beginning until all shards ran, spread over the wanted number of workers.
    pub settled: Duration,
    /// The longest pause of each shard that another process went on with.
    pub affected: Vec<Duration>,
    /// The longest pause of each other shard.
    pub others: Vec<Duration>,
    /// How many shards were taken from a worker that had not let them go.
    pub forced: usize,
    /// The longest pause of each shard in the quiet time before.
    pub quiet: Vec<Duration>,
}

impl std::fmt::Display for Survived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |values: &[Duration]| {
            let at = |share| percentile(values, share).as_millis();
            format!("{:2} shards, pause p50 {:5} ms, max {:5} ms", values.len(), at(0.5), at(1.0))
        };
        write!(
            f,
            "{:6.1} s  {}: taken over {} ({} by force); others {}; before {}",
            self.settled.as_secs_f64(),
            self.name,
            of(&self.affected),
            self.forced,
            of(&self.others),
            of(&self.quiet)
        )
    }
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// The faults.
    pub survived: Vec<Survived>,
    /// What the oracle says.
    pub verdict: oracle::Verdict,
}

/// When a fault was, and the quiet time before it.
struct Times {
    quiet: Instant,
    begun: Instant,
    over: Instant,
}

/// Runs a pipeline in a namespace of its own through faults; an error unless the oracle is content.
pub fn run(site: &Site, namespace: &str, records: u64, faults: &[Fault]) -> Result<Report> {
    site.namespace(namespace)?;
    let input = Input { topic: format!("{namespace}.in"), partitions: SHARDS, records };
    site.client.create_topic(&input.topic, SHARDS, &[])?;
    site.client.create_topic(&format!("{namespace}.out"), 5, &[])?;
    site.client.create_topic(&format!("{namespace}.dead"), 2, &[])?;
    site.apply(namespace, &site.pipeline("p", PIPELINE))?;
    site.spread(namespace, "p", 3)?;
    site.wait_for(namespace, "p", "condition=Ready")?;
    let feed = Feed::start(&site.client, input.clone())?;
    let watch = Watch::start(&site.client, &format!("{namespace}.p"))?;
    let target = Target { site, namespace };
    let mut times = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        feed.allot(faults.len() - number - 1);
        times.push(suffer(target, fault, &watch)?);
    }
    feed.finish()?;
    drain(site, namespace)?;
    let survived = survived(&watch, faults, &times);
    drop(watch);
    let verdict = judge(site, namespace, &input)?;
    site.delete(namespace)?;
    never_forced(faults, &survived)?;
    Ok(Report { survived, verdict })
}

/// Lets a fault happen, and waits until it is over: all shards are where they are to be, and go on there.
fn suffer(target: Target<'_>, fault: &Fault, watch: &Watch) -> Result<Times> {
    let Target { site, namespace } = target;
    let quiet = Instant::now();
    std::thread::sleep(QUIET);
    let begun = Instant::now();
    (fault.happen)(target).with_context(|| format!("fault: {}", fault.name))?;
    site.spread(namespace, "p", fault.workers).with_context(|| format!("after: {}", fault.name))?;
    let spread = begun.elapsed();
    site.wait_for(namespace, "p", "condition=Ready").with_context(|| format!("after: {}", fault.name))?;
    let since = Instant::now();
    wait::until_true("a checkpoint of each shard", GUARD, || {
        let seen = watch.seen();
        let later: BTreeSet<i32> = seen.iter().rev().take_while(|c| c.at > since).map(|c| c.shard).collect();
        Ok(later.len() == SHARDS as usize)
    })
    .with_context(|| format!("after: {}\n{}", fault.name, site.kubernetes.describe(namespace)))?;
    let over = Instant::now();
    eprintln!(
        "{:6.1} s  {}: spread after {:.1} s, ready after {:.1} s",
        (over - begun).as_secs_f64(),
        fault.name,
        spread.as_secs_f64(),
        (since - begun).as_secs_f64()
    );
    Ok(Times { quiet, begun, over })
}

/// Waits until all input is processed.
fn drain(site: &Site, namespace: &str) -> Result<()> {
    wait::until_true("all input to be processed", GUARD, || {
        let positions = crate::header::positions(&site.client, &format!("{namespace}.p"))?;
        let topic = format!("{namespace}.in");
        for partition in 0..SHARDS {
            let (_, end) = site.client.watermarks(&topic, partition)?;
            if positions.get(&(topic.clone(), partition)).is_none_or(|position| *position < end) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .with_context(|| site.kubernetes.describe(namespace))
}

fn survived(watch: &Watch, faults: &[Fault], times: &[Times]) -> Vec<Survived> {
    let seen = watch.seen();
    // Without the gaps that a fault has begun.
    let until = |begun| &seen[..seen.partition_point(|checkpoint| checkpoint.at <= begun)];
    let each = faults.iter().zip(times).map(|(fault, times)| {
        let shards = between(&seen, times.begun, times.over, INTERVAL);
        let pauses = |taken_over: bool| {
            let those = shards.values().filter(|shard| (shard.takeovers > 0) == taken_over);
            those.map(|shard| shard.pause).collect()
        };
        Survived {
            name: fault.name,
            settled: times.over - times.begun,
            affected: pauses(true),
            others: pauses(false),
            forced: shards.values().map(|shard| shard.forced).sum(),
            quiet: between(until(times.begun), times.quiet, times.begun, INTERVAL)
                .into_values()
                .map(|shard| shard.pause)
                .collect(),
        }
    });
    each.collect()
}

fn never_forced(faults: &[Fault], survived: &[Survived]) -> Result<()> {
    for (fault, survived) in faults.iter().zip(survived) {
        ensure!(
            fault.moves == Moves::Expected || survived.forced == 0,
            "false takeovers: {} shards were taken from workers that had not let them go: {survived}",
            survived.forced
        );
    }
    Ok(())
}

fn judge(site: &Site, namespace: &str, input: &Input) -> Result<oracle::Verdict> {
    let (out, dead) = (format!("{namespace}.out"), format!("{namespace}.dead"));
    let counts = input.counts();
    oracle::check(&site.kafka, &[&input.topic], &counts)?.demand_exactly_once().context("the test's own input")?;
    let dead_letters = oracle::check(&site.kafka, &[&dead], &counts)?.records;
    let bad = feed::bad(input.records);
    ensure!(dead_letters >= bad, "{dead_letters} dead letters, not {bad}");
    let verdict = oracle::check(&site.kafka, &[&out, &dead], &counts)?;
    eprintln!(
        "{} records: {} missing, {} duplicates, {} out of order",
        verdict.records, verdict.missing, verdict.duplicates, verdict.out_of_order
    );
    evidence::demand_exactly_once(&site.kafka, &[&out, &dead], &format!("{namespace}.p.state"), &verdict)?;
    Ok(verdict)
}
