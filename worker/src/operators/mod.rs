//! Operators over Arrow batches, and the chain that runs them.

pub mod chain;
pub mod metadata;
pub mod spec;

pub use chain::{Chain, ChainError};
pub use spec::{ChainSpec, KeyRule, NodeRef, NodeSpec, SinkSpec, SourceSpec, Step};
