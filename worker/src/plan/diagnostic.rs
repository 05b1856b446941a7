//! Problems of a manifest, each with its place and a way out.
//!
//! The command line, the admission webhook and the status of a Pipeline show the same text, which is made here.

use std::fmt;

use serde::Serialize;

/// The widest source line that is shown; longer ones are cut around the place.
const WIDTH: usize = 100;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but perhaps not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A line and a column of a file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A problem of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named to the reader.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The source, transform or sink that it is about.
    pub node: Option<String>,
    /// The field, such as `transforms[0].filter`; empty where it is about the file.
    pub field: String,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line of the file, for text output.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

impl Diagnostic {
    /// `file:line:column: severity[node, field]: message`, on one line.
    pub fn headline(&self) -> String {
        let about = match (&self.node, self.field.as_str()) {
            (Some(node), "") => format!("[node {node}]"),
            (Some(node), field) => format!("[node {node}, {field}]"),
            (None, "") => String::new(),
            (None, field) => format!("[{field}]"),
        };
        format!("{}:{}:{}: {}{about}: {}", self.file, self.line, self.column, self.severity, self.message)
    }
}

/// The headline, the source line with a caret under the place, and the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(excerpt) = &self.excerpt {
            let (text, column) = window(excerpt, self.column as usize);
            let number = self.line.to_string();
            write!(f, "\n  {number} | {text}\n  {:1$} | ", "", number.len())?;
            write!(f, "{:1$}^", "", column.saturating_sub(1))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The part of a line that is shown, and the column within it.
fn window(line: &str, column: usize) -> (String, usize) {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let length = line.chars().count();
    if length <= WIDTH {
        return (line.chars().map(clean).collect(), column);
    }
    let start = column.saturating_sub(WIDTH / 2).min(length - WIDTH);
    let text = line.chars().skip(start).take(WIDTH).map(clean).collect();
    (text, column - start)
}

/// The problems of a file, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

/// Sorts, and leaves out what is said twice.
impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(problems: I) -> Self {
        let mut list: Vec<Diagnostic> = problems.into_iter().collect();
        list.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.file.clone(), d.line, d.column, d.severity);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        list.dedup();
        Self(list)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(line: u32, message: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "p.yaml".into(),
            line,
            column: 9,
            node: Some("clean".into()),
            field: "transforms[0].filter".into(),
            message: message.into(),
            help: Some("did you mean `temp`?".into()),
            excerpt: Some("filter: tmp > 1".into()),
        }
    }

    #[test]
    fn points_at_the_place() {
        let expected = "p.yaml:12:9: error[node clean, transforms[0].filter]: unknown column `tmp`\n  \
                        12 | filter: tmp > 1\n     |         ^\n  help: did you mean `temp`?";
        assert_eq!(diagnostic(12, "unknown column `tmp`").to_string(), expected);
    }

    #[test]
    fn cuts_long_lines_around_the_place() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let (text, column) = window(&line, 501);
        assert_eq!(text.chars().count(), WIDTH);
        assert_eq!(text.chars().nth(column - 1), Some('X'));
    }

    #[test]
    fn sorts_by_place_and_drops_repetitions() {
        let list = [diagnostic(9, "b"), diagnostic(2, "z"), diagnostic(9, "a"), diagnostic(9, "b")];
        let sorted: Diagnostics = list.into_iter().collect();
        let places: Vec<_> = sorted.iter().map(|d| (d.line, d.message.as_str())).collect();
        assert_eq!(places, [(2, "z"), (9, "a"), (9, "b")]);
    }
}
