//! A small stand-in for the API server's admission: defaults, shape, CEL rules.
//!
//! It knows the keywords that our schemas use and fails on one that it does not know, so that no bound goes unchecked.

use kube::core::cel::{Validator, apply_defaults};
use millstream_crds::definitions;
use regex::Regex;
use serde_json::{Map, Value};

/// The keywords that say something about people, not about values.
const SILENT: [&str; 3] = ["description", "default", "x-kubernetes-validations"];

/// What every object has, whatever its schema.
const ENVELOPE: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The schema of a kind.
pub fn schema(kind: &str) -> Value {
    let definition = definitions().into_iter().find(|definition| definition.spec.names.kind == kind).unwrap();
    let schema = definition.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    serde_json::to_value(schema).unwrap()
}

/// What the API server would refuse in `new`, as `path: message`; `old` is the object before an update.
pub fn problems(schema: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let new = apply_defaults(schema, new);
    let mut problems = Vec::new();
    check(schema, &new, "", &mut problems);
    let old = old.map(|old| apply_defaults(schema, old));
    if let Err(errors) = Validator::new().validate(schema, &new, old.as_ref()) {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    problems
}

fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let schema = schema.as_object().unwrap();
    if schema.contains_key("x-kubernetes-int-or-string") {
        return;
    }
    let fits = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("type {other} at {path}"),
    };
    if !fits {
        problems.push(format!("{path}: must be of type {}", schema["type"]));
        return;
    }
    for (keyword, bound) in schema.iter().filter(|(keyword, _)| !SILENT.contains(&keyword.as_str())) {
        check_keyword(keyword, bound, value, path, problems);
    }
    for item in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item.1, &format!("{path}[{}]", item.0), problems);
    }
    if let Some(object) = value.as_object() {
        check_fields(schema, object, path, problems);
    }
}

fn check_keyword(keyword: &str, bound: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let length = |value: &Value| match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.len() as u64,
        Value::Object(fields) => fields.len() as u64,
        _ => 0,
    };
    let number = value.as_i64().unwrap_or_default();
    let fine = match keyword {
        "type" | "items" | "properties" | "additionalProperties" | "x-kubernetes-list-map-keys" => true,
        "required" => bound.as_array().unwrap().iter().all(|field| value.get(field.as_str().unwrap()).is_some()),
        "enum" => bound.as_array().unwrap().contains(value),
        "pattern" => Regex::new(bound.as_str().unwrap()).unwrap().is_match(value.as_str().unwrap()),
        "minLength" | "minItems" => length(value) >= bound.as_u64().unwrap(),
        "maxLength" | "maxItems" | "maxProperties" => length(value) <= bound.as_u64().unwrap(),
        "minimum" => number as f64 >= bound.as_f64().unwrap(),
        "maximum" => number as f64 <= bound.as_f64().unwrap(),
        "format" => bound != "date-time" || is_date_time(value.as_str().unwrap()),
        "x-kubernetes-list-type" => bound == "map" || bound == "atomic" || is_set(value.as_array().unwrap()),
        other => panic!("the keyword {other} at {path} is not checked here"),
    };
    if !fine {
        problems.push(format!("{path}: {keyword} {bound}"));
    }
}

fn check_fields(schema: &Map<String, Value>, object: &Map<String, Value>, path: &str, problems: &mut Vec<String>) {
    for (name, field) in object {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let property = schema.get("properties").and_then(|properties| properties.get(name));
        match property.or(schema.get("additionalProperties")) {
            Some(property) => check(property, field, &path, problems),
            None if ENVELOPE.contains(&path.as_str()) => {}
            None if schema.contains_key("properties") => problems.push(format!("{path}: unknown field")),
            None => {}
        }
    }
}

fn is_set(items: &[Value]) -> bool {
    items.iter().enumerate().all(|(place, item)| !items[..place].contains(item))
}

fn is_date_time(text: &str) -> bool {
    let pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$";
    Regex::new(pattern).unwrap().is_match(text)
}
