//! How much memory a shard's buffers may take: it follows from the container's limit, over all shards of the worker.

use std::path::Path;

/// What is shared among shards if nothing limits the process. More made nothing quicker, and less takes more and smaller
/// requests.
const DEFAULT_TOTAL: u64 = 64 << 20;

/// The most that waits to be written. librdkafka sends one batch a partition at a time, and polls without a pause while
/// another full one waits: a longer queue costs CPU and gains nothing.
const MAX_QUEUE: u64 = 6 << 20;

/// The buffers of one shard, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Fetched ahead.
    pub prefetch: u64,
    /// Waiting to be written.
    pub queue: u64,
    /// One batch, as it is fetched; decoded and encoded it takes several times as much.
    pub batch: u64,
    /// Output of one transaction, after which a checkpoint is made early.
    pub transaction: u64,
}

impl Budget {
    /// The share of each of `shards` in `limit` bytes, or in what the container allows.
    pub fn of(limit: Option<u64>, shards: u32) -> Self {
        // Half of the limit: code, client metadata, and the columns that a batch becomes need the rest.
        let total = limit.or_else(container_limit).map_or(DEFAULT_TOTAL, |limit| limit / 2);
        let share = total / u64::from(shards.max(1));
        // librdkafka counts payload; a small record takes some four times as much there with its bookkeeping.
        Self {
            prefetch: (share / 10).max(1 << 20),
            queue: (share / 10).clamp(1 << 20, MAX_QUEUE),
            batch: (share / 40).clamp(64 << 10, 2 << 20),
            transaction: 256 << 20,
        }
    }
}

/// The limit of the process' control group, version 2 or 1.
fn container_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().find_map(|file| read_limit(Path::new(file)))
}

fn read_limit(file: &Path) -> Option<u64> {
    let limit: u64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    // Version 1 says "none" by a number near 2^63.
    (limit < 1 << 50).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_together_stay_within_the_limit() {
        for shards in [1, 4, 12, 32] {
            let limit = 512 << 20;
            let budget = Budget::of(Some(limit), shards);
            let total = u64::from(shards) * 4 * (budget.prefetch + budget.queue + budget.batch);
            assert!(total <= limit, "{shards} shards: {budget:?}");
        }
    }
}
