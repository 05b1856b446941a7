#![allow(clippy::unwrap_used)]

use prometheus::proto::MetricFamily;

use super::*;

fn key(name: &str) -> PipelineKey {
    PipelineKey { namespace: "n".into(), name: name.into() }
}

fn partition() -> PartitionState {
    PartitionState { topic: "t".into(), partition: 3, shard: 0, position: Some(5), start: 0, end: 9 }
}

/// Metrics in which every family has at least one series.
fn touched() -> Metrics {
    let metrics = Metrics::new().unwrap();
    let second = Duration::from_secs(1);
    metrics.stepped(Step::Apply, Outcome::Error, second);
    metrics.requested("patch", "deployments", "ok");
    metrics.arrived(Reason::OwnerLost, second);
    metrics.pipeline(&key("p"), 2, second);
    metrics.condition(&key("p"), "Ready", "Running");
    metrics.lag(&key("p"), &[partition()]);
    metrics.data_loss(&key("p"), Some(60.0));
    metrics
}

#[test]
fn the_registry_is_what_the_definitions_say() {
    let found = |family: MetricFamily| {
        let labels = family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned()).collect();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        (family.name().to_owned(), kind, family.help().to_owned(), labels)
    };
    let defined = |definition: Definition| {
        let mut labels: Vec<String> = definition.labels.iter().map(ToString::to_string).collect();
        labels.sort();
        (definition.name.to_owned(), definition.kind.as_str().to_owned(), definition.help.to_owned(), labels)
    };
    let mut defined: Vec<_> = ALL.into_iter().map(defined).collect();
    defined.sort();
    let found: Vec<(_, _, _, Vec<String>)> = touched().registry.gather().into_iter().map(found).collect();
    assert_eq!(found, defined);
}

#[test]
fn the_page_lists_every_metric() {
    let page = include_str!("../../../docs/kubernetes.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `millstream_operator_")).collect();
    let row = |definition: Definition| {
        let labels: Vec<String> = definition.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (definition.name, definition.kind.as_str(), definition.help);
        format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
    };
    let expected: Vec<_> = ALL.into_iter().map(row).collect();
    assert_eq!(rows, expected, "docs/kubernetes.md and metrics/definitions.rs differ");
}

#[test]
fn a_pipeline_has_one_condition_at_a_time() {
    let metrics = touched();
    metrics.condition(&key("p"), "Reconciling", "Starting");
    metrics.condition(&key("p"), "Ready", "Complete");
    let text = metrics.encode();
    assert!(text.contains(r#"condition="Ready",namespace="n",pipeline="p",reason="Complete"} 1"#), "{text}");
    assert!(!text.contains("Starting") && !text.contains("Running"), "{text}");
}

#[test]
fn of_a_pipeline_that_is_gone_nothing_is_told() {
    let metrics = touched();
    metrics.lag(&key("q"), &[partition()]);
    assert!(metrics.encode().contains(r#"{namespace="n",partition="3",pipeline="p",topic="t"} 4"#));
    metrics.forget(&key("p"));
    let text = metrics.encode();
    assert!(!text.contains(r#"pipeline="p""#), "{text}");
    assert!(text.contains(r#"{namespace="n",partition="3",pipeline="q",topic="t"} 4"#), "{text}");
}

#[test]
fn who_does_not_lead_tells_of_no_pipeline() {
    let metrics = touched();
    metrics.leads(true);
    assert!(metrics.encode().contains(r#"pipeline="p""#));
    metrics.leads(false);
    let text = metrics.encode();
    assert!(!text.contains(r#"pipeline="p""#), "{text}");
    assert!(text.contains("millstream_operator_leads 0"), "{text}");
}

#[test]
fn nothing_in_danger_is_not_the_same_as_nothing_known() {
    let metrics = touched();
    metrics.data_loss(&key("p"), Some(f64::INFINITY));
    let series = r#"millstream_operator_data_loss_seconds{namespace="n",pipeline="p"}"#;
    // Prometheus reads infinity in this spelling, too.
    assert!(metrics.encode().contains(&format!("{series} inf")), "{}", metrics.encode());
    metrics.data_loss(&key("p"), None);
    assert!(!metrics.encode().contains(series));
}

#[test]
fn counters_begin_at_zero_and_only_errors_are_errors() {
    let metrics = Metrics::new().unwrap();
    metrics.stepped(Step::Apply, Outcome::Error, Duration::from_secs(1));
    metrics.stepped(Step::Apply, Outcome::Conflict, Duration::from_secs(1));
    metrics.stepped(Step::Status, Outcome::Ok, Duration::from_secs(1));
    metrics.moved(Reason::Load);
    let text = metrics.encode();
    for line in [
        r#"millstream_operator_reconcile_errors_total{step="apply"} 1"#,
        r#"millstream_operator_reconcile_errors_total{step="status"} 0"#,
        r#"millstream_operator_reconcile_step_duration_seconds_count{step="apply"} 2"#,
        r#"millstream_operator_reconciles_total{outcome="conflict"} 0"#,
        r#"millstream_operator_moves_total{reason="Load"} 1"#,
        r#"millstream_operator_moves_total{reason="TakenBack"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis missing in\n{text}");
    }
}
