//! Manifest → checked, compiled pipeline. Pure: no file, no network, no clock.
//!
//! Every problem of a manifest is found in one go, and each carries its place (file, line, column, node) and a way out.

pub mod pipeline;
pub mod sql;

pub use pipeline::CompiledPipeline;
