//! Kafka's protocol without librdkafka: record batches, not records.
//!
//! A second filling of the batch interface ([`crate::records`]). librdkafka hands out messages, each an allocation and a
//! lock or two; here the batches of a fetch response become columns at once. What is written here is what has no crate:
//! the codec of record batches and state machines ([`fetch`], [`produce`], the handshake in [`connection`]). They do no
//! I/O and read no clock, so that tests drive them step by step; [`network`], [`consumer`] and [`producer`] carry out what
//! they want.

pub mod api;
mod backoff;
pub mod batch;
pub mod cluster;
mod complaints;
pub mod connection;
pub mod consumer;
pub mod fetch;
mod group;
pub mod network;
mod pool;
mod problem;
pub mod produce;
pub mod producer;
pub mod sasl;
mod seeds;
mod shape;
