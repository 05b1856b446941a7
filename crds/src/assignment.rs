//! `PipelineAssignment`: which worker owns which shards. Written by the operator, watched by the workers.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which worker owns which shards of the Pipeline of the same name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "millstream.dev",
    version = "v1alpha1",
    kind = "PipelineAssignment",
    plural = "pipelineassignments",
    category = "millstream",
    namespaced
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineAssignmentSpec {
    /// The uid of the Pipeline, which stands in every header.
    pub pipeline_uid: String,
    /// Counts the changes of this assignment; a hand-over mark names it.
    pub generation: i64,
    /// Every shard, by number.
    pub shards: Vec<ShardAssignment>,
}

/// Who owns a shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardAssignment {
    /// The shard's number, from 0.
    pub shard: i32,
    /// The worker that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// During a move: the worker that prepares to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// During a move: the worker whose release the owner waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// The hash of the chain that the owner runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_hash: Option<String>,
    /// Whether the shard ever started: a header that is missing then is a loss, not a first start.
    #[serde(default)]
    pub started: bool,
}
