//! Whether this process is alive, and whether it is ready.
//!
//! Alive means: no thread has overrun a deadline that it set itself for work inside our own code. A broker or a
//! database that is slow never counts: a thread leaves its guard before it waits for anybody else. So a restart by the
//! kubelet, which costs a takeover, happens only where it can help.
//!
//! Ready means: every shard of this process runs; a worker of a cluster that could take shards is ready without any. For
//! each shard that does not run it says what it waits for.

mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use self::server::{ServeError, Server};

/// Knows every watched thread and what it is about.
#[derive(Debug, Default)]
pub struct Watchdog {
    threads: Mutex<Vec<Watched>>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    work: Weak<Mutex<Vec<Work>>>,
}

#[derive(Clone, Copy, Debug)]
struct Work {
    what: &'static str,
    since: Instant,
    deadline: Duration,
}

/// Work that has overrun its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The thread's name.
    pub thread: String,
    /// What it does.
    pub what: &'static str,
    /// For how long it has done that.
    pub elapsed: Duration,
    /// How long it should have taken at most.
    pub deadline: Duration,
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, what, elapsed, deadline } = self;
        write!(f, "thread {thread}: {what} has taken {elapsed:.1?}, more than {deadline:.1?}")
    }
}

impl Watchdog {
    /// Watches nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Watches a thread until the handle is dropped.
    pub fn thread(&self, name: &str) -> ThreadWatch {
        let work = Arc::default();
        let mut threads = lock(&self.threads);
        threads.retain(|thread| thread.work.strong_count() > 0);
        threads.push(Watched { name: name.to_owned(), work: Arc::downgrade(&work) });
        ThreadWatch { work }
    }

    /// All work that has overrun its deadline, in the order in which the threads came.
    pub fn overdue(&self) -> Vec<Overdue> {
        let now = Instant::now();
        let threads = lock(&self.threads);
        threads.iter().flat_map(|thread| thread.overdue(now)).collect()
    }
}

impl Watched {
    fn overdue(&self, now: Instant) -> Vec<Overdue> {
        let Some(work) = self.work.upgrade() else { return Vec::new() };
        let works = lock(&work).clone();
        let overdue = works.into_iter().filter_map(|Work { what, since, deadline }| {
            let elapsed = now.saturating_duration_since(since);
            (elapsed > deadline).then(|| Overdue { thread: self.name.clone(), what, elapsed, deadline })
        });
        overdue.collect()
    }
}

/// A watched thread's handle.
#[derive(Debug)]
pub struct ThreadWatch {
    work: Arc<Mutex<Vec<Work>>>,
}

impl ThreadWatch {
    /// Work inside our own code begins, and ends when the guard is dropped; it should take no longer than `deadline`.
    ///
    /// May be nested: each guard is judged by itself. Never hold one while waiting for a broker or a database.
    pub fn enter(&self, what: &'static str, deadline: Duration) -> WorkGuard<'_> {
        let mut works = lock(&self.work);
        works.push(Work { what, since: Instant::now(), deadline });
        WorkGuard { work: &self.work, depth: works.len() - 1 }
    }
}

/// Ends the work when it is dropped.
#[derive(Debug)]
#[must_use = "the work ends when the guard is dropped"]
pub struct WorkGuard<'a> {
    work: &'a Mutex<Vec<Work>>,
    depth: usize,
}

impl Drop for WorkGuard<'_> {
    fn drop(&mut self) {
        lock(self.work).truncate(self.depth);
    }
}

/// What each shard of this process waits for, if anything.
#[derive(Debug, Default)]
pub struct Readiness {
    shards: Mutex<BTreeMap<u32, Option<String>>>,
    prepared: AtomicBool,
}

impl Readiness {
    /// Not ready, since no shard has reported.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// This process can take shards, and is ready also while it has none.
    pub fn prepared(&self) {
        self.prepared.store(true, Ordering::Relaxed);
    }

    /// The shard runs.
    pub fn ready(&self, shard: u32) {
        lock(&self.shards).insert(shard, None);
    }

    /// The shard does not run; `reason` says what it waits for or why it stopped.
    pub fn not_ready(&self, shard: u32, reason: &str) {
        lock(&self.shards).insert(shard, Some(reason.to_owned()));
    }

    /// The shard is no longer of this process.
    pub fn forget(&self, shard: u32) {
        lock(&self.shards).remove(&shard);
    }

    /// Why this process is not ready, a line a reason; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        let shards = lock(&self.shards);
        if shards.is_empty() && !self.prepared.load(Ordering::Relaxed) {
            return vec!["no shard has started yet".into()];
        }
        let waiting = shards.iter().filter_map(|(shard, reason)| Some(format!("shard {shard}: {}", reason.as_ref()?)));
        waiting.collect()
    }
}

/// What these locks guard is valid after every single statement, so a panic of another holder changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn work_is_overdue_only_past_its_deadline_and_until_it_ends() {
        let watchdog = Watchdog::new();
        let shard = watchdog.thread("shard-0");
        assert_eq!(watchdog.overdue(), []);
        {
            let _long = shard.enter("process", Duration::from_hours(1));
            assert_eq!(watchdog.overdue(), []);
            let _short = shard.enter("encode", Duration::ZERO);
            std::thread::sleep(Duration::from_millis(1));
            let overdue = watchdog.overdue();
            assert_eq!(overdue.len(), 1);
            assert_eq!((overdue[0].thread.as_str(), overdue[0].what), ("shard-0", "encode"));
        }
        assert_eq!(watchdog.overdue(), []);
    }

    #[test]
    fn a_thread_that_ended_is_not_watched() {
        let watchdog = Watchdog::new();
        let gone = watchdog.thread("gone");
        drop(gone);
        let _other = watchdog.thread("other");
        assert_eq!(lock(&watchdog.threads).len(), 1);
    }

    #[test]
    fn a_panic_ends_the_work_it_was_in() {
        let watchdog = Watchdog::new();
        let thread = watchdog.thread("shard-0");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _work = thread.enter("process", Duration::ZERO);
            std::panic::resume_unwind(Box::new("planned"));
        }));
        assert!(result.is_err());
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(watchdog.overdue(), []);
    }

    #[test]
    fn ready_when_every_shard_is() {
        let readiness = Readiness::new();
        assert_eq!(readiness.reasons(), ["no shard has started yet"]);
        readiness.not_ready(1, "waiting for topic x");
        readiness.ready(0);
        assert_eq!(readiness.reasons(), ["shard 1: waiting for topic x"]);
        readiness.ready(1);
        assert_eq!(readiness.reasons(), [""; 0]);
        readiness.not_ready(0, "stopped");
        readiness.forget(0);
        assert_eq!(readiness.reasons(), [""; 0]);
        readiness.forget(1);
        assert_eq!(readiness.reasons(), ["no shard has started yet"]);
        readiness.prepared();
        assert_eq!(readiness.reasons(), [""; 0]);
    }

    #[test]
    fn overdue_work_reads_as_a_sentence() {
        let overdue = Overdue {
            thread: "shard-3".into(),
            what: "process",
            elapsed: Duration::from_millis(31_500),
            deadline: Duration::from_secs(30),
        };
        assert_eq!(overdue.to_string(), "thread shard-3: process has taken 31.5s, more than 30.0s");
    }
}
