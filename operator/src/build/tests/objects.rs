//! Every object of both Pipelines, as it is applied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::super::{
    Owned, assignment, config_map, deployment, labels, pod_disruption_budget, role, role_binding, service,
    service_account,
};
use super::fixtures;

/// All objects of a Pipeline with three workers.
fn objects(owned: &Owned) -> Vec<Value> {
    let values = [
        serde_json::to_value(service_account(owned)),
        serde_json::to_value(role(owned)),
        serde_json::to_value(role_binding(owned)),
        serde_json::to_value(config_map(owned)),
        serde_json::to_value(assignment(owned)),
        serde_json::to_value(deployment(owned, 3)),
        serde_json::to_value(pod_disruption_budget(owned)),
        serde_json::to_value(service(owned)),
    ];
    values.into_iter().map(Result::unwrap).collect()
}

fn golden(name: &str, owned: &Owned) {
    for object in objects(owned) {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        insta::assert_json_snapshot!(format!("{name}-{kind}"), object);
    }
    insta::assert_snapshot!(format!("{name}-manifest"), owned.manifest());
}

#[test]
fn a_minimal_pipeline_owns_these() {
    golden("minimal", &fixtures::owned(fixtures::minimal()));
}

#[test]
fn a_full_pipeline_owns_these() {
    golden("full", &fixtures::owned(fixtures::full()));
}

#[test]
fn the_manifest_for_workers_is_a_pipeline_of_the_same_meaning() {
    let original = fixtures::pipeline(fixtures::full());
    let read: millstream_crds::Pipeline = serde_json::from_str(fixtures::owned(fixtures::full()).manifest()).unwrap();
    assert_eq!(read.metadata.name, original.metadata.name);
    assert_eq!(read.metadata.namespace, original.metadata.namespace);
    let expected = millstream_crds::PipelineSpec {
        scaling: None,
        suspend: false,
        deletion_policy: millstream_crds::pipeline::DeletionPolicy::Retain,
        worker_timeout: "5s".into(),
        ..original.spec
    };
    assert_eq!(read.spec, expected);
}

#[test]
fn everything_is_labelled_and_controlled_by_the_pipeline() {
    for manifest in [fixtures::minimal(), fixtures::full()] {
        let owned = fixtures::owned(manifest);
        for object in objects(&owned) {
            let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
            assert_eq!(metadata.namespace.as_deref(), Some(owned.namespace()));
            let found = metadata.labels.unwrap();
            assert!(labels::common(owned.name()).iter().all(|(key, value)| found.get(key) == Some(value)), "{object}");
            let [owner] = &metadata.owner_references.unwrap()[..] else { unreachable!("{object}") };
            assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pipeline", owned.uid()));
            assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        }
    }
}

#[test]
fn selectors_find_the_pods() {
    let owned = fixtures::owned(fixtures::full());
    let deployment = deployment(&owned, 1).spec.unwrap();
    let pods = deployment.template.metadata.unwrap().labels.unwrap();
    let service = LabelSelector { match_labels: service(&owned).spec.unwrap().selector, match_expressions: None };
    let budget = pod_disruption_budget(&owned).spec.unwrap().selector.unwrap();
    for selector in [deployment.selector, budget, service] {
        let wanted = selector.match_labels.unwrap();
        assert!(!wanted.is_empty() && wanted.iter().all(|(key, value)| pods.get(key) == Some(value)), "{wanted:?}");
    }
}
