//! What the workers may do at the API server: read their own assignment, and nothing else.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::Resource;
use millstream_crds::PipelineAssignment;

use super::input::Owned;
use super::{metadata, names};

/// The Role of the Pipeline's workers.
pub fn role(owned: &Owned) -> Role {
    Role {
        metadata: metadata::of_pipeline(owned, names::worker(owned.name())),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![PipelineAssignment::group(&()).into_owned()]),
            resources: Some(vec![PipelineAssignment::plural(&()).into_owned()]),
            resource_names: Some(vec![names::assignment(owned.name())]),
            verbs: ["get", "list", "watch"].map(str::to_owned).into(),
            non_resource_urls: None,
        }]),
    }
}
