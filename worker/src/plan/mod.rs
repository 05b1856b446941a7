//! Manifest → checked, compiled pipeline. Pure: no file, no network, no clock.
//!
//! Every problem of a manifest is found in one go, and each carries its place (file, line, column, node) and a way out.

mod columns;
pub mod compile;
mod connections;
mod context;
pub mod diagnostic;
pub mod duration;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod graph;
mod hash;
pub mod manifest;
pub mod names;
pub mod path;
pub mod pipeline;
pub mod position;
mod properties;
pub mod rules;
pub mod schema;
mod sinks;
mod sources;
pub mod sql;
mod topics;
mod transforms;
pub mod types;
pub mod yaml;

pub use compile::{Compiled, compile, explain};
pub use pipeline::CompiledPipeline;
