//! The CEL rules of the Pipeline's schema, evaluated here as well.
//!
//! `millstream check` and `run` have no API server, so each rule has a counterpart in this table, found by the rule's
//! own message: both ways of checking say the same. A test keeps table and schema complete against each other. Rules
//! about changes of a Pipeline (`oldSelf`) need an older one and stay with the API server.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::duration;
use super::path::Path;

/// A place at which a value breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The field, below the value that has the rule.
    pub at: Path,
    /// What would be right.
    pub help: Option<String>,
}

type Check = fn(&Value) -> Vec<Breach>;

/// The messages of the rules, as the schema has them, with their checks.
const RULES: &[(&str, Check)] = &[
    ("raw goes with type Raw only", |v| settings_of(v, "raw", "Raw")),
    ("csv goes with type Csv only", |v| settings_of(v, "csv", "Csv")),
    ("json goes with type Json only", |v| settings_of(v, "json", "Json")),
    ("timestamps does not go with type Raw", timestamps_of_raw),
    ("delimiter and quote must differ", delimiter_and_quote),
    ("the encoding Pattern and pattern go together", |v| together(v, ("encoding", "Rfc3339", "Pattern"), "pattern")),
    ("the SASL mechanism Plain sends the password as it is: it needs tls", plain_needs_tls),
    ("a source has either topics or a topicPattern", topics_or_pattern),
    ("the position Timestamp and timestamp go together", |v| {
        together(v, ("position", "Earliest", "Timestamp"), "timestamp")
    }),
    ("every connection needs a name where there are several", connections_named),
    ("every connection needs a name of its own", connections_unique),
    ("every source and every sink needs a name of its own", |v| nodes_unique(v, &["sources", "sinks"])),
    ("every transform needs a name of its own, which no source and no sink has", |v| {
        let all = nodes_unique(v, &["sources", "sinks", "transforms"]).into_iter();
        all.filter(|breach| breach.at.to_string().starts_with("transforms")).collect()
    }),
    (
        "replicas and scaling exclude each other: give a fixed number of workers, or bounds for one that follows the load",
        |v| breach(has(v, "replicas") && has(v, "scaling"), "scaling", "remove `replicas` or `scaling`"),
    ),
    ("a connection has exactly one kind: kafka", |v| kind_of(v, "add `kafka: {bootstrapServers: …}`")),
    ("a source has exactly one kind: kafka", |v| kind_of(v, "add `kafka: {topics: […]}`")),
    ("a sink has exactly one kind: kafka", |v| kind_of(v, "add `kafka: {topic: …}`")),
    ("a source of format Raw has no schema: its one column is value", |v| {
        breach(
            format_of(v) == "Raw" && filled(v, "schema"),
            "schema",
            "remove `schema`, or choose the type Csv or Json",
        )
    }),
    ("a source needs a schema unless its format is Raw", |v| {
        let help = "add `schema: [{name: …, type: …}]` with the columns that are in use";
        breach(format_of(v) != "Raw" && !filled(v, "schema"), "", help)
    }),
    ("a transform has exactly one step: filter, set, select, drop, rename, sql or unnest", one_step),
    ("from does not go with sql, which names its input in FROM", |v| {
        breach(has(v, "sql") && has(v, "from"), "from", "remove `from`")
    }),
    ("the policy DeadLetter and deadLetter with its topic go together", |v| {
        together(v, ("policy", "Fail", "DeadLetter"), "deadLetter")
    }),
    ("minReplicas must not be greater than maxReplicas", |v| {
        let number = |key: &str, default| v.get(key).and_then(Value::as_i64).unwrap_or(default);
        breach(number("minReplicas", 1) > number("maxReplicas", i64::MAX), "minReplicas", "")
    }),
    ("must be a duration between 10ms and 5m, such as 500ms", |v| {
        outside(v, Duration::from_millis(10), Duration::from_mins(5))
    }),
    ("must be a duration between 1s and 1h, such as 5s", |v| {
        outside(v, Duration::from_secs(1), Duration::from_hours(1))
    }),
    ("must be a duration between 1s and 24h, such as 2m", |v| {
        outside(v, Duration::from_secs(1), Duration::from_hours(24))
    }),
    (
        "a Pipeline's name has at most 63 lower-case letters, digits and '-', since it names workers and topics",
        pipeline_name,
    ),
];

/// Where `value` breaks the rule with this message.
pub fn breaches(message: &str, value: &Value) -> Vec<Breach> {
    RULES.iter().find(|(text, _)| *text == message).map(|(_, check)| check(value)).unwrap_or_default()
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|field| !field.is_null())
}

fn filled(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn format_of(value: &Value) -> &str {
    value.get("format").and_then(|format| text(format, "type")).unwrap_or_default()
}

fn breach(broken: bool, at: &str, help: &str) -> Vec<Breach> {
    let help = (!help.is_empty()).then(|| help.to_owned());
    if broken { vec![Breach { at: Path::root().below(at), help }] } else { Vec::new() }
}

fn settings_of(format: &Value, key: &str, wanted: &str) -> Vec<Breach> {
    let found = text(format, "type").unwrap_or_default();
    breach(
        has(format, key) && found != wanted,
        key,
        &format!("the type is {found}: remove `{key}`, or write `type: {wanted}`"),
    )
}

fn timestamps_of_raw(format: &Value) -> Vec<Breach> {
    let raw = text(format, "type") == Some("Raw");
    breach(raw && has(format, "timestamps"), "timestamps", "remove `timestamps`: Raw has no columns of time")
}

fn delimiter_and_quote(csv: &Value) -> Vec<Breach> {
    let character = |key, default| text(csv, key).unwrap_or(default).to_owned();
    breach(
        character("delimiter", ",") == character("quote", "\""),
        if has(csv, "quote") { "quote" } else { "delimiter" },
        "",
    )
}

/// A choice that needs a field, and a field that needs the choice.
fn together(value: &Value, (choice, default, wanted): (&str, &str, &str), field: &str) -> Vec<Breach> {
    let chosen = text(value, choice).unwrap_or(default);
    match (chosen == wanted, has(value, field)) {
        (true, false) => breach(true, choice, &format!("`{choice}: {wanted}` needs `{field}`")),
        (false, true) => breach(true, field, &format!("`{field}` needs `{choice}: {wanted}`; it is {chosen}")),
        _ => Vec::new(),
    }
}

fn plain_needs_tls(connection: &Value) -> Vec<Breach> {
    let plain = connection.get("sasl").and_then(|sasl| text(sasl, "mechanism")) == Some("Plain");
    breach(plain && !has(connection, "tls"), "sasl.mechanism", "add `tls: {}`, or use ScramSha512")
}

fn topics_or_pattern(source: &Value) -> Vec<Breach> {
    match (filled(source, "topics"), has(source, "topicPattern")) {
        (true, true) => breach(true, "topicPattern", "remove one of them"),
        (false, false) => breach(true, "", "add `topics: […]` or `topicPattern: …`"),
        _ => Vec::new(),
    }
}

fn connections_named(spec: &Value) -> Vec<Breach> {
    let connections = list(spec, "connections");
    let unnamed = connections.iter().enumerate().filter(|(_, c)| connections.len() > 1 && !has(c, "name"));
    unnamed.map(|(i, _)| Breach { at: Path::root().then("connections").then(i), help: None }).collect()
}

fn connections_unique(spec: &Value) -> Vec<Breach> {
    repeated(list(spec, "connections").iter().enumerate().map(|(i, c)| ("connections", i, text(c, "name"))))
}

fn nodes_unique(spec: &Value, lists: &[&'static str]) -> Vec<Breach> {
    let of = |key: &'static str| list(spec, key).iter().enumerate().map(move |(i, n)| (key, i, text(n, "name")));
    repeated(lists.iter().flat_map(|key| of(key)))
}

/// The second and further uses of a name. Empty names are reported as such elsewhere.
fn repeated<'a>(names: impl Iterator<Item = (&'static str, usize, Option<&'a str>)>) -> Vec<Breach> {
    let mut first: HashMap<&str, String> = HashMap::new();
    let mut breaches = Vec::new();
    for (key, index, name) in names.filter_map(|(key, i, name)| Some((key, i, name.filter(|n| !n.is_empty())?))) {
        if let Some(other) = first.get(name) {
            let help = format!("`{}` is already the name of {other}", super::names::excerpt(name));
            breaches.push(Breach { at: Path::root().then(key).then(index).then("name"), help: Some(help) });
        } else {
            first.insert(name, format!("{key}[{index}]"));
        }
    }
    breaches
}

fn kind_of(value: &Value, help: &str) -> Vec<Breach> {
    breach(!has(value, "kafka"), "", help)
}

fn one_step(transform: &Value) -> Vec<Breach> {
    const STEPS: [&str; 7] = ["filter", "set", "select", "drop", "rename", "sql", "unnest"];
    let steps: Vec<&str> = STEPS.into_iter().filter(|step| has(transform, step)).collect();
    match steps.as_slice() {
        [] => breach(true, "", "add one of them"),
        [_] => Vec::new(),
        [first, second, ..] => {
            breach(true, second, &format!("`{first}` is given, too; put each into a transform of its own"))
        }
    }
}

fn outside(value: &Value, least: Duration, most: Duration) -> Vec<Breach> {
    let problem = value.as_str().and_then(|text| duration::parse_between(text, least, most).err());
    problem.map(|problem| Breach { at: Path::root(), help: Some(problem.to_string()) }).into_iter().collect()
}

fn pipeline_name(pipeline: &Value) -> Vec<Breach> {
    let Some(name) = pipeline.get("metadata").and_then(|metadata| text(metadata, "name")) else { return Vec::new() };
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good =
        name.len() <= 63 && name.chars().all(|c| edge(c) || c == '-') && name.starts_with(edge) && name.ends_with(edge);
    breach(!good, "metadata.name", "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    /// The messages of the rules below a schema that are not about changes.
    fn messages(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                    if !rule["rule"].as_str().unwrap().contains("oldSelf") {
                        found.insert(rule["message"].as_str().unwrap().to_owned());
                    }
                }
                fields.values().for_each(|field| messages(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_rule_of_the_schema_has_a_counterpart_and_no_other_has() {
        let mut of_schema = BTreeSet::new();
        messages(crate::plan::manifest::schema(), &mut of_schema);
        let ours: BTreeSet<String> = RULES.iter().map(|(message, _)| (*message).to_owned()).collect();
        assert_eq!(ours, of_schema);
    }

    #[test]
    fn points_at_the_field_that_breaks_a_rule() {
        let unique = "every source and every sink needs a name of its own";
        let transforms = "every transform needs a name of its own, which no source and no sink has";
        let one = "a transform has exactly one step: filter, set, select, drop, rename, sql or unnest";
        let cases = [
            (unique, json!({"sources": [{"name": "a"}], "sinks": [{"name": "b"}]}), vec![]),
            (
                unique,
                json!({"sources": [{"name": "a"}, {"name": "a"}], "sinks": [{"name": "a"}]}),
                vec!["sources[1].name", "sinks[0].name"],
            ),
            (unique, json!({"sources": [{"name": ""}], "sinks": [{"name": ""}]}), vec![]),
            (
                transforms,
                json!({"sinks": [{"name": "a"}, {"name": "a"}], "transforms": [{"name": "a"}]}),
                vec!["transforms[0].name"],
            ),
            (one, json!({"name": "a", "filter": "x"}), vec![]),
            (one, json!({"name": "a", "filter": "x", "sql": "y"}), vec!["sql"]),
            (one, json!({"name": "a"}), vec![""]),
            ("raw goes with type Raw only", json!({"type": "Csv", "raw": {}}), vec!["raw"]),
            ("csv goes with type Csv only", json!({"type": "Csv", "csv": {}}), vec![]),
            ("delimiter and quote must differ", json!({"delimiter": "\""}), vec!["delimiter"]),
            ("must be a duration between 10ms and 5m, such as 500ms", json!("1h"), vec![""]),
            ("must be a duration between 10ms and 5m, such as 500ms", json!("1s"), vec![]),
            ("minReplicas must not be greater than maxReplicas", json!({"maxReplicas": 0}), vec!["minReplicas"]),
        ];
        for (message, value, expected) in cases {
            let found: Vec<_> = breaches(message, &value).iter().map(|breach| breach.at.to_string()).collect();
            assert_eq!(found, expected, "{message}: {value}");
        }
    }
}
