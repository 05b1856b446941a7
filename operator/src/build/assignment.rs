//! The assignment, before anything is assigned.

use millstream_crds::{PipelineAssignment, PipelineAssignmentSpec};

use super::input::Owned;
use super::{metadata, names};

/// The first `PipelineAssignment` of a Pipeline: workers can watch it before the number of shards is known. To be
/// created where there is none, never applied over one that is there.
pub fn assignment(owned: &Owned) -> PipelineAssignment {
    PipelineAssignment {
        metadata: metadata::of_pipeline(owned, names::assignment(owned.name())),
        spec: PipelineAssignmentSpec { pipeline_uid: owned.uid().to_owned(), generation: 0, shards: Vec::new() },
    }
}
