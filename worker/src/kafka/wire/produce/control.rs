//! The requests around the records: ids, partitions, offsets, the end. One at a time.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, FindCoordinatorRequest, GroupId,
    InitProducerIdRequest, ProducerId, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{Backoff, NOBODY, Request, Sender, To};
use crate::kafka::native::list::Place;
use crate::kafka::wire::api::{OF_GROUP, OF_TRANSACTION};

/// What is under way, and who coordinates.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) backoff: Backoff,
    pub(super) under_way: Option<Task>,
    // An answer to a request of a former epoch is still to come.
    pub(super) stale: usize,
    pub(super) of_transaction: Option<i32>,
    pub(super) of_group: Option<i32>,
    // Whose coordinator is being looked for.
    pub(super) looking: Option<Coordinator>,
}

/// Who coordinates something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coordinator {
    Transaction,
    Group,
}

/// What a request is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Init,
    /// These partitions, by place.
    AddPartitions(Vec<usize>),
    AddOffsets,
    CommitOffsets,
    Commit,
    Abort,
}

impl Task {
    /// Who does it; None if any broker can.
    fn coordinator(&self, transactional: bool) -> Option<Coordinator> {
        match self {
            Self::Init if !transactional => None,
            Self::CommitOffsets => Some(Coordinator::Group),
            _ => Some(Coordinator::Transaction),
        }
    }

    /// For messages.
    pub(super) fn doing(&self) -> &'static str {
        match self {
            Self::Init => "take over the transactional id",
            Self::AddPartitions(_) => "write in a transaction",
            Self::AddOffsets | Self::CommitOffsets => "commit the group's offsets in a transaction",
            Self::Commit => "commit the transaction",
            Self::Abort => "abort the transaction",
        }
    }
}

/// Offsets on their way into the transaction.
#[derive(Clone, Debug)]
pub(super) struct Offsets {
    pub(super) group: String,
    places: Vec<Place>,
    pub(super) added: bool,
}

impl Offsets {
    pub(super) fn new(group: &str, places: &[Place]) -> Self {
        Self { group: group.to_owned(), places: places.to_vec(), added: false }
    }
}

impl Control {
    /// Nothing that is under way counts any more.
    pub(super) fn forget(&mut self) {
        if self.under_way.take().is_some() {
            self.stale += 1;
        }
    }

    /// A request will not be answered.
    pub(super) fn failed(&mut self, now: Instant, api: ApiKey) {
        self.backoff.failed(now);
        if api == ApiKey::FindCoordinator {
            self.looking = None;
        } else if self.stale > 0 {
            self.stale -= 1;
        } else if let Some(task) = self.under_way.take() {
            // Who did not answer may not be the coordinator any more.
            self.forget_coordinator(&task);
        }
    }

    pub(super) fn forget_coordinator(&mut self, task: &Task) {
        match task.coordinator(true) {
            Some(Coordinator::Group) => self.of_group = None,
            _ => self.of_transaction = None,
        }
    }
}

impl Sender {
    /// What is to be done next, if anything.
    fn task(&self) -> Option<Task> {
        if self.aborting {
            // In the second version brokers may know of a transaction of which nobody was told, and take the abort of none.
            let ends = if self.is_second() { self.identity != NOBODY } else { self.touched };
            return self.is_quiet().then_some(if ends { Task::Abort } else { Task::Init });
        }
        if self.renew {
            return Some(Task::Init);
        }
        if !self.open {
            return None;
        }
        let places = self.partitions.iter().enumerate().filter(|(_, partition)| partition.is_to_be_added());
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        if !places.is_empty() && !self.is_second() {
            return Some(Task::AddPartitions(places));
        }
        match &self.offsets {
            Some(offsets) if offsets.added || self.is_second() => Some(Task::CommitOffsets),
            Some(_) => Some(Task::AddOffsets),
            None => (self.ending && self.is_flushed()).then_some(Task::Commit),
        }
    }

    pub(super) fn next_control(&mut self, now: Instant) -> Option<(To, Request)> {
        let Control { under_way, looking, stale, backoff, .. } = &self.control;
        if under_way.is_some() || looking.is_some() || *stale > 0 || !backoff.is_over(now) {
            return None;
        }
        let task = self.task()?;
        let to = match task.coordinator(self.is_transactional()) {
            None => To::Any,
            Some(of) => {
                let known = if of == Coordinator::Group { self.control.of_group } else { self.control.of_transaction };
                match known {
                    Some(node) => To::Broker(node),
                    None => return Some((To::Any, Request::FindCoordinator(self.look_for(of)))),
                }
            }
        };
        let request = self.request(&task);
        self.control.under_way = Some(task);
        Some((to, request))
    }

    fn look_for(&mut self, of: Coordinator) -> FindCoordinatorRequest {
        self.control.looking = Some(of);
        let (key, kind) = match of {
            Coordinator::Transaction => (self.transactional_id().0, OF_TRANSACTION),
            Coordinator::Group => (text(self.offsets.as_ref().map_or("", |offsets| &offsets.group)), OF_GROUP),
        };
        FindCoordinatorRequest::default().with_key(key).with_key_type(kind)
    }

    fn transactional_id(&self) -> TransactionalId {
        TransactionalId(text(self.settings.transactional.as_ref().map_or("", |(id, _)| id)))
    }

    fn request(&self, task: &Task) -> Request {
        let (id, epoch) = (ProducerId(self.identity.id), self.identity.epoch);
        let transaction = self.transactional_id();
        match task {
            Task::Init => Request::InitProducerId(self.init()),
            Task::AddPartitions(places) => Request::AddPartitions(
                AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(transaction)
                    .with_v3_and_below_producer_id(id)
                    .with_v3_and_below_producer_epoch(epoch)
                    .with_v3_and_below_topics(self.topics(places)),
            ),
            Task::AddOffsets => Request::AddOffsets(
                AddOffsetsToTxnRequest::default()
                    .with_transactional_id(transaction)
                    .with_producer_id(id)
                    .with_producer_epoch(epoch)
                    .with_group_id(self.group()),
            ),
            Task::CommitOffsets => Request::CommitOffsets(
                TxnOffsetCommitRequest::default()
                    .with_transactional_id(transaction)
                    .with_producer_id(id)
                    .with_producer_epoch(epoch)
                    .with_group_id(self.group())
                    .with_topics(self.offsets.as_ref().map_or_else(Vec::new, |offsets| by_topic(&offsets.places))),
            ),
            Task::Commit | Task::Abort => Request::End(
                EndTxnRequest::default()
                    .with_transactional_id(transaction)
                    .with_producer_id(id)
                    .with_producer_epoch(epoch)
                    .with_committed(*task == Task::Commit),
            ),
        }
    }

    fn init(&self) -> InitProducerIdRequest {
        let timeout = self.settings.transactional.as_ref().map(|(_, timeout)| timeout.as_millis());
        InitProducerIdRequest::default()
            .with_transactional_id(self.settings.transactional.as_ref().map(|_| self.transactional_id()))
            .with_transaction_timeout_ms(timeout.map_or(0, |timeout| i32::try_from(timeout).unwrap_or(i32::MAX)))
            .with_producer_id(ProducerId(self.identity.id))
            .with_producer_epoch(self.identity.epoch)
    }

    fn group(&self) -> GroupId {
        GroupId(text(self.offsets.as_ref().map_or("", |offsets| &offsets.group)))
    }

    fn topics(&self, places: &[usize]) -> Vec<AddPartitionsToTxnTopic> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for place in places {
            let name = &self.partitions[*place].name;
            topics.entry(&name.topic).or_default().push(name.partition);
        }
        let topic = |(name, partitions)| {
            AddPartitionsToTxnTopic::default().with_name(TopicName(text(name))).with_partitions(partitions)
        };
        topics.into_iter().map(topic).collect()
    }
}

fn by_topic(places: &[Place]) -> Vec<TxnOffsetCommitRequestTopic> {
    let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
    for place in places {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(place.partition.partition)
            .with_committed_offset(place.offset)
            .with_committed_leader_epoch(place.leader_epoch)
            .with_committed_metadata(Some(text(&place.metadata)));
        topics.entry(&place.partition.topic).or_default().push(partition);
    }
    let topic = |(name, partitions)| {
        TxnOffsetCommitRequestTopic::default().with_name(TopicName(text(name))).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
