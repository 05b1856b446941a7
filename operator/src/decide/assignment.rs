//! The assignment: who owns which shard, and which moves are under way.
//!
//! This is the PipelineAssignment's spec in a form in which a shard's place in the list is its number and nobody waits
//! for himself. What is decided about it stands in [`assign`](super::assign).

use millstream_crds::{PipelineAssignmentSpec, ShardAssignment};

/// Who owns which shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Counts the changes.
    pub generation: i64,
    /// The shards, each at the place of its number.
    pub shards: Vec<Shard>,
}

/// Who owns a shard. A planned move goes through `next` and `former`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shard {
    /// The worker that owns it.
    pub owner: Option<String>,
    /// The worker that prepares to take it; never the owner.
    pub next: Option<String>,
    /// The worker whose hand-over the owner waits for; never the owner.
    pub former: Option<String>,
    /// The hash of the chain that the owner runs.
    pub chain_hash: Option<String>,
    /// Whether it ever ran.
    pub started: bool,
}

/// A PipelineAssignment that somebody else must have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// The generation is negative.
    #[error(
        "the PipelineAssignment has the generation {0}, which no operator writes. Set it to 0; the operator goes on \
         counting from there"
    )]
    Generation(i64),
    /// A number is negative, beyond the last shard, or there twice.
    #[error(
        "the PipelineAssignment lists {found} shards, and they are not those from 0 to {last}: {shard} is out of place. \
         Name each shard once; the operator assigns what has no owner"
    )]
    Shards {
        /// How many are listed.
        found: usize,
        /// The last number that there should be.
        last: usize,
        /// The first that is wrong.
        shard: i32,
    },
}

impl Shard {
    /// The worker that has the shard, or will have it once the move under way is done.
    pub fn destination(&self) -> Option<&str> {
        self.next.as_deref().or(self.owner.as_deref())
    }

    /// Whether a move of it is under way.
    pub fn is_moving(&self) -> bool {
        self.next.is_some() || self.former.is_some()
    }
}

impl Assignment {
    /// Reads what stands in a PipelineAssignment, in whatever order its shards are listed.
    pub fn from_spec(spec: &PipelineAssignmentSpec) -> Result<Self, AssignmentError> {
        if spec.generation < 0 {
            return Err(AssignmentError::Generation(spec.generation));
        }
        let mut entries: Vec<&ShardAssignment> = spec.shards.iter().collect();
        entries.sort_by_key(|entry| entry.shard);
        let found = entries.len();
        let mut shards = Vec::with_capacity(found);
        for (number, entry) in entries.into_iter().enumerate() {
            if usize::try_from(entry.shard) != Ok(number) {
                return Err(AssignmentError::Shards { found, last: found - 1, shard: entry.shard });
            }
            shards.push(Shard::from_entry(entry));
        }
        Ok(Self { generation: spec.generation, shards })
    }

    /// What is written into the PipelineAssignment of the Pipeline with this uid.
    pub fn to_spec(&self, pipeline_uid: &str) -> PipelineAssignmentSpec {
        let shards = self.shards.iter().enumerate().map(|(number, shard)| shard.to_entry(number as i32)).collect();
        PipelineAssignmentSpec { pipeline_uid: pipeline_uid.to_owned(), generation: self.generation, shards }
    }

    /// The shards with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Shard)> {
        (0..).zip(&self.shards)
    }

    /// The assignment by which everybody lets everything go.
    #[must_use]
    pub fn let_go(&self) -> Self {
        if self.shards.iter().all(|shard| shard.owner.is_none() && !shard.is_moving()) {
            return self.clone();
        }
        let unowned = |shard: &Shard| Shard { owner: None, next: None, former: None, ..shard.clone() };
        Self { generation: self.generation + 1, shards: self.shards.iter().map(unowned).collect() }
    }

    /// The shards that a worker owns.
    pub fn owned_by<'a>(&'a self, worker: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.numbered().filter(move |(_, shard)| shard.owner.as_deref() == Some(worker)).map(|(number, _)| number)
    }
}

impl Shard {
    fn from_entry(entry: &ShardAssignment) -> Self {
        let other = |name: &Option<String>| name.clone().filter(|name| entry.owner.as_ref() != Some(name));
        Self {
            owner: entry.owner.clone(),
            next: other(&entry.next),
            former: other(&entry.former),
            chain_hash: entry.chain_hash.clone(),
            started: entry.started,
        }
    }

    fn to_entry(&self, shard: i32) -> ShardAssignment {
        ShardAssignment {
            shard,
            owner: self.owner.clone(),
            next: self.next.clone(),
            former: self.former.clone(),
            chain_hash: self.chain_hash.clone(),
            started: self.started,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(generation: i64, shards: &[i32]) -> PipelineAssignmentSpec {
        let entry = |&shard| ShardAssignment { shard, owner: Some(format!("w{shard}")), ..ShardAssignment::default() };
        PipelineAssignmentSpec { pipeline_uid: "u".into(), generation, shards: shards.iter().map(entry).collect() }
    }

    #[test]
    fn shards_stand_at_the_place_of_their_number() {
        let assignment = Assignment::from_spec(&spec(7, &[2, 0, 1])).unwrap();
        assert_eq!((assignment.generation, assignment.shards.len()), (7, 3));
        assert_eq!(assignment.shards[2].owner.as_deref(), Some("w2"));
        assert_eq!(assignment.owned_by("w1").collect::<Vec<_>>(), [1]);
        assert_eq!(assignment.to_spec("u"), spec(7, &[0, 1, 2]));
        assert_eq!(Assignment::from_spec(&spec(0, &[])).unwrap(), Assignment::default());
    }

    #[test]
    fn everybody_lets_go_in_one_change() {
        let owned = Assignment::from_spec(&spec(7, &[0, 1])).unwrap();
        let let_go = owned.let_go();
        assert_eq!(let_go, Assignment { generation: 8, shards: vec![Shard::default(); 2] });
        assert_eq!(let_go.let_go(), let_go);
    }

    #[test]
    fn what_no_operator_writes_is_refused() {
        let error = |spec| Assignment::from_spec(&spec).unwrap_err();
        assert_eq!(error(spec(-1, &[])), AssignmentError::Generation(-1));
        for (shards, wrong) in [(&[0, 0][..], 0), (&[0, 2], 2), (&[-1, 0], -1), (&[1], 1)] {
            let found = error(spec(1, shards));
            assert_eq!(found, AssignmentError::Shards { found: shards.len(), last: shards.len() - 1, shard: wrong });
            assert!(found.to_string().contains("Name each shard once"), "{found}");
        }
    }

    #[test]
    fn nobody_waits_for_himself() {
        let mut spec = spec(1, &[0]);
        (spec.shards[0].next, spec.shards[0].former) = (spec.shards[0].owner.clone(), spec.shards[0].owner.clone());
        let shard = &Assignment::from_spec(&spec).unwrap().shards[0];
        assert_eq!((shard.destination(), shard.is_moving()), (Some("w0"), false));
    }
}
