//! A Pipeline as the API server has it → what its workers need, checked.
//!
//! The schema has kept most mistakes out. What it cannot say about labels, tolerations and amounts, the API server
//! would say about a Deployment, where nobody looks; so it is said here, at the field of the Pipeline.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::{Resource, ResourceExt};
use millstream_crds::Pipeline;
use millstream_crds::kafka::KafkaConnection;
use millstream_crds::pipeline::{Connection, PipelineSpec};
use serde_json::json;

use super::problems::Problems;
use super::revision::Revision;
use super::settings::WorkerSettings;
use super::template::PodSettings;
use super::{canonical, duration, syntax};

/// Fields of the spec that steer the operator only.
const STEERING: [&str; 5] = ["deletionPolicy", "replicas", "scaling", "suspend", "workerTimeout"];
/// The most that a `ConfigMap` holds, in bytes.
const CONFIG_MAP_BYTES: usize = 1 << 20;
/// The time that a worker has for its end at least, in seconds.
const LEAST_GRACE_SECONDS: i64 = 30;
/// What it has besides two checkpoints: half of the grace period passes before it lets its shards go.
const GRACE_MARGIN: Duration = Duration::from_secs(20);

/// Why a Pipeline can have no workers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A field that the API server fills is empty.
    #[error("{field} is missing: only what an API server has stored can have workers")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The name cannot be a part of other names.
    #[error("metadata.name: `{name}` cannot name workers; use at most 63 lower-case letters, digits and `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// Not in Go's notation.
    #[error("{field}: `{text}` is not a duration; write a number with a unit, such as `500ms`, `10s` or `1m30s`")]
    Duration {
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// No Secret has such a name.
    #[error("{field}: `{name}` is not the name of a Secret; use lower-case letters, digits, `-` and `.`")]
    Secret {
        /// The field.
        field: String,
        /// What stands there.
        name: String,
    },
    /// The key of a label or an annotation is not one.
    #[error("{field}: `{key}` is not a key; write for example `team` or `example.com/team`")]
    Key {
        /// The field.
        field: &'static str,
        /// What stands there.
        key: String,
    },
    /// The key of a label or an annotation belongs to the operator or to Kubernetes.
    #[error("{field}: `{key}` is set by the operator; use another key")]
    Reserved {
        /// The field.
        field: &'static str,
        /// The key.
        key: String,
    },
    /// No label has such a value.
    #[error(
        "{field}: `{value}`, the value of `{key}`, has characters that no label has; use letters, digits, `-`, `_`, `.`"
    )]
    LabelValue {
        /// The field.
        field: &'static str,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Kubernetes bounds the annotations of an object.
    #[error("spec.worker.annotations: {bytes} bytes are more than Kubernetes takes, which is {most}")]
    AnnotationsTooLarge {
        /// Their size.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// Not an amount.
    #[error("{field}.{resource}: `{text}` is not an amount; write for example `500m`, `2` or `512Mi`")]
    Amount {
        /// The field.
        field: &'static str,
        /// The resource.
        resource: String,
        /// What stands there.
        text: String,
    },
    /// More is asked for than allowed.
    #[error("spec.worker.resources: the request of {request} of {resource} is greater than the limit of {limit}")]
    AboveLimit {
        /// The resource.
        resource: String,
        /// The request.
        request: String,
        /// The limit.
        limit: String,
    },
    /// Dynamic resources need fields that a worker does not have.
    #[error("spec.worker.resources.claims: workers have no resource claims; leave the field out")]
    Claims,
    /// A toleration that the API server would refuse.
    #[error("spec.worker.tolerations[{index}]: {problem}")]
    Toleration {
        /// Its place, from 0.
        index: usize,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// No priority class has such a name.
    #[error("spec.worker.priorityClassName: `{name}` is not a name; use lower-case letters, digits, `-` and `.`")]
    PriorityClass {
        /// What stands there.
        name: String,
    },
    /// The manifest does not fit into a `ConfigMap`.
    #[error("the manifest has {bytes} bytes with its defaults; workers can be given at most {most}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// The manifest cannot be written as JSON.
    #[error("the manifest cannot be written for the workers: {reason}")]
    Unwritable {
        /// Why.
        reason: String,
    },
}

/// Everything that the objects of a Pipeline are built from, checked: building cannot fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    name: String,
    namespace: String,
    uid: String,
    manifest: String,
    secrets: BTreeSet<String>,
    grace_seconds: i64,
    pod: PodSettings,
    settings: WorkerSettings,
    revision: Revision,
}

impl Owned {
    /// Checks a Pipeline for all that its workers need; what makes them worth starting, the compiler says.
    pub fn new(pipeline: &Pipeline, settings: &WorkerSettings) -> Result<Self, Problems<InputError>> {
        let mut problems = Vec::new();
        let mut owned = Self {
            name: name(pipeline, &mut problems),
            namespace: present("metadata.namespace", pipeline.namespace(), &mut problems),
            uid: present("metadata.uid", pipeline.uid(), &mut problems),
            manifest: manifest(pipeline, settings, &mut problems),
            secrets: secrets(&pipeline.spec.connections, &mut problems),
            grace_seconds: grace_seconds(&pipeline.spec, &mut problems),
            pod: PodSettings::new(pipeline.spec.worker.as_ref(), &mut problems),
            settings: settings.clone(),
            revision: Revision::default(),
        };
        owned.revision = Revision::of_workers(&owned);
        Problems::or(problems, owned)
    }

    /// The Pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// What workers of it would run now.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The manifest that workers read: the Pipeline without what only the operator needs. JSON, which is YAML.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// The Secrets that the connections refer to.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }

    /// The time between SIGTERM and SIGKILL of a worker, in seconds.
    pub fn grace_seconds(&self) -> i64 {
        self.grace_seconds
    }

    pub(super) fn pod(&self) -> &PodSettings {
        &self.pod
    }

    pub(super) fn settings(&self) -> &WorkerSettings {
        &self.settings
    }
}

fn present(field: &'static str, value: Option<String>, problems: &mut Vec<InputError>) -> String {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        problems.push(InputError::Missing { field });
    }
    value
}

fn name(pipeline: &Pipeline, problems: &mut Vec<InputError>) -> String {
    let name = present("metadata.name", pipeline.meta().name.clone(), problems);
    if !name.is_empty() && !syntax::is_dns_label(&name) {
        problems.push(InputError::Name { name: name.clone() });
    }
    name
}

/// The Pipeline as workers read it: without the status, without metadata but what names it, and without the fields that
/// steer the operator only, which so are no part of a revision.
fn manifest(pipeline: &Pipeline, settings: &WorkerSettings, problems: &mut Vec<InputError>) -> String {
    let mut spec = serde_json::to_value(&pipeline.spec).unwrap_or_else(|error| {
        problems.push(InputError::Unwritable { reason: error.to_string() });
        serde_json::Value::Null
    });
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|name, _| !STEERING.contains(&name.as_str()));
    }
    let text = canonical::text(&json!({
        "apiVersion": Pipeline::api_version(&()),
        "kind": Pipeline::kind(&()),
        "metadata": {"name": pipeline.meta().name, "namespace": pipeline.meta().namespace},
        "spec": spec,
    }));
    let most = CONFIG_MAP_BYTES.saturating_sub(settings.operator_ca().len());
    if text.len() > most {
        problems.push(InputError::TooLarge { bytes: text.len(), most });
    }
    text
}

/// Every Secret that a connection refers to, each once.
fn secrets(connections: &[Connection], problems: &mut Vec<InputError>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (index, connection) in connections.iter().enumerate() {
        for (place, name) in connection.kafka.iter().flat_map(references) {
            if !syntax::is_subdomain(name) {
                let field = format!("spec.connections[{index}].kafka.{place}.secretRef.name");
                problems.push(InputError::Secret { field, name: name.to_owned() });
            }
            found.insert(name.to_owned());
        }
    }
    found
}

/// The Secrets of a connection with their places.
fn references(kafka: &KafkaConnection) -> Vec<(&'static str, &str)> {
    let tls = kafka.tls.as_ref();
    let ca = tls.and_then(|tls| tls.ca.as_ref()).map(|ca| ("tls.ca", ca.secret_ref.name.as_str()));
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let certificate = certificate.map(|found| ("tls.certificate", found.secret_ref.name.as_str()));
    let sasl = kafka.sasl.as_ref().map(|sasl| ("sasl", sasl.secret_ref.name.as_str()));
    [ca, certificate, sasl].into_iter().flatten().collect()
}

/// Time for two checkpoints, the one under way and the last one, and some more.
fn grace_seconds(spec: &PipelineSpec, problems: &mut Vec<InputError>) -> i64 {
    let text = &spec.checkpoint.interval;
    let Some(interval) = duration::parse(text) else {
        problems.push(InputError::Duration { field: "spec.checkpoint.interval", text: text.clone() });
        return LEAST_GRACE_SECONDS;
    };
    let needed = interval.saturating_mul(2).saturating_add(GRACE_MARGIN);
    let seconds = needed.as_secs() + u64::from(needed.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX).max(LEAST_GRACE_SECONDS)
}
