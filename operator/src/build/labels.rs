//! Labels: what objects are found by.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::revision::Revision;

/// The Pipeline that something belongs to.
pub const PIPELINE: &str = "millstream.dev/pipeline";
/// The revision that something belongs to.
pub const REVISION: &str = "millstream.dev/revision";
/// The label of `app.kubernetes.io` for the program.
pub const NAME: &str = "app.kubernetes.io/name";
/// The label of `app.kubernetes.io` for the part of the program.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The label of `app.kubernetes.io` for who made something.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The annotation of a pod that says how much it would cost to delete it when its Deployment shrinks.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The domain of labels and annotations with a meaning for Millstream.
const DOMAIN: &str = "millstream.dev";
/// What Deployments tell their pods apart by.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Labels of everything that a Pipeline owns.
pub fn common(pipeline: &str) -> BTreeMap<String, String> {
    let labels =
        [(NAME, "millstream"), (COMPONENT, "worker"), (MANAGED_BY, super::FIELD_MANAGER), (PIPELINE, pipeline)];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Labels of what belongs to a revision: Deployment, `ConfigMap` and pods.
pub fn of_revision(pipeline: &str, revision: &Revision) -> BTreeMap<String, String> {
    let mut labels = common(pipeline);
    labels.insert(REVISION.to_owned(), revision.to_string());
    labels
}

/// The selector of a Pipeline's workers, all revisions, as text: for lists and for the scale subresource.
pub fn selector(pipeline: &str) -> String {
    format!("{PIPELINE}={pipeline}")
}

/// The selector of a Pipeline's workers, all revisions.
pub(super) fn workers(pipeline: &str) -> LabelSelector {
    matching(&[(PIPELINE, pipeline)])
}

/// The selector of a revision's workers.
pub(super) fn workers_of_revision(pipeline: &str, revision: &Revision) -> LabelSelector {
    matching(&[(PIPELINE, pipeline), (REVISION, revision.as_str())])
}

fn matching(labels: &[(&str, &str)]) -> LabelSelector {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

/// Whether the key of a label or an annotation is set by the operator or by Kubernetes, so that nobody else may.
pub(super) fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == DOMAIN
        || domain.strip_suffix(DOMAIN).is_some_and(|rest| rest.ends_with('.'))
        || [NAME, COMPONENT, MANAGED_BY, POD_TEMPLATE_HASH, POD_DELETION_COST].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selector_finds_what_is_labelled() {
        let labels = common("sensors");
        let selector = selector("sensors");
        let (key, value) = selector.split_once('=').unwrap_or_default();
        assert_eq!(labels.get(key).map(String::as_str), Some(value));
    }

    #[test]
    fn keys_with_a_meaning_are_reserved() {
        let own = [PIPELINE, REVISION, "x.millstream.dev/y"];
        for key in own.into_iter().chain([NAME, COMPONENT, MANAGED_BY, POD_TEMPLATE_HASH, POD_DELETION_COST]) {
            assert!(is_reserved(key), "{key}");
        }
        for key in ["team", "example.com/pipeline", "app.kubernetes.io/part-of", "notmillstream.dev/x"] {
            assert!(!is_reserved(key), "{key}");
        }
    }
}
