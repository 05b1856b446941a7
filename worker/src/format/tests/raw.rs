//! `Raw`.

use arrow::array::{ArrayRef, AsArray, StringArray};

use super::*;

const TEXT: Format = Format::Raw(RawSettings { binary: false });
const BYTES: Format = Format::Raw(RawSettings { binary: true });

#[test]
fn bytes_are_shared_both_ways() {
    let records = values(&["one", "zwei", "três"]);
    let start = records.values().as_ptr();
    let text = schema(&[("value", "string")]);
    let decoded = decode(&TEXT, &text, &records);
    assert_eq!(decoded.columns[0].as_string::<i32>().values().as_ptr(), start);
    let encoded = Encoder::new(&TEXT, &text).unwrap().encode(&batch(&text, &decoded, 3));
    assert_eq!(encoded.values.values().as_ptr(), start);
    let decoded = decode(&BYTES, &schema(&[("value", "binary")]), &records);
    assert_eq!(decoded.columns[0].as_binary::<i32>().values().as_ptr(), start);
}

#[test]
fn records_that_are_no_text_are_bad_alone() {
    // The second and third record are a character together, but neither is one alone.
    let records = values(&[b"good".as_slice(), b"\xc3", b"\xa9", b"fine", b"cut\xe2\x82"]);
    let schema = schema(&[("value", "string")]);
    let decoded = decode(&TEXT, &schema, &records);
    assert_eq!(decoded.columns[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["good", "fine"]);
    assert_eq!(decoded.rows.as_ref().unwrap().values(), &[0, 3]);
    let bad: Vec<_> = decoded.bad.iter().map(|bad| (bad.row, bad.reason, bad.message.as_str())).collect();
    assert_eq!(
        bad,
        [
            (1, Reason::InvalidUtf8, "byte 0 (0xc3) is not valid UTF-8"),
            (2, Reason::InvalidUtf8, "byte 0 (0xa9) is not valid UTF-8"),
            (4, Reason::InvalidUtf8, "byte 3 (0xe2) is not valid UTF-8"),
        ]
    );
    assert_eq!(Decoder::new(&TEXT, &schema, &[]).unwrap().decode(&records).bad, decoded.bad);
    assert!(decode(&BYTES, &super::schema(&[("value", "binary")]), &records).bad.is_empty());
}

#[test]
fn a_part_of_a_batch_is_judged_without_the_rest() {
    let records = values(&[b"\xff".as_slice(), b"a", "ü".as_bytes(), b"\xff"]).slice(1, 2);
    let decoded = decode(&TEXT, &schema(&[("value", "string")]), &records);
    assert!(decoded.bad.is_empty());
    assert_eq!(decoded.columns[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "ü"]);
}

#[test]
fn a_null_is_refused_and_no_tombstone() {
    let schema = schema(&[("line", "string")]);
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let encoded = Encoder::new(&TEXT, &schema).unwrap().encode(&batch);
    assert_eq!(encoded.values.iter().collect::<Vec<_>>(), [Some(b"a".as_slice()), Some(b"")]);
    assert_eq!(encoded.rows.unwrap().values(), &[0, 2]);
    let message = "column `line` is null, which `Raw` cannot write".into();
    assert_eq!(encoded.bad, [Failure { row: 1, reason: Reason::Encode, message }]);
}
