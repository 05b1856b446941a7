//! Pauses of shards, from the headers of their checkpoints.
//!
//! A pause is the time between two checkpoints of a shard beyond the checkpoint interval, while input waits. Checkpoints
//! are seen as a consumer of committed records sees them: a thread reads the state topic all the time, since headers of
//! the past are compacted away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;

use crate::client::Client;
use crate::header::Header;

/// A checkpoint that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// When it was seen.
    pub at: Instant,
    /// The shard.
    pub shard: i32,
    /// The process that made it.
    pub run: String,
    /// Whether it let the shard go.
    pub released: bool,
}

/// Reads a state topic until it is dropped.
pub struct Watch {
    seen: Arc<Mutex<Vec<Checkpoint>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins with the checkpoints that are to come; the topic must be there.
    pub fn start(client: &Client, application_id: &str) -> Result<Self> {
        let consumer = client.follow(&format!("{application_id}.state"))?;
        let (seen, stop) = (Arc::<Mutex<Vec<Checkpoint>>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(checkpoint) = next(&consumer) {
                    lock(&noted).push(checkpoint);
                }
            }
        });
        Ok(Self { seen, stop, thread: Some(thread.context("the reader of checkpoints")?) })
    }

    /// All that were seen so far, in their order.
    pub fn seen(&self) -> Vec<Checkpoint> {
        lock(&self.seen).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was told already, and checkpoints that are missing make pauses longer, never shorter.
            drop(thread.join());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brokers that are away are an error of the poll, and are back at a later one.
fn next(consumer: &BaseConsumer) -> Option<Checkpoint> {
    let message = consumer.poll(Duration::from_millis(100))?.ok()?;
    let at = Instant::now();
    if message.key() != Some(b"header") {
        return None;
    }
    let header: Header = serde_json::from_slice(message.payload()?).ok()?;
    Some(Checkpoint { at, shard: message.partition(), run: header.run, released: header.released })
}

/// What happened to a shard within a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its longest pause.
    pub pause: Duration,
    /// How often another process went on.
    pub takeovers: usize,
    /// How often it did so without the former one having let go.
    pub forced: usize,
}

/// What happened to each shard between two times, both at least an interval away from the ends of what was seen.
pub fn between(seen: &[Checkpoint], from: Instant, to: Instant, interval: Duration) -> BTreeMap<i32, Shard> {
    let mut shards = BTreeMap::new();
    let mut last: BTreeMap<i32, &Checkpoint> = BTreeMap::new();
    for now in seen {
        if let Some(before) = last.insert(now.shard, now)
            && now.at > from
            && before.at < to
        {
            let shard: &mut Shard = shards.entry(now.shard).or_default();
            shard.pause = shard.pause.max((now.at - before.at).saturating_sub(interval));
            if now.run != before.run {
                shard.takeovers += 1;
                shard.forced += usize::from(!before.released);
            }
        }
    }
    shards
}

/// The value that so large a share of the others does not exceed; zero if there are none.
pub fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    // The nearest rank: the smallest value with at least this share at or below it.
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    fn checkpoints(start: Instant, of: &[(u64, i32, &str, bool)]) -> Vec<Checkpoint> {
        of.iter()
            .map(|(at, shard, run, released)| Checkpoint {
                at: start + Duration::from_millis(*at),
                shard: *shard,
                run: (*run).to_owned(),
                released: *released,
            })
            .collect()
    }

    #[test]
    fn a_pause_is_a_gap_beyond_the_interval_that_touches_the_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let seen = checkpoints(
            start,
            &[
                (0, 0, "a", false),
                (0, 1, "b", false),
                (1000, 0, "a", true),
                (1200, 1, "b", false),
                (1900, 0, "b", false),
                (3500, 1, "c", false),
                (9000, 0, "b", false),
            ],
        );
        let shards = between(&seen, at(1100), at(2000), INTERVAL);
        // From 1900 to 9000 the gap has begun within the time, so it belongs to it.
        assert_eq!(shards[&0], Shard { pause: Duration::from_millis(6850), takeovers: 1, forced: 0 });
        assert_eq!(shards[&1], Shard { pause: Duration::from_millis(2050), takeovers: 1, forced: 1 });
        let before = between(&seen, at(0), at(900), INTERVAL);
        assert_eq!(before[&0], Shard { pause: Duration::from_millis(750), takeovers: 0, forced: 0 });
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&values[..1], 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
