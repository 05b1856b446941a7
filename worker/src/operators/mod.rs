//! Operators over Arrow batches, and the chain that runs them.

pub mod chain;
pub mod metadata;

pub use chain::Chain;
