//! What operators do: judge, decide, write. The decisions are the real ones.
//!
//! The leader reads, decides and writes in one step: with the precondition, what it decides on an older reading is
//! refused. The second operator writes later than it has decided.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use millstream_crds::report::ShardPhase;
use millstream_operator::decide::assign::assign;
use millstream_operator::decide::assignment::{Assignment, Shard};
use millstream_operator::decide::view::{Pending, Standing, View, Worker};

use super::state::{self, Assigned, Claim, Decided, Leaving, Phase, Process, Report, SHARDS, Second, WORKERS, World};
use super::{Missing, Settings};

/// A step of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes a worker for lost that does not work.
    Notice(usize),
    /// Takes a worker for lost no more, since it works.
    Forgive(usize),
    /// Reads the assignment, decides, and writes.
    Decide(Belief),
}

/// A step of the second operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondStep {
    /// Reads the assignment and decides.
    Decide(Belief),
    /// Writes what it has decided.
    Write,
}

/// What an operator believes when it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belief {
    /// The workers that are lost.
    lost: [bool; WORKERS],
    /// What it has heard of each: the last report, or one that was held up, or nothing of interest.
    reports: [Report; WORKERS],
    /// Whether five seconds have passed since the moves under way were begun.
    late: bool,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question {
    assigned: Assigned,
    standings: [Option<Standing>; WORKERS],
    reports: [Report; WORKERS],
    late: bool,
    rolled: bool,
}

/// Decisions that were made already: the same question has the same answer.
#[derive(Debug, Default)]
pub struct Decisions(Mutex<HashMap<Question, Assigned>>);

/// The steps that the leader can take.
pub fn steps(world: &World, settings: &Settings, mut can: impl FnMut(Step)) {
    for (number, worker) in world.workers.iter().enumerate() {
        let away = matches!(worker.process, Process::Frozen | Process::Down);
        match (away, world.lost[number]) {
            (true, false) => can(Step::Notice(number)),
            (false, true) => can(Step::Forgive(number)),
            _ => {}
        }
    }
    decisions(world, &[world.lost], settings, |belief| can(Step::Decide(belief)));
}

/// The steps that the second operator can take.
pub fn second_steps(world: &World, settings: &Settings, mut can: impl FnMut(SecondStep)) {
    let anything = [[false, false], [false, true], [true, false], [true, true]];
    match world.second {
        Second { decided: Some(_), .. } => can(SecondStep::Write),
        Second { writes: 0, .. } => {}
        Second { .. } => decisions(world, &anything, settings, |belief| can(SecondStep::Decide(belief))),
    }
}

/// The decisions that differ, and from what is.
fn decisions(world: &World, lost: &[[bool; WORKERS]], settings: &Settings, mut can: impl FnMut(Belief)) {
    let mut known = vec![world.api];
    for &lost in lost {
        for belief in beliefs(world, lost) {
            let decided = decide(world, belief, settings);
            if !known.contains(&decided) {
                known.push(decided);
                can(belief);
            }
        }
    }
}

fn beliefs(world: &World, lost: [bool; WORKERS]) -> impl Iterator<Item = Belief> {
    let moving = world.api.iter().any(|claim| claim.next.is_some());
    let times = if moving { &[false, true][..] } else { &[false] };
    let reports = move |first| heard(world, 1).map(move |second| [first, second]);
    let reports = heard(world, 0).flat_map(reports);
    reports.flat_map(move |reports| times.iter().map(move |&late| Belief { lost, reports, late }))
}

/// What can have been heard of a worker, each once.
fn heard(world: &World, worker: usize) -> impl Iterator<Item = Report> {
    let reporter = &world.workers[worker];
    let nothing = Report::default();
    let late = world.late[worker].filter(|late| *late != nothing);
    let newest =
        Some(reporter.report()).filter(|report| reporter.runs() && *report != nothing && Some(*report) != late);
    [newest, late, Some(nothing)].into_iter().flatten()
}

/// The leader takes a step.
pub fn step(world: &mut World, step: Step, settings: &Settings) {
    match step {
        Step::Notice(worker) => world.lost[worker] = true,
        Step::Forgive(worker) => world.lost[worker] = false,
        Step::Decide(belief) => world.assign(decide(world, belief, settings)),
    }
}

/// The second operator takes a step. A write counts if nobody has written since the assignment was read. Without this
/// precondition the resource's schema still refuses a generation that goes back: that of a second write since.
pub fn second_step(world: &mut World, step: SecondStep, settings: &Settings) {
    match step {
        SecondStep::Decide(belief) => {
            world.second.writes -= 1;
            world.second.decided = Some(Decided { assigned: decide(world, belief, settings), behind: 0 });
        }
        SecondStep::Write => {
            let Some(decided) = world.second.decided.take() else { return };
            let counts = decided.behind <= u8::from(settings.lacks(Missing::Precondition));
            settings.seen.second(counts, decided.behind);
            if counts {
                world.assign(decided.assigned);
            }
        }
    }
}

impl Decisions {
    fn answer(&self, question: Question, settings: &Settings) -> Assigned {
        *self.0.lock().unwrap().entry(question).or_insert_with(|| question.answer(settings))
    }

    /// How many different decisions were made.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn decide(world: &World, belief: Belief, settings: &Settings) -> Assigned {
    let question = Question {
        assigned: world.api,
        standings: std::array::from_fn(|worker| standing(&world.workers[worker], belief.lost[worker])),
        reports: belief.reports,
        late: belief.late,
        rolled: world.rolled,
    };
    settings.decisions.answer(question, settings)
}

fn standing(worker: &state::Worker, lost: bool) -> Option<Standing> {
    Some(match worker.process {
        Process::Gone => return None,
        _ if lost => Standing::Lost,
        _ if worker.leaving != Leaving::No => Standing::Leaving,
        Process::Down => Standing::Unsure,
        Process::Up | Process::Frozen => Standing::Ready,
    })
}

const NOW: Duration = Duration::from_secs(1000);
const GENERATION: i64 = 10;

impl Question {
    fn answer(&self, settings: &Settings) -> Assigned {
        let current = to_real(&self.assigned, settings.shards);
        let since = if self.late { Duration::ZERO } else { NOW };
        let moving = current.numbered().filter(|(_, shard)| shard.is_moving());
        let pending = moving.map(|(number, _)| (number, Pending { since, generation: GENERATION })).collect();
        let workers = (0..WORKERS).filter_map(|worker| self.worker(worker, settings)).collect();
        let (shards, revision) = (settings.shards as u32, revision(usize::from(self.rolled)));
        let view = View { now: NOW, shards, revision, workers, pending, ..View::default() };
        let decision = assign(&current, &view);
        let changed = decision.assignment.shards != current.shards;
        assert_eq!(decision.assignment.generation, GENERATION + i64::from(changed));
        from_real(&decision.assignment)
    }

    fn worker(&self, worker: usize, settings: &Settings) -> Option<(String, Worker)> {
        let report = self.reports[worker];
        let phases = (0..).zip(report.shards).filter_map(|(shard, phase)| Some((shard, reported(phase)?)));
        let known = Worker {
            standing: self.standings[worker]?,
            revision: revision(if settings.revisions { worker } else { 0 }),
            wanted: true,
            generation: if report.newest { GENERATION } else { GENERATION - 1 },
            shards: phases.collect::<BTreeMap<_, _>>(),
            ..Worker::default()
        };
        Some((worker.to_string(), known))
    }
}

fn revision(number: usize) -> String {
    format!("revision-{number}")
}

fn reported(phase: Phase) -> Option<ShardPhase> {
    Some(match phase {
        Phase::Nothing => return None,
        Phase::Prepared => ShardPhase::Prepared,
        Phase::Starting => ShardPhase::Starting,
        Phase::Running => ShardPhase::Running,
        Phase::Waiting => ShardPhase::Waiting,
    })
}

fn to_real(assigned: &Assigned, shards: usize) -> Assignment {
    let name = |worker: Option<u8>| worker.map(|worker| worker.to_string());
    let shard = |claim: &Claim| Shard {
        owner: name(claim.owner),
        next: name(claim.next),
        former: name(claim.former),
        chain_hash: None,
        started: claim.started,
    };
    Assignment { generation: GENERATION, shards: assigned[..shards].iter().map(shard).collect() }
}

fn from_real(assignment: &Assignment) -> Assigned {
    let number = |name: &Option<String>| name.as_ref().map(|name| name.parse().unwrap());
    let mut assigned = [Claim::default(); SHARDS];
    for (claim, shard) in assigned.iter_mut().zip(&assignment.shards) {
        let (owner, next, former) = (number(&shard.owner), number(&shard.next), number(&shard.former));
        *claim = Claim { owner, next, former, started: shard.started };
    }
    assigned
}
