//! Results: one JSON object a line, appended as soon as a run has ended, and the table that is made of them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::jobs::Subject;
use crate::measure::Cost;

/// A run of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The job's name.
    pub job: String,
    /// Runs of one round follow each other, so that they can be compared with each other.
    pub round: u32,
    /// Input records.
    pub records: u64,
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
    /// The machine's load before the run: other programs that want its processors.
    pub load: f64,
}

impl Run {
    /// The result of a run.
    pub fn new(subject: Subject, round: u32, records: u64, output: u64, load: f64, cost: &Cost) -> Self {
        let millions = records as f64 / 1e6;
        let steady = cost.steady();
        Self {
            job: subject.name(),
            round,
            records,
            output,
            seconds: cost.wall.as_secs_f64(),
            cpu: cost.cpu.as_secs_f64() / millions,
            steady_cpu: steady.map(|(cpu, _, share)| cpu.as_secs_f64() / (millions * share)),
            steady_rate: steady.map(|(_, time, share)| records as f64 * share / time.as_secs_f64()),
            peak_rss: cost.peak_rss as f64 / f64::from(1 << 20),
            first_commit: cost.first_commit.as_ref().map(Duration::as_secs_f64),
            load,
        }
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
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("not a result: {line}"))).collect()
}

/// The table: medians over the rounds, and the costs as multiples of the loop's in the same round.
pub fn table(runs: &[Run]) -> String {
    let mut text = String::from(
        "| job | CPU s per million, whole | steady | × loop, whole | × loop, steady | goal | records/s, steady | peak RSS, MiB | rounds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for subject in Subject::all() {
        let of: Vec<&Run> = runs.iter().filter(|run| run.job == subject.name()).collect();
        if !of.is_empty() {
            let _ = writeln!(text, "{}", row(subject, &of, runs));
        }
    }
    text
}

fn row(subject: Subject, of: &[&Run], all: &[Run]) -> String {
    let ratio = |cost: fn(&Run) -> Option<f64>| {
        let bar =
            |round: u32| all.iter().find(|run| run.job == Subject::LOOP.name() && run.round == round).and_then(cost);
        median(of.iter().filter_map(|run| Some(cost(run)? / bar(run.round)?)))
    };
    let number = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    [
        subject.name(),
        number(median(of.iter().map(|run| run.cpu)), 2),
        number(median(of.iter().filter_map(|run| run.steady_cpu)), 2),
        number(ratio(|run| Some(run.cpu)), 2),
        number(ratio(|run| run.steady_cpu), 2),
        subject.job.goal().map_or("–".into(), |goal| format!("≤ {goal}")),
        number(median(of.iter().filter_map(|run| run.steady_rate)), 0),
        number(of.iter().map(|run| run.peak_rss).reduce(f64::max), 0),
        of.len().to_string(),
    ]
    .iter()
    .fold("|".to_owned(), |row, cell| row + " " + cell + " |")
}

/// The middle value, or the mean of the middle two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Job;

    fn run(job: Job, round: u32, cpu: f64) -> Run {
        Run {
            job: job.name().into(),
            round,
            records: 1,
            output: 1,
            seconds: 1.0,
            cpu,
            steady_cpu: Some(cpu / 2.0),
            steady_rate: None,
            peak_rss: cpu * 10.0,
            first_commit: None,
            load: 0.0,
        }
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let runs = [
            run(Job::Loop, 1, 1.0),
            run(Job::Json, 1, 2.0),
            run(Job::Loop, 2, 2.0),
            run(Job::Json, 2, 3.0),
            run(Job::Json, 3, 9.0),
        ];
        let table = table(&runs);
        let json = table.lines().last();
        assert_eq!(json, Some("| JSON | 3.00 | 1.50 | 1.75 | 1.75 | ≤ 2 | – | 90 | 3 |"));
    }
}
