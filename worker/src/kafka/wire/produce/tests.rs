#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use arrow::array::{BinaryArray, Int64Array};
use bytes::Bytes;
use kafka_protocol::error::ResponseError as E;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, BrokerId, EndTxnResponse, FindCoordinatorResponse,
    InitProducerIdResponse, MetadataResponse, ProduceResponse, ProducerId, TxnOffsetCommitResponse,
};
use proptest::prelude::*;

use super::*;
use crate::kafka::columns::Columns;
use crate::kafka::error::Class;
use crate::kafka::wire::batch::{Decompressor, Position, Records, Room, Target};

const NODE: i32 = 1;
const PARTITIONS: i32 = 3;

fn settings() -> Settings {
    Settings {
        transactional: Some(("app.0".to_owned(), Duration::from_secs(10))),
        batch: 200,
        request: 1000,
        linger: Duration::from_millis(50),
        delivery: Duration::from_secs(1000),
        acknowledge: Duration::from_secs(10),
    }
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from("t"), partition: number }
}

fn push(sender: &mut Sender, now: Instant, number: i32, value: &str) {
    let place = sender.place(&partition(number), Codec::None);
    let (keys, values) = (BinaryArray::from_opt_vec(vec![None]), BinaryArray::from_vec(vec![value.as_bytes()]));
    let rows = Rows { keys: &keys, values: &values, timestamps: &Int64Array::from(vec![1]), headers: None };
    sender.push(now, place, rows, 0..1, 1);
}

const BOTH: [Transactions; 2] = [Transactions::First, Transactions::Second];

fn sender(transactions: Transactions) -> Sender {
    let mut sender = Sender::new(settings());
    sender.set_transactions(transactions);
    sender
}

/// A broker with one transactional id, as Kafka keeps it.
#[derive(Default)]
struct Broker {
    transactions: Transactions,
    id: i64,
    epoch: i16,
    logs: [Log; PARTITIONS as usize],
    added: BTreeSet<i32>,
    grouped: bool,
    offset: i64,
    pending_offset: Option<i64>,
    last_end: Option<(i16, bool)>,
}

#[derive(Default)]
struct Log {
    committed: Vec<String>,
    open: Vec<String>,
    // The next sequence of the present epoch, and the last batches.
    next: i32,
    last: VecDeque<(i32, i32)>,
    epoch: i16,
}

impl Broker {
    fn new(transactions: Transactions) -> Self {
        Self { transactions, ..Self::default() }
    }

    fn is_second(&self) -> bool {
        self.transactions == Transactions::Second
    }

    fn handle(&mut self, request: &Request) -> Answer {
        match request {
            Request::Metadata(_) => Answer::Metadata(metadata()),
            Request::FindCoordinator(_) => {
                let found = FindCoordinatorResponse::default().with_node_id(BrokerId(NODE)).with_port(9);
                Answer::FindCoordinator(found.with_host(StrBytes::from_static_str("h")))
            }
            Request::InitProducerId(request) => Answer::InitProducerId(self.init(request)),
            Request::AddPartitions(request) => Answer::AddPartitions(self.add(request)),
            Request::AddOffsets(request) => {
                let code = self.check(request.producer_id.0, request.producer_epoch);
                self.grouped |= code == 0;
                Answer::AddOffsets(AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            Request::CommitOffsets(request) => {
                let code = self.check(request.producer_id.0, request.producer_epoch);
                self.grouped |= code == 0 && self.is_second();
                if code == 0 && self.grouped {
                    self.pending_offset = Some(request.topics[0].partitions[0].committed_offset);
                }
                Answer::CommitOffsets(committed(code))
            }
            Request::End(request) => Answer::End(self.end(request)),
            Request::Produce(request) => Answer::Produce(NODE, self.produce(request)),
        }
    }

    fn check(&self, id: i64, epoch: i16) -> i16 {
        if (id, epoch) == (self.id, self.epoch) { 0 } else { E::InvalidProducerEpoch.code() }
    }

    fn init(&mut self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        let given = (request.producer_id.0, request.producer_epoch);
        // The present epoch, or the one before where the answer was lost.
        let known = given == (-1, -1) || given == (self.id, self.epoch) || given == (self.id, self.epoch - 1);
        if !known {
            return InitProducerIdResponse::default().with_error_code(E::ProducerFenced.code());
        }
        if !self.added.is_empty() || self.grouped {
            // What is open is aborted under another epoch, and the producer is to ask again.
            self.finish(false);
            self.epoch += 1;
            return InitProducerIdResponse::default().with_error_code(E::ConcurrentTransactions.code());
        }
        if given.1 != self.epoch - 1 || given.0 == -1 {
            self.epoch += 1;
        }
        self.id = 7;
        InitProducerIdResponse::default().with_producer_id(ProducerId(self.id)).with_producer_epoch(self.epoch)
    }

    fn add(&mut self, request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
        let code = self.check(request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
        let topics = request.v3_and_below_topics.iter().map(|topic| {
            let result = |partition: &i32| {
                let result = AddPartitionsToTxnPartitionResult::default().with_partition_index(*partition);
                result.with_partition_error_code(code)
            };
            if code == 0 {
                self.added.extend(&topic.partitions);
            }
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(topic.partitions.iter().map(result).collect())
        });
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics.collect())
    }

    fn end(&mut self, request: &EndTxnRequest) -> EndTxnResponse {
        if self.is_second() {
            return self.end_second(request);
        }
        let code = self.check(request.producer_id.0, request.producer_epoch);
        let open = !self.added.is_empty() || self.grouped;
        if code != 0 {
            return EndTxnResponse::default().with_error_code(code);
        }
        if !open && self.last_end != Some((self.epoch, request.committed)) {
            return EndTxnResponse::default().with_error_code(E::InvalidTxnState.code());
        }
        self.finish(request.committed);
        self.last_end = Some((self.epoch, request.committed));
        EndTxnResponse::default()
    }

    /// As `TransactionCoordinator.endTransaction` does for clients of the second version: another epoch, for which a
    /// repetition is known; and none may be aborted.
    fn end_second(&mut self, request: &EndTxnRequest) -> EndTxnResponse {
        let (epoch, commit) = (request.producer_epoch, request.committed);
        let open = !self.added.is_empty() || self.grouped;
        let again = epoch + 1 == self.epoch && !open && self.last_end == Some((epoch, commit));
        if !again {
            let code = self.check(request.producer_id.0, epoch);
            if code != 0 {
                return EndTxnResponse::default().with_error_code(E::ProducerFenced.code());
            }
            if commit && !open {
                return EndTxnResponse::default().with_error_code(E::InvalidTxnState.code());
            }
            self.finish(commit);
            self.last_end = Some((epoch, commit));
            self.epoch += 1;
        }
        EndTxnResponse::default().with_producer_id(ProducerId(self.id)).with_producer_epoch(self.epoch)
    }

    fn finish(&mut self, commit: bool) {
        for log in &mut self.logs {
            let open = std::mem::take(&mut log.open);
            if commit {
                log.committed.extend(open);
            }
        }
        if let Some(offset) = self.pending_offset.take().filter(|_| commit) {
            self.offset = offset;
        }
        self.added.clear();
        self.grouped = false;
    }

    fn produce(&mut self, request: &ProduceRequest) -> ProduceResponse {
        let topics = request.topic_data.iter().map(|topic| {
            let answers = topic.partition_data.iter().map(|data| {
                let code = self.append(data.index, data.records.clone().unwrap());
                PartitionProduceResponse::default().with_index(data.index).with_error_code(code)
            });
            TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(answers.collect())
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    fn append(&mut self, partition: i32, bytes: Bytes) -> i16 {
        let number = |range: std::ops::Range<usize>| bytes[range].iter().fold(0_i64, |n, b| (n << 8) | i64::from(*b));
        let (id, epoch, sequence) = (number(43..51), number(51..53) as i16, number(53..57) as i32);
        if (id, epoch) != (self.id, self.epoch) {
            return E::InvalidProducerEpoch.code();
        }
        if self.is_second() {
            self.added.insert(partition);
        }
        let log = &mut self.logs[partition as usize];
        if !self.added.contains(&partition) {
            return E::InvalidTxnState.code();
        }
        let values = values(bytes);
        if log.epoch != epoch {
            (log.epoch, log.next) = (epoch, 0);
            log.last.clear();
        }
        if log.last.contains(&(sequence, values.len() as i32)) {
            return 0;
        }
        if sequence != log.next {
            return E::OutOfOrderSequenceNumber.code();
        }
        log.next += values.len() as i32;
        log.last.push_back((sequence, values.len() as i32));
        if log.last.len() > 5 {
            log.last.pop_front();
        }
        log.open.extend(values);
        0
    }
}

fn values(bytes: Bytes) -> Vec<String> {
    let mut records = Records::uncommitted(bytes, Position { offset: 0, leader_epoch: -1 });
    let mut columns = Columns::with_capacity(0, 8, 64);
    let mut target = Target { columns: &mut columns, slot: 0, headers: false, end: None };
    let mut room = Room { rows: 10_000, bytes: 1 << 20 };
    records.read(&mut target, &mut room, &mut Decompressor::new(1 << 20)).unwrap();
    let batch = columns.finish(&Arc::from([]));
    (0..batch.len()).map(|row| String::from_utf8(batch.values.value(row).to_vec()).unwrap()).collect()
}

fn committed(code: i16) -> TxnOffsetCommitResponse {
    let partition = TxnOffsetCommitResponsePartition::default().with_error_code(code);
    let topic = TxnOffsetCommitResponseTopic::default().with_partitions(vec![partition]);
    TxnOffsetCommitResponse::default().with_topics(vec![topic])
}

fn metadata() -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(NODE)).with_port(9);
    let partition = |index| {
        let partition = MetadataResponsePartition::default().with_partition_index(index);
        partition.with_leader_id(BrokerId(NODE)).with_leader_epoch(0)
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
        .with_partitions((0..PARTITIONS).map(partition).collect());
    MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
}

/// Carries requests out until there are none, or time has passed in vain.
fn run(sender: &mut Sender, broker: &mut Broker, now: &mut Instant) {
    for _ in 0..100 {
        match sender.next(*now) {
            Some((_, request)) => {
                let answer = broker.handle(&request);
                sender.answered(*now, answer);
            }
            None => *now += Duration::from_millis(20),
        }
    }
}

#[test]
fn a_transaction_goes_its_way() {
    BOTH.into_iter().for_each(transaction);
}

fn transaction(transactions: Transactions) {
    let (mut sender, mut broker, mut now) = (sender(transactions), Broker::new(transactions), Instant::now());
    sender.take_over();
    run(&mut sender, &mut broker, &mut now);
    assert!(sender.has_identity());
    for round in 0..3 {
        sender.begin();
        for n in 0..50 {
            push(&mut sender, now, n % PARTITIONS, &format!("{round}-{n}"));
        }
        let place = Place { partition: partition(0), offset: round, leader_epoch: 3, metadata: "m".to_owned() };
        sender.send_offsets("group", &[place]);
        run(&mut sender, &mut broker, &mut now);
        assert!(!sender.has_offsets() && sender.is_open());
        assert!(broker.logs[0].committed.iter().all(|value| !value.starts_with(&format!("{round}-"))));
        sender.commit();
        run(&mut sender, &mut broker, &mut now);
        assert!(!sender.is_open() && sender.is_flushed() && sender.failure().is_none());
        assert_eq!((broker.offset, sender.queued()), (round, 0));
    }
    // One epoch for all of them, or one each.
    assert_eq!(broker.epoch, if broker.is_second() { 4 } else { 1 });
    assert_eq!(broker.logs.iter().map(|log| log.committed.len()).sum::<usize>(), 150);
}

#[test]
fn an_abort_is_another_epoch() {
    BOTH.into_iter().for_each(abort);
}

fn abort(transactions: Transactions) {
    let (mut sender, mut broker, mut now) = (sender(transactions), Broker::new(transactions), Instant::now());
    sender.begin();
    push(&mut sender, now, 0, "lost");
    sender.flush();
    run(&mut sender, &mut broker, &mut now);
    assert_eq!(broker.logs[0].open, ["lost"]);
    sender.abort();
    run(&mut sender, &mut broker, &mut now);
    assert!(broker.logs[0].open.is_empty() && broker.epoch == 2);
    sender.begin();
    push(&mut sender, now, 0, "kept");
    sender.commit();
    run(&mut sender, &mut broker, &mut now);
    assert_eq!(broker.logs[0].committed, ["kept"]);
    // What was begun, and nobody told the brokers of, is aborted and committed as well.
    for end in [Sender::abort, Sender::commit] {
        sender.begin();
        end(&mut sender);
        run(&mut sender, &mut broker, &mut now);
        assert!(!sender.is_open() && sender.has_identity() && sender.failure().is_none());
    }
}

#[test]
fn a_batch_waits_for_the_end_of_the_transaction_before() {
    let (mut sender, mut broker) = (sender(Transactions::Second), Broker::new(Transactions::Second));
    let mut now = Instant::now();
    sender.begin();
    push(&mut sender, now, 0, "a");
    sender.commit();
    let mut refused = 3;
    for _ in 0..100 {
        match sender.next(now) {
            Some((_, Request::Produce(request))) if refused > 0 => {
                refused -= 1;
                let told = PartitionProduceResponse::default().with_error_code(E::ConcurrentTransactions.code());
                let topic = TopicProduceResponse::default().with_name(request.topic_data[0].name.clone());
                let topic = topic.with_partition_responses(vec![told]);
                sender.answered(now, Answer::Produce(NODE, ProduceResponse::default().with_responses(vec![topic])));
            }
            Some((_, request)) => {
                let answer = broker.handle(&request);
                sender.answered(now, answer);
            }
            None => now += Duration::from_millis(20),
        }
    }
    assert_eq!((refused, sender.is_open(), broker.logs[0].committed.len()), (0, false, 1));
}

#[test]
fn what_waits_behind_a_batch_under_way_wants_to_be_looked_after() {
    let (mut sender, mut broker) = (sender(Transactions::Second), Broker::new(Transactions::Second));
    let (mut now, linger) = (Instant::now(), settings().linger);
    sender.begin();
    push(&mut sender, now, 0, "a");
    run(&mut sender, &mut broker, &mut now);
    assert_eq!((sender.is_flushed(), sender.attention(now)), (true, None), "nothing waits");
    push(&mut sender, now, 0, "b");
    assert_eq!(sender.attention(now), Some(now + linger), "until it is sent");
    now += linger;
    let Some((_, request)) = sender.next(now) else { panic!("a batch that waited long enough is sent") };
    // Leaders are asked for again at times.
    assert!(sender.attention(now).is_none_or(|due| due > now + 10 * linger), "nothing waits behind it");
    push(&mut sender, now, 0, "c");
    assert_eq!(sender.attention(now), Some(now + linger));
    now += linger;
    assert_eq!((sender.next(now), sender.attention(now)), (None, Some(now + ANSWER)), "it waits for the answer");
    let answer = broker.handle(&request);
    sender.answered(now, answer);
    assert!(matches!(sender.next(now), Some((_, Request::Produce(_)))));
}

#[test]
fn an_answer_without_an_epoch_is_told() {
    let (mut sender, mut broker) = (sender(Transactions::Second), Broker::new(Transactions::Second));
    let mut now = Instant::now();
    sender.begin();
    push(&mut sender, now, 0, "a");
    sender.flush();
    run(&mut sender, &mut broker, &mut now);
    sender.commit();
    while let Some((_, request)) = sender.next(now) {
        assert!(matches!(request, Request::End(_)), "{request:?}");
        let nothing = EndTxnResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
        sender.answered(now, Answer::End(nothing));
    }
    let words = sender.failure().map(ToString::to_string).unwrap_or_default();
    assert!(words.contains("commit the transaction") && words.contains("no epoch"), "{words}");
}

#[test]
fn who_was_fenced_is_told_and_does_not_fence_his_successor() {
    BOTH.into_iter().for_each(fenced);
}

fn fenced(transactions: Transactions) {
    let (mut sender, mut broker, mut now) = (sender(transactions), Broker::new(transactions), Instant::now());
    sender.begin();
    push(&mut sender, now, 0, "a");
    sender.flush();
    run(&mut sender, &mut broker, &mut now);
    broker.init(&InitProducerIdRequest::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1));
    broker.epoch += 3;
    sender.commit();
    run(&mut sender, &mut broker, &mut now);
    assert_eq!(sender.failure().map(|error| error.class), Some(Class::Fenced));
    let epoch = broker.epoch;
    sender.abort();
    run(&mut sender, &mut broker, &mut now);
    assert_eq!(sender.failure().map(|error| error.class), Some(Class::Fenced));
    assert_eq!(broker.epoch, epoch);
}

#[test]
fn a_refused_record_and_one_that_nobody_takes_are_told() {
    let (mut sender, mut broker, mut now) = (Sender::new(settings()), Broker::default(), Instant::now());
    sender.begin();
    push(&mut sender, now, 0, "a");
    sender.flush();
    while let Some((_, request)) = sender.next(now) {
        let Request::Produce(request) = &request else {
            let answer = broker.handle(&request);
            sender.answered(now, answer);
            continue;
        };
        let told = PartitionProduceResponse::default()
            .with_error_code(E::InvalidTimestamp.code())
            .with_error_message(Some(StrBytes::from_static_str("too old")));
        let topic = TopicProduceResponse::default()
            .with_name(request.topic_data[0].name.clone())
            .with_partition_responses(vec![told]);
        sender.answered(now, Answer::Produce(NODE, ProduceResponse::default().with_responses(vec![topic])));
    }
    let undelivered = sender.take_undelivered().unwrap();
    assert!(undelivered.error.is_refused_record() && undelivered.records == 1, "{undelivered:?}");
    assert!(
        undelivered.error.to_string().contains("topic `t` partition 0")
            && undelivered.error.message.ends_with("too old")
    );
    assert_eq!(sender.next(now), None, "nothing behind a failure");

    let mut sender = Sender::new(Settings { delivery: Duration::from_secs(1), ..settings() });
    push(&mut sender, now, 0, "a");
    now += Duration::from_secs(2);
    assert_eq!(sender.next(now), None);
    assert_eq!(sender.next(now), None);
    let undelivered = sender.take_undelivered().unwrap();
    assert_eq!((undelivered.error.code, undelivered.records), (Code::MessageTimedOut, 1), "counted once");
    assert_eq!((sender.next(now), sender.take_undelivered()), (None, None), "and told once");
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
enum Chance {
    Answered,
    LostBefore,
    LostAfter,
    /// It is lost, and arrives much later.
    Stale,
}

fn any_chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        12 => Just(Chance::Answered),
        1 => Just(Chance::LostBefore),
        1 => Just(Chance::LostAfter),
        1 => Just(Chance::Stale),
    ]
}

/// A broker, and a way to it on which requests and answers are lost and late.
struct World {
    broker: Broker,
    chances: std::vec::IntoIter<Chance>,
    // What arrives later, and at which step.
    stale: VecDeque<(usize, Request)>,
    hold: usize,
    steps: usize,
    now: Instant,
}

impl World {
    /// Carries requests out until `done`, a failure, or so many steps.
    fn run(&mut self, sender: &mut Sender, most: usize, done: fn(&Sender) -> bool) {
        for _ in 0..most {
            self.steps += 1;
            while self.stale.front().is_some_and(|(due, _)| *due <= self.steps) {
                let (_, request) = self.stale.pop_front().unwrap();
                self.broker.handle(&request);
            }
            if done(sender) || sender.failure().is_some() {
                return;
            }
            let Some((to, request)) = sender.next(self.now) else {
                self.now += Duration::from_millis(20);
                continue;
            };
            self.carry_out(sender, to, request);
        }
    }

    fn carry_out(&mut self, sender: &mut Sender, to: To, request: Request) {
        let api = request.api();
        match self.chances.next().unwrap_or(Chance::Answered) {
            Chance::Answered => {
                let answer = self.broker.handle(&request);
                sender.answered(self.now, answer);
            }
            Chance::LostBefore => sender.failed(self.now, to, api),
            Chance::LostAfter => {
                self.broker.handle(&request);
                sender.failed(self.now, to, api);
            }
            Chance::Stale => {
                self.stale.push_back((self.steps + self.hold, request));
                sender.failed(self.now, to, api);
            }
        }
    }
}

const PLENTY: usize = 2000;

proptest! {
    /// Whatever is lost or late, and whatever is given up on the way, each record is committed once, in order, together
    /// with its offset.
    #[test]
    fn records_are_committed_once(
        chances in proptest::collection::vec(any_chance(), 0..200),
        transactions in proptest::collection::vec(1_usize..30, 1..12),
        // After how many steps the next tries are given up.
        given_up in proptest::collection::vec(0_usize..40, 0..6),
        hold in 1_usize..40,
        version in proptest::sample::select(&BOTH[..]),
    ) {
        let mut sender = self::sender(version);
        let (broker, chances) = (Broker::new(version), chances.into_iter());
        let mut world = World { broker, chances, stale: VecDeque::new(), hold, steps: 0, now: Instant::now() };
        let mut given_up = given_up.into_iter();
        let (mut first, mut expected) = (0, 0_i64);
        for count in &transactions {
            // As the shard does: from the last checkpoint again until it is committed.
            let mut tries = 0;
            loop {
                tries += 1;
                prop_assert!(tries < 300, "no end");
                sender.begin();
                for n in first..first + count {
                    push(&mut sender, world.now, n as i32 % PARTITIONS, &n.to_string());
                }
                let offset = (first + count) as i64;
                let place = Place { partition: partition(0), offset, leader_epoch: -1, metadata: String::new() };
                sender.send_offsets("group", &[place]);
                let most = given_up.next();
                if most.is_none() {
                    sender.commit();
                }
                world.run(&mut sender, most.unwrap_or(PLENTY), |sender| !sender.is_open());
                if !sender.is_open() && sender.failure().is_none() {
                    break;
                }
                prop_assert!(most.is_some() || sender.failure().is_some(), "neither committed nor failed");
                // As the shard does: an abort where that is safe, else another producer takes over.
                if !sender.is_tainted() {
                    sender.abort();
                    world.run(&mut sender, PLENTY, Sender::has_identity);
                }
                if sender.is_tainted() || !sender.has_identity() || sender.failure().is_some() {
                    sender = self::sender(version);
                    world.run(&mut sender, PLENTY, Sender::has_identity);
                }
                prop_assert!(sender.has_identity(), "no epoch");
                // The commit may have succeeded before the answer was lost; the header would tell.
                if world.broker.offset == offset {
                    break;
                }
            }
            first += count;
            expected = first as i64;
            prop_assert_eq!(world.broker.offset, expected);
        }
        for (number, log) in world.broker.logs.iter().enumerate() {
            let all: Vec<String> =
                (0..expected).filter(|n| *n as usize % PARTITIONS as usize == number).map(|n| n.to_string()).collect();
            prop_assert_eq!(&log.committed, &all);
        }
    }
}
