//! Bad records as they go to the dead-letter topic: key and value as they were, and headers that say what was wrong.

use arrow::array::{Array, BinaryArray, BinaryBuilder, Int64Array, ListArray};

use super::limits::{TopicLimits, batch_bytes};
use crate::kafka::columns::HeaderColumns;
use crate::records::{BadRecord, SourceBatch};

/// The longest message in a header; the rest tells nobody more.
const MAX_MESSAGE: usize = 2048;

/// Records for the dead-letter topic, as columns of equal length.
#[derive(Debug)]
pub struct DeadLetters {
    /// The source record's partition, which the dead letter's partition follows from.
    pub partitions: Vec<i32>,
    /// The source records' keys.
    pub keys: BinaryArray,
    /// The source records' values, or the derived rows as JSON.
    pub values: BinaryArray,
    /// The source records' timestamps; -1 where the dead-letter topic would not take them.
    pub timestamps: Int64Array,
    /// The source records' headers and ours.
    pub headers: ListArray,
}

/// Makes dead letters of the bad records of a batch. `now` in milliseconds since 1970.
pub fn dead_letters(batch: &SourceBatch, bad: &[BadRecord], limits: &TopicLimits, now: i64) -> DeadLetters {
    let mut partitions = Vec::with_capacity(bad.len());
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut timestamps = Vec::with_capacity(bad.len());
    let mut headers = HeaderColumns::after(0);
    for record in bad {
        let row = record.row as usize;
        let letter = Letter::new(batch, record, limits);
        partitions.push(batch.partition(row).partition);
        keys.append_option(letter.key);
        values.append_option(letter.value);
        let timestamp = batch.timestamps.value(row);
        timestamps.push(if limits.takes_timestamp(timestamp, now) { timestamp } else { -1 });
        headers.push(letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    }
    DeadLetters {
        partitions,
        keys: keys.finish(),
        values: values.finish(),
        timestamps: Int64Array::from(timestamps),
        headers: headers.finish(),
    }
}

type Header = (String, Option<Vec<u8>>);

struct Letter<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header>,
}

impl<'a> Letter<'a> {
    fn new(batch: &'a SourceBatch, record: &'a BadRecord, limits: &TopicLimits) -> Self {
        let row = record.row as usize;
        let bytes = |array: &'a BinaryArray| array.is_valid(row).then(|| array.value(row));
        let value = record.derived.as_deref().or_else(|| bytes(&batch.values));
        let mut letter = Self { key: bytes(&batch.keys), value, headers: coordinates(batch, record) };
        let own: usize = letter.headers.iter().map(header_bytes).sum();
        letter.keep_headers(batch, row, own, limits);
        letter.truncate(limits);
        letter
    }

    /// Keeps the source record's headers where there is room for them.
    fn keep_headers(&mut self, batch: &SourceBatch, row: usize, own: usize, limits: &TopicLimits) {
        let Some(column) = &batch.headers else { return };
        let theirs = batch_bytes(0, 0, Some((column, row)));
        if theirs.saturating_add(own as u64) > limits.max_bytes / 2 {
            self.headers.push(("millstream.truncated.headers".into(), Some(b"true".to_vec())));
            return;
        }
        let entries = column.value(row);
        let entries = arrow::array::AsArray::as_struct(entries.as_ref());
        let names = arrow::array::AsArray::as_string::<i32>(entries.column(0));
        let values: &BinaryArray = arrow::array::AsArray::as_binary::<i32>(entries.column(1));
        let kept = (0..entries.len())
            .map(|i| (names.value(i).to_owned(), values.is_valid(i).then(|| values.value(i).to_vec())));
        self.headers.splice(0..0, kept);
    }

    /// Cuts value, then key, to what the topic takes, and says how long they were.
    fn truncate(&mut self, limits: &TopicLimits) {
        // Two headers may still be added below.
        let fixed = 61 + 36 + 128 + self.headers.iter().map(header_bytes).sum::<usize>();
        let room = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX).saturating_sub(fixed);
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let (key, value) = (length(self.key), length(self.value));
        if key.saturating_add(value) <= room {
            return;
        }
        let key_room = key.min(room / 2);
        if key > key_room {
            self.key = self.key.map(|bytes| &bytes[..key_room]);
            self.headers.push(("millstream.truncated.key".into(), Some(key.to_string().into_bytes())));
        }
        let value_room = room.saturating_sub(key_room);
        if value > value_room {
            self.value = self.value.map(|bytes| &bytes[..value_room]);
            self.headers.push(("millstream.truncated.value".into(), Some(value.to_string().into_bytes())));
        }
    }
}

fn header_bytes((name, value): &Header) -> usize {
    name.len() + value.as_ref().map_or(0, Vec::len) + 10
}

fn coordinates(batch: &SourceBatch, record: &BadRecord) -> Vec<Header> {
    let row = record.row as usize;
    let partition = batch.partition(row);
    let header = |name: &str, value: String| (format!("millstream.{name}"), Some(value.into_bytes()));
    vec![
        header("topic", partition.topic.to_string()),
        header("partition", partition.partition.to_string()),
        header("offset", batch.offsets.value(row).to_string()),
        header("timestamp", batch.timestamps.value(row).to_string()),
        header("node", record.node.to_string()),
        header("reason", record.reason.as_str().to_owned()),
        header("message", cut(&record.message).to_owned()),
    ]
}

fn cut(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::{Reason, TopicPartition};
    use arrow::array::UInt32Array;
    use std::sync::Arc;

    fn batch() -> SourceBatch {
        let mut headers = HeaderColumns::after(1);
        headers.push([("trace", Some(b"1".as_slice()))].into_iter());
        SourceBatch {
            source: 0,
            partitions: Arc::from([TopicPartition { topic: "in".into(), partition: 3 }]),
            slots: UInt32Array::from(vec![0, 0]),
            offsets: Int64Array::from(vec![10, 11]),
            timestamps: Int64Array::from(vec![1000, 9_000_000]),
            keys: BinaryArray::from_opt_vec(vec![None, Some(b"key")]),
            values: BinaryArray::from_opt_vec(vec![Some(&[b'v'; 1000]), Some(b"bad")]),
            headers: Some(headers.finish()),
        }
    }

    fn bad(row: u32, derived: Option<Vec<u8>>) -> BadRecord {
        BadRecord { row, node: "clean".into(), reason: Reason::Type, message: "no number".into(), derived }
    }

    fn headers(letters: &DeadLetters, row: usize) -> Vec<(String, String)> {
        let entries = letters.headers.value(row);
        let entries = arrow::array::AsArray::as_struct(entries.as_ref());
        let names = arrow::array::AsArray::as_string::<i32>(entries.column(0)).clone();
        let values: BinaryArray = arrow::array::AsArray::as_binary::<i32>(entries.column(1)).clone();
        (0..names.len())
            .map(|i| (names.value(i).into(), String::from_utf8(values.value(i).to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn a_dead_letter_is_the_record_with_its_story() {
        let limits = TopicLimits { after_ms: 100, ..TopicLimits::NONE };
        let letters = dead_letters(&batch(), &[bad(1, None)], &limits, 2000);
        assert_eq!(
            (letters.partitions[0], letters.keys.value(0), letters.values.value(0)),
            (3, &b"key"[..], &b"bad"[..])
        );
        assert_eq!(letters.timestamps.value(0), -1, "the dead-letter topic would refuse the record's own time");
        let expected = [
            ("trace", "1"),
            ("millstream.topic", "in"),
            ("millstream.partition", "3"),
            ("millstream.offset", "11"),
            ("millstream.timestamp", "9000000"),
            ("millstream.node", "clean"),
            ("millstream.reason", "type"),
            ("millstream.message", "no number"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&letters, 0), expected);
    }

    #[test]
    fn what_is_too_large_is_cut_and_says_so() {
        let limits = TopicLimits { max_bytes: 700, ..TopicLimits::NONE };
        let letters = dead_letters(&batch(), &[bad(0, None), bad(1, Some(b"{\"a\":1}".to_vec()))], &limits, 2000);
        assert!(letters.values.value(0).len() < 600);
        let bytes = batch_bytes(0, letters.values.value(0).len(), Some((&letters.headers, 0)));
        assert!(bytes <= 700, "{bytes}");
        assert!(headers(&letters, 0).contains(&("millstream.truncated.value".into(), "1000".into())));
        assert_eq!(letters.values.value(1), b"{\"a\":1}");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let message = "ä".repeat(MAX_MESSAGE);
        assert_eq!(cut(&message).len(), MAX_MESSAGE);
        assert_eq!(cut(&format!("x{message}")).len(), MAX_MESSAGE - 1);
    }
}
