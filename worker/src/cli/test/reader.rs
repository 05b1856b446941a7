//! Reads a document's tree field by field, and collects every problem with its place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::plan::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::plan::manifest::RawDocument;
use crate::plan::names::suggestion;
use crate::plan::path::Path;
use crate::plan::schema::found;
use crate::plan::yaml::{Content, Meaning, Node, Scalar};

use super::document::Cell;

/// A node of the tree and the way to it.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
}

impl<'a> At<'a> {
    /// The field of that name, if it is there.
    pub(super) fn field(&self, name: &str) -> Option<At<'a>> {
        self.node.get(name).map(|node| At { node, path: self.path.then(name) })
    }

    /// Whether nothing stands there: `null`, `~` or an empty value.
    pub(super) fn is_null(&self) -> bool {
        self.node.scalar().is_some_and(|scalar| scalar.meaning() == Meaning::Null)
    }
}

/// Reads a document and remembers what is wrong with it.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    raw: &'a RawDocument,
    problems: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(raw: &'a RawDocument) -> Self {
        Self { raw, problems: Vec::new() }
    }

    /// The whole document.
    pub(super) fn root(&self) -> At<'a> {
        At { node: self.raw.root(), path: Path::root() }
    }

    /// The value, if there was no problem.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.problems.into_iter().collect()) }
    }

    pub(super) fn problem(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        self.problems.push(self.raw.diagnostic(Severity::Error, path, message.into(), help));
    }

    /// Whether it has fields; unknown ones are problems.
    pub(super) fn fields(&mut self, at: &At<'_>, known: &[&str]) -> bool {
        let Content::Mapping(entries) = &at.node.content else {
            self.problem(&at.path, format!("expected fields, found {}", found(at.node)), None);
            return false;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let help = suggestion(&entry.key, known.iter().copied(), "fields here");
            self.problem(&at.path.then(entry.key.as_str()), format!("unknown field `{}`", entry.key), help);
        }
        true
    }

    /// The field of that name, or a problem if it is missing.
    pub(super) fn required<'b>(&mut self, at: &At<'b>, name: &str) -> Option<At<'b>> {
        let field = at.field(name);
        if field.is_none() {
            self.problem(&at.path, format!("`{name}` is missing"), None);
        }
        field
    }

    /// The elements of a list.
    pub(super) fn items<'b>(&mut self, at: &At<'b>) -> Vec<At<'b>> {
        let Content::Sequence(items) = &at.node.content else {
            self.problem(&at.path, format!("expected a list, found {}", found(at.node)), None);
            return Vec::new();
        };
        items.iter().enumerate().map(|(place, node)| At { node, path: at.path.then(place) }).collect()
    }

    /// A text. Numbers and booleans are no texts: what they would look like in a record is not for YAML to decide.
    pub(super) fn text(&mut self, at: &At<'_>) -> Option<String> {
        let scalar = at.node.scalar();
        if let Some(scalar) = scalar.filter(|scalar| scalar.meaning() == Meaning::Text) {
            return Some(scalar.text.clone());
        }
        let help = scalar.filter(|_| !at.is_null()).map(|scalar| format!("put it in quotes: \"{}\"", scalar.text));
        self.problem(&at.path, format!("expected a text, found {}", found(at.node)), help);
        None
    }

    /// A whole number that is not negative.
    pub(super) fn natural<T: TryFrom<i64>>(&mut self, at: &At<'_>) -> Option<T> {
        let number = match at.node.scalar().map(Scalar::meaning) {
            Some(Meaning::Integer(number)) if number >= 0 => T::try_from(number).ok(),
            _ => None,
        };
        if number.is_none() {
            self.problem(&at.path, format!("expected a whole number from 0, found {}", found(at.node)), None);
        }
        number
    }

    /// A moment, in microseconds since 1970.
    pub(super) fn moment(&mut self, at: &At<'_>) -> Option<i64> {
        let text = at.node.scalar().filter(|_| !at.is_null()).map(|scalar| scalar.text.as_str());
        let moment = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if moment.is_none() {
            let message = format!("expected a time such as 2026-01-31T12:00:00Z, found {}", found(at.node));
            self.problem(&at.path, message, None);
        }
        moment.map(jiff::Timestamp::as_microsecond)
    }

    /// Bytes, as the text `name` or as `nameBase64`: None if neither is given.
    pub(super) fn bytes(&mut self, at: &At<'_>, name: &str) -> Option<Cell> {
        let encoded_name = format!("{name}Base64");
        match (at.field(name), at.field(&encoded_name)) {
            (None, None) => None,
            (Some(_), Some(both)) => {
                self.problem(&both.path, format!("`{name}` and `{encoded_name}` exclude each other"), None);
                None
            }
            (Some(plain), None) if plain.is_null() => Some(Cell(None)),
            (Some(plain), None) => self.text(&plain).map(|text| Cell(Some(text.into_bytes()))),
            (None, Some(encoded)) => self.base64(&encoded).map(|bytes| Cell(Some(bytes))),
        }
    }

    fn base64(&mut self, at: &At<'_>) -> Option<Vec<u8>> {
        let text: String = self.text(at)?.split_whitespace().collect();
        match STANDARD.decode(text) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.problem(&at.path, format!("is not Base64: {error}"), None);
                None
            }
        }
    }

    /// Anything, as JSON.
    pub(super) fn json(&mut self, at: &At<'_>) -> Value {
        match &at.node.content {
            Content::Sequence(_) => {
                let items = self.items(at);
                Value::Array(items.iter().map(|item| self.json(item)).collect())
            }
            Content::Mapping(entries) => {
                let fields = entries.iter().map(|entry| {
                    let field = At { node: &entry.value, path: at.path.then(entry.key.as_str()) };
                    (entry.key.clone(), self.json(&field))
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Content::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => Value::Null,
                Meaning::Boolean(value) => Value::Bool(value),
                Meaning::Integer(value) => Value::from(value),
                Meaning::Text => Value::String(scalar.text.clone()),
                Meaning::Number => self.number(at, &scalar.text),
            },
        }
    }

    fn number(&mut self, at: &At<'_>, text: &str) -> Value {
        let number = text.parse().ok().and_then(Number::from_f64);
        if number.is_none() {
            self.problem(&at.path, format!("JSON has no number `{text}`"), None);
        }
        number.map_or(Value::Null, Value::Number)
    }
}
