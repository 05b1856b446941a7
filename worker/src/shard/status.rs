//! What each shard is doing, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// A shard and what it is doing.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u32,
    /// What it is doing.
    pub state: ShardState,
    /// Since when.
    pub since: Instant,
    /// The last checkpoint that this process made of it.
    pub checkpoint: Option<Checkpoint>,
}

/// A checkpoint that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its sequence.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub millis: i64,
}

/// What a shard is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// Prepares to take the shard over once it is this process's.
    Preparing,
    /// Is prepared, and waits to be given the shard.
    Prepared,
    /// Takes the shard over.
    Starting,
    /// Waits for something outside, named in the text.
    Waiting(String),
    /// Processes records.
    Running,
    /// Has read a batch to its ends.
    Complete,
    /// Was let go, because somebody asked to stop.
    Released,
    /// Has stopped; the text says why.
    Stopped(String),
}

impl fmt::Display for ShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preparing => f.write_str("preparing"),
            Self::Prepared => f.write_str("prepared"),
            Self::Starting => f.write_str("starting"),
            Self::Waiting(what) => write!(f, "waiting: {what}"),
            Self::Running => f.write_str("running"),
            Self::Complete => f.write_str("complete"),
            Self::Released => f.write_str("released"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

/// The states of the shards of a worker; empty until they are known.
#[derive(Debug, Default)]
pub struct StatusBoard {
    shards: Mutex<BTreeMap<u32, ShardStatus>>,
    count: OnceLock<u32>,
    changed: Notify,
}

impl StatusBoard {
    fn board(&self) -> MutexGuard<'_, BTreeMap<u32, ShardStatus>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the pipeline's shards, once it is known.
    pub fn count(&self) -> Option<u32> {
        self.count.get().copied()
    }

    /// Sets the number of the pipeline's shards, which never changes.
    pub fn set_count(&self, shards: u32) {
        self.count.get_or_init(|| shards);
        self.changed.notify_one();
    }

    /// Shards that are about to start.
    pub fn expect(&self, shards: u32) {
        let mut board = self.board();
        for shard in 0..shards {
            board.entry(shard).or_insert_with(|| ShardStatus::new(shard, ShardState::Starting));
        }
    }

    /// Sets a shard's state. Logs it once, when it changes.
    pub fn set(&self, shard: u32, state: ShardState) {
        let mut board = self.board();
        let status = board.entry(shard).or_insert_with(|| ShardStatus::new(shard, ShardState::Starting));
        if status.state == state {
            return;
        }
        match &state {
            ShardState::Waiting(what) => tracing::warn!(shard, "waiting: {what}"),
            ShardState::Stopped(why) => tracing::error!(shard, "stopped: {why}"),
            other => tracing::info!(shard, "{other}"),
        }
        (status.state, status.since) = (state, Instant::now());
        self.changed.notify_one();
    }

    /// Notes a checkpoint.
    pub fn checkpointed(&self, shard: u32, sequence: u64) {
        if let Some(status) = self.board().get_mut(&shard) {
            status.checkpoint = Some(Checkpoint { sequence, millis: super::now_millis() });
        }
    }

    /// Forgets a shard that this process has nothing to do with any more.
    pub fn forget(&self, shard: u32) {
        self.board().remove(&shard);
        self.changed.notify_one();
    }

    /// Tells the one who waits for changes that a state has changed.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    /// All states.
    pub fn all(&self) -> Vec<ShardStatus> {
        self.board().values().cloned().collect()
    }
}

impl ShardStatus {
    fn new(shard: u32, state: ShardState) -> Self {
        Self { shard, state, since: Instant::now(), checkpoint: None }
    }
}
