//! What is known when shards are assigned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_crds::report::ShardPhase;

use super::quarantine::Verdict;

/// What is known about a pipeline's workers and shards at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The moment, since the epoch of all times here.
    pub now: Duration,
    /// How many shards there are; 0 as long as nobody knows.
    pub shards: u32,
    /// The revision whose workers are to have the shards. A new one is named here once enough of its workers are ready:
    /// from then on all shards go to those that are.
    pub revision: String,
    /// Every worker that exists, by its name. An owner that is not among them is lost.
    pub workers: BTreeMap<String, Worker>,
    /// The load of shards: the share of time that each worked, from 0 to 1. One that is missing is unknown.
    pub loads: BTreeMap<u32, f64>,
    /// Since when the moves under way stand as they do; see [`PendingMoves`](super::pending::PendingMoves).
    pub pending: BTreeMap<u32, Pending>,
    /// The shards that took their workers down.
    pub verdict: Verdict,
    /// Whether only shards without an owner are given away: the operator may be cut off.
    pub hold: bool,
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// What it can be relied upon for.
    pub standing: Standing,
    /// Why, for people; it follows the worker's name: "is lost: its pod has ended".
    pub why: String,
    /// The revision that it runs.
    pub revision: String,
    /// The hash of its chain, once it has reported.
    pub chain_hash: Option<String>,
    /// Whether it is to stay: one that is not is drained before it is removed.
    pub wanted: bool,
    /// The newest generation that it follows, by its last report.
    pub generation: i64,
    /// What it does with shards, by its last report.
    pub shards: BTreeMap<u32, ShardPhase>,
}

/// What a worker can be relied upon for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It keeps its shards and gets others.
    Ready,
    /// It keeps its shards, and gets none: nobody knows how it is.
    #[default]
    Unsure,
    /// It is about to end: its shards are handed over.
    Leaving,
    /// Its shards are given away at once.
    Lost,
}

/// Since when a move under way stands as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The moment.
    pub since: Duration,
    /// The generation: reports of workers that follow an older one tell of something else.
    pub generation: i64,
}

impl View {
    /// Whether a worker is not there any more, or as good as.
    pub fn is_lost(&self, worker: &str) -> bool {
        self.workers.get(worker).is_none_or(|worker| worker.standing == Standing::Lost)
    }

    /// Whether a shard is quarantined.
    pub fn is_quarantined(&self, shard: u32) -> bool {
        self.verdict.quarantined.contains_key(&shard)
    }

    /// Whether a shard is quarantined and not yet to be given to anybody.
    pub fn is_resting(&self, shard: u32) -> bool {
        self.verdict.quarantined.get(&shard).is_some_and(|quarantine| self.now < quarantine.until)
    }

    /// The shards that are told apart by being spread.
    pub fn suspects(&self) -> BTreeSet<u32> {
        self.verdict.suspicions.iter().flat_map(|suspicion| suspicion.shards.iter().copied()).collect()
    }
}

impl Worker {
    /// How well it suits as a home of shards; ordered. It stays, then it runs the right revision, then it is wanted.
    pub fn fitness(&self, revision: &str) -> Fitness {
        Fitness {
            stays: self.standing != Standing::Leaving,
            of_revision: self.revision == revision,
            wanted: self.wanted,
        }
    }

    /// What it does with a shard, unless its report is older than `generation`.
    pub fn phase(&self, shard: u32, generation: i64) -> Option<ShardPhase> {
        self.shards.get(&shard).copied().filter(|_| self.generation >= generation)
    }
}

/// How well a worker suits as a home of shards. The order of the fields is the order of what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fitness {
    /// It is not about to end.
    pub stays: bool,
    /// It runs the revision that shards are to be on.
    pub of_revision: bool,
    /// It is not one too many.
    pub wanted: bool,
}
