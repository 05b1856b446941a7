//! Where the workers' metrics are found.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::input::Owned;
use super::{labels, metadata, names, pod};

/// The Service of the workers' metrics. Without an address of its own, since each worker is asked for itself; with
/// workers that are not ready, since those are looked at most.
pub fn service(owned: &Owned) -> Service {
    Service {
        metadata: metadata::of_pipeline(owned, names::metrics(owned.name())),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: labels::workers(owned.name()).match_labels,
            ports: Some(vec![ServicePort {
                name: Some(pod::METRICS_PORT_NAME.into()),
                port: pod::METRICS_PORT,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::String(pod::METRICS_PORT_NAME.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
