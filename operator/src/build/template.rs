//! `spec.worker`, checked and completed: what of a pod's settings is the user's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use millstream_crds::worker::WorkerTemplate;

use super::input::InputError;
use super::{labels, resources, syntax};

/// The most bytes of an object's annotations.
const ANNOTATION_BYTES: usize = 256 << 10;
/// Taints of a node that does not answer. Kubernetes would wait five minutes.
const NODE_AWAY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// How long a pod stays on such a node. Its shards are elsewhere long before; this brings its replacement.
const NODE_AWAY_SECONDS: i64 = 20;
const NO_EXECUTE: &str = "NoExecute";

/// What of a pod's settings is the user's, with our defaults.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodSettings {
    pub(super) resources: ResourceRequirements,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) priority_class_name: Option<String>,
}

impl PodSettings {
    /// Checks the template; what is wrong goes to `problems`.
    pub(super) fn new(template: Option<&WorkerTemplate>, problems: &mut Vec<InputError>) -> Self {
        let template = template.cloned().unwrap_or_default();
        check_labels("spec.worker.labels", &template.labels, problems);
        check_reserved("spec.worker.labels", &template.labels, problems);
        check_annotations(&template.annotations, problems);
        check_labels("spec.worker.nodeSelector", &template.node_selector, problems);
        check_tolerations(&template.tolerations, problems);
        check_priority_class(template.priority_class_name.as_deref(), problems);
        Self {
            resources: resources::of_worker(template.resources.as_ref(), problems),
            labels: template.labels,
            annotations: template.annotations,
            node_selector: template.node_selector,
            tolerations: with_defaults(template.tolerations),
            priority_class_name: template.priority_class_name,
        }
    }
}

fn check_labels(field: &'static str, labels: &BTreeMap<String, String>, problems: &mut Vec<InputError>) {
    for (key, value) in labels {
        if !syntax::is_key(key) {
            problems.push(InputError::Key { field, key: key.clone() });
        }
        if !syntax::is_label_value(value) {
            problems.push(InputError::LabelValue { field, key: key.clone(), value: value.clone() });
        }
    }
}

fn check_reserved(field: &'static str, keys: &BTreeMap<String, String>, problems: &mut Vec<InputError>) {
    let reserved = keys.keys().filter(|key| labels::is_reserved(key));
    problems.extend(reserved.map(|key| InputError::Reserved { field, key: key.clone() }));
}

fn check_annotations(annotations: &BTreeMap<String, String>, problems: &mut Vec<InputError>) {
    const FIELD: &str = "spec.worker.annotations";
    for key in annotations.keys().filter(|key| !syntax::is_key(&key.to_lowercase())) {
        problems.push(InputError::Key { field: FIELD, key: key.clone() });
    }
    check_reserved(FIELD, annotations, problems);
    let bytes = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATION_BYTES {
        problems.push(InputError::AnnotationsTooLarge { bytes, most: ANNOTATION_BYTES });
    }
}

fn check_tolerations(tolerations: &[Toleration], problems: &mut Vec<InputError>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        if let Some(problem) = toleration_problem(toleration) {
            problems.push(InputError::Toleration { index, problem });
        }
    }
}

fn toleration_problem(toleration: &Toleration) -> Option<&'static str> {
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && !syntax::is_key(key) {
        return Some("key is not the key of a taint; write for example `example.com/dedicated`");
    }
    operator_problem(toleration, key).or_else(|| effect_problem(toleration))
}

fn operator_problem(toleration: &Toleration, key: &str) -> Option<&'static str> {
    let value = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" if !value.is_empty() => Some("with the operator Exists there is no value; leave it out"),
        "" | "Equal" if key.is_empty() => Some("without key, the operator must be Exists"),
        "" | "Equal" if !syntax::is_label_value(value) => Some("value has characters that no taint's value has"),
        "" | "Equal" | "Exists" => None,
        _ => Some("operator must be Exists or Equal"),
    }
}

fn effect_problem(toleration: &Toleration) -> Option<&'static str> {
    match toleration.effect.as_deref().unwrap_or_default() {
        "" | "NoSchedule" | "PreferNoSchedule" if toleration.toleration_seconds.is_some() => {
            Some("tolerationSeconds needs the effect NoExecute")
        }
        "" | "NoSchedule" | "PreferNoSchedule" | NO_EXECUTE => None,
        _ => Some("effect must be NoSchedule, PreferNoSchedule or NoExecute"),
    }
}

fn check_priority_class(name: Option<&str>, problems: &mut Vec<InputError>) {
    if let Some(name) = name.filter(|name| !syntax::is_subdomain(name)) {
        problems.push(InputError::PriorityClass { name: name.to_owned() });
    }
}

/// The tolerations with ours for a node that is away, where the user has not said otherwise.
fn with_defaults(mut tolerations: Vec<Toleration>) -> Vec<Toleration> {
    for taint in NODE_AWAY {
        if !tolerations.iter().any(|toleration| is_about(toleration, taint)) {
            tolerations.push(Toleration {
                key: Some(taint.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some(NO_EXECUTE.to_owned()),
                toleration_seconds: Some(NODE_AWAY_SECONDS),
                value: None,
            });
        }
    }
    tolerations
}

/// Whether a toleration says something about pods that are on a node with the taint.
fn is_about(toleration: &Toleration, taint: &str) -> bool {
    let is = |field: &Option<String>, wanted: &str| field.as_deref().is_none_or(|it| it.is_empty() || it == wanted);
    is(&toleration.key, taint) && is(&toleration.effect, NO_EXECUTE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn settings(template: Value) -> (PodSettings, Vec<String>) {
        let template: WorkerTemplate = serde_json::from_value(template).unwrap();
        let mut problems = Vec::new();
        let settings = PodSettings::new(Some(&template), &mut problems);
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_kubernetes_would_refuse_is_named_at_its_field() {
        let long = "x".repeat(ANNOTATION_BYTES);
        let cases = [
            (json!({"labels": {"a b": "c"}}), "spec.worker.labels: `a b` is not a key"),
            (json!({"labels": {"team": "a b"}}), "spec.worker.labels: `a b`, the value of `team`"),
            (json!({"labels": {"millstream.dev/pipeline": "x"}}), "`millstream.dev/pipeline` is set by the operator"),
            (json!({"annotations": {"a b": ""}}), "spec.worker.annotations: `a b` is not a key"),
            (json!({"annotations": {labels::POD_DELETION_COST: "1"}}), "is set by the operator"),
            (json!({"annotations": {"a": long}}), "spec.worker.annotations: 262145 bytes"),
            (json!({"nodeSelector": {"disk": "a b"}}), "spec.worker.nodeSelector: `a b`, the value of `disk`"),
            (json!({"priorityClassName": "High"}), "spec.worker.priorityClassName: `High`"),
            (json!({"resources": {"limits": {"cpu": "many"}}}), "spec.worker.resources.limits.cpu: `many`"),
        ];
        for (template, expected) in cases {
            let (_, problems) = settings(template);
            let [problem] = &problems[..] else { unreachable!("{problems:?}") };
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn tolerations_are_checked_as_kubernetes_does() {
        let good = [
            json!({"operator": "Exists"}),
            json!({"key": "a", "value": "b"}),
            json!({"key": "example.com/a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}),
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
        ];
        for toleration in good {
            assert_eq!(settings(json!({"tolerations": [toleration]})).1, Vec::<String>::new());
        }
        let bad = [
            (json!({"key": "a b", "operator": "Exists"}), "key is not"),
            (json!({"key": "a", "operator": "Exists", "value": "b"}), "leave it out"),
            (json!({"value": "b"}), "without key"),
            (json!({"key": "a", "value": "b c"}), "value has characters"),
            (json!({"key": "a", "operator": "exists"}), "Exists or Equal"),
            (json!({"key": "a", "effect": "Never"}), "effect must be"),
            (json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}), "needs the effect NoExecute"),
        ];
        for (toleration, expected) in bad {
            let (_, problems) = settings(json!({"tolerations": [{"operator": "Exists"}, toleration]}));
            let [problem] = &problems[..] else { unreachable!("{problems:?}") };
            assert!(problem.starts_with("spec.worker.tolerations[1]: ") && problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn nodes_that_are_away_are_tolerated_for_a_while_unless_the_user_says_otherwise() {
        let seconds = |tolerations: Value| -> Vec<Option<i64>> {
            let (settings, _) = settings(json!({"tolerations": tolerations}));
            settings.tolerations.iter().map(|toleration| toleration.toleration_seconds).collect()
        };
        assert_eq!(seconds(json!([])), [Some(20), Some(20)]);
        assert_eq!(seconds(json!([{"key": "a", "operator": "Exists"}])), [None, Some(20), Some(20)]);
        assert_eq!(seconds(json!([{"operator": "Exists"}])), [None]);
        let unreachable =
            json!([{"key": NODE_AWAY[1], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}]);
        assert_eq!(seconds(unreachable), [Some(3), Some(20)]);
        let schedule = json!([{"key": NODE_AWAY[0], "operator": "Exists", "effect": "NoSchedule"}]);
        assert_eq!(seconds(schedule), [None, Some(20), Some(20)]);
    }
}
