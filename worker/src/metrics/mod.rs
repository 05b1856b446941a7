//! What a worker counts, for Prometheus and for the progress line.
//!
//! The only module that knows metric names. One [`Metrics`] a pipeline, with a registry of its own, so that several
//! live in one process without mixing. Handles are cheap: a batch costs some atomic additions, a record nothing.
//! Nothing here fails or blocks for longer than a map look-up.

mod definitions;
mod families;
mod histogram;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Histogram, IntCounter, TextEncoder};

pub use self::definitions::{ALL, Definition, Kind, counter, gauge};
use self::families::Families;
use self::histogram::WeightedHistogram;
use crate::records::Reason;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It is committed.
    Committed,
    /// It was aborted, and its input is read again.
    Aborted,
    /// The answer to the commit was lost; the takeover after it finds out.
    Unknown,
    /// Another process has taken the shard over.
    Fenced,
}

impl TransactionOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Committed, Self::Aborted, Self::Unknown, Self::Fenced];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
            Self::Fenced => "fenced",
        }
    }
}

/// Why a shard was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverReason {
    /// The process started.
    Start,
    /// The shard was fenced, and is still ours.
    Fenced,
    /// The run ended by an error.
    Error,
    /// The assignment gave the shard to this process.
    Assigned,
    /// The secrets of the shard's clients have changed.
    Rotation,
}

impl TakeoverReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Start, Self::Fenced, Self::Error, Self::Assigned, Self::Rotation];

    /// The label's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Fenced => "fenced",
            Self::Error => "error",
            Self::Assigned => "assigned",
            Self::Rotation => "rotation",
        }
    }
}

/// Sums over all shards since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Bad records.
    pub dead_letters: u64,
    /// Records not yet processed; None until any partition's lag is known.
    pub lag: Option<i64>,
}

/// What one shard has counted since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShardTotals {
    /// Records read.
    pub records: f64,
    /// Time at work.
    pub busy_seconds: f64,
    /// Time spent waiting.
    pub idle_seconds: f64,
}

/// The metrics of one pipeline in this process.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    moments: Mutex<BTreeMap<u32, Arc<Mutex<Moments>>>>,
}

/// Moments whose ages are reported; ages are computed when somebody asks.
#[derive(Debug, Default)]
struct Moments {
    checkpoint: Option<Instant>,
    transaction: Option<Instant>,
}

impl Metrics {
    /// Metrics with all values at zero; `pipeline` is the label of that name.
    pub fn new(pipeline: &str) -> Arc<Self> {
        Arc::new(Self { families: Families::new(pipeline), moments: Mutex::default() })
    }

    /// The handles of one shard. Asked for twice, they count into the same series.
    pub fn shard(&self, shard: u32) -> ShardMetrics {
        let label = shard.to_string();
        let families = &self.families;
        let moments = Arc::clone(lock(&self.moments).entry(shard).or_default());
        ShardMetrics {
            bad: Reason::ALL.map(|r| families.bad_records.with_label_values(&[&label, r.as_str()])),
            transactions: TransactionOutcome::ALL
                .map(|o| families.transactions.with_label_values(&[&label, o.as_str()])),
            takeovers: TakeoverReason::ALL.map(|r| families.takeovers.with_label_values(&[&label, r.as_str()])),
            batch_rows: families.batch_rows.with_label_values(&[&label]),
            checkpoint_duration: families.checkpoint_duration.with_label_values(&[&label]),
            latency: families.latency.shard(shard),
            busy: families.busy.with_label_values(&[&label]),
            idle: families.idle.with_label_values(&[&label]),
            families: families.clone(),
            label: label.into(),
            moments,
        }
    }

    /// A partition's lag: records behind the last stable offset, and the age of the oldest of them.
    pub fn partition_lag(&self, topic: &str, partition: i32, records: i64, seconds: f64) {
        let labels = [topic, &partition.to_string()];
        self.families.lag_records.with_label_values(&labels).set(records);
        self.families.lag_seconds.with_label_values(&labels).set(seconds);
    }

    /// What open transactions hold back in a partition: high watermark minus last stable offset.
    pub fn partition_open(&self, topic: &str, partition: i32, records: i64) {
        let labels = [topic, &partition.to_string()];
        self.families.open_transaction_records.with_label_values(&labels).set(records);
    }

    /// Drops the series of a partition that this process no longer reads.
    pub fn forget_partition(&self, topic: &str, partition: i32) {
        let labels = [topic, &partition.to_string()];
        // A series that was never set cannot be removed, and need not be.
        let _ = self.families.lag_records.remove_label_values(&labels);
        let _ = self.families.lag_seconds.remove_label_values(&labels);
        let _ = self.families.open_transaction_records.remove_label_values(&labels);
    }

    /// Brokers asked to hold back for this long.
    pub fn throttled(&self, duration: Duration) {
        self.families.throttled.inc_by(duration.as_secs_f64());
    }

    /// The client reported an error. `code` is its symbolic name; anything else counts as `other`, so that no text
    /// of a message becomes a label.
    pub fn client_error(&self, code: &str) {
        let symbolic =
            !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        self.families.client_errors.with_label_values(&[if symbolic { code } else { "other" }]).inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        self.refresh_ages();
        TextEncoder::new().encode_to_string(&self.families.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }

    /// Sums over all shards.
    pub fn totals(&self) -> Totals {
        let lags = self.families.lag_records.collect();
        let lags = lags.iter().flat_map(MetricFamily::get_metric).map(|metric| metric.get_gauge().get_value() as i64);
        Totals {
            records_in: sum(&self.families.records_in),
            records_out: sum(&self.families.records_out),
            dead_letters: sum(&self.families.bad_records),
            lag: lags.reduce(i64::saturating_add),
        }
    }

    /// What a shard has counted since the process started.
    pub fn shard_totals(&self, shard: u32) -> ShardTotals {
        let label = shard.to_string();
        let families = &self.families;
        ShardTotals {
            records: families.batch_rows.with_label_values(&[&label]).get_sample_sum(),
            busy_seconds: families.busy.with_label_values(&[&label]).get(),
            idle_seconds: families.idle.with_label_values(&[&label]).get(),
        }
    }

    fn refresh_ages(&self) {
        for (shard, moments) in lock(&self.moments).iter() {
            let (label, moments) = (shard.to_string(), lock(moments));
            if let Some(checkpoint) = moments.checkpoint {
                self.families.checkpoint_age.with_label_values(&[&label]).set(checkpoint.elapsed().as_secs_f64());
            }
            let age = moments.transaction.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
            self.families.open_transaction_age.with_label_values(&[&label]).set(age);
        }
    }
}

/// What one shard counts. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    families: Families,
    label: Arc<str>,
    bad: [IntCounter; Reason::ALL.len()],
    transactions: [IntCounter; TransactionOutcome::ALL.len()],
    takeovers: [IntCounter; TakeoverReason::ALL.len()],
    batch_rows: Histogram,
    checkpoint_duration: Histogram,
    latency: WeightedHistogram,
    busy: Counter,
    idle: Counter,
    moments: Arc<Mutex<Moments>>,
}

impl ShardMetrics {
    /// Records and bytes (keys and values) read from a source.
    pub fn batch_in(&self, source: &str, records: u64, bytes: u64) {
        let labels = [&*self.label, source];
        self.families.records_in.with_label_values(&labels).inc_by(records);
        self.families.bytes_in.with_label_values(&labels).inc_by(bytes);
    }

    /// Records and bytes (keys and values) written to a sink.
    pub fn batch_out(&self, sink: &str, records: u64, bytes: u64) {
        let labels = [&*self.label, sink];
        self.families.records_out.with_label_values(&labels).inc_by(records);
        self.families.bytes_out.with_label_values(&labels).inc_by(bytes);
    }

    /// Records that could not be processed.
    pub fn bad(&self, reason: Reason, n: u64) {
        if let Some(place) = Reason::ALL.iter().position(|r| *r == reason) {
            self.bad[place].inc_by(n);
        }
    }

    /// The size of a batch.
    pub fn batch_rows(&self, rows: u64) {
        self.batch_rows.observe(rows as f64);
    }

    /// A transaction ended.
    pub fn transaction(&self, outcome: TransactionOutcome) {
        self.transactions[outcome as usize].inc();
    }

    /// A checkpoint was made just now, and took this long.
    pub fn checkpoint(&self, duration: Duration) {
        self.checkpoint_duration.observe(duration.as_secs_f64());
        lock(&self.moments).checkpoint = Some(Instant::now());
    }

    /// The shard was taken over.
    pub fn takeover(&self, reason: TakeoverReason) {
        self.takeovers[reason as usize].inc();
    }

    /// The shard's thread worked for this long.
    pub fn busy(&self, duration: Duration) {
        self.busy.inc_by(duration.as_secs_f64());
    }

    /// The shard's thread waited for this long.
    pub fn idle(&self, duration: Duration) {
        self.idle.inc_by(duration.as_secs_f64());
    }

    /// Since when a transaction of the shard has been open; None without one.
    pub fn open_transaction(&self, since: Option<Instant>) {
        lock(&self.moments).transaction = since;
    }

    /// `n` records took this long from their timestamps to the commit.
    pub fn latency(&self, latency: Duration, n: u64) {
        self.latency.observe(latency.as_secs_f64(), n);
    }
}

/// A panic of another holder leaves plain numbers behind, which are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sum(counters: &impl Collector) -> u64 {
    let families = counters.collect();
    families.iter().flat_map(MetricFamily::get_metric).map(|metric| metric.get_counter().get_value() as u64).sum()
}

#[cfg(test)]
mod tests;
