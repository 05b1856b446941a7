//! The input of a pipeline under faults: every id once, and aborted records that must never be seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use rdkafka::producer::Producer;

use super::PARTITIONS;
use crate::client::{Client, Record, Writer};
use crate::suite::Case;

/// One record in so many cannot be read.
const BAD: u64 = 97;
/// One record in so many is [`OLD_BY`] old.
const OLD: u64 = 53;
/// Older than the limit that a fault sets on the output topic.
const OLD_BY: Duration = Duration::from_hours(2);
/// Records a second, at most: so that an allotment lasts about as long as its fault.
const RATE: u64 = 8_000;
/// Records a second beyond the allotment: so that a slow recovery is seen to have recovered.
const TRICKLE: u64 = 100;
/// The time between two portions.
const PORTION: Duration = Duration::from_millis(20);

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Input {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Records in all.
    pub records: u64,
}

impl Input {
    /// The number of ids of each partition, which the oracle takes for the sources.
    pub fn counts(&self) -> Vec<u64> {
        let all = self.partitions as u64;
        (0..all).map(|own| self.records / all + u64::from(own < self.records % all)).collect()
    }

    /// Record `n`.
    fn record(&self, n: u64) -> Record {
        let all = self.partitions as u64;
        let (partition, sequence) = ((n % all) as i32, n / all);
        let amount = if n.is_multiple_of(BAD) { "many".to_owned() } else { sequence.to_string() };
        let mut record = Record::new(&self.topic, format!("{partition},{sequence},{amount}")).to(partition);
        if partition % 2 == 1 {
            record = record.key(format!("key-{}", sequence % 1000));
        }
        if n.is_multiple_of(OLD) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            record = record.at(now.saturating_sub(OLD_BY).as_millis() as i64);
        }
        record
    }
}

/// The number of records that cannot be read.
pub fn bad(records: u64) -> u64 {
    records.div_ceil(BAD)
}

/// How far the input may go, and how far it is.
#[derive(Default)]
struct Progress {
    allotted: AtomicU64,
    written: AtomicU64,
    unlimited: AtomicBool,
}

impl Progress {
    /// How many records may come now, `next` being the next one.
    fn portion(&self, next: u64) -> u64 {
        if self.unlimited.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        let rate = if next < self.allotted.load(Ordering::Relaxed) { RATE } else { TRICKLE };
        rate * PORTION.as_millis() as u64 / 1000
    }
}

/// A thread that writes the input; it ends when all is written.
pub struct Feed {
    records: u64,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Feed {
    /// Starts to write.
    pub fn start(client: &Client, input: Input) -> Result<Self> {
        let writer = client.writer(&[("message.timeout.ms", "600000")])?;
        let records = input.records;
        let progress = Arc::new(Progress::default());
        let shared = Arc::clone(&progress);
        let thread = thread::spawn(move || {
            // Told at once: who waits for its records would learn of it late, or never.
            write(&writer, &input, &shared).inspect_err(|error| eprintln!("the input ends early: {error:#}"))
        });
        Ok(Self { records, progress, thread: Some(thread) })
    }

    /// Allots an equal share of the rest to a fault, `left` more of which are to come.
    pub fn allot(&self, left: usize) {
        let written = self.progress.written.load(Ordering::Relaxed);
        let share = (self.records - written) / (left as u64 + 2);
        self.progress.allotted.store(written + share, Ordering::Relaxed);
    }

    /// Lets the rest come at full speed and waits until it is written.
    pub fn finish(mut self) -> Result<()> {
        self.progress.unlimited.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the feed panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Also when a fault was not survived: the thread must come to its end.
        self.progress.unlimited.store(true, Ordering::Relaxed);
    }
}

fn write(writer: &Writer, input: &Input, progress: &Progress) -> Result<()> {
    let mut next = 0;
    while next < input.records {
        let end = next.saturating_add(progress.portion(next)).min(input.records);
        for n in next..end {
            Client::send(writer, &input.record(n))?;
        }
        next = end;
        progress.written.store(next, Ordering::Relaxed);
        writer.context().check()?;
        thread::sleep(PORTION);
    }
    Client::flush(writer)
}

/// A thread that writes transactions into the input and aborts them. Its own failures do not matter.
pub(super) struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    pub(super) fn start(case: &Case<'_>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic) = (Arc::clone(&stop), case.topic("in"));
        let client = Client::new(case.client.bootstrap())?;
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let records = (0..20).map(|n| Record::new(&topic, format!("99,{n},0")).to(n % PARTITIONS));
                // A broker that is down now is up again in a moment.
                drop(client.write_transaction(&format!("{topic}.noise"), false, records));
                thread::sleep(Duration::from_millis(700));
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the noise panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
