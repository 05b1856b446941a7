//! Since when moves stand as they do: what an assignment alone does not say.
//!
//! A new leader knows nothing of it and counts from its first look; a move then waits a little longer, no more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::{Assignment, Shard};
use super::view::Pending;

/// Remembers, for each shard that moves, since when its move stands as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingMoves {
    shards: BTreeMap<u32, (Stage, Pending)>,
}

/// Who a move is between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stage {
    owner: Option<String>,
    next: Option<String>,
    former: Option<String>,
}

impl Stage {
    fn of(shard: &Shard) -> Self {
        Self { owner: shard.owner.clone(), next: shard.next.clone(), former: shard.former.clone() }
    }
}

impl PendingMoves {
    /// Looks at an assignment: to be called with each one that was read or written.
    pub fn observe(&mut self, assignment: &Assignment, now: Duration) {
        let mut shards = BTreeMap::new();
        for (number, shard) in assignment.numbered().filter(|(_, shard)| shard.is_moving()) {
            let stage = Stage::of(shard);
            let known = self.shards.get(&number).filter(|(known, _)| *known == stage).map(|(_, pending)| *pending);
            let pending = known.unwrap_or(Pending { since: now, generation: assignment.generation });
            shards.insert(number, (stage, pending));
        }
        self.shards = shards;
    }

    /// For the [`View`](super::view::View).
    pub fn all(&self) -> BTreeMap<u32, Pending> {
        self.shards.iter().map(|(shard, (_, pending))| (*shard, *pending)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(generation: i64, moves: &[(&str, &str)]) -> Assignment {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let shard = |&(next, former): &(&str, &str)| Shard {
            owner: name("a"),
            next: name(next),
            former: name(former),
            ..Shard::default()
        };
        Assignment { generation, shards: moves.iter().map(shard).collect() }
    }

    #[test]
    fn a_move_counts_from_when_it_was_first_seen_as_it_is() {
        let mut moves = PendingMoves::default();
        let mut see = |now, generation, shards: &[(&str, &str)]| {
            moves.observe(&assignment(generation, shards), Duration::from_secs(now));
            moves.all().into_iter().map(|(shard, p)| (shard, p.since.as_secs(), p.generation)).collect::<Vec<_>>()
        };
        assert_eq!(see(1, 5, &[("b", ""), ("", "")]), [(0, 1, 5)]);
        assert_eq!(see(2, 6, &[("b", ""), ("c", "")]), [(0, 1, 5), (1, 2, 6)]);
        assert_eq!(see(3, 7, &[("d", ""), ("", "b")]), [(0, 3, 7), (1, 3, 7)]);
        assert_eq!(see(4, 8, &[("", ""), ("", "b")]), [(1, 3, 7)]);
    }
}
