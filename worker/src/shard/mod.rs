//! The loop of a shard: poll → process → checkpoint; takeover.
