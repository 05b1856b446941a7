//! The chain: everything between sources and sinks, compiled.

use crate::operators::spec::ChainSpec;
use crate::records::{BadRecord, Processed, Reason, SourceBatch};

/// The compiled form of everything between sources and sinks: decoders, transforms, encoders.
#[derive(Debug, Default)]
pub struct Chain {
    spec: ChainSpec,
}

/// A chain that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A part of the spec names something that is not there.
    #[error("node {node}: {what} does not exist")]
    Missing {
        /// The node.
        node: String,
        /// What it names.
        what: String,
    },
}

impl Chain {
    /// Builds the chain of a checked spec.
    pub fn new(spec: ChainSpec) -> Result<Self, ChainError> {
        Ok(Self { spec })
    }

    /// What the chain does with each source's records, for people.
    pub fn explain(&self) -> String {
        format!("{:#?}", self.spec)
    }

    /// Runs the chain on a batch of one source.
    ///
    /// `now` is what `now()` gives for the whole batch, in microseconds since 1970. Never fails and never panics for
    /// bad data: what cannot be processed is in [`Processed::bad`].
    pub fn process(&self, batch: &SourceBatch, now: i64) -> Processed {
        let _ = now;
        let refuse = |row| BadRecord {
            row,
            node: "chain".into(),
            reason: Reason::Expression,
            message: "this build cannot run chains yet".into(),
            derived: None,
        };
        Processed { sinks: Vec::new(), bad: (0..batch.len() as u32).map(refuse).collect() }
    }
}
