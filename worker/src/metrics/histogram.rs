//! A histogram that takes many observations of one value at once.
//!
//! Prometheus' own counts one observation a call. Latency is known for a whole group of records at a time, and nothing
//! in a shard's loop may cost something per record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::definitions::{Definition, Kind};

/// Weighted histograms of one name, one for each shard. Clones share their values.
#[derive(Clone, Debug)]
pub(super) struct ShardHistograms {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    desc: Desc,
    shards: Arc<Mutex<BTreeMap<u32, Arc<Mutex<Values>>>>>,
}

/// One shard's distribution; clones share it.
#[derive(Clone, Debug)]
pub(super) struct WeightedHistogram {
    bounds: &'static [f64],
    values: Arc<Mutex<Values>>,
}

#[derive(Debug, Default)]
struct Values {
    /// Observations in each bucket, not cumulated; the last is above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl WeightedHistogram {
    /// Counts `n` observations of `value`.
    pub(super) fn observe(&self, value: f64, n: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.counts[bucket] += n;
        values.sum += value * n as f64;
    }
}

impl ShardHistograms {
    /// Histograms by a definition whose only label is the shard.
    pub(super) fn new(definition: &Definition) -> prometheus::Result<Self> {
        let labels = definition.labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(definition.name.into(), definition.help.into(), labels, std::collections::HashMap::new())?;
        let bounds = match definition.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        };
        Ok(Self { name: definition.name, help: definition.help, bounds, desc, shards: Arc::default() })
    }

    /// The histogram of a shard.
    pub(super) fn shard(&self, shard: u32) -> WeightedHistogram {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let values = shards
            .entry(shard)
            .or_insert_with(|| Arc::new(Mutex::new(Values { counts: vec![0; self.bounds.len() + 1], sum: 0.0 })));
        WeightedHistogram { bounds: self.bounds, values: Arc::clone(values) }
    }

    fn metric(&self, shard: u32, values: &Values) -> proto::Metric {
        let mut label = proto::LabelPair::default();
        label.set_name("shard".into());
        label.set_value(shard.to_string());
        let mut metric = proto::Metric::from_label(vec![label]);
        metric.set_histogram(values.to_proto(self.bounds));
        metric
    }
}

impl Values {
    fn to_proto(&self, bounds: &[f64]) -> proto::Histogram {
        let mut cumulated = 0;
        let buckets = bounds.iter().zip(&self.counts).map(|(bound, count)| {
            cumulated += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulated);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.counts.iter().sum());
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

impl Collector for ShardHistograms {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = shards.iter().map(|(shard, values)| {
            let values = values.lock().unwrap_or_else(PoisonError::into_inner);
            self.metric(*shard, &values)
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}
