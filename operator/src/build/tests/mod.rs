//! What is built for whole Pipelines: golden objects, what makes a revision, what pods keep to.
#![allow(clippy::unwrap_used)]

mod fixtures;
mod objects;
mod pods;
mod problems;
mod revisions;
