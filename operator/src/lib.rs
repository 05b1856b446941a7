//! The control plane of Millstream: observe → decide → apply.
//!
//! `decide` and `build` are pure: what follows from what was observed, and the Kubernetes objects that a Pipeline owns.
//! Whatever the operator gets wrong costs time, never records: Kafka fences.

pub mod api;
pub mod apply;
pub mod backoff;
pub mod build;
pub mod certificate;
pub mod check;
pub mod compile;
pub mod context;
pub mod controller;
pub mod decide;
pub mod deletion;
pub mod events;
pub mod growth;
pub mod http;
pub mod kafka;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod progress;
pub mod reconcile;
pub mod removal;
pub mod reports;
pub mod run;
pub mod secrets;
pub mod settings;
pub mod tell;
