//! The worker's own client beside librdkafka, on three brokers of the newest release: the same records, positions and
//! losses, whoever reads.
//!
//! `both_clients_read_the_same` writes random batches of all kinds; its seed is printed, and `MILLSTREAM_SEED` sets it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray};
use millstream::kafka::{Assigned, ClientConfig, Code, Consumer, ConsumerEvent, KafkaClient};
use millstream::metrics::Metrics;
use millstream::records::{SourceBatch, TopicPartition};
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::installation::Version;
use millstream_tests::sockets;
use millstream_tests::suite::{Case, Suite, seed};
use millstream_tests::writing::{self, Epochs, PARTITIONS, config, random_record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::producer::Producer as _;

fn main() -> ExitCode {
    Suite::new(Settings::new().version(Version::V4_4).nodes(3))
        .test("both_clients_read_the_same", both_read_the_same)
        .test("ends_and_places_are_kept_to", ends_and_places)
        .test("a_lost_position_is_told", lost_position)
        .test("the_groups_offsets_are_the_same", offsets)
        .test("leaders_may_move", leaders_move)
        .test("the_closest_replica_is_read", closest)
        .test("what_we_write_is_read_by_others", |case| writing::read_by_others(case, Epochs::Each))
        .test("leaders_may_move_while_we_write", writing::leaders_move)
        .test("who_is_fenced_is_told", writing::fenced)
        .serial()
        .run()
}

/// The guard for what takes about a second.
const GUARD: Duration = Duration::from_mins(2);
const CLIENTS: [KafkaClient; 2] = [KafkaClient::Wire, KafkaClient::Librdkafka];
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A record as a consumer hands it out.
type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// A consumer of a test.
struct Reader {
    consumer: Consumer,
    rows: BTreeMap<String, Vec<Row>>,
    positions: BTreeMap<u32, i64>,
}

impl Reader {
    fn new(case: &Case<'_>, client: KafkaClient) -> Result<Self> {
        Self::of(case, &config(case, client)?)
    }

    fn of(case: &Case<'_>, config: &ClientConfig) -> Result<Self> {
        let consumer = Consumer::new(config, "test", &case.application_id(), 4 << 20, 1 << 20, Metrics::new("test"))?;
        Ok(Self { consumer, rows: BTreeMap::new(), positions: BTreeMap::new() })
    }

    fn assign(&mut self, assigned: &[Assigned]) -> Result<()> {
        self.positions = (0..).zip(assigned).map(|(slot, assigned)| (slot, assigned.offset)).collect();
        Ok(self.consumer.assign(assigned)?)
    }

    /// Takes what comes; events but errors that pass are returned.
    fn poll(&mut self) -> Vec<ConsumerEvent> {
        let polled = self.consumer.poll(Duration::from_millis(100), usize::MAX);
        for batch in &polled.batches {
            for row in 0..batch.len() {
                self.rows.entry(batch.partition(row).to_string()).or_default().push(row_of(batch, row));
            }
        }
        for (slot, offset, _) in polled.positions {
            self.positions.insert(slot, offset);
        }
        polled.events
    }

    /// Reads until all slots are at their ends.
    fn read_to(&mut self, ends: &[i64]) -> Result<()> {
        let start = Instant::now();
        while !ends.iter().zip(self.positions.values()).all(|(end, position)| position >= end) {
            let events = self.poll();
            ensure!(start.elapsed() < GUARD, "read to {:?}, not to {ends:?}: {events:?}", self.positions);
        }
        Ok(())
    }
}

fn row_of(batch: &SourceBatch, row: usize) -> Row {
    let bytes = |column: &arrow::array::BinaryArray| column.is_valid(row).then(|| column.value(row).to_vec());
    let headers = batch.headers.as_ref().map_or_else(Vec::new, |headers| {
        let entries = headers.value(row);
        let entries = entries.as_struct();
        let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
        let value = |entry| values.is_valid(entry).then(|| values.value(entry).to_vec());
        (0..entries.len()).map(|entry| (names.value(entry).to_owned(), value(entry))).collect()
    });
    (batch.offsets.value(row), batch.timestamps.value(row), bytes(&batch.keys), bytes(&batch.values), headers)
}

fn assigned(topic: &str, partition: i32, offset: i64) -> Assigned {
    let partition = TopicPartition { topic: Arc::from(topic), partition };
    Assigned { partition, source: 0, offset, leader_epoch: -1, end: None }
}

/// Where the committed records of each partition end.
fn ends(case_topics: &[(String, i32)], client: &Client) -> Result<Vec<i64>> {
    case_topics.iter().map(|(topic, partition)| Ok(client.watermarks(topic, *partition)?.1)).collect()
}

fn both_read_the_same(case: &Case<'_>) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed()?);
    let mut topics = Vec::new();
    for codec in CODECS {
        let topic = case.topic(codec);
        // With the broker's own timestamps, too.
        let kind = if codec == "lz4" { "LogAppendTime" } else { "CreateTime" };
        case.client.create_topic(&topic, PARTITIONS, &[("message.timestamp.type", kind)])?;
        for round in 0..12 {
            write_round(&case.client, &topic, codec, round, &mut rng)?;
        }
        topics.extend((0..PARTITIONS).map(|partition| (topic.clone(), partition)));
    }
    let ends = ends(&topics, &case.client)?;
    let all: Vec<Assigned> = topics.iter().map(|(topic, partition)| assigned(topic, *partition, 0)).collect();
    let mut read = Vec::new();
    for client in CLIENTS {
        let mut reader = Reader::new(case, client)?;
        reader.assign(&all)?;
        reader.read_to(&ends).with_context(|| format!("{client:?}"))?;
        read.push((reader.rows, reader.positions));
    }
    let rows: usize = read[0].0.values().map(Vec::len).sum();
    ensure!(rows > 1000, "only {rows} records");
    same(&read[0].0, &read[1].0)?;
    ensure!(read[0].1 == read[1].1, "positions {:?} and {:?}", read[0].1, read[1].1);
    eprintln!("{rows} records of {} partitions", ends.len());
    Ok(())
}

fn same(wire: &BTreeMap<String, Vec<Row>>, native: &BTreeMap<String, Vec<Row>>) -> Result<()> {
    let partitions: BTreeSet<&String> = wire.keys().chain(native.keys()).collect();
    for partition in partitions {
        let (wire, native) = (wire.get(partition), native.get(partition));
        let (wire, native) = (wire.map_or(&[][..], |rows| rows), native.map_or(&[][..], |rows| rows));
        if let Some((ours, theirs)) = wire.iter().zip(native).find(|(ours, theirs)| ours != theirs) {
            bail!("{partition}: we read {ours:?}, librdkafka reads {theirs:?}");
        }
        ensure!(wire.len() == native.len(), "{partition}: we read {}, librdkafka reads {}", wire.len(), native.len());
    }
    Ok(())
}

/// Some records: without a transaction, in one that is committed, or in one that is aborted.
fn write_round(client: &Client, topic: &str, codec: &str, round: usize, rng: &mut StdRng) -> Result<()> {
    let records: Vec<Record> = (0..rng.random_range(1..120)).map(|_| random_record(topic, rng)).collect();
    let kind = rng.random_range(0..4);
    let id = format!("{topic}.{}", rng.random_range(0..2));
    let mut settings = vec![("compression.type", codec), ("linger.ms", "20")];
    if kind > 0 {
        settings.push(("transactional.id", &id));
    }
    let writer = client.writer(&settings)?;
    if kind > 0 {
        writer.init_transactions(GUARD)?;
        writer.begin_transaction()?;
    }
    for record in &records {
        Client::send(&writer, record)?;
    }
    Client::flush(&writer).with_context(|| format!("round {round}"))?;
    match kind {
        0 => Ok(()),
        1 => Ok(writer.abort_transaction(GUARD)?),
        _ => Ok(writer.commit_transaction(GUARD)?),
    }
}

/// Records from an offset to an end, a slot that is moved, one that is finished, and partitions added later.
fn ends_and_places_of(case: &Case<'_>, client: KafkaClient) -> Result<()> {
    let topic = case.topic("in");
    let mut reader = Reader::new(case, client)?;
    let first = Assigned { end: Some(250), ..assigned(&topic, 0, 100) };
    reader.assign(&[first, assigned(&topic, 1, 990)])?;
    reader.read_to(&[250, 1000])?;
    let offsets = |reader: &Reader, partition: i32| -> Vec<i64> {
        let rows = reader.rows.get(&format!("{topic}-{partition}"));
        rows.map_or_else(Vec::new, |rows| rows.iter().map(|row| row.0).collect())
    };
    ensure!(offsets(&reader, 0) == (100..250).collect::<Vec<_>>(), "{:?}", offsets(&reader, 0));
    ensure!(offsets(&reader, 1) == (990..1000).collect::<Vec<_>>(), "{:?}", offsets(&reader, 1));
    reader.rows.clear();
    reader.consumer.move_to(1, 500)?;
    reader.positions.insert(1, 500);
    reader.consumer.assign_more(&[assigned(&topic, 2, 0)])?;
    reader.positions.insert(2, 0);
    reader.read_to(&[250, 1000, 1000])?;
    ensure!(offsets(&reader, 1) == (500..1000).collect::<Vec<_>>(), "moved: {:?}", offsets(&reader, 1));
    ensure!(offsets(&reader, 2) == (0..1000).collect::<Vec<_>>(), "added: {:?}", offsets(&reader, 2));
    reader.rows.clear();
    reader.consumer.finish(1)?;
    case.client.write((0..2).map(|n| Record::new(&topic, "more").to(n + 1)))?;
    let end = case.client.watermarks(&topic, 2)?.1;
    reader.read_to(&[250, 1000, end])?;
    ensure!(offsets(&reader, 1).is_empty(), "a finished slot is read");
    case.client.delete_topic(&topic)?;
    Ok(())
}

fn fill(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", PARTITIONS)])?;
    case.client.write((0..3000).map(|n| Record::new(&case.topic("in"), format!("{n}")).to(n % PARTITIONS)))
}

fn ends_and_places(case: &Case<'_>) -> Result<()> {
    CLIENTS.into_iter().try_for_each(|client| {
        fill(case)?;
        ends_and_places_of(case, client).with_context(|| format!("{client:?}"))
    })
}

/// Records before the position are deleted; and a position that is not there yet.
fn lost_position(case: &Case<'_>) -> Result<()> {
    fill(case)?;
    let topic = case.topic("in");
    case.client.delete_records(&topic, 0, 600)?;
    for client in CLIENTS {
        let mut reader = Reader::new(case, client)?;
        reader.assign(&[assigned(&topic, 0, 100), assigned(&topic, 1, 5000)])?;
        let mut lost = BTreeMap::new();
        let start = Instant::now();
        while lost.len() < 2 {
            for event in reader.poll() {
                if let ConsumerEvent::PositionLost { slot, error } = event {
                    lost.insert(slot, error.code);
                }
            }
            ensure!(start.elapsed() < GUARD, "{client:?}: only {lost:?} told");
        }
        // librdkafka tells that its own reset is switched off.
        let right = |code: &Code| matches!(code, Code::OffsetOutOfRange | Code::AutoOffsetReset);
        ensure!(lost.values().all(right), "{client:?}: {lost:?}");
        reader.consumer.move_to(0, 600)?;
        reader.consumer.move_to(1, 0)?;
        reader.positions = BTreeMap::from([(0, 600), (1, 0)]);
        reader.read_to(&[1000, 1000])?;
        let rows: usize = reader.rows.values().map(Vec::len).sum();
        ensure!(rows == 1400, "{client:?}: {rows} records");
    }
    Ok(())
}

/// Committed offsets with metadata; what is open in a transaction is waited for.
fn offsets(case: &Case<'_>) -> Result<()> {
    fill(case)?;
    let topic = case.topic("in");
    case.client.commit_offsets(&case.application_id(), &topic, &[(0, 17, "seventeen"), (2, 3, "")])?;
    let partitions: Vec<_> =
        (0..PARTITIONS).map(|partition| TopicPartition { topic: Arc::from(topic.as_str()), partition }).collect();
    let mut told = Vec::new();
    for client in CLIENTS {
        let reader = Reader::new(case, client)?;
        let places = reader.consumer.committed(&partitions, GUARD)?;
        told.push(places.into_iter().map(|place| (place.offset, place.metadata)).collect::<Vec<_>>());
    }
    let expected = [(17, "seventeen".to_owned()), (-1001, String::new()), (3, String::new())];
    ensure!(told.iter().all(|told| told[..] == expected), "{told:?}");
    // What hangs in a transaction is not waited for for ever.
    let writer = case.client.writer(&[("transactional.id", "open"), ("transaction.timeout.ms", "60000")])?;
    writer.init_transactions(GUARD)?;
    writer.begin_transaction()?;
    case.client.send_offsets(&writer, &case.application_id(), &topic, &[(0, 99)])?;
    for client in CLIENTS {
        let places = Reader::new(case, client)?.consumer.committed(&partitions, GUARD)?;
        ensure!(places[0].offset == 17, "{client:?}: {places:?}");
    }
    writer.abort_transaction(GUARD)?;
    Ok(())
}

/// Brokers stop one after another while records are written and read: all come once, in order.
fn leaders_move(case: &Case<'_>) -> Result<()> {
    const ROUNDS: usize = 3;
    case.topics(&[("in", 6)])?;
    let topic = case.topic("in");
    let mut reader = Reader::new(case, KafkaClient::Wire)?;
    reader.assign(&(0..6).map(|partition| assigned(&topic, partition, 0)).collect::<Vec<_>>())?;
    let writer = case.client.writer(&[("message.timeout.ms", "120000")])?;
    let mut written = 0;
    for round in 0..ROUNDS {
        for step in ["stop", "start"] {
            match step {
                "stop" if round == 1 => case.cluster.kill(round)?,
                "stop" => case.cluster.stop(round)?,
                _ => case.cluster.start_node(round)?,
            }
            for _ in 0..6000 {
                Client::send(&writer, &Record::new(&topic, (written / 6).to_string()).to(written % 6))?;
                written += 1;
            }
            Client::flush(&writer)?;
            reader.read_to(&[i64::from(written / 6); 6]).with_context(|| format!("{step} of broker {round}"))?;
        }
    }
    for (partition, rows) in &reader.rows {
        let values: Vec<String> = rows.iter().filter_map(|row| row.3.clone()).filter_map(text).collect();
        let expected: Vec<String> = (0..written / 6).map(|n| n.to_string()).collect();
        ensure!(values == expected, "{partition}: {} records, not {}", values.len(), expected.len());
    }
    ensure!(reader.rows.len() == 6, "{} partitions", reader.rows.len());
    Ok(())
}

/// Replicas in the client's own rack are read, as long as they are there.
fn closest(case: &Case<'_>) -> Result<()> {
    const CLOSEST: usize = 1;
    case.topics(&[("in", 6)])?;
    let topic = case.topic("in");
    let mut reader = Reader::of(case, &config(case, KafkaClient::Wire)?.in_rack(Some(&Cluster::rack(CLOSEST))))?;
    reader.assign(&(0..6).map(|partition| assigned(&topic, partition, 0)).collect::<Vec<_>>())?;
    let mut written = 0;
    let mut more = |reader: &mut Reader| {
        let records = (written..written + 6000).map(|n| Record::new(&topic, format!("{n:0>200}")).to(n % 6));
        case.client.write(records)?;
        written += 6000;
        reader.read_to(&[i64::from(written / 6); 6])
    };
    more(&mut reader)?;
    let before = received(case)?;
    more(&mut reader)?;
    let each: Vec<u64> = received(case)?.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
    ensure!(
        each[CLOSEST] > 1_000_000 && each[CLOSEST] * 10 > each.iter().sum::<u64>() * 9,
        "bytes by broker: {each:?}"
    );
    case.cluster.stop(CLOSEST)?;
    more(&mut reader).context("without the closest one")?;
    case.cluster.start_node(CLOSEST)?;
    more(&mut reader).context("with it again")?;
    for (partition, rows) in &reader.rows {
        let offsets: Vec<i64> = rows.iter().map(|row| row.0).collect();
        ensure!(offsets == (0..4000).collect::<Vec<_>>(), "{partition}: {} records", offsets.len());
    }
    Ok(())
}

/// The bytes that this process has received on its open connections to each broker.
fn received(case: &Case<'_>) -> Result<Vec<u64>> {
    let each = case.cluster.bootstrap();
    let each = each.split(',').map(|address| {
        let (_, port) = address.rsplit_once(':').context("an address without a port")?;
        sockets::sum(std::process::id(), "bytes_received", &["dport", "=", &format!(":{port}")])
    });
    each.collect()
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
