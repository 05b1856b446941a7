//! What each shard is doing, for people.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A shard and what it is doing.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u32,
    /// What it is doing.
    pub state: ShardState,
    /// Since when.
    pub since: Instant,
}

/// What a shard is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardState {
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
            Self::Starting => f.write_str("starting"),
            Self::Waiting(what) => write!(f, "waiting: {what}"),
            Self::Running => f.write_str("running"),
            Self::Complete => f.write_str("complete"),
            Self::Released => f.write_str("released"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

/// The states of all shards of a worker; empty until their number is known.
#[derive(Debug, Default)]
pub struct StatusBoard {
    shards: Mutex<Vec<ShardStatus>>,
}

impl StatusBoard {
    /// Sets the number of shards, or keeps it.
    pub fn resize(&self, shards: u32) {
        let mut board = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in board.len() as u32..shards {
            board.push(ShardStatus { shard, state: ShardState::Starting, since: Instant::now() });
        }
    }

    /// Sets a shard's state. Logs it once, when it changes.
    pub fn set(&self, shard: u32, state: ShardState) {
        let mut board = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = board.get_mut(shard as usize) else { return };
        if status.state == state {
            return;
        }
        match &state {
            ShardState::Waiting(what) => tracing::warn!(shard, "waiting: {what}"),
            ShardState::Stopped(why) => tracing::error!(shard, "stopped: {why}"),
            other => tracing::info!(shard, "{other}"),
        }
        *status = ShardStatus { shard, state, since: Instant::now() };
    }

    /// All states.
    pub fn all(&self) -> Vec<ShardStatus> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
