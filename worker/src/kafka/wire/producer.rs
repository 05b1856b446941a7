//! Writing a shard's output by record batches: a [`Sender`] and the connections that carry out what it wants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::BinaryArray;
use bytes::Bytes;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, ProduceRequest, TxnOffsetCommitRequest,
};

use super::api::{self, CodecError, Transactions};
use super::batch::{Codec, Rows};
use super::cluster::Endpoint;
use super::complaints::Complaints;
use super::connection::Options;
use super::network::{Event, Network, Patience, Peer};
use super::problem;
use super::produce::{self, Answer, Request, Sender, To};
use super::seeds::Seeds;
use crate::fault;
use crate::kafka::error::{Class, Code, KafkaError};
use crate::kafka::native::client::Undelivered;
use crate::kafka::native::list::Place;
use crate::kafka::producer::WriteBatch;
use crate::metrics::Metrics;
use crate::plan::pipeline::Compression;
use crate::records::{TopicPartition, now_millis};

/// How long to wait for room in the queue before looking whether waiting still makes sense.
const ROOM: Duration = Duration::from_millis(10);

/// What a producer is to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses of the manifest.
    pub seeds: Vec<Endpoint>,
    /// How to connect.
    pub options: Options,
    /// How long that and answers may take.
    pub patience: Patience,
    /// How to produce.
    pub produce: produce::Settings,
    /// The bytes that may wait.
    pub queue: usize,
}

/// Writes, in transactions or without.
#[derive(Debug)]
pub struct Producer {
    sender: Sender,
    network: Network,
    seeds: Seeds,
    queue: usize,
    complaints: Complaints,
}

impl Producer {
    /// A producer, connected to nobody.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let network = Network::new(settings.options, settings.patience);
        Ok(Self {
            sender: Sender::new(settings.produce),
            network: network.map_err(|error| problem::of_client(&error))?,
            seeds: Seeds::new(settings.seeds),
            queue: settings.queue,
            complaints: Complaints::new(metrics),
        })
    }

    /// Connects to a broker; whether one is connected.
    pub fn meet_brokers(&mut self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        if let Some((peer, endpoint)) = self.seeds.anybody(&self.network, self.sender.cluster()) {
            self.network.open(peer, &endpoint);
        }
        self.turn_until(deadline, |this| this.network.open_peers().next().is_some())
    }

    /// Takes the transactional id over: whatever its former owner left open is aborted, and he is fenced.
    pub fn init_transactions(&mut self, wait: Duration) -> Result<(), KafkaError> {
        if !self.sender.has_identity() {
            self.sender.take_over();
        }
        self.until("take over the transactional id", wait, Sender::has_identity)
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<(), KafkaError> {
        self.sound()?;
        self.sender.begin();
        Ok(())
    }

    /// Adds a group's offsets to the transaction.
    pub fn send_offsets(&mut self, group: &str, places: &[Place], wait: Duration) -> Result<(), KafkaError> {
        self.sender.send_offsets(group, places);
        self.until("commit the group's offsets in a transaction", wait, |sender| !sender.has_offsets())
    }

    /// Commits; what was written is delivered first.
    pub fn commit(&mut self, wait: Duration) -> Result<(), KafkaError> {
        self.sender.commit();
        self.until("commit the transaction", wait, |sender| !sender.is_open())
    }

    /// Gives up what is not committed.
    pub fn abort(&mut self, wait: Duration) -> Result<(), KafkaError> {
        self.sender.abort();
        self.until("abort the transaction", wait, Sender::has_identity)
    }

    /// Whether a request was lost on its way since the transaction began.
    pub fn is_tainted(&self) -> bool {
        self.sender.is_tainted()
    }

    /// Waits until everything written is acknowledged, or failed.
    pub fn flush(&mut self, wait: Duration) -> Result<(), KafkaError> {
        self.sender.flush();
        self.until("deliver what was written", wait, Sender::is_flushed)
    }

    /// Sends and takes what there is.
    pub fn poll(&mut self) {
        self.turn(Instant::now());
    }

    /// How long nobody has to call [`Self::poll`]; None if nothing waits for that.
    pub fn rest(&self) -> Option<Duration> {
        let now = Instant::now();
        self.sender.attention(now).map(|due| due.saturating_duration_since(now))
    }

    /// The records that could not be delivered since the last look.
    pub fn take_undelivered(&mut self) -> Option<Undelivered> {
        self.sender.take_undelivered()
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub fn is_refused(&self) -> bool {
        self.complaints.is_refused()
    }

    /// The last error, if any since the last look.
    pub fn take_error(&self) -> Option<KafkaError> {
        self.complaints.take()
    }

    /// Takes all records; waits for room as long as `go_on` says so. Bytes written.
    pub fn write(
        &mut self,
        topic: &str,
        compression: Compression,
        batch: WriteBatch<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, KafkaError> {
        self.sound()?;
        let places = self.places(topic, codec(compression), batch.partitions);
        let (now, millis) = (Instant::now(), now_millis());
        let rows =
            Rows { keys: batch.keys, values: batch.values, timestamps: batch.timestamps, headers: batch.headers };
        let mut begin = 0;
        for run in batch.partitions.chunk_by(|one, next| one == next) {
            let range = begin..begin + run.len();
            begin = range.end;
            self.sender.push(now, places[run[0] as usize], rows, range, millis);
        }
        self.make_room(go_on)?;
        Ok(bytes_of(batch.keys) + bytes_of(batch.values))
    }

    /// The sender's place of each partition that is written to, by partition.
    fn places(&mut self, topic: &str, codec: Codec, partitions: &[i32]) -> Vec<usize> {
        let most = partitions.iter().copied().max().unwrap_or(0).max(0) as usize;
        let mut places = vec![usize::MAX; most + 1];
        let name: Arc<str> = Arc::from(topic);
        for partition in partitions {
            let place = &mut places[*partition as usize];
            if *place == usize::MAX {
                let partition = TopicPartition { topic: Arc::clone(&name), partition: *partition };
                *place = self.sender.place(&partition, codec);
            }
        }
        places
    }

    fn make_room(&mut self, go_on: &dyn Fn() -> bool) -> Result<(), KafkaError> {
        loop {
            self.turn(Instant::now());
            self.sound()?;
            if self.sender.queued() <= self.queue {
                return Ok(());
            }
            if !go_on() {
                let words = "the queue is full and its records cannot be delivered";
                return Err(KafkaError::new("write", Code::QueueFull, words));
            }
            self.turn(Instant::now() + ROOM);
        }
    }

    /// The failure, if there is one.
    fn sound(&self) -> Result<(), KafkaError> {
        self.sender.failure().cloned().map_or(Ok(()), Err)
    }

    /// Waits until `done`; a failure or the end of the time is an error.
    fn until(&mut self, doing: &str, wait: Duration, done: fn(&Sender) -> bool) -> Result<(), KafkaError> {
        let deadline = Instant::now() + wait;
        let is_done = self.turn_until(deadline, |this| done(&this.sender) || this.sender.failure().is_some());
        self.sound()?;
        if is_done {
            return Ok(());
        }
        let cause = self.complaints.last().unwrap_or_else(|| format!("not within {wait:?}"));
        Err(KafkaError { class: Class::Retriable, ..KafkaError::new(doing, Code::OperationTimedOut, cause) })
    }

    fn turn_until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> bool {
        self.turn(Instant::now());
        while !done(self) {
            if Instant::now() >= deadline {
                return false;
            }
            self.turn(deadline);
        }
        true
    }

    /// Sends what there is, waits for something to happen until `deadline`, and takes it.
    fn turn(&mut self, deadline: Instant) {
        self.ask();
        let now = Instant::now();
        let until = self.sender.deadline(now).map_or(deadline, |due| due.min(deadline));
        self.network.wait(until);
        let mut happened = false;
        while let Some(event) = self.network.next_event() {
            self.happened(event);
            happened = true;
        }
        if happened {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let now = Instant::now();
        while let Some((to, request)) = self.sender.next(now) {
            let api = request.api();
            let peer = match to {
                To::Any => self.seeds.anybody(&self.network, self.sender.cluster()),
                To::Broker(node) => self.sender.endpoint(node).map(|endpoint| (Peer::Broker(node), endpoint.clone())),
            };
            let Some((peer, endpoint)) = peer else {
                self.sender.failed(now, to, api);
                continue;
            };
            match self.send(peer, &endpoint, &request) {
                Ok(()) => pass_sent(api),
                Err(error) => {
                    self.complaints.add(&error.into());
                    self.sender.failed(now, to_of(peer), api);
                }
            }
        }
    }

    fn send(&mut self, peer: Peer, endpoint: &Endpoint, request: &Request) -> Result<(), CodecError> {
        match request {
            Request::Metadata(request) => self.network.send(peer, endpoint, request),
            Request::FindCoordinator(request) => self.network.send(peer, endpoint, request),
            Request::InitProducerId(request) => self.network.send(peer, endpoint, request),
            Request::AddPartitions(request) => self.network.send(peer, endpoint, request),
            Request::AddOffsets(request) => self.network.send(peer, endpoint, request),
            Request::CommitOffsets(request) => self.network.send(peer, endpoint, request),
            Request::End(request) => self.network.send(peer, endpoint, request),
            Request::Produce(request) => self.network.send(peer, endpoint, request),
        }
    }

    /// Transactions are those that the cluster has when the transactional id is taken over for the first time. A producer
    /// keeps to them: nothing that needs them was sent before, and the next takeover is another producer's.
    fn settle_transactions(&mut self, coordinator: Peer) {
        if let Some(transactions) = self.network.transactions_of(coordinator).filter(|_| self.sender.is_new()) {
            self.sender.set_transactions(transactions);
            self.network.set_transactions(transactions);
        }
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Answer { peer, api, body } => match decode(peer, api, body, self.sender.transactions()) {
                Ok(answer) => {
                    if api == ApiKey::InitProducerId {
                        self.settle_transactions(peer);
                    }
                    self.complaints.throttled(answer.throttle());
                    self.sender.answered(now, answer);
                    pass_answered(api);
                    if api == ApiKey::Metadata {
                        self.seeds.settle(&mut self.network, self.sender.cluster(), peer);
                    }
                }
                Err(error) => {
                    let error = error.into();
                    self.complaints.add(&error);
                    self.sender.failed(now, to_of(peer), api);
                    self.network.lose(peer, error);
                }
            },
            Event::Lost { peer, under_way, error } => {
                // A broker that ends a connection on which nothing is under way has had enough of waiting.
                if !under_way.is_empty() {
                    self.complaints.add(&error);
                }
                for api in under_way {
                    self.sender.failed(now, to_of(peer), api);
                }
            }
        }
    }
}

/// The fault point behind a request.
fn pass_sent(api: ApiKey) {
    match api {
        ApiKey::InitProducerId => fault::point("wire.init-sent"),
        ApiKey::Produce => fault::point("wire.produce-sent"),
        ApiKey::TxnOffsetCommit => fault::point("wire.offsets-sent"),
        ApiKey::EndTxn => fault::point("wire.end-sent"),
        _ => {}
    }
}

/// The fault point behind an answer.
fn pass_answered(api: ApiKey) {
    match api {
        ApiKey::Produce => fault::point("wire.produce-answered"),
        ApiKey::EndTxn => fault::point("wire.end-answered"),
        _ => {}
    }
}

fn decode(peer: Peer, api: ApiKey, body: Bytes, transactions: Transactions) -> Result<Answer, CodecError> {
    Ok(match api {
        ApiKey::Metadata => Answer::Metadata(api::decode::<MetadataRequest>(body)?),
        ApiKey::FindCoordinator => Answer::FindCoordinator(api::decode::<FindCoordinatorRequest>(body)?),
        ApiKey::InitProducerId => Answer::InitProducerId(api::decode::<InitProducerIdRequest>(body)?),
        ApiKey::AddPartitionsToTxn => Answer::AddPartitions(api::decode::<AddPartitionsToTxnRequest>(body)?),
        ApiKey::AddOffsetsToTxn => Answer::AddOffsets(api::decode::<AddOffsetsToTxnRequest>(body)?),
        ApiKey::TxnOffsetCommit => {
            Answer::CommitOffsets(api::decode_for::<TxnOffsetCommitRequest>(body, transactions)?)
        }
        ApiKey::EndTxn => Answer::End(api::decode_for::<EndTxnRequest>(body, transactions)?),
        _ => {
            let node = if let Peer::Broker(node) = peer { node } else { -1 };
            Answer::Produce(node, api::decode_for::<ProduceRequest>(body, transactions)?)
        }
    })
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

fn to_of(peer: Peer) -> To {
    match peer {
        Peer::Broker(node) => To::Broker(node),
        Peer::Seed(_) => To::Any,
    }
}

fn bytes_of(column: &BinaryArray) -> u64 {
    let offsets = column.value_offsets();
    let ends = offsets.first().zip(offsets.last());
    ends.map_or(0, |(first, last)| u64::try_from(last - first).unwrap_or(0))
}
