//! Which shard a source partition belongs to: (murmur2(topic) + partition) mod S.
//!
//! Stable for ever, since headers and state are where they are because of it.

use crate::kafka::murmur2;

/// The shard of a partition, of `shards`.
pub fn shard_of(topic: &str, partition: i32, shards: u32) -> u32 {
    let start = u64::from(murmur2::positive(topic.as_bytes()));
    let sum = start + u64::from(partition.unsigned_abs());
    (sum % u64::from(shards.max(1))) as u32
}

/// The default number of shards: the partitions of the largest source topic, at most 32.
pub fn default_shards(partition_counts: impl Iterator<Item = u32>) -> u32 {
    partition_counts.max().unwrap_or(1).clamp(1, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: a change here moves partitions of running pipelines to shards that do not have their positions.
    #[test]
    fn placement_never_changes() {
        let cases = [("orders", 0, 4), ("orders", 1, 4), ("orders", 7, 4), ("sensor_data", 0, 12), ("a.b-c_d", 31, 32)];
        let shards: Vec<u32> = cases.iter().map(|(topic, p, s)| shard_of(topic, *p, *s)).collect();
        assert_eq!(shards, GOLDEN);
    }

    /// Computed from Kafka's murmur2 by another program.
    const GOLDEN: [u32; 5] = [0, 1, 3, 8, 11];

    #[test]
    fn partitions_of_a_topic_are_spread_evenly() {
        let mut counts = [0; 5];
        for partition in 0..20 {
            counts[shard_of("t", partition, 5) as usize] += 1;
        }
        assert_eq!(counts, [4; 5]);
        assert_eq!(default_shards([3, 12].into_iter()), 12);
        assert_eq!(default_shards([300].into_iter()), 32);
        assert_eq!(default_shards(std::iter::empty()), 1);
    }
}
