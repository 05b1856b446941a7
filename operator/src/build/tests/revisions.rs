//! What makes another revision, and what does not. That revisions stay what they were, the golden objects show.

use serde_json::{Value, json};

use super::super::{Owned, PullPolicy, WorkerSettings};
use super::fixtures::{self, CA};

const URL: &str = "https://millstream.millstream-system.svc:8443";

fn of(manifest: Value) -> String {
    fixtures::owned(manifest).revision().to_string()
}

/// The full Pipeline with a field changed, or added.
fn with(parent: &str, field: &str, value: Value) -> Value {
    let mut manifest = fixtures::full();
    manifest.pointer_mut(parent).unwrap()[field] = value;
    manifest
}

#[test]
fn what_steers_the_operator_only_makes_no_revision() {
    let cases = [
        ("/spec", "scaling", json!({"minReplicas": 0, "maxReplicas": 3})),
        ("/spec", "scaling", json!(null)),
        ("/spec", "suspend", json!(false)),
        ("/spec", "deletionPolicy", json!("Retain")),
        ("/spec", "workerTimeout", json!("1h")),
        ("/metadata", "generation", json!(5)),
        ("/metadata", "resourceVersion", json!("1")),
        ("/metadata", "labels", json!({})),
        ("/metadata", "annotations", json!({"a": "b"})),
        ("", "status", json!({"replicas": 1})),
    ];
    for (parent, field, value) in cases {
        assert_eq!(of(with(parent, field, value)), of(fixtures::full()), "{parent}/{field}");
    }
    let mut manifest = fixtures::full();
    manifest["spec"].as_object_mut().unwrap().remove("scaling");
    manifest["spec"]["replicas"] = json!(4);
    assert_eq!(of(manifest), of(fixtures::full()), "replicas");
}

#[test]
fn a_default_that_is_spelled_out_makes_no_revision() {
    let mut manifest = fixtures::minimal();
    manifest["spec"]["checkpoint"] = json!({"interval": "500ms"});
    manifest["spec"]["delivery"] = json!("ExactlyOnce");
    manifest["spec"]["mode"] = json!("Streaming");
    manifest["spec"]["sources"][0]["onDataLoss"] = json!("Fail");
    assert_eq!(of(manifest), of(fixtures::minimal()));
}

#[test]
fn what_workers_run_makes_a_revision() {
    let cases = [
        ("/metadata", "name", json!("other")),
        ("/metadata", "namespace", json!("other")),
        ("/metadata", "uid", json!("another")),
        ("/spec", "applicationId", json!("other")),
        ("/spec/connections/0/kafka", "bootstrapServers", json!("kafka:9093")),
        ("/spec/connections/0/kafka/properties", "fetch.max.bytes", json!("1")),
        ("/spec/connections/0/kafka/tls/ca/secretRef", "name", json!("other")),
        ("/spec/sources/0/kafka", "topics", json!(["other"])),
        ("/spec/transforms/0", "filter", json!("value > 1")),
        ("/spec/sinks/0/format", "type", json!("Csv")),
        ("/spec", "delivery", json!("ExactlyOnce")),
        ("/spec/checkpoint", "interval", json!("31s")),
        ("/spec", "errors", json!({"policy": "Skip"})),
        ("/spec", "adopt", json!(true)),
        ("/spec", "shards", json!(6)),
        ("/spec/worker/resources/limits", "memory", json!("2Gi")),
        ("/spec/worker/labels", "team", json!("other")),
        ("/spec/worker/annotations", "a", json!("b")),
        ("/spec/worker", "nodeSelector", json!({})),
        ("/spec/worker", "tolerations", json!([])),
        ("/spec/worker", "priorityClassName", json!("other")),
    ];
    for (parent, field, value) in cases {
        assert_ne!(of(with(parent, field, value)), of(fixtures::full()), "{parent}/{field}");
    }
}

#[test]
fn what_the_operator_gives_its_workers_makes_a_revision() {
    let revision = |settings: WorkerSettings| {
        Owned::new(&fixtures::pipeline(fixtures::minimal()), &settings).unwrap().revision().clone()
    };
    let settings = |image, policy, url, ca: &str| WorkerSettings::new(image, policy, url, ca).unwrap();
    let policy = PullPolicy::IfNotPresent;
    let same = settings("millstream:0.1.0", policy, URL, &format!("\n{CA}\n"));
    assert_eq!(revision(same), revision(fixtures::settings()));
    for other in [
        settings("millstream:0.2.0", policy, URL, CA),
        settings("millstream:0.1.0", PullPolicy::Never, URL, CA),
        settings("millstream:0.1.0", policy, "https://elsewhere:8443", CA),
        settings("millstream:0.1.0", policy, URL, &CA.replace("millstream", "another")),
        fixtures::settings().with_log(Some("debug".into())),
    ] {
        assert_ne!(revision(other.clone()), revision(fixtures::settings()), "{other:?}");
    }
}

#[test]
fn the_order_of_maps_makes_no_revision() {
    let mut manifest = fixtures::full();
    let spec = manifest["spec"].as_object().unwrap().clone();
    manifest["spec"] = spec.into_iter().rev().collect();
    assert_eq!(of(manifest), of(fixtures::full()));
}
