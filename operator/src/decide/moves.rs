//! What a decision answers: the assignment, what was moved, and why.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::assign::PREPARATION;
use super::assignment::Assignment;

/// So many shards are listed in a sentence; of the others only the number is told.
const LISTED: usize = 10;

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The assignment that is right now; its generation has grown if, and only if, something is different.
    pub assignment: Assignment,
    /// What was begun, given away, taken back or handed over, in the order of the steps.
    pub moves: Vec<Move>,
    /// When to decide again at the latest, even if nothing is observed until then.
    pub look_again: Option<Duration>,
}

/// A shard goes from one worker to another, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: u32,
    /// Who had it.
    pub from: Option<String>,
    /// Who gets it; None if nobody.
    pub to: Option<String>,
    /// Why.
    pub reason: Reason,
    /// What is particular about it, for people; empty where the reason says it all.
    pub why: String,
}

impl Move {
    /// The move for people.
    pub fn message(&self) -> String {
        sentence(self, &BTreeSet::from([self.shard]))
    }

    /// Whether it differs from another one in nothing but the shard.
    fn is_like(&self, other: &Self) -> bool {
        let same = |moved: &Self| Self { shard: 0, ..moved.clone() };
        same(self) == same(other)
    }
}

/// Moves for people: those that differ in nothing but the shard are one sentence.
pub fn sentences(moves: &[Move]) -> String {
    let mut alike: Vec<(&Move, BTreeSet<u32>)> = Vec::new();
    for moved in moves {
        match alike.iter_mut().find(|(first, _)| moved.is_like(first)) {
            Some((_, shards)) => _ = shards.insert(moved.shard),
            None => alike.push((moved, BTreeSet::from([moved.shard]))),
        }
    }
    let sentences: Vec<String> = alike.iter().map(|(moved, shards)| sentence(moved, shards)).collect();
    sentences.join("; ")
}

fn sentence(moved: &Move, shards: &BTreeSet<u32>) -> String {
    let Move { from, to, reason, why, .. } = moved;
    let from = from.as_deref().unwrap_or_default();
    let subject = subject(shards);
    let (it, moves, does) = if shards.len() == 1 { ("it", "moves", "does") } else { ("them", "move", "do") };
    let taken = || match to {
        Some(to) => format!("{to} takes {it} over"),
        None => format!("no other worker can have {it} now"),
    };
    let to_name = to.as_deref().unwrap_or_default();
    match reason {
        Reason::NoOwner => format!("{subject} had no owner; {}", taken()),
        Reason::OwnerLost => format!("{subject}: {from} {why}; {}", taken()),
        Reason::TakenBack => format!("{subject} {does} not go to {from}, which {why}"),
        Reason::Prepared => format!("{subject}: {to_name} is prepared; {from} hands {it} over"),
        Reason::PreparationLate => {
            let late = PREPARATION.as_secs();
            format!("{subject}: {to_name} is not prepared after {late} s; {from} hands {it} over regardless")
        }
        Reason::Quarantine if to.is_none() => why.clone(),
        _ => format!("{subject} {moves} from {from} to {to_name}: {why}"),
    }
}

/// "shard 3", "shards 3, 7, 9", "shards 0, 1, … and 22 more".
fn subject(shards: &BTreeSet<u32>) -> String {
    let listed: Vec<String> = shards.iter().take(LISTED).map(u32::to_string).collect();
    let (word, listed) = (if shards.len() == 1 { "shard" } else { "shards" }, listed.join(", "));
    match shards.len().saturating_sub(LISTED) {
        0 => format!("{word} {listed}"),
        more => format!("{word} {listed} and {more} more"),
    }
}

/// Why a shard moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It had no owner.
    NoOwner,
    /// Its owner is lost.
    OwnerLost,
    /// Its owner is about to end.
    OwnerLeaves,
    /// Its owner is one worker too many.
    OwnerUnwanted,
    /// Its owner runs another revision than the pipeline's.
    Revision,
    /// Another worker has less to do.
    Load,
    /// A quarantined shard and others are kept apart, or it rests.
    Quarantine,
    /// The worker that prepared for it is ready: it is handed over.
    Prepared,
    /// The worker that prepares for it takes too long: it is handed over regardless.
    PreparationLate,
    /// The worker that prepared for it cannot have it: it stays where it is.
    TakenBack,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::NoOwner,
        Self::OwnerLost,
        Self::OwnerLeaves,
        Self::OwnerUnwanted,
        Self::Revision,
        Self::Load,
        Self::Quarantine,
        Self::Prepared,
        Self::PreparationLate,
        Self::TakenBack,
    ];

    /// Whether somebody should look at it.
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::OwnerLost | Self::Quarantine | Self::PreparationLate)
    }

    /// Whether the move begins with a preparation, while the owner works on.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::OwnerLeaves | Self::OwnerUnwanted | Self::Revision | Self::Load | Self::Quarantine)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(shard: u32, from: &str, to: &str, reason: Reason, why: &str) -> Move {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Move { shard, from: name(from), to: name(to), reason, why: why.to_owned() }
    }

    /// Moves of the shards 9, 3 and 7 that differ in nothing else.
    fn three(from: &str, to: &str, reason: Reason, why: &str) -> String {
        sentences(&[9, 3, 7].map(|shard| moved(shard, from, to, reason, why)))
    }

    #[test]
    fn moves_that_are_alike_are_one_sentence() {
        use Reason::{Load, NoOwner, OwnerLost, PreparationLate, Prepared, TakenBack};
        let cases = [
            (three("a", "b", Load, "b has less to do"), "shards 3, 7, 9 move from a to b: b has less to do"),
            (three("", "b", NoOwner, ""), "shards 3, 7, 9 had no owner; b takes them over"),
            (three("a", "b", OwnerLost, "is lost"), "shards 3, 7, 9: a is lost; b takes them over"),
            (three("a", "", OwnerLost, "is lost"), "shards 3, 7, 9: a is lost; no other worker can have them now"),
            (three("b", "a", TakenBack, "is lost"), "shards 3, 7, 9 do not go to b, which is lost"),
            (three("a", "b", Prepared, ""), "shards 3, 7, 9: b is prepared; a hands them over"),
            (
                three("a", "b", PreparationLate, ""),
                "shards 3, 7, 9: b is not prepared after 5 s; a hands them over regardless",
            ),
        ];
        for (told, expected) in cases {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn moves_that_differ_are_told_apart() {
        let lost = |shard, to| moved(shard, "a", to, Reason::OwnerLost, "is lost");
        let expected = "shards 1, 3: a is lost; b takes them over; shard 2: a is lost; c takes it over";
        assert_eq!(sentences(&[lost(1, "b"), lost(2, "c"), lost(3, "b")]), expected);
        let rest = |shard: u32| moved(shard, "a", "", Reason::Quarantine, &format!("shard {shard} rests"));
        assert_eq!(sentences(&[rest(1), rest(2)]), "shard 1 rests; shard 2 rests");
    }

    #[test]
    fn of_many_shards_some_are_listed() {
        let all: Vec<Move> = (0..32).map(|shard| moved(shard, "", "b", Reason::NoOwner, "")).collect();
        assert_eq!(sentences(&all), "shards 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 22 more had no owner; b takes them over");
    }
}
