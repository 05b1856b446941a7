//! The shard: the unit of everything. One thread with a consumer, a transactional producer and a chain.
//!
//! ```text
//! take over → [ poll → process → write → checkpoint ]* → release
//! ```
//!
//! What a shard guarantees rests on Kafka alone: the last worker that took it over is the only one that can commit for
//! it, and a checkpoint is one transaction with output, header and offsets. Whatever goes wrong ends in an abort, back
//! to the last checkpoint, or in another takeover; never in a repair in place.

mod checkpoint;
pub mod crew;
pub mod dead_letter;
pub mod error;
pub mod header;
mod header_reader;
pub mod isolation;
pub mod limits;
pub mod memory;
mod output;
pub mod ownership;
pub mod placement;
mod prepare;
pub mod removal;
mod resolve;
pub mod restore;
mod rotation;
mod run;
pub mod runner;
#[expect(clippy::module_inception, reason = "the room and its main type have one name")]
mod shard;
mod shared;
pub mod state_topic;
pub mod status;
mod supervise;
mod takeover;
pub mod tenure;
pub mod topology;
mod watcher;
mod without;

pub use crate::kafka::SecretStore;
pub(crate) use crate::records::now_millis;
pub use crew::Assignments;
pub use ownership::{Assignment, AssignmentSource, Claim};
pub use runner::{Outcome, RunOptions, Runner};
pub use status::{ShardState, ShardStatus, StatusBoard};
pub use tenure::Grant;
