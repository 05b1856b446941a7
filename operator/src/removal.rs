//! Clears Kafka of a Pipeline that is being deleted: a thread of its own, since Kafka's client blocks.
//!
//! Owned by the memory of the Pipeline's deletion, and ended with it. What does not succeed is tried again with growing
//! waits, for as long as somebody owns it; when that is too long is decided elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream::kafka::SecretStore;
use millstream::plan::CompiledPipeline;
use millstream::shard::removal::{Removal, RemovalError, Removed, Stage};

use crate::decide::deletion::Kafka;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(30);

/// Whose traces are to go.
#[derive(Debug)]
pub struct Job {
    /// The pipeline.
    pub pipeline: CompiledPipeline,
    /// The Pipeline's uid.
    pub uid: String,
    /// The secrets of its connections.
    pub secrets: SecretStore,
}

/// Clears Kafka. Dropping it ends it, behind the question that is being asked.
#[derive(Debug)]
pub struct Remover {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    progress: Mutex<Progress>,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    stage: Stage,
    /// Where it did not go on, and why; until it does.
    failed: Option<(Stage, String)>,
    removed: Option<Removed>,
}

impl Remover {
    /// Begins.
    pub fn start(job: Job) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let run = move || run(&job, &of_thread);
        let thread = std::thread::Builder::new().name("kafka-remover".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How far it is.
    pub fn kafka(&self) -> Kafka {
        self.shared.progress().kafka()
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends by itself, after a question that may wait for a broker; nobody here has the time.
            thread.thread().unpark();
        }
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

impl Progress {
    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        // Each attempt comes by where the one before ended; only behind that it is better than before.
        self.failed.take_if(|(at, _)| stage > *at);
    }

    fn fail(&mut self, why: String) {
        self.failed = Some((self.stage, why));
    }

    fn kafka(&self) -> Kafka {
        match (&self.removed, &self.failed) {
            (Some(Removed::All), _) => Kafka::Cleared { group: None },
            (Some(Removed::AllButGroup(why)), _) => Kafka::Cleared { group: Some(why.clone()) },
            (Some(Removed::Foreign { uid }), _) => Kafka::Foreign { uid: uid.clone() },
            (None, Some((_, why))) => Kafka::Blocked(why.clone()),
            (None, None) => Kafka::UnderWay(self.stage.to_string()),
        }
    }
}

fn run(job: &Job, shared: &Shared) {
    let (mut removal, mut wait) = (None, FIRST);
    while shared.goes_on() {
        match attempt(job, &mut removal, shared) {
            Ok(removed) => {
                shared.progress().removed = Some(removed);
                return;
            }
            Err(RemovalError::Stopped) => return,
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(pipeline = job.pipeline.name, "Kafka cannot be cleared: {why}; trying again");
                shared.progress().fail(why);
            }
        }
        std::thread::park_timeout(wait);
        wait = (wait * 2).min(LONGEST);
    }
}

/// The clients are kept from one attempt to the next.
fn attempt(job: &Job, removal: &mut Option<Removal>, shared: &Shared) -> Result<Removed, RemovalError> {
    shared.progress().stage = Stage::Connecting;
    let found = match removal.take() {
        Some(found) => found,
        None => Removal::new(job.pipeline.clone(), &job.secrets, &job.uid)?,
    };
    removal.insert(found).run(&|stage| {
        shared.progress().enter(stage);
        shared.goes_on()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_until_it_is_past() {
        let fencing = |done| Stage::Fencing { done, shards: 4 };
        let blocked = |why: &str| Kafka::Blocked(why.to_owned());
        let mut progress = Progress::default();
        assert_eq!(progress.kafka(), Kafka::UnderWay("asking Kafka for the state topic".into()));
        progress.fail("no broker".into());
        assert_eq!(progress.kafka(), blocked("no broker"));
        progress.enter(Stage::Looking);
        assert_eq!(progress.kafka(), Kafka::UnderWay("reading the headers".into()));
        progress.enter(fencing(1));
        progress.fail("denied".into());
        for stage in [Stage::Looking, fencing(1)] {
            progress.enter(stage);
            assert_eq!(progress.kafka(), blocked("denied"), "{stage:?} came before");
        }
        progress.enter(fencing(2));
        assert_eq!(progress.kafka(), Kafka::UnderWay("fencing the shards: 2 of 4".into()));
    }

    #[test]
    fn the_end_counts_whatever_failed_before() {
        let ended = |removed| {
            Progress { removed: Some(removed), failed: Some((Stage::Looking, "x".into())), stage: Stage::Deleting }
                .kafka()
        };
        assert_eq!(ended(Removed::All), Kafka::Cleared { group: None });
        assert_eq!(ended(Removed::AllButGroup("no".into())), Kafka::Cleared { group: Some("no".into()) });
        assert_eq!(ended(Removed::Foreign { uid: "u".into() }), Kafka::Foreign { uid: "u".into() });
    }
}
