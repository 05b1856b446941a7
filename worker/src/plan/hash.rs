//! The identity of a chain: what decides what a record becomes, in one canonical text, hashed.
//!
//! Two revisions of a Pipeline with equal hashes make the same of every record, so that a shard may move between
//! them. Left out is whatever does not change a record: topics that are read, connections, shards, scaling, checkpoints.
//! Defaults are spelled out, names sorted, types written one way; so that only a change of meaning changes the hash.

use std::fmt::Write as _;

use millstream_crds::format::{Format, FormatType};
use millstream_crds::pipeline::PipelineSpec;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::graph::{Graph, Inputs};
use super::transforms::Tables;
use super::types;

/// Raised whenever the same text starts to mean something else.
const VERSION: u32 = 1;
/// The digits of the hash that are kept.
const DIGITS: usize = 16;

/// The hash of a Pipeline's chain, in hexadecimal.
pub(super) fn chain_hash(spec: &PipelineSpec, graph: &Graph, tables: &Tables<'_>) -> String {
    let mut text = String::new();
    write(&canonical(spec, graph, tables), &mut text);
    let digest = Sha256::digest(text.as_bytes());
    let mut hash = digest.iter().fold(String::new(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    });
    hash.truncate(DIGITS);
    hash
}

fn canonical(spec: &PipelineSpec, graph: &Graph, tables: &Tables<'_>) -> Value {
    let names = |inputs: &Inputs| -> Vec<&str> { inputs.iter().flatten().map(|id| tables.name(*id)).collect() };
    let sources = spec.sources.iter().map(|source| {
        let columns = source.schema.iter().map(|column| json!([column.name, type_of(&column.r#type)]));
        (source.name.clone(), json!({"format": format(&source.format), "schema": columns.collect::<Vec<_>>()}))
    });
    let transforms = spec.transforms.iter().zip(&graph.transforms).map(|(transform, inputs)| {
        let mut step = serde_json::to_value(transform).unwrap_or_default();
        if let Some(step) = step.as_object_mut() {
            step.insert("from".into(), json!(names(inputs)));
            step.remove("name");
        }
        (transform.name.clone(), step)
    });
    let sinks = spec.sinks.iter().zip(&graph.sinks).map(|(sink, inputs)| {
        let kafka = sink.kafka.clone().unwrap_or_default();
        let key = kafka.key_column;
        (
            sink.name.clone(),
            json!({"from": names(inputs), "topic": kafka.topic, "key": key, "format": format(&sink.format)}),
        )
    });
    json!({
        "version": VERSION,
        "sources": sources.collect::<Map<_, _>>(),
        "transforms": transforms.collect::<Map<_, _>>(),
        "sinks": sinks.collect::<Map<_, _>>(),
        "errors": {"policy": spec.errors.policy, "topic": spec.errors.dead_letter.as_ref().map(|dead| &dead.topic)},
    })
}

/// A type as it is written one way.
fn type_of(text: &str) -> String {
    types::parse_field("", text).map_or_else(|_| text.to_owned(), |field| types::describe(&field))
}

/// A format with the settings of its type spelled out.
fn format(format: &Format) -> Value {
    let settings = match format.r#type {
        FormatType::Raw => json!(format.raw.clone().unwrap_or_default()),
        FormatType::Csv => json!(format.csv.clone().unwrap_or_default()),
        FormatType::Json => json!(format.json.clone().unwrap_or_default()),
    };
    let timestamps = (format.r#type != FormatType::Raw).then(|| format.timestamps.clone().unwrap_or_default());
    json!({"type": format.r#type, "settings": settings, "timestamps": timestamps})
}

/// JSON without white space and with sorted fields, whatever order the maps of this build keep.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|one, other| one.0.cmp(other.0));
            text.push('{');
            for (name, value) in fields {
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}
