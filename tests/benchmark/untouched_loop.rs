//! The distance to the limit: what record batches cost that are moved and not looked into.
//!
//! `untouched-loop BOOTSTRAP INPUT OUTPUT` fetches the batches of a topic from its beginning to the end that it has at
//! the start, and produces the same bytes to another one. No record is decoded and no checksum computed: of a batch's
//! header, the offset and the leader's epoch are written anew, and both stand before what the checksum covers. The bytes
//! of a batch go to the socket from where they came in.
//!
//! One thread, and a connection for each direction: the next fetch is under way while the batches of the last one are
//! produced. A request takes one batch of a partition, and each partition has one request under way.
//!
//! It is a measurement, not a design: one broker, no transactions, no error that is mended.

use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    FetchRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

const TIMEOUT: Duration = Duration::from_secs(30);

const METADATA: i16 = 10;
const FETCH: i16 = 12;
/// The last version in which the records are a request's last bytes, behind a length of fixed size.
const PRODUCE: i16 = 8;

/// Bytes of a partition in an answer: some batches of any producer.
const PARTITION_BYTES: i32 = 1 << 20;
/// Bytes of an answer.
const ANSWER_BYTES: i32 = 16 << 20;
/// How long a broker may wait for records, of which there are always some.
const WAIT_MS: i32 = 500;
/// Written to all replicas that are in sync.
const ALL: i16 = -1;

// Places in a batch's header, which begins with the offset.
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const FORMAT: usize = 16;
const ATTRIBUTES: usize = 21;
const LAST_DELTA: usize = 23;
/// The header's length.
const HEADER: usize = 61;
/// What the length does not count: all up to its own end.
const UNCOUNTED: usize = 12;
/// The attributes of batches in transactions, and of the markers that end these.
const TRANSACTION: i16 = 0x30;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, input, output] = arguments.as_slice() else {
        bail!("usage: untouched-loop BOOTSTRAP INPUT OUTPUT");
    };
    let mut source = Source::open(bootstrap, input)?;
    let mut sink = Sink { connection: Connection::open(bootstrap)?, topic: topic_name(output) };
    source.ask()?;
    loop {
        let batches = source.answer()?;
        let is_last = source.is_at_end();
        if !is_last {
            source.ask()?;
        }
        sink.write(batches)?;
        if is_last {
            return Ok(());
        }
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Batches of partitions, each in its order.
type Batches = Vec<(i32, VecDeque<Bytes>)>;

/// Where a partition is read, and where its end was at the first answer.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    next: i64,
    end: Option<i64>,
}

impl Position {
    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// The topic that is read.
struct Source {
    connection: Connection,
    topic: TopicName,
    positions: Vec<Position>,
}

impl Source {
    fn open(bootstrap: &str, input: &str) -> Result<Self> {
        let (mut connection, topic) = (Connection::open(bootstrap)?, topic_name(input));
        let wanted = MetadataRequestTopic::default().with_name(Some(topic.clone()));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        connection.send(&request, METADATA)?;
        let response = connection.receive::<MetadataRequest>(METADATA)?;
        ensure!(response.brokers.len() == 1, "{} brokers, and this loop is for one", response.brokers.len());
        let partitions = response.topics.first().map_or(0, |topic| topic.partitions.len());
        ensure!(partitions > 0, "there is no topic {input}");
        Ok(Self { connection, topic, positions: vec![Position::default(); partitions] })
    }

    fn is_at_end(&self) -> bool {
        self.positions.iter().all(Position::is_at_end)
    }

    /// Asks for what comes next.
    fn ask(&mut self) -> Result<()> {
        let open = self.positions.iter().enumerate().filter(|(_, position)| !position.is_at_end());
        let partitions = open.map(|(partition, position)| {
            FetchPartition::default()
                .with_partition(partition as i32)
                .with_fetch_offset(position.next)
                .with_partition_max_bytes(PARTITION_BYTES)
        });
        let topic = FetchTopic::default().with_topic(self.topic.clone()).with_partitions(partitions.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(ANSWER_BYTES)
            .with_topics(vec![topic]);
        self.connection.send(&request, FETCH)
    }

    /// Takes the answer, and goes behind it.
    fn answer(&mut self) -> Result<Batches> {
        let response = self.connection.receive::<FetchRequest>(FETCH)?;
        accepted(response.error_code)?;
        let mut found = Vec::new();
        for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            accepted(data.error_code)?;
            let position = self.positions.get_mut(data.partition_index as usize);
            let position = position.context("an answer about a partition that is not there")?;
            position.end.get_or_insert(data.high_watermark);
            let batches = whole_batches(data.records.unwrap_or_default())?;
            if let Some(last) = batches.back() {
                position.next = offset_behind(last);
            }
            found.push((data.partition_index, batches));
        }
        Ok(found)
    }
}

/// The batches that are whole: a broker cuts the last one off where the bytes that were asked for end.
fn whole_batches(mut records: Bytes) -> Result<VecDeque<Bytes>> {
    let mut batches = VecDeque::new();
    while records.len() >= HEADER {
        let total = usize::try_from((&records[LENGTH..]).get_i32())? + UNCOUNTED;
        ensure!(total >= HEADER && records[FORMAT] == 2, "these are no record batches of format 2");
        if total > records.len() {
            break;
        }
        let batch = records.split_to(total);
        let attributes = (&batch[ATTRIBUTES..]).get_i16();
        ensure!(attributes & TRANSACTION == 0, "the input was written in transactions");
        batches.push_back(batch);
    }
    Ok(batches)
}

fn offset_behind(mut batch: &[u8]) -> i64 {
    let delta = (&batch[LAST_DELTA..]).get_i32();
    batch.get_i64() + i64::from(delta) + 1
}

/// What a batch begins with in the log it goes to, up to the format: a broker gives it an offset and an epoch.
fn beginning(batch: &[u8]) -> [u8; FORMAT] {
    let mut bytes = [0; FORMAT];
    bytes[LENGTH..LEADER_EPOCH].copy_from_slice(&batch[LENGTH..LEADER_EPOCH]);
    bytes[LEADER_EPOCH..].copy_from_slice(&(-1_i32).to_be_bytes());
    bytes
}

/// The topic that is written.
struct Sink {
    connection: Connection,
    topic: TopicName,
}

impl Sink {
    /// Writes batches: one of each partition, then the next ones.
    fn write(&mut self, mut batches: Batches) -> Result<()> {
        loop {
            let next = batches.iter_mut().filter_map(|(partition, batches)| Some((*partition, batches.pop_front()?)));
            let next: Vec<(i32, Bytes)> = next.collect();
            for (partition, batch) in &next {
                self.send(*partition, batch)?;
            }
            for _ in &next {
                self.acknowledged()?;
            }
            if next.is_empty() {
                return Ok(());
            }
        }
    }

    fn send(&mut self, partition: i32, batch: &[u8]) -> Result<()> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(Bytes::new()));
        let topic = TopicProduceData::default().with_name(self.topic.clone()).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(ALL)
            .with_timeout_ms(TIMEOUT.as_millis() as i32)
            .with_topic_data(vec![topic]);
        let mut head = self.connection.encode(&request, PRODUCE)?;
        // The length of the records, of which there are none so far.
        head.truncate(head.len() - 4);
        head.put_i32(i32::try_from(batch.len())?);
        head.put_slice(&beginning(batch));
        self.connection.write(head, &batch[FORMAT..])
    }

    fn acknowledged(&mut self) -> Result<()> {
        let response = self.connection.receive::<ProduceRequest>(PRODUCE)?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        partitions.try_for_each(|partition| accepted(partition.error_code))
    }
}

fn accepted(code: i16) -> Result<()> {
    match code.err() {
        None => Ok(()),
        Some(error) => bail!("the broker says {error:?}"),
    }
}

/// A connection on which answers come in the order of the requests.
struct Connection {
    stream: TcpStream,
    requests: i32,
}

impl Connection {
    fn open(bootstrap: &str) -> Result<Self> {
        let stream = TcpStream::connect(bootstrap).with_context(|| format!("cannot connect to {bootstrap}"))?;
        // Requests are whole when they are written.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, requests: 0 })
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        let frame = self.encode(request, version)?;
        self.write(frame, &[])
    }

    /// A request behind room for its length.
    fn encode<R: Request>(&mut self, request: &R, version: i16) -> Result<BytesMut> {
        self.requests += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.requests)
            .with_client_id(Some(StrBytes::from_static_str("untouched-loop")));
        let mut frame = BytesMut::with_capacity(256);
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version))?;
        request.encode(&mut frame, version)?;
        Ok(frame)
    }

    /// Writes a request whose last bytes lie elsewhere.
    fn write(&mut self, mut head: BytesMut, rest: &[u8]) -> Result<()> {
        let length = i32::try_from(head.len() - 4 + rest.len())?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        let mut both = [IoSlice::new(&head), IoSlice::new(rest)];
        let mut left = both.as_mut_slice();
        while !left.is_empty() {
            let written = self.stream.write_vectored(left)?;
            ensure!(written > 0, "the broker takes nothing more");
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        // Into the capacity as it is: zeros that are overwritten would cost, too.
        let mut frame = Vec::with_capacity(length);
        (&self.stream).take(length as u64).read_to_end(&mut frame)?;
        ensure!(frame.len() == length, "the broker ended the connection");
        let mut frame = Bytes::from(frame);
        ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        R::Response::decode(&mut frame, version)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A batch of 70 bytes at offset 40, whose last record is the third.
    fn batch(attributes: i16) -> Vec<u8> {
        let mut batch = Vec::new();
        batch.put_i64(40);
        batch.put_i32(58);
        batch.put_i32(7);
        batch.put_u8(2);
        batch.put_i32(0x1234_5678);
        batch.put_i16(attributes);
        batch.put_i32(2);
        batch.resize(70, 0xab);
        batch
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left() {
        let records = [batch(3), batch(0), batch(0)[..69].to_vec()].concat();
        let batches = whole_batches(records.into()).unwrap();
        assert_eq!(batches, [batch(3), batch(0)]);
        assert_eq!(offset_behind(&batches[1]), 43);
    }

    #[test]
    fn what_cannot_be_moved_as_it_is_is_refused() {
        let mut old = batch(0);
        old[FORMAT] = 1;
        for refused in [batch(0x10), batch(0x20), old] {
            assert!(whole_batches(refused.clone().into()).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn only_offset_and_epoch_are_written_anew() {
        let batch = batch(0);
        let moved = [beginning(&batch).as_slice(), &batch[FORMAT..]].concat();
        let mut expected = batch;
        expected[..LENGTH].fill(0);
        expected[LEADER_EPOCH..FORMAT].fill(0xff);
        assert_eq!(moved, expected);
    }
}
