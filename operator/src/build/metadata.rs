//! The metadata of what a Pipeline owns.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use millstream_crds::Pipeline;

use super::input::Owned;
use super::labels;

/// The metadata of an object that lives as long as the Pipeline.
pub(super) fn of_pipeline(owned: &Owned, name: String) -> ObjectMeta {
    metadata(owned, name, labels::common(owned.name()))
}

/// The metadata of an object that belongs to a revision.
pub(super) fn of_revision(owned: &Owned, name: String) -> ObjectMeta {
    metadata(owned, name, labels::of_revision(owned.name(), owned.revision()))
}

fn metadata(owned: &Owned, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(owned.namespace().to_owned()),
        labels: Some(labels),
        owner_references: Some(vec![owner(owned)]),
        ..ObjectMeta::default()
    }
}

/// Kubernetes deletes what a Pipeline controls after it.
fn owner(owned: &Owned) -> OwnerReference {
    OwnerReference {
        api_version: Pipeline::api_version(&()).into_owned(),
        kind: Pipeline::kind(&()).into_owned(),
        name: owned.name().to_owned(),
        uid: owned.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
