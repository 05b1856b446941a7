//! YAML as a tree of nodes that know their places.
//!
//! The parser is serde-saphyr's own (`granit-parser`); its events are turned into a tree here instead of into typed
//! values, because a typed reader stops at the first problem and forgets where fields stood. The tree is bounded in
//! bytes, depth and nodes, aliases included, so that recursion over it is safe and no document can exhaust memory.

use std::ops::Range;

use super::diagnostic::Place;
use super::path::{Path, Segment};

mod builder;

pub use builder::parse;

/// The longest file that is read, in bytes. Kubernetes stores objects of at most 1.5 MB.
pub const MAX_BYTES: usize = 4 << 20;
/// How deep a document nests at most.
pub const MAX_DEPTH: usize = 64;
/// The most nodes of a file, with aliases counted at each use.
pub const MAX_NODES: usize = 200_000;
/// The most bytes of text that aliases may repeat.
pub const MAX_REPEATED_BYTES: usize = 8 << 20;

/// A node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins; for what an alias stands for, where that is written.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Fields.
    Mapping(Vec<Entry>),
}

/// A field of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where its name stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

/// A scalar as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text, unescaped and unfolded.
    pub text: String,
    /// Whether it was written without quotes and not as a block: only then it may be something else than text.
    pub plain: bool,
    /// The bytes of the file that it was read from.
    pub source: Range<usize>,
}

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// Nothing.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, or a whole one beyond 64 bits.
    Number,
    /// Text.
    Text,
}

/// A problem of the document as YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlProblem {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Scalar {
    /// What the scalar means in YAML 1.2's core schema.
    pub fn meaning(&self) -> Meaning {
        if !self.plain {
            return Meaning::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Boolean(true),
            "false" | "False" | "FALSE" => Meaning::Boolean(false),
            text => number(text),
        }
    }

    /// Whether YAML 1.1, which `kubectl` reads, takes this text for a boolean.
    pub fn is_old_boolean(&self) -> bool {
        const WORDS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];
        let lower = self.text.to_ascii_lowercase();
        let cased = [lower.clone(), self.text.to_ascii_uppercase(), capitalised(&lower)];
        self.plain && self.text.len() <= 3 && WORDS.contains(&lower.as_str()) && cased.contains(&self.text)
    }
}

fn capitalised(lower: &str) -> String {
    let mut chars = lower.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn number(text: &str) -> Meaning {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix =
        |prefix: &str, radix: u32| unsigned.strip_prefix(prefix).and_then(|d| i64::from_str_radix(d, radix).ok());
    if let Some(integer) = radix("0x", 16).or_else(|| radix("0o", 8)).filter(|_| unsigned == text) {
        return Meaning::Integer(integer);
    }
    if let Ok(integer) = text.parse() {
        return Meaning::Integer(integer);
    }
    let special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    if special || (begins && text.parse::<f64>().is_ok()) { Meaning::Number } else { Meaning::Text }
}

impl Node {
    /// The field of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The node at a path.
    pub fn at(&self, path: &Path) -> Option<&Node> {
        path.segments().iter().try_fold(self, |node, segment| node.child(segment))
    }

    fn child(&self, segment: &Segment) -> Option<&Node> {
        match (segment, &self.content) {
            (Segment::Field(key), _) => self.get(key),
            (Segment::Index(index), Content::Sequence(items)) => items.get(*index),
            (Segment::Index(_), _) => None,
        }
    }

    /// Where the field at a path stands, or the nearest one above it that is there.
    pub fn place_of(&self, path: &Path) -> Place {
        let (mut node, mut place) = (self, self.place);
        for segment in path.segments() {
            let Some(child) = node.child(segment) else { break };
            // A list or mapping is pointed at by its name, not by its first field, which may be lines below.
            let named = if child.scalar().is_none() { node.key_place(segment) } else { None };
            place = named.unwrap_or(child.place);
            node = child;
        }
        place
    }

    /// Where the name of the field at a path stands.
    pub fn key_place_of(&self, path: &Path) -> Place {
        let Some((last, parents)) = path.segments().split_last() else { return self.place };
        let parent = parents.iter().try_fold(self, |node, segment| node.child(segment));
        parent.and_then(|parent| parent.key_place(last)).unwrap_or_else(|| self.place_of(path))
    }

    fn key_place(&self, segment: &Segment) -> Option<Place> {
        match segment {
            Segment::Field(key) => self.entry(key).map(|entry| entry.place),
            Segment::Index(_) => None,
        }
    }

    /// The size with everything below.
    fn size(&self) -> Size {
        let mut size = Size { nodes: 1, bytes: 0, depth: 1 };
        match &self.content {
            Content::Scalar(scalar) => size.bytes += scalar.text.len(),
            Content::Sequence(items) => items.iter().for_each(|item| size.add(item.size())),
            Content::Mapping(entries) => entries.iter().for_each(|entry| {
                size.bytes += entry.key.len();
                size.add(entry.value.size());
            }),
        }
        size
    }
}

#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    fn add(&mut self, below: Self) {
        self.nodes += below.nodes;
        self.bytes += below.bytes;
        self.depth = self.depth.max(below.depth + 1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::names;

    fn one(text: &str) -> Node {
        let mut documents = parse(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn problem(text: &str) -> (u32, u32, String) {
        let problem = parse(text).unwrap_err().remove(0);
        (problem.place.line, problem.place.column, problem.message)
    }

    #[test]
    fn knows_the_place_of_every_field() {
        let node = one("a:\n  - b: 1\n    c: {d: [x, y]}\n");
        let path = |text: &str| {
            text.split('.').fold(Path::root(), |path, part| match part.parse::<usize>() {
                Ok(index) => path.then(index),
                Err(_) => path.then(part),
            })
        };
        let cases = [
            ("a.0.b", (2, 8)),
            ("a.0.c.d.1", (3, 16)),
            ("a.0", (2, 5)),
            ("a", (1, 1)),
            ("a.0.missing", (2, 5)),
            ("a.7.b", (1, 1)),
        ];
        for (text, (line, column)) in cases {
            assert_eq!(node.place_of(&path(text)), Place { line, column }, "{text}");
        }
        assert_eq!(node.key_place_of(&path("a.0.b")), Place { line: 2, column: 5 });
    }

    #[test]
    fn tells_what_scalars_mean() {
        let cases = [
            ("5", Meaning::Integer(5)),
            ("-5", Meaning::Integer(-5)),
            ("0x1F", Meaning::Integer(31)),
            ("0o17", Meaning::Integer(15)),
            ("5.5", Meaning::Number),
            ("1e3", Meaning::Number),
            (".inf", Meaning::Number),
            ("99999999999999999999", Meaning::Number),
            ("true", Meaning::Boolean(true)),
            ("~", Meaning::Null),
            ("\"5\"", Meaning::Text),
            ("!!str 5", Meaning::Text),
            ("500ms", Meaning::Text),
            ("infinity", Meaning::Text),
            ("nan", Meaning::Text),
        ];
        for (text, expected) in cases {
            assert_eq!(
                one(&format!("[{text}]")).at(&Path::root().then(0)).unwrap().scalar().unwrap().meaning(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn knows_the_booleans_of_old() {
        for (text, expected) in [
            ("no", true),
            ("Yes", true),
            ("OFF", true),
            ("y", true),
            ("nO", false),
            ("\"no\"", false),
            ("north", false),
        ] {
            let node = one(&format!("[{text}]"));
            assert_eq!(node.at(&Path::root().then(0)).unwrap().scalar().unwrap().is_old_boolean(), expected, "{text}");
        }
    }

    #[test]
    fn reads_several_documents_and_leaves_out_empty_ones() {
        assert_eq!(parse("---\na: 1\n---\n# nothing\n---\nb: 2\n").unwrap().len(), 2);
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn expands_aliases() {
        let node = one("a: &x {b: 1}\nc: *x\n");
        assert_eq!(node.get("a"), node.get("c"));
    }

    #[test]
    fn refuses_what_is_not_yaml_or_has_no_bounds() {
        let bomb = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
            let last = format!("*a{}", i - 1);
            text + &format!("a{i}: &a{i} [{}]\n", [last.as_str(); 8].join(","))
        });
        let fat = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), ["*a"; 100].join(","));
        let cases = [
            ("a: [1", "not valid YAML"),
            ("a: 1\na: 2\n", "the field `a` is given twice"),
            ("? [a]\n: 1\n", "the name of a field is a text"),
            ("a: !secret x", "the tag `!secret` means nothing here"),
            ("a: &a [*a]", "the alias stands inside what it refers to"),
            ("a: *b", "not valid YAML"),
            (&bomb, "the file has more than"),
            (&fat, "anchors and aliases repeat more than"),
            (&"[".repeat(100_000), ""),
            (&"{a: ".repeat(100_000), ""),
            (&"- ".repeat(100_000), ""),
            (&"x".repeat(MAX_BYTES + 1), "the file has"),
        ];
        for (text, message) in cases {
            let found = problem(text);
            assert!(found.2.starts_with(message), "{}: {found:?}", names::excerpt(text));
        }
    }

    #[test]
    fn says_where_the_second_of_two_fields_is() {
        assert_eq!(problem("a: 1\nb: 2\na: 3\n"), (3, 1, "the field `a` is given twice".to_owned()));
    }
}
