//! Questions to a cluster, for all shards of a worker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::config::ClientConfig;
use super::error::KafkaError;
use super::native::admin::{DescribedTopic, Isolation, NewTopic, OffsetSpec, TopicDescription};
use super::native::client::{Client, Events, Kind};
use super::native::list::Place;
use crate::metrics::Metrics;
use crate::records::TopicPartition;

/// How long a question may take.
const WAIT: Duration = Duration::from_secs(5);

/// The shortest time between two questions for all topics: a cluster may have many.
const REFRESH_EVERY: Duration = Duration::from_millis(100);

/// A client for questions.
#[derive(Debug)]
pub struct Admin {
    client: Client,
    connection: String,
    embedded: bool,
    refreshed: Mutex<Option<Instant>>,
}

impl Admin {
    /// A client; connects in the background.
    pub fn new(config: &ClientConfig, client: &str, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let client = Client::new(Kind::Producer, &config.admin(client), Events::new(metrics))?;
        Ok(Self { client, connection: config.connection.clone(), embedded: false, refreshed: Mutex::default() })
    }

    /// For the embedded broker, which has no controller: topics are described by its metadata, without ids.
    #[must_use]
    pub fn embedded(self) -> Self {
        Self { embedded: true, ..self }
    }

    /// The connection's name.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// The cluster's id; None if no broker told it in time, with [`Self::cause`] for the reason.
    pub fn cluster_id(&self, wait: Duration) -> Option<String> {
        let id = self.client.cluster_id(wait).or_else(|| {
            // The client asks once when it is connected, and again after minutes. A broker that has just been started
            // names no brokers, not even itself, and that answer counts for nothing.
            self.client.topics(wait).ok()?;
            self.client.cluster_id(Duration::ZERO)
        });
        self.client.poll(Duration::ZERO);
        id
    }

    /// Why brokers cannot be talked to, as far as the client said.
    pub fn cause(&self) -> Option<KafkaError> {
        self.client.poll(Duration::ZERO);
        self.client.events().take_error()
    }

    /// Describes topics; each with its own error.
    pub fn describe_topics(&self, names: &[String]) -> Result<Vec<DescribedTopic>, KafkaError> {
        if self.embedded {
            return Ok(described(names, &self.client.topics(WAIT)?));
        }
        self.explained(self.client.describe_topics(names, WAIT))
    }

    /// The names of all topics that the user may see.
    pub fn topic_names(&self) -> Result<Vec<String>, KafkaError> {
        let topics = self.explained(self.client.topics(WAIT))?;
        Ok(topics.into_iter().map(|(name, _)| name).collect())
    }

    /// An offset of each partition, in the order asked; each with its own error.
    pub fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Vec<Result<i64, KafkaError>>, KafkaError> {
        let places: Vec<_> = partitions
            .iter()
            .map(|partition| Place {
                partition: partition.clone(),
                offset: 0,
                leader_epoch: -1,
                metadata: String::new(),
            })
            .collect();
        let ask = || self.explained(self.client.list_offsets(&places, spec, isolation, WAIT));
        let mut answers = ask();
        if is_of_old_metadata(&answers) {
            // The client asks whom it remembers as leader, in the epoch that it remembers, and does not learn from this.
            self.refresh()?;
            answers = ask();
        }
        answers.map(|answers| in_order(partitions, answers))
    }

    /// Asks what topics there are, so that the client knows their leaders: once for all shards that want it now.
    fn refresh(&self) -> Result<(), KafkaError> {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        if refreshed.is_none_or(|at: Instant| at.elapsed() >= REFRESH_EVERY) {
            self.explained(self.client.topics(WAIT))?;
            *refreshed = Some(Instant::now());
        }
        Ok(())
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &NewTopic) -> Result<(), KafkaError> {
        self.explained(self.client.create_topic(topic, WAIT))
    }

    /// Deletes a topic; one that is not there is [`KafkaError::is_unknown_topic`].
    pub fn delete_topic(&self, topic: &str) -> Result<(), KafkaError> {
        self.explained(self.client.delete_topic(topic, WAIT))
    }

    /// Deletes a group with its offsets; one that is not there is [`Code::GroupIdNotFound`](super::Code).
    pub fn delete_group(&self, group: &str) -> Result<(), KafkaError> {
        self.explained(self.client.delete_group(group, WAIT))
    }

    /// A topic's settings.
    pub fn topic_settings(&self, topic: &str) -> Result<Vec<(String, String)>, KafkaError> {
        self.explained(self.client.topic_settings(topic, WAIT))
    }

    /// A timeout tells nothing; what the client saw meanwhile does.
    fn explained<T>(&self, answer: Result<T, KafkaError>) -> Result<T, KafkaError> {
        self.client.poll(Duration::ZERO);
        answer.map_err(|error| match self.client.events().take_error() {
            Some(cause) if error.is_unavailable() => KafkaError { doing: error.doing, ..cause },
            _ => error,
        })
    }
}

/// Whether an answer, or that there is none, may come from what the client remembers.
fn is_of_old_metadata<T>(answers: &Result<Vec<Result<T, KafkaError>>, KafkaError>) -> bool {
    match answers {
        Ok(answers) => answers.iter().any(|answer| answer.as_ref().is_err_and(KafkaError::is_of_old_metadata)),
        Err(error) => error.is_of_old_metadata(),
    }
}

/// Descriptions out of all topics of a cluster.
fn described(names: &[String], topics: &[(String, u32)]) -> Vec<DescribedTopic> {
    let describe = |name: &String| match topics.iter().find(|(topic, _)| topic == name) {
        Some((_, partitions)) => Ok(TopicDescription { name: name.clone(), id: [0; 16], partitions: *partitions }),
        None => Err(KafkaError::new(format!("describe topic `{name}`"), super::Code::UnknownTopic, "there is none")),
    };
    names.iter().map(|name| (name.clone(), describe(name))).collect()
}

/// Answers come in any order; one that is missing is an error of its own.
fn in_order(partitions: &[TopicPartition], answers: Vec<Result<Place, KafkaError>>) -> Vec<Result<i64, KafkaError>> {
    let mut failed = Vec::new();
    let mut found = std::collections::HashMap::new();
    for answer in answers {
        match answer {
            Ok(place) => drop(found.insert(place.partition, place.offset)),
            Err(error) => failed.push(error),
        }
    }
    let mut failed = failed.into_iter();
    partitions
        .iter()
        .map(|partition| match found.get(partition) {
            Some(offset) => Ok(*offset),
            None => Err(failed.next().unwrap_or_else(|| {
                let doing = format!("ask for the offset of {partition}");
                KafkaError::new(doing, super::Code::UnknownPartition, "no answer for it")
            })),
        })
        .collect()
}
