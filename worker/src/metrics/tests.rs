#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Counters of whole numbers are exact as doubles.
#![allow(clippy::float_cmp)]

use std::collections::BTreeMap;

use super::*;

/// A registry in which every family has at least one series.
fn touched() -> Arc<Metrics> {
    let metrics = Metrics::new("p");
    let shard = metrics.shard(3);
    shard.batch_in("readings", 10, 1000);
    shard.batch_out("cleaned", 9, 800);
    shard.bad(Reason::Type, 1);
    shard.batch_rows(10);
    shard.checkpoint(Duration::from_millis(7));
    shard.open_transaction(Some(Instant::now()));
    shard.latency(Duration::from_millis(300), 10);
    metrics.partition_lag("t", 0, 5, 1.5);
    metrics.partition_open("t", 0, 2);
    metrics.client_error("_TRANSPORT");
    metrics
}

/// Name → (type, labels without `pipeline` and `le`), from the text that Prometheus reads.
fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            found.insert(name.to_owned(), (kind.to_owned(), Vec::new()));
        } else if let Some((series, rest)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| series.strip_suffix(suffix).filter(|base| found.contains_key(*base)))
                .unwrap_or(series);
            let labels = rest.split_once('}').unwrap().0.split(',').map(|l| l.split_once('=').unwrap().0.to_owned());
            found.get_mut(name).unwrap().1 = labels.filter(|l| l != "pipeline" && l != "le").collect();
        }
    }
    found
}

#[test]
fn the_registry_is_what_the_definitions_say() {
    let text = touched().encode();
    let found = families(&text);
    let defined: BTreeMap<_, _> = ALL
        .iter()
        .map(|d| {
            let mut labels: Vec<String> = d.labels.iter().map(ToString::to_string).collect();
            labels.sort();
            (d.name.to_owned(), (d.kind.as_str().to_owned(), labels))
        })
        .collect();
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(name, (kind, mut labels))| {
            labels.sort();
            (name, (kind, labels))
        })
        .collect();
    assert_eq!(found, defined);
}

#[test]
fn every_series_carries_the_pipeline() {
    for line in touched().encode().lines().filter(|l| !l.starts_with('#')) {
        assert!(line.contains("pipeline=\"p\""), "{line}");
    }
}

#[test]
fn the_page_lists_every_metric() {
    let page = include_str!("../../../docs/metrics.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `millstream_")).collect();
    let expected: Vec<_> = ALL
        .iter()
        .map(|d| {
            let labels = d.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
            format!("| `{}` | {} | {labels} | {} |", d.name, d.kind.as_str(), d.help)
        })
        .collect();
    assert_eq!(rows, expected, "docs/metrics.md and metrics/definitions.rs differ");
}

#[test]
fn the_page_names_every_outcome_and_reason() {
    let page = include_str!("../../../docs/metrics.md");
    let outcomes = TransactionOutcome::ALL.map(TransactionOutcome::as_str);
    let reasons = TakeoverReason::ALL.map(TakeoverReason::as_str);
    for word in outcomes.into_iter().chain(reasons).chain(Reason::ALL.map(Reason::as_str)) {
        assert!(page.contains(&format!("`{word}`")), "docs/metrics.md does not name `{word}`");
    }
}

/// The text with the labels of each series in alphabetical order.
fn sorted(text: &str) -> String {
    let sort = |line: &str| match line.split_once('{').zip(line.rsplit_once('}')) {
        Some(((name, _), (head, value))) if !line.starts_with('#') => {
            let mut labels: Vec<_> = head[name.len() + 1..].split(',').collect();
            labels.sort_unstable();
            format!("{name}{{{}}}{value}\n", labels.join(","))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(sort).collect()
}

#[test]
fn values_arrive_in_their_series() {
    let text = sorted(&touched().encode());
    for line in [
        r#"millstream_records_in_total{pipeline="p",shard="3",source="readings"} 10"#,
        r#"millstream_bytes_out_total{pipeline="p",shard="3",sink="cleaned"} 800"#,
        r#"millstream_bad_records_total{pipeline="p",reason="type",shard="3"} 1"#,
        r#"millstream_bad_records_total{pipeline="p",reason="refused",shard="3"} 0"#,
        r#"millstream_lag_records{partition="0",pipeline="p",topic="t"} 5"#,
        r#"millstream_lag_seconds{partition="0",pipeline="p",topic="t"} 1.5"#,
        r#"millstream_latency_seconds_bucket{le="0.25",pipeline="p",shard="3"} 0"#,
        r#"millstream_latency_seconds_bucket{le="0.5",pipeline="p",shard="3"} 10"#,
        r#"millstream_latency_seconds_bucket{le="+Inf",pipeline="p",shard="3"} 10"#,
        r#"millstream_latency_seconds_sum{pipeline="p",shard="3"} 3"#,
        r#"millstream_latency_seconds_count{pipeline="p",shard="3"} 10"#,
        r#"millstream_client_errors_total{code="_TRANSPORT",pipeline="p"} 1"#,
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}\nis missing in\n{text}");
    }
}

#[test]
fn outcomes_and_reasons_count_in_their_own_series() {
    let metrics = Metrics::new("p");
    let shard = metrics.shard(0);
    for outcome in TransactionOutcome::ALL {
        shard.transaction(outcome);
        assert_eq!(value(&metrics, &format!(r#"transactions_total{{outcome="{}""#, outcome.as_str())), 1.0);
    }
    for reason in TakeoverReason::ALL {
        shard.takeover(reason);
        assert_eq!(value(&metrics, &format!(r#"takeovers_total{{pipeline="p",reason="{}""#, reason.as_str())), 1.0);
    }
    for reason in Reason::ALL {
        shard.bad(reason, 2);
        assert_eq!(value(&metrics, &format!(r#"bad_records_total{{pipeline="p",reason="{}""#, reason.as_str())), 2.0);
    }
}

/// The value of the only series that begins with `millstream_` and this.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = sorted(&metrics.encode());
    let start = format!("millstream_{series}");
    let line = text.lines().find(|l| l.starts_with(&start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn ages_grow_and_end() {
    let metrics = Metrics::new("p");
    let shard = metrics.shard(0);
    assert!(!metrics.encode().contains("checkpoint_age"), "no checkpoint yet, no age");
    shard.checkpoint(Duration::from_millis(1));
    shard.open_transaction(Some(Instant::now()));
    std::thread::sleep(Duration::from_millis(5));
    assert!(value(&metrics, "checkpoint_age_seconds") >= 0.005);
    assert!(value(&metrics, "open_transaction_age_seconds") >= 0.005);
    shard.open_transaction(None);
    assert_eq!(value(&metrics, "open_transaction_age_seconds"), 0.0);
}

#[test]
fn totals_sum_over_shards_nodes_and_partitions() {
    let metrics = Metrics::new("p");
    assert_eq!(metrics.totals(), Totals::default());
    let (one, two) = (metrics.shard(0), metrics.shard(1));
    one.batch_in("a", 5, 50);
    one.batch_in("b", 6, 60);
    two.batch_in("a", 7, 70);
    two.batch_out("s", 3, 30);
    two.bad(Reason::Type, 1);
    two.bad(Reason::Encode, 1);
    metrics.partition_lag("t", 0, 10, 0.0);
    metrics.partition_lag("t", 1, 20, 0.0);
    metrics.partition_lag("t", 2, 40, 0.0);
    metrics.forget_partition("t", 2);
    metrics.forget_partition("t", 99);
    assert_eq!(metrics.totals(), Totals { records_in: 18, records_out: 3, dead_letters: 2, lag: Some(30) });
}

#[test]
fn a_message_never_becomes_a_label() {
    let metrics = Metrics::new("p");
    metrics.client_error("broker 127.0.0.1:9092 said no");
    metrics.client_error("");
    metrics.client_error(&"X".repeat(65));
    let text = metrics.encode();
    assert!(text.contains(r#"millstream_client_errors_total{code="other",pipeline="p"} 3"#), "{text}");
}

#[test]
fn handles_of_one_shard_share_their_series() {
    let metrics = Metrics::new("p");
    metrics.shard(0).latency(Duration::from_secs(1), 2);
    metrics.shard(0).latency(Duration::from_secs(2), 3);
    assert_eq!(value(&metrics, "latency_seconds_count"), 5.0);
}
