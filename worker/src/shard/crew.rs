//! The shards of a worker in a cluster: threads that come and go as the assignment says.
//!
//! The supervisor's thread runs this; it owns the shards' threads, and joins each one before another of the same shard
//! begins. One shard's end ends no other. What cannot go on is told and tried again after a while: the reason may have
//! been mended meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::ownership::{Assignment, AssignmentSource, Claim};
use super::placement::shard_of;
use super::runner::{Outcome, spawn};
use super::shared::Shared;
use super::status::ShardState;
use super::supervise::{End, shard_thread};
use super::tenure::Tenure;
use crate::records::TopicPartition;

/// How long what could not go on rests before it is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How often the request to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where a worker learns which shards are its own.
#[derive(Clone, Debug)]
pub struct Assignments {
    /// Every assignment that was seen; older ones than the last are passed over.
    pub seen: Receiver<Assignment>,
    /// For a fresh look after a fence.
    pub source: Arc<dyn AssignmentSource>,
}

/// A shard's thread.
struct Member {
    tenure: Arc<Tenure>,
    thread: JoinHandle<()>,
}

struct Crew {
    shared: Arc<Shared>,
    assignment: Assignment,
    members: BTreeMap<u32, Member>,
    /// Shards that have ended though they are assigned, and when they are to be tried again, if ever.
    resting: BTreeMap<u32, Option<Instant>>,
    send: Sender<(u32, End)>,
}

/// Runs the shards that the assignment gives to this worker, until somebody asks to stop.
pub fn run_assigned(shared: &Arc<Shared>, assignments: &Assignments) -> Outcome {
    let (send, ends) = crossbeam_channel::unbounded();
    let mut crew = Crew {
        shared: Arc::clone(shared),
        assignment: Assignment::default(),
        members: BTreeMap::new(),
        resting: BTreeMap::new(),
        send,
    };
    let mut seen = assignments.seen.clone();
    while !(shared.stop.asked() && crew.members.is_empty()) {
        select! {
            recv(seen) -> assignment => match assignment {
                Ok(assignment) => crew.follow(assignment),
                // Whoever watched has ended: what is held stays.
                Err(_) => seen = crossbeam_channel::never(),
            },
            recv(ends) -> ended => if let Ok((shard, end)) = ended { crew.ended(shard, end) },
            default(LOOK) => {}
        }
        crew.start_due();
    }
    Outcome::Stopped
}

impl Crew {
    /// Makes the members what an assignment says, unless it is an older one.
    fn follow(&mut self, assignment: Assignment) {
        if assignment.generation < self.assignment.generation {
            return;
        }
        let newer = assignment.generation > self.assignment.generation;
        self.assignment = assignment;
        for (shard, member) in &self.members {
            match self.assignment.claims.get(shard) {
                Some(Claim::Owner(grant)) => member.tenure.grant(*grant),
                Some(Claim::Standby) if member.tenure.granted().is_none() => {}
                Some(Claim::Standby) | None => member.tenure.end(self.assignment.generation),
            }
        }
        if newer {
            // Another assignment is another reason to try, but not for what is complete.
            let claims = &self.assignment.claims;
            self.resting.retain(|shard, until| until.is_none() && claims.contains_key(shard));
        }
        let (members, claims) = (&self.members, &self.assignment.claims);
        for status in self.shared.status.all() {
            if !members.contains_key(&status.shard) && !claims.contains_key(&status.shard) {
                self.shared.forget_shard(status.shard);
            }
        }
    }

    /// Starts what is assigned and neither runs nor rests.
    fn start_due(&mut self) {
        if self.shared.stop.asked() {
            return;
        }
        let now = Instant::now();
        self.resting.retain(|_, until| until.is_none_or(|until| until > now));
        let claims: Vec<(u32, Claim)> = self.assignment.claims.iter().map(|(shard, claim)| (*shard, *claim)).collect();
        for (shard, claim) in claims {
            if shard < self.shared.shards && !self.members.contains_key(&shard) && !self.resting.contains_key(&shard) {
                self.start(shard, claim);
            }
        }
    }

    fn start(&mut self, shard: u32, claim: Claim) {
        let stop = self.shared.stop.child();
        let tenure = match claim {
            Claim::Owner(grant) => Tenure::owner(stop, grant),
            Claim::Standby => Tenure::standby(stop, self.assignment.generation),
        };
        let (send, shared, of_thread) = (self.send.clone(), Arc::clone(&self.shared), Arc::clone(&tenure));
        let body = move || {
            let end = shard_thread(shard, &of_thread, &shared);
            drop(send.send((shard, end)));
        };
        match spawn(&format!("shard-{shard}"), body) {
            Ok(thread) => drop(self.members.insert(shard, Member { tenure, thread })),
            Err(why) => self.rest(shard, ShardState::Stopped(why), Some(TRY_AGAIN)),
        }
    }

    fn ended(&mut self, shard: u32, end: End) {
        if let Some(member) = self.members.remove(&shard) {
            drop(member.thread.join());
        }
        self.forget_partitions(shard);
        match end {
            End::Complete { .. } => self.rest(shard, ShardState::Complete, None),
            End::Failed(why) => self.rest(shard, ShardState::Stopped(why), Some(TRY_AGAIN)),
            End::Lost(why) => self.lost(shard, &why),
            End::Released => self.shared.set_state(shard, ShardState::Released),
        }
        if !self.assignment.claims.contains_key(&shard) {
            self.shared.forget_shard(shard);
        }
    }

    /// The fresh look said that the shard is another's: what was seen of the assignment is older than that, and the
    /// newer one is on its way.
    fn lost(&mut self, shard: u32, why: &str) {
        tracing::warn!(shard, "{why}");
        self.rest(shard, ShardState::Released, Some(TRY_AGAIN));
    }

    fn rest(&mut self, shard: u32, state: ShardState, time: Option<Duration>) {
        self.shared.set_state(shard, state);
        self.resting.insert(shard, time.map(|time| Instant::now() + time));
    }

    /// Their lag is another worker's to tell.
    fn forget_partitions(&self, shard: u32) {
        let all = self.shared.positions.all().into_iter().map(|(partition, _)| partition);
        let own = |p: &TopicPartition| shard_of(&p.topic, p.partition, self.shared.shards) == shard;
        let gone: Vec<TopicPartition> = all.filter(own).collect();
        self.shared.positions.forget(&gone);
        for partition in &gone {
            self.shared.metrics.forget_partition(&partition.topic, partition.partition);
        }
    }
}
