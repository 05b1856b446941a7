//! The tables: one a job, medians over the rounds, and ratios that are taken within a round.

use std::fmt::Write as _;

use crate::jobs::{Engine, Job, Subject};
use crate::named::Named;
use crate::results::{Run, median, quotient};

const TITLES: [&str; 11] = [
    "engine",
    "CPU s per million, whole",
    "steady",
    "Flink ÷ this, steady",
    "× loop, steady",
    "× untouched, steady",
    "records/s, steady",
    "peak RSS, MiB",
    "first commit, s",
    "broker's CPU s per million",
    "rounds",
];

/// A table for each job of which there are runs.
pub fn tables(runs: &[Run]) -> String {
    Job::ALL.iter().map(|job| table(*job, runs)).filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

fn table(job: Job, runs: &[Run]) -> String {
    let subjects = Engine::ALL.iter().map(|engine| Subject { engine: *engine, job });
    let rows: Vec<String> = subjects.filter_map(|subject| row(subject, runs)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("{}:\n\n{}\n{}\n", job.title(), line(TITLES), line(["---"; TITLES.len()]));
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

fn row(subject: Subject, runs: &[Run]) -> Option<String> {
    let of: Vec<&Run> = runs.iter().filter(|run| run.subject() == subject).collect();
    if of.is_empty() {
        return None;
    }
    let middle = |value: fn(&Run) -> Option<f64>| median(of.iter().filter_map(|run| value(run)));
    let steady = |above, below| quotient(runs, above, below, |run| run.steady_cpu);
    // Only what does the same can be said to be so many times from the limit.
    let untouched = Subject { engine: Engine::Untouched, ..subject };
    let cells = [
        subject.engine.title().to_owned(),
        number(middle(|run| Some(run.cpu)), 2),
        number(middle(|run| run.steady_cpu), 3),
        number(steady(Subject { engine: Engine::Flink, ..subject }, subject), 1),
        number(steady(subject, Subject::LOOP), 2),
        number(steady(subject, untouched), 2),
        number(middle(|run| run.steady_rate), 0),
        number(of.iter().map(|run| run.peak_rss).reduce(f64::max), 0),
        number(middle(|run| run.first_commit), 2),
        number(middle(|run| Some(run.broker_cpu)), 2),
        of.len().to_string(),
    ];
    Some(line(cells))
}

/// A line of a table.
pub fn line(cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    cells.into_iter().fold("|".to_owned(), |line, cell| line + " " + cell.as_ref() + " |")
}

/// A number, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use millstream::kafka::KafkaClient;

    use super::*;
    use crate::results::tests::run;

    const MILLSTREAM: Engine = Engine::Millstream(KafkaClient::Wire);

    #[test]
    fn a_row_has_medians_the_highest_rss_and_ratios_within_rounds() {
        let runs = [
            run(Engine::Loop, Job::PassThrough, 1, 4.0),
            run(Engine::Untouched, Job::PassThrough, 1, 1.0),
            run(MILLSTREAM, Job::PassThrough, 1, 2.0),
            run(Engine::Flink, Job::PassThrough, 1, 20.0),
            run(Engine::Loop, Job::PassThrough, 2, 10.0),
            run(MILLSTREAM, Job::PassThrough, 2, 6.0),
        ];
        let table = tables(&runs);
        let row = table.lines().find(|line| line.starts_with("| Millstream |"));
        assert_eq!(row, Some("| Millstream | 4.00 | 2.000 | 10.0 | 0.55 | 2.00 | – | 60 | 4.00 | 0.50 | 2 |"));
    }

    #[test]
    fn jobs_without_runs_have_no_table_and_engines_without_runs_no_row() {
        let table = tables(&[run(MILLSTREAM, Job::Json, 1, 2.0), run(Engine::Loop, Job::PassThrough, 1, 4.0)]);
        let titles = line(TITLES);
        let expected = [
            "pass-through:",
            "",
            &titles,
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            "| plain loop | 4.00 | 2.000 | – | 1.00 | – | – | 40 | 4.00 | 0.50 | 1 |",
            "",
            "JSON:",
            "",
            &titles,
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            "| Millstream | 2.00 | 1.000 | – | 0.50 | – | – | 20 | 2.00 | 0.50 | 1 |",
            "",
        ];
        assert_eq!(table, expected.join("\n"));
    }
}
