//! What a process costs, seen from outside: the kernel's accounts of it, and its progress as the broker sees it.
//!
//! CPU time is read from `/proc` while the process runs, and once more when it has ended and has not been waited for:
//! then the account is complete. Nothing is asked of the process itself, so that every program is measured in the same
//! way and pays nothing for it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream_tests::wait;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const TIMEOUT: Duration = Duration::from_secs(30);
/// The time between two samples.
const PAUSE: Duration = Duration::from_millis(100);
/// The time between two looks for the first commit: at first, and later a hundredth of what has passed. The broker's
/// part in it is counted, and engines that take long to start would have it answer more.
const SHORT: Duration = Duration::from_millis(5);
/// How long a process may write nothing.
const QUIET: Duration = Duration::from_mins(2);
/// `/proc` counts in hundredths of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// The ends of a topic as clients see them.
pub struct Ends {
    topic: String,
    partitions: i32,
    all: BaseConsumer,
    committed: BaseConsumer,
}

impl Ends {
    /// A view of a new topic's ends, once its partitions have leaders.
    pub fn new(bootstrap: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer = |level: &str| {
            ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .set("isolation.level", level)
                .create::<BaseConsumer>()
        };
        let (all, committed) = (consumer("read_uncommitted")?, consumer("read_committed")?);
        let ends = Self { topic: topic.into(), partitions, all, committed };
        wait::until(&format!("topic {topic} to be ready"), TIMEOUT, || {
            Ok(ends.written().and(ends.has_committed()).ok())
        })?;
        Ok(ends)
    }

    /// Offsets written, in transactions that are still open, too; counts commit markers as well.
    pub fn written(&self) -> Result<i64> {
        self.sum(&self.all)
    }

    /// Whether a committed record is there.
    pub fn has_committed(&self) -> Result<bool> {
        Ok(self.sum(&self.committed)? > 0)
    }

    fn sum(&self, consumer: &BaseConsumer) -> Result<i64> {
        (0..self.partitions).map(|partition| Ok(consumer.fetch_watermarks(&self.topic, partition, TIMEOUT)?.1)).sum()
    }
}

/// CPU time and progress at some moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    cpu: Duration,
    written: i64,
}

/// What a run has cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// From the start of the process to its end.
    pub wall: Duration,
    /// User and system time of all of it.
    pub cpu: Duration,
    /// The highest resident size, in bytes.
    pub peak_rss: u64,
    /// From the start of the process to the first committed record.
    pub first_commit: Option<Duration>,
    samples: Vec<Sample>,
}

impl Cost {
    /// CPU time and time of the middle part, and how large a part it is: from 30 to 95 percent of the output, where
    /// start and end do not count.
    pub fn steady(&self) -> Option<(Duration, Duration, f64)> {
        let total = self.samples.last()?.written;
        let share = |sample: &Sample| sample.written as f64 / total as f64;
        let first = self.samples.iter().find(|sample| share(sample) >= 0.3)?;
        let last = self.samples.iter().rev().find(|sample| share(sample) <= 0.95)?;
        let time = last.at.checked_sub(first.at).filter(|time| !time.is_zero())?;
        Some((last.cpu.saturating_sub(first.cpu), time, share(last) - share(first)))
    }
}

/// Follows a process to its end. It must not be waited for meanwhile.
pub fn follow(id: u32, ends: &Ends) -> Result<Cost> {
    let start = Instant::now();
    let mut cost =
        Cost { wall: Duration::ZERO, cpu: Duration::ZERO, peak_rss: 0, first_commit: None, samples: Vec::new() };
    let (mut last, mut moved) = (0, start);
    loop {
        let process = Process::read(id)?;
        let written = ends.written()?;
        cost.peak_rss = cost.peak_rss.max(process.peak_rss);
        cost.samples.push(Sample { at: start.elapsed(), cpu: process.cpu, written });
        if process.ended {
            (cost.wall, cost.cpu) = (start.elapsed(), process.cpu);
            return Ok(cost);
        }
        if cost.first_commit.is_none() && written > 0 && ends.has_committed()? {
            cost.first_commit = Some(start.elapsed());
        }
        if written > last {
            (last, moved) = (written, Instant::now());
        }
        ensure!(
            moved.elapsed() < QUIET,
            "it has not ended, and written nothing for {QUIET:?}, {written} offsets so far"
        );
        thread::sleep(if cost.first_commit.is_none() { (start.elapsed() / 100).clamp(SHORT, PAUSE) } else { PAUSE });
    }
}

/// The kernel's account of a process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// User and system time.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
    /// Resident size in bytes.
    pub rss: u64,
    /// The highest so far.
    pub peak_rss: u64,
    ended: bool,
}

impl Process {
    /// Reads it.
    pub fn read(id: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The program's name stands in brackets and may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("no name")?.1.split(' ').collect();
        let ticks = |place: usize| -> Result<u32> { Ok(fields.get(place).context("a short line")?.parse()?) };
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Self {
            cpu: TICK * (ticks(11)? + ticks(12)?),
            threads: number("Threads:").unwrap_or_default(),
            rss: number("VmRSS:").unwrap_or_default() * 1024,
            peak_rss: number("VmHWM:").unwrap_or_default() * 1024,
            ended: matches!(fields.first(), Some(&("Z" | "X"))),
        })
    }
}

/// Open TCP connections of a process: its sockets among those that the kernel lists as established.
pub fn connections(id: u32) -> Result<usize> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{id}/fd"))? {
        // A descriptor may be closed between the listing and the look.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        sockets.extend(target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
    }
    let mut established = 0;
    for table in ["tcp", "tcp6"] {
        let lines = fs::read_to_string(format!("/proc/{id}/net/{table}"))?;
        let fields = lines.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        // 01 is ESTABLISHED; the tenth field is the inode.
        established += fields
            .filter(|fields| fields.get(3) == Some(&"01"))
            .filter(|fields| fields.get(9).is_some_and(|inode| sockets.iter().any(|socket| socket == inode)))
            .count();
    }
    Ok(established)
}

/// Counts the committed records of a topic, as another reader sees them.
pub fn count(bootstrap: &str, topic: &str, partitions: i32) -> Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "benchmark")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut records, mut open) = (0, partitions);
    let mut heard = Instant::now();
    while open > 0 {
        match consumer.poll(TIMEOUT) {
            Some(Ok(_)) => records += 1,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error.into()),
            None => ensure!(heard.elapsed() < TIMEOUT, "topic {topic} cannot be read to its end"),
        }
        heard = Instant::now();
    }
    Ok(records)
}
