//! The files of a revision: the manifest that its workers read, and the operator's CA.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::input::Owned;
use super::{metadata, names};

/// The key of the manifest.
pub const MANIFEST: &str = "pipeline.yaml";
/// The key of the CA that the operator's certificate comes from.
pub const OPERATOR_CA: &str = "operator-ca.crt";

/// The `ConfigMap` of the Pipeline's revision. Immutable: another content is another revision.
pub fn config_map(owned: &Owned) -> ConfigMap {
    ConfigMap {
        metadata: metadata::of_revision(owned, names::of_revision(owned.name(), owned.revision())),
        immutable: Some(true),
        data: Some(data(owned)),
        binary_data: None,
    }
}

/// The files.
pub(super) fn data(owned: &Owned) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANIFEST.to_owned(), owned.manifest().to_owned()),
        (OPERATOR_CA.to_owned(), owned.settings().operator_ca().to_owned()),
    ])
}
