//! What brokers' answers mean.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError as E;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, EndTxnResponse, FindCoordinatorResponse,
    InitProducerIdResponse, MetadataResponse, ProduceResponse, TxnOffsetCommitResponse,
};

use super::control::{Coordinator, Task};
use super::partition::Partition;
use super::{Identity, Sender};
use crate::kafka::error::{Code, KafkaError};
use crate::kafka::wire::cluster::Endpoint;
use crate::kafka::wire::problem;

/// A broker's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Who leads partitions.
    Metadata(MetadataResponse),
    /// Who coordinates.
    FindCoordinator(FindCoordinatorResponse),
    /// Another epoch.
    InitProducerId(InitProducerIdResponse),
    /// Partitions in the transaction.
    AddPartitions(AddPartitionsToTxnResponse),
    /// The group in the transaction.
    AddOffsets(AddOffsetsToTxnResponse),
    /// The group's offsets.
    CommitOffsets(TxnOffsetCommitResponse),
    /// The transaction's end.
    End(EndTxnResponse),
    /// Batches, of this broker.
    Produce(i32, ProduceResponse),
}

impl Answer {
    /// How long the broker asks to hold back, in milliseconds.
    pub fn throttle(&self) -> i32 {
        match self {
            Self::Metadata(response) => response.throttle_time_ms,
            Self::FindCoordinator(response) => response.throttle_time_ms,
            Self::InitProducerId(response) => response.throttle_time_ms,
            Self::AddPartitions(response) => response.throttle_time_ms,
            Self::AddOffsets(response) => response.throttle_time_ms,
            Self::CommitOffsets(response) => response.throttle_time_ms,
            Self::End(response) => response.throttle_time_ms,
            Self::Produce(_, response) => response.throttle_time_ms,
        }
    }
}

/// What is to be done about an error of a control request.
enum Way {
    /// The same again.
    Again,
    /// The same again, by whoever coordinates now.
    Elsewhere,
    /// Nothing here helps.
    Failed,
}

fn way(code: ResponseError) -> Way {
    match code {
        E::ConcurrentTransactions
        | E::CoordinatorLoadInProgress
        | E::UnknownTopicOrPartition
        | E::NetworkException
        | E::RequestTimedOut
        | E::UnstableOffsetCommit => Way::Again,
        E::NotCoordinator | E::CoordinatorNotAvailable => Way::Elsewhere,
        _ => Way::Failed,
    }
}

impl Sender {
    /// Takes a broker's answer.
    pub fn answered(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Metadata(response) => self.described(now, &response),
            Answer::FindCoordinator(response) => self.coordinated(now, &response),
            Answer::Produce(node, response) => self.produced(now, node, response),
            control => self.controlled(now, &control),
        }
    }

    fn described(&mut self, now: Instant, response: &MetadataResponse) {
        let needed = self.partitions.iter().filter(|partition| !partition.is_empty());
        let errors = self.cluster.answered(now, response, needed.map(|partition| &partition.name));
        for (topic, code) in errors {
            let error = problem::refused(format!("write to topic `{topic}`"), code);
            if error.is_denied() {
                self.fail(error);
            }
        }
    }

    fn coordinated(&mut self, now: Instant, response: &FindCoordinatorResponse) {
        let Some(of) = self.control.looking.take() else { return };
        if let Some(code) = response.error_code.err() {
            match way(code) {
                Way::Failed => self.fail(problem::refused("find the coordinator", code)),
                _ => self.control.backoff.failed(now),
            }
            return;
        }
        let Ok(port) = u16::try_from(response.port) else { return self.control.backoff.failed(now) };
        let node = response.node_id.0;
        self.cluster.learn(node, Endpoint { host: response.host.to_string(), port });
        match of {
            Coordinator::Transaction => self.control.of_transaction = Some(node),
            Coordinator::Group => self.control.of_group = Some(node),
        }
    }

    fn controlled(&mut self, now: Instant, answer: &Answer) {
        if self.control.stale > 0 {
            self.control.stale -= 1;
            self.touched |= opens(answer) && errors(&Task::AddOffsets, answer).is_empty();
            return;
        }
        let Some(task) = self.control.under_way.take() else { return };
        let errors = errors(&task, answer);
        let worst = errors.iter().find(|(code, _)| matches!(way(*code), Way::Failed)).or(errors.first());
        let Some((code, error)) = worst else {
            self.control.backoff.worked();
            return self.done(task, answer);
        };
        match way(*code) {
            Way::Failed => self.fail(error.clone()),
            Way::Again => self.control.backoff.failed(now),
            Way::Elsewhere => {
                self.control.forget_coordinator(&task);
                self.control.backoff.failed(now);
            }
        }
    }

    fn done(&mut self, task: Task, answer: &Answer) {
        match (task, answer) {
            (Task::Init, Answer::InitProducerId(response)) => {
                self.go_on_as(Identity { id: response.producer_id.0, epoch: response.producer_epoch });
                (self.renew, self.aborting) = (false, false);
            }
            (task @ (Task::Commit | Task::Abort), Answer::End(response)) if self.is_second() => {
                let next = Identity { id: response.producer_id.0, epoch: response.producer_epoch };
                if next.id < 0 || next.epoch < 0 {
                    let words = "the broker gave no epoch for the next transaction";
                    return self.fail(KafkaError::new(task.doing(), Code::BadMessage, words));
                }
                self.go_on_as(next);
                (self.touched, self.aborting) = (false, false);
                (self.open, self.ending, self.flushing) = (false, false, false);
            }
            (Task::AddPartitions(places), _) => {
                self.touched = true;
                for place in places {
                    self.partitions[place].added = true;
                }
            }
            (Task::AddOffsets, _) => {
                self.touched = true;
                if let Some(offsets) = &mut self.offsets {
                    offsets.added = true;
                }
            }
            (Task::CommitOffsets, _) => {
                self.touched = true;
                self.offsets = None;
            }
            (Task::Commit, _) => (self.open, self.ending, self.flushing) = (false, false, false),
            (Task::Abort, _) => self.touched = false,
            (Task::Init, _) => {}
        }
    }

    /// Goes on with another epoch, in which sequences begin anew.
    fn go_on_as(&mut self, identity: Identity) {
        self.identity = identity;
        self.partitions.iter_mut().for_each(Partition::restart);
    }

    fn produced(&mut self, now: Instant, node: i32, response: ProduceResponse) {
        let places = self.under_way.get_mut(&node).and_then(VecDeque::pop_front).unwrap_or_default();
        let rest = self.rests.entry(node).or_default();
        rest.worked();
        if let Ok(throttle @ 1..) = u64::try_from(response.throttle_time_ms) {
            rest.pause(now + Duration::from_millis(throttle));
        }
        let mut places = places;
        for topic in response.responses {
            for told in topic.partition_responses {
                let found = places.iter().position(|place| {
                    let name = &self.partitions[*place].name;
                    name.partition == told.index && *name.topic == **topic.name
                });
                if let Some(place) = found.map(|index| places.swap_remove(index)) {
                    self.acknowledged(now, place, &told);
                }
            }
        }
        // Of which the answer says nothing.
        for place in places {
            self.partitions[place].again(now);
        }
    }

    fn acknowledged(&mut self, now: Instant, place: usize, told: &PartitionProduceResponse) {
        let Some(code) = told.error_code.err() else {
            self.touched = true;
            self.partitions[place].acknowledged();
            self.flushing &= !self.is_flushed() || self.ending;
            return;
        };
        let partition = &mut self.partitions[place];
        match code {
            E::NotLeaderOrFollower
            | E::LeaderNotAvailable
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::ReplicaNotAvailable
            | E::KafkaStorageError
            | E::UnknownTopicOrPartition => {
                partition.again(now);
                self.cluster.want();
            }
            E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::RequestTimedOut
            | E::NetworkException
            // In the second version: the transaction before is decided, and its markers are on their way.
            | E::ConcurrentTransactions
            | E::ThrottlingQuotaExceeded => partition.again(now),
            _ => {
                let (error, records) = (refusal(partition.doing(), code, told), partition.first_records());
                self.undeliverable(error, records);
            }
        }
    }
}

/// All errors of an answer.
fn errors(task: &Task, answer: &Answer) -> Vec<(ResponseError, KafkaError)> {
    let of = |code: i16| code.err().map(|code| (code, problem::refused(task.doing(), code)));
    match answer {
        Answer::InitProducerId(response) => of(response.error_code).into_iter().collect(),
        Answer::AddOffsets(response) => of(response.error_code).into_iter().collect(),
        Answer::End(response) => of(response.error_code).into_iter().collect(),
        Answer::AddPartitions(response) => {
            let each = response.results_by_topic_v3_and_below.iter().flat_map(|topic| {
                let each = topic.results_by_partition.iter();
                each.map(|result| (&topic.name, result.partition_index, result.partition_error_code))
            });
            let failed = each.filter_map(|(topic, partition, code)| Some((topic, partition, code.err()?)));
            // The others of the request were not even tried.
            let failed = failed.filter(|(_, _, code)| *code != ResponseError::OperationNotAttempted);
            let error = |(topic, partition, code): (&_, i32, ResponseError)| {
                let topic: &kafka_protocol::messages::TopicName = topic;
                let doing = format!("write to topic `{}` partition {partition} in a transaction", topic.as_str());
                (code, problem::refused(doing, code))
            };
            failed.map(error).collect()
        }
        Answer::CommitOffsets(response) => {
            let each = response.topics.iter().flat_map(|topic| &topic.partitions);
            each.filter_map(|partition| of(partition.error_code)).collect()
        }
        Answer::Metadata(_) | Answer::FindCoordinator(_) | Answer::Produce(..) => Vec::new(),
    }
}

/// Whether the coordinator knows of the transaction behind this answer, if that has no error.
fn opens(answer: &Answer) -> bool {
    matches!(answer, Answer::AddPartitions(_) | Answer::AddOffsets(_))
}

/// A broker's word about a batch, with what it says about single records.
fn refusal(doing: String, code: ResponseError, told: &PartitionProduceResponse) -> KafkaError {
    let mut error = problem::refused(doing, code);
    let words = told.error_message.iter().map(ToString::to_string);
    let records = told.record_errors.iter().filter_map(|record| record.batch_index_error_message.as_ref());
    for words in words.chain(records.map(ToString::to_string)).take(3) {
        error.message = format!("{}: {words}", error.message);
    }
    error
}
