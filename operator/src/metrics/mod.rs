//! What the operator counts, for Prometheus. The only module that knows metric names.

mod definitions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream::metrics::{Definition, Kind};
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use self::definitions as d;
pub use self::definitions::ALL;
use crate::decide::moves::Reason;
use crate::progress::PartitionState;
use crate::reports::PipelineKey;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It came to its end.
    Ok,
    /// Somebody else wrote an object meanwhile: looked at again, there is nothing wrong.
    Conflict,
    /// It failed.
    Error,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Conflict, Self::Error];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Error => "error",
        }
    }
}

/// A step of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The manifest is compiled, the spec validated.
    Compile,
    /// The positions in Kafka are looked after: Secrets are read, an observer is started.
    Kafka,
    /// What is there is taken from memory.
    Observe,
    /// What is to be done is decided.
    Decide,
    /// Assignment and owned objects are written.
    Apply,
    /// Events and the status are written.
    Status,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 6] = [Self::Compile, Self::Kafka, Self::Observe, Self::Decide, Self::Apply, Self::Status];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Kafka => "kafka",
            Self::Observe => "observe",
            Self::Decide => "decide",
            Self::Apply => "apply",
            Self::Status => "status",
        }
    }
}

/// The operator's metrics, with a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    duration: Histogram,
    step_duration: HistogramVec,
    errors: IntCounterVec,
    requests: IntCounterVec,
    moves: IntCounterVec,
    move_duration: HistogramVec,
    unowned: IntGaugeVec,
    conditions: IntGaugeVec,
    /// The labels in use of the conditions, so that a Pipeline has one.
    told_conditions: Mutex<Vec<[String; 4]>>,
    lag: IntGaugeVec,
    /// The partitions that are told, so that those that are gone are not.
    told_partitions: Mutex<BTreeSet<[String; 4]>>,
    data_loss: GaugeVec,
    report_age: GaugeVec,
    leads: IntGauge,
}

impl Metrics {
    /// Metrics with all values at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let metrics = Self {
            reconciles: register(r, &d::RECONCILES, counters)?,
            duration: register(r, &d::RECONCILE_DURATION, |d| Histogram::with_opts(buckets(d)))?,
            step_duration: register(r, &d::STEP_DURATION, histograms)?,
            errors: register(r, &d::RECONCILE_ERRORS, counters)?,
            requests: register(r, &d::API_REQUESTS, counters)?,
            moves: register(r, &d::MOVES, counters)?,
            move_duration: register(r, &d::MOVE_DURATION, histograms)?,
            unowned: register(r, &d::UNOWNED, gauges)?,
            conditions: register(r, &d::CONDITION, gauges)?,
            told_conditions: Mutex::default(),
            lag: register(r, &d::LAG, gauges)?,
            told_partitions: Mutex::default(),
            data_loss: register(r, &d::DATA_LOSS, |d| GaugeVec::new(opts(d), d.labels))?,
            report_age: register(r, &d::REPORT_AGE, |d| GaugeVec::new(opts(d), d.labels))?,
            leads: register(r, &d::LEADS, |d| IntGauge::with_opts(opts(d)))?,
            registry,
        };
        let build = register(&metrics.registry, &d::BUILD_INFO, gauges)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// A counter that first appears as 1 has not grown, as far as Prometheus can tell.
    fn begin_at_zero(&self) {
        for outcome in Outcome::ALL {
            self.reconciles.with_label_values(&[outcome.as_str()]);
        }
        for step in Step::ALL {
            self.errors.with_label_values(&[step.as_str()]);
        }
        for reason in Reason::ALL {
            self.moves.with_label_values(&[reason.to_string()]);
        }
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        self.reconciles.with_label_values(&[outcome.as_str()]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A step of a reconcile has ended.
    pub fn stepped(&self, step: Step, outcome: Outcome, took: Duration) {
        self.step_duration.with_label_values(&[step.as_str()]).observe(took.as_secs_f64());
        if outcome == Outcome::Error {
            self.errors.with_label_values(&[step.as_str()]).inc();
        }
    }

    /// The API server was asked something; `code` is `ok`, the status of a refusal, or `none` without an answer.
    pub fn requested(&self, verb: &str, resource: &str, code: &str) {
        self.requests.with_label_values(&[verb, resource, code]).inc();
    }

    /// A step of a move was taken.
    pub fn moved(&self, reason: Reason) {
        self.moves.with_label_values(&[reason.to_string()]).inc();
    }

    /// A move has come to its end.
    pub fn arrived(&self, reason: Reason, took: Duration) {
        self.move_duration.with_label_values(&[reason.to_string()]).observe(took.as_secs_f64());
    }

    /// What is known of a Pipeline's shards and workers.
    pub fn pipeline(&self, key: &PipelineKey, unowned: usize, report_age: Duration) {
        self.unowned.with_label_values(&labels(key)).set(unowned as i64);
        self.report_age.with_label_values(&labels(key)).set(report_age.as_secs_f64());
    }

    /// The lag of a Pipeline's partitions; those that are not among them any more are forgotten.
    pub fn lag(&self, key: &PipelineKey, partitions: &[PartitionState]) {
        let mut told = lock(&self.told_partitions);
        let labels = |state: &PartitionState| {
            [&key.namespace, &key.name, &state.topic, &state.partition.to_string()].map(String::clone)
        };
        let now: BTreeMap<[String; 4], i64> = partitions.iter().map(|state| (labels(state), state.lag())).collect();
        told.retain(|labels| {
            let gone = is_of(key, labels) && !now.contains_key(labels);
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

    /// How soon a Pipeline loses data, in seconds; None if nobody knows.
    pub fn data_loss(&self, key: &PipelineKey, seconds: Option<f64>) {
        match seconds {
            Some(seconds) => self.data_loss.with_label_values(&labels(key)).set(seconds),
            // A series that was never set cannot be removed, and need not be.
            None => _ = self.data_loss.remove_label_values(&labels(key)),
        }
    }

    /// The condition of a Pipeline that holds now, and its reason.
    pub fn condition(&self, key: &PipelineKey, kind: &str, reason: &str) {
        self.forget_condition(key);
        let labels = [&*key.namespace, &*key.name, kind, reason].map(str::to_owned);
        self.conditions.with_label_values(&labels).set(1);
        lock(&self.told_conditions).push(labels);
    }

    /// A Pipeline is gone.
    pub fn forget(&self, key: &PipelineKey) {
        // A series that was never set cannot be removed, and need not be.
        let _ = self.unowned.remove_label_values(&labels(key));
        let _ = self.report_age.remove_label_values(&labels(key));
        self.lag(key, &[]);
        self.data_loss(key, None);
        self.forget_condition(key);
    }

    fn forget_condition(&self, key: &PipelineKey) {
        lock(&self.told_conditions).retain(|labels| {
            let gone = is_of(key, labels);
            if gone {
                let _ = self.conditions.remove_label_values(labels);
            }
            !gone
        });
    }

    /// This replica leads, or no longer: then what it knew of Pipelines is old, and is not told any more.
    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            self.unowned.reset();
            self.report_age.reset();
            self.data_loss.reset();
            self.conditions.reset();
            lock(&self.told_conditions).clear();
            self.lag.reset();
            lock(&self.told_partitions).clear();
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }
}

fn labels(key: &PipelineKey) -> [&str; 2] {
    [&key.namespace, &key.name]
}

/// Whether labels that begin with namespace and pipeline are this Pipeline's.
fn is_of(key: &PipelineKey, labels: &[String; 4]) -> bool {
    labels[0] == key.namespace && labels[1] == key.name
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    definition: &Definition,
    make: impl Fn(&Definition) -> prometheus::Result<C>,
) -> prometheus::Result<C> {
    let family = make(definition)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn opts(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn buckets(definition: &Definition) -> HistogramOpts {
    let opts = HistogramOpts::from(opts(definition));
    match definition.kind {
        Kind::Histogram(bounds) => opts.buckets(bounds.to_vec()),
        Kind::Counter | Kind::Gauge => opts,
    }
}

fn counters(definition: &Definition) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(definition), definition.labels)
}

fn gauges(definition: &Definition) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(definition), definition.labels)
}

fn histograms(definition: &Definition) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(buckets(definition), definition.labels)
}

#[cfg(test)]
mod tests;
