//! The workers' Role for the workers' `ServiceAccount`.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};

use super::input::Owned;
use super::{metadata, names};

/// The `RoleBinding` of the Pipeline's workers.
pub fn role_binding(owned: &Owned) -> RoleBinding {
    let name = names::worker(owned.name());
    RoleBinding {
        metadata: metadata::of_pipeline(owned, name.clone()),
        role_ref: RoleRef { api_group: "rbac.authorization.k8s.io".into(), kind: "Role".into(), name: name.clone() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name,
            namespace: Some(owned.namespace().to_owned()),
            api_group: None,
        }]),
    }
}
