//! How long a watch waits before it is begun again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait: whoever is deaf for longer holds up moves of shards when the API server is back.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits twice as long after each failure, up to two seconds, and never as long as anybody else; begins anew with
/// whatever is heard. The library's own goes up to half a minute, and forgets only after two.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    failures: u32,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // A fresh hasher is as random as this needs to be.
        let share = RandomState::new().hash_one(self.failures) % 1000;
        Some(whole / 2 + whole.mul_f64(share as f64 / 2000.0))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_two_seconds_and_begin_anew() {
        let mut backoff = WatchBackoff::default();
        for whole in [200, 400, 800, 1600, 2000, 2000, 2000] {
            let (whole, wait) = (Duration::from_millis(whole), backoff.next().unwrap_or_default());
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next().is_some_and(|wait| wait <= FIRST));
    }
}
