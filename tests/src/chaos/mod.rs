//! Exactly-once under faults: a pipeline of two processes that are killed, frozen, fenced and cut off while input keeps
//! coming, and Kafka's own client that decides at the end whether every id came out once and in order.
//!
//! ```text
//!   feed ──► input (4 partitions) ──► millstream run  ──► output (3 partitions) ─┐
//!   noise (aborted transactions) ─┘   millstream run ×    dead letters ──────────┴─► oracle
//! ```
//!
//! The input is allotted to the faults, so that records flow while each of them happens. Some records are bad, so that
//! dead letters take part; some carry old timestamps, so that the broker can be made to refuse them. What happens, and
//! when, follows from a seed; how processes and brokers interleave does not, which is why runs with fresh seeds matter.

mod fault;
pub mod feed;
mod supervisor;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use fault::{Fault, few, plan};

use millstream::kafka::KafkaClient;

use crate::evidence;
use crate::header;
use crate::oracle;
use crate::suite::Case;
use crate::wait;
use feed::{Feed, Input, Noise};
use supervisor::Supervisor;

/// Partitions of the input.
const PARTITIONS: i32 = 4;
/// Draining takes seconds.
const DRAIN: Duration = Duration::from_mins(3);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Records of the input.
    pub records: u64,
    /// The faults, in their order.
    pub faults: Vec<Fault>,
    /// Decides the rest.
    pub seed: u64,
    /// Who speaks with the brokers.
    pub client: KafkaClient,
}

/// A fault that was survived.
#[derive(Clone, Debug)]
pub struct Survived {
    /// What it was.
    pub fault: Fault,
    /// Time from the fault until one process was left and had made a checkpoint.
    pub recovered: Duration,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// The faults.
    pub survived: Vec<Survived>,
    /// Processes started.
    pub processes: usize,
    /// Processes that ended because another had taken over.
    pub fenced: usize,
    /// What the oracle says.
    pub verdict: oracle::Verdict,
    /// The time of everything.
    pub took: Duration,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times: Vec<Duration> = self.survived.iter().map(|s| s.recovered).collect();
        times.sort();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        write!(
            f,
            "{} records, {} faults, {} processes, {} fenced, recovery p50 {:.1} s, p90 {:.1} s, {:.0} s in all: \
             {} missing, {} duplicates, {} out of order",
            self.verdict.records,
            self.survived.len(),
            self.processes,
            self.fenced,
            at(0.5).as_secs_f64(),
            at(0.9).as_secs_f64(),
            self.took.as_secs_f64(),
            self.verdict.missing,
            self.verdict.duplicates,
            self.verdict.out_of_order,
        )
    }
}

/// Runs a pipeline through all faults; an error unless the oracle is content.
pub fn run(case: &Case<'_>, options: &Options) -> Result<Report> {
    let start = Instant::now();
    case.topics(&[("in", PARTITIONS), ("out", 3), ("dead", 2)])?;
    let manifest = case.manifest_with(&connections(case, options.client), MANIFEST)?;
    let feed = Feed::start(&case.client, input(case, options.records))?;
    let noise = Noise::start(case)?;
    let mut supervisor = Supervisor::new(case, manifest, StdRng::seed_from_u64(options.seed))?;
    let survived = endure(&mut supervisor, &feed, options)?;
    supervisor.wake_all().with_context(|| format!("behind the last fault (seed {})", options.seed))?;
    feed.finish()?;
    noise.finish()?;
    drain(case, &mut supervisor)?;
    let (processes, fenced) = supervisor.finish()?;
    let verdict = judge(case, options.records)?;
    Ok(Report { survived, processes, fenced, verdict, took: start.elapsed() })
}

fn connections(case: &Case<'_>, client: KafkaClient) -> String {
    let bootstrap = case.cluster.bootstrap();
    format!("connections: [{{kafka: {{bootstrapServers: \"{bootstrap}\", client: {client:?}}}}}]")
}

fn input(case: &Case<'_>, records: u64) -> Input {
    Input { topic: case.topic("in"), partitions: PARTITIONS, records }
}

/// Lets all faults happen, one after another, each with its share of the input.
fn endure(supervisor: &mut Supervisor<'_>, feed: &Feed, options: &Options) -> Result<Vec<Survived>> {
    let mut survived = Vec::new();
    for (number, fault) in options.faults.iter().enumerate() {
        feed.allot(options.faults.len() - number - 1);
        let start = Instant::now();
        let outcome = supervisor.suffer(fault).with_context(|| {
            format!("fault {} of {}: {fault} (seed {})", number + 1, options.faults.len(), options.seed)
        });
        if let Err(error) = &outcome {
            // At once, among those that were survived: the whole story comes at the end of all tests.
            eprintln!("{:3} {:6.1} s  failed: {error:#}", number + 1, start.elapsed().as_secs_f64());
        }
        outcome?;
        survived.push(Survived { fault: fault.clone(), recovered: start.elapsed() });
        eprintln!("{:3} {:6.1} s  {fault}", number + 1, start.elapsed().as_secs_f64());
    }
    Ok(survived)
}

/// Waits until the positions in the headers have reached the ends of the input.
fn drain(case: &Case<'_>, supervisor: &mut Supervisor<'_>) -> Result<()> {
    let topic = case.topic("in");
    wait::until_true("all input to be processed", DRAIN, || {
        supervisor.tend()?;
        let positions = header::positions(&case.client, &case.application_id())?;
        for partition in 0..PARTITIONS {
            let (_, end) = case.client.watermarks(&topic, partition)?;
            if positions.get(&(topic.clone(), partition)).is_none_or(|position| *position < end) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// The input must be what was meant, and the output must have each id of it once.
fn judge(case: &Case<'_>, records: u64) -> Result<oracle::Verdict> {
    let (input, out, dead) = (case.topic("in"), case.topic("out"), case.topic("dead"));
    let counts = self::input(case, records).counts();
    oracle::check(case.cluster, &[&input], &counts)?.demand_exactly_once().context("the test's own input is wrong")?;
    let dead_letters = oracle::check(case.cluster, &[&dead], &counts)?.records;
    ensure!(dead_letters >= feed::bad(records), "{dead_letters} dead letters, not {}", feed::bad(records));
    let verdict = oracle::check(case.cluster, &[&out, &dead], &counts)?;
    let state = format!("{}.state", case.application_id());
    evidence::demand_exactly_once(case.cluster, &[&out, &dead], &state, &verdict)?;
    mirrors_the_header(case)?;
    Ok(verdict)
}

/// The group's offsets must be what the headers say.
fn mirrors_the_header(case: &Case<'_>) -> Result<()> {
    let mirror = case.client.group_offsets(&case.application_id(), &case.topic("in"))?;
    for ((topic, partition), offset) in header::positions(&case.client, &case.application_id())? {
        let mirrored = mirror.get(&partition).map(|(offset, _)| *offset);
        ensure!(mirrored == Some(offset), "{topic}-{partition}: header {offset}, group {mirrored:?}");
    }
    Ok(())
}

/// The pipeline under test: something is computed, some records are bad, keys stay where there are any.
const MANIFEST: &str = r"
sources:
  - name: input
    kafka: {topics: [~in]}
    format: {type: Csv}
    schema:
      - {name: source, type: int}
      - {name: sequence, type: bigint}
      - {name: amount, type: bigint}
transforms:
  - name: doubled
    set: [{column: amount, expression: amount * 2}]
sinks:
  - name: output
    kafka: {topic: ~out}
    format: {type: Csv}
errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}
checkpoint: {interval: 150ms}
shards: 2
";
