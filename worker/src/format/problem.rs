//! What is wrong with one record or row.

use super::Failure;
use super::text::cut;
use crate::records::Reason;

/// What is wrong with one record or row, while its place is still being found. Boxed inside, since all but a few are
/// good.
#[derive(Debug)]
pub(super) struct Problem(Box<Detail>);

#[derive(Debug)]
struct Detail {
    reason: Reason,
    /// The column and the way within it, such as `a.b[2]`; empty where the record as a whole is meant.
    path: String,
    message: String,
}

/// The result of judging one record or row.
pub(super) type Checked = Result<(), Problem>;

impl Problem {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Detail { reason, path: String::new(), message: message.into() }))
    }

    /// A value that is not of its column's type.
    pub(super) fn mismatch(expected: &str, found: &str, why: &str) -> Self {
        let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
        Self::new(Reason::Type, format!("expected {expected}, found {found}{because}"))
    }

    /// The problem is in the member `name`.
    pub(super) fn within(self, name: &str) -> Self {
        self.below(&cut(name))
    }

    /// The problem is in the item at `place`.
    pub(super) fn at(self, place: usize) -> Self {
        self.below(&format!("[{place}]"))
    }

    fn below(mut self, step: &str) -> Self {
        let path = &self.0.path;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{step}{dot}{path}");
        self
    }

    /// The problem of a row, for a person.
    pub(super) fn of_row(self, row: usize) -> Failure {
        let Detail { reason, path, message } = *self.0;
        let message = if path.is_empty() { message } else { format!("column `{path}`: {message}") };
        Failure { row: row as u32, reason, message }
    }
}
