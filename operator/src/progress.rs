//! What the positions in Kafka say about the shards: whether they move, and whether input waits.
//!
//! Pure: fed with what was asked of Kafka, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decide::liveness::Progress;

/// A source partition as Kafka tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The shard that it belongs to.
    pub shard: u32,
    /// The next offset to read, by the group's offsets; None before the first checkpoint.
    pub position: Option<i64>,
    /// The first offset that is still there.
    pub start: i64,
    /// The last stable offset.
    pub end: i64,
}

impl PartitionState {
    /// Records between the checkpoint and the last stable offset.
    pub fn lag(&self) -> i64 {
        (self.end - self.position.unwrap_or(self.start).max(self.start)).max(0)
    }
}

/// How old a look may be. While Kafka cannot be read nobody knows whether a position stands still.
const CURRENT: Duration = Duration::from_secs(5);

/// The shards' positions over time.
#[derive(Clone, Debug, Default)]
pub struct Track {
    shards: BTreeMap<u32, (i64, Progress)>,
    looked: Option<Duration>,
    /// The partitions as they were last seen.
    pub partitions: Vec<PartitionState>,
}

impl Track {
    /// Takes what Kafka says now.
    pub fn look(&mut self, partitions: Vec<PartitionState>, now: Duration) {
        if !self.is_current(now) {
            // What stood still may have moved unseen: it counts from now.
            self.shards.clear();
        }
        self.looked = Some(now);
        let mut sums: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
        for partition in &partitions {
            let (position, lag) = sums.entry(partition.shard).or_default();
            *position += partition.position.unwrap_or(-1);
            *lag += partition.lag();
        }
        let known = &self.shards;
        let follow = |(shard, (position, lag)): (u32, (i64, i64))| {
            let before = known.get(&shard);
            let moved = before.filter(|(last, _)| *last == position).map_or(now, |(_, progress)| progress.moved);
            let input = (lag > 0).then(|| before.and_then(|(_, progress)| progress.input).unwrap_or(now));
            (shard, (position, Progress { moved, input }))
        };
        self.shards = sums.into_iter().map(follow).collect();
        self.partitions = partitions;
    }

    /// Whether the last look still says something about now.
    pub fn is_current(&self, now: Duration) -> bool {
        self.looked.is_some_and(|looked| now <= looked + CURRENT)
    }

    /// Whether a shard's positions move, and whether input waits for it.
    pub fn shard(&self, shard: u32) -> Option<Progress> {
        self.shards.get(&shard).map(|(_, progress)| *progress)
    }

    /// Records that wait, in all partitions; None before anything is known.
    pub fn lag(&self) -> Option<i64> {
        (!self.partitions.is_empty()).then(|| self.partitions.iter().map(PartitionState::lag).sum())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn state(shard: u32, position: Option<i64>, end: i64) -> PartitionState {
        PartitionState { topic: "in".into(), partition: shard as i32, shard, position, start: 10, end }
    }

    #[test]
    fn a_shard_stands_still_while_input_waits() {
        let second = Duration::from_secs;
        let mut track = Track::default();
        assert_eq!(track.lag(), None);
        track.look(vec![state(0, Some(20), 20), state(1, None, 15)], second(1));
        assert_eq!(track.shard(0).unwrap(), Progress { moved: second(1), input: None });
        assert_eq!(track.shard(1).unwrap(), Progress { moved: second(1), input: Some(second(1)) });
        assert_eq!(track.lag(), Some(5), "before the first checkpoint the log's start counts");
        track.look(vec![state(0, Some(20), 30), state(1, Some(15), 15)], second(2));
        track.look(vec![state(0, Some(20), 40), state(1, Some(15), 15)], second(3));
        assert_eq!(track.shard(0).unwrap(), Progress { moved: second(1), input: Some(second(2)) });
        assert_eq!(track.shard(1).unwrap(), Progress { moved: second(2), input: None });
        track.look(vec![state(0, Some(25), 40)], second(4));
        assert_eq!(track.shard(0).unwrap(), Progress { moved: second(4), input: Some(second(2)) });
        assert_eq!((track.shard(1), track.lag()), (None, Some(15)));
    }

    #[test]
    fn a_gap_between_looks_proves_no_standstill() {
        let second = Duration::from_secs;
        let mut track = Track::default();
        assert!(!track.is_current(second(1)));
        track.look(vec![state(0, Some(20), 30)], second(1));
        assert!(track.is_current(second(6)) && !track.is_current(second(7)));
        track.look(vec![state(0, Some(20), 30)], second(9));
        assert_eq!(track.shard(0).unwrap(), Progress { moved: second(9), input: Some(second(9)) });
    }
}
