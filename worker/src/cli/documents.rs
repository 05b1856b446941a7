//! The documents of a file, by what they are.
//!
//! Files hold what belongs together: a Pipeline with its tests, its topics, its Secret. Each command takes what it is
//! for and leaves the rest alone, but nothing that was meant to be a Pipeline or a test may go unnoticed.

use std::fmt::Write;

use super::files::Source;
use super::terminal::Style;
use super::test;
use crate::plan::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::plan::manifest::{self, Document, RawDocument};

/// What a file holds for us.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// Pipelines.
    pub(super) pipelines: Vec<Document>,
    /// Tests, not yet read.
    pub(super) tests: Vec<RawDocument>,
    /// The number of documents of other kinds.
    pub(super) others: usize,
    /// What is wrong.
    pub(super) problems: Vec<Diagnostic>,
}

/// Sorts the documents of a file.
pub(super) fn read(source: &Source) -> Documents {
    let mut documents = Documents::default();
    match manifest::documents(&source.name, &source.text) {
        Ok(raw) => raw.into_iter().for_each(|raw| documents.add(raw)),
        Err(problems) => documents.problems.extend(problems),
    }
    documents
}

impl Documents {
    fn add(&mut self, raw: RawDocument) {
        if test::is_test(&raw) {
            self.tests.push(raw);
        } else if is_foreign(&raw) {
            self.others += 1;
        } else {
            match raw.pipeline() {
                Ok(pipeline) => self.pipelines.push(pipeline),
                Err(problems) => self.problems.extend(problems),
            }
        }
    }
}

/// Whether it is surely something else: it names a kind, and neither that nor the API is ours.
fn is_foreign(raw: &RawDocument) -> bool {
    match (raw.api_version(), raw.kind()) {
        (Some(version), Some(kind)) => !version.contains("millstream.dev") && kind != manifest::KIND,
        _ => false,
    }
}

/// A diagnostic as text, the severity marked.
pub(super) fn painted(diagnostic: &Diagnostic, style: Style) -> String {
    let text = diagnostic.to_string();
    let place = format!("{}:{}:{}: ", diagnostic.file, diagnostic.line, diagnostic.column);
    let word = diagnostic.severity.to_string();
    let Some(rest) = text.strip_prefix(&place).and_then(|rest| rest.strip_prefix(&word)) else { return text };
    let word = match diagnostic.severity {
        Severity::Error => style.error(&word),
        Severity::Warning => style.warning(&word),
    };
    format!("{place}{word}{rest}")
}

/// Several diagnostics as text, with an empty line between them.
pub(super) fn painted_all(diagnostics: &Diagnostics, style: Style) -> String {
    diagnostics.iter().fold(String::new(), |mut text, diagnostic| {
        let separator = if text.is_empty() { "" } else { "\n\n" };
        let _ = write!(text, "{separator}{}", painted(diagnostic, style));
        text
    })
}
