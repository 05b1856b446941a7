//! The chain: everything between sources and sinks, compiled.

use crate::records::{Processed, SourceBatch};

/// The compiled form of everything between sources and sinks: decoders, transforms, encoders.
#[derive(Debug, Default)]
pub struct Chain {}

impl Chain {
    /// Runs the chain on a batch of one source.
    ///
    /// `now` is what `now()` gives for the whole batch, in microseconds since 1970. Never fails and never panics for
    /// bad data: what cannot be processed is in [`Processed::bad`].
    pub fn process(&self, batch: &SourceBatch, now: i64) -> Processed {
        let _ = (batch, now);
        Processed::default()
    }
}
