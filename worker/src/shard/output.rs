//! From what the chain made to what the producer takes: errors, limits, partitions.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, BinaryArray, Int64Array, ListArray, UInt32Array};

use super::dead_letter::dead_letters;
use super::error::Trouble;
use super::limits;
use super::now_millis;
use super::shard::{Shard, Transaction};
use crate::fault;
use crate::kafka::{WriteBatch, murmur2};
use crate::plan::pipeline::{Compression, Delivery, ErrorPolicy};
use crate::records::{BadRecord, Processed, SinkBatch, SourceBatch};

/// A record that ends the run, by the policy `Fail`.
#[derive(Debug)]
pub struct Poison {
    /// Its row in the source batch.
    pub row: usize,
    /// What to tell.
    pub message: String,
}

/// Where a batch goes.
struct Target<'a> {
    node: &'a str,
    connection: usize,
    topic: &'a str,
    compression: Compression,
}

/// What a batch consists of.
struct Columns<'a> {
    keys: &'a BinaryArray,
    values: &'a BinaryArray,
    timestamps: &'a Int64Array,
    headers: Option<&'a ListArray>,
}

impl Shard<'_> {
    /// Takes bad records out by the policy, and writes the rest. With `Fail`, nothing is written if there is a bad
    /// record: the caller goes up to it first.
    pub fn write(&mut self, batch: &SourceBatch, mut processed: Processed) -> Result<Option<Poison>, Trouble> {
        let mut checked = Vec::with_capacity(processed.sinks.len());
        for sink_batch in std::mem::take(&mut processed.sinks) {
            let (good, bad) = self.within_limits(sink_batch)?;
            processed.bad.extend(bad);
            checked.push(good);
        }
        let pipeline = Arc::clone(&self.shared().pipeline);
        if pipeline.errors == ErrorPolicy::Fail
            && let Some(first) = processed.bad.iter().min_by_key(|bad| bad.row)
        {
            return Ok(Some(Poison { row: first.row as usize, message: poison(batch, first) }));
        }
        fault::point("batch.before-write");
        for sink_batch in &checked {
            self.write_sink(batch, sink_batch)?;
        }
        self.write_bad(batch, &processed.bad)?;
        fault::point("batch.after-write");
        Ok(None)
    }

    fn within_limits(&self, batch: SinkBatch) -> Result<(SinkBatch, Vec<BadRecord>), Trouble> {
        let sink = &self.shared().pipeline.sinks[batch.sink];
        let (_, _, limits) = self.known(sink.connection, &sink.topic)?;
        let compressed = sink.compression != Compression::None;
        Ok(limits::check(batch, &sink.name, &sink.topic, &limits, compressed, now_millis()))
    }

    fn known(&self, connection: usize, topic: &str) -> Result<(&str, u32, limits::TopicLimits), Trouble> {
        self.topology
            .known(connection, topic)
            .ok_or_else(|| Trouble::Restart(format!("topic `{topic}` is not there any more")))
    }

    fn write_sink(&mut self, batch: &SourceBatch, output: &SinkBatch) -> Result<(), Trouble> {
        if output.rows.is_empty() {
            return Ok(());
        }
        let pipeline = Arc::clone(&self.shared().pipeline);
        let sink = &pipeline.sinks[output.sink];
        let (_, count, _) = self.known(sink.connection, &sink.topic)?;
        let partitions = partitions(batch, &output.rows, &output.keys, count);
        let target =
            Target { node: &sink.name, connection: sink.connection, topic: &sink.topic, compression: sink.compression };
        let columns = Columns {
            keys: &output.keys,
            values: &output.values,
            timestamps: &output.timestamps,
            headers: output.headers.as_ref(),
        };
        let bytes = self.produce(&target, &partitions, &columns)?;
        self.identity.metrics.batch_out(target.node, output.rows.len() as u64, bytes);
        Ok(())
    }

    fn write_bad(&mut self, batch: &SourceBatch, bad: &[BadRecord]) -> Result<(), Trouble> {
        for record in bad {
            self.identity.metrics.bad(record.reason, 1);
        }
        let pipeline = Arc::clone(&self.shared().pipeline);
        let ErrorPolicy::DeadLetter { connection, topic } = &pipeline.errors else { return Ok(()) };
        if bad.is_empty() {
            return Ok(());
        }
        let (_, count, limits) = self.known(*connection, topic)?;
        let letters = dead_letters(batch, bad, &limits, now_millis());
        let partitions: Vec<i32> = letters.partitions.iter().map(|p| p.rem_euclid(count.max(1) as i32)).collect();
        let target = Target { node: "dead-letter", connection: *connection, topic, compression: Compression::None };
        let columns = Columns {
            keys: &letters.keys,
            values: &letters.values,
            timestamps: &letters.timestamps,
            headers: Some(&letters.headers),
        };
        self.produce(&target, &partitions, &columns)?;
        Ok(())
    }

    fn produce(&mut self, target: &Target<'_>, partitions: &[i32], columns: &Columns<'_>) -> Result<u64, Trouble> {
        let write = WriteBatch {
            partitions,
            keys: columns.keys,
            values: columns.values,
            timestamps: columns.timestamps,
            headers: columns.headers,
        };
        let tenure = Arc::clone(&self.identity.tenure);
        let go_on = move || !tenure.asked();
        let plain = self.shared().pipeline.delivery == Delivery::AtLeastOnce;
        let outcome = if plain {
            match self.plain.get_mut(target.connection).and_then(Option::as_mut) {
                Some(producer) => producer.write(target.topic, target.compression, write, &go_on),
                None => return Err(Trouble::Restart(format!("no producer for topic `{}`", target.topic))),
            }
        } else {
            self.begin()?;
            self.producer.write(target.topic, target.compression, write, &go_on)
        };
        let bytes = outcome.map_err(|error| self.undelivered().unwrap_or_else(|| error.into()))?;
        if let Some(transaction) = &mut self.transaction {
            transaction.bytes += bytes;
        }
        Ok(bytes)
    }

    /// Begins a transaction unless one is open.
    pub fn begin(&mut self) -> Result<(), Trouble> {
        if self.transaction.is_none() {
            self.producer.begin()?;
            self.transaction = Some(Transaction { bytes: 0 });
            self.identity.metrics.open_transaction(Some(Instant::now()));
        }
        Ok(())
    }

    /// What became of records that could not be delivered, if there are any.
    pub fn undelivered(&mut self) -> Option<Trouble> {
        let plain = self.plain.iter_mut().flatten().find_map(crate::kafka::Producer::take_undelivered);
        let undelivered = self.producer.take_undelivered().or(plain)?;
        let error = undelivered.error;
        tracing::warn!(shard = self.identity.id, records = undelivered.records, "not delivered: {error}");
        Some(if error.is_refused_record() {
            Trouble::Refused(error)
        } else if error.is_denied() {
            Trouble::Denied(error)
        } else {
            Trouble::Restart(error.to_string())
        })
    }
}

/// What to tell of a record that ends the run.
fn poison(batch: &SourceBatch, bad: &BadRecord) -> String {
    let row = bad.row as usize;
    let partition = batch.partition(row);
    format!(
        "record at offset {} of topic `{}` partition {} cannot be processed by `{}` ({}): {}. Mend the manifest, or set errors.policy to DeadLetter or Skip",
        batch.offsets.value(row),
        partition.topic,
        partition.partition,
        bad.node,
        bad.reason.as_str(),
        bad.message
    )
}

/// Each record's partition: by Kafka's murmur2 of the key, without a key the source's partition mod `count`.
fn partitions(batch: &SourceBatch, rows: &UInt32Array, keys: &BinaryArray, count: u32) -> Vec<i32> {
    let count = count.max(1);
    let by_slot: Vec<i32> = batch.partitions.iter().map(|p| (p.partition.unsigned_abs() % count) as i32).collect();
    let slots = batch.slots.values();
    let of_source = |row: u32| by_slot[slots[row as usize] as usize];
    if keys.null_count() == keys.len() {
        return rows.values().iter().map(|row| of_source(*row)).collect();
    }
    let of_record = |(index, row): (usize, &u32)| {
        if keys.is_null(index) { of_source(*row) } else { (murmur2::positive(keys.value(index)) % count) as i32 }
    };
    rows.values().iter().enumerate().map(of_record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TopicPartition;

    #[test]
    fn keys_decide_the_partition_and_the_sources_partition_where_there_is_none() {
        let partition = |partition| TopicPartition { topic: "in".into(), partition };
        let batch = SourceBatch {
            source: 0,
            partitions: Arc::from([partition(5), partition(2)]),
            slots: UInt32Array::from(vec![0, 1, 0]),
            offsets: Int64Array::from(vec![0, 0, 1]),
            timestamps: Int64Array::from(vec![0, 0, 0]),
            keys: BinaryArray::from_opt_vec(vec![None, None, None]),
            values: BinaryArray::from_opt_vec(vec![None, None, None]),
            headers: None,
        };
        let rows = UInt32Array::from(vec![0, 1, 2]);
        assert_eq!(partitions(&batch, &rows, &batch.keys, 4), [1, 2, 1]);
        let keys = BinaryArray::from_opt_vec(vec![Some(b"21"), None, Some(b"foobar")]);
        // Utils.toPositive(Utils.murmur2(key)) % 4 of Kafka's own client.
        let expected = [(1_173_551_340_u32 % 4) as i32, 2, 1_357_151_166 % 4];
        assert_eq!(partitions(&batch, &rows, &keys, 4), expected);
    }
}
