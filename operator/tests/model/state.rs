//! What the world consists of: as little as makes a difference, so that all of it can be visited.
//!
//! Numbers that only grow are left out, and what they are compared for is kept instead: not generations, but whether
//! somebody has seen the newest assignment; not epochs, but who was the last to take over; not sequences, but how far
//! behind the last header somebody is.

use std::fmt;

/// Workers of the pipeline.
pub const WORKERS: usize = 2;
/// The most shards that a world can have.
pub const SHARDS: usize = 2;

/// One moment of the world.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The PipelineAssignment at the API server.
    pub api: Assigned,
    /// The shards' partitions of the state topic.
    pub kafka: [Partition; SHARDS],
    pub workers: [Worker; WORKERS],
    /// The workers that the leader takes for lost.
    pub lost: [bool; WORKERS],
    pub second: Second,
    /// Reports that are held up, and can still arrive, after newer ones and more than once.
    pub late: [Option<Report>; WORKERS],
    /// Whether the second revision is the wanted one.
    pub rolled: bool,
    /// How much can still go wrong.
    pub faults: u8,
}

/// The claims of all shards.
pub type Assigned = [Claim; SHARDS];

/// Who a shard belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claim {
    pub owner: Option<u8>,
    pub next: Option<u8>,
    pub former: Option<u8>,
    pub started: bool,
}

/// A shard's partition of the state topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partition {
    /// The last committed header.
    pub last: Option<Header>,
    /// What must never happen.
    pub broken: Broken,
}

/// The header of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub position: u8,
    pub worker: u8,
    /// It is a mark: the worker has let the shard go.
    pub released: bool,
}

/// What must never happen to a shard's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken {
    /// A sequence was committed twice.
    pub sequence: bool,
    /// A position went back.
    pub position: bool,
    /// Somebody committed who was not the last to take over.
    pub stranger: bool,
}

/// A worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Worker {
    pub process: Process,
    pub leaving: Leaving,
    pub seen: Seen,
    pub work: [Work; SHARDS],
}

/// What a worker knows of the assignment, by its watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Whether it has seen the newest one.
    pub newest: bool,
    pub owner: [bool; SHARDS],
    pub next: [bool; SHARDS],
}

/// A worker's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Process {
    #[default]
    Up,
    Frozen,
    Down,
    /// It has ended as it was asked to, and its pod is gone.
    Gone,
}

/// Whether a worker was asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Leaving {
    #[default]
    No,
    /// It was asked to, and keeps its shards for now.
    Asked,
    /// Half of the grace period is over.
    Ending,
}

/// What a worker does with a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Work {
    #[default]
    Idle,
    /// Ready to take it. How long that took does not show: an operator hears of it at any time.
    Prepared,
    /// With the wrong order of a takeover only: has read the header, and not fenced the others yet.
    Read(Known),
    /// Has fenced the others. Only with the wrong order it knows the header already.
    Taken { fenced: bool, known: Option<Known> },
    /// Processes records.
    Held { fenced: bool, known: Known },
    /// Was refused, or does not know whether its commit counts.
    Refused,
}

/// What a worker believes to be the last header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// How many were committed since.
    pub behind: u8,
    pub position: u8,
}

/// What a worker reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Whether it follows the newest assignment. Of one that does not, only that a shard runs is looked at.
    pub newest: bool,
    pub shards: [Phase; SHARDS],
}

/// What a worker reports about a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    #[default]
    Nothing,
    Prepared,
    Starting,
    Running,
    Waiting,
}

/// The second operator: it has not been told that it was deposed, and believes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Second {
    /// What it has decided and is about to write.
    pub decided: Option<Decided>,
    /// How often it still decides.
    pub writes: u8,
}

/// A decision that is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decided {
    pub assigned: Assigned,
    /// How often another one was written since the assignment was read; more than two count as two.
    pub behind: u8,
}

impl Work {
    pub fn phase(self) -> Phase {
        match self {
            Self::Idle => Phase::Nothing,
            Self::Prepared => Phase::Prepared,
            Self::Read(_) | Self::Taken { .. } => Phase::Starting,
            Self::Held { .. } => Phase::Running,
            Self::Refused => Phase::Waiting,
        }
    }

    /// Whether it holds the shard and is the last that took it over.
    pub fn is_owner(self) -> bool {
        matches!(self, Self::Held { fenced: false, .. })
    }
}

impl Worker {
    pub fn report(&self) -> Report {
        let report = Report { newest: true, shards: self.work.map(Work::phase) };
        if self.seen.newest { report } else { report.outdated() }
    }

    pub fn runs(&self) -> bool {
        self.process == Process::Up
    }

    /// Whether it can be expected to have shards.
    pub fn stays(&self) -> bool {
        self.runs() && self.leaving == Leaving::No
    }

    pub fn owns(&self, shard: usize) -> bool {
        self.seen.owner[shard] && self.leaving != Leaving::Ending
    }
}

impl Seen {
    /// What the assignment says of a worker.
    pub fn of(assigned: &Assigned, worker: usize) -> Self {
        let is = |name: Option<u8>| name == Some(worker as u8);
        Self { newest: true, owner: assigned.map(|claim| is(claim.owner)), next: assigned.map(|claim| is(claim.next)) }
    }
}

impl Report {
    fn outdated(self) -> Self {
        let left = |phase| if phase == Phase::Running { phase } else { Phase::Nothing };
        Self { newest: false, shards: self.shards.map(left) }
    }
}

impl World {
    /// Another assignment is written: nobody has seen it yet.
    pub fn assign(&mut self, assigned: Assigned) {
        self.api = assigned;
        self.workers.iter_mut().for_each(|worker| worker.seen.newest = false);
        self.late.iter_mut().flatten().for_each(|report| *report = report.outdated());
        if let Some(decided) = &mut self.second.decided {
            decided.behind = (decided.behind + 1).min(2);
        }
    }

    /// Whether every shard has exactly one owner, the right one, which holds it and follows the assignment; if anybody is
    /// there.
    pub fn is_settled(&self, shards: usize, revisions: bool) -> bool {
        let stays = |worker: usize| self.workers[worker].stays();
        let wanted = usize::from(self.rolled);
        let right = |owner: usize| !revisions || owner == wanted || !stays(wanted);
        let owners: Vec<Option<usize>> = (0..shards).map(|shard| self.owner(shard)).collect();
        let spread = revisions || !(0..WORKERS).all(stays) || shards < 2 || owners[0] != owners[1];
        !(0..WORKERS).any(stays) || (spread && owners.into_iter().all(|owner| owner.is_some_and(right)))
    }

    /// The owner of a shard that nothing has to be done about.
    fn owner(&self, shard: usize) -> Option<usize> {
        let claim = self.api[shard];
        let owner = usize::from(claim.owner?);
        let worker = &self.workers[owner];
        let mut others = (0..WORKERS).filter(|other| *other != owner && self.workers[*other].runs());
        let last = self.kafka[shard].last?;
        let is_calm = worker.stays()
            && worker.work[shard].is_owner()
            && worker.seen == Seen::of(&self.api, owner)
            && claim == (Claim { owner: claim.owner, started: true, ..Claim::default() })
            && usize::from(last.worker) == owner
            && !last.released
            && others.all(|other| self.workers[other].work[shard] == Work::Idle);
        is_calm.then_some(owner)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "api: {:?}\nkafka: {:?}", self.api, self.kafka)?;
        self.workers.iter().try_for_each(|worker| writeln!(f, "{worker:?}"))?;
        writeln!(f, "lost: {:?}, second: {:?}", self.lost, self.second)?;
        writeln!(f, "late: {:?}\nrolled: {}, faults left: {}", self.late, self.rolled, self.faults)
    }
}
