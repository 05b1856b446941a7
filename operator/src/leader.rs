//! Which replica leads: a Lease decides. The leader also labels its own pod, by which the Service of the reports finds
//! it; the others are ready to lead, but take no reports.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use serde_json::json;

use crate::api::{ApiServer, Verb};
use crate::settings::Settings;

/// How long a Lease holds, in seconds: a killed leader is replaced within this time and a little more.
const LEASE_SECONDS: u64 = 8;
/// How long before its end it is renewed, in seconds.
const RENEW_SECONDS: u64 = 4;
/// The label of the leader's pod.
pub const LEADER_LABEL: &str = "millstream.dev/leader";

/// The Lease's manager.
pub async fn candidate(
    server: &ApiServer,
    settings: &Settings,
) -> Result<LeaseManager, kube_lease_manager::LeaseManagerError> {
    LeaseManagerBuilder::new(server.client(), &settings.lease_name)
        .with_namespace(&settings.namespace)
        .with_identity(&settings.pod)
        .with_field_manager(format!("millstream-operator-{}", settings.pod))
        .with_duration(LEASE_SECONDS)
        .with_grace(RENEW_SECONDS)
        .build()
        .await
}

/// Labels this replica's pod as the leader's, and takes the label from the others.
pub async fn label(server: &ApiServer, settings: &Settings) -> Result<(), kube::Error> {
    let api = server.namespaced::<Pod>(&settings.namespace);
    let labelled = ListParams::default().labels(&format!("{LEADER_LABEL}=true"));
    for pod in server.ask::<Pod, _>(Verb::List, api.list(&labelled)).await? {
        let name = pod.metadata.name.unwrap_or_default();
        if name != settings.pod {
            set_label(server, &api, &name, None).await?;
        }
    }
    set_label(server, &api, &settings.pod, Some("true")).await
}

async fn set_label(server: &ApiServer, api: &Api<Pod>, pod: &str, value: Option<&str>) -> Result<(), kube::Error> {
    let labels = BTreeMap::from([(LEADER_LABEL, value)]);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"metadata": {"labels": labels}})));
    match server.ask::<Pod, _>(Verb::Patch, api.patch(pod, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        // Gone meanwhile, or, outside a cluster, never there.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
