//! What the shards of a worker share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::memory::Budget;
use super::ownership::Ownership;
use super::rotation::Rotation;
use super::status::{ShardState, StatusBoard};
use super::topology::TopologyCell;
use crate::health::{Readiness, Watchdog};
use crate::kafka::Admin;
use crate::metrics::Metrics;
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::state_topic;
use crate::records::TopicPartition;

/// Everything that the shards of one pipeline in one process share.
#[derive(Debug)]
pub struct Shared {
    /// The pipeline.
    pub pipeline: Arc<CompiledPipeline>,
    /// Stands in headers; `local` for `millstream run`.
    pub uid: String,
    /// Identifies this process in headers.
    pub run: String,
    /// The number of shards.
    pub shards: u32,
    /// What clients are made of, which changes with the secrets.
    pub rotation: Arc<Rotation>,
    /// What the clusters look like.
    pub topology: Arc<TopologyCell>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Watches our own code.
    pub watchdog: Arc<Watchdog>,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// What the shards are doing.
    pub status: Arc<StatusBoard>,
    /// Whether to stop.
    pub stop: Arc<StopFlag>,
    /// Who decides which shards are this process's.
    pub ownership: Ownership,
    /// Where the shards' checkpoints are, for the lag.
    pub positions: PositionBoard,
    /// The buffers of each shard.
    pub budget: Budget,
}

impl Shared {
    /// The connection that sources, state and transactions are on.
    pub fn home(&self) -> usize {
        self.pipeline.home()
    }

    /// The client for questions to that cluster, of the newest secrets.
    pub fn admin(&self) -> Arc<Admin> {
        Arc::clone(&self.rotation.newest().admins[self.home()])
    }

    /// The state topic's name.
    pub fn state_topic(&self) -> String {
        state_topic(&self.pipeline.application_id)
    }

    /// Sets a shard's state, and its readiness with it.
    pub fn set_state(&self, shard: u32, state: ShardState) {
        match &state {
            ShardState::Running | ShardState::Complete => self.readiness.ready(shard),
            // Not this process's, or not yet: nothing that it could fail to do.
            ShardState::Preparing | ShardState::Prepared | ShardState::Released => self.readiness.forget(shard),
            other => self.readiness.not_ready(shard, &other.to_string()),
        }
        self.status.set(shard, state);
    }

    /// Forgets a shard that this process has nothing to do with any more.
    pub fn forget_shard(&self, shard: u32) {
        self.readiness.forget(shard);
        self.status.forget(shard);
    }
}

/// A request to stop that sleepers notice, and that is passed on to those who stop with this one.
#[derive(Debug, Default)]
pub struct StopFlag {
    asked: AtomicBool,
    children: Mutex<Vec<Weak<StopFlag>>>,
    changed: Condvar,
}

impl StopFlag {
    /// Asks to stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        let children = std::mem::take(&mut *self.lock());
        self.changed.notify_all();
        children.iter().filter_map(Weak::upgrade).for_each(|child| child.ask());
    }

    /// A flag of its own that is asked with this one.
    pub fn child(&self) -> Arc<Self> {
        let child = Arc::new(Self::default());
        let mut children = self.lock();
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&child));
        drop(children);
        // Somebody may have asked just before the child was there to hear it.
        if self.asked() {
            child.ask();
        }
        child
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Self>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Sleeps for `time`, or until somebody asks; whether somebody has.
    pub fn sleep(&self, time: Duration) -> bool {
        drop(self.changed.wait_timeout_while(self.lock(), time, |_| !self.asked()));
        self.asked()
    }

    /// Waits until `done` says so, or somebody asks. It is looked at after each [`Self::wake`].
    pub fn wait_until(&self, done: impl Fn() -> bool) {
        drop(self.changed.wait_while(self.lock(), |_| !self.asked() && !done()));
    }

    /// Lets those who wait look again.
    pub fn wake(&self) {
        let _guard = self.lock();
        self.changed.notify_all();
    }
}

/// Shard 0's word on whether this process still owns the pipeline.
///
/// Two processes of one pipeline would fence each other for ever if each took back what it lost. So shard 0 decides:
/// who is fenced on another shard asks for a commit on shard 0, and takes the shard again only after that succeeded.
#[derive(Debug, Default)]
pub struct Confirm {
    state: Mutex<Confirmation>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Confirmation {
    asked: u64,
    answered: u64,
    lost: bool,
}

impl Confirm {
    fn state(&self) -> std::sync::MutexGuard<'_, Confirmation> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer: whether the pipeline is still ours. None if somebody asked to stop.
    pub fn ask(&self, stop: &StopFlag) -> Option<bool> {
        let mut state = self.state();
        state.asked += 1;
        let ticket = state.asked;
        loop {
            if state.lost {
                return Some(false);
            }
            if state.answered >= ticket {
                return Some(true);
            }
            if stop.asked() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For shard 0: the newest question that has no answer yet.
    pub fn open_question(&self) -> Option<u64> {
        let state = self.state();
        (state.asked > state.answered).then_some(state.asked)
    }

    /// For shard 0: a commit succeeded after the question was asked.
    pub fn answer(&self, question: u64) {
        let mut state = self.state();
        state.answered = state.answered.max(question);
        self.changed.notify_all();
    }

    /// For shard 0: another process has taken over.
    pub fn lost(&self) {
        self.state().lost = true;
        self.changed.notify_all();
    }
}

/// A shard's checkpointed position in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// The next offset.
    pub offset: i64,
    /// The timestamp of the last record before it, in milliseconds since 1970; -1 if none was read yet.
    pub timestamp: i64,
}

/// Where the shards' checkpoints are.
#[derive(Debug, Default)]
pub struct PositionBoard {
    positions: Mutex<HashMap<TopicPartition, Checkpointed>>,
}

impl PositionBoard {
    /// Notes a position.
    pub fn set(&self, partition: &TopicPartition, position: Checkpointed) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert(partition.clone(), position);
    }

    /// Forgets partitions that this process no longer reads.
    pub fn forget(&self, gone: &[TopicPartition]) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.retain(|partition, _| !gone.contains(partition));
    }

    /// All positions.
    pub fn all(&self) -> Vec<(TopicPartition, Checkpointed)> {
        let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.iter().map(|(partition, position)| (partition.clone(), *position)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_question_is_answered_by_a_later_commit_only() {
        let confirm = Arc::new(Confirm::default());
        let stop = Arc::new(StopFlag::default());
        assert_eq!(confirm.open_question(), None);
        let asking = {
            let (confirm, stop) = (Arc::clone(&confirm), Arc::clone(&stop));
            std::thread::spawn(move || confirm.ask(&stop))
        };
        while confirm.open_question().is_none() {
            std::thread::yield_now();
        }
        confirm.answer(0);
        assert!(confirm.open_question().is_some());
        confirm.answer(1);
        assert_eq!(asking.join().unwrap(), Some(true));
        confirm.lost();
        assert_eq!(confirm.ask(&stop), Some(false));
    }

    #[test]
    fn sleepers_notice_the_request_to_stop() {
        let stop = Arc::new(StopFlag::default());
        assert!(!stop.sleep(Duration::from_millis(1)));
        let asking = Arc::clone(&stop);
        let thread = std::thread::spawn(move || asking.ask());
        assert!(stop.sleep(Duration::from_mins(10)));
        thread.join().unwrap();
        assert_eq!(Confirm::default().ask(&stop), None);
    }
}
