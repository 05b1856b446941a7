//! How long moves take: from the assignment in which one begins until the new owner says that it holds the shard.
//!
//! What begins is a preparation, a takeover from a lost owner, or the end of a time without an owner; a hand-over goes on
//! with the move that it ends. A shard that lost its owner while nobody else could have it counts from the loss. A move
//! that another one replaces, or that is taken back, has no duration; neither has one that began under another leader,
//! since nobody knows when.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_crds::report::ShardPhase;

use super::assignment::Assignment;
use super::moves::{Move, Reason};
use super::view::View;

/// The moves of a Pipeline that are under way.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    shards: BTreeMap<u32, Begun>,
}

#[derive(Clone, Debug)]
struct Begun {
    reason: Reason,
    since: Duration,
    /// Where the shard goes; None as long as nobody can have it.
    to: Option<String>,
    /// The generation of the assignment that says so.
    generation: i64,
}

/// A move that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Why it began.
    pub reason: Reason,
    /// How long it took.
    pub took: Duration,
}

impl Durations {
    /// Takes the moves of the assignment of this generation, which was written now.
    pub fn begin(&mut self, moves: &[Move], generation: i64, now: Duration) {
        for moved in moves {
            let begun = Begun { reason: moved.reason, since: now, to: moved.to.clone(), generation };
            match (moved.reason, self.shards.get_mut(&moved.shard)) {
                (Reason::TakenBack, _) => drop(self.shards.remove(&moved.shard)),
                // It rests, and goes nowhere.
                (Reason::Quarantine, _) if moved.to.is_none() => drop(self.shards.remove(&moved.shard)),
                (Reason::Prepared | Reason::PreparationLate, known) => {
                    if let Some(known) = known {
                        known.go_on(begun);
                    }
                }
                (Reason::NoOwner, Some(known)) if known.to.is_none() => known.go_on(begun),
                _ => drop(self.shards.insert(moved.shard, begun)),
            }
        }
    }

    /// Looks at what has become of the moves; those that have come to their end are answered, once.
    pub fn finish(&mut self, assignment: &Assignment, view: &View) -> Vec<Arrival> {
        if assignment.shards.is_empty() {
            // It was deleted: what was begun is void.
            self.clear();
        }
        let mut arrivals = Vec::new();
        self.shards.retain(|number, begun| {
            if assignment.generation < begun.generation {
                // Read before the write.
                return true;
            }
            let shard = assignment.shards.get(*number as usize);
            if shard.is_none_or(|shard| shard.destination() != begun.to.as_deref()) {
                return false;
            }
            let owner =
                shard.and_then(|shard| view.workers.get(shard.owner.as_ref().filter(|_| shard.next.is_none())?));
            let is_held =
                owner.and_then(|owner| owner.phase(*number, begun.generation)).is_some_and(ShardPhase::is_held);
            if is_held {
                arrivals.push(Arrival { reason: begun.reason, took: view.now.saturating_sub(begun.since) });
            }
            !is_held
        });
        arrivals
    }

    /// Forgets all moves: the Pipeline is not to run.
    pub fn clear(&mut self) {
        self.shards.clear();
    }
}

impl Begun {
    /// The next step of the same move: it goes on from where it began.
    fn go_on(&mut self, next: Self) {
        *self = Self { reason: self.reason, since: self.since, ..next };
    }
}

#[cfg(test)]
mod tests {
    use super::super::assignment::Shard;
    use super::super::view::Worker;
    use super::*;

    fn name(name: &str) -> Option<String> {
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn moved(from: &str, to: &str, reason: Reason) -> Move {
        Move { shard: 0, from: name(from), to: name(to), reason, why: String::new() }
    }

    /// Shard 0 belongs to somebody, and somebody prepares to take it.
    fn assignment(generation: i64, owner: &str, next: &str) -> Assignment {
        Assignment { generation, shards: vec![Shard { owner: name(owner), next: name(next), ..Shard::default() }] }
    }

    /// One worker, which follows a generation and does something with shard 0.
    fn view(now: u64, worker: &str, generation: i64, phase: ShardPhase) -> View {
        let does = Worker { generation, shards: [(0, phase)].into(), ..Worker::default() };
        View { now: Duration::from_secs(now), workers: [(worker.to_owned(), does)].into(), ..View::default() }
    }

    fn begin(moves: &mut Durations, moved: Move, generation: i64, now: u64) {
        moves.begin(&[moved], generation, Duration::from_secs(now));
    }

    fn arrived(reason: Reason, took: u64) -> Vec<Arrival> {
        vec![Arrival { reason, took: Duration::from_secs(took) }]
    }

    #[test]
    fn a_planned_move_counts_from_its_preparation_until_the_shard_is_held() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("a", "b", Reason::Revision), 5, 10);
        assert_eq!(moves.finish(&assignment(5, "a", "b"), &view(11, "a", 5, ShardPhase::Running)), []);
        assert_eq!(moves.finish(&assignment(5, "a", "b"), &view(12, "b", 5, ShardPhase::Prepared)), []);
        begin(&mut moves, moved("a", "b", Reason::Prepared), 6, 12);
        assert_eq!(moves.finish(&assignment(5, "a", "b"), &view(12, "b", 5, ShardPhase::Prepared)), [], "read before");
        assert_eq!(moves.finish(&assignment(6, "b", ""), &view(13, "b", 6, ShardPhase::Starting)), []);
        let held = view(14, "b", 6, ShardPhase::Running);
        assert_eq!(moves.finish(&assignment(6, "b", ""), &held), arrived(Reason::Revision, 4));
        assert_eq!(moves.finish(&assignment(6, "b", ""), &held), [], "it ends once");
    }

    #[test]
    fn what_a_worker_said_before_it_knew_of_the_move_does_not_count() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("a", "b", Reason::OwnerLost), 5, 10);
        let lost = assignment(5, "b", "");
        assert_eq!(moves.finish(&lost, &view(11, "b", 4, ShardPhase::Running)), []);
        assert_eq!(moves.finish(&lost, &view(12, "b", 5, ShardPhase::Waiting)), arrived(Reason::OwnerLost, 2));
    }

    #[test]
    fn another_move_replaces_one_that_has_not_ended() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("a", "b", Reason::Load), 5, 10);
        begin(&mut moves, moved("a", "c", Reason::OwnerLost), 6, 20);
        let held = view(23, "c", 6, ShardPhase::Running);
        assert_eq!(moves.finish(&assignment(6, "c", ""), &held), arrived(Reason::OwnerLost, 3));
        begin(&mut moves, moved("c", "d", Reason::Load), 7, 30);
        begin(&mut moves, moved("d", "c", Reason::TakenBack), 8, 31);
        assert_eq!(moves.finish(&assignment(8, "c", ""), &view(32, "c", 8, ShardPhase::Running)), []);
        begin(&mut moves, moved("c", "d", Reason::Load), 9, 40);
        let elsewhere = assignment(10, "e", "");
        assert_eq!(moves.finish(&elsewhere, &view(41, "e", 10, ShardPhase::Running)), [], "somebody else decided");
        assert!(moves.shards.is_empty());
    }

    #[test]
    fn a_shard_that_nobody_could_have_counts_from_the_loss_of_its_owner() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("a", "", Reason::OwnerLost), 5, 10);
        assert_eq!(moves.finish(&assignment(5, "", ""), &View::default()), []);
        begin(&mut moves, moved("", "b", Reason::NoOwner), 6, 30);
        let held = view(31, "b", 6, ShardPhase::Running);
        assert_eq!(moves.finish(&assignment(6, "b", ""), &held), arrived(Reason::OwnerLost, 21));
        begin(&mut moves, moved("b", "", Reason::Quarantine), 7, 40);
        begin(&mut moves, moved("", "c", Reason::NoOwner), 8, 60);
        let held = view(62, "c", 8, ShardPhase::Complete);
        assert_eq!(moves.finish(&assignment(8, "c", ""), &held), arrived(Reason::NoOwner, 2), "a rest is no move");
    }

    #[test]
    fn nothing_is_left_of_a_pipeline_that_is_gone_or_not_to_run() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("", "b", Reason::NoOwner), 5, 10);
        assert_eq!(moves.finish(&Assignment::default(), &view(11, "b", 5, ShardPhase::Running)), []);
        assert!(moves.shards.is_empty());
        begin(&mut moves, moved("a", "", Reason::OwnerLost), 5, 10);
        moves.clear();
        begin(&mut moves, moved("", "b", Reason::NoOwner), 6, 30);
        let held = view(31, "b", 6, ShardPhase::Running);
        assert_eq!(moves.finish(&assignment(6, "b", ""), &held), arrived(Reason::NoOwner, 1));
    }

    #[test]
    fn a_hand_over_whose_beginning_nobody_saw_has_no_duration() {
        let mut moves = Durations::default();
        begin(&mut moves, moved("a", "b", Reason::Prepared), 6, 12);
        assert_eq!(moves.finish(&assignment(6, "b", ""), &view(13, "b", 6, ShardPhase::Running)), []);
    }
}
