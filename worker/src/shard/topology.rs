//! What the clusters look like: topics, their ids and partitions, and what they take.
//!
//! One watcher thread a worker asks for all shards; they look at its last answer, and never ask for themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::header::topic_id;
use super::limits::TopicLimits;
use super::restore::SourceTopic;
use crate::kafka::{KafkaError, TopicDescription};
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::{ErrorPolicy, Topics};

/// A topic on a connection.
pub type TopicKey = (usize, String);

/// A topic as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub enum TopicState {
    /// It is there.
    Known {
        /// Its id.
        id: String,
        /// How many partitions it has.
        partitions: u32,
        /// What it takes.
        limits: TopicLimits,
    },
    /// The cluster does not know it.
    Missing,
    /// It cannot be described.
    Failed(KafkaError),
}

/// All topics of a pipeline, as last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// The topics.
    pub topics: BTreeMap<TopicKey, TopicState>,
    /// The version of the access that they were seen with.
    pub access: u64,
    /// Topics that patterns found: source, name.
    pub matched: Vec<(usize, String)>,
    /// Why a cluster did not answer the last question; what is known of it is older then.
    pub unreachable: Option<String>,
}

impl Topology {
    /// A topic's partitions and limits, if it is there.
    pub fn known(&self, connection: usize, topic: &str) -> Option<(&str, u32, TopicLimits)> {
        match self.topics.get(&(connection, topic.to_owned())) {
            Some(TopicState::Known { id, partitions, limits }) => Some((id, *partitions, *limits)),
            _ => None,
        }
    }

    /// All source topics that are there.
    pub fn sources(&self, pipeline: &CompiledPipeline) -> Vec<SourceTopic> {
        let mut topics = Vec::new();
        for (index, source) in pipeline.sources.iter().enumerate() {
            let mut add = |name: &str, by_pattern| {
                if let Some((id, partitions, _)) = self.known(source.connection, name) {
                    topics.push(SourceTopic {
                        name: name.into(),
                        id: id.to_owned(),
                        partitions,
                        source: index,
                        start_from: source.start_from,
                        on_data_loss: source.on_data_loss,
                        by_pattern,
                    });
                }
            };
            match &source.topics {
                Topics::List(names) => names.iter().for_each(|name| add(name, false)),
                Topics::Pattern(_) => {
                    self.matched.iter().filter(|(of, _)| *of == index).for_each(|(_, name)| add(name, true));
                }
            }
        }
        topics
    }

    /// The first thing that a pipeline waits for, in words; None when the clusters answer and every topic is there.
    pub fn missing(&self, pipeline: &CompiledPipeline) -> Option<String> {
        if self.unreachable.is_some() {
            return self.unreachable.clone();
        }
        named_topics(pipeline).into_iter().find_map(|((connection, name), role)| {
            match self.topics.get(&(connection, name.clone())) {
                Some(TopicState::Known { .. }) => None,
                Some(TopicState::Failed(error)) => Some(error.to_string()),
                Some(TopicState::Missing) => {
                    Some(format!("{role} `{name}` does not exist; make it, or check its name"))
                }
                None => Some(format!("{role} `{name}` is not described yet")),
            }
        })
    }

    /// A topic that the user may not describe, for good.
    pub fn denied(&self) -> Option<&KafkaError> {
        self.topics.values().find_map(|state| match state {
            TopicState::Failed(error) if error.is_denied() => Some(error),
            _ => None,
        })
    }
}

/// The topics that a manifest names, with what they are to it.
pub fn named_topics(pipeline: &CompiledPipeline) -> Vec<(TopicKey, String)> {
    let mut topics = Vec::new();
    for source in &pipeline.sources {
        if let Topics::List(names) = &source.topics {
            let role = format!("the topic of source `{}`,", source.name);
            topics.extend(names.iter().map(|name| ((source.connection, name.clone()), role.clone())));
        }
    }
    for sink in &pipeline.sinks {
        topics.push(((sink.connection, sink.topic.clone()), format!("the topic of sink `{}`,", sink.name)));
    }
    if let ErrorPolicy::DeadLetter { connection, topic } = &pipeline.errors {
        topics.push(((*connection, topic.clone()), "the dead-letter topic,".to_owned()));
    }
    topics
}

/// The state of a topic from the cluster's answer.
pub fn state_of(answer: Result<TopicDescription, KafkaError>, limits: TopicLimits) -> TopicState {
    match answer {
        Ok(topic) => TopicState::Known { id: topic_id(&topic.id), partitions: topic.partitions, limits },
        Err(error) if error.is_unknown_topic() => TopicState::Missing,
        Err(error) => TopicState::Failed(error),
    }
}

/// The last topology, shared between the watcher and the shards.
#[derive(Debug, Default)]
pub struct TopologyCell {
    inner: Mutex<(u64, Arc<Topology>)>,
    changed: Condvar,
}

impl TopologyCell {
    /// The last topology and its version, which grows with every change.
    pub fn get(&self) -> (u64, Arc<Topology>) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes a topology, if it is another one.
    pub fn publish(&self, topology: Topology) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.0 == 0 || *inner.1 != topology {
            *inner = (inner.0 + 1, Arc::new(topology));
            self.changed.notify_all();
        }
    }

    /// Waits for another version than `seen`, at most `wait`.
    pub fn wait(&self, seen: u64, wait: Duration) -> (u64, Arc<Topology>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.changed.wait_timeout_while(inner, wait, |inner| inner.0 == seen);
        outcome.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}
