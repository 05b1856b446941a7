//! When to try again.

use std::time::{Duration, Instant};

/// The first pause: a leader that moved is known elsewhere within milliseconds.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// A pause that doubles with each failure in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        self.until = Some(now + pause);
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.until = Some(self.until.map_or(until, |present| present.max(until)));
    }

    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// When it is over, if it is not.
    pub(super) fn end(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_anew_after_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert!(backoff.is_over(now));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.failed(now);
            pauses.push(backoff.end(now).map(|end| end.duration_since(now).as_millis()));
        }
        assert_eq!(pauses[..7], [20, 40, 80, 160, 320, 640, 1000].map(Some));
        assert_eq!(pauses[39], Some(1000));
        assert!(!backoff.is_over(now) && backoff.is_over(now + LONGEST));
        backoff.worked();
        backoff.failed(now);
        assert_eq!(backoff.end(now), Some(now + FIRST));
    }
}
