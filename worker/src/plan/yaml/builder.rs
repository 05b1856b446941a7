//! Parser events → trees, within bounds.
//!
//! The events of a document come flat, so that building needs no recursion; collections wait on a stack until their
//! ends. Problems that leave the rest without sense or without bounds end the reading, others are collected.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{
    Content, Entry, MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_REPEATED_BYTES, Meaning, Node, Scalar, Size, YamlProblem,
};
use crate::plan::diagnostic::Place;
use crate::plan::names;

/// Reads the documents of a file; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, Vec<YamlProblem>> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(vec![YamlProblem { place: Place { line: 1, column: 1 }, message, help: None }]);
    }
    let options = granit_parser::options! {
        emit_comments: false,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str_with_options(text, options);
    while let Some(event) = parser.next_event() {
        let step = event
            .map_err(|error| Box::new(syntax_problem(&error)))
            .and_then(|(event, span)| builder.take(event, &span));
        if let Err(problem) = step {
            builder.problems.push(*problem);
            break;
        }
    }
    if builder.problems.is_empty() { Ok(builder.documents) } else { Err(builder.problems) }
}

fn syntax_problem(error: &ScanError) -> YamlProblem {
    let info = error.info();
    let tab = info.contains("tab").then(|| "YAML is indented with spaces".to_owned());
    YamlProblem { place: place(error.marker()), message: format!("not valid YAML: {info}"), help: tab }
}

fn place(marker: &granit_parser::Marker) -> Place {
    Place { line: marker.line().max(1) as u32, column: marker.col() as u32 + 1 }
}

/// A collection whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, names: HashSet<String>, key: Option<(String, Place)> },
}

/// Turns events into trees. Stops at problems that leave the rest without sense or without bounds; collects others.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Size)>,
    nodes: usize,
    repeated: usize,
    problems: Vec<YamlProblem>,
}

type Step = Result<(), Box<YamlProblem>>;

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Step {
        let here = place(&span.start);
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Alias(id) => self.alias(id, here)?,
            Event::Scalar(text, style, anchor, tag) => {
                let forced = self.check_tag(tag.as_deref(), here);
                let source = span.byte_range().unwrap_or_default();
                let scalar = Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain && !forced, source };
                self.complete(Node { place: here, content: Content::Scalar(scalar) }, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), here);
                self.begin(Open { place: here, anchor, content: OpenContent::Sequence(Vec::new()) })?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), here);
                let content = OpenContent::Mapping { entries: Vec::new(), names: HashSet::new(), key: None };
                self.begin(Open { place: here, anchor, content })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            _ => {}
        }
        Ok(())
    }

    /// Whether a tag makes text of what would otherwise be something else.
    fn check_tag(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        match tag.map(|tag| (tag, tag.core_suffix())) {
            None => false,
            Some((_, Some(core))) => core == "str",
            Some((tag, None)) => {
                let message = format!("the tag `{}` means nothing here", names::excerpt(&tag.original()));
                self.problems.push(YamlProblem { place, message, help: Some("leave it out".into()) });
                false
            }
        }
    }

    fn begin(&mut self, open: Open) -> Step {
        Self::check_depth(self.open.len() + 1, open.place)?;
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Step {
        let Some(Open { place, anchor, content }) = self.open.pop() else { return Ok(()) };
        let content = match content {
            OpenContent::Sequence(items) => Content::Sequence(items),
            OpenContent::Mapping { entries, .. } => Content::Mapping(entries),
        };
        self.complete(Node { place, content }, anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Step {
        self.count(1, node.place)?;
        if anchor > 0 {
            let size = node.size();
            self.repeat(size, node.place)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.attach(node);
        Ok(())
    }

    fn alias(&mut self, id: usize, place: Place) -> Step {
        let Some((node, size)) = self.anchors.get(&id).map(|(node, size)| (node.clone(), *size)) else {
            let message = "the alias stands inside what it refers to".to_owned();
            return Err(Box::new(YamlProblem { place, message, help: None }));
        };
        Self::check_depth(self.open.len() + size.depth, place)?;
        self.repeat(size, place)?;
        self.attach(node);
        Ok(())
    }

    fn repeat(&mut self, size: Size, place: Place) -> Step {
        self.count(size.nodes, place)?;
        self.repeated += size.bytes;
        if self.repeated <= MAX_REPEATED_BYTES {
            return Ok(());
        }
        let message = format!("anchors and aliases repeat more than {MAX_REPEATED_BYTES} bytes");
        Err(Box::new(YamlProblem { place, message, help: None }))
    }

    fn count(&mut self, nodes: usize, place: Place) -> Step {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values, aliases counted at each use");
        Err(Box::new(YamlProblem { place, message, help: None }))
    }

    fn check_depth(depth: usize, place: Place) -> Step {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        Err(Box::new(YamlProblem { place, message, help: None }))
    }

    fn attach(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => {
                let empty = matches!(&node.content, Content::Scalar(scalar) if scalar.meaning() == Meaning::Null);
                self.documents.extend((!empty).then_some(node));
            }
            Some(OpenContent::Sequence(items)) => items.push(node),
            Some(OpenContent::Mapping { entries, names, key }) => match key.take() {
                None => *key = Some(key_of(node, &mut self.problems)),
                Some((key, place)) if names.insert(key.clone()) => entries.push(Entry { key, place, value: node }),
                Some((key, place)) => {
                    let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.place.line);
                    let message = format!("the field `{}` is given twice", names::excerpt(&key));
                    let help = first.map(|line| format!("it stands in line {line}, too"));
                    self.problems.push(YamlProblem { place, message, help });
                }
            },
        }
    }
}

fn key_of(node: Node, problems: &mut Vec<YamlProblem>) -> (String, Place) {
    let place = node.place;
    if let Content::Scalar(scalar) = node.content {
        return (scalar.text, place);
    }
    let message = "the name of a field is a text, not a list or mapping".to_owned();
    let help = Some("a value that begins with `{` or `[` needs quotes".to_owned());
    problems.push(YamlProblem { place, message, help });
    (String::new(), place)
}
