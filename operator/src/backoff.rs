//! How long to wait after failures: twice as long after each, and never all at the same time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(1);

/// The wait after so many failures in a row, between half of it and the whole.
pub fn delay(failures: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    // A fresh hasher is as random as this needs to be.
    let share = RandomState::new().hash_one(failures) % 1000;
    whole / 2 + whole.mul_f64(share as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_differ() {
        for (failures, whole) in
            [(0, 200), (1, 200), (2, 400), (5, 3200), (9, 51_200), (10, 60_000), (u32::MAX, 60_000)]
        {
            let delays: Vec<_> = (0..20).map(|_| delay(failures)).collect();
            let whole = Duration::from_millis(whole);
            assert!(delays.iter().all(|delay| *delay >= whole / 2 && *delay <= whole), "{failures}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]), "{failures}");
        }
    }
}
