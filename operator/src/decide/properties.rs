//! Runs properties: fixed seeds always, and a fresh one, which is printed with a failure. `PROPTEST=<seed>` runs it again,
//! `PROPTEST_CASES=<n>` makes it longer.

#![allow(clippy::unwrap_used)]

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Checks a property of what a strategy makes up.
pub(super) fn run<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    for seed in seeds() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config = Config { failure_persistence: None, ..Config::default() };
        let failure = TestRunner::new_with_rng(config, rng).run(strategy, &check).err();
        assert!(failure.is_none(), "PROPTEST={seed} shows it again: {}", failure.unwrap());
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("PROPTEST").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
            vec![1, 2, fresh]
        }
    }
}
