//! The data plane of Millstream.
//!
//! A Pipeline's manifest becomes a compiled chain (`plan`), a shard reads its partitions (`kafka`), runs the chain on
//! columnar batches (`format`, `operators`) and commits output and positions in one Kafka transaction (`shard`).
//! `docs/architecture.md` has the source map.

pub mod cli;
pub mod cluster;
pub mod fault;
pub mod format;
pub mod health;
pub mod kafka;
pub mod metrics;
pub mod operators;
pub mod plan;
pub mod records;
pub mod shard;
