//! `Pipeline`: what a user writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::{Column, Format};
use crate::kafka::{KafkaConnection, KafkaSink, KafkaSource};
use crate::worker::WorkerTemplate;

/// A pipeline from Kafka through transforms to sinks, run exactly once.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "millstream.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "msp",
    category = "millstream",
    namespaced,
    status = "PipelineStatus"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineSpec {
    /// Names everything of this pipeline in Kafka: its group, its transactional ids, its internal topics.
    /// Defaults to `<namespace>.<name>`; cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// The Kafka clusters in use.
    pub connections: Vec<Connection>,
    /// Where records come from.
    pub sources: Vec<Source>,
    /// The steps between sources and sinks, each a named node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Transform>,
    /// Where records go.
    pub sinks: Vec<Sink>,
    /// What is promised about output.
    #[serde(default)]
    pub delivery: Delivery,
    /// When output, state and positions are committed.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What happens to a record that cannot be processed.
    #[serde(default)]
    pub errors: Errors,
    /// Runs for ever, or up to the ends found at the first start.
    #[serde(default)]
    pub mode: Mode,
    /// The number of shards; fixed at the first start. Defaults to the partitions of the largest source topic, at
    /// most 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// A fixed number of workers. Not together with `scaling`; neither means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// A number of workers that follows the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Stops all workers and keeps everything else.
    #[serde(default)]
    pub suspend: bool,
    /// Takes over what a pipeline of another uid left in Kafka under this application id.
    #[serde(default)]
    pub adopt: bool,
    /// Whether internal topics are deleted with the Pipeline.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long a worker may be silent before its shards are given to others, as a Go duration.
    #[serde(default = "defaults::worker_timeout")]
    pub worker_timeout: String,
    /// Settings of the worker pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerTemplate>,
}

/// A named connection to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name that sources and sinks refer to. The only connection may go unnamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaConnection>,
}

/// A named source of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The node's name; its output is a table of this name.
    pub name: String,
    /// Kafka topics to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// How a record's value is read.
    pub format: Format,
    /// The columns of a record's value. Not for `Raw`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<Column>,
    /// What happens when the position to go on from is gone: records were deleted, or the topic is another one.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
}

/// A named step. Exactly one of `filter`, `set`, `select`, `drop`, `rename`, `sql`, `unnest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transform {
    /// The node's name; its output is a table of this name.
    pub name: String,
    /// The nodes whose output is the input of this one; several are united. Defaults to the transform above, for the
    /// first one to the only source. Not with `sql`, which names its input in FROM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    /// Keeps the rows for which this SQL expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Sets columns to the values of expressions, which all see the incoming row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<SetColumn>>,
    /// Keeps these columns, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Vec<String>>,
    /// Removes these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<String>>,
    /// Renames columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<Vec<RenameColumn>>,
    /// A SELECT over one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Makes a row of every element of a list column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnest: Option<Unnest>,
}

/// A column and the expression that gives its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetColumn {
    /// The column to set; a new name adds a column at the end.
    pub column: String,
    /// A SQL expression over the incoming row.
    pub expression: String,
}

/// A column and its new name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameColumn {
    /// The column's present name.
    pub column: String,
    /// Its new name.
    pub to: String,
}

/// A list column whose elements become rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unnest {
    /// The list column. Each row is repeated for each element, which takes the column's place; rows whose list is
    /// empty or null are dropped unless `keepEmpty`.
    pub column: String,
    /// Keeps a row with null where the list is empty or null.
    #[serde(default)]
    pub keep_empty: bool,
}

/// A named destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// The node's name.
    pub name: String,
    /// The nodes whose output goes here. Defaults to the last transform, without transforms to the only source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    /// A Kafka topic to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
    /// How a record's value is written.
    pub format: Format,
}

/// What is promised about output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// Output, positions and state are committed in one transaction.
    #[default]
    ExactlyOnce,
    /// Output may be repeated after a fault, and is visible without waiting for a commit.
    AtLeastOnce,
}

/// When output, state and positions are committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// The time between two checkpoints, as a Go duration between 10ms and 5m.
    #[serde(default = "defaults::checkpoint_interval")]
    pub interval: String,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { interval: defaults::checkpoint_interval() }
    }
}

/// What happens to a record that cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Errors {
    /// Stop before the record, leave it out, or write it to the dead-letter topic.
    #[serde(default)]
    pub policy: ErrorPolicy,
    /// Where bad records go with the policy `DeadLetter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// What happens to a bad record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErrorPolicy {
    /// The shard stops before the record; the status says which it is.
    #[default]
    Fail,
    /// The record is counted and left out.
    Skip,
    /// The record is written to the dead-letter topic in the same transaction.
    DeadLetter,
}

/// The dead-letter topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetter {
    /// The connection's name; needed where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The topic.
    pub topic: String,
}

/// Runs for ever, or up to the ends found at the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Runs until it is stopped.
    #[default]
    Streaming,
    /// Runs up to the ends fixed at the first start, and is then complete.
    Batch,
}

/// What happens when the position to go on from is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDataLoss {
    /// The shard stops and says what is gone.
    #[default]
    Fail,
    /// Goes on from the earliest record there is.
    Earliest,
    /// Goes on from the end.
    Latest,
}

/// A number of workers that follows the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// The least number of workers; 0 lets an idle pipeline rest.
    #[serde(default = "defaults::min_replicas")]
    pub min_replicas: i32,
    /// The greatest number of workers.
    pub max_replicas: i32,
    /// The share of a worker's capacity to plan for, in percent.
    #[serde(default = "defaults::target_utilization")]
    pub target_utilization_percent: i32,
    /// In what time a backlog should be worked off, as a Go duration.
    #[serde(default = "defaults::catch_up")]
    pub catch_up: String,
}

/// Whether internal topics outlive the Pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Internal topics stay.
    #[default]
    Retain,
    /// Internal topics are deleted with the Pipeline.
    Delete,
}

/// What the operator has observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// `Ready`, `Reconciling`, `Stalled`, and `Complete` for Batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Workers there are, for the scale subresource.
    #[serde(default)]
    pub replicas: i32,
    /// The label selector of the workers, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The revision that owns the shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_revision: Option<String>,
    /// The number of shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// Records between the checkpoints and the last stable offsets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Records a second, read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<i64>,
    /// When a shard last made a checkpoint, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<String>,
    /// The last scaling decision with its arithmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scaling: Option<String>,
}

/// Defaults that serde needs as functions.
mod defaults {
    pub(super) fn worker_timeout() -> String {
        "5s".into()
    }
    pub(super) fn checkpoint_interval() -> String {
        "500ms".into()
    }
    pub(super) fn min_replicas() -> i32 {
        1
    }
    pub(super) fn target_utilization() -> i32 {
        70
    }
    pub(super) fn catch_up() -> String {
        "2m".into()
    }
}
