//! Durations in the fields of a Pipeline, read as the compiler reads them.

use std::time::Duration;

/// Reads a duration; none if the text is none.
pub fn parse(text: &str) -> Option<Duration> {
    millstream::plan::duration::parse(text).ok()
}
