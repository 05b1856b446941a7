//! What has to be known and made before the first shard can start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory::Budget;
use super::ownership::Ownership;
use super::placement::default_shards;
use super::rotation::{AfterDenial, LOOK_EVERY, Rotation};
use super::runner::RunOptions;
use super::shared::{Confirm, PositionBoard, Shared, StopFlag};
use super::state_topic::{create, describe, verify};
use super::status::{ShardState, StatusBoard};
use super::topology::TopologyCell;
use super::watcher::{TopicWatcher, cluster_id};
use crate::health::Watchdog;
use crate::kafka::{Admin, KafkaError, TopicDescription};
use crate::metrics::Metrics;
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::{Delivery, state_topic};

/// What a run begins with.
#[derive(Debug)]
pub struct Prepared {
    /// The pipeline.
    pub pipeline: Arc<CompiledPipeline>,
    /// Its options.
    pub options: RunOptions,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Watches our own code.
    pub watchdog: Arc<Watchdog>,
    /// Whether to stop.
    pub stop: Arc<StopFlag>,
    /// What shards are doing.
    pub status: Arc<StatusBoard>,
}

/// Why preparing did not succeed.
enum Unready {
    /// Brokers refuse the user, the certificate, or what they may do.
    Denied(KafkaError),
    /// Something else that waiting does not mend, in words for a person.
    Stop(String),
}

impl From<KafkaError> for Unready {
    fn from(error: KafkaError) -> Self {
        if error.is_denied() { Self::Denied(error) } else { Self::Stop(error.to_string()) }
    }
}

impl From<String> for Unready {
    fn from(why: String) -> Self {
        Self::Stop(why)
    }
}

/// What the shards share, and the watcher to be started.
type Ready = (Arc<Shared>, TopicWatcher);

/// What the shards share, and the watcher to be started; None if somebody asked to stop. An error is for a person.
///
/// The secrets are read at the beginning, and again when brokers refuse what was made of them.
pub fn prepare(prepared: &Prepared) -> Result<Option<Ready>, String> {
    prepared.status.expect(1);
    let rotation = Arc::new(Rotation::open(prepared)?);
    loop {
        let used = rotation.version();
        let error = match prepare_with(prepared, &rotation) {
            Ok(ready) => return Ok(ready),
            Err(Unready::Stop(why)) => return Err(why),
            Err(Unready::Denied(error)) => error,
        };
        match rotation.after_denial(used, &error) {
            AfterDenial::Again => {}
            AfterDenial::Later(why) => {
                waiting(prepared, why);
                if prepared.stop.sleep(LOOK_EVERY) {
                    return Ok(None);
                }
            }
            AfterDenial::Stop(why) => return Err(why),
        }
    }
}

fn prepare_with(prepared: &Prepared, rotation: &Arc<Rotation>) -> Result<Option<Ready>, Unready> {
    if !check_clusters(prepared, &rotation.newest().admins)? {
        return Ok(None);
    }
    let topology = Arc::new(TopologyCell::default());
    let (pipeline, embedded) = (Arc::clone(&prepared.pipeline), prepared.options.embedded);
    let mut watcher = TopicWatcher::new(Arc::clone(&pipeline), Arc::clone(rotation), Arc::clone(&topology), embedded);
    let Some(shards) = shards(prepared, rotation, &mut watcher, &topology)? else { return Ok(None) };
    match prepared.options.assigned {
        Some(_) => start_without_shards(prepared),
        None => prepared.status.expect(shards),
    }
    prepared.status.set_count(shards);
    let shared = Shared {
        uid: prepared.options.uid.clone(),
        run: uuid::Uuid::new_v4().to_string(),
        shards,
        rotation: Arc::clone(rotation),
        topology,
        metrics: Arc::clone(&prepared.metrics),
        watchdog: Arc::clone(&prepared.watchdog),
        readiness: Arc::clone(&prepared.options.readiness),
        status: Arc::clone(&prepared.status),
        stop: Arc::clone(&prepared.stop),
        ownership: ownership(prepared),
        positions: PositionBoard::default(),
        budget: Budget::of(prepared.options.memory_bytes, shards),
        pipeline,
    };
    Ok(Some((Arc::new(shared), watcher)))
}

fn ownership(prepared: &Prepared) -> Ownership {
    match &prepared.options.assigned {
        Some(assignments) => Ownership::Assigned(Arc::clone(&assignments.source)),
        None => Ownership::Whole(Confirm::default()),
    }
}

/// What was waited for up to now stood at shard 0, which need not be this worker's.
fn start_without_shards(prepared: &Prepared) {
    prepared.status.forget(0);
    prepared.options.readiness.forget(0);
    prepared.options.readiness.prepared();
}

/// The pauses between two looks at the state topic: a new one is known to the brokers within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How long a topic that was made may be unknown before it is made again.
const MAKING: Duration = Duration::from_secs(2);

/// A topic with its settings.
type Described = (TopicDescription, Vec<(String, String)>);

fn waiting(prepared: &Prepared, what: String) {
    prepared.options.readiness.not_ready(0, &what);
    prepared.status.set(0, ShardState::Waiting(what));
}

/// All brokers answer, and what must be one cluster is. False if somebody asked to stop.
fn check_clusters(prepared: &Prepared, admins: &[Arc<Admin>]) -> Result<bool, Unready> {
    let mut ids = Vec::new();
    for (admin, connection) in admins.iter().zip(&prepared.pipeline.connections) {
        let waiting = |what| waiting(prepared, what);
        match cluster_id(admin, &connection.bootstrap_servers, &prepared.stop, &waiting)? {
            Some(id) => ids.push(id),
            None => return Ok(false),
        }
    }
    one_cluster(&prepared.pipeline, &ids)?;
    Ok(true)
}

/// Positions are kept where the sources are; with exactly-once, output has to be there, too: a transaction spans one
/// cluster.
fn one_cluster(pipeline: &CompiledPipeline, ids: &[String]) -> Result<(), String> {
    let home = pipeline.home();
    let sources = pipeline.sources.iter().map(|source| (source.connection, "source", &source.name));
    let sinks = pipeline.sinks.iter().map(|sink| (sink.connection, "sink", &sink.name));
    let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
    for (connection, kind, name) in sources.chain(sinks.filter(|_| exactly_once)) {
        if ids[connection] != ids[home] {
            return Err(format!(
                "{kind} `{name}` is on cluster {} (connection `{}`), the first source on cluster {} (connection `{}`): {}",
                ids[connection],
                pipeline.connections[connection].name,
                ids[home],
                pipeline.connections[home].name,
                if kind == "sink" {
                    "exactly-once output must be on the sources' cluster; set delivery: AtLeastOnce to write to another one"
                } else {
                    "all sources of a pipeline must be on one cluster"
                }
            ));
        }
    }
    Ok(())
}

/// The number of shards, which is the partition count of the state topic; makes it if need be.
fn shards(
    prepared: &Prepared,
    rotation: &Rotation,
    watcher: &mut TopicWatcher,
    topology: &TopologyCell,
) -> Result<Option<u32>, Unready> {
    let home = prepared.pipeline.home();
    let name = state_topic(&prepared.pipeline.application_id);
    let (mut pause, mut tried) = (FIRST_PAUSE, None);
    loop {
        let access = rotation.newest();
        let admin = &access.admins[home];
        let outcome = match described(prepared, admin, &name) {
            Ok(Some((topic, settings))) => {
                verify(&topic, prepared.pipeline.shards, &settings).map_err(|error| error.to_string())?;
                return Ok(Some(topic.partitions));
            }
            Ok(None) if tried.is_some_and(|at: Instant| at.elapsed() < MAKING) => Ok(None),
            Ok(None) => {
                watcher.look();
                tried = Some(Instant::now());
                make(prepared, admin, &name, topology)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(what)) => waiting(prepared, what),
            Err(error) if error.is_unavailable() => waiting(prepared, error.to_string()),
            Err(error) => return Err(error.into()),
        }
        if prepared.stop.sleep(pause) {
            return Ok(None);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Makes the state topic, or says what has to be waited for first.
fn make(prepared: &Prepared, admin: &Admin, name: &str, topology: &TopologyCell) -> Result<Option<String>, KafkaError> {
    let (_, topology) = topology.get();
    if let Some(error) = topology.denied() {
        return Err(error.clone());
    }
    let wanted = match prepared.pipeline.shards {
        Some(shards) => shards,
        None => match topology.missing(&prepared.pipeline) {
            Some(what) => return Ok(Some(what)),
            None => default_shards(topology.sources(&prepared.pipeline).iter().map(|topic| topic.partitions)),
        },
    };
    if prepared.pipeline.shards.is_none() && topology.sources(&prepared.pipeline).is_empty() {
        return Ok(Some("no topic matches the pattern yet, and the number of shards follows from topics".to_owned()));
    }
    tracing::info!(topic = name, shards = wanted, "makes the state topic");
    create(admin, name, wanted).map(|()| None)
}

/// The state topic with its settings, if it is there. Of several brokers one may know a new topic and the next one, who
/// is asked for the settings, not yet.
fn described(prepared: &Prepared, admin: &Admin, name: &str) -> Result<Option<Described>, KafkaError> {
    let Some(topic) = describe(admin, name)? else { return Ok(None) };
    if prepared.options.embedded {
        return Ok(Some((topic, Vec::new())));
    }
    match admin.topic_settings(name) {
        Ok(settings) => Ok(Some((topic, settings))),
        Err(error) if error.is_unknown_topic() => Ok(None),
        Err(error) => Err(error),
    }
}
