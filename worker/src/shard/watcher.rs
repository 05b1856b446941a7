//! The watcher: one thread a worker that asks the clusters about topics and ends, for all shards.
//!
//! Owned by the runner, ends with its stop flag. It decides nothing: it publishes what it saw.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::TopicLimits;
use super::rotation::Rotation;
use super::shared::{Checkpointed, Shared, StopFlag};
use super::topology::{TopicKey, TopicState, Topology, TopologyCell, named_topics, state_of};
use crate::kafka::{Admin, Code, Isolation, KafkaError, OffsetSpec};
use crate::metrics::Metrics;
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::Topics;
use crate::records::TopicPartition;

/// How often topics are looked at: new partitions are read within 10 s.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// How often while something is missing: a topic that was just made should not wait.
const MISSING_EVERY: Duration = Duration::from_millis(250);
/// How often the settings of topics are asked for again.
const SETTINGS_EVERY: Duration = Duration::from_mins(1);
/// How often ends are asked for.
const ENDS_EVERY: Duration = Duration::from_secs(2);

/// Asks the clusters about topics.
#[derive(Debug)]
pub struct TopicWatcher {
    pipeline: Arc<CompiledPipeline>,
    rotation: Arc<Rotation>,
    cell: Arc<TopologyCell>,
    settings: HashMap<TopicKey, (Instant, TopicLimits)>,
    embedded: bool,
}

impl TopicWatcher {
    /// A watcher that publishes to `cell`.
    pub fn new(
        pipeline: Arc<CompiledPipeline>,
        rotation: Arc<Rotation>,
        cell: Arc<TopologyCell>,
        embedded: bool,
    ) -> Self {
        Self { pipeline, rotation, cell, settings: HashMap::new(), embedded }
    }

    /// Looks once, and publishes.
    pub fn look(&mut self) {
        let pipeline = Arc::clone(&self.pipeline);
        let access = self.rotation.newest();
        let mut topology =
            Topology { access: access.version, matched: self.matched(&access.admins), ..Topology::default() };
        let named = named_topics(&pipeline).into_iter().map(|(key, _)| key);
        let found = topology.matched.iter().map(|(source, name)| (pipeline.sources[*source].connection, name.clone()));
        let mut by_connection: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (connection, name) in named.chain(found) {
            by_connection.entry(connection).or_default().push(name);
        }
        for (connection, mut names) in by_connection {
            names.sort();
            names.dedup();
            self.describe(&access.admins[connection], connection, &names, &mut topology);
        }
        self.cell.publish(topology);
    }

    /// Topics that patterns match; the last ones while the cluster does not answer.
    fn matched(&self, admins: &[Arc<Admin>]) -> Vec<(usize, String)> {
        let mut matched = Vec::new();
        for (index, source) in self.pipeline.sources.iter().enumerate() {
            let Topics::Pattern(_) = &source.topics else { continue };
            match admins[source.connection].topic_names() {
                Ok(names) => {
                    let of_source = names.into_iter().filter(|name| self.pipeline.pattern_matches(index, name));
                    matched.extend(of_source.map(|name| (index, name)));
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    let (_, last) = self.cell.get();
                    matched.extend(last.matched.iter().filter(|(of, _)| *of == index).cloned());
                }
            }
        }
        matched.sort();
        matched
    }

    fn describe(&mut self, admin: &Admin, connection: usize, names: &[String], topology: &mut Topology) {
        match admin.describe_topics(names) {
            Ok(answers) => {
                for (name, answer) in answers {
                    let key = (connection, name);
                    let state = match state_of(answer, TopicLimits::NONE) {
                        TopicState::Known { id, partitions, .. } => self.with_limits(admin, &key, id, partitions),
                        other => other,
                    };
                    topology.topics.insert(key, state);
                }
            }
            Err(error) => self.keep_last(connection, names, &error, topology),
        }
    }

    /// While a cluster does not answer, what it said last is the best there is.
    fn keep_last(&self, connection: usize, names: &[String], error: &KafkaError, topology: &mut Topology) {
        topology.unreachable = Some(format!("the brokers do not answer: {}; trying again", error.message));
        let (_, last) = self.cell.get();
        for name in names {
            let key = (connection, name.clone());
            let state = match last.topics.get(&key) {
                Some(known @ TopicState::Known { .. }) => known.clone(),
                _ => TopicState::Failed(error.clone()),
            };
            topology.topics.insert(key, state);
        }
    }

    fn with_limits(&mut self, admin: &Admin, key: &TopicKey, id: String, partitions: u32) -> TopicState {
        match self.limits(admin, key) {
            Ok(limits) => TopicState::Known { id, partitions, limits },
            Err(error) => TopicState::Failed(error),
        }
    }

    fn limits(&mut self, admin: &Admin, key: &TopicKey) -> Result<TopicLimits, KafkaError> {
        let is_output = !self.pipeline.sources.iter().any(|source| match &source.topics {
            Topics::List(names) => names.contains(&key.1),
            Topics::Pattern(_) => false,
        }) && named_topics(&self.pipeline).iter().any(|(named, _)| named == key);
        if self.embedded || !is_output {
            return Ok(TopicLimits::NONE);
        }
        if let Some((asked, limits)) = self.settings.get(key).filter(|(asked, _)| asked.elapsed() < SETTINGS_EVERY) {
            tracing::trace!(topic = key.1, age = ?asked.elapsed(), "settings are still fresh");
            return Ok(*limits);
        }
        let limits = TopicLimits::from_settings(&admin.topic_settings(&key.1)?);
        self.settings.insert(key.clone(), (Instant::now(), limits));
        Ok(limits)
    }

    /// Looks until somebody asks to stop.
    pub fn run(mut self, stop: &StopFlag, ends: impl Fn()) {
        let mut ends_at = Instant::now();
        loop {
            self.look();
            if ends_at.elapsed() >= ENDS_EVERY {
                ends();
                ends_at = Instant::now();
            }
            let (_, topology) = self.cell.get();
            let missing = topology.missing(&self.pipeline).is_some();
            if stop.sleep(if missing { MISSING_EVERY } else { TOPICS_EVERY }) {
                return;
            }
        }
    }
}

/// Compares checkpoints with ends, and tells the metrics.
pub fn report_lag(shared: &Shared) {
    let positions = shared.positions.all();
    let partitions: Vec<_> = positions.iter().map(|(partition, _)| partition.clone()).collect();
    let admin = shared.admin();
    let ask = |isolation| admin.list_offsets(&partitions, OffsetSpec::Latest, isolation);
    let (stable, high) = match (ask(Isolation::ReadCommitted), ask(Isolation::ReadUncommitted)) {
        (Ok(stable), Ok(high)) => (stable, high),
        (Err(error), _) | (_, Err(error)) => {
            tracing::debug!("{error}");
            return;
        }
    };
    for (((partition, position), stable), high) in positions.iter().zip(stable).zip(high) {
        let Ok(stable) = stable else { continue };
        report_partition(&shared.metrics, partition, *position, stable, high.unwrap_or(stable));
    }
}

fn report_partition(metrics: &Metrics, partition: &TopicPartition, position: Checkpointed, stable: i64, high: i64) {
    let records = (stable - position.offset).max(0);
    let seconds = match position.timestamp {
        timestamp if records == 0 || timestamp < 0 => 0.0,
        timestamp => (super::now_millis() - timestamp).max(0) as f64 / 1000.0,
    };
    metrics.partition_lag(&partition.topic, partition.partition, records, seconds);
    metrics.partition_open(&partition.topic, partition.partition, (high - stable).max(0));
}

/// Waits until a connection's cluster tells its id.
///
/// Credentials and certificates that are refused are an error; anything else is waited for, and told to `waiting`. None
/// if somebody asked to stop meanwhile.
pub fn cluster_id(
    admin: &Admin,
    servers: &str,
    stop: &StopFlag,
    waiting: &dyn Fn(String),
) -> Result<Option<String>, KafkaError> {
    let mut cause = None;
    while !stop.asked() {
        if let Some(id) = admin.cluster_id(Duration::from_secs(1)) {
            return Ok(Some(id));
        }
        // That all brokers are down explains less than what was known before.
        cause = admin.cause().filter(|new| cause.is_none() || new.code != Code::AllBrokersDown).or(cause);
        match &cause {
            Some(error) if error.is_denied() => {
                let doing = format!("connect to {servers} (connection `{}`)", admin.connection());
                return Err(KafkaError { doing, ..error.clone() });
            }
            Some(error) => waiting(format!("no broker of {servers} can be reached: {}; trying again", error.message)),
            None => waiting(format!("no broker of {servers} has answered yet; trying again")),
        }
    }
    Ok(None)
}
