//! Manifest → checked, compiled pipeline. Pure: no file, no network, no clock.
//!
//! Every problem of a manifest is found in one go, and each carries its place (file, line, column, node) and a way out.

pub mod diagnostic;
pub mod duration;
pub mod manifest;
pub mod names;
pub mod path;
pub mod pipeline;
pub mod position;
pub mod rules;
pub mod schema;
pub mod sql;
pub mod types;
pub mod yaml;

pub use pipeline::CompiledPipeline;
