//! Who the workers are to the API server.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::input::Owned;
use super::{metadata, names};

/// The `ServiceAccount` of the Pipeline's workers.
pub fn service_account(owned: &Owned) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata::of_pipeline(owned, names::worker(owned.name())),
        // Pods that are not ours get no token by naming it.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
