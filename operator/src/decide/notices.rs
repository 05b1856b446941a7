//! What people are told of moves: one notice for each reason, however many shards move, and none of that reason again
//! for a while; what comes meanwhile is joined into the next one.
//!
//! A hand-over after a preparation is not told: it is the end of a move that was told when it began.

use std::collections::BTreeMap;
use std::time::Duration;

use super::moves::{Move, Reason, sentences};

/// The least time between two notices of one reason.
pub const EVERY: Duration = Duration::from_secs(10);

/// What there is to tell of a Pipeline's moves.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    reasons: BTreeMap<Reason, Held>,
}

/// What is held back of one reason.
#[derive(Clone, Debug, Default)]
struct Held {
    told: Option<Duration>,
    moves: Vec<Move>,
}

/// Something to be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why the shards move.
    pub reason: Reason,
    /// Which shards, from where to where, and why: for people.
    pub text: String,
}

impl Notices {
    /// Takes the moves of a decision that was carried out.
    pub fn add(&mut self, moves: &[Move]) {
        for moved in moves.iter().filter(|moved| moved.reason != Reason::Prepared) {
            self.reasons.entry(moved.reason).or_default().moves.push(moved.clone());
        }
    }

    /// What is to be told now, and is then told.
    pub fn due(&mut self, now: Duration) -> Vec<Notice> {
        let due = self.reasons.iter_mut().filter(|(_, held)| held.is_due(now));
        due.map(|(reason, held)| Notice { reason: *reason, text: held.take(now) }).collect()
    }
}

impl Held {
    fn is_due(&self, now: Duration) -> bool {
        !self.moves.is_empty() && self.told.is_none_or(|told| now >= told + EVERY)
    }

    fn take(&mut self, now: Duration) -> String {
        self.told = Some(now);
        sentences(&std::mem::take(&mut self.moves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(shard: u32) -> Move {
        let (from, to) = (Some("a".to_owned()), Some("b".to_owned()));
        Move { shard, from, to, reason: Reason::OwnerLost, why: "is lost".into() }
    }

    fn told(notices: &mut Notices, now: u64) -> Vec<(Reason, String)> {
        notices.due(Duration::from_secs(now)).into_iter().map(|notice| (notice.reason, notice.text)).collect()
    }

    #[test]
    fn a_reason_is_told_at_once_and_then_held_back() {
        let mut notices = Notices::default();
        assert_eq!(told(&mut notices, 1), []);
        notices.add(&[lost(3), lost(7)]);
        let first = "shards 3, 7: a is lost; b takes them over".to_owned();
        assert_eq!(told(&mut notices, 1), [(Reason::OwnerLost, first)]);
        notices.add(&[lost(4)]);
        assert_eq!(told(&mut notices, 4), []);
        notices.add(&[lost(2)]);
        let joined = "shards 2, 4: a is lost; b takes them over".to_owned();
        assert_eq!(told(&mut notices, 11), [(Reason::OwnerLost, joined)]);
        assert_eq!(told(&mut notices, 60), [], "nothing is told twice");
    }

    #[test]
    fn reasons_do_not_wait_for_each_other() {
        let mut notices = Notices::default();
        notices.add(&[lost(3)]);
        assert_eq!(told(&mut notices, 1).len(), 1);
        notices.add(&[Move { from: None, reason: Reason::NoOwner, why: String::new(), ..lost(5) }, lost(6)]);
        assert_eq!(told(&mut notices, 2), [(Reason::NoOwner, "shard 5 had no owner; b takes it over".to_owned())]);
    }

    #[test]
    fn the_end_of_a_planned_move_is_not_told_again() {
        let mut notices = Notices::default();
        notices.add(&[Move { reason: Reason::Prepared, ..lost(3) }]);
        assert_eq!(told(&mut notices, 1), []);
    }
}
