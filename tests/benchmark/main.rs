//! The benchmark: what Millstream costs per record, beside librdkafka alone on the same input in the same minutes, and
//! with `--peers` beside Apache Flink and Kafka Streams.
//!
//! One command starts a broker, writes the input, and runs every job in every round; `docs/benchmarks.md` says how to
//! read the results. Absolute figures belong to a machine and a moment; the ratios within a round are what can be
//! compared. It runs programs as a user would, each in a process of its own, and checks that every one of them wrote
//! what it should have.

mod bench;
mod goals;
mod input;
mod jobs;
mod measure;
mod named;
mod peers;
mod pipeline;
mod plan;
mod rates;
mod results;
mod scale;
mod sweep;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use bench::Bench;
use input::Input;
use jobs::{Compression, Engine, Job};
use peers::Peers;
use plan::Plan;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What records cost in each job.
    Jobs,
    /// Time from start to the first committed record, and what many idle shards take.
    Scale,
    /// What pipelines cost and how late output is while little comes in, or nothing.
    Rates,
    /// How the cost follows from the size of records, partitions, shards and the promise.
    Sweep,
}

/// Measures what records cost in Millstream, and what they cost elsewhere.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value = "jobs")]
    what: What,
    /// Also runs Apache Flink and Kafka Streams, which it installs if they are missing.
    #[arg(long)]
    peers: bool,
    /// Records of each input: 5000000 by default, with `--peers` 20000000.
    #[arg(long)]
    records: Option<u64>,
    /// How many times every job is run: 3 by default, with `--peers` 5.
    #[arg(long)]
    rounds: Option<u32>,
    /// The compression of input and output: none or lz4.
    #[arg(long, default_value = "none", value_parser = named::parse::<Compression>)]
    compression: Compression,
    /// Runs only these, separated by commas: plain-loop, untouched, millstream, millstream-librdkafka, and with
    /// `--peers` flink, flink-sql, streams.
    #[arg(long, value_delimiter = ',', value_parser = named::parse::<Engine>)]
    engines: Vec<Engine>,
    /// Runs only these, separated by commas: pass-through, upper-case, csv-field, json.
    #[arg(long, value_delimiter = ',', value_parser = named::parse::<Job>)]
    jobs: Vec<Job>,
    /// Where results are appended; runs that are there already are not repeated.
    #[arg(long, default_value = "target/benchmark.jsonl")]
    results: PathBuf,
    /// Only prints the tables of the results.
    #[arg(long)]
    report: bool,
    /// Shards of a pipeline in `scale`.
    #[arg(long, default_value_t = 32)]
    shards: u32,
    /// More starts of that many shards in `scale`, which only have to succeed.
    #[arg(long, default_value_t = 0)]
    starts: u32,
}

impl Arguments {
    fn input(&self) -> Input {
        let default = if self.peers { 20_000_000 } else { 5_000_000 };
        Input { records: self.records.unwrap_or(default), compression: self.compression }
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.peers { 5 } else { 3 })
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.what {
        What::Jobs => jobs_and_tables(&arguments),
        What::Scale => scale::run(arguments.shards, arguments.starts),
        What::Rates => rates::run(),
        What::Sweep => sweep::run(arguments.input().records, arguments.rounds()),
    }
}

fn jobs_and_tables(arguments: &Arguments) -> Result<()> {
    if !arguments.report {
        measure_all(arguments)?;
    }
    let mut runs = results::read(&arguments.results)?;
    runs.retain(|run| run.input() == arguments.input());
    print!("{}", table::tables(&runs));
    let goals = goals::table(&runs);
    if !goals.is_empty() {
        print!("\n{goals}");
    }
    Ok(())
}

fn measure_all(arguments: &Arguments) -> Result<()> {
    let plan = Plan::new(arguments.peers, &arguments.engines, &arguments.jobs)?;
    let input = arguments.input();
    let done = results::read(&arguments.results)?;
    let missing = plan.missing(arguments.rounds(), input, &done);
    if missing.is_empty() {
        return Ok(());
    }
    let peers = plan.needs_peers().then(Peers::install).transpose()?;
    let bench = Bench::start(input, peers)?;
    for (round, subject) in missing {
        let run = bench.run(subject, round).with_context(|| format!("{subject}, round {round}"))?;
        println!("{}", serde_json::to_string(&run)?);
        results::append(&arguments.results, &run)?;
    }
    Ok(())
}
