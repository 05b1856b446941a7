//! Names of engines, jobs and compressions: the same in arguments, in results and in the names of topics.

use anyhow::{Context, Result};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// One of a few things that have names.
pub trait Named: Copy + 'static {
    /// What they are, for errors.
    const KIND: &'static str;
    /// All there are.
    const ALL: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;
}

/// The one of that name.
pub fn parse<T: Named>(name: &str) -> Result<T> {
    T::ALL.iter().copied().find(|item| item.name() == name).with_context(|| {
        let names: Vec<_> = T::ALL.iter().map(|item| item.name()).collect();
        format!("there is no {} `{name}`; there are {}", T::KIND, names.join(", "))
    })
}

/// For serde's `with`.
pub fn serialize<T: Named, S: Serializer>(item: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(item.name())
}

/// For serde's `with`.
pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::jobs::{Compression, Engine, Job};

    fn survives<T: Named + PartialEq + std::fmt::Debug>() {
        for item in T::ALL {
            assert_eq!(parse::<T>(item.name()).unwrap(), *item);
        }
    }

    #[test]
    fn every_name_is_of_one_thing() {
        survives::<Engine>();
        survives::<Job>();
        survives::<Compression>();
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        let error = parse::<Compression>("zip").unwrap_err();
        assert_eq!(error.to_string(), "there is no compression `zip`; there are none, lz4");
    }
}
