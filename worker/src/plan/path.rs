//! Paths of fields in a manifest, such as `transforms[0].filter`.
//!
//! Everything below the manifest's door names fields by these paths; the manifest turns them into lines and columns.

use std::fmt;

/// One step down a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A field of a mapping.
    Field(String),
    /// An element of a list.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(field: &str) -> Self {
        Self::Field(field.to_owned())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way from a document's root to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of the spec; most paths start here.
    pub fn spec(field: &str) -> Self {
        Self::root().then("spec").then(field)
    }

    /// The field or element below this one.
    #[must_use]
    pub fn then(&self, segment: impl Into<Segment>) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.into());
        Self(segments)
    }

    /// The field below this one that a dotted text names, such as `csv.delimiter`.
    #[must_use]
    pub fn below(&self, dotted: &str) -> Self {
        dotted.split('.').filter(|field| !field.is_empty()).fold(self.clone(), |path, field| path.then(field))
    }

    /// The field at `other`, taken from here.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The list and the place in it, for a path to or into a source, transform or sink.
    pub fn node(&self) -> Option<(&str, usize)> {
        match self.0.as_slice() {
            [Segment::Field(spec), Segment::Field(list), Segment::Index(index), ..]
                if spec == "spec" && matches!(list.as_str(), "sources" | "transforms" | "sinks") =>
            {
                Some((list, *index))
            }
            _ => None,
        }
    }
}

/// As people write it: without the `spec` that every field of a Pipeline is in.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = match self.0.as_slice() {
            [Segment::Field(spec), rest @ ..] if spec == "spec" && !rest.is_empty() => rest,
            all => all,
        };
        for (place, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(field) if !is_plain(field) => write!(f, "[{field:?}]")?,
                Segment::Field(field) if place == 0 => f.write_str(field)?,
                Segment::Field(field) => write!(f, ".{field}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(field: &str) -> bool {
    !field.is_empty() && field.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_write_it() {
        let cases = [
            (Path::spec("transforms").then(0).then("filter"), "transforms[0].filter"),
            (
                Path::spec("connections").then(1).below("kafka.properties").then("a.b"),
                "connections[1].kafka.properties[\"a.b\"]",
            ),
            (Path::root().then("metadata").then("name"), "metadata.name"),
            (Path::root().then("spec"), "spec"),
            (Path::root(), ""),
        ];
        for (path, text) in cases {
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn knows_its_node() {
        assert_eq!(Path::spec("sinks").then(2).below("kafka.topic").node(), Some(("sinks", 2)));
        assert_eq!(Path::spec("connections").then(2).node(), None);
        assert_eq!(Path::spec("sinks").node(), None);
    }
}
