//! What is to be run, and what of it is still to be run.

use anyhow::{Result, bail, ensure};

use crate::input::Input;
use crate::jobs::{Engine, Job, Subject};
use crate::named::Named;
use crate::results::Run;

/// What is to be run, in the order of a round: job by job, so that engines that are compared follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    subjects: Vec<Subject>,
}

impl Plan {
    /// Everything, or only these engines and these jobs; an empty list names all.
    pub fn new(peers: bool, engines: &[Engine], jobs: &[Job]) -> Result<Self> {
        if let Some(peer) = engines.iter().find(|engine| engine.is_peer() && !peers) {
            bail!("{} is one of the peers: give --peers, too", peer.name());
        }
        let engines: Vec<Engine> = chosen(engines).filter(|engine| peers || !engine.is_peer()).collect();
        let subjects: Vec<Subject> = chosen(jobs)
            .flat_map(|job| engines.iter().map(move |engine| Subject { engine: *engine, job }))
            .filter(|subject| subject.engine.does(subject.job))
            .collect();
        ensure!(!subjects.is_empty(), "none of these engines has one of these jobs");
        Ok(Self { subjects })
    }

    /// Whether peers must be there.
    pub fn needs_peers(&self) -> bool {
        self.subjects.iter().any(|subject| subject.engine.is_peer())
    }

    /// The runs that are not done, round by round.
    pub fn missing(&self, rounds: u32, input: Input, done: &[Run]) -> Vec<(u32, Subject)> {
        let is_done = |round: u32, subject: Subject| {
            done.iter().any(|run| run.subject() == subject && run.round == round && run.input() == input)
        };
        let all = (1..=rounds).flat_map(|round| self.subjects.iter().map(move |subject| (round, *subject)));
        all.filter(|(round, subject)| !is_done(*round, *subject)).collect()
    }
}

/// Those that are named, in the order in which all are.
fn chosen<T: Named + PartialEq>(named: &[T]) -> impl Iterator<Item = T> {
    T::ALL.iter().copied().filter(move |item| named.is_empty() || named.contains(item))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::jobs::Compression;
    use crate::results::tests::run;

    fn names(plan: &Plan) -> Vec<String> {
        plan.subjects.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn peers_run_only_where_they_are_asked_for() {
        let without = Plan::new(false, &[], &[]).unwrap();
        let expected = [
            "plain-loop-pass-through",
            "untouched-pass-through",
            "millstream-pass-through",
            "millstream-librdkafka-pass-through",
            "millstream-upper-case",
            "millstream-librdkafka-upper-case",
            "millstream-csv-field",
            "millstream-librdkafka-csv-field",
            "millstream-json",
            "millstream-librdkafka-json",
        ];
        assert_eq!(names(&without), expected);
        assert!(!without.needs_peers());
        let with = Plan::new(true, &[], &[]).unwrap();
        assert_eq!(with.subjects.len(), expected.len() + 4 + 3 + 4);
        assert!(with.needs_peers());
        let error = Plan::new(false, &[Engine::Streams], &[]).unwrap_err();
        assert_eq!(error.to_string(), "streams is one of the peers: give --peers, too");
    }

    #[test]
    fn a_part_keeps_the_order_of_the_whole() {
        let plan = Plan::new(true, &[Engine::FlinkSql, Engine::Flink], &[Job::Json, Job::PassThrough]).unwrap();
        assert_eq!(names(&plan), ["flink-pass-through", "flink-json", "flink-sql-json"]);
        let error = Plan::new(true, &[Engine::Untouched], &[Job::Json]).unwrap_err();
        assert_eq!(error.to_string(), "none of these engines has one of these jobs");
    }

    #[test]
    fn only_what_is_missing_is_run_again() {
        let plan = Plan::new(true, &[Engine::Loop, Engine::Flink], &[Job::PassThrough]).unwrap();
        let input = Input { records: 1_000_000, compression: Compression::None };
        let (plain, flink) = (plan.subjects[0], plan.subjects[1]);
        let done = [run(Engine::Flink, Job::PassThrough, 1, 1.0), run(Engine::Loop, Job::PassThrough, 2, 1.0)];
        assert_eq!(plan.missing(2, input, &done), [(1, plain), (2, flink)]);
        // Runs over another input count for nothing.
        let all = [(1, plain), (1, flink)];
        assert_eq!(plan.missing(1, Input { records: 2_000_000, ..input }, &done), all);
        assert_eq!(plan.missing(1, Input { compression: Compression::Lz4, ..input }, &done), all);
    }
}
