//! Processing a batch without some of its rows.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};

use crate::operators::Chain;
use crate::records::{BadRecord, Processed, SourceBatch, take_headers};

/// Runs the chain on the rows that are not in `bad`, and adds `bad` to what it found.
pub fn process_without(chain: &Chain, batch: &SourceBatch, now: i64, bad: Vec<BadRecord>) -> Processed {
    let is_bad = |row: &u32| bad.iter().any(|record| record.row == *row);
    let kept = UInt32Array::from((0..batch.len() as u32).filter(|row| !is_bad(row)).collect::<Vec<_>>());
    let Some(rest) = take(batch, &kept) else {
        // Taking rows by indices of the batch itself cannot fail; if it does, nothing of the batch may be written.
        let all = (0..batch.len() as u32).map(|row| BadRecord { row, ..bad[0].clone() });
        return Processed { sinks: Vec::new(), bad: all.collect() };
    };
    let mut processed = chain.process(&rest, now);
    for sink in &mut processed.sinks {
        sink.rows = sink.rows.values().iter().map(|row| Some(kept.value(*row as usize))).collect();
    }
    for record in &mut processed.bad {
        record.row = kept.value(record.row as usize);
    }
    processed.bad.extend(bad);
    processed.bad.sort_by_key(|record| record.row);
    processed
}

fn take(batch: &SourceBatch, rows: &UInt32Array) -> Option<SourceBatch> {
    let column = |array: &dyn Array| -> Option<ArrayRef> { arrow::compute::take(array, rows, None).ok() };
    let numbers = |array: &Int64Array| Some(column(array)?.as_primitive::<Int64Type>().clone());
    Some(SourceBatch {
        source: batch.source,
        partitions: std::sync::Arc::clone(&batch.partitions),
        slots: column(&batch.slots)?.as_primitive::<UInt32Type>().clone(),
        offsets: numbers(&batch.offsets)?,
        timestamps: numbers(&batch.timestamps)?,
        keys: column(&batch.keys)?.as_binary::<i32>().clone(),
        values: column(&batch.values)?.as_binary::<i32>().clone(),
        headers: match &batch.headers {
            Some(headers) => Some(take_headers(headers, rows).ok()?),
            None => None,
        },
    })
}
