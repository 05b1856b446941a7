//! Where a shard goes on: a pure decision from its header and the topics there are.

use std::sync::Arc;

use super::header::Header;
use super::placement::shard_of;
use crate::plan::pipeline::{Mode, OnDataLoss, StartFrom};
use crate::records::TopicPartition;

/// A source topic as the cluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// The source it belongs to.
    pub source: usize,
    /// Where it is first read from.
    pub start_from: StartFrom,
    /// What happens when a position is gone.
    pub on_data_loss: OnDataLoss,
    /// Whether a pattern found it, not a name in the manifest.
    pub by_pattern: bool,
}

/// Where a partition is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A position of the header.
    At {
        /// The next offset.
        offset: i64,
        /// The leader epoch of the record before.
        leader_epoch: i32,
    },
    /// What `startFrom` says.
    First(StartFrom),
    /// The position is gone; the text says why.
    Lost(String),
}

/// A partition of the shard, and where it is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The partition.
    pub partition: TopicPartition,
    /// The source it belongs to.
    pub source: usize,
    /// Where it is read from.
    pub start: Start,
    /// What happens if that is gone.
    pub on_data_loss: OnDataLoss,
    /// With Batch: the end that was fixed at the first start.
    pub end: Option<i64>,
}

/// Every partition of a shard with its start.
///
/// - No header: what `startFrom` says.
/// - A position in the header: that, unless the topic has another id since.
/// - A known topic with more partitions than the header knows: the new ones from their beginning; with Batch they are
///   left out, since its ends are fixed.
/// - A topic that the header does not know: what `startFrom` says if the manifest names it, its beginning if a
///   pattern found it.
pub fn plan(shard: u32, shards: u32, topics: &[SourceTopic], header: Option<&Header>, mode: Mode) -> Vec<Planned> {
    let mut planned = Vec::new();
    for topic in topics {
        for partition in 0..topic.partitions as i32 {
            if shard_of(&topic.name, partition, shards) == shard {
                planned.extend(plan_partition(topic, partition, header, mode));
            }
        }
    }
    planned
}

fn plan_partition(topic: &SourceTopic, partition: i32, header: Option<&Header>, mode: Mode) -> Option<Planned> {
    let planned = |start, end| {
        Some(Planned {
            partition: TopicPartition { topic: Arc::clone(&topic.name), partition },
            source: topic.source,
            start,
            on_data_loss: topic.on_data_loss,
            end,
        })
    };
    let Some(header) = header else { return planned(Start::First(topic.start_from), None) };
    let Some(known) = header.topic(&topic.name) else {
        let first = if topic.by_pattern { StartFrom::Earliest } else { topic.start_from };
        return planned(Start::First(first), None);
    };
    let position = header.partition(&topic.name, partition);
    if known.id != topic.id {
        let why = format!("the topic was deleted and made again: its id was {}, now it is {}", known.id, topic.id);
        return planned(Start::Lost(why), position.and_then(|p| p.end));
    }
    match position {
        Some(p) => planned(Start::At { offset: p.offset, leader_epoch: p.leader_epoch }, p.end),
        None if mode == Mode::Batch => None,
        None => planned(Start::First(StartFrom::Earliest), None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::shard::header::{HeaderPartition, HeaderTopic, VERSION};

    fn topic(name: &str, id: &str, partitions: u32, by_pattern: bool) -> SourceTopic {
        SourceTopic {
            name: name.into(),
            id: id.into(),
            partitions,
            source: 0,
            start_from: StartFrom::Latest,
            on_data_loss: OnDataLoss::Fail,
            by_pattern,
        }
    }

    fn header(end: Option<i64>) -> Header {
        Header {
            version: VERSION,
            sequence: 3,
            uid: "local".into(),
            shards: 1,
            run: String::new(),
            generation: 0,
            released: false,
            chain: String::new(),
            complete: false,
            topics: vec![HeaderTopic { name: "known".into(), id: "A".into(), partitions: 1 }],
            partitions: vec![HeaderPartition {
                topic: 0,
                partition: 0,
                offset: 42,
                leader_epoch: 5,
                watermark: None,
                end,
            }],
        }
    }

    fn starts(topics: &[SourceTopic], header: Option<&Header>, mode: Mode) -> Vec<(i32, Start)> {
        plan(0, 1, topics, header, mode).into_iter().map(|p| (p.partition.partition, p.start)).collect()
    }

    #[test]
    fn a_first_start_follows_start_from() {
        let first = Start::First(StartFrom::Latest);
        assert_eq!(starts(&[topic("a", "A", 2, false)], None, Mode::Streaming), [(0, first.clone()), (1, first)]);
    }

    #[test]
    fn the_header_counts_and_new_partitions_begin_at_their_beginning() {
        let at = Start::At { offset: 42, leader_epoch: 5 };
        let grown = [topic("known", "A", 2, false)];
        let expected = [(0, at.clone()), (1, Start::First(StartFrom::Earliest))];
        assert_eq!(starts(&grown, Some(&header(None)), Mode::Streaming), expected);
        assert_eq!(starts(&grown, Some(&header(Some(50))), Mode::Batch), [(0, at)]);
        assert_eq!(plan(0, 1, &grown, Some(&header(Some(50))), Mode::Batch)[0].end, Some(50));
    }

    #[test]
    fn topics_new_in_the_manifest_follow_start_from_and_those_of_a_pattern_begin_at_their_beginning() {
        let new = |by_pattern| starts(&[topic("new", "B", 1, by_pattern)], Some(&header(None)), Mode::Streaming);
        assert_eq!(new(false), [(0, Start::First(StartFrom::Latest))]);
        assert_eq!(new(true), [(0, Start::First(StartFrom::Earliest))]);
    }

    #[test]
    fn another_topic_of_the_same_name_is_a_loss() {
        let found = starts(&[topic("known", "Z", 1, false)], Some(&header(None)), Mode::Streaming);
        assert!(matches!(&found[0].1, Start::Lost(why) if why.contains("its id was A, now it is Z")), "{found:?}");
    }

    #[test]
    fn every_partition_has_one_shard() {
        let topics = [topic("a", "A", 7, false), topic("b", "B", 5, false)];
        let mut all: Vec<_> = (0..4).flat_map(|shard| plan(shard, 4, &topics, None, Mode::Streaming)).collect();
        all.sort_by(|x, y| x.partition.cmp(&y.partition));
        all.dedup_by(|x, y| x.partition == y.partition);
        assert_eq!(all.len(), 12);
    }
}
