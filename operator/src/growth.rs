//! The pace at which a number grows that grows in steps, as a log's start does: Kafka deletes whole segments.
//!
//! The average over the last hour, in which what is older counts less: a step of `n` counts with `n · e^(−age/hour)`. As
//! long as the number has been watched for less than that, it is the average over the time for which it has, but over ten
//! minutes at least, so that the first step after the beginning, which tells of a time that nobody watched, is not taken
//! for a pace.

use std::time::Duration;

/// The time over which the pace is averaged.
const AVERAGE: Duration = Duration::from_hours(1);
/// The least time over which it is averaged.
const LEAST: Duration = Duration::from_mins(10);

/// A number over time.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    began: Duration,
    measured: Duration,
    value: i64,
    /// What it has grown by, each step weighted by its age.
    grown: f64,
}

impl Growth {
    /// A number that is first seen now.
    pub fn new(value: i64, now: Duration) -> Self {
        Self { began: now, measured: now, value, grown: 0.0 }
    }

    /// Takes the number as it is now. One that has become less is another number.
    pub fn measure(&mut self, value: i64, now: Duration) {
        if value < self.value {
            *self = Self::new(value, now);
            return;
        }
        let passed = now.saturating_sub(self.measured);
        let step = value.saturating_sub(self.value) as f64;
        *self = Self { measured: now, value, grown: self.grown * weight(passed) + step, ..*self };
    }

    /// By how much it grew a second when it was last measured; 0 if it never has.
    pub fn per_second(&self) -> f64 {
        let watched = self.measured.saturating_sub(self.began).max(LEAST);
        // The weights of all moments since the beginning, added up.
        let seconds = AVERAGE.as_secs_f64() * (1.0 - weight(watched));
        self.grown / seconds
    }
}

/// What something of this age still counts for.
fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / AVERAGE.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Watches a number that grows by `step` every `every` seconds.
    fn watched(step: i64, every: u64, seconds: u64) -> Growth {
        let mut growth = Growth::new(500, Duration::ZERO);
        for now in 1..=seconds {
            growth.measure(500 + (now / every) as i64 * step, Duration::from_secs(now));
        }
        growth
    }

    fn check(growth: Growth, least: f64, most: f64) {
        let pace = growth.per_second();
        assert!(pace >= least && pace <= most, "{pace} is not between {least} and {most}");
    }

    #[test]
    fn a_pace_is_the_same_whatever_the_steps() {
        check(watched(10, 1, 700), 9.9, 10.1);
        check(watched(10, 1, 40_000), 9.9, 10.1);
        check(watched(3_000, 300, 40_000), 9.5, 10.5);
        check(watched(36_000, 3_600, 3_600 * 10), 15.7, 15.9);
        check(watched(36_000, 3_600, 3_600 * 11 - 1), 5.7, 5.9);
    }

    #[test]
    fn a_first_step_is_no_pace() {
        check(watched(36_000, 5, 5), 36_000.0 / 600.0, 1.1 * 36_000.0 / 600.0);
    }

    #[test]
    fn what_stands_still_slows_down() {
        check(Growth::new(7, Duration::ZERO), 0.0, 0.0);
        let mut growth = watched(10, 1, 40_000);
        growth.measure(growth.value, Duration::from_secs(40_000 + 3_600 * 5));
        check(growth, 0.05, 0.1);
    }

    #[test]
    fn a_number_that_becomes_less_is_another_one() {
        let mut growth = watched(10, 1, 1_000);
        growth.measure(3, Duration::from_secs(1_001));
        check(growth, 0.0, 0.0);
        growth.measure(603, Duration::from_secs(1_002));
        check(growth, 1.0, 1.1);
    }
}
