//! The pod of a worker.
//!
//! A pod keeps nothing: all it needs is mounted, and it can be deleted at any time. It meets Kubernetes' Pod Security
//! Standard "restricted"; which user it runs as is the image's matter, so that platforms that choose one can.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
    ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile,
    SecretVolumeSource, SecurityContext, ServiceAccountTokenProjection, TopologySpreadConstraint, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use millstream_crds::report::TOKEN_AUDIENCE;

use super::input::Owned;
use super::revision::Revision;
use super::{config_map, labels, names};

/// The name of the container.
pub const CONTAINER: &str = "worker";
/// The port of metrics and probes.
pub(super) const METRICS_PORT: i32 = 9464;
/// Its name.
pub(super) const METRICS_PORT_NAME: &str = "metrics";

const MANIFEST_FOLDER: &str = "/etc/millstream/pipeline";
const CA_FOLDER: &str = "/etc/millstream/operator";
const CA_FILE: &str = "ca.crt";
const SECRETS_FOLDER: &str = "/etc/millstream/secrets";
const TOKEN_FOLDER: &str = "/var/run/secrets/millstream";
const TOKEN_FILE: &str = "token";
const TOKEN_SECONDS: i64 = 3600;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The pods of a revision.
pub(super) fn template(owned: &Owned, revision: &Revision) -> PodTemplateSpec {
    let mut labels = owned.pod().labels.clone();
    labels.extend(labels::of_revision(owned.name(), revision));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some_fields(&owned.pod().annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(owned, revision)),
    }
}

fn spec(owned: &Owned, revision: &Revision) -> PodSpec {
    let user = owned.pod();
    PodSpec {
        service_account_name: Some(names::worker(owned.name())),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(owned.grace_seconds()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        node_selector: some_fields(&user.node_selector),
        tolerations: Some(user.tolerations.clone()),
        priority_class_name: user.priority_class_name.clone(),
        topology_spread_constraints: Some([HOST, ZONE].map(|key| spread(owned, revision, key)).into()),
        containers: vec![container(owned, revision)],
        volumes: Some(volumes(owned, revision)),
        ..PodSpec::default()
    }
}

fn container(owned: &Owned, revision: &Revision) -> Container {
    let settings = owned.settings();
    Container {
        name: CONTAINER.into(),
        image: Some(settings.image().into()),
        image_pull_policy: Some(settings.pull_policy().as_str().into()),
        args: Some(arguments(owned, revision)),
        env: Some(environment(owned)),
        ports: Some(vec![ContainerPort {
            name: Some(METRICS_PORT_NAME.into()),
            container_port: METRICS_PORT,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        // The first start compiles the pipeline; a worker that cannot even answer then is started again.
        startup_probe: Some(Probe { period_seconds: Some(1), failure_threshold: Some(120), ..probe("/healthz") }),
        liveness_probe: Some(liveness()),
        readiness_probe: Some(Probe { period_seconds: Some(5), failure_threshold: Some(1), ..probe("/readyz") }),
        resources: Some(owned.pod().resources.clone()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        // So the pod's status says why the last process ended.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts(owned)),
        ..Container::default()
    }
}

/// The command line, as the image's entry point takes it.
fn arguments(owned: &Owned, revision: &Revision) -> Vec<String> {
    let options = [
        ("--manifest", format!("{MANIFEST_FOLDER}/{}", config_map::MANIFEST)),
        ("--uid", owned.uid().into()),
        ("--revision", revision.to_string()),
        ("--namespace", owned.namespace().into()),
        ("--assignment", names::assignment(owned.name())),
        ("--worker", "$(POD_NAME)".into()),
        ("--operator", owned.settings().operator_url().into()),
        ("--operator-ca", format!("{CA_FOLDER}/{CA_FILE}")),
        ("--token", format!("{TOKEN_FOLDER}/{TOKEN_FILE}")),
        ("--grace", owned.grace_seconds().to_string()),
        ("--secrets", SECRETS_FOLDER.into()),
        ("--metrics", format!(":{METRICS_PORT}")),
        ("--log-format", "json".into()),
    ];
    let options = options.into_iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once("worker".to_owned()).chain(options).collect()
}

/// Kubernetes copies the node's zone onto the pod; where it does not, the rack is empty.
fn environment(owned: &Owned) -> Vec<EnvVar> {
    let zone = format!("metadata.labels['{ZONE}']");
    let mut variables = vec![from_field("POD_NAME", "metadata.name"), from_field("MILLSTREAM_RACK", &zone)];
    variables.extend(owned.settings().log().map(|filter| EnvVar {
        name: "MILLSTREAM_LOG".into(),
        value: Some(filter.into()),
        value_from: None,
    }));
    variables
}

fn from_field(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { api_version: Some("v1".into()), field_path: field.into() };
    let value_from = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(value_from) }
}

/// A process that does not answer hangs, and will not use the time that one gets to hand its shards over.
fn liveness() -> Probe {
    Probe {
        period_seconds: Some(10),
        failure_threshold: Some(3),
        termination_grace_period_seconds: Some(5),
        ..probe("/healthz")
    }
}

fn probe(path: &str) -> Probe {
    let http_get = HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::String(METRICS_PORT_NAME.into()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(http_get), timeout_seconds: Some(5), ..Probe::default() }
}

/// Spread as far as the nodes allow, a revision for itself: the old one goes away.
fn spread(owned: &Owned, revision: &Revision, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(labels::workers_of_revision(owned.name(), revision)),
        ..TopologySpreadConstraint::default()
    }
}

/// The manifest, the operator's CA, the token to show to it, and the Secrets.
fn volumes(owned: &Owned, revision: &Revision) -> Vec<Volume> {
    let manifest = file_of_revision(owned, revision, config_map::MANIFEST, config_map::MANIFEST);
    let ca = file_of_revision(owned, revision, config_map::OPERATOR_CA, CA_FILE);
    let mut volumes = vec![
        Volume { name: "pipeline".into(), config_map: Some(manifest), ..Volume::default() },
        Volume { name: "operator-ca".into(), config_map: Some(ca), ..Volume::default() },
        Volume { name: "operator-token".into(), projected: Some(token()), ..Volume::default() },
    ];
    volumes.extend(owned.secrets().enumerate().map(|(index, secret)| Volume {
        name: secret_volume(index),
        secret: Some(secret_files(secret)),
        ..Volume::default()
    }));
    volumes
}

/// One key of the revision's `ConfigMap` as a file.
fn file_of_revision(owned: &Owned, revision: &Revision, key: &str, path: &str) -> ConfigMapVolumeSource {
    ConfigMapVolumeSource {
        name: names::of_revision(owned.name(), revision),
        items: Some(vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]),
        ..ConfigMapVolumeSource::default()
    }
}

/// A token that only the operator takes.
fn token() -> ProjectedVolumeSource {
    let projection = ServiceAccountTokenProjection {
        audience: Some(TOKEN_AUDIENCE.into()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: TOKEN_FILE.into(),
    };
    let source = VolumeProjection { service_account_token: Some(projection), ..VolumeProjection::default() };
    ProjectedVolumeSource { sources: Some(vec![source]), default_mode: None }
}

/// Optional, since a missing Secret would keep the pod from starting without a word: the worker says what is missing.
fn secret_files(secret: &str) -> SecretVolumeSource {
    SecretVolumeSource { secret_name: Some(secret.into()), optional: Some(true), ..SecretVolumeSource::default() }
}

/// Secrets have longer names than volumes may have.
fn secret_volume(index: usize) -> String {
    format!("secret-{index}")
}

fn mounts(owned: &Owned) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("pipeline".into(), MANIFEST_FOLDER.into()),
        mount("operator-ca".into(), CA_FOLDER.into()),
        mount("operator-token".into(), TOKEN_FOLDER.into()),
    ];
    let secrets = owned.secrets().enumerate();
    mounts.extend(secrets.map(|(index, secret)| mount(secret_volume(index), format!("{SECRETS_FOLDER}/{secret}"))));
    mounts
}

fn mount(name: String, folder: String) -> VolumeMount {
    VolumeMount { name, mount_path: folder, read_only: Some(true), ..VolumeMount::default() }
}

/// Nothing where there is nothing, since the API server does not store empty maps either.
fn some_fields(fields: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!fields.is_empty()).then(|| fields.clone())
}
