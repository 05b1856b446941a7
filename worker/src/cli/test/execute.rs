//! A test's records through the compiled chain.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BinaryArray, BinaryBuilder, Int64Array, ListArray, ListBuilder, StringBuilder, StructBuilder,
    UInt32Array,
};
use arrow::datatypes::Field;

use super::document::{Header, Input, PipelineTest, Record};
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::{Source, Topics};
use crate::records::{BadRecord, SinkBatch, SourceBatch, TopicPartition, header_fields};

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Records for each sink, in the order of the pipeline's sinks.
    pub(super) sinks: Vec<Vec<Produced>>,
    /// Records that were refused.
    pub(super) dead_letters: Vec<Refused>,
}

/// A record for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Produced {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
    /// In milliseconds since 1970.
    pub(super) timestamp: i64,
}

/// A record that was refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) place: TopicPartition,
    pub(super) offset: i64,
    pub(super) value: Option<Vec<u8>>,
    pub(super) bad: BadRecord,
}

/// Runs every input of a test, one after the other.
pub(super) fn execute(test: &PipelineTest, pipeline: &CompiledPipeline) -> Outcome {
    let mut outcome = Outcome { sinks: vec![Vec::new(); pipeline.sinks.len()], dead_letters: Vec::new() };
    let mut positions = HashMap::new();
    for input in test.inputs.iter().filter(|input| !input.records.is_empty()) {
        let source = pipeline.sources.iter().position(|source| *source.name == *input.source).unwrap_or_default();
        let batch = batch(source, &pipeline.sources[source], input, test.now, &mut positions);
        let processed = pipeline.chain.process(&batch, test.now);
        for sink in &processed.sinks {
            outcome.sinks[sink.sink].extend(produced(sink));
        }
        outcome.dead_letters.extend(processed.bad.into_iter().map(|bad| refused(&batch, bad)));
    }
    outcome
}

fn batch(
    source: usize,
    spec: &Source,
    input: &Input,
    now: i64,
    positions: &mut HashMap<TopicPartition, i64>,
) -> SourceBatch {
    let mut partitions: Vec<TopicPartition> = Vec::new();
    let mut slots = Vec::new();
    let mut offsets = Vec::new();
    for record in &input.records {
        let partition = place_of(spec, record);
        let next = positions.entry(partition.clone()).or_default();
        let offset = record.offset.unwrap_or(*next);
        *next = offset + 1;
        offsets.push(offset);
        slots.push(partitions.iter().position(|known| *known == partition).unwrap_or(partitions.len()) as u32);
        if slots.last().is_some_and(|slot| *slot as usize == partitions.len()) {
            partitions.push(partition);
        }
    }
    let records = &input.records;
    let millis = |record: &Record| record.timestamp.unwrap_or(now).div_euclid(1000);
    SourceBatch {
        source,
        partitions: partitions.into(),
        slots: UInt32Array::from(slots),
        offsets: Int64Array::from(offsets),
        timestamps: records.iter().map(millis).collect::<Vec<_>>().into(),
        keys: records.iter().map(|record| record.key.as_deref()).collect(),
        values: records.iter().map(|record| record.value.as_deref()).collect(),
        headers: headers_column(records),
    }
}

fn place_of(source: &Source, record: &Record) -> TopicPartition {
    let first = match &source.topics {
        Topics::List(topics) => topics.first().map(String::as_str),
        Topics::Pattern(_) => None,
    };
    let topic = record.topic.as_deref().or(first).unwrap_or_default();
    TopicPartition { topic: Arc::from(topic), partition: record.partition }
}

fn headers_column(records: &[Record]) -> Option<ListArray> {
    if records.iter().all(|record| record.headers.is_empty()) {
        return None;
    }
    let fields = header_fields();
    let header =
        StructBuilder::new(fields.clone(), vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let item = Field::new("item", arrow::datatypes::DataType::Struct(fields), false);
    let mut list = ListBuilder::new(header).with_field(Arc::new(item));
    for record in records {
        for header in &record.headers {
            let fields = list.values();
            if let Some(key) = fields.field_builder::<StringBuilder>(0) {
                key.append_value(&header.key);
            }
            if let Some(value) = fields.field_builder::<BinaryBuilder>(1) {
                value.append_option(header.value.as_deref());
            }
            fields.append(true);
        }
        list.append(true);
    }
    Some(list.finish())
}

fn produced(batch: &SinkBatch) -> impl Iterator<Item = Produced> + '_ {
    (0..batch.values.len()).map(|row| Produced {
        key: cell(&batch.keys, row),
        value: cell(&batch.values, row),
        headers: batch.headers.as_ref().map(|headers| headers_of(headers, row)).unwrap_or_default(),
        timestamp: batch.timestamps.value(row),
    })
}

fn headers_of(headers: &ListArray, row: usize) -> Vec<Header> {
    if headers.is_null(row) {
        return Vec::new();
    }
    let list = headers.value(row);
    let header = list.as_struct();
    let (keys, values) = (header.column(0).as_string::<i32>(), header.column(1).as_binary::<i32>());
    (0..header.len()).map(|i| Header { key: keys.value(i).to_owned(), value: cell(values, i) }).collect()
}

fn cell(column: &BinaryArray, row: usize) -> Option<Vec<u8>> {
    column.is_valid(row).then(|| column.value(row).to_vec())
}

fn refused(batch: &SourceBatch, bad: BadRecord) -> Refused {
    let row = bad.row as usize;
    Refused {
        place: batch.partition(row).clone(),
        offset: batch.offsets.value(row),
        value: cell(&batch.values, row),
        bad,
    }
}
