//! What a decision answers: the assignment, what was moved, and why.

use std::fmt;
use std::time::Duration;

use super::assignment::Assignment;

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
    /// The same for people.
    pub message: String,
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
