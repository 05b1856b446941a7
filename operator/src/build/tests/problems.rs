//! What is refused, and with which words.

use serde_json::{Value, json};

use super::super::{InputError, Owned};
use super::fixtures;

fn problems(manifest: Value) -> Vec<InputError> {
    let pipeline = fixtures::pipeline(manifest);
    let problems = Owned::new(&pipeline, &fixtures::settings()).unwrap_err();
    problems.iter().cloned().collect()
}

/// The full Pipeline with a field changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = fixtures::full();
    *manifest.pointer_mut(pointer).unwrap() = value;
    manifest
}

#[test]
fn each_problem_is_named_at_its_field() {
    let cases = [
        ("/metadata/uid", json!(""), "metadata.uid is missing"),
        ("/metadata/namespace", json!(null), "metadata.namespace is missing"),
        ("/metadata/name", json!(null), "metadata.name is missing"),
        ("/metadata/name", json!("Sensors"), "metadata.name: `Sensors` cannot name workers"),
        ("/metadata/name", json!("a".repeat(64)), "use at most 63 lower-case letters"),
        ("/spec/checkpoint/interval", json!("soon"), "spec.checkpoint.interval: `soon` is not a duration"),
        (
            "/spec/connections/0/kafka/tls/ca/secretRef/name",
            json!("../ca"),
            "spec.connections[0].kafka.tls.ca.secretRef.name: `../ca` is not the name of a Secret",
        ),
        (
            "/spec/connections/0/kafka/tls/certificate/secretRef/name",
            json!(""),
            "spec.connections[0].kafka.tls.certificate.secretRef.name",
        ),
        (
            "/spec/connections/1/kafka/sasl/secretRef/name",
            json!("a..b"),
            "spec.connections[1].kafka.sasl.secretRef.name",
        ),
        ("/spec/worker/priorityClassName", json!("High!"), "spec.worker.priorityClassName"),
        ("/spec/transforms/0/filter", json!("x".repeat(1 << 20)), "workers can be given at most 1048"),
    ];
    for (pointer, value, expected) in cases {
        let found = problems(with(pointer, value));
        let [problem] = &found[..] else { unreachable!("{pointer}: {found:?}") };
        assert!(problem.to_string().contains(expected), "{problem}");
    }
}

#[test]
fn all_problems_are_found_at_once() {
    let mut manifest = with("/metadata/uid", json!(null));
    manifest["spec"]["checkpoint"]["interval"] = json!("5");
    manifest["spec"]["worker"] = json!({
        "labels": {"millstream.dev/revision": "mine"},
        "tolerations": [{"operator": "Sometimes"}],
        "resources": {"limits": {"memory": "lots"}},
    });
    let fields: Vec<String> = problems(manifest).iter().map(ToString::to_string).collect();
    let expected = [
        "metadata.uid",
        "spec.checkpoint.interval",
        "spec.worker.labels",
        "spec.worker.tolerations[0]",
        "spec.worker.resources.limits.memory",
    ];
    assert_eq!(fields.len(), expected.len(), "{fields:?}");
    assert!(fields.iter().zip(expected).all(|(problem, field)| problem.starts_with(field)), "{fields:?}");
}
