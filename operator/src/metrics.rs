//! What the operator counts, for Prometheus. The only module that knows metric names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::progress::PartitionState;

/// The operator's metrics, with a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by outcome: `ok`, `conflict`, `error`.
    reconciles: IntCounterVec,
    /// How long a reconcile took.
    duration: Histogram,
    /// Moves of shards that were begun, by reason.
    moves: IntCounterVec,
    /// Shards without an owner, by pipeline.
    unowned: IntGaugeVec,
    /// Pipelines by the condition that holds and its reason.
    pipelines: IntGaugeVec,
    /// The labels in use of these, so that a Pipeline has one.
    conditions: Mutex<Vec<[String; 4]>>,
    /// The age of the oldest report, by pipeline.
    report_age: prometheus::GaugeVec,
    /// Records that wait, by partition, as Kafka tells it.
    lag: IntGaugeVec,
    /// The partitions that are told, so that those that are gone are not.
    partitions: Mutex<BTreeSet<[String; 4]>>,
    /// Whether this replica leads.
    leads: IntGauge,
    /// Always 1; the label says which version this is.
    build: Gauge,
}

const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const PIPELINE: [&str; 2] = ["namespace", "pipeline"];

impl Metrics {
    /// Metrics with all values at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("millstream_operator_reconciles_total", "Reconciles by outcome."),
                &["outcome"],
            )?,
            duration: Histogram::with_opts(histogram(
                "millstream_operator_reconcile_duration_seconds",
                "How long a reconcile took.",
            ))?,
            moves: IntCounterVec::new(
                Opts::new("millstream_operator_moves_total", "Moves of shards that were begun, by reason."),
                &["reason"],
            )?,
            unowned: IntGaugeVec::new(
                Opts::new("millstream_operator_unowned_shards", "Shards without an owner."),
                &PIPELINE,
            )?,
            pipelines: IntGaugeVec::new(
                Opts::new("millstream_operator_pipeline_condition", "1 for the condition and the reason that hold."),
                &["namespace", "pipeline", "condition", "reason"],
            )?,
            conditions: Mutex::default(),
            report_age: prometheus::GaugeVec::new(
                Opts::new("millstream_operator_report_age_seconds", "The age of the oldest worker's report."),
                &PIPELINE,
            )?,
            lag: IntGaugeVec::new(
                Opts::new(
                    "millstream_operator_lag_records",
                    "Records between the checkpoints and the last stable offset.",
                ),
                &["namespace", "pipeline", "topic", "partition"],
            )?,
            partitions: Mutex::default(),
            leads: IntGauge::new("millstream_operator_leads", "1 if this replica leads.")?,
            build: Gauge::with_opts(
                Opts::new("millstream_operator_build_info", "Always 1; the label says which version this is.")
                    .const_label("version", env!("CARGO_PKG_VERSION")),
            )?,
            registry,
        };
        metrics.register()?;
        metrics.build.set(1.0);
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.reconciles.clone()))?;
        self.registry.register(Box::new(self.duration.clone()))?;
        self.registry.register(Box::new(self.moves.clone()))?;
        self.registry.register(Box::new(self.unowned.clone()))?;
        self.registry.register(Box::new(self.pipelines.clone()))?;
        self.registry.register(Box::new(self.report_age.clone()))?;
        self.registry.register(Box::new(self.lag.clone()))?;
        self.registry.register(Box::new(self.leads.clone()))?;
        self.registry.register(Box::new(self.build.clone()))
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, outcome: &str, duration: Duration) {
        self.reconciles.with_label_values(&[outcome]).inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// A move was begun.
    pub fn moved(&self, reason: &str) {
        self.moves.with_label_values(&[reason]).inc();
    }

    /// What is known of a Pipeline's shards and workers.
    pub fn pipeline(&self, namespace: &str, pipeline: &str, unowned: usize, report_age: Duration) {
        self.unowned.with_label_values(&[namespace, pipeline]).set(unowned as i64);
        self.report_age.with_label_values(&[namespace, pipeline]).set(report_age.as_secs_f64());
    }

    /// The lag of a Pipeline's partitions; those that are not among them any more are forgotten.
    pub fn lag(&self, namespace: &str, pipeline: &str, partitions: &[PartitionState]) {
        let mut told = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pipeline = |labels: &[String; 4]| labels[0] == namespace && labels[1] == pipeline;
        let now: BTreeMap<[String; 4], i64> = partitions
            .iter()
            .map(|state| {
                ([namespace, pipeline, &state.topic, &state.partition.to_string()].map(str::to_owned), state.lag())
            })
            .collect();
        told.retain(|labels| {
            let gone = of_pipeline(labels) && !now.contains_key(labels);
            if gone {
                // It was set, or it would not be here.
                let _ = self.lag.remove_label_values(labels);
            }
            !gone
        });
        for (labels, records) in now {
            self.lag.with_label_values(&labels).set(records);
            told.insert(labels);
        }
    }

    /// The condition of a Pipeline that holds now, and its reason.
    pub fn condition(&self, namespace: &str, pipeline: &str, kind: &str, reason: &str) {
        self.forget_condition(namespace, pipeline);
        let labels = [namespace, pipeline, kind, reason].map(str::to_owned);
        self.pipelines.with_label_values(&labels).set(1);
        self.conditions().push(labels);
    }

    /// A Pipeline is gone.
    pub fn forget(&self, namespace: &str, pipeline: &str) {
        // A series that was never set cannot be removed, and need not be.
        let _ = self.unowned.remove_label_values(&[namespace, pipeline]);
        let _ = self.report_age.remove_label_values(&[namespace, pipeline]);
        self.lag(namespace, pipeline, &[]);
        self.forget_condition(namespace, pipeline);
    }

    fn forget_condition(&self, namespace: &str, pipeline: &str) {
        self.conditions().retain(|labels| {
            let other = labels[0] != namespace || labels[1] != pipeline;
            if !other {
                let _ = self.pipelines.remove_label_values(labels);
            }
            other
        });
    }

    fn conditions(&self) -> MutexGuard<'_, Vec<[String; 4]>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This replica leads, or no longer.
    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// All metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pipeline_has_one_condition_at_a_time_and_none_when_it_is_gone() {
        let metrics = Metrics::new().unwrap();
        metrics.pipeline("n", "p", 2, Duration::from_secs(1));
        metrics.condition("n", "p", "Reconciling", "Starting");
        metrics.condition("n", "p", "Ready", "Running");
        let text = metrics.encode();
        assert!(text.contains(r#"condition="Ready",namespace="n",pipeline="p",reason="Running""#), "{text}");
        assert!(!text.contains("Starting"), "{text}");
        let state = PartitionState { topic: "t".into(), partition: 3, shard: 0, position: Some(5), start: 0, end: 9 };
        metrics.lag("n", "p", &[state]);
        let text = metrics.encode();
        assert!(text.contains(r#"{namespace="n",partition="3",pipeline="p",topic="t"} 4"#), "{text}");
        metrics.forget("n", "p");
        assert!(!metrics.encode().contains(r#"pipeline="p""#));
    }
}
