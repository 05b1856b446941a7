//! The control plane of Millstream: observe → decide → apply.
//!
//! `decide` and `build` are pure: what follows from what was observed, and the Kubernetes objects that a Pipeline owns.
//! Whatever the operator gets wrong costs time, never records: Kafka fences.

pub mod build;
pub mod decide;
