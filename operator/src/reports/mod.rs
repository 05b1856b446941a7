//! What workers have reported, newest of each.
//!
//! Lives with the leader; a new one begins with nothing and hears of everybody within a report's time. Reports are
//! claims: what they say is used to decide what is quick and cheap, never what is safe.

mod roll;
pub mod server;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use millstream_crds::report::{ShardPhase, WorkerReport};

pub use self::roll::Attendance;
use self::roll::Roll;
use crate::decide::liveness::{Judge, LastReport, Observed, Patience};

/// A Pipeline by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl PipelineKey {
    /// The key of a Pipeline, whether it could be read or not.
    pub fn of(pipeline: &impl ResourceExt) -> Self {
        Self { namespace: pipeline.namespace().unwrap_or_default(), name: pipeline.name_any() }
    }
}

/// A worker's last report.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The report.
    pub report: WorkerReport,
    /// When it came.
    pub at: Instant,
    /// When the process that sent it was first heard of.
    pub run_since: Instant,
    /// The process before it, if there was one: when it was last heard of, and what it held or took then.
    pub died: Option<Death>,
}

impl Seen {
    /// What a judgement needs of it; `at` is when it came, since the epoch of judgements.
    pub fn last_report(&self, at: Duration) -> LastReport {
        let next = Duration::from_millis(self.report.next_report_millis);
        LastReport { at, next, leaving: self.report.leaving }
    }
}

/// The end of a worker's process, as its successor's first report tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// When the successor was first heard of.
    pub at: Instant,
    /// What the process held, or was about to take.
    pub shards: Vec<u32>,
}

/// The last report of every worker.
#[derive(Debug, Default)]
pub struct Reports {
    seen: Mutex<HashMap<PipelineKey, BTreeMap<String, Seen>>>,
    generations: Mutex<HashMap<PipelineKey, i64>>,
    roll: Roll,
}

impl Reports {
    /// Notes a report. Whether it says something that may call for a decision.
    pub fn record(&self, report: WorkerReport, now: Instant) -> bool {
        let key = PipelineKey { namespace: report.namespace.clone(), name: report.pipeline.clone() };
        let mut seen = lock(&self.seen);
        let workers = seen.entry(key).or_default();
        let before = workers.get(&report.worker);
        if before.is_some_and(|before| before.report.run == report.run && before.report.sequence >= report.sequence) {
            return false;
        }
        let news = before.is_none_or(|before| is_news(&before.report, &report));
        let (run_since, died) = match before {
            Some(before) if before.report.run == report.run => (before.run_since, before.died.clone()),
            Some(before) if !before.report.leaving => (now, Some(Death { at: now, shards: at_work(&before.report) })),
            _ => (now, None),
        };
        workers.insert(report.worker.clone(), Seen { report, at: now, run_since, died });
        news
    }

    /// The workers of a Pipeline.
    pub fn of(&self, key: &PipelineKey) -> BTreeMap<String, Seen> {
        lock(&self.seen).get(key).cloned().unwrap_or_default()
    }

    /// Forgets workers that are gone.
    pub fn retain(&self, key: &PipelineKey, keep: impl Fn(&str) -> bool) {
        if let Some(workers) = lock(&self.seen).get_mut(key) {
            workers.retain(|worker, _| keep(worker));
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        lock(&self.seen).clear();
        lock(&self.generations).clear();
        self.roll.clear();
    }

    /// Forgets a Pipeline.
    pub fn forget(&self, key: &PipelineKey) {
        lock(&self.seen).remove(key);
        lock(&self.generations).remove(key);
        self.roll.forget(key);
    }

    /// Notes the newest generation of a Pipeline's assignment, for the answers to its workers.
    pub fn assigned(&self, key: &PipelineKey, generation: i64) {
        lock(&self.generations).insert(key.clone(), generation);
    }

    /// The newest generation of a Pipeline's assignment.
    pub fn generation(&self, key: &PipelineKey) -> Option<i64> {
        lock(&self.generations).get(key).copied()
    }

    /// Notes which workers of a Pipeline are there, and how patient it is with them.
    pub fn expect(&self, key: &PipelineKey, patience: Patience, workers: BTreeMap<String, Observed>) {
        self.roll.note(key, patience, workers);
    }

    /// How many of the workers of all Pipelines that should report are late, each by its own Pipeline's patience.
    pub fn attendance(&self, judge: &Judge, since_epoch: impl Fn(Instant) -> Duration) -> Attendance {
        let seen = lock(&self.seen);
        self.roll.call(judge, |key, worker| {
            let seen = seen.get(key)?.get(worker)?;
            Some(seen.last_report(since_epoch(seen.at)))
        })
    }
}

/// Whether a report differs in more than counts.
fn is_news(before: &WorkerReport, after: &WorkerReport) -> bool {
    let phases = |report: &WorkerReport| -> Vec<(u32, ShardPhase, Option<String>)> {
        report.shards.iter().map(|shard| (shard.shard, shard.phase, shard.message.clone())).collect()
    };
    before.run != after.run
        || before.leaving != after.leaving
        || before.shard_count != after.shard_count
        || before.error != after.error
        || phases(before) != phases(after)
}

/// The shards that a process held or was taking.
fn at_work(report: &WorkerReport) -> Vec<u32> {
    let at_work = |phase: ShardPhase| phase.is_held() || phase == ShardPhase::Starting;
    report.shards.iter().filter(|shard| at_work(shard.phase)).map(|shard| shard.shard).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use millstream_crds::report::ShardReport;

    use super::*;
    use crate::decide::liveness::{Pod, Progress};

    fn report(run: &str, sequence: u64, phase: ShardPhase) -> WorkerReport {
        let shards = vec![ShardReport { shard: 3, phase, ..ShardReport::default() }];
        let (namespace, pipeline, worker) = ("n".into(), "p".into(), "w".into());
        WorkerReport { namespace, pipeline, worker, run: run.into(), sequence, shards, ..WorkerReport::default() }
    }

    fn key() -> PipelineKey {
        PipelineKey { namespace: "n".into(), name: "p".into() }
    }

    #[test]
    fn only_changes_are_news_and_old_reports_are_passed_over() {
        let (reports, now) = (Reports::default(), Instant::now());
        assert!(reports.record(report("a", 1, ShardPhase::Starting), now));
        assert!(!reports.record(report("a", 2, ShardPhase::Starting), now));
        assert!(reports.record(report("a", 4, ShardPhase::Running), now));
        assert!(!reports.record(report("a", 3, ShardPhase::Starting), now));
        assert_eq!(reports.of(&key())["w"].report.sequence, 4);
        reports.retain(&key(), |worker| worker != "w");
        assert!(reports.of(&key()).is_empty());
    }

    #[test]
    fn another_process_tells_of_the_end_of_the_one_before() {
        let (reports, start) = (Reports::default(), Instant::now());
        reports.record(report("a", 9, ShardPhase::Running), start);
        let later = start + Duration::from_secs(3);
        assert!(reports.record(report("b", 1, ShardPhase::Preparing), later));
        let seen = &reports.of(&key())["w"];
        assert_eq!(seen.died, Some(Death { at: later, shards: vec![3] }));
        assert_eq!(seen.run_since, later);
    }

    fn patience(seconds: u64) -> Patience {
        Patience { worker_timeout: Duration::from_secs(seconds), interval: Duration::from_millis(500) }
    }

    /// Workers that were seen at 0 s and own something, so that they should report.
    fn workers(names: &[&str]) -> BTreeMap<String, Observed> {
        let (pod, shards) = (Pod::Present { deleted: false }, vec![Progress::default()]);
        let worker = Observed { pod, shards, ..Observed::default() };
        names.iter().map(|name| ((*name).to_owned(), worker.clone())).collect()
    }

    #[test]
    fn each_worker_is_late_by_its_own_pipelines_patience() {
        let (reports, start) = (Reports::default(), Instant::now());
        let patient = PipelineKey { name: "q".into(), ..key() };
        reports.expect(&key(), patience(5), workers(&["v", "w"]));
        reports.expect(&patient, patience(60), workers(&["x", "y", "z"]));
        reports.record(report("a", 1, ShardPhase::Running), start + Duration::from_secs(7));
        let at = |seconds| {
            let judge = Judge { now: Duration::from_secs(seconds), leader_since: Duration::ZERO, cut_off: false };
            let Attendance { overdue, workers } = reports.attendance(&judge, |at| at.saturating_duration_since(start));
            (overdue, workers)
        };
        assert_eq!(at(10), (1, 5), "v is late; w reported 3 s ago");
        assert_eq!(at(13), (2, 5), "of the impatient pipeline both, and of the other nobody");
        assert_eq!(at(61), (5, 5));
        reports.expect(&key(), patience(5), workers(&["w"]));
        assert_eq!(at(13), (1, 4), "v is gone");
        reports.forget(&key());
        assert_eq!(at(13), (0, 3));
    }
}
