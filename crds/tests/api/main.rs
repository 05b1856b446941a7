//! What the API types promise, as far as it can be seen without an API server: the committed manifests and the
//! reference are what the types say, every field is described, every rule refuses what it should and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod documents;
mod generated;
mod reference;
mod rules;
mod schema;
