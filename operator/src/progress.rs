//! What the positions in Kafka say about the shards: whether they move, whether input waits, and how soon Kafka deletes
//! what nobody has read yet.
//!
//! Pure: fed with what was asked of Kafka, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decide::liveness::Progress;
use crate::growth::Growth;

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

    fn key(&self) -> (String, i32) {
        (self.topic.clone(), self.partition)
    }
}

/// How old a look may be. While Kafka cannot be read nobody knows whether a position stands still.
const CURRENT: Duration = Duration::from_secs(5);

/// The shards' positions over time.
#[derive(Clone, Debug, Default)]
pub struct Track {
    shards: BTreeMap<u32, (i64, Progress)>,
    /// How fast each log's start moves.
    starts: BTreeMap<(String, i32), Growth>,
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
        self.follow_starts(&partitions, now);
        self.partitions = partitions;
    }

    fn follow_starts(&mut self, partitions: &[PartitionState], now: Duration) {
        let mut known = std::mem::take(&mut self.starts);
        for partition in partitions {
            let key = partition.key();
            let mut growth = known.remove(&key).unwrap_or_else(|| Growth::new(partition.start, now));
            growth.measure(partition.start, now);
            self.starts.insert(key, growth);
        }
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

    /// How soon records that wait are deleted, in seconds, where it is soonest: (position − start) ÷ the records a second
    /// by which the log's start moves. Infinite where nothing waits or the start stands still, 0 where records were
    /// deleted already; None before anything is known.
    pub fn seconds_to_data_loss(&self) -> Option<f64> {
        self.partitions.iter().map(|partition| self.seconds_to_loss_in(partition)).min_by(f64::total_cmp)
    }

    fn seconds_to_loss_in(&self, partition: &PartitionState) -> f64 {
        let Some(position) = partition.position.filter(|_| partition.lag() > 0) else { return f64::INFINITY };
        if position < partition.start {
            return 0.0;
        }
        let pace = self.starts.get(&partition.key()).map_or(0.0, Growth::per_second);
        if pace > 0.0 { (position - partition.start) as f64 / pace } else { f64::INFINITY }
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

    /// Looks once a second, while the log's start moves by this much every ten minutes.
    fn retained(track: &mut Track, seconds: std::ops::Range<u64>, step: i64, position: i64, end: i64) {
        for now in seconds {
            let start = 1_000_000 + (now / 600) as i64 * step;
            let slow =
                PartitionState { topic: "in".into(), partition: 0, shard: 0, position: Some(position), start, end };
            let read = PartitionState { partition: 1, position: Some(start), end: start, ..slow.clone() };
            track.look(vec![slow, read], Duration::from_secs(now));
        }
    }

    #[test]
    fn data_is_lost_when_the_logs_start_reaches_the_position() {
        let mut track = Track::default();
        assert_eq!(track.seconds_to_data_loss(), None);
        retained(&mut track, 0..600, 6_000, 1_100_000, 9_000_000);
        assert_eq!(track.seconds_to_data_loss(), Some(f64::INFINITY), "the start has not moved yet");
        retained(&mut track, 600..36_001, 6_000, 2_000_000, 9_000_000);
        // 10 records a second; the start is at 1,360,000.
        let seconds = track.seconds_to_data_loss().unwrap();
        assert!((55_000.0..70_000.0).contains(&seconds), "{seconds}");
        retained(&mut track, 36_001..36_002, 6_000, 1_360_000, 9_000_000);
        assert_eq!(track.seconds_to_data_loss(), Some(0.0), "what is read next is deleted next");
    }

    #[test]
    fn nothing_is_lost_where_nothing_waits_and_what_is_deleted_is_lost() {
        let mut track = Track::default();
        retained(&mut track, 0..3_000, 6_000, 1_100_000, 1_100_000);
        assert_eq!(track.seconds_to_data_loss(), Some(f64::INFINITY));
        track.look(vec![state(0, None, 30)], Duration::from_secs(3_001));
        assert_eq!(track.seconds_to_data_loss(), Some(f64::INFINITY), "there is no position yet");
        track.look(vec![state(0, Some(9), 30)], Duration::from_secs(3_002));
        assert_eq!(track.seconds_to_data_loss(), Some(0.0), "the start is at 10");
    }
}
