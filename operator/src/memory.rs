//! What is remembered of a Pipeline from one reconcile to the next, while this replica leads.
//!
//! Losing it costs time: a new leader counts from its own beginning.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;

use crate::compile::Compiled;
use crate::decide::assignment::Assignment;
use crate::decide::durations::Durations;
use crate::decide::liveness::Progress;
use crate::decide::loads::Loads;
use crate::decide::notices::Notices;
use crate::decide::pending::PendingMoves;
use crate::decide::quarantine::{self, Death};
use crate::deletion::Ending;
use crate::kafka::Observer;
use crate::observe::container;
use crate::progress::Track;
use crate::reports::Seen;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    /// What the compiler said about a generation of the spec.
    pub compiled: Option<(i64, Compiled)>,
    /// Since when moves stand as they do.
    pub pending: PendingMoves,
    /// Since when they are under way.
    pub durations: Durations,
    /// What is to be told of them.
    pub notices: Notices,
    /// The shards' loads over time.
    pub loads: Loads,
    /// Which workers' processes ended by themselves.
    pub deaths: Vec<Death>,
    /// The revision that has the shards.
    revision: Option<String>,
    /// The digest of the objects that were applied last, and when.
    pub applied: Option<(String, Instant)>,
    /// Type and reason of the condition that was told last.
    pub condition: Option<(&'static str, String)>,
    /// When the status was written last.
    pub told: Option<Instant>,
    /// Looks at the positions in Kafka, for a generation of the spec and what its secrets were then.
    pub observer: Option<(String, Observer)>,
    /// When it was last looked whether the observer is still the right one.
    pub observer_checked: Option<Instant>,
    /// How far its deletion is, since this replica has known of it.
    pub ending: Option<Ending>,
    workers: BTreeMap<String, WorkerMemory>,
    owners: BTreeMap<u32, (Option<String>, Duration)>,
}

/// What is remembered of a worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerMemory {
    /// When it was first seen.
    pub seen: Duration,
    /// Since when its process is known to have ended, as long as no other has reported.
    pub ended: Option<Duration>,
    /// Since when the process has been there whose reports are heard, and how often its container had been restarted
    /// when it began.
    run: Option<(Duration, i32)>,
    counted: Option<Instant>,
}

impl Memory {
    /// Follows the workers: who is new, whose process has ended, who is back.
    pub fn follow(
        &mut self,
        pods: &BTreeMap<String, std::sync::Arc<Pod>>,
        seen: &BTreeMap<String, Seen>,
        now: Duration,
        since_epoch: impl Fn(Instant) -> Duration,
    ) {
        self.workers.retain(|worker, _| pods.contains_key(worker));
        for (name, pod) in pods {
            let new = WorkerMemory { seen: now, ..WorkerMemory::default() };
            let worker = self.workers.entry(name.clone()).or_insert(new);
            let report = seen.get(name);
            worker.follow(pod, report.map(|seen| since_epoch(seen.run_since)), now);
            let died = report.and_then(|seen| seen.died.as_ref()).filter(|death| worker.counted != Some(death.at));
            if let Some(death) = died {
                worker.counted = Some(death.at);
                let (at, shards) = (since_epoch(death.at), death.shards.iter().copied().collect());
                self.deaths.push(Death { at, worker: name.clone(), shards });
            }
        }
        quarantine::forget(&mut self.deaths, now);
    }

    /// Takes note of the revision that has the shards; whether it is another one than before. What shards did to workers
    /// of the former one does not count any more: somebody may have changed the spec because of that.
    pub fn runs(&mut self, revision: &str) -> bool {
        let before = self.revision.replace(revision.to_owned());
        let is_new = before.is_some_and(|before| before != revision);
        if is_new {
            self.deaths.clear();
        }
        is_new
    }

    /// Since when each shard has had its owner.
    pub fn owners(&mut self, assignment: &Assignment, now: Duration) {
        for (number, shard) in assignment.numbered() {
            let since = self.owners.entry(number).or_insert_with(|| (shard.owner.clone(), now));
            if since.0 != shard.owner {
                *since = (shard.owner.clone(), now);
            }
        }
    }

    /// Whether a worker's shards move, and whether input waits for them.
    pub fn progress(&self, worker: &str, track: &Track) -> Vec<Progress> {
        let owned = self.owners.iter().filter(|(_, (owner, _))| owner.as_deref() == Some(worker));
        let progress = owned.filter_map(|(shard, (_, since))| {
            let seen = track.shard(*shard)?;
            Some(Progress { moved: seen.moved.max(*since), ..seen })
        });
        progress.collect()
    }

    /// What is remembered of a worker.
    pub fn worker(&self, name: &str) -> WorkerMemory {
        self.workers.get(name).cloned().unwrap_or_default()
    }
}

impl WorkerMemory {
    /// Pods' states and reports come on different ways, and either may be the first to tell of a new process.
    fn follow(&mut self, pod: &Pod, run_since: Option<Duration>, now: Duration) {
        let restarts = container(pod).map_or(0, |container| container.restart_count);
        self.run = match (self.run, run_since) {
            (Some((known, of)), Some(since)) if known != since => Some((since, restarts.max(of + 1))),
            (None, Some(since)) => Some((since, restarts)),
            (known, _) => known,
        };
        let has_ended = self.run.is_some_and(|(_, of)| restarts > of || (restarts == of && is_stopped(pod)));
        self.ended = has_ended.then(|| self.ended.unwrap_or(now));
    }
}

/// Whether the container ran and does not run now.
fn is_stopped(pod: &Pod) -> bool {
    let Some(container) = container(pod) else { return false };
    let ended_before = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = container.state.as_ref();
    state.is_some_and(|state| state.terminated.is_some() || (state.waiting.is_some() && ended_before))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(restarts: i32, state: &str) -> Pod {
        let ended = json!({"terminated": {"exitCode": 1}});
        let last = if restarts > 0 || state == "waiting" { ended.clone() } else { json!({}) };
        let state = match state {
            "running" => json!({"running": {}}),
            "ended" => ended,
            _ => json!({"waiting": {"reason": "X"}}),
        };
        let last = if restarts == 0 && state.get("waiting").is_some() { json!({}) } else { last };
        let status = json!({"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last});
        serde_json::from_value(json!({"status": {"containerStatuses": [status]}})).unwrap()
    }

    /// Each step: restarts, the container's state, since when the process that reports is there; whether it has ended.
    fn check(steps: &[(i32, &str, Option<u64>, bool)]) {
        let mut worker = WorkerMemory::default();
        for (number, (restarts, state, run, ended)) in steps.iter().enumerate() {
            let now = Duration::from_secs(100 + number as u64);
            worker.follow(&pod(*restarts, state), run.map(Duration::from_secs), now);
            assert_eq!(worker.ended.is_some(), *ended, "step {number} of {steps:?}");
        }
    }

    #[test]
    fn a_process_has_ended_until_another_one_reports() {
        check(&[(0, "waiting", None, false), (0, "running", None, false), (0, "running", Some(1), false)]);
        check(&[
            (0, "running", Some(1), false),
            (0, "ended", Some(1), true),
            (1, "running", Some(1), true),
            (1, "running", Some(7), false),
        ]);
        check(&[(0, "running", Some(1), false), (1, "waiting", Some(1), true), (1, "waiting", Some(1), true)]);
    }

    #[test]
    fn reports_may_come_before_the_pods_state() {
        check(&[(0, "waiting", Some(1), false), (0, "running", Some(1), false), (0, "ended", Some(1), true)]);
        check(&[
            (0, "running", Some(1), false),
            (0, "running", Some(7), false),
            (0, "ended", Some(7), false),
            (1, "running", Some(7), false),
            (1, "ended", Some(7), true),
        ]);
    }

    #[test]
    fn a_new_revision_begins_without_a_history() {
        let mut memory = Memory::default();
        assert!(!memory.runs("a"), "the first one that is seen is no other one");
        memory.deaths.push(Death { at: Duration::ZERO, worker: "w".into(), shards: [3].into() });
        assert!(!memory.runs("a") && memory.deaths.len() == 1);
        assert!(memory.runs("b") && memory.deaths.is_empty());
    }

    #[test]
    fn a_new_leader_counts_from_what_it_sees() {
        check(&[(5, "running", None, false), (5, "running", Some(1), false), (6, "running", Some(1), true)]);
    }
}
