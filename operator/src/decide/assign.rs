//! The assignment's next state: who is to own which shard now.
//!
//! ```text
//! planned move of a shard from A to B:
//!     owner A              next B             B prepares while A works on
//!     owner B, former A    B has prepared, or 5 s have passed; B waits for A's mark, at most 2 s
//!     owner B              B holds the shard
//! owner lost:
//!     owner B              at once; B takes over, and Kafka fences whoever still writes
//! ```
//!
//! Each decision takes every step that can be taken, so that applied again to its own result it changes nothing; what
//! comes with the next one is balance, which waits while owners are replaced, and what follows from a new home of
//! quarantined shards. It guarantees that an owner is a worker that exists and is not lost, that `next` and `former` are
//! not the owner, that the generation grows if and only if something changes, and that nothing moves without a reason
//! that it tells.

use std::time::Duration;

use millstream_crds::report::ShardPhase;

use super::assignment::{Assignment, Shard};
use super::balance::{Burdens, Weights};
use super::homes::Homes;
use super::moves::{Decision, Move, Reason};
use super::view::{Pending, Standing, View, Worker};

/// How long a worker may prepare for a shard before it is given to it regardless.
pub const PREPARATION: Duration = Duration::from_secs(5);
/// So many moves are under way at most when one is begun for balance.
pub const BALANCE_MOVES: usize = 2;

/// Decides what the assignment is to be.
pub fn assign(current: &Assignment, view: &View) -> Decision {
    let mut draft = Draft::new(current, view);
    draft.note_started();
    draft.end_moves();
    draft.rest_quarantined();
    draft.replace_lost_owners();
    if !view.hold {
        draft.take_back();
        draft.hand_over();
        draft.move_away();
        draft.balance();
    }
    draft.decision()
}

struct Draft<'a> {
    view: &'a View,
    before: &'a Assignment,
    shards: Vec<Shard>,
    weights: Weights,
    homes: Homes<'a>,
    moves: Vec<Move>,
}

impl<'a> Draft<'a> {
    fn new(before: &'a Assignment, view: &'a View) -> Self {
        let mut shards = before.shards.clone();
        shards.resize(shards.len().max(view.shards as usize), Shard::default());
        let weights = Weights::new(view, shards.len());
        let homes = Homes::new(view, &shards, &weights);
        Self { view, before, shards, weights, homes, moves: Vec::new() }
    }

    /// A shard has started once somebody says that it runs: then it has a header. One that waits may have none yet.
    fn note_started(&mut self) {
        for (shard, phase) in self.view.workers.values().flat_map(|worker| &worker.shards) {
            if let Some(shard) = self.shards.get_mut(*shard as usize) {
                shard.started |= matches!(phase, ShardPhase::Running | ShardPhase::Complete);
            }
        }
    }

    /// A move is done when its new owner holds the shard, or nobody is left to hand it over.
    fn end_moves(&mut self) {
        for number in self.numbers() {
            let generation = self.pending(number).generation;
            let shard = &self.shards[number as usize];
            let Some(former) = &shard.former else { continue };
            let owner = shard.owner.as_ref().and_then(|owner| self.view.workers.get(owner));
            let is_held = owner.and_then(|owner| owner.phase(number, generation)).is_some_and(ShardPhase::is_held);
            if is_held || self.view.is_lost(former) {
                self.shards[number as usize].former = None;
            }
        }
    }

    /// A quarantined shard is nobody's until its rest is over.
    fn rest_quarantined(&mut self) {
        for (&number, quarantine) in &self.view.verdict.quarantined {
            let Some(shard) = self.shards.get_mut(number as usize) else { continue };
            if self.view.now < quarantine.until && shard.destination().is_some() {
                let from = shard.owner.clone();
                *shard = Shard { started: shard.started, ..Shard::default() };
                let why = quarantine.message.clone();
                self.moves.push(Move { shard: number, from, to: None, reason: Reason::Quarantine, why });
            }
        }
    }

    /// What has no owner, or a lost one, is given to who prepared for it, else to who has the least to do.
    fn replace_lost_owners(&mut self) {
        let is_orphan = |shard: &Shard| shard.owner.as_ref().is_none_or(|owner| self.view.is_lost(owner));
        let mut orphans: Vec<u32> = self.numbers().filter(|n| is_orphan(&self.shards[*n as usize])).collect();
        self.weights.sort(&mut orphans);
        for number in orphans {
            let shard = &mut self.shards[number as usize];
            let (from, next) = (shard.owner.take(), shard.next.take());
            shard.former = None;
            shard.chain_hash = None;
            let prepared = next.filter(|next| self.homes.takes(next, number));
            let to = prepared.or_else(|| self.lightest(number).map(str::to_owned));
            self.replace(number, from, to.filter(|_| !self.must_wait(number)));
        }
    }

    /// A quarantined shard waits until its rest is over, and until its worker has handed all others over.
    fn must_wait(&self, number: u32) -> bool {
        let at_host = |shard: &Shard| shard.owner.as_deref().is_some_and(|owner| self.homes.is_host(owner));
        let occupied = || self.numbers().any(|n| !self.view.is_quarantined(n) && at_host(&self.shards[n as usize]));
        self.view.is_resting(number) || (self.view.is_quarantined(number) && occupied())
    }

    fn replace(&mut self, number: u32, from: Option<String>, to: Option<String>) {
        if from.is_none() && to.is_none() {
            return;
        }
        if let Some(to) = &to {
            self.shards[number as usize].chain_hash = self.chain_hash(to);
            self.shards[number as usize].owner = Some(to.clone());
        }
        let (reason, why) = match &from {
            Some(from) => (Reason::OwnerLost, self.why(from)),
            None => (Reason::NoOwner, String::new()),
        };
        self.moves.push(Move { shard: number, from, to, reason, why });
    }

    /// A worker that cannot have what it prepares for does not get it.
    fn take_back(&mut self) {
        for number in self.numbers() {
            let Some(next) = &self.shards[number as usize].next else { continue };
            let Some(why) = self.unfit(number, next) else { continue };
            let shard = &mut self.shards[number as usize];
            let (from, to) = (shard.next.take(), shard.owner.clone());
            self.moves.push(Move { shard: number, from, to, reason: Reason::TakenBack, why });
        }
    }

    /// Why a worker cannot have a shard that it prepares for; one that nobody is sure about is waited for.
    fn unfit(&self, number: u32, next: &str) -> Option<String> {
        let Some(worker) = self.view.workers.get(next) else { return Some(self.why(next)) };
        match worker.standing {
            Standing::Lost | Standing::Leaving => Some(self.why(next)),
            Standing::Unsure if self.is_late(number) => Some(self.why(next)),
            Standing::Ready | Standing::Unsure if self.homes.suits(next, number) => None,
            Standing::Ready | Standing::Unsure => Some("is not to have it any more".to_owned()),
        }
    }

    fn hand_over(&mut self) {
        for number in self.numbers() {
            let Some(next) = self.shards[number as usize].next.clone() else { continue };
            let Some(worker) = self.view.workers.get(&next).filter(|w| w.standing == Standing::Ready) else { continue };
            let Some(reason) = self.handed_over(number, worker) else { continue };
            let chain_hash = self.chain_hash(&next);
            let shard = &mut self.shards[number as usize];
            let former = shard.owner.replace(next.clone());
            shard.next = None;
            shard.former.clone_from(&former);
            shard.chain_hash = chain_hash;
            self.moves.push(Move { shard: number, from: former, to: Some(next), reason, why: String::new() });
        }
    }

    /// Whether a worker has prepared for a shard, or long enough. One that has stopped is not given it as long as the
    /// owner can keep it.
    fn handed_over(&self, number: u32, next: &Worker) -> Option<Reason> {
        let owner = self.shards[number as usize].owner.as_ref().and_then(|owner| self.view.workers.get(owner));
        let can_stay = owner.is_some_and(|owner| owner.standing != Standing::Leaving);
        match next.phase(number, self.pending(number).generation) {
            Some(ShardPhase::Prepared | ShardPhase::Starting | ShardPhase::Running | ShardPhase::Complete) => {
                Some(Reason::Prepared)
            }
            Some(ShardPhase::Stopped) if can_stay => None,
            _ => self.is_late(number).then_some(Reason::PreparationLate),
        }
    }

    /// Shards leave workers that are to be without them.
    fn move_away(&mut self) {
        let mut away: Vec<u32> = self.numbers().filter(|number| self.must_go(*number).is_some()).collect();
        self.weights.sort(&mut away);
        for number in away {
            let Some((reason, why)) = self.must_go(number) else { continue };
            let Some(to) = self.lightest(number).map(str::to_owned) else { continue };
            self.prepare(number, to, reason, why);
        }
    }

    /// Why a shard has to leave its owner, if it is not about to.
    fn must_go(&self, number: u32) -> Option<(Reason, String)> {
        let shard = &self.shards[number as usize];
        let (None, Some(owner)) = (&shard.next, &shard.owner) else { return None };
        let worker = self.view.workers.get(owner)?;
        let fitness = worker.fitness(&self.view.revision);
        if self.homes.is_fit(owner) {
            let why =
                if self.view.is_quarantined(number) { "it is quarantined" } else { "quarantined shards go there" };
            return (!self.homes.is_apart(owner, number)).then(|| (Reason::Quarantine, why.to_owned()));
        }
        Some(match fitness {
            _ if !fitness.stays => (Reason::OwnerLeaves, format!("{owner} {}", self.why(owner))),
            _ if !fitness.of_revision => {
                let why = format!("{owner} runs the revision {}, not {}", worker.revision, self.view.revision);
                (Reason::Revision, why)
            }
            _ => (Reason::OwnerUnwanted, format!("{owner} is one worker too many")),
        })
    }

    /// A few shards at a time go from those who have much to do to those who have little, unless there is worse to do.
    fn balance(&mut self) {
        if self.moves.iter().any(|done| matches!(done.reason, Reason::NoOwner | Reason::OwnerLost)) {
            return;
        }
        let mut under_way = self.shards.iter().filter(|shard| shard.is_moving()).count();
        while under_way < BALANCE_MOVES {
            let Some((number, to, reason)) = self.spread_suspects().or_else(|| self.level_loads()) else { return };
            let why = if reason == Reason::Load { "has less to do" } else { "has fewer of those that are suspected" };
            self.prepare(number, to.to_owned(), reason, format!("{to} {why}"));
            under_way += 1;
        }
    }

    /// Suspects are told apart by where they are, whatever their load.
    fn spread_suspects(&self) -> Option<(u32, &'a str, Reason)> {
        let suspects = self.view.suspects();
        let weights = Weights::only(&suspects, self.shards.len());
        self.best_move(&weights, |number| suspects.contains(&number))
            .map(|(number, to)| (number, to, Reason::Quarantine))
    }

    fn level_loads(&self) -> Option<(u32, &'a str, Reason)> {
        let suspects = self.view.suspects();
        self.best_move(&self.weights, |number| !suspects.contains(&number))
            .map(|(number, to)| (number, to, Reason::Load))
    }

    fn best_move(&self, weights: &Weights, may: impl Fn(u32) -> bool) -> Option<(u32, &'a str)> {
        let burdens = Burdens::new(self.homes.pool(), &self.shards, weights);
        let movable: Vec<_> = self.numbers().filter(|number| may(*number)).filter_map(|n| self.movable(n)).collect();
        burdens.best_move(&movable, weights)
    }

    /// A shard with its owner, if it may go elsewhere for balance.
    fn movable(&self, number: u32) -> Option<(u32, &str)> {
        let shard = &self.shards[number as usize];
        let owner = shard.owner.as_deref().filter(|owner| !shard.is_moving() && self.homes.takes(owner, number))?;
        (!self.view.is_quarantined(number)).then_some((number, owner))
    }

    fn prepare(&mut self, number: u32, to: String, reason: Reason, why: String) {
        let shard = &mut self.shards[number as usize];
        shard.next = Some(to.clone());
        let from = shard.owner.clone();
        self.moves.push(Move { shard: number, from, to: Some(to), reason, why });
    }

    fn lightest(&self, number: u32) -> Option<&'a str> {
        let burdens = Burdens::new(self.homes.all(), &self.shards, &self.weights);
        burdens.lightest(|worker| self.homes.takes(worker, number))
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        0..self.shards.len() as u32
    }

    fn chain_hash(&self, worker: &str) -> Option<String> {
        self.view.workers.get(worker).and_then(|worker| worker.chain_hash.clone())
    }

    fn why(&self, worker: &str) -> String {
        let known = self.view.workers.get(worker).map(|worker| worker.why.as_str());
        known.unwrap_or("is lost: its pod is gone").to_owned()
    }

    /// Since when a move stands as it does; one that nobody has looked at yet, since now.
    fn pending(&self, number: u32) -> Pending {
        let now = Pending { since: self.view.now, generation: self.before.generation };
        self.view.pending.get(&number).copied().unwrap_or(now)
    }

    fn is_late(&self, number: u32) -> bool {
        self.view.now.saturating_sub(self.pending(number).since) >= PREPARATION
    }

    fn decision(self) -> Decision {
        let look_again = self.look_again();
        let followed = self.view.workers.values().map(|worker| worker.generation).max().unwrap_or_default();
        let before = self.before.generation;
        // Workers that follow a newer one pass this one over: the object was deleted and made again.
        let changed = self.shards != self.before.shards || followed > before;
        let generation = if changed { before.max(followed).saturating_add(1) } else { before };
        Decision { assignment: Assignment { generation, shards: self.shards }, moves: self.moves, look_again }
    }

    /// The next moment at which time alone changes a decision.
    fn look_again(&self) -> Option<Duration> {
        let moving = self.numbers().filter(|number| self.shards[*number as usize].next.is_some());
        let late = moving.map(|number| self.pending(number).since + PREPARATION);
        let rested = self.view.verdict.quarantined.values().map(|quarantine| quarantine.until);
        late.chain(rested).filter(|at| *at > self.view.now).min()
    }
}

#[cfg(test)]
mod tests;
