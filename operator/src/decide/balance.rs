//! Balance: by measured load, with few moves.
//!
//! What counts is where shards will be once the moves under way are done. A shard whose load is unknown counts as much
//! as the others do on average, an idle one as [`IDLE`], so that idle shards are spread by their number.
//!
//! **A move has a gain** if it relieves the more loaded of two workers by at least a tenth of the mean load. Where the
//! shards themselves are smaller than that, the gain counts that levelling the two would have, shard by shard:
//! otherwise a worker with many small shards could never give one away.

use std::collections::{BTreeMap, BTreeSet};

use super::assignment::{Assignment, Shard};
use super::view::{Standing, View};

/// The least that a shard counts for: noise below it moves nothing.
const IDLE: f64 = 0.01;
/// The part of the mean load that a move must gain.
const GAIN: f64 = 0.1;

/// What each shard counts for.
#[derive(Clone, Debug)]
pub(super) struct Weights(Vec<f64>);

impl Weights {
    /// By load.
    pub fn new(view: &View, shards: usize) -> Self {
        let load = |shard: u32| view.loads.get(&shard).filter(|load| load.is_finite()).map(|load| load.max(IDLE));
        let loads: Vec<Option<f64>> = (0..shards as u32).map(load).collect();
        let known: Vec<f64> = loads.iter().flatten().copied().collect();
        let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        Self(loads.into_iter().map(|load| load.unwrap_or(mean)).collect())
    }

    /// Only those that are named count, and equally.
    pub fn only(named: &BTreeSet<u32>, shards: usize) -> Self {
        Self((0..shards as u32).map(|shard| f64::from(u8::from(named.contains(&shard)))).collect())
    }

    pub fn of(&self, shard: u32) -> f64 {
        self.0.get(shard as usize).copied().unwrap_or_default()
    }

    /// The heaviest first, so that the light ones even out what those leave; deterministic.
    pub fn sort(&self, shards: &mut [u32]) {
        shards.sort_by(|a, b| self.of(*b).total_cmp(&self.of(*a)).then(a.cmp(b)));
    }
}

/// What each worker has, or will have once the moves under way are done.
#[derive(Clone, Debug)]
pub(super) struct Burdens<'a>(BTreeMap<&'a str, Burden>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Burden {
    weight: f64,
    shards: usize,
}

impl<'a> Burdens<'a> {
    pub fn new(workers: impl Iterator<Item = &'a str>, shards: &[Shard], weights: &Weights) -> Self {
        let mut burdens = Self(workers.map(|worker| (worker, Burden::default())).collect());
        for (number, shard) in (0..).zip(shards) {
            if let Some(worker) = shard.destination() {
                burdens.add(worker, weights.of(number));
            }
        }
        burdens
    }

    pub fn add(&mut self, worker: &str, weight: f64) {
        if let Some(burden) = self.0.get_mut(worker) {
            burden.weight += weight;
            burden.shards += 1;
        }
    }

    /// The worker with the least load; of several the one with the fewest shards, then the first by name.
    pub fn lightest(&self, may: impl Fn(&str) -> bool) -> Option<&'a str> {
        let order = |(a, x): &(&&str, &Burden), (b, y): &(&&str, &Burden)| {
            x.weight.total_cmp(&y.weight).then(x.shards.cmp(&y.shards)).then(a.cmp(b))
        };
        self.0.iter().filter(|(worker, _)| may(worker)).min_by(order).map(|(worker, _)| *worker)
    }

    /// The move with the largest gain, away from the most loaded worker that has one; None if no move has a gain.
    /// `movable` are shards with their workers.
    pub fn best_move(&self, movable: &[(u32, &str)], weights: &Weights) -> Option<(u32, &'a str)> {
        let target = self.lightest(|_| true)?;
        let least = self.0.get(target)?.weight;
        let mean = self.0.values().map(|burden| burden.weight).sum::<f64>() / self.0.len() as f64;
        let mut from: Vec<(&str, f64)> = self.0.iter().map(|(worker, burden)| (*worker, burden.weight)).collect();
        from.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        from.into_iter().find_map(|(worker, most)| {
            let own = movable.iter().filter(|(_, owner)| *owner == worker).map(|(shard, _)| *shard);
            let gains = own.map(|shard| (shard, gain(most, least, weights.of(shard))));
            let best = gains.min_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
            best.filter(|(shard, _)| is_worth_it(most, least, mean, weights.of(*shard)))
                .map(|(shard, _)| (shard, target))
        })
    }
}

/// By how much the more loaded of two workers is relieved when a shard goes to the other.
fn gain(most: f64, least: f64, weight: f64) -> f64 {
    weight.min(most - least - weight)
}

fn is_worth_it(most: f64, least: f64, mean: f64, weight: f64) -> bool {
    let enough = GAIN * mean;
    (most - least) / 2.0 >= enough && gain(most, least, weight) >= enough.min(weight)
}

/// The workers of a revision that are too many for `replicas`: those that are about to end do not count any more, then
/// those with the least load go, and of idle ones those that are not ready. One that is being drained has less and less,
/// so that the answer stays the same.
pub fn surplus(assignment: &Assignment, view: &View, replicas: usize) -> BTreeSet<String> {
    let weights = Weights::new(view, assignment.shards.len());
    let workers = view.workers.iter().filter(|(_, w)| w.revision == view.revision && w.standing != Standing::Leaving);
    let mut workers: Vec<_> = workers.map(|(name, worker)| (name.as_str(), worker.standing)).collect();
    let burdens = Burdens::new(workers.iter().map(|(name, _)| *name), &assignment.shards, &weights);
    let load = |name: &str| burdens.0.get(name).copied().unwrap_or_default();
    workers.sort_by(|(a, x), (b, y)| {
        let (of_a, of_b) = (load(a), load(b));
        of_b.weight.total_cmp(&of_a.weight).then(of_b.shards.cmp(&of_a.shards)).then(x.cmp(y)).then(a.cmp(b))
    });
    workers.into_iter().skip(replicas).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::Worker;
    use super::*;

    fn view(workers: &[(&str, Standing, &str)]) -> View {
        let worker = |&(name, standing, revision): &(&str, Standing, &str)| {
            (name.to_owned(), Worker { standing, revision: revision.to_owned(), ..Worker::default() })
        };
        View { revision: "1".to_owned(), workers: workers.iter().map(worker).collect(), ..View::default() }
    }

    fn owned(owners: &[&str]) -> Assignment {
        let shard = |owner: &&str| Shard { owner: Some((*owner).to_owned()), ..Shard::default() };
        Assignment { generation: 1, shards: owners.iter().map(shard).collect() }
    }

    #[test]
    fn those_with_the_least_to_do_are_too_many() {
        use Standing::{Leaving, Lost, Ready, Unsure};
        let workers = [("a", Ready, "1"), ("b", Ready, "1"), ("c", Ready, "1"), ("d", Ready, "2"), ("e", Leaving, "1")];
        let mut view = view(&workers);
        let assignment = owned(&["a", "b", "b", "c", "c", "c"]);
        let surplus = |view: &View, replicas| surplus(&assignment, view, replicas).into_iter().collect::<Vec<_>>();
        assert_eq!(surplus(&view, 3), [""; 0]);
        assert_eq!(surplus(&view, 2), ["a"]);
        assert_eq!(surplus(&view, 0), ["a", "b", "c"]);
        view.loads = [(0, 0.9), (1, 0.1), (2, 0.1), (3, 0.1), (4, 0.1), (5, 0.1)].into();
        assert_eq!(surplus(&view, 2), ["b"]);
        let idle = self::view(&[("x", Lost, "1"), ("y", Unsure, "1"), ("z", Ready, "1")]);
        assert_eq!(
            (surplus(&idle, 2), surplus(&idle, 1)),
            (vec!["x".to_owned()], vec!["x".to_owned(), "y".to_owned()])
        );
    }

    #[test]
    fn a_worker_that_is_drained_stays_the_one_that_goes() {
        let view = view(&[("a", Standing::Ready, "1"), ("b", Standing::Ready, "1"), ("c", Standing::Ready, "1")]);
        let mut assignment = owned(&["a", "a", "b", "c", "c"]);
        assert_eq!(surplus(&assignment, &view, 2), ["b".to_owned()].into());
        assignment.shards[2].next = Some("a".to_owned());
        assert_eq!(surplus(&assignment, &view, 2), ["b".to_owned()].into());
    }

    #[test]
    fn a_gain_is_a_tenth_of_the_mean_or_a_shard_of_many() {
        let cases = [
            (1.0, 0.0, 0.5, 1.0, false),
            (2.0, 0.0, 1.0, 1.0, true),
            (1.2, 0.8, 1.0, 0.1, true),
            (1.1, 0.95, 1.0, 0.1, false),
            (20.0, 0.0, 10.0, 0.1, true),
            (11.0, 9.5, 10.0, 0.1, false),
            (5.0, 4.0, 4.5, 0.95, false),
        ];
        for (most, least, mean, weight, worth_it) in cases {
            assert_eq!(is_worth_it(most, least, mean, weight), worth_it, "{weight} of {most} to {least}");
        }
    }
}
