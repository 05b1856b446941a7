//! Operators over Arrow batches, and the chain that runs them.
//!
//! `spec` is what the compiler hands over; `program` makes one program a source of it; `steps` and `outputs` run it
//! over `table`s; `evaluate` isolates the rows for which an expression fails.

pub mod chain;
pub mod evaluate;
mod explain;
pub mod metadata;
mod outputs;
mod program;
pub mod spec;
mod steps;
mod table;

pub use chain::{Chain, ChainError};
pub use spec::{ChainSpec, KeyRule, NodeRef, NodeSpec, SinkSpec, SourceSpec, Step};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod properties;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
