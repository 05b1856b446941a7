//! Decisions: pure functions of what was observed, each answer with a reason and a message.
//!
//! ```text
//! pods, reports, positions ─► liveness ─► Judgement of each worker ─┐
//! processes that ended ─────► quarantine ─► Verdict ────────────────┼─► View ─► assign ─► Decision
//! PipelineAssignment ───────► assignment, pending ──────────────────┘
//!
//! moves of Decisions ─► notices, durations ─► what is told and measured of them
//! ```
//!
//! Nothing here reads a clock: times are durations since one epoch, which the caller chooses. Whatever is decided
//! wrongly costs time, never records: the last worker that took a shard over is the only one that can commit for it.

pub mod assign;
pub mod assignment;
mod balance;
pub mod deletion;
pub mod durations;
mod homes;
pub mod liveness;
pub mod loads;
pub mod moves;
pub mod notices;
pub mod pending;
pub mod quarantine;
pub mod rollout;
pub mod status;
pub mod support;
pub mod view;

pub use balance::surplus;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
