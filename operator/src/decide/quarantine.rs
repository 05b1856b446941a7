//! Which shard takes its workers down.
//!
//! When a worker's process ends by itself, all that is known is which shards it held or was taking over. A shard that
//! was there each of three times within ten minutes is quarantined, if no other was there as often: it rests, each time
//! longer, and then runs on a worker of its own. Shards that were always there together cannot be told apart: they are
//! suspects, and are spread over the workers, so that the next time says more. What one shard explains is not counted
//! against the others.
//!
//! A shard that has not taken a worker down for ten minutes is free again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many deaths within [`WINDOW`] make a case.
pub const DEATHS: usize = 3;
/// The time within which they count, and after which they are forgiven.
pub const WINDOW: Duration = Duration::from_mins(10);
/// How long a shard rests when it is quarantined; it doubles with every further death.
pub const FIRST_REST: Duration = Duration::from_secs(10);
/// The longest rest.
pub const LONGEST_REST: Duration = Duration::from_mins(5);
/// How long a history is kept. A shard that is quarantined for longer than this is given three chances once more.
pub const REMEMBERED: Duration = Duration::from_hours(24);

/// That a worker's process ended without having been asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// When that was seen.
    pub at: Duration,
    /// The worker.
    pub worker: String,
    /// The shards that it held or was taking over.
    pub shards: BTreeSet<u32>,
}

/// What follows from the deaths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The shards that are kept apart.
    pub quarantined: BTreeMap<u32, Quarantine>,
    /// Groups of shards, one of which takes its workers down.
    pub suspicions: Vec<Suspicion>,
}

/// A shard that is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// When it may be given to a worker again.
    pub until: Duration,
    /// The worker that it took down last: the one to sacrifice to it.
    pub worker: String,
    /// How many times it took a worker down.
    pub deaths: usize,
    /// The same for people.
    pub message: String,
}

/// Shards that cannot be told apart yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The shards.
    pub shards: BTreeSet<u32>,
    /// What is known, for people.
    pub message: String,
}

/// Drops what will not be asked for any more.
pub fn forget(history: &mut Vec<Death>, now: Duration) {
    history.retain(|death| death.at + REMEMBERED >= now);
}

/// Finds who is to blame, from a history in any order.
pub fn judge(history: &[Death], now: Duration) -> Verdict {
    let mut unexplained: Vec<&Death> = history.iter().filter(|death| death.at <= now).collect();
    unexplained.sort_by_key(|death| death.at);
    let mut verdict = Verdict::default();
    while let Some((shard, case)) = strongest(&unexplained, now) {
        let others = inseparable(shard, &case, &unexplained);
        if others.is_empty() {
            verdict.quarantined.insert(shard, case.quarantine(shard));
        } else {
            verdict.suspicions.push(case.suspicion(shard, others));
        }
        unexplained.retain(|death| !death.shards.contains(&shard));
    }
    verdict
}

/// The deaths that count against a shard, in order; none more than a window after the one before.
struct Case<'a> {
    deaths: Vec<&'a Death>,
    last: &'a Death,
    /// How many came after the third within a window.
    relapses: u32,
}

impl<'a> Case<'a> {
    fn against(shard: u32, deaths: &[&'a Death], now: Duration) -> Option<Self> {
        let mut after = now;
        let mut streak = Vec::new();
        for death in deaths.iter().rev().filter(|death| death.shards.contains(&shard)) {
            if after.saturating_sub(death.at) > WINDOW {
                break;
            }
            after = death.at;
            streak.push(*death);
        }
        streak.reverse();
        let caught = streak.windows(DEATHS).position(|few| few[DEATHS - 1].at.saturating_sub(few[0].at) <= WINDOW)?;
        let last = *streak.last()?;
        let relapses = (streak.len() - DEATHS - caught) as u32;
        Some(Self { deaths: streak, last, relapses })
    }

    fn rest(&self) -> Duration {
        FIRST_REST.saturating_mul(2_u32.saturating_pow(self.relapses)).min(LONGEST_REST)
    }

    fn quarantine(&self, shard: u32) -> Quarantine {
        let (deaths, worker, rest) = (self.deaths.len(), &self.last.worker, self.rest());
        let message = format!(
            "shard {shard} is quarantined: its worker's process ended {deaths} times while it was there, the last time at \
             {worker}. It rests for {} s after that, and then runs on a worker of its own if there are two",
            rest.as_secs()
        );
        Quarantine { until: self.last.at + rest, worker: worker.clone(), deaths, message }
    }

    fn suspicion(&self, shard: u32, others: BTreeSet<u32>) -> Suspicion {
        let mut shards = others;
        shards.insert(shard);
        let list: Vec<String> = shards.iter().map(u32::to_string).collect();
        let message = format!(
            "a worker's process ended {} times, the last time at {}, and each time the shards {} were there. They are \
             spread over the workers to find out which of them does it; that needs a second worker",
            self.deaths.len(),
            self.last.worker,
            list.join(", ")
        );
        Suspicion { shards, message }
    }
}

/// The shard with the most deaths; of several the one with the lowest number.
fn strongest<'a>(deaths: &[&'a Death], now: Duration) -> Option<(u32, Case<'a>)> {
    let shards: BTreeSet<u32> = deaths.iter().flat_map(|death| death.shards.iter().copied()).collect();
    let cases = shards.into_iter().filter_map(|shard| Some((shard, Case::against(shard, deaths, now)?)));
    cases.min_by_key(|(shard, case)| (usize::MAX - case.deaths.len(), *shard))
}

/// The other shards that were there each time, and at no other.
fn inseparable(shard: u32, case: &Case<'_>, deaths: &[&Death]) -> BTreeSet<u32> {
    let first = case.deaths.first().map_or(Duration::ZERO, |death| death.at);
    let there = |of: u32| deaths.iter().filter(move |d| d.at >= first).map(move |d| d.shards.contains(&of));
    let others = case.last.shards.iter().copied().filter(|&other| other != shard);
    others.filter(|&other| there(other).eq(there(shard))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::properties::run;
    use super::*;

    fn death(at: u64, worker: &str, shards: &[u32]) -> Death {
        Death { at: Duration::from_secs(at), worker: worker.into(), shards: shards.iter().copied().collect() }
    }

    /// The quarantined shards with the end of their rest, and the groups of suspects.
    fn judged(history: &[Death], now: u64) -> (Vec<(u32, u64)>, Vec<Vec<u32>>) {
        let verdict = judge(history, Duration::from_secs(now));
        let quarantined = verdict.quarantined.iter().map(|(shard, q)| (*shard, q.until.as_secs())).collect();
        let suspects = verdict.suspicions.iter().map(|s| s.shards.iter().copied().collect()).collect();
        (quarantined, suspects)
    }

    #[test]
    fn three_deaths_in_ten_minutes_make_a_case() {
        type Case =
            (&'static str, &'static [(u64, &'static [u32])], u64, &'static [(u32, u64)], &'static [&'static [u32]]);
        let cases: [Case; 9] = [
            ("nothing happened", &[], 9, &[], &[]),
            ("twice is not enough", &[(0, &[1]), (1, &[1])], 1, &[], &[]),
            ("three times", &[(0, &[1, 2]), (9, &[1]), (20, &[1, 3])], 20, &[(1, 30)], &[]),
            ("three times, too far apart", &[(0, &[1]), (400, &[1]), (601, &[1])], 601, &[], &[]),
            ("order of telling", &[(20, &[1]), (0, &[1]), (9, &[1])], 20, &[(1, 30)], &[]),
            ("forgiven", &[(0, &[1]), (9, &[1]), (20, &[1])], 621, &[], &[]),
            ("always together", &[(0, &[1, 2]), (9, &[1, 2]), (20, &[1, 2])], 20, &[], &[&[1, 2]]),
            ("a fourth tells", &[(0, &[1, 2]), (9, &[1, 2]), (20, &[1, 2]), (30, &[2])], 30, &[(2, 50)], &[]),
            ("no shard", &[(0, &[]), (1, &[]), (2, &[])], 2, &[], &[]),
        ];
        for (name, deaths, now, quarantined, suspects) in cases {
            let history: Vec<Death> = deaths.iter().map(|(at, shards)| death(*at, "w", shards)).collect();
            let suspects = suspects.iter().map(|s| s.to_vec()).collect();
            assert_eq!(judged(&history, now), (quarantined.to_vec(), suspects), "{name}");
        }
    }

    #[test]
    fn the_rest_doubles_up_to_five_minutes_and_a_quarantine_outlasts_it() {
        let mut history = vec![death(0, "w", &[4]), death(1, "w", &[4])];
        let mut at = 2;
        for rest in [10, 20, 40, 80, 160, 300, 300, 300, 300, 300] {
            history.push(death(at, "w", &[4]));
            assert_eq!(judged(&history, at).0, [(4, at + rest)]);
            assert_eq!(judged(&history, at + 600).0, [(4, at + rest)]);
            at += rest + 1;
        }
    }

    #[test]
    fn what_one_shard_explains_is_not_counted_against_others() {
        let mut history: Vec<Death> = (0..4).map(|i| death(i, "a", &[0, 5])).collect();
        history.push(death(4, "b", &[0, 6]));
        assert_eq!(judged(&history, 9), (vec![(0, 44)], vec![]));
        history.extend((5..8).map(|i| death(i, "c", &[7, 8])));
        assert_eq!(judged(&history, 9), (vec![(0, 44)], vec![vec![7, 8]]));
        history.push(death(8, "d", &[8]));
        assert_eq!(judged(&history, 9), (vec![(0, 44), (8, 28)], vec![]));
    }

    #[test]
    fn people_are_told() {
        let mut history: Vec<Death> = (0..3).map(|i| death(i, "clean-1", &[3, 7])).collect();
        let message = judge(&history, Duration::from_secs(3)).suspicions[0].message.clone();
        assert!(message.contains("ended 3 times") && message.contains("the shards 3, 7 were there"), "{message}");
        history.push(death(9, "clean-2", &[7]));
        let verdict = judge(&history, Duration::from_secs(9));
        let quarantine = &verdict.quarantined[&7];
        assert_eq!((quarantine.worker.as_str(), quarantine.deaths), ("clean-2", 4));
        assert!(quarantine.message.contains("shard 7 is quarantined") && quarantine.message.contains("20 s"));
    }

    #[test]
    fn old_deaths_are_dropped() {
        let mut history = vec![death(0, "w", &[1]), death(86_400, "w", &[1])];
        forget(&mut history, Duration::from_secs(86_401));
        assert_eq!(history.len(), 1);
    }

    /// One shard kills whatever it runs on; wherever the others happen to be, nobody else is quarantined for it.
    #[test]
    fn a_culprit_is_found_and_nobody_else() {
        let places = proptest::collection::vec(proptest::collection::vec(0..3_u32, 8), 12);
        run(&places, |places| {
            let mut history = Vec::new();
            for (i, places) in (0..).zip(&places) {
                let together = (0..8).filter(|shard| places[*shard as usize] == places[0]).collect::<Vec<_>>();
                history.push(death(i * 10, "w", &together));
                let verdict = judge(&history, Duration::from_secs(i * 10));
                prop_assert!(verdict.quarantined.keys().all(|shard| *shard == 0));
                let accused = verdict.quarantined.len() + verdict.suspicions.len();
                prop_assert_eq!(accused, usize::from(history.len() >= DEATHS));
            }
            let always_there = |shard: u32| history.iter().all(|death| death.shards.contains(&shard));
            let verdict = judge(&history, Duration::from_mins(2));
            prop_assert_eq!(verdict.quarantined.contains_key(&0), !(1..8).any(always_there));
            Ok(())
        });
    }
}
