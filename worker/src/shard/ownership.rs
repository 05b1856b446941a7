//! Who decides whether a shard is this process's.
//!
//! Kafka fences: the last who took a shard over is the only one that can commit for it. What is decided here is only
//! who should, so that two processes do not fence each other for ever.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Confirm;
use super::tenure::{Grant, Tenure};

/// How long to wait before the assignment is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Who decides.
#[derive(Debug)]
pub enum Ownership {
    /// `millstream run`: the pipeline is one process's, and shard 0 says whose.
    Whole(Confirm),
    /// In a cluster: the assignment, which the operator writes.
    Assigned(Arc<dyn AssignmentSource>),
}

impl Ownership {
    /// Shard 0's word, where it is asked.
    pub fn confirm(&self) -> Option<&Confirm> {
        match self {
            Self::Whole(confirm) => Some(confirm),
            Self::Assigned(_) => None,
        }
    }
}

/// What an assignment says about one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Counts the assignment's changes.
    pub generation: i64,
    /// The shards that concern this worker.
    pub claims: BTreeMap<u32, Claim>,
}

/// What a worker is to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It owns it.
    Owner(Grant),
    /// It prepares to take it.
    Standby,
}

/// Where the assignment is written.
pub trait AssignmentSource: Debug + Send + Sync {
    /// Reads the assignment from there, not from what was seen before. An error says why that was not possible.
    fn read(&self) -> Result<Assignment, String>;
}

/// Whether a shard that somebody else has taken is still this process's, by a fresh look at the assignment. Waits for
/// whoever keeps it; None if the tenure ends meanwhile.
pub fn still_assigned(source: &dyn AssignmentSource, shard: u32, tenure: &Tenure) -> Option<bool> {
    loop {
        if tenure.asked() {
            return None;
        }
        match source.read() {
            Ok(assignment) => return Some(matches!(assignment.claims.get(&shard), Some(Claim::Owner(_)))),
            Err(why) => tracing::warn!("{why}; the shard is not taken again before the assignment is known"),
        }
        tenure.sleep(ASK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Scripted(Mutex<Vec<Result<Assignment, String>>>);

    impl AssignmentSource for Scripted {
        fn read(&self) -> Result<Assignment, String> {
            self.0.lock().ok().and_then(|mut answers| answers.pop()).unwrap_or_else(|| Err("no answer".into()))
        }
    }

    #[test]
    fn a_fresh_assignment_decides_and_silence_decides_nothing() {
        let owner = Claim::Owner(Grant::default());
        let mine = |claim| Assignment { generation: 2, claims: BTreeMap::from([(1, claim)]) };
        let answers = vec![Ok(mine(Claim::Standby)), Err("the API server is away".into()), Ok(mine(owner))];
        let source = Scripted(Mutex::new(answers));
        let tenure = Tenure::owner(Arc::default(), Grant::default());
        assert_eq!(still_assigned(&source, 1, &tenure), Some(true));
        assert_eq!(still_assigned(&source, 1, &tenure), Some(false));
        tenure.end(3);
        assert_eq!(still_assigned(&source, 1, &tenure), None);
    }
}
