//! What a topic takes: records that its brokers would refuse are found before they are written.

use arrow::array::{Array, BinaryArray, Int64Array, ListArray, UInt32Array};

use crate::records::{BadRecord, Reason, SinkBatch, take_headers};

/// The settings of a topic that decide which records it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// `max.message.bytes`: the most bytes of a record batch.
    pub max_bytes: u64,
    /// `message.timestamp.before.max.ms`.
    pub before_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_ms: i64,
    /// Whether `cleanup.policy` includes `compact`.
    pub compacted: bool,
}

impl TopicLimits {
    /// Limits that refuse nothing.
    pub const NONE: Self = Self { max_bytes: u64::MAX, before_ms: i64::MAX, after_ms: i64::MAX, compacted: false };

    /// Reads a topic's settings; missing ones limit nothing.
    pub fn from_settings(settings: &[(String, String)]) -> Self {
        let value = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let number = |name| value(name).and_then(|text| text.parse::<i64>().ok());
        // With the time of appending, the broker replaces whatever stands in the record.
        let replaced = value("message.timestamp.type") == Some("LogAppendTime");
        let limit = |name| if replaced { i64::MAX } else { number(name).unwrap_or(i64::MAX) };
        Self {
            max_bytes: number("max.message.bytes").and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX),
            before_ms: limit("message.timestamp.before.max.ms"),
            after_ms: limit("message.timestamp.after.max.ms"),
            compacted: value("cleanup.policy").is_some_and(|policy| policy.split(',').any(|p| p.trim() == "compact")),
        }
    }

    /// Whether a timestamp would be taken.
    pub fn takes_timestamp(&self, timestamp: i64, now: i64) -> bool {
        timestamp < 0
            || (now.saturating_sub(timestamp) <= self.before_ms && timestamp.saturating_sub(now) <= self.after_ms)
    }
}

/// An upper bound of the bytes of a batch with this one record, uncompressed: 61 of the batch's header, at most 36 of
/// lengths and deltas, and 10 a header (`DefaultRecord.sizeOf`).
pub fn batch_bytes(key: usize, value: usize, headers: Option<(&ListArray, usize)>) -> u64 {
    let headers = headers.map_or(0, |(headers, row)| {
        let entries = headers.value(row);
        let entries = arrow::array::AsArray::as_struct(entries.as_ref());
        let names = arrow::array::AsArray::as_string::<i32>(entries.column(0));
        let values: &BinaryArray = arrow::array::AsArray::as_binary::<i32>(entries.column(1));
        (0..names.len()).map(|i| names.value(i).len() + values.value(i).len() + 10).sum::<usize>()
    });
    (61 + 36 + key + value + headers) as u64
}

/// Takes the records that the topic would refuse out of a batch. `now` in milliseconds since 1970.
pub fn check(
    batch: SinkBatch,
    sink: &std::sync::Arc<str>,
    topic: &str,
    limits: &TopicLimits,
    compressed: bool,
    now: i64,
) -> (SinkBatch, Vec<BadRecord>) {
    let mut bad = Vec::new();
    // A record that compresses may still fit: whether it does, only the broker can say.
    let max_bytes = if compressed { u64::MAX } else { limits.max_bytes };
    if fits(&batch, limits, max_bytes, now) {
        return (batch, bad);
    }
    let mut good = Vec::with_capacity(batch.rows.len());
    for row in 0..batch.rows.len() {
        match refusal(&batch, row, topic, limits, max_bytes, now) {
            None => good.push(row as u32),
            Some((reason, message)) => bad.push(BadRecord {
                row: batch.rows.value(row),
                node: std::sync::Arc::clone(sink),
                reason,
                message,
                derived: None,
            }),
        }
    }
    (if bad.is_empty() { batch } else { take(&batch, &UInt32Array::from(good)) }, bad)
}

/// Whether the batch as a whole is within the limits: a few looks at extremes instead of one at each record.
fn fits(batch: &SinkBatch, limits: &TopicLimits, max_bytes: u64, now: i64) -> bool {
    let keys = !limits.compacted || batch.keys.null_count() == 0;
    let time = |extreme: Option<i64>| extreme.is_none_or(|timestamp| limits.takes_timestamp(timestamp, now));
    let unlimited = limits.before_ms == i64::MAX && limits.after_ms == i64::MAX;
    let times =
        unlimited || (time(arrow::compute::min(&batch.timestamps)) && time(arrow::compute::max(&batch.timestamps)));
    let largest = longest(&batch.keys) + longest(&batch.values);
    let sizes = batch.headers.is_none() && batch_bytes(0, largest, None) <= max_bytes || max_bytes == u64::MAX;
    keys && times && sizes
}

/// The bytes of the longest row. Offsets ascend, so that nothing wraps; to check it would take longer than the rest.
fn longest(column: &BinaryArray) -> usize {
    let lengths = column.value_offsets().array_windows().map(|[begin, end]| end.wrapping_sub(*begin));
    lengths.fold(0, i32::max) as usize
}

fn refusal(
    batch: &SinkBatch,
    row: usize,
    topic: &str,
    limits: &TopicLimits,
    max_bytes: u64,
    now: i64,
) -> Option<(Reason, String)> {
    let length = |array: &BinaryArray| if array.is_valid(row) { array.value(row).len() } else { 0 };
    let headers = batch.headers.as_ref().map(|headers| (headers, row));
    let bytes = batch_bytes(length(&batch.keys), length(&batch.values), headers);
    if bytes > max_bytes {
        let text =
            format!("the record needs up to {bytes} bytes, topic `{topic}` takes {max_bytes} (max.message.bytes)");
        return Some((Reason::TooLarge, text));
    }
    if limits.compacted && batch.keys.is_null(row) {
        let text = format!("the record has no key, and topic `{topic}` is compacted; set keyColumn");
        return Some((Reason::NullKey, text));
    }
    let timestamp = batch.timestamps.value(row);
    if !limits.takes_timestamp(timestamp, now) {
        let text = format!(
            "the record's timestamp {timestamp} is too far from now for topic `{topic}` (message.timestamp.before.max.ms and .after.max.ms)"
        );
        return Some((Reason::Timestamp, text));
    }
    None
}

/// Some records of a batch.
pub fn take(batch: &SinkBatch, rows: &UInt32Array) -> SinkBatch {
    let take = |array: &dyn Array| arrow::compute::take(array, rows, None);
    let binary = |array: &BinaryArray| {
        let binary = |taken: arrow::array::ArrayRef| arrow::array::AsArray::as_binary::<i32>(taken.as_ref()).clone();
        take(array).map_or_else(|_| array.slice(0, 0), binary)
    };
    let timestamps: Int64Array = rows.values().iter().map(|row| Some(batch.timestamps.value(*row as usize))).collect();
    SinkBatch {
        sink: batch.sink,
        rows: rows.values().iter().map(|row| Some(batch.rows.value(*row as usize))).collect(),
        keys: binary(&batch.keys),
        values: binary(&batch.values),
        timestamps,
        headers: batch.headers.as_ref().and_then(|headers| take_headers(headers, rows).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn batch() -> SinkBatch {
        SinkBatch {
            sink: 0,
            rows: UInt32Array::from(vec![3, 5, 8]),
            keys: BinaryArray::from_opt_vec(vec![Some(b"k"), None, Some(b"k")]),
            values: BinaryArray::from_opt_vec(vec![Some(b"short"), Some(b"short"), Some(&[b'x'; 400])]),
            timestamps: Int64Array::from(vec![NOW, NOW, NOW + 7_200_000]),
            headers: None,
        }
    }

    fn refused(limits: TopicLimits, compressed: bool) -> (Vec<u32>, Vec<(u32, Reason)>) {
        let (good, bad) = check(batch(), &"out".into(), "t", &limits, compressed, NOW);
        (good.rows.values().to_vec(), bad.into_iter().map(|b| (b.row, b.reason)).collect())
    }

    #[test]
    fn records_that_a_topic_would_refuse_are_taken_out() {
        assert_eq!(refused(TopicLimits::NONE, false), (vec![3, 5, 8], vec![]));
        let size = TopicLimits { max_bytes: 300, ..TopicLimits::NONE };
        assert_eq!(refused(size, false), (vec![3, 5], vec![(8, Reason::TooLarge)]));
        assert_eq!(refused(size, true), (vec![3, 5, 8], vec![]));
        let compacted = TopicLimits { compacted: true, ..TopicLimits::NONE };
        assert_eq!(refused(compacted, false), (vec![3, 8], vec![(5, Reason::NullKey)]));
        let hour = TopicLimits { after_ms: 3_600_000, ..TopicLimits::NONE };
        assert_eq!(refused(hour, false), (vec![3, 5], vec![(8, Reason::Timestamp)]));
    }

    #[test]
    fn settings_are_read_as_brokers_give_them() {
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut settings = vec![
            setting("max.message.bytes", "1048588"),
            setting("message.timestamp.after.max.ms", "3600000"),
            setting("message.timestamp.before.max.ms", "9223372036854775807"),
            setting("cleanup.policy", "compact,delete"),
        ];
        let limits = TopicLimits::from_settings(&settings);
        assert_eq!((limits.max_bytes, limits.after_ms, limits.compacted), (1_048_588, 3_600_000, true));
        settings.push(setting("message.timestamp.type", "LogAppendTime"));
        assert_eq!(TopicLimits::from_settings(&settings).after_ms, i64::MAX);
        assert_eq!(TopicLimits::from_settings(&[]), TopicLimits::NONE);
    }
}
