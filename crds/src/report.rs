//! What a worker tells the operator, and what it is told back. JSON over HTTPS; not a Kubernetes object.
//!
//! Reports are about speed, never about safety: a report that is lost, late or repeated can delay a decision or cause a
//! needless move, and Kafka's fence keeps both harmless.

use serde::{Deserialize, Serialize};

/// Where workers send reports.
pub const REPORT_PATH: &str = "/v1/reports";
/// The audience that a worker's projected token must have.
pub const TOKEN_AUDIENCE: &str = "millstream-operator";

/// What a worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReport {
    /// The Pipeline's namespace.
    pub namespace: String,
    /// The Pipeline's name.
    pub pipeline: String,
    /// The Pipeline's uid, as the worker was started with it.
    pub uid: String,
    /// The worker's name: its pod's.
    pub worker: String,
    /// The revision that it runs.
    pub revision: String,
    /// The hash of its chain.
    pub chain_hash: String,
    /// The process: another one after a restart of the container.
    pub run: String,
    /// Counts the reports of this process, from 1.
    pub sequence: u64,
    /// The generation of the assignment that it follows; 0 before it has seen any.
    pub generation: i64,
    /// When the next report comes at the latest, in milliseconds from now.
    pub next_report_millis: u64,
    /// Whether it was asked to end.
    pub leaving: bool,
    /// The number of shards, once the state topic is there.
    pub shard_count: Option<u32>,
    /// Every shard that it holds, takes, prepares, or has failed with.
    pub shards: Vec<ShardReport>,
    /// Records a second, read.
    pub records_per_second: f64,
    /// The shares of time that its shards worked and did not wait, added up: more than 1 where several work at once.
    pub busy_ratio: f64,
    /// Why it cannot work, if that concerns no single shard.
    pub error: Option<String>,
}

/// A shard at a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// The shard.
    pub shard: u32,
    /// What it is doing.
    pub phase: ShardPhase,
    /// What it waits for or why it stopped, for a person.
    pub message: Option<String>,
    /// The sequence of the last checkpoint that this process made; 0 if none.
    pub checkpoint: u64,
    /// When that was, in milliseconds since 1970.
    pub checkpoint_millis: Option<i64>,
    /// Records a second, read.
    pub records_per_second: f64,
    /// The share of time that it worked and did not wait, 0 to 1.
    pub busy_ratio: f64,
}

/// What a shard does at a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ShardPhase {
    /// Prepares to take it: not ready yet.
    #[default]
    Preparing,
    /// Prepared: it can be taken at once.
    Prepared,
    /// Is being taken over.
    Starting,
    /// Waits for something outside, named in the message.
    Waiting,
    /// Processes records.
    Running,
    /// Has read a batch to its ends.
    Complete,
    /// Was let go.
    Released,
    /// Has stopped and needs a person; the message says why.
    Stopped,
}

impl ShardPhase {
    /// Whether the worker was the last to take the shard over, as far as it knows.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Waiting | Self::Running | Self::Complete)
    }
}

/// The operator's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportAnswer {
    /// The newest generation of the Pipeline's assignment that the operator has written.
    pub generation: Option<i64>,
}
