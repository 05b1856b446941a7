//! Taking a pipeline out of Kafka once its workers are gone: for the operator, when a Pipeline is deleted whose
//! `deletionPolicy` is `Delete`.
//!
//! ```text
//! whose are the headers? → fence every shard → whose are they now? → delete the group → delete the state topic
//! ```
//!
//! * A worker on a node that nobody hears of may still hold a shard. `init_transactions` aborts what it left open and
//!   fences it, as a takeover does; afterwards it can commit nothing.
//! * What another pipeline has taken over, or had before, is left alone. The headers say whose it is, and are asked
//!   again behind the fence, as in a takeover.
//! * The state topic goes last, since it is the proof of whose the rest is. A worker makes it before anything else; so
//!   where there is none, everything was done before, and all of this can be begun again by anybody.
//! * Topics of sources, sinks and dead letters are never touched.
//!
//! Blocks, each question for some seconds at most.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::Trouble;
use super::header_reader::last_header;
use super::state_topic::describe;
use super::takeover::transaction_timeout;
use crate::kafka::{
    Admin, ClientConfig, Code, Consumer, Isolation, KafkaError, OffsetSpec, Producer, Room, SecretError, SecretStore,
    TopicDescription,
};
use crate::metrics::Metrics;
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::{state_topic, transactional_id};
use crate::records::TopicPartition;

/// How long fencing one shard may take.
const WAIT: Duration = Duration::from_secs(10);
/// How long brokers are waited for before the coordinator is looked for.
const MEET: Duration = Duration::from_secs(1);
/// The buffers of clients that read headers, and write nothing; in bytes.
const SMALL: u64 = 1 << 16;

/// How far a removal has come; what comes later is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Brokers are asked for the state topic.
    #[default]
    Connecting,
    /// Headers are read.
    Looking,
    /// Shards are fenced.
    Fencing {
        /// How many are.
        done: u32,
        /// How many there are.
        shards: u32,
    },
    /// Headers are read again.
    LookingAgain,
    /// The group and the state topic are deleted.
    Deleting,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("asking Kafka for the state topic"),
            Self::Looking => f.write_str("reading the headers"),
            Self::Fencing { done, shards } => write!(f, "fencing the shards: {done} of {shards}"),
            Self::LookingAgain => f.write_str("reading the headers again"),
            Self::Deleting => f.write_str("deleting the state topic"),
        }
    }
}

/// How a removal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing is left.
    All,
    /// The group is left, for this reason; it tells nothing without the state topic.
    AllButGroup(String),
    /// The pipeline with this uid has it; nothing was deleted.
    Foreign {
        /// Its uid.
        uid: String,
    },
}

/// Why a removal did not come to its end. All but `Stopped` are to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// A secret of the connection is missing.
    #[error("connection `{connection}`: {source}")]
    Secret {
        /// The connection.
        connection: String,
        /// What is missing.
        source: SecretError,
    },
    /// Kafka refused, or was not there.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The headers cannot be read, so that nobody knows whose they are.
    #[error("{0}")]
    Headers(String),
    /// Whoever watches said so.
    #[error("stopped")]
    Stopped,
}

impl From<Trouble> for RemovalError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) | Trouble::Fenced(error) | Trouble::Denied(error) => Self::Kafka(error),
            Trouble::Restart(why) | Trouble::Lost(why) | Trouble::Stop(why) => Self::Headers(why),
            // Nobody renews clients here: whoever owns the removal begins anew with other secrets.
            Trouble::Asked | Trouble::Renew => Self::Stopped,
        }
    }
}

/// Hears of each stage, and says whether to go on.
pub type Watch<'a> = &'a dyn Fn(Stage) -> bool;

/// Takes a pipeline out of Kafka.
#[derive(Debug)]
pub struct Removal {
    pipeline: CompiledPipeline,
    uid: String,
    client: String,
    config: ClientConfig,
    metrics: Arc<Metrics>,
    admin: Admin,
    consumer: Consumer,
    /// How many shards are fenced, from shard 0 on: an attempt goes on where the one before ended.
    fenced: u32,
}

impl Removal {
    /// Makes the clients, which connect in the background. `uid` is the Pipeline's, as its headers have it.
    pub fn new(pipeline: CompiledPipeline, secrets: &SecretStore, uid: &str) -> Result<Self, RemovalError> {
        let connection = &pipeline.connections[pipeline.home()];
        let config = ClientConfig::resolve(connection, secrets)
            .map_err(|source| RemovalError::Secret { connection: connection.name.clone(), source })?;
        let client = format!("millstream.{}.removal", pipeline.application_id);
        let metrics = Metrics::new(&pipeline.name);
        let admin = Admin::new(&config, &client, Arc::clone(&metrics))?;
        let group = &pipeline.application_id;
        let consumer = Consumer::new(&config, &client, group, SMALL, SMALL, Arc::clone(&metrics))?;
        Ok(Self { uid: uid.to_owned(), client, config, metrics, admin, consumer, fenced: 0, pipeline })
    }

    /// One attempt, from the first question to the end or to what does not succeed.
    pub fn run(&mut self, watch: Watch<'_>) -> Result<Removed, RemovalError> {
        let name = state_topic(&self.pipeline.application_id);
        let Some(topic) = describe(&self.admin, &name)? else { return Ok(Removed::All) };
        if let Some(uid) = self.foreign(&topic, Stage::Looking, watch)? {
            return Ok(Removed::Foreign { uid });
        }
        self.fence(topic.partitions, watch)?;
        if let Some(uid) = self.foreign(&topic, Stage::LookingAgain, watch)? {
            return Ok(Removed::Foreign { uid });
        }
        enter(Stage::Deleting, watch)?;
        let group = self.delete_group()?;
        self.delete_topic(&name)?;
        Ok(group.map_or(Removed::All, |error| Removed::AllButGroup(error.to_string())))
    }

    /// The uid of another pipeline, if the last header of any shard has one.
    fn foreign(
        &mut self,
        topic: &TopicDescription,
        stage: Stage,
        watch: Watch<'_>,
    ) -> Result<Option<String>, RemovalError> {
        enter(stage, watch)?;
        let name: Arc<str> = topic.name.as_str().into();
        let partitions: Vec<TopicPartition> = (0..topic.partitions as i32)
            .map(|partition| TopicPartition { topic: Arc::clone(&name), partition })
            .collect();
        let ask = |spec| self.admin.list_offsets(&partitions, spec, Isolation::ReadCommitted);
        let (starts, ends) = (ask(OffsetSpec::Earliest)?, ask(OffsetSpec::Latest)?);
        self.consumer.expect(std::iter::once(&*name));
        for ((partition, start), end) in partitions.iter().zip(starts).zip(ends) {
            let header = last_header(&mut self.consumer, partition, (start?, end?), &|_| {
                (!watch(stage)).then_some(Trouble::Asked)
            })?;
            if let Some(header) = header.filter(|header| header.uid != self.uid) {
                return Ok(Some(header.uid));
            }
        }
        Ok(None)
    }

    fn fence(&mut self, shards: u32, watch: Watch<'_>) -> Result<(), RemovalError> {
        while self.fenced < shards {
            enter(Stage::Fencing { done: self.fenced, shards }, watch)?;
            self.fence_shard(self.fenced)?;
            self.fenced += 1;
        }
        Ok(())
    }

    fn fence_shard(&self, shard: u32) -> Result<(), KafkaError> {
        let mut producer = Producer::transactional(
            &self.config,
            &self.client,
            &transactional_id(&self.pipeline.application_id, shard),
            transaction_timeout(self.pipeline.checkpoint_interval),
            Room { queue: SMALL, batch: SMALL },
            Arc::clone(&self.metrics),
        )?;
        // Without a broker librdkafka would look for the coordinator again only after half a second.
        producer.meet_brokers(MEET);
        producer.init_transactions(WAIT).map_err(|error| {
            let cause = producer.take_error().filter(|_| error.is_unavailable()).unwrap_or(error);
            KafkaError { doing: format!("fence shard {shard}"), ..cause }
        })
    }

    /// Why the group stays, if a broker refuses. Nothing depends on it, so that it holds nothing up.
    fn delete_group(&self) -> Result<Option<KafkaError>, KafkaError> {
        match self.admin.delete_group(&self.pipeline.application_id) {
            Ok(()) => Ok(None),
            Err(error) if error.code == Code::GroupIdNotFound => Ok(None),
            Err(error) if error.is_unavailable() => Err(error),
            Err(error) => Ok(Some(error)),
        }
    }

    fn delete_topic(&self, name: &str) -> Result<(), KafkaError> {
        match self.admin.delete_topic(name) {
            Err(error) if error.is_unknown_topic() => Ok(()),
            outcome => outcome,
        }
    }
}

fn enter(stage: Stage, watch: Watch<'_>) -> Result<(), RemovalError> {
    if watch(stage) { Ok(()) } else { Err(RemovalError::Stopped) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_one_after_another() {
        let fencing = |done| Stage::Fencing { done, shards: 12 };
        let stages = [Stage::Connecting, Stage::Looking, fencing(0), fencing(1), Stage::LookingAgain, Stage::Deleting];
        assert!(stages.is_sorted_by(|one, next| one < next), "{stages:?}");
        assert_eq!(fencing(3).to_string(), "fencing the shards: 3 of 12");
    }

    #[test]
    fn what_keeps_headers_from_being_read_is_told() {
        let told = |trouble| RemovalError::from(trouble).to_string();
        assert_eq!(told(Trouble::Stop("a newer header".into())), "a newer header");
        let error = KafkaError::new("read", Code::SSL, "x");
        assert!(told(Trouble::Fenced(error)).starts_with("could not read: x (SSL)"));
        assert!(matches!(RemovalError::from(Trouble::Asked), RemovalError::Stopped));
    }
}
