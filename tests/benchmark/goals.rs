//! What Millstream is to be better by, and what was measured of it.

use std::fmt::Write as _;

use millstream::kafka::KafkaClient;

use crate::jobs::{Engine, Job, Subject};
use crate::named::Named;
use crate::results::{Run, quotient};
use crate::table::{line, number};

/// How many times more another engine takes of something.
struct Goal {
    of: &'static str,
    other: Engine,
    job: Job,
    value: fn(&Run) -> Option<f64>,
    /// What is aimed at.
    wanted: f64,
    /// What it must not be below.
    floor: Option<f64>,
}

fn goals() -> Vec<Goal> {
    let steady =
        |other, job, wanted, floor| Goal { of: "CPU, steady", other, job, value: |run| run.steady_cpu, wanted, floor };
    let cpu = Job::ALL.iter().map(|job| match job {
        Job::Json => steady(Engine::Flink, *job, 7.0, Some(4.0)),
        Job::PassThrough | Job::UpperCase | Job::CsvField => steady(Engine::Flink, *job, 10.0, Some(8.0)),
    });
    let rss = Job::ALL.iter().map(|job| Goal {
        of: "peak RSS",
        other: Engine::Flink,
        job: *job,
        value: |run| Some(run.peak_rss),
        wanted: 15.0,
        floor: None,
    });
    let start = Job::ALL.iter().map(|job| Goal {
        of: "start to first commit",
        other: Engine::Flink,
        job: *job,
        value: |run| run.first_commit,
        wanted: 10.0,
        floor: None,
    });
    cpu.chain([steady(Engine::Loop, Job::PassThrough, 7.0, None)]).chain(rss).chain(start).collect()
}

/// The goals for which there are runs; nothing if there are none.
pub fn table(runs: &[Run]) -> String {
    let rows: Vec<String> = goals().iter().filter_map(|goal| row(goal, runs)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = line(["times Millstream's", "of", "job", "goal", "at least", "measured"]);
    let mut text = format!("Goals:\n\n{titles}\n{}\n", line(["---"; 6]));
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

fn row(goal: &Goal, runs: &[Run]) -> Option<String> {
    let Goal { of, other, job, value, wanted, floor } = goal;
    let millstream = Subject { engine: Engine::Millstream(KafkaClient::Wire), job: *job };
    let measured = quotient(runs, Subject { engine: *other, job: *job }, millstream, value)?;
    Some(line([
        *of,
        other.title(),
        job.title(),
        &format!("≥ {wanted}"),
        &number(*floor, 0),
        &number(Some(measured), 1),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::run;

    #[test]
    fn goals_are_those_whose_engines_have_run() {
        let millstream = Engine::Millstream(KafkaClient::Wire);
        assert_eq!(table(&[run(millstream, Job::Json, 1, 2.0)]), "");
        let runs = [
            run(Engine::Loop, Job::PassThrough, 1, 12.0),
            run(millstream, Job::PassThrough, 1, 2.0),
            run(millstream, Job::Json, 1, 2.0),
            run(Engine::Flink, Job::Json, 1, 15.0),
        ];
        let expected = [
            "Goals:",
            "",
            "| times Millstream's | of | job | goal | at least | measured |",
            "| --- | --- | --- | --- | --- | --- |",
            "| CPU, steady | Flink DataStream | JSON | ≥ 7 | 4 | 7.5 |",
            "| CPU, steady | plain loop | pass-through | ≥ 7 | – | 6.0 |",
            "| peak RSS | Flink DataStream | JSON | ≥ 15 | – | 7.5 |",
            "| start to first commit | Flink DataStream | JSON | ≥ 10 | – | 7.5 |",
            "",
        ];
        assert_eq!(table(&runs), expected.join("\n"));
    }
}
