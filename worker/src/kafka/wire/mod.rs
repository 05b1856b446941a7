//! Kafka's protocol without librdkafka: record batches, not records.
//!
//! A second filling of the batch interface ([`crate::records`]). librdkafka hands out messages, each an allocation and a
//! lock or two; here the batches of a fetch response become columns at once. What is written here is what has no crate:
//! the codec of record batches and state machines. They do no I/O and read no clock, so that tests drive them step by
//! step.

pub mod api;
pub mod batch;
pub mod connection;
pub mod fetch;
pub mod sasl;
mod shape;
