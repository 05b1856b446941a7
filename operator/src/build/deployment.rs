//! The workers of a revision.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::input::Owned;
use super::{labels, metadata, names, pod};

/// After this long without progress, Kubernetes says that the pods do not become ready.
const PROGRESS_SECONDS: i32 = 600;

/// The Deployment of the Pipeline's revision. How many workers there are is decided elsewhere.
pub fn deployment(owned: &Owned, replicas: i32) -> Deployment {
    let revision = owned.revision();
    Deployment {
        metadata: metadata::of_revision(owned, names::of_revision(owned.name(), revision)),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: labels::workers_of_revision(owned.name(), revision),
            strategy: Some(strategy()),
            revision_history_limit: Some(0),
            progress_deadline_seconds: Some(PROGRESS_SECONDS),
            template: pod::template(owned, revision),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// A revision never changes its pods. Should somebody else do so, a new pod comes before an old one goes.
fn strategy() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}
