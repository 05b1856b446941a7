#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::Array;
use proptest::prelude::*;

use super::*;
use crate::records::{SourceBatch, TopicPartition};

const LIMIT: usize = 1 << 20;
const ALL: Room = Room { rows: usize::MAX, bytes: usize::MAX };

/// A record as a test writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn plain(offset: i64, value: &str) -> Plain {
    Plain { offset, timestamp: 5, key: None, value: Some(value.as_bytes().to_vec()), headers: Vec::new() }
}

fn writer(records: &[Plain], base: i64) -> Writer {
    let mut writer = Writer::new(Vec::new());
    for record in records {
        let row = Row {
            offset: record.offset - base,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        };
        writer.push(row, record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    }
    writer
}

fn batch(records: &[Plain], settings: &Settings) -> Vec<u8> {
    writer(records, settings.base_offset).finish(settings).unwrap()
}

/// A batch of one record a word, from an offset on.
fn words(base_offset: i64, words: &[&str]) -> Vec<u8> {
    let records: Vec<_> = (base_offset..).zip(words).map(|(offset, word)| plain(offset, word)).collect();
    batch(&records, &Settings { base_offset, leader_epoch: 3, ..Settings::default() })
}

fn transactional(base_offset: i64, producer: i64, words: &[&str]) -> Vec<u8> {
    let records: Vec<_> = (base_offset..).zip(words).map(|(offset, word)| plain(offset, word)).collect();
    let producer = Some(Producer { id: producer, epoch: 0, sequence: 0, transactional: true });
    batch(&records, &Settings { base_offset, producer, ..Settings::default() })
}

fn marker_at(base_offset: i64, producer: i64, key: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let value = [0; 6].as_slice();
    writer.push(Row { offset: 0, timestamp: 1, key: Some(key), value: Some(value) }, std::iter::empty());
    let producer = Some(Producer { id: producer, epoch: 0, sequence: -1, transactional: true });
    writer.finish_control(&Settings { base_offset, producer, ..Settings::default() }).unwrap()
}

const ABORT: [u8; 4] = [0, 0, 0, 0];
const COMMIT: [u8; 4] = [0, 0, 0, 1];

/// Writes the checksum that fits the content, so that what is behind it is met.
fn reseal(batch: &mut [u8]) {
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

fn from(offset: i64) -> Position {
    Position { offset, leader_epoch: -1 }
}

/// What reading gives, with at most `room` at once.
struct Read {
    batch: SourceBatch,
    position: Position,
    error: Option<Malformed>,
}

impl Read {
    fn values(&self) -> Vec<String> {
        self.batch.values.iter().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).collect()
    }

    fn plain(&self) -> Vec<Plain> {
        let headers = |row| self.batch.headers.as_ref().map(|headers| crate::kafka::columns::headers_of(headers, row));
        (0..self.batch.len())
            .map(|row| Plain {
                offset: self.batch.offsets.value(row),
                timestamp: self.batch.timestamps.value(row),
                key: self.batch.keys.is_valid(row).then(|| self.batch.keys.value(row).to_vec()),
                value: self.batch.values.is_valid(row).then(|| self.batch.values.value(row).to_vec()),
                headers: headers(row).unwrap_or_default(),
            })
            .collect()
    }
}

fn read_with(mut records: Records, room: Room, end: Option<i64>) -> Read {
    let mut columns = Columns::with_capacity(0, 0, 0);
    let mut decompressor = Decompressor::new(LIMIT);
    let mut error = None;
    let reach = records.reach();
    loop {
        let before = records.position();
        let mut target = Target { columns: &mut columns, slot: 0, headers: true, end };
        let outcome = records.read(&mut target, &mut room.clone(), &mut decompressor);
        assert!(records.position().offset >= before.offset, "positions never go back");
        if let Err(found) = outcome {
            let mut target = Target { columns: &mut columns, slot: 0, headers: true, end };
            let again = records.read(&mut target, &mut room.clone(), &mut decompressor);
            assert_eq!(again, Err(found.clone()), "an error comes again");
            error = Some(found);
            break;
        }
        if records.is_drained() || end.is_some_and(|end| records.position().offset >= end) {
            break;
        }
    }
    if error.is_none() && end.is_none() {
        assert_eq!(records.position(), reach, "what the headers promised");
        assert_eq!(records.bytes(), 0);
    }
    let partitions = Arc::from([TopicPartition { topic: Arc::from("t"), partition: 0 }]);
    Read { batch: columns.finish(&partitions), position: records.position(), error }
}

fn read(bytes: &[Vec<u8>], offset: i64) -> Read {
    read_with(Records::uncommitted(Bytes::from(bytes.concat()), from(offset)), ALL, None)
}

fn read_committed(bytes: &[Vec<u8>], offset: i64, stable: i64, aborted: &[(i64, i64)]) -> Read {
    let aborted = Aborted::new(aborted.iter().copied());
    read_with(Records::committed(Bytes::from(bytes.concat()), from(offset), stable, aborted), ALL, None)
}

#[test]
fn a_batch_has_the_bytes_that_kafka_writes() {
    // From Kafka's DefaultRecordBatch, by hand: one record `k`, `v` with a header `h`, `1`.
    let record = Plain {
        offset: 9,
        timestamp: 1000,
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        headers: vec![("h".to_owned(), Some(b"1".to_vec()))],
    };
    let producer = Some(Producer { id: 1, epoch: 2, sequence: 3, transactional: true });
    let bytes = batch(&[record], &Settings { base_offset: 9, leader_epoch: 4, producer, ..Settings::default() });
    let expected = [
        b"\0\0\0\0\0\0\0\x09\0\0\0\x3e\0\0\0\x04\x02".as_slice(),
        &crc32c::crc32c(&bytes[21..]).to_be_bytes(),
        b"\0\x10\0\0\0\0\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\0\x01\0\x02\0\0\0\x03\0\0\0\x01",
        b"\x18\0\0\0\x02k\x02v\x02\x02h\x021",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn what_is_below_the_position_or_cut_off_is_left_out() {
    let (first, second) = (words(10, &["a", "b", "c"]), words(13, &["d", "e"]));
    let cut = second[..second.len() - 1].to_vec();
    let found = read(&[first.clone(), cut], 11);
    assert_eq!(found.values(), ["b", "c"]);
    assert_eq!(found.position, Position { offset: 13, leader_epoch: 3 });
    let found = read(&[first, second.clone()], 14);
    assert_eq!(found.values(), ["e"]);
    assert_eq!(found.position.offset, 15);
    // Nothing whole: nothing moves.
    assert_eq!(read(&[second[..40].to_vec()], 13).position, from(13));
}

#[test]
fn positions_move_over_what_compaction_removed() {
    // Records 20, 23 and 24 of 20..=29 are left of the first batch, none of the second.
    let mut sparse =
        batch(&[plain(20, "a"), plain(23, "b"), plain(24, "c")], &Settings { base_offset: 20, ..Settings::default() });
    sparse[23..27].copy_from_slice(&9_i32.to_be_bytes());
    reseal(&mut sparse);
    for codec in Codec::ALL {
        let mut empty = Writer::new(Vec::new()).finish(&Settings { base_offset: 30, ..Settings::default() }).unwrap();
        empty[22] = codec.bits() as u8;
        empty[23..27].copy_from_slice(&4_i32.to_be_bytes());
        reseal(&mut empty);
        let found = read(&[sparse.clone(), empty], 0);
        assert_eq!((found.batch.offsets.values().to_vec(), found.error), (vec![20, 23, 24], None), "{codec}");
        assert_eq!(found.position.offset, 35, "{codec}");
    }
}

#[test]
fn committed_records_are_those_of_no_aborted_transaction() {
    let bytes = [
        transactional(10, 7, &["aborted by 7"]),
        transactional(11, 8, &["committed by 8"]),
        transactional(12, 7, &["aborted by 7, too"]),
        words(13, &["of none"]),
        marker_at(14, 7, &ABORT),
        transactional(15, 7, &["committed by 7"]),
        marker_at(16, 8, &COMMIT),
        marker_at(17, 7, &COMMIT),
        transactional(18, 7, &["aborted again"]),
        marker_at(19, 7, &ABORT),
    ];
    let aborted = [(7, 18), (7, 10)];
    let found = read_committed(&bytes, 10, 20, &aborted);
    assert_eq!(found.values(), ["committed by 8", "of none", "committed by 7"]);
    assert_eq!(found.position.offset, 20, "over the last marker");
    // From within an aborted transaction: its first offset is below the position.
    let found = read_committed(&bytes[2..], 12, 20, &aborted);
    assert_eq!(found.values(), ["of none", "committed by 7"]);
    // Up to the last stable offset.
    let found = read_committed(&bytes, 10, 13, &aborted);
    assert_eq!((found.values(), found.position.offset), (vec!["committed by 8".to_owned()], 13));
    // Uncommitted: all but the markers.
    assert_eq!((read(&bytes, 10).batch.len(), read(&bytes, 10).position.offset), (6, 20));
}

#[test]
fn a_batch_of_no_transaction_is_not_aborted_with_its_producer() {
    let records = [plain(11, "idempotent")];
    let producer = Some(Producer { id: 7, epoch: 0, sequence: 0, transactional: false });
    let idempotent = batch(&records, &Settings { base_offset: 11, producer, ..Settings::default() });
    let found = read_committed(&[transactional(10, 7, &["aborted"]), idempotent], 10, 12, &[(7, 10)]);
    assert_eq!(found.values(), ["idempotent"]);
}

#[test]
fn unknown_markers_are_gone_over_and_broken_ones_are_errors() {
    // Type 2 and above are of KRaft; version 1 may follow.
    let found = read_committed(&[marker_at(5, 7, &[0, 0, 0, 2]), marker_at(6, 7, &[0, 1, 0, 0])], 5, 9, &[]);
    assert_eq!((found.position.offset, found.error), (7, None));
    let found = read_committed(&[marker_at(5, 7, &[0, 0, 0])], 5, 9, &[]);
    let error = found.error.unwrap().to_string();
    assert_eq!(
        error,
        "the record batch at offset 5: record 0 of 1: its key is none of a control record: 3 bytes, version 0"
    );
    assert_eq!(found.position.offset, 5);
}

#[test]
fn nothing_is_read_from_the_end_on() {
    let bytes = Bytes::from([words(10, &["a", "b", "c"]), words(13, &["d"])].concat());
    for (end, values, position) in [(10, "", 10), (12, "ab", 12), (13, "abc", 13), (99, "abcd", 14)] {
        let found = read_with(Records::uncommitted(bytes.clone(), from(10)), ALL, Some(end));
        assert_eq!((found.values().concat().as_str(), found.position.offset), (values, position), "end {end}");
    }
    // A marker that goes beyond the end.
    let found = read_with(Records::uncommitted(Bytes::from(marker_at(10, 1, &COMMIT)), from(9)), ALL, Some(10));
    assert_eq!(found.position.offset, 10);
}

#[test]
fn timestamps_are_the_brokers_where_the_topic_says_so() {
    let records = [plain(0, "a"), plain(1, "b")];
    let bytes = batch(&records, &Settings { append_time: Some(99), ..Settings::default() });
    assert_eq!(read(&[bytes], 0).batch.timestamps.values(), &[99, 99]);
    let mut none = plain(0, "a");
    none.timestamp = -1;
    assert_eq!(read(&[batch(&[none], &Settings::default())], 0).batch.timestamps.values(), &[-1]);
}

#[test]
fn headers_are_read_only_where_they_are_wanted() {
    let mut record = plain(0, "a");
    record.headers = vec![("h".to_owned(), None)];
    let mut bytes = batch(&[record], &Settings::default());
    // Whatever is in them: the header's name is longer than the record.
    let at = bytes.len() - 3;
    bytes[at] = 0x7e;
    reseal(&mut bytes);
    let error = read(std::slice::from_ref(&bytes), 0).error.unwrap().to_string();
    assert_eq!(error, "the record batch at offset 0: record 0 of 1: its header name's length is 63, with 2 bytes left");
    let mut columns = Columns::with_capacity(0, 1, 1);
    let mut target = Target { columns: &mut columns, slot: 0, headers: false, end: None };
    let mut records = Records::uncommitted(Bytes::from(bytes), from(0));
    records.read(&mut target, &mut ALL.clone(), &mut Decompressor::new(LIMIT)).unwrap();
    assert!(records.is_drained() && columns.len() == 1);
}

#[test]
fn damage_is_told_with_what_was_found_and_positions_stay_before_it() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change); 12] = [
        ("is of message format v1;", |b| b[16] = 1),
        ("is of message format v9;", |b| b[16] = 9),
        ("its length field says 3 bytes", |b| b[8..12].copy_from_slice(&3_i32.to_be_bytes())),
        ("its checksum is 0x", |b| b[70] ^= 1),
        ("its attributes name compression codec 7", |b| b[22] = 7),
        ("says that it has 900 records in", |b| b[57..61].copy_from_slice(&900_i32.to_be_bytes())),
        ("says that it has -2 records in", |b| b[57..61].copy_from_slice(&(-2_i32).to_be_bytes())),
        ("has 11 bytes behind its last record", |b| b[57..61].copy_from_slice(&2_i32.to_be_bytes())),
        ("record 0 of 3: its length is -1, with 32 bytes left", |b| b[61] = 1),
        ("record 1 of 3: its offset is 0 behind the batch's first; allowed is 1 to 2", |b| b[75] = 0),
        ("record 2 of 3: its value's length is 63, with 5 bytes left", |b| b[88] = 0x7e),
        ("begins at offset 40 and its last record is -1 behind it", |b| b[23..27].fill(0xff)),
    ];
    for (expected, change) in cases {
        let mut second = words(40, &["wert", "wert", "wert"]);
        change(&mut second);
        if !expected.contains("checksum") {
            reseal(&mut second);
        }
        let found = read(&[words(30, &["a"]), second], 30);
        let error = found.error.unwrap().to_string();
        let whole = error.starts_with("the record batch at offset 40: ")
            || error.starts_with("the record batch at offset 31: ");
        assert!(whole && error.contains(expected), "expected {expected}, found {error}");
        assert_eq!(found.position.offset, 31.max(found.batch.offsets.values().last().unwrap() + 1));
    }
}

#[test]
fn a_compressed_batch_may_not_be_larger_than_its_bound() {
    for codec in Codec::ALL.into_iter().skip(1) {
        let large = plain(0, &"x".repeat(LIMIT));
        let bytes = batch(&[large], &Settings { codec, ..Settings::default() });
        let error = read(&[bytes], 0).error.unwrap().to_string();
        assert!(error.contains(&format!("is larger than {LIMIT} bytes when decompressed from {codec}")), "{error}");
    }
}

#[test]
fn columns_are_written_as_they_were_read() {
    let mut headed = plain(7, "b");
    headed.headers = vec![("h".to_owned(), Some(b"x".to_vec())), ("h".to_owned(), None)];
    headed.key = Some(Vec::new());
    let mut tombstone = plain(8, "");
    tombstone.value = None;
    let records = [plain(6, "a"), headed, tombstone];
    let settings = Settings { base_offset: 6, ..Settings::default() };
    let original = batch(&records, &settings);
    let found = read(std::slice::from_ref(&original), 0);
    let columns = &found.batch;
    let rows = Rows {
        keys: &columns.keys,
        values: &columns.values,
        timestamps: &columns.timestamps,
        headers: columns.headers.as_ref(),
    };
    let mut writer = Writer::new(Vec::new());
    assert_eq!(writer.extend(rows, 0..3, 0, 1), 1, "full with the first");
    assert_eq!(writer.extend(rows, 1..3, 0, usize::MAX), 2);
    assert_eq!((writer.len(), writer.is_empty()), (3, false));
    assert_eq!(writer.bytes(), original.len() - HEADER);
    assert_eq!(writer.finish(&settings).unwrap(), original);
}

fn any_plain() -> impl Strategy<Value = Plain> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec(("[a-zä]{0,6}", bytes()), 0..3);
    (1_i64..4, -1_i64..2_000_000_000_000, bytes(), bytes(), headers)
        .prop_map(|(offset, timestamp, key, value, headers)| Plain { offset, timestamp, key, value, headers })
}

/// Batches with what is in them, offsets ascending with gaps.
fn any_batches() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Plain>)> {
    let one = (proptest::collection::vec(any_plain(), 1..12), 0..Codec::ALL.len());
    proptest::collection::vec(one, 1..4).prop_map(|batches| {
        let (mut bytes, mut all, mut next) = (Vec::new(), Vec::new(), 100);
        for (mut records, codec) in batches {
            let base_offset = next;
            for record in &mut records {
                next += record.offset;
                record.offset = next - 1;
            }
            let settings = Settings { base_offset, codec: Codec::ALL[codec], ..Settings::default() };
            bytes.push(batch(&records, &settings));
            all.extend(records);
        }
        (bytes, all)
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(usize, u8),
    Cut(usize),
    Overwrite(usize, [u8; 4]),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 1_u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), any::<[u8; 4]>()).prop_map(|(at, with)| Mutation::Overwrite(at, with)),
        (any::<usize>(), Just([0x7f, 0xff, 0xff, 0xff])).prop_map(|(at, with)| Mutation::Overwrite(at, with)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let length = bytes.len();
    match mutation {
        Mutation::Flip(at, bits) => bytes[at % length] ^= bits,
        Mutation::Cut(at) => bytes.truncate(at % length),
        Mutation::Overwrite(at, with) => {
            let at = at % length;
            let end = length.min(at + with.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
    }
}

proptest! {
    #[test]
    fn records_survive(
        (bytes, all) in any_batches(),
        skip in 0_i64..30,
        room in (1_usize..9, 1_usize..400),
    ) {
        let records = Records::uncommitted(Bytes::from(bytes.concat()), from(100 + skip));
        let found = read_with(records, Room { rows: room.0, bytes: room.1 }, None);
        let expected: Vec<_> = all.iter().filter(|record| record.offset >= 100 + skip).cloned().collect();
        prop_assert_eq!(found.error.clone(), None);
        prop_assert_eq!(found.plain(), expected);
        let last = all.last().map_or(100, |record| record.offset + 1);
        prop_assert_eq!(found.position.offset, last.max(100 + skip));
    }

    /// Damage is seen by the checksum, or is where it does not matter: in a batch's first offset, epoch and length.
    #[test]
    fn damage_gives_an_error_or_the_same_records(
        (bytes, all) in any_batches(),
        mutations in proptest::collection::vec(any_mutation(), 1..4),
    ) {
        let mut bytes = bytes.concat();
        for mutation in &mutations {
            if !bytes.is_empty() {
                mutate(&mut bytes, mutation);
            }
        }
        let found = read_with(Records::uncommitted(Bytes::from(bytes), from(0)), ALL, None);
        let strip = |records: Vec<Plain>| -> Vec<_> {
            records.into_iter().map(|record| Plain { offset: 0, ..record }).collect()
        };
        let (found, all) = (strip(found.plain()), strip(all));
        // Records of whole batches, of which some may be lost with a damaged first offset.
        prop_assert!(found.iter().all(|record| all.contains(record)));
    }

    /// Behind a right checksum there may be anything, too: another client may have written it.
    #[test]
    fn damage_behind_a_right_checksum_gives_an_error_or_other_records(
        (batches, _) in any_batches(),
        mutations in proptest::collection::vec((any::<usize>(), any_mutation()), 1..6),
    ) {
        let mut batches = batches;
        for (which, mutation) in &mutations {
            let which = which % batches.len();
            if batches[which].len() > HEADER {
                let mut content = batches[which].split_off(22);
                mutate(&mut content, mutation);
                batches[which].extend_from_slice(&content);
            }
        }
        for batch in batches.iter_mut().filter(|batch| batch.len() >= HEADER) {
            let length = (batch.len() - 12) as i32;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
            reseal(batch);
        }
        let found = read_with(Records::uncommitted(Bytes::from(batches.concat()), from(0)), ALL, None);
        prop_assert!(found.batch.values.value_data().len() <= 4 * LIMIT);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, codec in 0..5_usize) {
        let _ = read(std::slice::from_ref(&bytes), 0);
        let _ = Decompressor::new(LIMIT).decompress(Codec::ALL[codec], &bytes);
        // As the records of a batch whose header is right.
        let settings = Settings { codec: Codec::ALL[codec], ..Settings::default() };
        let mut batch = batch(&[plain(0, "x")], &settings);
        batch.truncate(HEADER);
        batch.extend_from_slice(&bytes);
        let length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        reseal(&mut batch);
        let _ = read(&[batch], 0);
    }
}
