//! The identity of what workers run.
//!
//! A revision is the hash of everything that stands in its `ConfigMap` and in its pods, in canonical form. So neither
//! ever changes under the name of a revision: a `ConfigMap` that is immutable can be applied again, and a Deployment
//! never replaces its pods by itself, past the hand-over of shards. What steers the operator only (replicas, scaling,
//! suspend, the worker's timeout, the deletion policy) stands in neither, and changes no revision.

use std::fmt::{self, Write as _};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::input::Owned;
use super::{canonical, config_map, pod};

/// The digits of the hash that are kept.
const DIGITS: usize = 10;

/// A revision of a Pipeline: ten hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(String);

impl Revision {
    /// The hash of a text.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut digits = hexadecimal(&Sha256::digest(text));
        digits.truncate(DIGITS);
        Self(digits)
    }

    /// The revision of what workers would run. Objects carry their revision, so it is left empty in what is hashed.
    pub(super) fn of_workers(owned: &Owned) -> Self {
        let none = Self::default();
        let content = json!({"files": config_map::data(owned), "pod": pod::template(owned, &none)});
        Self::of(canonical::text(&content).as_bytes())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
