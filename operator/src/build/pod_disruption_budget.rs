//! How many workers may be evicted at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::input::Owned;
use super::{labels, metadata, names};

/// The `PodDisruptionBudget` of the Pipeline's workers, all revisions: one at a time, and one that does not work anyway
/// never holds up the draining of a node.
pub fn pod_disruption_budget(owned: &Owned) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata::of_pipeline(owned, names::disruption_budget(owned.name())),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(labels::workers(owned.name())),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            min_available: None,
        }),
        status: None,
    }
}
