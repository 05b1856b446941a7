//! Where the compiler's parts put what they find.
//!
//! A part goes on after a problem, so that all problems come in one go. What was reported as wrong in shape stays
//! silent here: its value is a stand-in, and whatever would be said about it would mislead.

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::manifest::Document;
use super::path::Path;
use super::schema::MAX_PROBLEMS;
use super::sql::SqlProblem;

/// The problems found so far, and the document that they are about.
pub(super) struct Context<'a> {
    document: &'a Document,
    found: Vec<Diagnostic>,
}

impl<'a> Context<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self { document, found: document.problems().collect() }
    }

    /// Whether a field's value is a stand-in for something wrong.
    pub(super) fn is_spoiled(&self, path: &Path) -> bool {
        self.document.is_spoiled(path)
    }

    pub(super) fn error(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        self.report(Severity::Error, path, message.into(), help, None);
    }

    pub(super) fn warning(&mut self, path: &Path, message: impl Into<String>, help: Option<String>) {
        self.report(Severity::Warning, path, message.into(), help, None);
    }

    /// An error at a line and column, from 1, inside the text of a field.
    pub(super) fn error_within(
        &mut self,
        path: &Path,
        position: Option<(u32, u32)>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.report(Severity::Error, path, message.into(), help, position);
    }

    /// The problems of a SQL text.
    pub(super) fn sql(&mut self, path: &Path, problems: Vec<SqlProblem>) {
        for SqlProblem { position, message, help } in problems {
            self.error_within(path, position, message, help);
        }
    }

    fn report(
        &mut self,
        severity: Severity,
        path: &Path,
        message: String,
        help: Option<String>,
        position: Option<(u32, u32)>,
    ) {
        if self.found.len() >= MAX_PROBLEMS || self.is_spoiled(path) {
            return;
        }
        let diagnostic = self.document.diagnostic(severity, path, message, help);
        self.found.push(match position {
            Some(position) => self.document.at_position(diagnostic, path, position),
            None => diagnostic,
        });
    }

    /// All problems as errors if one is an error, else the warnings.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, Diagnostics> {
        let all: Diagnostics = self.found.into_iter().collect();
        if all.has_errors() { Err(all) } else { Ok(all.into_iter().collect()) }
    }
}
