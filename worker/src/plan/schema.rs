//! A document's tree against the schema of the Pipeline resource.
//!
//! Finds every problem of shape in one walk: unknown and missing fields, wrong types, values out of bounds, broken
//! rules. What is wrong is replaced by something of the right shape, so that the rest can be compiled and its problems
//! be reported in the same go; whoever compiles keeps silent about the replaced parts.

use std::collections::{HashMap, HashSet};

use millstream_crds::names as patterns;
use regex::Regex;
use serde_json::{Map, Value};

use super::diagnostic::Severity;
use super::names::{excerpt, listed, suggestion};
use super::path::Path;
use super::rules;
use super::yaml::{Content, Entry, Meaning, Node, Scalar};

/// The most problems that are collected.
pub const MAX_PROBLEMS: usize = 100;

/// A problem of a document's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeProblem {
    /// The field.
    pub path: Path,
    /// Whether it is about the field's name and not about its value.
    pub at_name: bool,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// A document in the right shape.
#[derive(Clone, Debug)]
pub struct Shaped {
    /// The value, fit to be deserialised.
    pub value: Value,
    /// Problems of the document; empty if the value says just what the document says.
    pub problems: Vec<ShapeProblem>,
}

/// Checks a node against a structural schema.
pub fn shape(node: &Node, schema: &Value, path: &Path) -> Shaped {
    let mut walk = Walk::default();
    let value = walk.value(node, schema, path).unwrap_or_else(|| placeholder(schema));
    Shaped { value, problems: walk.problems }
}

/// Checks the rules that stand at the top of a schema.
pub fn broken_rules(value: &Value, schema: &Value, path: &Path) -> Vec<ShapeProblem> {
    let mut walk = Walk::default();
    walk.rules(value, schema, path);
    walk.problems
}

#[derive(Default)]
struct Walk {
    problems: Vec<ShapeProblem>,
    patterns: HashMap<String, Option<Regex>>,
}

impl Walk {
    fn report(&mut self, path: &Path, message: String, help: Option<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            let (path, severity) = (path.clone(), Severity::Error);
            self.problems.push(ShapeProblem { path, at_name: false, severity, message, help });
        }
    }

    /// The value of a node, or nothing if it is of a wrong type.
    fn value(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let before = self.problems.len();
        let value = match type_of(schema) {
            "object" => self.object(node, schema, path),
            "array" => self.array(node, schema, path),
            "int-or-string" => self.quantity(node, path),
            "any" => Some(free(node)),
            kind => self.scalar(node, schema, kind, path),
        }?;
        // A rule over fields that are wrong themselves would only repeat that. The spec's own rules are about names.
        if self.problems.len() == before || *path == Path::root().then("spec") {
            self.rules(&value, schema, path);
        }
        Some(value)
    }

    fn rules(&mut self, value: &Value, schema: &Value, path: &Path) {
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule.get("message").and_then(Value::as_str).unwrap_or_default();
            for breach in rules::breaches(message, value) {
                self.report(&path.join(&breach.at), message.to_owned(), breach.help);
            }
        }
    }

    fn object(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let Content::Mapping(entries) = &node.content else {
            let known = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let known: Vec<&str> = known.map(String::as_str).collect();
            let help = (!known.is_empty()).then(|| format!("fields here: {}", listed(&known)));
            self.report(path, format!("expected fields, found {}", found(node)), help);
            return None;
        };
        match (schema.get("properties").and_then(Value::as_object), schema.get("additionalProperties")) {
            (Some(properties), _) => Some(self.fields(entries, properties, schema, path)),
            (None, Some(values)) => Some(self.map(entries, values, schema, path)),
            (None, None) => Some(free(node)),
        }
    }

    fn fields(&mut self, entries: &[Entry], known: &Map<String, Value>, schema: &Value, path: &Path) -> Value {
        let required: HashSet<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Map::new();
        for entry in entries {
            let path = path.then(entry.key.as_str());
            match known.get(&entry.key) {
                None => self.unknown_field(entry, known, &path),
                Some(schema) => self.field(entry, schema, required.contains(entry.key.as_str()), &path, &mut fields),
            }
        }
        for name in required {
            if !entries.iter().any(|entry| entry.key == name) {
                let schema = known.get(name).unwrap_or(&Value::Null);
                self.report(&path.then(name), format!("`{name}` is missing"), Some(meaning_of(name, schema)));
                fields.insert(name.to_owned(), placeholder(schema));
            }
        }
        Value::Object(fields)
    }

    fn field(&mut self, entry: &Entry, schema: &Value, required: bool, path: &Path, fields: &mut Map<String, Value>) {
        let empty = entry.value.scalar().is_some_and(|scalar| scalar.meaning() == Meaning::Null);
        if empty && schema.get("default").is_some() {
            return;
        }
        let value = if empty {
            let help = Some("give it a value, or leave it out".to_owned());
            self.report(path, format!("`{}` has no value", excerpt(&entry.key)), help);
            None
        } else {
            self.value(&entry.value, schema, path)
        };
        if let Some(value) = value.or_else(|| required.then(|| placeholder(schema))) {
            fields.insert(entry.key.clone(), value);
        }
    }

    fn unknown_field(&mut self, entry: &Entry, known: &Map<String, Value>, path: &Path) {
        let name = entry.key.as_str();
        let inside = known.iter().find(|(_, schema)| schema.get("properties").is_some_and(|p| p.get(name).is_some()));
        let help = match inside {
            _ if name == "<<" => {
                Some("merge keys are not read; repeat the fields, or use an alias for a whole value".into())
            }
            Some((parent, _)) => Some(format!("`{name}` belongs under `{parent}`")),
            None => suggestion(name, known.keys().map(String::as_str), "fields here"),
        };
        self.report(path, format!("unknown field `{}`", excerpt(name)), help);
        if let Some(problem) = self.problems.last_mut() {
            problem.at_name |= problem.path == *path;
        }
    }

    fn map(&mut self, entries: &[Entry], values: &Value, schema: &Value, path: &Path) -> Value {
        self.check_count(entries.len(), schema, ("minProperties", "maxProperties"), path);
        let mut map = Map::new();
        for entry in entries {
            if let Some(value) = self.value(&entry.value, values, &path.then(entry.key.as_str())) {
                map.insert(entry.key.clone(), value);
            }
        }
        Value::Object(map)
    }

    fn array(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let Content::Sequence(items) = &node.content else {
            let help = node.scalar().map(|scalar| format!("write `[{}]`", excerpt(&scalar.text)));
            self.report(path, format!("expected a list, found {}", found(node)), help);
            return None;
        };
        self.check_count(items.len(), schema, ("minItems", "maxItems"), path);
        let limit = schema.get("maxItems").and_then(Value::as_u64).map_or(usize::MAX, |most| most as usize);
        let item_schema = schema.get("items").unwrap_or(&Value::Null);
        let unique = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
        let mut seen = HashSet::new();
        let mut values = Vec::new();
        for (index, item) in items.iter().take(limit).enumerate() {
            let path = path.then(index);
            if unique && item.text().is_some_and(|text| !seen.insert(text)) {
                self.report(&path, format!("`{}` is listed twice", excerpt(item.text().unwrap_or_default())), None);
            }
            values.push(self.value(item, item_schema, &path).unwrap_or_else(|| placeholder(item_schema)));
        }
        Some(Value::Array(values))
    }

    fn check_count(&mut self, count: usize, schema: &Value, (least, most): (&str, &str), path: &Path) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        if let Some(least) = bound(least).filter(|least| (count as u64) < *least) {
            self.report(path, format!("needs at least {least} {}, has {count}", entries(least)), None);
        }
        if let Some(most) = bound(most).filter(|most| count as u64 > *most) {
            self.report(path, format!("has {count} entries; at most {most} {} allowed", are(most)), None);
        }
    }

    /// Kubernetes' quantities, which may be written as numbers.
    fn quantity(&mut self, node: &Node, path: &Path) -> Option<Value> {
        let scalar = node.scalar().filter(|scalar| !matches!(scalar.meaning(), Meaning::Null | Meaning::Boolean(_)));
        if scalar.is_none() {
            self.report(path, format!("expected a quantity such as `500m` or `256Mi`, found {}", found(node)), None);
        }
        scalar.map(|scalar| Value::String(scalar.text.clone()))
    }

    fn scalar(&mut self, node: &Node, schema: &Value, kind: &str, path: &Path) -> Option<Value> {
        let meaning = node.scalar().map(|scalar| (scalar, scalar.meaning()));
        match (kind, meaning) {
            ("string", Some((scalar, Meaning::Text))) => self.string(scalar, schema, path),
            ("boolean", Some((_, Meaning::Boolean(value)))) => Some(Value::Bool(value)),
            ("integer", Some((_, Meaning::Integer(value)))) => self.integer(value, schema, path),
            _ => {
                self.report(path, format!("expected {}, found {}", article(kind), found(node)), cure(kind, node));
                None
            }
        }
    }

    fn integer(&mut self, value: i64, schema: &Value, path: &Path) -> Option<Value> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let narrow = schema.get("format").and_then(Value::as_str) == Some("int32");
        let least = bound("minimum").unwrap_or(if narrow { f64::from(i32::MIN) } else { f64::MIN });
        let most = bound("maximum").unwrap_or(if narrow { f64::from(i32::MAX) } else { f64::MAX });
        if (value as f64) < least || (value as f64) > most {
            let bounds = if most < f64::from(i32::MAX) {
                format!("between {least} and {most}")
            } else {
                format!("at least {least}")
            };
            self.report(path, format!("{value} is out of bounds: it must be {bounds}"), None);
            return None;
        }
        Some(Value::from(value))
    }

    fn string(&mut self, scalar: &Scalar, schema: &Value, path: &Path) -> Option<Value> {
        if scalar.is_old_boolean() {
            self.old_boolean(scalar, path);
        }
        if let Some((message, help)) = self.string_problem(&scalar.text, schema) {
            self.report(path, message, help);
            return None;
        }
        Some(Value::String(scalar.text.clone()))
    }

    fn string_problem(&mut self, text: &str, schema: &Value) -> Option<(String, Option<String>)> {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            let help = suggestion(text, allowed.iter().copied(), "values");
            return (!allowed.contains(&text))
                .then(|| (format!("`{}` is not one of {}", excerpt(text), listed(&allowed)), help));
        }
        let length = text.chars().count() as u64;
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        if bound("minLength").is_some_and(|least| length < least) && length == 0 {
            return Some(("is an empty text".to_owned(), None));
        }
        if let Some(most) = bound("maxLength").filter(|most| length > *most) {
            return Some((format!("has {length} characters; at most {most} {} allowed", are(most)), None));
        }
        let pattern = schema.get("pattern").and_then(Value::as_str).filter(|pattern| *pattern != patterns::DURATION)?;
        let regex = self.patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        let fits = regex.as_ref().is_none_or(|regex| regex.is_match(text));
        (!fits).then(|| (format!("`{}` is not {}", excerpt(text), phrase(pattern)), None))
    }

    fn old_boolean(&mut self, scalar: &Scalar, path: &Path) {
        let help = Some(format!("put it in quotes: \"{}\"", scalar.text));
        self.report(
            path,
            format!("`{}` without quotes is a boolean for kubectl, which reads YAML 1.1", scalar.text),
            help,
        );
        if let Some(problem) = self.problems.last_mut().filter(|problem| problem.path == *path) {
            problem.severity = Severity::Warning;
        }
    }
}

fn type_of(schema: &Value) -> &str {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "int-or-string";
    }
    schema.get("type").and_then(Value::as_str).unwrap_or("any")
}

/// What a field is for: its description's first sentence.
fn meaning_of(name: &str, schema: &Value) -> String {
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let first = description.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let mut chars = first.chars();
    let lower = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect::<String>();
    if lower.is_empty() { format!("add `{name}: …`") } else { format!("add `{name}: …` ({lower})") }
}

/// The patterns of the schema in words.
fn phrase(pattern: &str) -> String {
    let words = match pattern {
        patterns::NODE => "a node's name: letters, digits and `_`, and no digit at the start",
        patterns::CONNECTION => {
            "a connection's name: letters, digits, `-` and `_`, with a letter or digit at both ends"
        }
        patterns::TOPIC => "a topic's name: letters, digits, `.`, `_` and `-`",
        patterns::APPLICATION_ID => {
            "an application id: letters, digits, `.`, `_` and `-`, with a letter or digit at the start"
        }
        patterns::BOOTSTRAP_SERVERS => "a list of brokers such as `kafka:9092,kafka-2:9092`",
        patterns::SECRET => "a Secret's name: lower-case letters, digits, `-` and `.`",
        patterns::SECRET_KEY => "a key of a Secret: letters, digits, `-`, `_` and `.`",
        patterns::ASCII_CHARACTER => "one printable ASCII character or a tab",
        other => return format!("of the form {other}"),
    };
    words.to_owned()
}

fn entries(count: u64) -> &'static str {
    if count == 1 { "entry" } else { "entries" }
}

fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

/// What stands in the document, for people.
pub fn found(node: &Node) -> String {
    let scalar = match &node.content {
        Content::Sequence(_) => return "a list".into(),
        Content::Mapping(_) => return "fields".into(),
        Content::Scalar(scalar) => scalar,
    };
    let text = excerpt(&scalar.text);
    match scalar.meaning() {
        Meaning::Null => "nothing".into(),
        Meaning::Boolean(_) => format!("the boolean `{text}`"),
        Meaning::Integer(_) | Meaning::Number => format!("the number `{text}`"),
        Meaning::Text => format!("the text `{text}`"),
    }
}

/// How a value of another type is written as one of `kind`.
fn cure(kind: &str, node: &Node) -> Option<String> {
    let scalar = node.scalar()?;
    match (kind, scalar.meaning()) {
        ("string", Meaning::Boolean(_) | Meaning::Integer(_) | Meaning::Number) => {
            Some(format!("put it in quotes: \"{}\"", excerpt(&scalar.text)))
        }
        ("integer", Meaning::Text) if scalar.text.parse::<i64>().is_ok() => Some("leave out the quotes".into()),
        ("boolean", Meaning::Text) if scalar.is_old_boolean() => {
            let yes = matches!(scalar.text.to_ascii_lowercase().as_str(), "y" | "yes" | "on");
            Some(format!("write `{yes}`"))
        }
        ("boolean", Meaning::Text) if matches!(scalar.text.as_str(), "true" | "false") => {
            Some("leave out the quotes".into())
        }
        _ => None,
    }
}

/// Something of the right shape, in the place of what is missing or wrong.
fn placeholder(schema: &Value) -> Value {
    match type_of(schema) {
        "object" => {
            let required =
                schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let property = |name: &str| schema.get("properties").and_then(|p| p.get(name)).unwrap_or(&Value::Null);
            Value::Object(required.map(|name| (name.to_owned(), placeholder(property(name)))).collect())
        }
        "array" => Value::Array(Vec::new()),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(0)),
        "boolean" => Value::Bool(false),
        "any" => Value::Null,
        _ => schema.get("enum").and_then(|all| all.get(0)).cloned().unwrap_or_else(|| Value::from("")),
    }
}

/// A node whose shape is free.
fn free(node: &Node) -> Value {
    match &node.content {
        Content::Sequence(items) => items.iter().map(free).collect(),
        Content::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), free(&entry.value))).collect(),
        Content::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => Value::Null,
            Meaning::Boolean(value) => Value::Bool(value),
            Meaning::Integer(value) => Value::from(value),
            Meaning::Number | Meaning::Text => Value::String(scalar.text.clone()),
        },
    }
}
