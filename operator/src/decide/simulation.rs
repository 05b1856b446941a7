//! Properties of decisions, in a small world of workers that do as they are told.
//!
//! Workers come, leave, are lost and come back; loads, revisions and wanted workers change; the world then stands still
//! and has to settle. A failure prints the shortest story that leads to it; see
//! [`properties`](super::properties) for how to repeat it.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_crds::report::ShardPhase;
use proptest::prelude::*;

use super::assign::{BALANCE_MOVES, assign};
use super::assignment::{Assignment, Shard};
use super::moves::{Decision, Reason};
use super::pending::PendingMoves;
use super::properties::run;
use super::quarantine::{Quarantine, Verdict};
use super::surplus;
use super::view::{Standing, View, Worker};

/// What happens to the world.
#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Lose(u8),
    Doubt(u8),
    Recover(u8),
    Leave(u8),
    Remove(u8),
    Load(u8, u8),
    Revision(u8),
    Replicas(u8),
    Quarantine(u8, u8),
    Free(u8),
    Steps(u8),
}

const WORKERS: u8 = 6;
const STEP: Duration = Duration::from_secs(1);

fn event() -> impl Strategy<Value = Event> {
    let worker = 0..WORKERS;
    prop_oneof![
        3 => worker.clone().prop_map(Event::Join),
        1 => worker.clone().prop_map(Event::Lose),
        1 => worker.clone().prop_map(Event::Doubt),
        1 => worker.clone().prop_map(Event::Recover),
        1 => worker.clone().prop_map(Event::Leave),
        1 => worker.clone().prop_map(Event::Remove),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(shard, load)| Event::Load(shard, load)),
        1 => (1..3_u8).prop_map(Event::Revision),
        1 => (1..WORKERS).prop_map(Event::Replicas),
        1 => (any::<u8>(), worker).prop_map(|(shard, worker)| Event::Quarantine(shard, worker)),
        1 => any::<u8>().prop_map(Event::Free),
        3 => (1..4_u8).prop_map(Event::Steps),
    ]
}

/// Waits so many steps for a rest of ten seconds to be over, which looks as if nothing happened.
const QUIET: usize = 12;

/// So many steps settle a world that stands still, and for each shard [`STEPS_A_SHARD`] more.
const STEPS: usize = 20;
/// A shard moves three times at most: away from where it may not be, from beside a quarantined one, and for balance; a
/// move takes four steps, and two are under way at a time.
const STEPS_A_SHARD: usize = 6;

struct World {
    assignment: Assignment,
    pending: PendingMoves,
    view: View,
    replicas: usize,
    moved: BTreeMap<Reason, usize>,
}

impl World {
    fn new(shards: u32) -> Self {
        let view = View { shards, revision: "1".into(), now: Duration::from_secs(1000), ..View::default() };
        let (assignment, pending) = (Assignment::default(), PendingMoves::default());
        Self { assignment, pending, view, replicas: usize::from(WORKERS), moved: BTreeMap::new() }
    }

    fn ready(shards: u32, workers: u8) -> Self {
        let mut world = Self::new(shards);
        (0..workers).for_each(|worker| world.happen(&Event::Join(worker)));
        world
    }

    fn happen(&mut self, event: &Event) {
        let name = |worker: u8| format!("w{worker}");
        let mut stand = |worker: u8, standing| {
            if let Some(worker) = self.view.workers.get_mut(&name(worker)) {
                worker.standing = standing;
            }
        };
        let shards = self.view.shards;
        match *event {
            Event::Join(worker) => {
                let (revision, standing) = (self.view.revision.clone(), Standing::Ready);
                let new = Worker { standing, revision, wanted: true, ..Worker::default() };
                self.view.workers.entry(name(worker)).or_insert(new);
            }
            Event::Lose(worker) => stand(worker, Standing::Lost),
            Event::Doubt(worker) => stand(worker, Standing::Unsure),
            Event::Recover(worker) => stand(worker, Standing::Ready),
            Event::Leave(worker) => stand(worker, Standing::Leaving),
            Event::Remove(worker) => drop(self.view.workers.remove(&name(worker))),
            Event::Load(shard, load) => {
                self.view.loads.insert(u32::from(shard) % shards, f64::from(load) / 255.0);
            }
            Event::Revision(revision) => self.view.revision = revision.to_string(),
            Event::Replicas(replicas) => self.replicas = usize::from(replicas),
            Event::Quarantine(shard, worker) => self.quarantine(u32::from(shard) % shards, name(worker)),
            Event::Free(shard) => drop(self.view.verdict.quarantined.remove(&(u32::from(shard) % shards))),
            Event::Steps(steps) => (0..steps).for_each(|_| drop(self.step())),
        }
    }

    fn quarantine(&mut self, shard: u32, worker: String) {
        let until = self.view.now + Duration::from_secs(10);
        let quarantine = Quarantine { until, worker, deaths: 3, message: "quarantined".into() };
        let Verdict { quarantined, .. } = &mut self.view.verdict;
        quarantined.insert(shard, quarantine);
    }

    /// One decision, and what the workers do then.
    fn step(&mut self) -> Decision {
        self.view.now += STEP;
        let surplus = surplus(&self.assignment, &self.view, self.replicas);
        self.view.workers.iter_mut().for_each(|(name, worker)| worker.wanted = !surplus.contains(name));
        self.pending.observe(&self.assignment, self.view.now);
        self.view.pending = self.pending.all();
        let decision = assign(&self.assignment, &self.view);
        self.check(&decision);
        decision.moves.iter().for_each(|done| *self.moved.entry(done.reason).or_default() += 1);
        self.assignment = decision.assignment.clone();
        self.follow();
        decision
    }

    /// What has to hold of every decision.
    fn check(&self, decision: &Decision) {
        let (before, after) = (&self.assignment, &decision.assignment);
        assert_eq!(after.generation, before.generation + i64::from(after.shards != before.shards));
        let moved = |shard: u32| decision.moves.iter().any(|done| done.shard == shard);
        for (number, shard) in after.numbered() {
            if let Some(owner) = &shard.owner {
                assert!(!self.view.is_lost(owner), "shard {number} belongs to a lost worker: {decision:?}");
                assert!(shard.next.as_ref() != Some(owner) && shard.former.as_ref() != Some(owner), "{shard:?}");
            }
            assert!(shard.owner.is_some() || !shard.is_moving(), "{shard:?}");
            let old = before.shards.get(number as usize);
            let same = old.is_none_or(|old| (&old.owner, &old.next) == (&shard.owner, &shard.next));
            assert!(same || moved(number), "shard {number} moved without a reason: {decision:?}");
            assert!(old.is_none_or(|old| !old.started || shard.started), "a start was forgotten");
            assert!(!self.view.is_resting(number) || shard.destination().is_none(), "shard {number} does not rest");
        }
        self.check_moves(decision);
        self.check_again(decision);
    }

    fn check_moves(&self, decision: &Decision) {
        let mut places: Vec<Option<&str>> = self.assignment.shards.iter().map(Shard::destination).collect();
        places.resize(decision.assignment.shards.len(), None);
        for done in &decision.moves {
            let (from, to) = (done.from.as_deref(), done.to.as_deref());
            let target = to.and_then(|to| self.view.workers.get(to));
            if done.reason != Reason::TakenBack {
                assert!(target.is_none_or(|worker| worker.standing == Standing::Ready), "{done:?}");
            }
            let load = |worker| -> f64 {
                let own = (0..).zip(&places).filter(|(_, place)| **place == worker);
                own.map(|(shard, _)| self.weight(shard)).sum()
            };
            let gain = load(from) - load(to) - self.weight(done.shard);
            assert!(done.reason != Reason::Load || gain > 0.0, "no gain: {done:?}");
            places[done.shard as usize] = to;
        }
        let balanced = decision.moves.iter().filter(|done| done.reason == Reason::Load).count();
        assert!(balanced <= BALANCE_MOVES, "{decision:?}");
    }

    fn weight(&self, shard: u32) -> f64 {
        let known = self.view.loads.values().map(|load| load.max(0.01)).collect::<Vec<_>>();
        let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        self.view.loads.get(&shard).map_or(mean, |load| load.max(0.01))
    }

    /// Nothing new is known: nothing changes. Only balance waits while owners are replaced, and what quarantined shards
    /// need may take three looks.
    fn check_again(&self, decision: &Decision) {
        let same = View { pending: BTreeMap::new(), workers: self.unheard(), ..self.view.clone() };
        let urgent = decision.moves.iter().any(|done| matches!(done.reason, Reason::NoOwner | Reason::OwnerLost));
        let looks = if self.view.verdict.quarantined.is_empty() { 0 } else { 3 };
        let mut last = decision.assignment.clone();
        for look in 0..=looks {
            let again = assign(&last, &same);
            let is_balance = !again.moves.is_empty() && again.moves.iter().all(|done| done.reason == Reason::Load);
            if again.assignment == last || (urgent && is_balance) {
                return;
            }
            assert!(look < looks, "another look changes {:?}", again.moves);
            last = again.assignment;
        }
    }

    fn unheard(&self) -> BTreeMap<String, Worker> {
        let unheard = |worker: &Worker| Worker { shards: BTreeMap::new(), generation: 0, ..worker.clone() };
        self.view.workers.iter().map(|(name, worker)| (name.clone(), unheard(worker))).collect()
    }

    /// Workers that are there do what the assignment says, and report it.
    fn follow(&mut self) {
        for (name, worker) in &mut self.view.workers {
            if worker.standing == Standing::Lost {
                worker.shards.clear();
                continue;
            }
            let mine = |of: &Option<String>| of.as_ref() == Some(name);
            let mut shards = BTreeMap::new();
            for (number, shard) in self.assignment.numbered() {
                let phase = match worker.shards.get(&number) {
                    _ if !mine(&shard.owner) && !mine(&shard.next) => continue,
                    None if mine(&shard.next) => ShardPhase::Preparing,
                    Some(_) if mine(&shard.next) => ShardPhase::Prepared,
                    None | Some(ShardPhase::Preparing) => ShardPhase::Starting,
                    Some(_) => ShardPhase::Running,
                };
                shards.insert(number, phase);
            }
            (worker.shards, worker.generation) = (shards, self.assignment.generation);
        }
    }

    /// Steps until nothing changes; how many that took.
    fn settle(&mut self) -> usize {
        let bound = STEPS + STEPS_A_SHARD * self.view.shards as usize;
        let (mut quiet, mut steps) = (0, 0);
        while quiet < QUIET {
            let before = self.assignment.generation;
            self.step();
            quiet = if self.assignment.generation == before { quiet + 1 } else { 0 };
            steps += 1;
            assert!(steps <= bound + QUIET, "still moving after {steps} steps: {:?}", self.assignment);
        }
        steps - QUIET
    }

    fn check_settled(&self) {
        let ready = || self.view.workers.values().filter(|worker| worker.standing == Standing::Ready);
        let best = ready().map(|worker| worker.fitness(&self.view.revision)).max();
        for (number, shard) in self.assignment.numbered() {
            assert!(!shard.is_moving(), "shard {number} is still moving: {shard:?}");
            let owner = shard.owner.as_ref().and_then(|owner| self.view.workers.get(owner));
            match (owner, best) {
                _ if self.waits_for_host(number) => {}
                (None, best) => assert_eq!(best, None, "shard {number} has no owner"),
                (Some(owner), _) => {
                    assert!(best.is_none_or(|best| owner.fitness(&self.view.revision) >= best), "{shard:?}");
                    assert_eq!(owner.shards.get(&number), Some(&ShardPhase::Running));
                    assert!(shard.started);
                }
            }
        }
    }

    /// A quarantined shard may wait for the worker that it took down last, or that has another one.
    fn waits_for_host(&self, shard: u32) -> bool {
        let quarantined = &self.view.verdict.quarantined;
        let owners = quarantined.keys().filter_map(|shard| self.assignment.shards[*shard as usize].owner.as_ref());
        let mut hosts = owners.chain(quarantined.values().map(|quarantine| &quarantine.worker));
        let standing = |worker| self.view.workers.get(worker).map(|worker| worker.standing);
        let is_away = |worker| matches!(standing(worker), Some(Standing::Lost | Standing::Unsure));
        self.view.is_quarantined(shard) && hosts.any(is_away)
    }

    fn loads(&self) -> Vec<f64> {
        let load = |worker: &String| self.assignment.owned_by(worker).map(|shard| self.weight(shard)).sum();
        self.view.workers.keys().map(load).collect()
    }

    fn most_loaded(&self) -> f64 {
        self.loads().into_iter().fold(0.0, f64::max)
    }

    fn mean(&self) -> f64 {
        self.loads().iter().sum::<f64>() / self.view.workers.len() as f64
    }

    fn heaviest(&self) -> f64 {
        (0..self.view.shards).map(|shard| self.weight(shard)).fold(0.0, f64::max)
    }

    fn owners(&self) -> Vec<Option<String>> {
        self.assignment.shards.iter().map(|shard| shard.owner.clone()).collect()
    }
}

#[test]
fn whatever_happens_each_decision_is_sound_and_the_world_settles() {
    run(&(1..17_u32, proptest::collection::vec(event(), 1..40)), |(shards, events)| {
        let mut world = World::new(shards);
        for event in &events {
            world.happen(event);
        }
        world.settle();
        world.check_settled();
        Ok(())
    });
}

#[test]
fn a_worker_that_joins_gets_its_share_and_no_more_moves() {
    run(&(1..65_u32, 1..6_u8), |(shards, workers)| {
        let mut world = World::ready(shards, workers);
        world.settle();
        let before = world.owners();
        world.moved.clear();
        world.happen(&Event::Join(workers));
        world.settle();
        let moved = before.iter().zip(world.owners()).filter(|(before, after)| **before != *after).count();
        prop_assert!(moved <= (shards as usize).div_ceil(usize::from(workers) + 1), "{moved} moves");
        prop_assert!(world.moved.keys().all(|reason| matches!(reason, Reason::Load | Reason::Prepared)));
        let loads = world.loads();
        let least = loads.iter().copied().fold(f64::MAX, f64::min);
        prop_assert!(world.most_loaded() - least <= (0.2 * world.mean()).max(1.0), "{loads:?}");
        Ok(())
    });
}

#[test]
fn a_worker_that_joins_relieves_the_others_of_uneven_loads() {
    run(&(proptest::collection::vec(0..=255_u8, 1..33), 1..6_u8), |(loads, workers)| {
        let mut world = World::ready(loads.len() as u32, workers);
        for (shard, load) in (0..).zip(&loads) {
            world.happen(&Event::Load(shard, *load));
        }
        world.settle();
        world.moved.clear();
        world.happen(&Event::Join(workers));
        world.settle();
        let moves = world.moved.get(&Reason::Load).copied().unwrap_or_default();
        prop_assert!(moves <= loads.len(), "{moves} moves of {} shards", loads.len());
        prop_assert!(world.most_loaded() <= world.mean() * 1.2 + world.heaviest(), "{loads:?}");
        Ok(())
    });
}

#[test]
fn a_loss_moves_only_what_the_lost_one_had() {
    run(&(1..65_u32, 2..7_u8, 0..6_u8), |(shards, workers, lost)| {
        let mut world = World::ready(shards, workers);
        world.settle();
        let (before, lost) = (world.owners(), lost % workers);
        world.happen(&Event::Lose(lost));
        let decision = world.step();
        prop_assert!(decision.moves.iter().all(|done| done.reason == Reason::OwnerLost));
        world.settle();
        for (before, after) in before.iter().zip(world.owners()) {
            prop_assert_eq!(before.as_deref() == Some(format!("w{lost}").as_str()), *before != after);
        }
        Ok(())
    });
}

#[test]
fn a_new_revision_takes_every_shard_once() {
    run(&(1..33_u32, 1..4_u8, 1..3_u8), |(shards, old, new)| {
        let mut world = World::ready(shards, old);
        world.settle();
        world.moved.clear();
        world.happen(&Event::Revision(2));
        (old..old + new).for_each(|worker| world.happen(&Event::Join(worker)));
        let steps = world.settle();
        prop_assert!(steps <= 5, "{steps}");
        world.check_settled();
        let all = shards as usize;
        prop_assert_eq!(&world.moved, &BTreeMap::from([(Reason::Revision, all), (Reason::Prepared, all)]));
        Ok(())
    });
}
