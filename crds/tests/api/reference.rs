//! The reference of a Pipeline's fields, `docs/manifest.md`, written from the schema.
//!
//! A structural schema has no place for what the values of an enum mean, so those come from the schema before it is
//! made structural.

use std::fmt::Write;

use millstream_crds::PipelineSpec;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::admission::schema;

const HEAD: &str = "\
# The Pipeline manifest

<!-- Made from the types in crds/src by a test; see crds/tests/api/generated.rs. -->

Every field of a `Pipeline` (`millstream.dev/v1alpha1`). A field is required where it says so; durations are Go's
(`500ms`, `1m30s`), and case counts everywhere. Rules are checked by the API server at `kubectl apply` and, with what
needs the whole chain to be compiled, by `millstream check`.

```yaml
apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata:
  name: upper-case
spec:
  connections:
    - kafka: {bootstrapServers: \"kafka:9092\"}
  sources:
    - name: lines
      kafka: {topics: [text]}
      format: {type: Raw}
  transforms:
    - name: upper
      set:
        - {column: value, expression: upper(value)}
  sinks:
    - name: output
      kafka: {topic: flink_output}
      format: {type: Raw}
```
";

/// The whole page.
pub fn markdown() -> String {
    let structural = schema("Pipeline");
    let mut page = HEAD.to_owned();
    let part = |name: &str| Part { schema: structural["properties"][name].clone(), path: name.into() };
    let plain = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true).into_generator();
    let plain = plain.into_root_schema_for::<PipelineSpec>().to_value();
    section(&mut page, &part("spec"), Some(&plain));
    section(&mut page, &part("status"), None);
    page
}

/// An object with fields of its own.
struct Part {
    schema: Value,
    path: String,
}

/// Kubernetes' own types are described by Kubernetes.
fn is_kubernetes(path: &str) -> bool {
    ["spec.worker.resources", "spec.worker.tolerations", "status.conditions"].contains(&path.trim_end_matches("[]"))
}

fn section(page: &mut String, part: &Part, plain: Option<&Value>) {
    let _ = write!(page, "\n## `{}`\n", part.path);
    if let Some(text) = part.schema["description"].as_str() {
        let _ = write!(page, "\n{text}\n");
    }
    page.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
    for (name, field) in part.schema["properties"].as_object().into_iter().flatten() {
        let plain = plain.map(|plain| &plain["properties"][name]);
        row(page, name, field, required(&part.schema, name), plain);
    }
    rules(page, &part.schema);
    for (name, field) in part.schema["properties"].as_object().into_iter().flatten() {
        let (schema, suffix) = if field["items"].is_object() { (&field["items"], "[]") } else { (field, "") };
        let below = Part { schema: schema.clone(), path: format!("{}.{name}{suffix}", part.path) };
        if schema["properties"].is_object() && !is_kubernetes(&below.path) {
            let plain = plain.map(|plain| &plain["properties"][name]);
            let plain = plain.map(|plain| plain.get("items").unwrap_or(plain)).map(object_in);
            section(page, &below, plain);
        }
    }
}

/// An optional object is one of two alternatives before the schema is made structural.
fn object_in(schema: &Value) -> &Value {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    alternatives.into_iter().find(|alternative| alternative["properties"].is_object()).unwrap_or(schema)
}

fn required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|field| field == name))
}

fn row(page: &mut String, name: &str, field: &Value, required: bool, plain: Option<&Value>) {
    let mut meaning = field["description"].as_str().unwrap_or_default().replace('\n', " ");
    for (value, text) in plain.into_iter().flat_map(values) {
        let _ = write!(meaning, "<br>`{value}`: {text}");
    }
    if required {
        meaning.push_str(" **Required.**");
    }
    if let Some(default) = field.get("default").filter(|default| !default.is_object()) {
        let _ = write!(meaning, " Default: `{default}`.");
    }
    for (keyword, words) in [("pattern", "Pattern"), ("minimum", "At least"), ("maximum", "At most")] {
        if let Some(bound) = field.get(keyword) {
            let bound = bound.as_f64().map_or_else(|| bound.as_str().unwrap_or_default().into(), |n| n.to_string());
            let _ = write!(meaning, " {words} `{}`.", bound.replace('|', "\\|"));
        }
    }
    for rule in
        field["x-kubernetes-validations"].as_array().into_iter().flatten().filter(|_| type_of(field) != "object")
    {
        let _ = write!(meaning, " It {}.", rule["message"].as_str().unwrap_or_default());
    }
    let _ = writeln!(page, "| `{name}` | {} | {meaning} |", type_of(field));
}

fn type_of(field: &Value) -> String {
    if field["enum"].is_array() {
        return "enum".into();
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&field["additionalProperties"]))
        }
        Some(name) => name.into(),
        None => "quantity".into(),
    }
}

/// The values of an enum with what they mean.
fn values(schema: &Value) -> Vec<(String, String)> {
    let described = |variant: &Value| {
        let value = variant["enum"][0].as_str().or(variant["const"].as_str())?;
        Some((value.to_owned(), variant["description"].as_str()?.replace('\n', " ")))
    };
    schema["oneOf"].as_array().into_iter().flatten().filter_map(described).collect()
}

fn rules(page: &mut String, schema: &Value) {
    let rules = schema["x-kubernetes-validations"].as_array();
    let messages = rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str());
    for (place, message) in messages.enumerate() {
        page.push_str(if place == 0 { "\nRules:\n\n" } else { "" });
        let _ = writeln!(page, "* {message}");
    }
}
