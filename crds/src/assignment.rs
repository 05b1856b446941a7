//! `PipelineAssignment`: which worker owns which shards. Written by the operator, watched by the workers.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which worker owns which shards of the Pipeline of the same name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "millstream.dev",
    version = "v1alpha1",
    kind = "PipelineAssignment",
    plural = "pipelineassignments",
    category = "millstream",
    namespaced,
    doc = "Which worker owns which shards of the Pipeline of the same name.",
    derive = "PartialEq",
    printcolumn(
        name = "GENERATION",
        type_ = "integer",
        json_path = ".spec.generation",
        description = "Counts the changes of the assignment."
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the assignment was made."
    )
)]
#[x_kube(validation = (
    "self.pipelineUid == oldSelf.pipelineUid",
    "pipelineUid cannot be changed: another Pipeline has another assignment"
))]
#[x_kube(validation = (
    "self.generation >= oldSelf.generation",
    "generation never goes back: workers tell by it which of two assignments is newer"
))]
#[serde(rename_all = "camelCase")]
pub struct PipelineAssignmentSpec {
    /// The uid of the Pipeline, which stands in every header.
    #[schemars(length(min = 1, max = 63))]
    pub pipeline_uid: String,
    /// Counts the changes of this assignment; a hand-over mark names it.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// Every shard, by number.
    #[schemars(length(max = 1024))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["shard".into()]))]
    pub shards: Vec<ShardAssignment>,
}

/// Who owns a shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardAssignment {
    /// The shard's number, from 0.
    #[schemars(range(min = 0, max = 1023))]
    pub shard: i32,
    /// The worker that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub owner: Option<String>,
    /// During a move: the worker that prepares to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub next: Option<String>,
    /// During a move: the worker whose release the owner waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub former: Option<String>,
    /// The hash of the chain that the owner runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub chain_hash: Option<String>,
    /// Whether the shard ever started: a header that is missing then is a loss, not a first start.
    #[serde(default)]
    pub started: bool,
}
