//! The only room that knows a Kafka client. What leaves it are batches ([`crate::records`]), positions and errors.
//!
//! A shard owns a [`Consumer`] and a [`Producer`] (with at-least-once one more per connection) and calls them from its
//! own thread; they block, each call at most as long as it says. One [`Admin`] a cluster serves all shards of a worker.
//! The threads behind a client are librdkafka's. They end soon after it, and nobody waits for that but the end of the
//! process, which does so with [`wait_until_closed`].

pub mod admin;
pub mod columns;
pub mod config;
pub mod consumer;
pub mod error;
pub mod mock;
pub mod murmur2;
mod native;
pub mod producer;
pub mod secrets;
pub mod wire;

pub use admin::Admin;
pub use config::{ClientConfig, KafkaClient};
pub use consumer::{Assigned, Consumer, ConsumerEvent, Polled};
pub use error::{Class, Code, KafkaError};
pub use native::admin::{DescribedTopic, Isolation, NewTopic, OffsetSpec, TopicDescription};
pub use native::client::Undelivered;
pub use native::closing::{end_process, wait_until_closed};
pub use native::list::Place;
pub use producer::{Producer, Room, WriteBatch};
pub use secrets::{SecretError, SecretStore};
