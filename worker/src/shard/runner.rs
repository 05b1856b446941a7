//! The runner: the shards of a pipeline in this process; all of them, or those that an assignment gives to it.
//!
//! Threads, all owned here and ended by the stop flag: the supervisor, which prepares what shards share and waits for
//! them; the watcher, which looks at topics; the rotation, which looks at secrets; a thread a shard. Shard 0 starts
//! first: taking it over decides which of two processes goes on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::crew::{Assignments, TRY_AGAIN, run_assigned};
use super::prepare::{Prepared, prepare};
use super::shared::{Shared, StopFlag};
use super::status::{ShardState, ShardStatus, StatusBoard};
use super::supervise::{End, shard_thread};
use super::tenure::{Grant, Tenure};
use super::watcher::{TopicWatcher, report_lag};
use crate::health::{Readiness, Watchdog};
use crate::kafka::SecretStore;
use crate::metrics::Metrics;
use crate::plan::CompiledPipeline;

/// What a run needs beside the pipeline.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The uid that stands in headers; `local` for `millstream run`.
    pub uid: String,
    /// Where secrets are.
    pub secrets: SecretStore,
    /// The memory that buffers are sized by; without it the container's limit.
    pub memory_bytes: Option<u64>,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// The embedded broker for trying out: it knows no settings, and its topics are there.
    pub embedded: bool,
    /// The rack that clients are in: the zone of the node.
    pub rack: Option<String>,
    /// In a cluster: which shards are this process's. Without it, all are.
    pub assigned: Option<Assignments>,
}

impl RunOptions {
    /// Options of `millstream run`.
    pub fn local(secrets: SecretStore) -> Self {
        let readiness = Arc::new(Readiness::default());
        Self {
            uid: "local".to_owned(),
            secrets,
            memory_bytes: None,
            readiness,
            embedded: false,
            rack: None,
            assigned: None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody asked to stop.
    Stopped,
    /// A batch has reached its ends.
    Complete,
    /// The batch was complete before.
    AlreadyComplete,
    /// It cannot go on; each text says why and what to do.
    Failed(Vec<String>),
    /// Another process has taken over.
    Fenced(String),
}

#[derive(Debug, Default)]
struct Finish {
    outcome: Mutex<Option<Outcome>>,
    changed: Condvar,
}

/// A running pipeline.
#[derive(Debug)]
pub struct Runner {
    stop: Arc<StopFlag>,
    status: Arc<StatusBoard>,
    finish: Arc<Finish>,
    supervisor: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the pipeline.
    pub fn start(
        pipeline: Arc<CompiledPipeline>,
        options: RunOptions,
        metrics: Arc<Metrics>,
        watchdog: Arc<Watchdog>,
    ) -> Self {
        let (stop, status) = (Arc::new(StopFlag::default()), Arc::new(StatusBoard::default()));
        let finish = Arc::new(Finish::default());
        let prepared =
            Prepared { pipeline, options, metrics, watchdog, stop: Arc::clone(&stop), status: Arc::clone(&status) };
        let done = Arc::clone(&finish);
        let span = tracing::info_span!("pipeline", pipeline = prepared.pipeline.name);
        let thread = std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            let _entered = span.enter();
            let outcome = supervise(&prepared);
            prepared.stop.ask();
            *done.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            done.changed.notify_all();
        });
        let supervisor = match thread {
            Ok(handle) => Some(handle),
            Err(error) => {
                let outcome = Outcome::Failed(vec![format!("the supervisor's thread cannot be started: {error}")]);
                *finish.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                None
            }
        };
        Self { stop, status, finish, supervisor }
    }

    /// Asks to stop: every shard makes a checkpoint, marks itself released, and ends.
    pub fn stop(&self) {
        self.stop.ask();
    }

    /// What the shards are doing; empty until their number is known.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.status.all()
    }

    /// Where the shards' states are told.
    pub fn board(&self) -> &Arc<StatusBoard> {
        &self.status
    }

    /// Waits for the end, at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let outcome = self.finish.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.finish.changed.wait_timeout_while(outcome, timeout, |outcome| outcome.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(handle) = self.supervisor.take() {
            // A panic there was told by the panic hook already.
            drop(handle.join());
        }
    }
}

/// Prepares, starts the shards, and waits for them.
fn supervise(prepared: &Prepared) -> Outcome {
    let (shared, mut watcher) = match prepare_until_it_works(prepared) {
        Ok(Some(ready)) => ready,
        Ok(None) => return Outcome::Stopped,
        Err(why) => return Outcome::Failed(vec![why]),
    };
    watcher.look();
    let ended = Arc::new(StopFlag::default());
    let mut watching = Vec::new();
    let outcome = match start_watching(&shared, watcher, &ended, &mut watching) {
        Ok(()) => match &prepared.options.assigned {
            Some(assignments) => run_assigned(&shared, assignments),
            None => run_shards(&shared),
        },
        Err(why) => Outcome::Failed(vec![why]),
    };
    ended.ask();
    for handle in watching {
        drop(handle.join());
    }
    forget_partitions(&shared);
    outcome
}

/// Starts the threads that look at topics and at secrets, until `ended` is asked.
fn start_watching(
    shared: &Arc<Shared>,
    watcher: TopicWatcher,
    ended: &Arc<StopFlag>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), String> {
    let (stop, of_thread) = (Arc::clone(ended), Arc::clone(shared));
    threads.push(spawn("watcher", move || watcher.run(&stop, || report_lag(&of_thread)))?);
    if shared.rotation.has_secrets() {
        let (stop, rotation) = (Arc::clone(ended), Arc::clone(&shared.rotation));
        threads.push(spawn("rotation", move || rotation.run(&stop))?);
    }
    Ok(())
}

/// In a cluster, what cannot go on is told and tried again after a while: a worker that ended would tell nobody, and
/// what is wrong may be mended outside. Under `millstream run` it ends the run.
fn prepare_until_it_works(prepared: &Prepared) -> Result<Option<(Arc<Shared>, TopicWatcher)>, String> {
    loop {
        let why = match prepare(prepared) {
            Ok(ready) => return Ok(ready),
            Err(why) => why,
        };
        prepared.options.readiness.not_ready(0, &why);
        prepared.status.set(0, ShardState::Stopped(why.clone()));
        if prepared.options.assigned.is_none() {
            return Err(why);
        }
        if prepared.stop.sleep(TRY_AGAIN) {
            return Ok(None);
        }
    }
}

fn forget_partitions(shared: &Shared) {
    for (partition, _) in shared.positions.all() {
        shared.metrics.forget_partition(&partition.topic, partition.partition);
    }
}

/// Starts a thread under the current span.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let span = tracing::Span::current();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || span.in_scope(body));
    thread.map_err(|error| format!("the thread `{name}` cannot be started: {error}"))
}

fn run_shards(shared: &Arc<Shared>) -> Outcome {
    let (send, ends) = crossbeam_channel::unbounded();
    let mut threads = Vec::new();
    let mut failed = Vec::new();
    for shard in 0..shared.shards {
        let (send, for_shard) = (send.clone(), Arc::clone(shared));
        let body = move || {
            let tenure = Tenure::owner(Arc::clone(&for_shard.stop), Grant::default());
            let end = shard_thread(shard, &tenure, &for_shard);
            drop(send.send((shard, end)));
        };
        match spawn(&format!("shard-{shard}"), body) {
            Ok(handle) => threads.push(handle),
            Err(why) => {
                failed.push(why);
                shared.stop.ask();
                break;
            }
        }
    }
    drop(send);
    let mut found = Vec::new();
    while let Ok((shard, end)) = ends.recv() {
        // One shard that cannot go on ends the run: what is wrong is to be seen, not to be read in a log.
        if matches!(end, End::Failed(_) | End::Lost(_)) {
            shared.stop.ask();
        }
        let state = match &end {
            End::Complete { .. } => ShardState::Complete,
            End::Failed(why) | End::Lost(why) => ShardState::Stopped(why.clone()),
            End::Released => ShardState::Released,
        };
        shared.set_state(shard, state);
        found.push(end);
        // Shard 0 serves the others until they are complete.
        if found.iter().filter(|end| matches!(end, End::Complete { .. })).count() as u32 == shared.shards {
            shared.stop.ask();
        }
    }
    for handle in threads {
        drop(handle.join());
    }
    outcome(failed, found)
}

fn outcome(mut failed: Vec<String>, ends: Vec<End>) -> Outcome {
    let mut lost = None;
    let (mut complete, mut already, total) = (0, 0, ends.len());
    for end in ends {
        match end {
            End::Released => {}
            End::Complete { before } => {
                complete += 1;
                already += usize::from(before);
            }
            End::Failed(why) => failed.push(why),
            End::Lost(why) => lost = Some(why),
        }
    }
    match lost {
        Some(why) => Outcome::Fenced(why),
        None if !failed.is_empty() => Outcome::Failed(failed),
        None if total > 0 && already == total => Outcome::AlreadyComplete,
        None if total > 0 && complete == total => Outcome::Complete,
        None => Outcome::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_follows_from_the_shards_ends() {
        let complete = |before| End::Complete { before };
        let of = |ends| outcome(Vec::new(), ends);
        assert_eq!(of(vec![End::Released, complete(false)]), Outcome::Stopped);
        assert_eq!(of(vec![complete(true), complete(false)]), Outcome::Complete);
        assert_eq!(of(vec![complete(true), complete(true)]), Outcome::AlreadyComplete);
        assert_eq!(of(vec![End::Released, End::Failed("x".into())]), Outcome::Failed(vec!["x".into()]));
        let fenced = of(vec![End::Failed("x".into()), End::Lost("y".into())]);
        assert_eq!(fenced, Outcome::Fenced("y".into()));
    }
}
