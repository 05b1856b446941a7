//! The YAML in the documents is YAML that a Pipeline may have: whole manifests, parts of a spec or of a source,
//! lists of transforms.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::admission::{problems, schema};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.chain([root.join("README.md")]).collect()
}

/// The contents of the fences that say `yaml`.
fn blocks(text: &str) -> Vec<String> {
    let fences = text.split("\n```").collect::<Vec<_>>();
    fences.iter().filter_map(|fence| fence.strip_prefix("yaml\n")).map(str::to_owned).collect()
}

/// A Pipeline with this in it; what a part leaves out is taken from a plain one.
fn pipeline(part: Value) -> Option<Value> {
    let mut whole = json!({
        "apiVersion": "millstream.dev/v1alpha1", "kind": "Pipeline", "metadata": {"name": "part"},
        "spec": {
            "connections": [{"kafka": {"bootstrapServers": "kafka:9092"}}],
            "sources": [{"name": "part_source", "kafka": {"topics": ["in"]}, "format": {"type": "Raw"}}],
            "sinks": [{"name": "part_sink", "kafka": {"topic": "out"}, "format": {"type": "Raw"}}]
        }
    });
    match part {
        Value::Object(part) if part.contains_key("apiVersion") => (part["kind"] == "Pipeline").then(|| part.into()),
        Value::Object(part) if part.contains_key("format") => {
            whole["spec"]["sources"][0].as_object_mut().unwrap().extend(part);
            Some(whole)
        }
        Value::Object(part) => {
            whole["spec"].as_object_mut().unwrap().extend(part);
            Some(whole)
        }
        transforms => {
            whole["spec"]["transforms"] = transforms;
            Some(whole)
        }
    }
}

#[test]
fn yaml_in_documents_is_admitted() {
    let schema = schema("Pipeline");
    let mut count = 0;
    for document in documents() {
        for block in blocks(&fs::read_to_string(&document).unwrap()) {
            let place = format!("{}:\n{block}", document.display());
            let part: Value = serde_saphyr::from_str(&block).unwrap_or_else(|error| panic!("{error} in {place}"));
            let Some(pipeline) = pipeline(part) else { continue };
            assert_eq!(problems(&schema, &pipeline, None), [""; 0], "{place}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
