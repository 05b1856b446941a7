//! Producing a shard's output, as a state machine.
//!
//! ```text
//!   push, begin, send_offsets, commit, abort ─► Sender ─► next ─► Action: a request and whom to send it to
//!                                                 ▲
//!                                                 └─ answered, failed
//! ```
//!
//! Each partition has batches that wait and at most one under way; it is sent again, the same bytes with the same
//! sequence, until it is acknowledged. A transaction is ended only when every batch is acknowledged and the offsets are
//! taken. In the first version of transactions, a partition is added by a request of its own before its first batch; in the
//! second one (KIP-890) the batch itself does that.
//!
//! **Guarantees.** What is retriable is tried again, and nothing else is: any other answer is a failure of the producer,
//! which only another epoch mends ([`Sender::abort`], or another producer). An abort waits for what is under way and ends
//! the transaction.
//!
//! * In the second version each end of a transaction gives the next one another epoch, and what comes late is refused.
//! * In the first one an epoch lasts. So an abort also takes another one, by an `InitProducerId` with the present id and
//!   epoch, which a successor with a later one refuses. Where a connection was lost with a request under way, that request
//!   may arrive at any time; so the next transaction begins with another epoch, too.
//!
//! **Assumptions.** The caller carries out actions and reports each one's end, in the order of each broker's answers.

mod answer;
mod control;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, ProduceRequest, TopicName, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

pub use answer::Answer;

use super::api::Transactions;
use super::backoff::Backoff;
use super::batch::{Codec, Rows};
use super::cluster::{Cluster, Endpoint};
use super::pool::Pool;
use crate::kafka::error::{Code, KafkaError};
use crate::kafka::native::client::Undelivered;
use crate::kafka::native::list::Place;
use crate::records::TopicPartition;
use control::{Control, Offsets};
use partition::Partition;

/// All replicas that are in sync.
const ALL: i16 = -1;
/// Requests under way at a broker: as many as Kafka's own client has.
const UNDER_WAY: usize = 5;

/// The buffers that are kept for batches to come.
const BATCHES: usize = 8;
/// How often an answer is looked for that something waits for.
const ANSWER: Duration = Duration::from_millis(2);

/// What a sender may do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The transactional id and the transaction's timeout; None without transactions.
    pub transactional: Option<(String, Duration)>,
    /// The bytes at which a batch is sent.
    pub batch: usize,
    /// The bytes of the batches in one request.
    pub request: usize,
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
    /// After this long a batch that was not acknowledged has failed.
    pub delivery: Duration,
    /// How long a broker may wait for its replicas.
    pub acknowledge: Duration,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Any broker.
    Any,
    /// This one.
    Broker(i32),
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Who leads partitions.
    Metadata(MetadataRequest),
    /// Who coordinates the transaction or the group.
    FindCoordinator(FindCoordinatorRequest),
    /// Another epoch.
    InitProducerId(InitProducerIdRequest),
    /// Partitions become part of the transaction.
    AddPartitions(AddPartitionsToTxnRequest),
    /// The group becomes part of the transaction.
    AddOffsets(AddOffsetsToTxnRequest),
    /// The group's offsets.
    CommitOffsets(TxnOffsetCommitRequest),
    /// The transaction's end.
    End(EndTxnRequest),
    /// Batches.
    Produce(ProduceRequest),
}

impl Request {
    /// Which request it is.
    pub fn api(&self) -> ApiKey {
        match self {
            Self::Metadata(_) => ApiKey::Metadata,
            Self::FindCoordinator(_) => ApiKey::FindCoordinator,
            Self::InitProducerId(_) => ApiKey::InitProducerId,
            Self::AddPartitions(_) => ApiKey::AddPartitionsToTxn,
            Self::AddOffsets(_) => ApiKey::AddOffsetsToTxn,
            Self::CommitOffsets(_) => ApiKey::TxnOffsetCommit,
            Self::End(_) => ApiKey::EndTxn,
            Self::Produce(_) => ApiKey::Produce,
        }
    }
}

/// The producer's id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// Nobody yet: whoever asks with this becomes the id's owner.
const NOBODY: Identity = Identity { id: -1, epoch: -1 };

/// The writes of one shard.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they vary on their own: what is open, what is wanted, what was lost"
)]
pub struct Sender {
    settings: Settings,
    cluster: Cluster,
    pool: Pool,
    partitions: Vec<Partition>,
    places: HashMap<TopicPartition, usize>,
    // Partitions of each produce request under way, in the order of the answers.
    under_way: BTreeMap<i32, VecDeque<Vec<usize>>>,
    rests: BTreeMap<i32, Backoff>,
    control: Control,
    transactions: Transactions,
    identity: Identity,
    // Whether `identity` is to be replaced before anything else is sent.
    renew: bool,
    open: bool,
    // Whether the coordinator has heard of the open transaction.
    touched: bool,
    ending: bool,
    aborting: bool,
    offsets: Option<Offsets>,
    flushing: bool,
    // A request was lost on its way and may still arrive.
    tainted: bool,
    failure: Option<KafkaError>,
    undelivered: Option<Undelivered>,
}

impl Sender {
    /// A sender that has no id yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            cluster: Cluster::default(),
            pool: Pool::new(BATCHES),
            partitions: Vec::new(),
            places: HashMap::new(),
            under_way: BTreeMap::new(),
            rests: BTreeMap::new(),
            control: Control::default(),
            transactions: Transactions::default(),
            identity: NOBODY,
            renew: true,
            open: false,
            touched: false,
            ending: false,
            aborting: false,
            offsets: None,
            flushing: false,
            tainted: false,
            failure: None,
            undelivered: None,
        }
    }

    /// Where a broker listens, if that is known.
    pub fn endpoint(&self, node: i32) -> Option<&Endpoint> {
        self.cluster.endpoint(node)
    }

    /// What is known of the cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The bytes of records that are not acknowledged.
    pub fn queued(&self) -> usize {
        self.partitions.iter().map(Partition::bytes).sum()
    }

    /// Whether every record is acknowledged.
    pub fn is_flushed(&self) -> bool {
        self.partitions.iter().all(Partition::is_empty)
    }

    /// Whether there is an id with an epoch to write with.
    pub fn has_identity(&self) -> bool {
        !self.renew && !self.aborting
    }

    /// Whether there was no id yet.
    pub fn is_new(&self) -> bool {
        self.identity == NOBODY
    }

    /// Which transactions there are.
    pub fn transactions(&self) -> Transactions {
        self.transactions
    }

    /// Says which transactions there are: before the first id.
    pub fn set_transactions(&mut self, transactions: Transactions) {
        self.transactions = transactions;
    }

    /// Whether writing adds a partition to the transaction, and each transaction has an epoch of its own.
    fn is_second(&self) -> bool {
        self.transactions == Transactions::Second
    }

    /// Whether a request was lost on its way that may still arrive, and counts, within the open transaction or behind it.
    pub fn is_tainted(&self) -> bool {
        self.tainted && !self.is_second()
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether offsets are still to be taken.
    pub fn has_offsets(&self) -> bool {
        self.offsets.is_some()
    }

    /// Why nothing more is sent, if that is so.
    pub fn failure(&self) -> Option<&KafkaError> {
        self.failure.as_ref()
    }

    /// The records that could not be delivered, and forgets them.
    pub fn take_undelivered(&mut self) -> Option<Undelivered> {
        self.undelivered.take()
    }

    /// The place of a partition, for [`Self::push`].
    pub fn place(&mut self, partition: &TopicPartition, codec: Codec) -> usize {
        if let Some(place) = self.places.get(partition) {
            return *place;
        }
        let place = self.partitions.len();
        self.partitions.push(Partition::new(partition.clone(), codec, self.pool.clone()));
        self.places.insert(partition.clone(), place);
        self.cluster.want();
        place
    }

    /// Adds rows to a partition's batch; those without a timestamp get `millis`.
    pub fn push(&mut self, now: Instant, place: usize, rows: Rows<'_>, range: Range<usize>, millis: i64) {
        self.partitions[place].push(now, rows, range, millis, self.settings.batch);
    }

    /// Takes the transactional id over, whoever has it: for a producer that has none yet.
    pub fn take_over(&mut self) {
        self.identity = NOBODY;
        self.renew = true;
    }

    /// Begins a transaction.
    pub fn begin(&mut self) {
        (self.open, self.touched) = (true, false);
        self.renew |= self.is_tainted();
        self.tainted = false;
        for partition in &mut self.partitions {
            partition.added = false;
        }
    }

    /// Adds a group's offsets to the transaction.
    pub fn send_offsets(&mut self, group: &str, places: &[Place]) {
        self.offsets = Some(Offsets::new(group, places));
    }

    /// Ends the transaction once everything in it is acknowledged.
    pub fn commit(&mut self) {
        self.ending = true;
        self.flushing = true;
    }

    /// Sends what waits without waiting for more of it, until everything is acknowledged.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Gives up what is not committed; what follows has another epoch, in which everything begins anew. Not for a tainted
    /// transaction: what is still on its way would need a producer that takes the id over, whose markers have a later epoch.
    pub fn abort(&mut self) {
        for partition in &mut self.partitions {
            partition.clear();
        }
        // Answers that are still to come are to former requests.
        self.under_way.values_mut().flatten().for_each(Vec::clear);
        self.control.forget();
        (self.open, self.ending, self.flushing, self.tainted) = (false, false, false, false);
        (self.offsets, self.failure, self.undelivered) = (None, None, None);
        self.aborting = true;
    }

    /// Whether no batch is under way.
    fn is_quiet(&self) -> bool {
        self.under_way.values().all(VecDeque::is_empty)
    }

    /// What is to be done now; to be asked again until there is nothing.
    pub fn next(&mut self, now: Instant) -> Option<(To, Request)> {
        if self.failure.is_some() || self.expire(now) {
            return None;
        }
        self.end_if_untouched();
        let topics = self.partitions.iter().map(|partition| &*partition.name.topic);
        if let Some(request) = self.cluster.question(now, topics) {
            return Some((To::Any, Request::Metadata(request)));
        }
        self.next_control(now).or_else(|| self.next_produce(now))
    }

    /// When something will be to do although nothing happens.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let lingering = self.partitions.iter().filter_map(|partition| partition.due(self.settings.linger));
        let resting = self.partitions.iter().filter(|p| !p.is_empty()).filter_map(|p| p.backoff.end(now));
        let brokers = self.rests.values().filter_map(|rest| rest.end(now));
        let cluster = (!self.is_flushed()).then(|| self.cluster.deadline(now)).flatten();
        let all = lingering.chain(resting).chain(brokers).chain(cluster).chain(self.control.backoff.end(now));
        // What is due already waits for something else.
        all.filter(|due| *due > now).min()
    }

    /// When the caller has to come back although nothing else happens to it; None if it need not. A batch behind one that
    /// is under way goes out with the answer to that, which nobody tells.
    pub fn attention(&self, now: Instant) -> Option<Instant> {
        if self.is_flushed() {
            return None;
        }
        let behind = self.partitions.iter().filter_map(|partition| partition.behind(self.settings.linger));
        behind.map(|due| due.max(now + ANSWER)).chain(self.deadline(now)).min()
    }

    /// A transaction of which the coordinator has not heard needs no end.
    fn end_if_untouched(&mut self) {
        if self.ending && !self.touched && self.offsets.is_none() && self.is_flushed() {
            (self.open, self.ending, self.flushing) = (false, false, false);
        }
    }

    /// Batches that nobody acknowledged for too long have failed. Whether there are any.
    fn expire(&mut self, now: Instant) -> bool {
        let late = self.partitions.iter().find(|p| p.oldest().is_some_and(|at| now >= at + self.settings.delivery));
        let Some(partition) = late else { return false };
        let waited = format!("not acknowledged within {:?}", self.settings.delivery);
        let error = KafkaError::new(partition.doing(), Code::MessageTimedOut, waited);
        let records = partition.records();
        self.undeliverable(error, records);
        true
    }

    fn undeliverable(&mut self, error: KafkaError, records: u64) {
        match &mut self.undelivered {
            Some(undelivered) => undelivered.records += records,
            None => self.undelivered = Some(Undelivered { error: error.clone(), records }),
        }
        self.fail(error);
    }

    /// The first failure counts; what comes behind it follows from it.
    fn fail(&mut self, error: KafkaError) {
        self.failure.get_or_insert(error);
    }

    fn is_transactional(&self) -> bool {
        self.settings.transactional.is_some()
    }

    fn next_produce(&mut self, now: Instant) -> Option<(To, Request)> {
        if self.renew || self.aborting {
            return None;
        }
        let (linger, is_added_first) = (self.settings.linger, self.is_transactional() && !self.is_second());
        let mut ready: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, partition) in self.partitions.iter_mut().enumerate() {
            partition.seal_if_due(now, linger, self.flushing);
            if !partition.is_ready(now) || (is_added_first && !partition.added) {
                continue;
            }
            match self.cluster.leader(&partition.name.topic, partition.name.partition) {
                None => self.cluster.want(),
                Some(leader) => ready.entry(leader.node).or_default().push(place),
            }
        }
        let (node, places) = ready.into_iter().find(|(node, _)| {
            let free = self.under_way.get(node).is_none_or(|under_way| under_way.len() < UNDER_WAY);
            free && self.rests.get(node).is_none_or(|rest| rest.is_over(now))
        })?;
        Some((To::Broker(node), Request::Produce(self.produce(node, places)?)))
    }

    /// A request with one batch of each of these partitions, as far as there is room.
    fn produce(&mut self, node: i32, places: Vec<usize>) -> Option<ProduceRequest> {
        let (mut room, mut sent) = (self.settings.request, Vec::new());
        let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        for place in places {
            let partition = &mut self.partitions[place];
            let Some(bytes) = partition.send(self.identity, self.settings.transactional.is_some()) else { continue };
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    let error = KafkaError::new(partition.doing(), Code::BadMessage, error.to_string());
                    self.fail(error);
                    return None;
                }
            };
            room = room.saturating_sub(bytes.len());
            let data = PartitionProduceData::default().with_index(partition.name.partition).with_records(Some(bytes));
            topics.entry(Arc::clone(&partition.name.topic)).or_default().push(data);
            sent.push(place);
            if room == 0 {
                break;
            }
        }
        self.under_way.entry(node).or_default().push_back(sent);
        let topics = topics.into_iter().map(|(name, partitions)| {
            let name = TopicName(StrBytes::from_string(name.to_string()));
            TopicProduceData::default().with_name(name).with_partition_data(partitions)
        });
        let id = self.settings.transactional.as_ref().map(|(id, _)| TransactionalId(StrBytes::from_string(id.clone())));
        Some(
            ProduceRequest::default()
                .with_transactional_id(id)
                .with_acks(ALL)
                .with_timeout_ms(i32::try_from(self.settings.acknowledge.as_millis()).unwrap_or(i32::MAX))
                .with_topic_data(topics.collect()),
        )
    }

    /// A request that will not be answered: its connection was lost, or its answer could not be read.
    pub fn failed(&mut self, now: Instant, from: To, api: ApiKey) {
        match (api, from) {
            (ApiKey::Metadata, _) => self.cluster.unanswered(now),
            (ApiKey::Produce, To::Broker(node)) => {
                self.tainted = true;
                self.rests.entry(node).or_default().failed(now);
                let lost = self.under_way.get_mut(&node).and_then(VecDeque::pop_front);
                for place in lost.unwrap_or_default() {
                    self.partitions[place].again(now);
                }
                self.cluster.want();
                if self.aborting && !self.is_second() {
                    let words = "a batch of it was lost on its way, and may still arrive";
                    self.fail(KafkaError::new("abort the transaction", Code::BrokerTransportFailure, words));
                }
            }
            _ => {
                self.tainted |= api != ApiKey::FindCoordinator && api != ApiKey::InitProducerId;
                let is_first = !self.is_second();
                if is_first && self.aborting && self.control.stale > 0 && api != ApiKey::FindCoordinator {
                    let words = "a request of it was lost on its way, and may still arrive";
                    self.fail(KafkaError::new("abort the transaction", Code::BrokerTransportFailure, words));
                }
                self.control.failed(now, api);
            }
        }
    }
}
