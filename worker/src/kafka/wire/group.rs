//! A consumer group's committed offsets, on a connection of their own, which waits: a shard asks once, at its takeover.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::api::OF_GROUP;
use super::cluster::Endpoint;
use super::connection::{Connection, ConnectionError};
use super::consumer::Settings;
use super::problem;
use crate::kafka::consumer::{STABLE, UNSTABLE};
use crate::kafka::error::{Code, KafkaError};
use crate::kafka::native::list::Place;
use crate::records::TopicPartition;

/// What stands for no offset, as in librdkafka.
const NONE: i64 = -1001;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    settings: Settings,
    coordinator: Option<Connection>,
    // Whom to ask for the coordinator next.
    turn: usize,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failed {
    /// It may come in a moment.
    Passing(KafkaError),
    /// It will not.
    For(KafkaError),
}

impl From<ConnectionError> for Failed {
    fn from(error: ConnectionError) -> Self {
        let error = problem::of_connection(&error);
        if error.is_unavailable() { Self::Passing(error) } else { Self::For(error) }
    }
}

impl Group {
    pub(super) fn new(name: &str, settings: Settings) -> Self {
        Self { name: name.to_owned(), settings, coordinator: None, turn: 0 }
    }

    /// The offsets of these partitions, with their metadata; [`NONE`] where there is none.
    pub(super) fn committed(
        &mut self,
        partitions: &[TopicPartition],
        wait: Duration,
    ) -> Result<Vec<Place>, KafkaError> {
        let deadline = Instant::now() + wait;
        let mut unstable: Option<Instant> = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(UNSTABLE);
            // Not the time in which nobody answered.
            let stable = unstable.is_none_or(|since| since.elapsed() < STABLE);
            match self.attempt(partitions, stable, left) {
                Ok(places) => return Ok(places),
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Passing(error)) if Instant::now() + UNSTABLE >= deadline => return Err(error),
                Err(Failed::Passing(error)) => {
                    if error.code == Code::UnstableOffsetCommit {
                        unstable.get_or_insert_with(Instant::now);
                    }
                    thread::sleep(UNSTABLE);
                }
            }
        }
    }

    /// Asks once. The connection is kept only while it is of use.
    fn attempt(&mut self, partitions: &[TopicPartition], stable: bool, wait: Duration) -> Result<Vec<Place>, Failed> {
        let mut connection = match self.coordinator.take() {
            Some(connection) => connection,
            None => self.connect(wait)?,
        };
        let outcome = self.ask(&mut connection, partitions, stable, wait);
        let in_place =
            |error: &KafkaError| matches!(error.code, Code::UnstableOffsetCommit | Code::CoordinatorLoadInProgress);
        match &outcome {
            Err(Failed::Passing(error)) if !in_place(error) => {}
            _ => self.coordinator = Some(connection),
        }
        outcome
    }

    /// Asks one of the addresses, another one each time, for the coordinator, and connects to that.
    fn connect(&mut self, wait: Duration) -> Result<Connection, Failed> {
        let seeds = &self.settings.seeds;
        let nowhere = || KafkaError::new("connect", Code::Resolve, "no address is known; check bootstrapServers");
        let seed = seeds.get(self.turn % seeds.len().max(1)).ok_or_else(|| Failed::For(nowhere()))?;
        self.turn += 1;
        let options = &self.settings.options;
        let mut connection = Connection::open(seed, options, wait.min(self.settings.patience.open))?;
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(self.name.clone()))
            .with_key_type(OF_GROUP);
        let answer = connection.call(&request, wait)?;
        if let Some(code) = answer.error_code.err() {
            return Err(failed(format!("find the coordinator of group `{}`", self.name), code));
        }
        let port = u16::try_from(answer.port).unwrap_or(0);
        let endpoint = Endpoint { host: answer.host.to_string(), port };
        if endpoint == *seed {
            return Ok(connection);
        }
        Ok(Connection::open(&endpoint, options, wait.min(self.settings.patience.open))?)
    }

    fn ask(
        &self,
        connection: &mut Connection,
        partitions: &[TopicPartition],
        stable: bool,
        wait: Duration,
    ) -> Result<Vec<Place>, Failed> {
        let answer = connection.call(&request(&self.name, partitions).with_require_stable(stable), wait)?;
        let doing = || format!("read the offsets of group `{}`", self.name);
        if let Some(code) = answer.error_code.err() {
            return Err(failed(doing(), code));
        }
        let told = by_partition(answer);
        let place = |partition: &TopicPartition| {
            let place =
                |offset, leader_epoch, metadata| Place { partition: partition.clone(), offset, leader_epoch, metadata };
            match told.get(&(partition.topic.to_string(), partition.partition)) {
                Some(Err(code)) => Err(failed(doing(), *code)),
                Some(Ok((offset @ 0.., epoch, metadata))) => Ok(place(*offset, *epoch, metadata.clone())),
                _ => Ok(place(NONE, -1, String::new())),
            }
        };
        partitions.iter().map(place).collect()
    }
}

fn failed(doing: String, code: ResponseError) -> Failed {
    let error = problem::refused(doing, code);
    if error.is_unavailable() { Failed::Passing(error) } else { Failed::For(error) }
}

fn request(group: &str, partitions: &[TopicPartition]) -> OffsetFetchRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topics = topics.into_iter().map(|(name, indexes)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        OffsetFetchRequestTopic::default().with_name(name).with_partition_indexes(indexes)
    });
    OffsetFetchRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_topics(Some(topics.collect()))
}

/// Offset, leader epoch and metadata, or the broker's refusal.
type Told = Result<(i64, i32, String), ResponseError>;

fn by_partition(answer: OffsetFetchResponse) -> BTreeMap<(String, i32), Told> {
    let mut told = BTreeMap::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let metadata = partition.metadata.map_or(String::new(), |text| text.to_string());
            let place = (partition.committed_offset, partition.committed_leader_epoch, metadata);
            let outcome = partition.error_code.err().map_or(Ok(place), Err);
            told.insert((topic.name.to_string(), partition.partition_index), outcome);
        }
    }
    told
}
