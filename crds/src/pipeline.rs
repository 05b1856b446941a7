//! `Pipeline`: what a user writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::{Column, Format};
use crate::kafka::{KafkaConnection, KafkaSink, KafkaSource};
use crate::names;
use crate::worker::WorkerTemplate;

/// A pipeline from Kafka through transforms to sinks, run exactly once.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "millstream.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "msp",
    category = "millstream",
    namespaced,
    doc = "A pipeline from Kafka through transforms to sinks, run exactly once.",
    derive = "PartialEq",
    status = "PipelineStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether all shards run, or a Batch is complete."
    ),
    printcolumn(
        name = "REPLICAS",
        type_ = "integer",
        json_path = ".status.replicas",
        description = "Workers there are."
    ),
    printcolumn(
        name = "LAG",
        type_ = "integer",
        json_path = ".status.lag",
        description = "Records between the checkpoints and the ends."
    ),
    printcolumn(name = "RATE", type_ = "integer", json_path = ".status.rate", description = "Records read a second."),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the Pipeline was made."
    ),
    validation = (
        "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "a Pipeline's name has at most 63 lower-case letters, digits and '-', since it names workers and topics"
    )
)]
#[x_kube(validation = (
    "self.connections.size() == 1 || self.connections.all(c, has(c.name))",
    "every connection needs a name where there are several"
))]
#[x_kube(validation = (
    "self.connections.all(c, !has(c.name) || self.connections.exists_one(d, has(d.name) && d.name == c.name))",
    "every connection needs a name of its own"
))]
#[x_kube(validation = (
    "self.sources.all(n, self.sources.exists_one(m, m.name == n.name) && !self.sinks.exists(m, m.name == n.name)) \
     && self.sinks.all(n, self.sinks.exists_one(m, m.name == n.name))",
    "every source and every sink needs a name of its own"
))]
#[x_kube(validation = (
    "!has(self.transforms) || self.transforms.all(n, self.transforms.exists_one(m, m.name == n.name) \
     && !self.sources.exists(m, m.name == n.name) && !self.sinks.exists(m, m.name == n.name))",
    "every transform needs a name of its own, which no source and no sink has"
))]
#[x_kube(validation = (
    "!(has(self.replicas) && has(self.scaling))",
    "replicas and scaling exclude each other: give a fixed number of workers, or bounds for one that follows the load"
))]
#[x_kube(validation = (
    "has(self.applicationId) == has(oldSelf.applicationId) \
     && (!has(self.applicationId) || self.applicationId == oldSelf.applicationId)",
    "applicationId cannot be set, changed or removed later: it names what this pipeline has in Kafka"
))]
#[x_kube(validation = (
    "self.mode == oldSelf.mode",
    "mode cannot be changed: the ends of a Batch are fixed at its first start; make another Pipeline"
))]
#[x_kube(validation = (
    "!has(oldSelf.shards) || !has(self.shards) || self.shards == oldSelf.shards",
    "shards cannot be changed: every position in Kafka belongs to one of them; leave it out for the number that Kafka has"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineSpec {
    /// Names everything of this pipeline in Kafka: its group, its transactional ids, its internal topics.
    /// Defaults to `<namespace>.<name>`; cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = names::APPLICATION_ID_LENGTH), regex(pattern = names::APPLICATION_ID))]
    pub application_id: Option<String>,
    /// The Kafka clusters in use.
    #[schemars(length(min = 1, max = 16))]
    pub connections: Vec<Connection>,
    /// Where records come from.
    #[schemars(length(min = 1, max = 32))]
    pub sources: Vec<Source>,
    /// The steps between sources and sinks, each a named node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub transforms: Vec<Transform>,
    /// Where records go.
    #[schemars(length(min = 1, max = 64))]
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
    #[schemars(range(min = 1, max = 1024))]
    pub shards: Option<i32>,
    /// A fixed number of workers. Not together with `scaling`; neither means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
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
    #[schemars(length(max = names::DURATION_LENGTH), regex(pattern = names::DURATION))]
    #[x_kube(validation = names::duration_between("1s", "1h", "5s"))]
    pub worker_timeout: String,
    /// Settings of the worker pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerTemplate>,
}

/// A named connection to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.kafka)", "a connection has exactly one kind: kafka"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name that sources and sinks refer to. The only connection may go unnamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = names::CONNECTION))]
    pub name: Option<String>,
    /// A Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaConnection>,
}

/// A named source of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.kafka)", "a source has exactly one kind: kafka"))]
#[x_kube(validation = (
    "self.format.type != 'Raw' || !has(self.schema) || self.schema.size() == 0",
    "a source of format Raw has no schema: its one column is value"
))]
#[x_kube(validation = (
    "self.format.type == 'Raw' || (has(self.schema) && self.schema.size() > 0)",
    "a source needs a schema unless its format is Raw"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The node's name; its output is a table of this name.
    #[schemars(length(min = 1, max = names::NODE_LENGTH), regex(pattern = names::NODE))]
    pub name: String,
    /// Kafka topics to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// How a record's value is read.
    pub format: Format,
    /// The columns of a record's value. Not for `Raw`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub schema: Vec<Column>,
    /// What happens when the position to go on from is gone: records were deleted, or the topic is another one.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
}

/// A named step. Exactly one of `filter`, `set`, `select`, `drop`, `rename`, `sql`, `unnest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "[has(self.filter), has(self.set), has(self.select), has(self.drop), has(self.rename), has(self.sql), \
     has(self.unnest)].filter(step, step).size() == 1",
    "a transform has exactly one step: filter, set, select, drop, rename, sql or unnest"
))]
#[x_kube(validation = (
    "!(has(self.sql) && has(self.from))",
    "from does not go with sql, which names its input in FROM"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transform {
    /// The node's name; its output is a table of this name.
    #[schemars(length(min = 1, max = names::NODE_LENGTH), regex(pattern = names::NODE))]
    pub name: String,
    /// The nodes whose output is the input of this one; several are united. Defaults to the transform above, for the
    /// first one to the only source. Not with `sql`, which names its input in FROM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = names::NODE_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub from: Option<Vec<String>>,
    /// Keeps the rows for which this SQL expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub filter: Option<String>,
    /// Sets columns to the values of expressions, which all see the incoming row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub set: Option<Vec<SetColumn>>,
    /// Keeps these columns, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 255)))]
    pub select: Option<Vec<String>>,
    /// Removes these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub drop: Option<Vec<String>>,
    /// Renames columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub rename: Option<Vec<RenameColumn>>,
    /// A SELECT over one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
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
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// A SQL expression over the incoming row.
    #[schemars(length(min = 1, max = 32768))]
    pub expression: String,
}

/// A column and its new name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenameColumn {
    /// The column's present name.
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// Its new name.
    #[schemars(length(min = 1, max = 255))]
    pub to: String,
}

/// A list column whose elements become rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unnest {
    /// The list column. Each row is repeated for each element, which takes the column's place; rows whose list is
    /// empty or null are dropped unless `keepEmpty`.
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// Keeps a row with null where the list is empty or null.
    #[serde(default)]
    pub keep_empty: bool,
}

/// A named destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("has(self.kafka)", "a sink has exactly one kind: kafka"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// The node's name.
    #[schemars(length(min = 1, max = names::NODE_LENGTH), regex(pattern = names::NODE))]
    pub name: String,
    /// The nodes whose output goes here. Defaults to the last transform, without transforms to the only source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = names::NODE_LENGTH)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// The time between two checkpoints, as a Go duration between 10ms and 5m.
    #[serde(default = "defaults::checkpoint_interval")]
    #[schemars(length(max = names::DURATION_LENGTH), regex(pattern = names::DURATION))]
    #[x_kube(validation = names::duration_between("10ms", "5m", "500ms"))]
    pub interval: String,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { interval: defaults::checkpoint_interval() }
    }
}

/// What happens to a record that cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(self.policy == 'DeadLetter') == has(self.deadLetter)",
    "the policy DeadLetter and deadLetter with its topic go together"
))]
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
    #[schemars(length(max = 63))]
    pub connection: Option<String>,
    /// The topic.
    #[schemars(length(min = 1, max = names::TOPIC_LENGTH), regex(pattern = names::TOPIC))]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.minReplicas <= self.maxReplicas",
    "minReplicas must not be greater than maxReplicas"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scaling {
    /// The least number of workers; 0 lets an idle pipeline rest.
    #[serde(default = "defaults::min_replicas")]
    #[schemars(range(min = 0, max = 1024))]
    pub min_replicas: i32,
    /// The greatest number of workers.
    #[schemars(range(min = 1, max = 1024))]
    pub max_replicas: i32,
    /// The share of a worker's capacity to plan for, in percent.
    #[serde(default = "defaults::target_utilization")]
    #[schemars(range(min = 1, max = 100))]
    pub target_utilization_percent: i32,
    /// In what time a backlog should be worked off, as a Go duration.
    #[serde(default = "defaults::catch_up")]
    #[schemars(length(max = names::DURATION_LENGTH), regex(pattern = names::DURATION))]
    #[x_kube(validation = names::duration_between("1s", "24h", "2m"))]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// `Ready`, `Reconciling`, `Stalled`, and `Complete` for Batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
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
