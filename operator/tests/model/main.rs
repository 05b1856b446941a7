//! The protocol of assignment, takeover and hand-over, checked in every order in which things can happen.
//!
//! The world has two workers, one or two shards, two operators that both believe to be the leader, Kafka with its fence,
//! and a network that loses, delays and repeats reports. Processes freeze, wake, crash and restart; a worker is asked to
//! end; a new revision comes. What operators decide is decided by [`millstream_operator::decide::assign`] itself; workers
//! and Kafka are models of what the data plane does. What takes time (a wait for a mark, a preparation, a timeout) can
//! end at any moment.
//!
//! * Safety: no sequence is committed twice, no position goes back, only the last to take over commits. It rests on the
//!   fence alone: without it the checker finds the loss; without the operators' precondition it finds none.
//! * Liveness: the worlds form no circle, so every run ends; and in every world in which nothing but accidents can still
//!   happen, every shard has exactly one owner, which holds it and follows the assignment. Nothing is assumed about who
//!   is how fast.
#![allow(clippy::unwrap_used, clippy::panic)]

mod circles;
mod kafka;
mod operator;
mod state;
mod worker;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use self::operator::Decisions;
use self::state::{Leaving, Process, Second, WORKERS, Work, Worker, World};

/// What is to be checked.
#[derive(Debug)]
struct Settings {
    /// How many shards there are.
    shards: usize,
    /// How many records each has; each record is a checkpoint.
    records: u8,
    /// How much goes wrong.
    faults: u8,
    /// How often the second operator decides.
    writes: u8,
    /// Whether the workers are of two revisions, and the second one becomes the wanted one.
    revisions: bool,
    /// What is missing, to see what rests on it.
    missing: Option<Missing>,
    /// Decisions that were made already.
    decisions: Decisions,
    /// What has happened.
    seen: Seen,
}

/// A safeguard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Kafka lets everybody commit.
    Fence,
    /// An assignment is written whatever was written since it was read.
    Precondition,
    /// A worker reads the header before it has fenced the others.
    Order,
}

/// Counts what leaves no trace in a world.
#[derive(Debug, Default)]
struct Seen {
    /// Writes of the second operator.
    written: AtomicUsize,
    /// Its writes that took no notice of the leader's.
    overwritten: AtomicUsize,
    /// Its writes that were refused.
    refused: AtomicUsize,
}

impl Seen {
    fn second(&self, counts: bool, behind: u8) {
        let what = match (counts, behind) {
            (false, _) => &self.refused,
            (true, 0) => &self.written,
            (true, _) => &self.overwritten,
        };
        what.fetch_add(1, Ordering::Relaxed);
    }

    fn count(what: &AtomicUsize) -> usize {
        what.load(Ordering::Relaxed)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 1,
            records: 1,
            faults: 2,
            writes: 1,
            revisions: true,
            missing: None,
            decisions: Decisions::default(),
            seen: Seen::default(),
        }
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Worker(usize, worker::Step),
    Leader(operator::Step),
    Second(operator::SecondStep),
    Fault(Fault),
    /// A frozen process goes on.
    Wake(usize),
    /// A process that has ended begins anew.
    Restart(usize),
    /// The second revision becomes the wanted one.
    Roll,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Freeze(usize),
    Crash(usize),
    /// A worker is asked to end.
    Terminate(usize),
    /// The leader takes a worker for lost that works.
    Misjudge(usize),
    /// A report is held up.
    Delay(usize),
    /// A commit succeeds, and its worker does not hear of it.
    Unheard(usize, usize),
}

impl Settings {
    fn lacks(&self, safeguard: Missing) -> bool {
        self.missing == Some(safeguard)
    }

    /// What happens sooner or later.
    fn regular(&self, world: &World, mut can: impl FnMut(Action)) {
        for number in 0..WORKERS {
            worker::steps(world, number, self, |step| can(Action::Worker(number, step)));
        }
        operator::steps(world, self, |step| can(Action::Leader(step)));
    }

    /// What need not happen.
    fn accidents(&self, world: &World, actions: &mut Vec<Action>) {
        for (number, worker) in world.workers.iter().enumerate() {
            match worker.process {
                Process::Frozen => actions.push(Action::Wake(number)),
                Process::Down => actions.push(Action::Restart(number)),
                Process::Up if world.faults > 0 => {
                    self.faults(world, number, |fault| actions.push(Action::Fault(fault)));
                }
                Process::Up | Process::Gone => {}
            }
        }
        operator::second_steps(world, self, |step| actions.push(Action::Second(step)));
        if self.revisions && !world.rolled {
            actions.push(Action::Roll);
        }
    }

    fn faults(&self, world: &World, number: usize, mut can: impl FnMut(Fault)) {
        let worker = &world.workers[number];
        can(Fault::Freeze(number));
        can(Fault::Crash(number));
        if worker.stays() {
            can(Fault::Terminate(number));
        }
        if world.late[number].is_none() {
            can(Fault::Delay(number));
        }
        if !world.lost[number] {
            can(Fault::Misjudge(number));
        }
        for shard in 0..self.shards {
            if matches!(worker.work[shard], Work::Held { fenced: false, known } if known.position < self.records) {
                can(Fault::Unheard(number, shard));
            }
        }
    }

    fn go_wrong(&self, world: &mut World, fault: Fault) {
        world.faults -= 1;
        match fault {
            Fault::Freeze(worker) => world.workers[worker].process = Process::Frozen,
            Fault::Crash(worker) => worker::end(world, worker, Process::Down),
            Fault::Terminate(worker) => world.workers[worker].leaving = Leaving::Asked,
            Fault::Misjudge(worker) => world.lost[worker] = true,
            Fault::Delay(worker) => world.late[worker] = Some(world.workers[worker].report()),
            Fault::Unheard(worker, shard) => worker::commit_unheard(world, worker, shard, self),
        }
    }

    /// Whether nothing but accidents can happen.
    fn is_quiet(&self, world: &World) -> bool {
        let mut quiet = true;
        self.regular(world, |_| quiet = false);
        quiet
    }
}

impl Model for Settings {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let second = Second { writes: self.writes, ..Second::default() };
        vec![World { second, faults: self.faults, ..World::default() }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.regular(world, |action| actions.push(action));
        self.accidents(world, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        match action {
            Action::Worker(worker, step) => worker::step(&mut world, worker, step, self),
            Action::Leader(step) => operator::step(&mut world, step, self),
            Action::Second(step) => operator::second_step(&mut world, step, self),
            Action::Fault(fault) => self.go_wrong(&mut world, fault),
            Action::Wake(worker) | Action::Restart(worker) => world.workers[worker].process = Process::Up,
            Action::Roll => world.rolled = true,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = safety();
        all.extend(reached());
        all.push(Property::<Self>::always("a run that has ended has settled", |model, world| {
            world.is_settled(model.shards, model.revisions) || !model.is_quiet(world)
        }));
        all
    }
}

fn safety() -> Vec<Property<Settings>> {
    vec![
        Property::always("no sequence is committed twice", |_, world: &World| {
            world.kafka.iter().all(|partition| !partition.broken.sequence)
        }),
        Property::always("no position goes back", |_, world: &World| {
            world.kafka.iter().all(|partition| !partition.broken.position)
        }),
        Property::always("only the last to take over commits", |_, world: &World| {
            world.kafka.iter().all(|partition| !partition.broken.stranger)
        }),
        Property::always("what has started has a header", |_, world: &World| {
            world.api.iter().zip(&world.kafka).all(|(claim, partition)| !claim.started || partition.last.is_some())
        }),
    ]
}

/// What makes the exploration worth something.
fn reached() -> Vec<Property<Settings>> {
    vec![
        Property::sometimes("a frozen worker's shard is taken over", |_, world: &World| {
            let [frozen, other] = &world.workers;
            frozen.process == Process::Frozen && matches!(frozen.work[0], Work::Held { .. }) && other.work[0].is_owner()
        }),
        Property::sometimes("a zombie's commit is refused", |_, world: &World| {
            let [zombie, other] = &world.workers;
            zombie.work[0] == Work::Refused && other.work[0].is_owner()
        }),
        Property::sometimes("a shard is handed over with a mark", |_, world: &World| {
            let mark = world.kafka[0].last.is_some_and(|last| last.released && last.worker == 0);
            mark && matches!(world.workers[1].work[0], Work::Taken { fenced: false, .. })
        }),
        Property::sometimes("everything settles, with everybody there", |model: &Settings, world: &World| {
            world.workers.iter().all(Worker::stays)
                && world.is_settled(model.shards, model.revisions)
                && model.is_quiet(world)
        }),
    ]
}

/// Visits every world, and says how many that were.
fn explore(settings: Settings) -> impl Checker<Settings> {
    let begin = Instant::now();
    let checker = settings.checker().spawn_bfs().join();
    let (worlds, decisions) = (checker.unique_state_count(), checker.model().decisions.count());
    println!("{worlds} worlds, {decisions} decisions, {:.1?}, {:?}", begin.elapsed(), checker.model().seen);
    checker
}

/// Where nothing goes wrong, not all can be reached.
fn always(checker: &impl Checker<Settings>) {
    let all = checker.model().properties();
    all.iter().filter(|p| p.expectation == Expectation::Always).for_each(|p| checker.assert_no_discovery(p.name));
}

#[test]
fn a_shard_is_safe_and_settles_whatever_two_things_go_wrong() {
    let checker = explore(Settings { faults: 2, writes: 0, ..Settings::default() });
    checker.assert_properties();
    assert!(checker.unique_state_count() > 500_000, "{}", checker.unique_state_count());
}

#[test]
fn a_shard_is_safe_and_settles_with_a_second_leader_that_believes_anything() {
    let checker = explore(Settings { faults: 1, writes: 1, ..Settings::default() });
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1_000_000, "{}", checker.unique_state_count());
    let seen = &checker.model().seen;
    assert!(Seen::count(&seen.written) > 0 && Seen::count(&seen.refused) > 0, "{seen:?}");
    assert_eq!(Seen::count(&seen.overwritten), 0);
}

#[test]
fn two_shards_are_safe_and_settle() {
    let checker = explore(Settings { shards: 2, faults: 1, writes: 0, revisions: false, ..Settings::default() });
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "{}", checker.unique_state_count());
    let checker = explore(Settings { shards: 2, faults: 0, writes: 0, ..Settings::default() });
    always(&checker);
}

#[test]
fn every_run_ends() {
    for (faults, writes) in [(2, 0), (1, 1)] {
        let begin = Instant::now();
        let longest = circles::longest_run(&Settings { faults, writes, ..Settings::default() });
        println!("{faults} faults, {writes} writes: {longest} steps, {:.1?}", begin.elapsed());
    }
}

#[test]
fn without_the_precondition_of_writes_all_of_it_still_holds() {
    let checker =
        explore(Settings { faults: 1, writes: 1, missing: Some(Missing::Precondition), ..Settings::default() });
    checker.assert_properties();
    let seen = &checker.model().seen;
    assert!(Seen::count(&seen.overwritten) > 0, "{seen:?}");
}

#[test]
fn without_the_fence_the_loss_is_found() {
    for name in ["no sequence is committed twice", "no position goes back", "only the last to take over commits"] {
        let finish = HasDiscoveries::AnyOf([name].into());
        let settings = Settings { missing: Some(Missing::Fence), ..Settings::default() };
        let checker = settings.checker().finish_when(finish).spawn_bfs().join();
        let way = checker.assert_any_discovery(name).into_actions();
        println!("{name}: {way:?}");
    }
}

#[test]
fn a_header_that_is_read_before_the_fence_repeats_a_sequence() {
    let name = "no sequence is committed twice";
    let settings = Settings { missing: Some(Missing::Order), ..Settings::default() };
    let checker = settings.checker().finish_when(HasDiscoveries::AnyOf([name].into())).spawn_bfs().join();
    println!("{name}: {:?}", checker.assert_any_discovery(name).into_actions());
}
