//! The registry with one family a definition.

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::definitions::{self, Definition, Kind};
use super::histogram::ShardHistograms;

/// Every family, registered; clones share their values.
#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) records_in: IntCounterVec,
    pub(super) bytes_in: IntCounterVec,
    pub(super) records_out: IntCounterVec,
    pub(super) bytes_out: IntCounterVec,
    pub(super) bad_records: IntCounterVec,
    pub(super) lag_records: IntGaugeVec,
    pub(super) lag_seconds: GaugeVec,
    pub(super) open_transaction_records: IntGaugeVec,
    pub(super) latency: ShardHistograms,
    pub(super) checkpoint_duration: HistogramVec,
    pub(super) checkpoint_age: GaugeVec,
    pub(super) open_transaction_age: GaugeVec,
    pub(super) transactions: IntCounterVec,
    pub(super) takeovers: IntCounterVec,
    pub(super) batch_rows: HistogramVec,
    pub(super) busy: CounterVec,
    pub(super) idle: CounterVec,
    pub(super) throttled: Counter,
    pub(super) client_errors: IntCounterVec,
}

impl Families {
    /// All families; every series carries the label `pipeline`.
    pub(super) fn new(pipeline: &str) -> Self {
        use definitions as d;
        let labels = HashMap::from([("pipeline".to_owned(), pipeline.to_owned())]);
        let registry = valid(Registry::new_custom(None, Some(labels)));
        let r = &registry;
        let build_info = register(r, &d::BUILD_INFO, |d| IntGaugeVec::new(opts(d), d.labels));
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            records_in: register(r, &d::RECORDS_IN, |d| IntCounterVec::new(opts(d), d.labels)),
            bytes_in: register(r, &d::BYTES_IN, |d| IntCounterVec::new(opts(d), d.labels)),
            records_out: register(r, &d::RECORDS_OUT, |d| IntCounterVec::new(opts(d), d.labels)),
            bytes_out: register(r, &d::BYTES_OUT, |d| IntCounterVec::new(opts(d), d.labels)),
            bad_records: register(r, &d::BAD_RECORDS, |d| IntCounterVec::new(opts(d), d.labels)),
            lag_records: register(r, &d::LAG_RECORDS, |d| IntGaugeVec::new(opts(d), d.labels)),
            lag_seconds: register(r, &d::LAG_SECONDS, |d| GaugeVec::new(opts(d), d.labels)),
            open_transaction_records: register(r, &d::OPEN_TRANSACTION_RECORDS, |d| {
                IntGaugeVec::new(opts(d), d.labels)
            }),
            latency: register(r, &d::LATENCY, ShardHistograms::new),
            checkpoint_duration: register(r, &d::CHECKPOINT_DURATION, histogram),
            checkpoint_age: register(r, &d::CHECKPOINT_AGE, |d| GaugeVec::new(opts(d), d.labels)),
            open_transaction_age: register(r, &d::OPEN_TRANSACTION_AGE, |d| GaugeVec::new(opts(d), d.labels)),
            transactions: register(r, &d::TRANSACTIONS, |d| IntCounterVec::new(opts(d), d.labels)),
            takeovers: register(r, &d::TAKEOVERS, |d| IntCounterVec::new(opts(d), d.labels)),
            batch_rows: register(r, &d::BATCH_ROWS, histogram),
            busy: register(r, &d::BUSY_SECONDS, |d| CounterVec::new(opts(d), d.labels)),
            idle: register(r, &d::IDLE_SECONDS, |d| CounterVec::new(opts(d), d.labels)),
            throttled: register(r, &d::THROTTLED_SECONDS, |d| Counter::with_opts(opts(d))),
            client_errors: register(r, &d::CLIENT_ERRORS, |d| IntCounterVec::new(opts(d), d.labels)),
            registry,
        }
    }
}

fn opts(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn histogram(definition: &Definition) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(definition.name, definition.help);
    match definition.kind {
        Kind::Histogram(bounds) => HistogramVec::new(opts.buckets(bounds.to_vec()), definition.labels),
        Kind::Counter | Kind::Gauge => HistogramVec::new(opts, definition.labels),
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    definition: &Definition,
    make: impl Fn(&Definition) -> prometheus::Result<C>,
) -> C {
    let family = valid(make(definition));
    valid(registry.register(Box::new(family.clone())));
    family
}

/// Names and labels are constants: whether they are valid and distinct is decided when this is compiled, and shown by
/// the first test that makes a registry.
#[expect(clippy::expect_used, reason = "only the constants of `definitions` could be at fault")]
fn valid<T>(result: prometheus::Result<T>) -> T {
    result.expect("metric definitions are valid and distinct")
}
