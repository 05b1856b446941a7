//! A broker with the input on it, and runs on it: each a process of its own, measured from outside, whose output is
//! counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::client::Client;
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::process::Process;

use crate::input::{self, Input};
use crate::jobs::{Engine, Job, PARTITIONS, Subject};
use crate::measure::{self, Cost, Ends};
use crate::named::Named;
use crate::peers::{Peers, Task};
use crate::pipeline::{Delivery, Pipeline};
use crate::results::{Circumstances, Run};

/// Outputs leave the disk at once, and not after a minute, in which others come.
pub const OUTPUT: [(&str, &str); 1] = [("file.delete.delay.ms", "1000")];
/// Guards the end of a process that has ended already.
const END: Duration = Duration::from_secs(10);

/// A broker with the input on it.
pub struct Bench {
    cluster: Cluster,
    client: Client,
    input: Input,
    peers: Option<Peers>,
}

impl Bench {
    /// Starts the broker and writes the input.
    pub fn start(input: Input, peers: Option<Peers>) -> Result<Self> {
        let cluster = Cluster::start(&Settings::new())?;
        let client = Client::new(&cluster.bootstrap())?;
        input::write(&client, input)?;
        Ok(Self { cluster, client, input, peers })
    }

    /// Runs a job, and checks what it has written.
    pub fn run(&self, subject: Subject, round: u32) -> Result<Run> {
        let output = format!("{subject}-{round}");
        self.client.create_topic(&output, PARTITIONS, &OUTPUT)?;
        let load = load()?;
        let before = self.broker_cpu()?;
        let cost = match subject.engine {
            Engine::Millstream(client) => self.run_millstream(subject.job, client, &output),
            _ => self.run_command(self.command(subject, &output)?, &output),
        }?;
        let broker = self.broker_cpu()?.saturating_sub(before);
        let count = measure::count(&self.cluster.bootstrap(), &output, PARTITIONS)?;
        let records = self.input.records;
        let expected = if subject.job == Job::Json { records * 2 / 5..records * 3 / 5 } else { records..records + 1 };
        ensure!(expected.contains(&count), "{count} records in the output, not {expected:?}");
        self.client.delete_topic(&output)?;
        Ok(Run::new(subject, self.input, Circumstances { round, load, output: count, broker }, &cost))
    }

    fn broker_cpu(&self) -> Result<Duration> {
        Ok(measure::Process::read(self.cluster.broker_id()?)?.cpu)
    }

    /// The program of an engine that is not Millstream.
    fn command(&self, subject: Subject, output: &str) -> Result<Command> {
        let bootstrap = self.cluster.bootstrap();
        let topics = [bootstrap.as_str(), subject.job.input(), output];
        match subject.engine {
            Engine::Loop => {
                let mut command = Command::new(built("plain-loop")?);
                command.args(topics).arg(self.input.compression.name());
                Ok(command)
            }
            Engine::Untouched => {
                let mut command = Command::new(built("untouched-loop")?);
                command.args(topics);
                Ok(command)
            }
            _ => {
                let peers = self.peers.as_ref().context("the peers are not installed")?;
                let scratch = self.cluster.directory().join(format!("{output}-scratch"));
                peers.command(&Task { subject, bootstrap: &bootstrap, input: self.input, output, scratch: &scratch })
            }
        }
    }

    fn run_command(&self, mut command: Command, output: &str) -> Result<Cost> {
        let ends = self.ends(output)?;
        let mut process = Process::start(&mut command, &self.log(output))?;
        let cost = measure::follow(process.id(), &ends).with_context(|| process.output())?;
        let status = process.wait(END)?;
        ensure!(status.success(), "{status}: {}", process.output());
        Ok(cost)
    }

    fn run_millstream(&self, job: Job, client: KafkaClient, output: &str) -> Result<Cost> {
        let pipeline = Pipeline {
            job,
            client,
            input: job.input(),
            output,
            compression: self.input.compression,
            mode: "Batch",
            shards: 1,
            checkpoint: "1s",
            delivery: Delivery::ExactlyOnce,
        };
        pipeline.run(&self.cluster, &self.ends(output)?)
    }

    fn ends(&self, output: &str) -> Result<Ends> {
        Ends::new(&self.cluster.bootstrap(), output, PARTITIONS)
    }

    fn log(&self, output: &str) -> PathBuf {
        self.cluster.directory().join(format!("{output}.log"))
    }
}

/// A program that cargo has built beside this one.
fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().map(|directory| directory.join(name)).filter(|path| path.is_file());
    path.with_context(|| format!("`{name}` is not built; run: cargo build --workspace --release"))
}

/// Processes that wanted a processor in the last minute, on average.
fn load() -> Result<f64> {
    let text = fs::read_to_string(Path::new("/proc/loadavg"))?;
    Ok(text.split(' ').next().context("no load")?.parse()?)
}
