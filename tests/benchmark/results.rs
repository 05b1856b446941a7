//! Results: one JSON object a line, appended as soon as a run has ended.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::input::Input;
use crate::jobs::{Compression, Engine, Job, Subject};
use crate::measure::Cost;
use crate::named;

/// A run of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Who did it.
    #[serde(with = "named")]
    pub engine: Engine,
    /// The job.
    #[serde(with = "named")]
    pub job: Job,
    /// The compression of input and output.
    #[serde(with = "named")]
    pub compression: Compression,
    /// Input records.
    pub records: u64,
    /// Runs of one round follow each other, so that they can be compared with each other.
    pub round: u32,
    /// Output records that another reader found.
    pub output: u64,
    /// From start to end.
    pub seconds: f64,
    /// CPU seconds, user and system, a million input records: of everything.
    pub cpu: f64,
    /// The same of the middle part.
    pub steady_cpu: Option<f64>,
    /// Input records a second in the middle part.
    pub steady_rate: Option<f64>,
    /// MiB.
    pub peak_rss: f64,
    /// Seconds from start to the first committed record.
    pub first_commit: Option<f64>,
    /// The broker's CPU seconds a million input records, from start to end.
    pub broker_cpu: f64,
    /// The machine's load before the run: other programs that want its processors.
    pub load: f64,
}

/// What else there is to say of a run.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The round.
    pub round: u32,
    /// The machine's load before the run.
    pub load: f64,
    /// The records of the output.
    pub output: u64,
    /// The broker's CPU time.
    pub broker: Duration,
}

impl Run {
    /// The result of a run.
    pub fn new(subject: Subject, input: Input, of: Circumstances, cost: &Cost) -> Self {
        let records = input.records as f64;
        let millions = records / 1e6;
        let steady = cost.steady();
        Self {
            engine: subject.engine,
            job: subject.job,
            compression: input.compression,
            records: input.records,
            round: of.round,
            output: of.output,
            seconds: cost.wall.as_secs_f64(),
            cpu: cost.cpu.as_secs_f64() / millions,
            steady_cpu: steady.map(|(cpu, _, share)| cpu.as_secs_f64() / (millions * share)),
            steady_rate: steady.map(|(_, time, share)| records * share / time.as_secs_f64()),
            peak_rss: cost.peak_rss as f64 / f64::from(1 << 20),
            first_commit: cost.first_commit.as_ref().map(Duration::as_secs_f64),
            broker_cpu: of.broker.as_secs_f64() / millions,
            load: of.load,
        }
    }

    /// What was measured.
    pub fn subject(&self) -> Subject {
        Subject { engine: self.engine, job: self.job }
    }

    /// What it read.
    pub fn input(&self) -> Input {
        Input { records: self.records, compression: self.compression }
    }
}

/// Appends a result.
pub fn append(file: &Path, run: &Run) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(file)?;
    writeln!(file, "{}", serde_json::to_string(run)?)?;
    Ok(())
}

/// All results of a file; none if there is no file.
pub fn read(file: &Path) -> Result<Vec<Run>> {
    let text = if file.exists() { fs::read_to_string(file)? } else { String::new() };
    parse(&text).with_context(|| format!("{}; move the file away, or name another one by --results", file.display()))
}

fn parse(text: &str) -> Result<Vec<Run>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("line {} is no result of this benchmark: {line}", at + 1))
        })
        .collect()
}

/// The middle value, or the mean of the middle two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// In each round in which both ran: what it was above by what it was below; of these the median.
pub fn quotient(runs: &[Run], above: Subject, below: Subject, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let of = |subject: Subject| runs.iter().filter(move |run| run.subject() == subject);
    let quotients = of(below).filter_map(|run| {
        let other = of(above).find(|other| other.round == run.round)?;
        Some(value(other)? / value(run)?)
    });
    median(quotients)
}

#[cfg(test)]
pub mod tests {
    //! Also runs to make tables of.
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A run whose other figures follow from its CPU time.
    pub fn run(engine: Engine, job: Job, round: u32, cpu: f64) -> Run {
        Run {
            engine,
            job,
            compression: Compression::None,
            records: 1_000_000,
            round,
            output: 1_000_000,
            seconds: 1.0,
            cpu,
            steady_cpu: Some(cpu / 2.0),
            steady_rate: None,
            peak_rss: cpu * 10.0,
            first_commit: Some(cpu),
            broker_cpu: 0.5,
            load: 0.0,
        }
    }

    #[test]
    fn quotients_are_taken_within_rounds() {
        let runs = [
            run(Engine::Loop, Job::PassThrough, 1, 1.0),
            run(Engine::Flink, Job::Json, 1, 2.0),
            run(Engine::Loop, Job::PassThrough, 2, 2.0),
            run(Engine::Flink, Job::Json, 2, 3.0),
            run(Engine::Flink, Job::Json, 3, 9.0),
        ];
        let flink = Subject { engine: Engine::Flink, job: Job::Json };
        let whole = |run: &Run| Some(run.cpu);
        assert_eq!(quotient(&runs, flink, Subject::LOOP, whole), Some(1.75));
        assert_eq!(quotient(&runs, Subject::LOOP, flink, whole), Some(f64::midpoint(1.0 / 2.0, 2.0 / 3.0)));
        let flink_sql = Subject { engine: Engine::FlinkSql, job: Job::Json };
        assert_eq!(quotient(&runs, flink_sql, flink, whole), None);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let written = run(Engine::FlinkSql, Job::CsvField, 2, 3.5);
        let line = serde_json::to_string(&written).unwrap();
        assert!(line.starts_with(r#"{"engine":"flink-sql","job":"csv-field","compression":"none","records":1000000"#));
        let read = parse(&format!("\n{line}\n")).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), format!("[{line}]"));
    }

    #[test]
    fn a_line_that_is_no_result_is_named() {
        let line = serde_json::to_string(&run(Engine::Loop, Job::PassThrough, 1, 1.0)).unwrap();
        let former = r#"{"job":"plain loop","round":1}"#;
        let error = parse(&format!("{line}\n{former}\n")).unwrap_err();
        assert_eq!(error.to_string(), format!("line 2 is no result of this benchmark: {former}"));
        assert!(format!("{error:#}").contains("there is no job `plain loop`"), "{error:#}");
    }
}
