//! Every metric there is: name, kind, labels, meaning. The rest of the module refers to these, so that the registry,
//! the page `docs/metrics.md` and a dashboard cannot drift apart: tests compare the first two.
//!
//! Conventions: the prefix `millstream_`, base units, `_total` on counters. Labels are bounded: shards, nodes of the
//! manifest, fixed enumerations, client error codes; only three gauges have one series a partition. Every metric has
//! the label `pipeline` as well.

/// A metric's definition.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The full name.
    pub name: &'static str,
    /// The kind of metric.
    pub kind: Kind,
    /// The labels, besides those that all series of a registry have.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// Kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution over these buckets' upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word in Prometheus' text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The definition of a counter.
pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

/// The definition of a gauge.
pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

const SHARD: &[&str] = &["shard"];
const PARTITION: &[&str] = &["topic", "partition"];

/// The running version.
pub const BUILD_INFO: Definition = gauge("millstream_build_info", &["version"], "Always 1; the label is the version.");

/// Records read.
pub const RECORDS_IN: Definition =
    counter("millstream_records_in_total", &["shard", "source"], "Records read from a source.");

/// Bytes read.
pub const BYTES_IN: Definition =
    counter("millstream_bytes_in_total", &["shard", "source"], "Bytes of keys and values read from a source.");

/// Records produced.
pub const RECORDS_OUT: Definition =
    counter("millstream_records_out_total", &["shard", "sink"], "Records written to a sink.");

/// Bytes produced.
pub const BYTES_OUT: Definition =
    counter("millstream_bytes_out_total", &["shard", "sink"], "Bytes of keys and values written to a sink.");

/// Bad records.
pub const BAD_RECORDS: Definition = counter(
    "millstream_bad_records_total",
    &["shard", "reason"],
    "Records that could not be processed; with the policy DeadLetter, each is a dead letter.",
);

/// Size of batches.
pub const BATCH_ROWS: Definition = Definition {
    name: "millstream_batch_rows",
    kind: Kind::Histogram(&[1.0, 10.0, 50.0, 100.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4]),
    labels: SHARD,
    help: "Records processed as one batch.",
};

/// Time of processing.
pub const BUSY_SECONDS: Definition = counter(
    "millstream_busy_seconds_total",
    SHARD,
    "Time in which a shard's thread worked; the busy ratio is rate(busy) / (rate(busy) + rate(idle)).",
);

/// Time of waiting.
pub const IDLE_SECONDS: Definition =
    counter("millstream_idle_seconds_total", SHARD, "Time in which a shard's thread waited for input or for Kafka.");

/// Lag in records.
pub const LAG_RECORDS: Definition = gauge(
    "millstream_lag_records",
    PARTITION,
    "Records between the last checkpoint's position and the last stable offset.",
);

/// Lag in seconds.
pub const LAG_SECONDS: Definition = gauge(
    "millstream_lag_seconds",
    PARTITION,
    "Age of the oldest record behind the last checkpoint's position; 0 without lag.",
);

/// What open transactions hide.
pub const OPEN_TRANSACTION_RECORDS: Definition = gauge(
    "millstream_source_open_transaction_records",
    PARTITION,
    "High watermark minus last stable offset: what open transactions of the source's writers hold back.",
);

/// How long checkpoints take.
pub const CHECKPOINT_DURATION: Definition = Definition {
    name: "millstream_checkpoint_duration_seconds",
    kind: Kind::Histogram(&[0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
    labels: SHARD,
    help: "Time from the end of input to the committed transaction.",
};

/// Age of the last checkpoint.
pub const CHECKPOINT_AGE: Definition = gauge(
    "millstream_checkpoint_age_seconds",
    SHARD,
    "Time since the shard's last checkpoint; grows while there is nothing to commit, too.",
);

/// Age of the open transaction.
pub const OPEN_TRANSACTION_AGE: Definition =
    gauge("millstream_open_transaction_age_seconds", SHARD, "Age of the shard's own open transaction; 0 without one.");

/// Latency.
pub const LATENCY: Definition = Definition {
    name: "millstream_latency_seconds",
    kind: Kind::Histogram(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0]),
    labels: SHARD,
    help: "Time from a source record's timestamp to the commit of what was made of it.",
};

/// Transactions by outcome.
pub const TRANSACTIONS: Definition =
    counter("millstream_transactions_total", &["shard", "outcome"], "Transactions that ended, by outcome.");

/// Takeovers by reason.
pub const TAKEOVERS: Definition =
    counter("millstream_takeovers_total", &["shard", "reason"], "Takeovers of a shard by this process, by reason.");

/// Throttling.
pub const THROTTLED_SECONDS: Definition = counter(
    "millstream_throttled_seconds_total",
    &[],
    "Time for which brokers asked this process to hold back because of quotas.",
);

/// Errors of the client.
pub const CLIENT_ERRORS: Definition =
    counter("millstream_client_errors_total", &["code"], "Errors that the Kafka client reported, by its code.");

/// All of them, in the order of the page.
pub const ALL: [Definition; 20] = [
    RECORDS_IN,
    BYTES_IN,
    RECORDS_OUT,
    BYTES_OUT,
    BAD_RECORDS,
    LAG_RECORDS,
    LAG_SECONDS,
    OPEN_TRANSACTION_RECORDS,
    LATENCY,
    CHECKPOINT_DURATION,
    CHECKPOINT_AGE,
    OPEN_TRANSACTION_AGE,
    TRANSACTIONS,
    TAKEOVERS,
    BATCH_ROWS,
    BUSY_SECONDS,
    IDLE_SECONDS,
    THROTTLED_SECONDS,
    CLIENT_ERRORS,
    BUILD_INFO,
];
