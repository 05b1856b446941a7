//! A Pipeline's positions and ends, asked of Kafka itself: they are there when a worker is not.
//!
//! One observer a Pipeline, a thread of its own since Kafka's client blocks; owned by the Pipeline's memory and ended
//! with it. It only looks: with the pipeline's own connection, never as a member of its group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream::kafka::{Admin, ClientConfig, Consumer, Isolation, KafkaError, OffsetSpec, SecretStore};
use millstream::metrics::Metrics as ClientMetrics;
use millstream::plan::CompiledPipeline;
use millstream::plan::pipeline::Topics;
use millstream::records::TopicPartition;
use millstream::shard::placement::shard_of;

use crate::progress::{PartitionState, Track};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often topics and their partitions are asked for.
const TOPICS: Duration = Duration::from_secs(15);
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(30);
/// How long the committed offsets are waited for.
const WAIT: Duration = Duration::from_secs(5);
/// The buffers of a consumer that fetches nothing.
const SMALL: u64 = 1 << 16;

/// A manifest that has compiled in a confined child, compiled here for its connections and topics.
pub fn compiled(manifest: &str) -> Option<CompiledPipeline> {
    let documents = millstream::plan::manifest::read("pipeline.yaml", manifest).ok()?;
    Some(millstream::plan::compile(documents.first()?).ok()?.pipeline)
}

/// What Kafka says about a Pipeline.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Positions over time.
    pub track: Track,
    /// When they were last seen.
    pub at: Option<Instant>,
    /// Why they cannot be seen now.
    pub error: Option<String>,
}

/// Looks at a Pipeline's positions. Dropping it ends it.
#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Begins to look; `epoch` is what times are counted from.
    pub fn start(
        pipeline: CompiledPipeline,
        secrets: SecretStore,
        shards: u32,
        epoch: Instant,
    ) -> std::io::Result<Self> {
        let (seen, ended) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let look = Look { pipeline, secrets, shards, epoch, seen: Arc::clone(&seen), ended: Arc::clone(&ended) };
        let thread = std::thread::Builder::new().name("kafka-observer".to_owned()).spawn(move || look.run())?;
        Ok(Self { seen, ended, thread: Some(thread) })
    }

    /// What was seen last.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends by itself, after a question that may wait for a broker; nobody here has the time.
            thread.thread().unpark();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Look {
    pipeline: CompiledPipeline,
    secrets: SecretStore,
    shards: u32,
    epoch: Instant,
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
}

/// The clients, and the partitions that they are asked about.
struct Clients {
    admin: Admin,
    consumer: Consumer,
    partitions: Vec<TopicPartition>,
    asked: Option<Instant>,
}

impl Look {
    fn run(&self) {
        let (mut clients, mut wait) = (None, LOOK);
        while !self.ended.load(Ordering::Acquire) {
            match self.look(&mut clients) {
                Ok(()) => wait = LOOK,
                Err(why) => {
                    lock(&self.seen).error = Some(why);
                    wait = (wait * 2).min(LONGEST);
                }
            }
            std::thread::park_timeout(wait);
        }
    }

    fn look(&self, clients: &mut Option<Clients>) -> Result<(), String> {
        let found = match clients.take() {
            Some(found) => found,
            None => self.connect()?,
        };
        let found = clients.insert(found);
        if found.asked.is_none_or(|asked| asked.elapsed() >= TOPICS) {
            found.partitions = self.partitions(&found.admin).map_err(|error| error.to_string())?;
            found.asked = Some(Instant::now());
        }
        let states = self.states(found).map_err(|error| error.to_string())?;
        let mut seen = lock(&self.seen);
        seen.track.look(states, self.epoch.elapsed());
        (seen.at, seen.error) = (Some(Instant::now()), None);
        Ok(())
    }

    fn connect(&self) -> Result<Clients, String> {
        let connection = &self.pipeline.connections[self.pipeline.home()];
        let config = ClientConfig::resolve(connection, &self.secrets).map_err(|error| error.to_string())?;
        let name = format!("millstream.{}.operator", self.pipeline.application_id);
        let metrics = ClientMetrics::new(&self.pipeline.name);
        let admin = Admin::new(&config, &name, Arc::clone(&metrics)).map_err(|error| error.to_string())?;
        let consumer = Consumer::new(&config, &name, &self.pipeline.application_id, SMALL, SMALL, metrics);
        let consumer = consumer.map_err(|error| error.to_string())?;
        Ok(Clients { admin, consumer, partitions: Vec::new(), asked: None })
    }

    fn partitions(&self, admin: &Admin) -> Result<Vec<TopicPartition>, KafkaError> {
        let mut names = Vec::new();
        for (index, source) in self.pipeline.sources.iter().enumerate() {
            match &source.topics {
                Topics::List(list) => names.extend(list.iter().cloned()),
                Topics::Pattern(_) => {
                    let all = admin.topic_names()?;
                    names.extend(all.into_iter().filter(|name| self.pipeline.pattern_matches(index, name)));
                }
            }
        }
        let mut partitions = Vec::new();
        for (name, described) in admin.describe_topics(&names)? {
            // A topic that is missing has nothing to read; its worker says so.
            let Ok(described) = described else { continue };
            let topic: Arc<str> = name.as_str().into();
            partitions.extend(
                (0..described.partitions as i32)
                    .map(|partition| TopicPartition { topic: Arc::clone(&topic), partition }),
            );
        }
        Ok(partitions)
    }

    fn states(&self, clients: &Clients) -> Result<Vec<PartitionState>, KafkaError> {
        let ask = |spec| clients.admin.list_offsets(&clients.partitions, spec, Isolation::ReadCommitted);
        let (starts, ends) = (ask(OffsetSpec::Earliest)?, ask(OffsetSpec::Latest)?);
        let committed = clients.consumer.committed(&clients.partitions, WAIT)?;
        let mut states = Vec::with_capacity(clients.partitions.len());
        for ((partition, start), end) in clients.partitions.iter().zip(starts).zip(ends) {
            let (Ok(start), Ok(end)) = (start, end) else { continue };
            let position = committed.iter().find(|place| place.partition == *partition).map(|place| place.offset);
            states.push(PartitionState {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                shard: shard_of(&partition.topic, partition.partition, self.shards),
                position: position.filter(|position| *position >= 0),
                start,
                end,
            });
        }
        Ok(states)
    }
}
