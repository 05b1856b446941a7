//! The benchmark: what Millstream costs per record, beside librdkafka alone on the same input in the same minutes.
//!
//! One command starts a broker, writes the input, and runs every job in every round; `docs/benchmarks.md` says how to
//! read the results. Absolute figures belong to a machine and a moment; the multiples of the loop's cost are what can be
//! compared. It runs programs as a user would, each in a process of its own, and checks that every one of them wrote
//! what it should have.

mod input;
mod jobs;
mod measure;
mod results;
mod scale;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use millstream_tests::client::Client;
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::pipeline::{DONE, Run as Program};
use millstream_tests::process::Process;

use jobs::{Job, PARTITIONS, Pipeline, Subject};
use measure::{Cost, Ends};
use results::Run;

/// Guards the end of a process that has ended already.
const END: Duration = Duration::from_secs(10);

/// Measures what records cost in Millstream, and what they cost in librdkafka alone.
#[derive(Debug, Parser)]
struct Arguments {
    /// Records of each input.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// How many times every job is run.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where results are appended; runs that are there already are not repeated.
    #[arg(long, default_value = "target/benchmark.jsonl")]
    results: PathBuf,
    /// Only prints the table of the results.
    #[arg(long)]
    report: bool,
    /// Instead of the jobs: time from start to the first committed record, and what many idle shards take.
    #[arg(long)]
    scale: bool,
    /// Shards of a pipeline in `--scale`.
    #[arg(long, default_value_t = 32)]
    shards: u32,
    /// More starts of that many shards in `--scale`, which only have to succeed.
    #[arg(long, default_value_t = 0)]
    starts: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.scale {
        return scale::run(arguments.shards, arguments.starts);
    }
    if !arguments.report {
        measure_all(&arguments)?;
    }
    let runs = results::read(&arguments.results)?;
    let same: Vec<Run> = runs.into_iter().filter(|run| run.records == arguments.records).collect();
    print!("{}", results::table(&same));
    Ok(())
}

fn measure_all(arguments: &Arguments) -> Result<()> {
    let done = results::read(&arguments.results)?;
    let is_done = |subject: Subject, round: u32| {
        done.iter().any(|run| run.job == subject.name() && run.round == round && run.records == arguments.records)
    };
    let rounds = (1..=arguments.rounds).flat_map(|round| Subject::all().map(move |subject| (round, subject)));
    let todo: Vec<_> = rounds.filter(|(round, subject)| !is_done(*subject, *round)).collect();
    if todo.is_empty() {
        return Ok(());
    }
    let bench = Bench::start(arguments.records)?;
    for (round, subject) in todo {
        let run = bench.run(subject, round).with_context(|| format!("{subject}, round {round}"))?;
        println!("{}", serde_json::to_string(&run)?);
        results::append(&arguments.results, &run)?;
    }
    Ok(())
}

/// A broker with the input on it.
struct Bench {
    cluster: Cluster,
    client: Client,
    records: u64,
}

impl Bench {
    fn start(records: u64) -> Result<Self> {
        let cluster = Cluster::start(&Settings::new())?;
        let client = Client::new(&cluster.bootstrap())?;
        input::write(&client, records)?;
        Ok(Self { cluster, client, records })
    }

    /// Runs a job, and checks what it has written.
    fn run(&self, subject: Subject, round: u32) -> Result<Run> {
        let Subject { job, .. } = subject;
        let output = format!("{}-{round}", subject.name().to_lowercase().replace(", ", "-").replace(' ', "-"));
        self.client.create_topic(&output, PARTITIONS, &[])?;
        let load = load()?;
        let cost = match job {
            Job::Loop => self.run_loop(&output),
            _ => self.run_millstream(subject, &output),
        }?;
        let count = measure::count(&self.cluster.bootstrap(), &output)?;
        let expected =
            if job == Job::Json { self.records * 2 / 5..self.records * 3 / 5 } else { self.records..self.records + 1 };
        ensure!(expected.contains(&count), "{count} records in the output, not {expected:?}");
        self.client.delete_topic(&output)?;
        Ok(Run::new(subject, round, self.records, count, load, &cost))
    }

    fn run_loop(&self, output: &str) -> Result<Cost> {
        let bootstrap = self.cluster.bootstrap();
        let ends = Ends::new(&bootstrap, output)?;
        let mut command = Command::new(plain_loop()?);
        command.args([&bootstrap, Job::Loop.input(), output]);
        let mut process = Process::start(&mut command, &self.file(output))?;
        let cost = measure::follow(process.id(), &ends)?;
        let status = process.wait(END)?;
        ensure!(status.success(), "{status}: {}", process.output());
        Ok(cost)
    }

    fn run_millstream(&self, subject: Subject, output: &str) -> Result<Cost> {
        let bootstrap = self.cluster.bootstrap();
        let ends = Ends::new(&bootstrap, output)?;
        let pipeline = Pipeline {
            name: output,
            subject,
            bootstrap: &bootstrap,
            input: subject.job.input(),
            output,
            mode: "Batch",
            shards: 1,
            checkpoint: "1s",
        };
        let manifest = pipeline.write(self.cluster.directory())?;
        let mut program = Program::new(&manifest, self.file(output)).start()?;
        let cost = measure::follow(program.id(), &ends)?;
        let code = program.wait(END)?;
        ensure!(code == DONE, "exit code {code}: {}", program.output());
        Ok(cost)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cluster.directory().join(format!("{name}.log"))
    }
}

/// The loop's program, which cargo has built beside this one.
fn plain_loop() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().map(|directory| directory.join("plain-loop")).filter(|path| path.is_file());
    path.context("`plain-loop` is not built; run: cargo build --workspace --release")
}

/// Processes that wanted a processor in the last minute, on average.
fn load() -> Result<f64> {
    let text = fs::read_to_string(Path::new("/proc/loadavg"))?;
    Ok(text.split(' ').next().context("no load")?.parse()?)
}
