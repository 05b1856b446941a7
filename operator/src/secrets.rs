//! The Secrets that a Pipeline's connections refer to, read when the operator itself needs the connection.
//!
//! Read again every few seconds, so that a rotation is noticed; kept nowhere but with the observer or the remover that uses
//! them.

use k8s_openapi::api::core::v1::Secret;
use millstream::kafka::SecretStore;
use millstream::kafka::secrets::SecretValues;
use sha2::{Digest, Sha256};

use crate::api::{ApiServer, Verb};
use crate::build::Owned;

/// Secrets as they are now.
#[derive(Debug)]
pub struct Secrets {
    /// Their values.
    pub store: SecretStore,
    /// Tells one state of them from another; says nothing about the values.
    pub digest: String,
}

/// Reads the Secrets of a Pipeline; those that are missing are left out, and whoever needs them says so.
pub async fn read(server: &ApiServer, owned: &Owned) -> Result<Secrets, kube::Error> {
    let api = server.namespaced::<Secret>(owned.namespace());
    let (mut values, mut versions) = (SecretValues::new(), Sha256::new());
    for name in owned.secrets() {
        let Some(secret) = server.ask::<Secret, _>(Verb::Get, api.get_opt(name)).await? else { continue };
        versions.update(name.as_bytes());
        versions.update(secret.metadata.resource_version.unwrap_or_default().as_bytes());
        let keys = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        values.insert(name.to_owned(), keys.collect());
    }
    let digest = u64::from_be_bytes(versions.finalize().first_chunk().copied().unwrap_or_default());
    let digest = format!("{digest:016x}");
    Ok(Secrets { store: SecretStore::memory(values), digest })
}
