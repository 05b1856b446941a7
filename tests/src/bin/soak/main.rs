//! `soak`: the test of exactly-once under faults for as long as one likes. See `docs/soak.md`.
//!
//! With `--cluster` the pipeline runs in pods, and `pods.rs` counts the pauses of its shards.
//!
//! The run is cut into rounds, each with a broker, a pipeline and a seed of its own, and each noted in a file when it is
//! done; started again with the same directory, it goes on behind the last one.

mod pods;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use millstream::fault::{POINTS, WIRE_POINTS};
use millstream::kafka::KafkaClient;
use millstream_tests::chaos::{self, Options, Report};
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::suite::Case;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Runs a pipeline through many faults and lets Kafka's own client judge its output.
#[derive(Parser)]
struct Arguments {
    /// The number of faults in all.
    #[arg(long, default_value_t = 500)]
    faults: usize,
    /// Faults of a round.
    #[arg(long, default_value_t = 50)]
    round: usize,
    /// Input records of a round.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// The seed of the first round; the next rounds count up from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// On Kubernetes: each fault of the suite `cluster` once a round, until there are enough pauses of each.
    #[arg(long)]
    cluster: bool,
    /// With --cluster: so many shards that a fault concerned, for each of the faults.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// With --cluster: only faults whose names contain this, in turns until a round has as many as ever. Nothing is noted.
    #[arg(long, requires = "cluster", value_name = "TEXT")]
    only: Option<String>,
    /// With --cluster: leave everything as it is when a round fails, to be looked at.
    #[arg(long, requires = "cluster")]
    keep: bool,
    /// Read through librdkafka; not with --cluster. Rounds are noted in `soak-librdkafka.jsonl` then.
    #[arg(long, conflicts_with = "cluster")]
    librdkafka: bool,
    /// Where rounds are noted (`soak.jsonl`, `cluster.jsonl`), and logs of a failed one are kept.
    #[arg(long, default_value = "target/soak")]
    directory: PathBuf,
}

/// A round, as it is noted.
#[derive(Debug, Serialize, Deserialize)]
struct Round {
    seed: u64,
    faults: usize,
    records: u64,
    processes: usize,
    fenced: usize,
    missing: u64,
    duplicates: u64,
    out_of_order: u64,
    seconds: u64,
    slowest_recovery_seconds: u64,
}

impl Round {
    fn new(seed: u64, report: &Report) -> Self {
        let slowest = report.survived.iter().map(|s| s.recovered.as_secs()).max().unwrap_or_default();
        Self {
            seed,
            faults: report.survived.len(),
            records: report.verdict.records,
            processes: report.processes,
            fenced: report.fenced,
            missing: report.verdict.missing,
            duplicates: report.verdict.duplicates,
            out_of_order: report.verdict.out_of_order,
            seconds: report.took.as_secs(),
            slowest_recovery_seconds: slowest,
        }
    }

    fn row(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.seed,
            self.faults,
            self.records,
            self.processes,
            self.fenced,
            self.missing,
            self.duplicates,
            self.out_of_order,
            self.slowest_recovery_seconds,
            self.seconds
        )
    }
}

const HEAD: &str = "\
| seed | faults | records | processes | fenced | missing | duplicates | out of order | slowest recovery, s | seconds |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.directory)?;
    if arguments.cluster {
        return pods::soak(&arguments);
    }
    let notes = if arguments.librdkafka { "soak-librdkafka.jsonl" } else { "soak.jsonl" };
    let notes = arguments.directory.join(notes);
    let mut rounds: Vec<Round> = noted(&notes)?;
    println!("{HEAD}");
    for round in &rounds {
        println!("{}", round.row());
    }
    while rounds.iter().map(|round| round.faults).sum::<usize>() < arguments.faults {
        let seed = arguments.seed + rounds.len() as u64;
        let round = run(&arguments, seed).with_context(|| format!("the round with seed {seed}"))?;
        note(&notes, &round)?;
        println!("{}", round.row());
        rounds.push(round);
    }
    let (faults, records) = rounds.iter().fold((0, 0), |(f, r), round| (f + round.faults, r + round.records));
    println!("\n{faults} faults over {records} records: each id once, in order");
    Ok(())
}

/// Adds a round that is done.
fn note(notes: &Path, round: &impl Serialize) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(notes)?;
    Ok(writeln!(file, "{}", serde_json::to_string(round)?)?)
}

/// The rounds that are done.
fn noted<T: DeserializeOwned>(notes: &Path) -> Result<Vec<T>> {
    let text = if notes.exists() { fs::read_to_string(notes)? } else { String::new() };
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("in {}: {line}", notes.display())))
        .collect()
}

fn run(arguments: &Arguments, seed: u64) -> Result<Round> {
    let cluster = Cluster::start(&Settings::new())?;
    let logs = arguments.directory.join(format!("seed-{seed}"));
    fs::create_dir_all(&logs)?;
    let case = Case::new("soak", &cluster, &logs)?;
    let (client, points) = match arguments.librdkafka {
        true => (KafkaClient::Librdkafka, POINTS.to_vec()),
        false => (KafkaClient::Wire, [POINTS, WIRE_POINTS].concat()),
    };
    let faults = chaos::plan(&points, arguments.round, &mut StdRng::seed_from_u64(seed));
    let options = Options { records: arguments.records, faults, seed, client };
    match chaos::run(&case, &options) {
        Ok(report) => {
            fs::remove_dir_all(&logs)?;
            Ok(Round::new(seed, &report))
        }
        Err(error) => bail!("{error:#}\nlogs are in {}\n{}", logs.display(), cluster.log_tail()),
    }
}
