//! What workers do: follow the assignment, take over, commit, let go.

use super::state::{Header, Known, Leaving, Process, Seen, Work, Worker, World};
use super::{Missing, Settings};

/// A step of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sees the newest assignment.
    Follow,
    /// Half of the grace period is over.
    GraceIsOver,
    /// With the wrong order of a takeover: reads the header before the others are fenced.
    ReadFirst(usize),
    /// `init_transactions`, whether or not the former owner's mark is there.
    Init(usize),
    /// Reads the header and commits its own.
    Start(usize),
    /// Commits what it has processed.
    Commit(usize),
    /// Lets go, with a mark.
    Release(usize),
    /// Reads the assignment afresh after a refusal.
    Recheck(usize),
}

/// The steps that a worker can take.
pub fn steps(world: &World, me: usize, settings: &Settings, mut can: impl FnMut(Step)) {
    let worker = &world.workers[me];
    if !worker.runs() {
        return;
    }
    if !worker.seen.newest {
        can(Step::Follow);
    }
    if worker.leaving == Leaving::Asked {
        can(Step::GraceIsOver);
    }
    for shard in 0..settings.shards {
        let owns = worker.owns(shard);
        match worker.work[shard] {
            Work::Idle | Work::Prepared if !owns => {}
            Work::Idle | Work::Prepared if settings.lacks(Missing::Order) => can(Step::ReadFirst(shard)),
            Work::Idle | Work::Prepared | Work::Read(_) => can(Step::Init(shard)),
            Work::Taken { .. } => can(Step::Start(shard)),
            Work::Held { fenced, known } => {
                if fenced || known.position < settings.records {
                    can(Step::Commit(shard));
                }
                if !owns {
                    can(Step::Release(shard));
                }
            }
            Work::Refused => can(Step::Recheck(shard)),
        }
    }
}

/// Takes a step.
pub fn step(world: &mut World, me: usize, step: Step, settings: &Settings) {
    match step {
        Step::Follow => follow(world, me),
        Step::GraceIsOver => world.workers[me].leaving = Leaving::Ending,
        Step::ReadFirst(shard) => world.workers[me].work[shard] = Work::Read(world.read(shard)),
        Step::Init(shard) => {
            let known = if let Work::Read(known) = world.workers[me].work[shard] { Some(known) } else { None };
            world.fence_others(shard, !settings.lacks(Missing::Fence));
            world.workers[me].work[shard] = Work::Taken { fenced: false, known };
        }
        Step::Start(shard) => start(world, me, shard, settings),
        Step::Commit(shard) => commit(world, me, shard, settings),
        Step::Release(shard) => release(world, me, shard, settings),
        Step::Recheck(shard) => {
            world.workers[me].work[shard] = Work::Idle;
            follow(world, me);
        }
    }
    let worker = &world.workers[me];
    if worker.leaving == Leaving::Ending && worker.work.iter().all(|work| matches!(work, Work::Idle | Work::Prepared)) {
        end(world, me, Process::Gone);
    }
}

/// A process ends; nothing of it is left but what Kafka knows.
pub fn end(world: &mut World, me: usize, process: Process) {
    world.workers[me] = Worker { process, ..Worker::default() };
}

/// What is to be prepared is; what is not owned is not prepared any longer, nor taken; what is held is let go by a step of
/// its own.
fn follow(world: &mut World, me: usize) {
    let seen = Seen::of(&world.api, me);
    let worker = &mut world.workers[me];
    worker.seen = seen;
    for (shard, work) in worker.work.iter_mut().enumerate() {
        match work {
            Work::Idle if seen.next[shard] => *work = Work::Prepared,
            Work::Prepared if !seen.owner[shard] && !seen.next[shard] => *work = Work::Idle,
            Work::Read(_) | Work::Taken { .. } if !seen.owner[shard] => *work = Work::Idle,
            _ => {}
        }
    }
}

fn start(world: &mut World, me: usize, shard: usize, settings: &Settings) {
    let Work::Taken { fenced, known } = world.workers[me].work[shard] else { return };
    let known = known.unwrap_or_else(|| world.read(shard));
    write(world, me, shard, (fenced, known, false), settings);
}

fn commit(world: &mut World, me: usize, shard: usize, settings: &Settings) {
    let Work::Held { fenced, known } = world.workers[me].work[shard] else { return };
    let known = Known { position: known.position + 1, ..known };
    write(world, me, shard, (fenced, known, false), settings);
}

fn release(world: &mut World, me: usize, shard: usize, settings: &Settings) {
    let Work::Held { fenced, known } = world.workers[me].work[shard] else { return };
    write(world, me, shard, (fenced, known, true), settings);
    world.workers[me].work[shard] = Work::Idle;
}

fn write(
    world: &mut World,
    me: usize,
    shard: usize,
    (fenced, known, released): (bool, Known, bool),
    settings: &Settings,
) {
    let header = Header { position: known.position, worker: me as u8, released };
    let done = world.commit(shard, header, known.behind, fenced, !settings.lacks(Missing::Fence));
    let known = Known { behind: 0, ..known };
    world.workers[me].work[shard] = if done { Work::Held { fenced, known } } else { Work::Refused };
}

/// Commits, and does not hear of it: the outcome is unknown to the worker.
pub fn commit_unheard(world: &mut World, me: usize, shard: usize, settings: &Settings) {
    commit(world, me, shard, settings);
    world.workers[me].work[shard] = Work::Refused;
}
