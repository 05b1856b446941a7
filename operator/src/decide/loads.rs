//! The shards' loads as decisions see them.
//!
//! What a worker measures within a second is noise to a decision that costs a hand-over. So loads are averaged, taken
//! anew once a minute at most, and only if one has changed by so much that it matters; and then in coarse steps, so that
//! shards that are about alike are alike. A shard whose load is not known yet counts like the others.

use std::collections::BTreeMap;
use std::time::Duration;

/// The time over which loads are averaged.
const AVERAGE: Duration = Duration::from_secs(20);
/// How often they are taken anew, at most.
const EVERY: Duration = Duration::from_mins(1);
/// The least change that matters, in processors.
const MATTERS: f64 = 0.1;
/// What loads are rounded to, in processors.
const STEP: f64 = 0.05;

/// The loads over time.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    averages: BTreeMap<u32, f64>,
    taken: BTreeMap<u32, f64>,
    measured_at: Option<Duration>,
    taken_at: Duration,
}

impl Loads {
    /// Takes what was measured now: the share of time that each shard worked, from 0 to 1.
    pub fn measure(&mut self, measured: &BTreeMap<u32, f64>, now: Duration) {
        let passed = now.saturating_sub(self.measured_at.unwrap_or(now));
        let weight = 1.0 - (-passed.as_secs_f64() / AVERAGE.as_secs_f64()).exp();
        for (shard, load) in measured {
            let average = self.averages.entry(*shard).or_insert(*load);
            *average += (load - *average) * weight;
        }
        if self.measured_at.is_none() {
            self.taken_at = now;
        }
        self.measured_at = Some(now);
        if now >= self.taken_at + EVERY {
            self.taken_at = now;
            self.take();
        }
    }

    fn take(&mut self) {
        let taken = &self.taken;
        let matters = |(shard, average): (&u32, &f64)| (average - taken.get(shard).unwrap_or(&0.0)).abs() >= MATTERS;
        if self.averages.iter().any(matters) {
            let coarse = |average: &f64| (average / STEP).round().max(1.0) * STEP;
            self.taken = self.averages.iter().map(|(shard, average)| (*shard, coarse(average))).collect();
        }
    }

    /// For the [`View`](super::view::View).
    pub fn taken(&self) -> &BTreeMap<u32, f64> {
        &self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures for so many seconds, one shard by a function of the time, the other always 0.3.
    fn after(loads: &mut Loads, seconds: std::ops::Range<u64>, load: impl Fn(u64) -> f64) {
        for second in seconds {
            loads.measure(&BTreeMap::from([(0, load(second)), (1, 0.3)]), Duration::from_secs(second));
        }
    }

    #[test]
    fn loads_are_known_after_a_minute_in_coarse_steps() {
        let mut loads = Loads::default();
        after(&mut loads, 0..60, |_| 0.62);
        assert!(loads.taken().is_empty());
        after(&mut loads, 60..62, |_| 0.62);
        let taken: Vec<String> = loads.taken().values().map(|load| format!("{load:.2}")).collect();
        assert_eq!(taken, ["0.60", "0.30"]);
    }

    #[test]
    fn noise_changes_nothing_and_a_lasting_change_does() {
        let mut loads = Loads::default();
        after(&mut loads, 0..100, |second| if second % 2 == 0 { 0.1 } else { 0.5 });
        let before = loads.taken().clone();
        after(&mut loads, 100..400, |second| if second % 3 == 0 { 0.6 } else { 0.15 });
        assert_eq!(*loads.taken(), before);
        after(&mut loads, 400..600, |_| 0.8);
        assert!(loads.taken()[&0] > 0.7, "{:?}", loads.taken());
    }

    #[test]
    fn idle_shards_count_like_each_other() {
        let mut loads = Loads::default();
        after(&mut loads, 0..300, |second| 0.001 * (second % 7) as f64);
        assert!((loads.taken()[&0] - STEP).abs() < 1e-9);
    }
}
