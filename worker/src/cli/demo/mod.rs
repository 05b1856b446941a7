//! `millstream demo`: the whole main job with nothing installed.
//!
//! An embedded broker, sample records, an example's manifest, and the same loop that `run` uses, in one process. What
//! is replaced in the manifest is only the brokers' address, the client, and the time between two checkpoints.

mod examples;
mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::examples::Example;
use self::report::Report;
use super::args::DemoArguments;
use super::progress::Screen;
use super::run::{Job, exit_of, stop_signals};
use super::terminal::Output;
use super::test::{PipelineTest, Record};
use super::{Exit, Failure, logging, test};
use crate::kafka::mock::{MockBroker, MockReader, PlainRecord};
use crate::plan::pipeline::{ErrorPolicy, KafkaClient, Source, Topics, state_topic};
use crate::plan::{self, CompiledPipeline, manifest};
use crate::shard::{Outcome, RunOptions, SecretStore};

/// Partitions of each topic, and so shards.
const PARTITIONS: i32 = 2;
/// How many sample records go in: the example's own, again and again.
const RECORDS: usize = 1000;
/// A demo that takes longer does not work.
const PATIENCE: Duration = Duration::from_mins(1);
/// Without a new record for this long, everything that was written has arrived.
const QUIET: Duration = Duration::from_secs(5);
/// Between two checkpoints, so that nobody waits for results.
const CHECKPOINT: Duration = Duration::from_millis(200);

/// Runs the command.
pub(super) fn run(arguments: &DemoArguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.list {
        return list(output);
    }
    let example = Example::named(&arguments.name).ok_or_else(|| unknown(&arguments.name))?;
    if arguments.manifest {
        output.line(example.pipeline.trim_end())?;
        return Ok(Exit::Done);
    }
    logging::start(super::args::LogFormat::Text, "error", &Screen::plain())?;
    let stop = stop_signals()?;
    let mut demo = Demo::start(example, output)?;
    let finished = demo.until_done(&stop)?;
    demo.report.summary(finished, output)?;
    if arguments.keep && finished {
        demo.keep(&stop, output)?;
    }
    demo.end(finished || stop.load(Ordering::Relaxed))
}

fn list(output: &mut Output) -> anyhow::Result<Exit> {
    for example in examples::ALL {
        output.line(&format!("{:12} {}", example.name, example.title()))?;
    }
    Ok(Exit::Done)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<_> =
        examples::ALL.iter().map(|example| format!("  {:12} {}", example.name, example.title())).collect();
    Failure::Usage(format!("there is no example `{name}`; there are:\n{}", names.join("\n")))
}

/// A running demo. The pipeline ends before its broker.
struct Demo {
    example: Example,
    report: Report,
    job: Job,
    reader: MockReader,
    broker: MockBroker,
    sent: usize,
    begin: Instant,
}

impl Demo {
    fn start(example: Example, output: &mut Output) -> anyhow::Result<Self> {
        let (mut pipeline, test) = compile(&example)?;
        let broker = MockBroker::start(&topics(&pipeline))?;
        for connection in &mut pipeline.connections {
            connection.bootstrap_servers = broker.bootstrap_servers();
            // The embedded broker is librdkafka's, and older than what the wire's client speaks.
            connection.client = KafkaClient::Librdkafka;
        }
        pipeline.checkpoint_interval = CHECKPOINT;
        let mut report = Report::of(&pipeline);
        let samples = samples(&pipeline, &test);
        report.introduce(&example, &broker.bootstrap_servers(), &samples, output)?;
        let begin = Instant::now();
        broker.produce(&samples)?;
        let reader = broker.reader(&report.topics())?;
        let options = RunOptions { embedded: true, ..RunOptions::local(SecretStore::default()) };
        let job = Job::start(pipeline, options, None)?;
        Ok(Self { example, report, job, reader, broker, sent: samples.len(), begin })
    }

    /// Reads results until all that went in has come out; false if the pipeline ended or was stopped before.
    fn until_done(&mut self, stop: &AtomicBool) -> anyhow::Result<bool> {
        let mut last = Instant::now();
        while self.begin.elapsed() < PATIENCE {
            if stop.load(Ordering::Relaxed) || self.job.runner().wait(Duration::ZERO).is_some() {
                return Ok(false);
            }
            if let Some(record) = self.reader.next(Duration::from_millis(50))? {
                self.report.add(&record, self.begin.elapsed());
                last = Instant::now();
            }
            let totals = self.job.metrics().totals();
            let all_in = totals.records_in >= self.sent as u64;
            // Exact, unless something was aborted and written again; then silence tells.
            let all_out = self.report.received() as u64 >= totals.records_out + totals.dead_letters;
            if all_in && (all_out || last.elapsed() > QUIET) {
                return Ok(true);
            }
        }
        let states: Vec<_> =
            self.job.runner().status().iter().map(|s| format!("shard {} {}", s.shard, s.state)).collect();
        let message = format!("the demo did not finish within {PATIENCE:?}: {}", states.join(", "));
        Err(Failure::Stopped(message).into())
    }

    /// Shows what comes out until the process is asked to stop.
    fn keep(&mut self, stop: &AtomicBool, output: &mut Output) -> anyhow::Result<()> {
        self.report.invite(&self.example, &self.broker.bootstrap_servers(), output)?;
        output.flush()?;
        while !stop.load(Ordering::Relaxed) && !output.is_gone() && self.job.runner().wait(Duration::ZERO).is_none() {
            if let Some(record) = self.reader.next(Duration::from_millis(100))? {
                self.report.show(&record, output)?;
                output.flush()?;
            }
        }
        Ok(())
    }

    fn end(self, wanted: bool) -> anyhow::Result<Exit> {
        self.job.runner().stop();
        let outcome = self.job.runner().wait(Duration::from_secs(10)).unwrap_or(Outcome::Stopped);
        match &outcome {
            Outcome::Failed(reasons) => Err(Failure::Stopped(reasons.join("; ")).into()),
            outcome if wanted => Ok(exit_of(outcome)),
            _ => Err(Failure::Stopped("the pipeline ended before its input did".into()).into()),
        }
    }
}

fn compile(example: &Example) -> anyhow::Result<(CompiledPipeline, PipelineTest)> {
    let name = format!("{}/pipeline.yaml", example.name);
    let documents = manifest::read(&name, example.pipeline)?;
    let document = documents.first().context("the example has no Pipeline")?;
    let pipeline = plan::compile(document)?.pipeline;
    let tests = manifest::documents(&format!("{}/test.yaml", example.name), example.test)?;
    let test = tests.first().context("the example has no test")?;
    Ok((pipeline, test::read(test, &|file| example.file(file))?))
}

/// All topics of the pipeline, its own one included: the broker makes none by itself.
fn topics(pipeline: &CompiledPipeline) -> Vec<(String, i32)> {
    let mut topics = vec![(state_topic(&pipeline.application_id), PARTITIONS)];
    for source in &pipeline.sources {
        topics.extend(topics_of(source).iter().map(|topic| (topic.clone(), PARTITIONS)));
    }
    topics.extend(pipeline.sinks.iter().map(|sink| (sink.topic.clone(), PARTITIONS)));
    if let ErrorPolicy::DeadLetter { topic, .. } = &pipeline.errors {
        topics.push((topic.clone(), 1));
    }
    topics.sort();
    topics.dedup();
    topics
}

fn topics_of(source: &Source) -> &[String] {
    match &source.topics {
        Topics::List(topics) => topics,
        Topics::Pattern(_) => &[],
    }
}

/// The test's records, repeated, over all partitions. Tombstones and the like are for tests; a demo shows the rule.
fn samples(pipeline: &CompiledPipeline, test: &PipelineTest) -> Vec<PlainRecord> {
    let own: Vec<(&str, &Record)> = test
        .inputs
        .iter()
        .flat_map(|input| {
            let source = pipeline.sources.iter().find(|source| *source.name == *input.source);
            let topic = source.and_then(|source| topics_of(source).first()).map_or("", String::as_str);
            input.records.iter().map(move |record| (record.topic.as_deref().unwrap_or(topic), record))
        })
        .collect();
    let repeated = own.iter().cycle().take(if own.is_empty() { 0 } else { RECORDS }).enumerate();
    let sample = |(place, (topic, record)): (usize, &(&str, &Record))| PlainRecord {
        topic: (*topic).to_owned(),
        partition: (place / own.len().max(1)) as i32 % PARTITIONS,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(|header| (header.key.clone(), header.value.clone())).collect(),
    };
    repeated.map(sample).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_folder_of_examples_is_in_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");
        let mut folders: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        folders.sort();
        let mut names = examples::ALL.map(|example| example.name.to_owned()).to_vec();
        names.sort();
        assert_eq!(names, folders);
    }

    #[test]
    fn every_example_has_samples_and_topics() {
        for example in examples::ALL {
            let (pipeline, test) = compile(&example).unwrap();
            let samples = samples(&pipeline, &test);
            assert_eq!(samples.len(), RECORDS, "{}", example.name);
            let topics = topics(&pipeline);
            assert!(samples.iter().all(|sample| topics.iter().any(|(topic, _)| *topic == sample.topic)));
            assert!(samples.iter().any(|sample| sample.partition == PARTITIONS - 1));
            assert!(!example.about().is_empty(), "{} says what it is about", example.name);
        }
    }
}
