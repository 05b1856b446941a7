//! The functions that expressions can call: DataFusion's, without what a stream or our types cannot have, and with the
//! ones of ours that replace some.
//!
//! Names are case-insensitive. A function is left out, with a reason for people, if replaying records would show that
//! it ran twice, or if it speaks of types or files that do not exist here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use datafusion_expr::{HigherOrderUDF, ScalarUDF};

use super::{clock, fail};

static SCALAR: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let theirs = datafusion_functions::all_default_functions()
        .into_iter()
        .chain(datafusion_functions_nested::all_default_nested_functions());
    let mut by_name = HashMap::new();
    for function in theirs.chain(clock::functions()).chain([fail::function()]) {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            by_name.insert(name.to_lowercase(), Arc::clone(&function));
        }
    }
    by_name.retain(|name, _| refusal(name).is_none());
    by_name
});

static HIGHER_ORDER: LazyLock<HashMap<String, Arc<HigherOrderUDF>>> = LazyLock::new(|| {
    let mut by_name = HashMap::new();
    for function in datafusion_functions_nested::all_default_higher_order_functions() {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            by_name.insert(name.to_lowercase(), Arc::clone(&function));
        }
    }
    by_name
});

/// A function of values.
pub(super) fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    SCALAR.get(&name.to_lowercase()).cloned()
}

/// A function that takes functions.
pub(super) fn higher_order(name: &str) -> Option<Arc<HigherOrderUDF>> {
    HIGHER_ORDER.get(&name.to_lowercase()).cloned()
}

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.to_lowercase();
    SCALAR.contains_key(&name) || HIGHER_ORDER.contains_key(&name)
}

/// All names, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    let all: BTreeSet<&str> = SCALAR.keys().chain(HIGHER_ORDER.keys()).map(String::as_str).collect();
    all.into_iter()
}

/// Why a function is refused, with what would be right; None if it is not.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    const REPLAY: &str = "it gives another value when records are replayed after a fault; derive the value from the record, \
                          such as `sha256(concat(_topic, _partition, _offset))`";
    const TYPES: &str = "types are written in SQL: CAST(value AS type)";
    const FILES: &str = "there is no such thing in a stream";
    const TIME: &str = "there is no type for a time of day; use a timestamp, or text by `to_char`";
    const MAPS: &str = "there is no map type; use a struct, or a list of structs";
    Some(match name {
        "random" | "rand" | "uuid" | "gen_random_uuid" | "newid" => REPLAY,
        "arrow_cast" | "arrow_try_cast" | "cast_to_type" | "try_cast_to_type" | "arrow_field" | "arrow_metadata"
        | "with_metadata" | "arrow_typeof" => TYPES,
        "union_extract" | "union_tag" | "version" | "input_file_name" | "file_row_index" => FILES,
        "current_time" | "make_time" | "to_time" => TIME,
        "map" | "make_map" | "map_entries" | "map_extract" | "element_at" | "map_keys" | "map_values" => MAPS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion_expr::Volatility;

    use super::*;

    #[test]
    fn no_function_gives_something_else_when_it_runs_again() {
        let volatile: Vec<_> =
            SCALAR.iter().filter(|(_, function)| function.signature().volatility == Volatility::Volatile).collect();
        assert!(volatile.is_empty(), "{volatile:?}");
    }

    #[test]
    fn what_is_refused_is_not_offered() {
        assert!(names().all(|name| refusal(name).is_none()));
        assert!(is_known("UPPER") && is_known("array_transform") && !is_known("random"));
    }
}
