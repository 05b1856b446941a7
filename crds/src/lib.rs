//! The Kubernetes API of Millstream: `Pipeline` and `PipelineAssignment` of `millstream.dev/v1alpha1`.
//!
//! The types here say what a manifest may look like; CEL rules in them say what its shape alone can decide, with
//! messages for people. What needs the chain to be compiled is checked by the worker crate's compiler.
//! The generated manifests in `crds/manifests/` are kept equal to these types by a test.

pub mod assignment;
pub mod definitions;
pub mod format;
pub mod kafka;
pub mod names;
pub mod pipeline;
pub mod report;
pub mod worker;

pub use assignment::{PipelineAssignment, PipelineAssignmentSpec, ShardAssignment};
pub use definitions::definitions;
pub use pipeline::{Pipeline, PipelineSpec, PipelineStatus};
