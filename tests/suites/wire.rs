//! The worker's own client beside librdkafka, on three brokers: the same records, positions and losses, whoever reads.
//!
//! `both_clients_read_the_same` writes random batches of all kinds; its seed is printed, and `MILLSTREAM_SEED` sets it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray, BinaryArray, Int64Array};
use millstream::kafka::columns::HeaderColumns;
use millstream::kafka::{
    Assigned, Class, ClientConfig, Code, Consumer, ConsumerEvent, KafkaClient, Place, Producer, Room, SecretStore,
    WriteBatch,
};
use millstream::metrics::Metrics;
use millstream::plan::pipeline::{Compression, Connection};
use millstream::records::{SourceBatch, TopicPartition};
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::Settings;
use millstream_tests::suite::{Case, Suite, seed};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rdkafka::producer::Producer as _;

fn main() -> ExitCode {
    Suite::new(Settings::new().nodes(3))
        .test("both_clients_read_the_same", both_read_the_same)
        .test("ends_and_places_are_kept_to", ends_and_places)
        .test("a_lost_position_is_told", lost_position)
        .test("the_groups_offsets_are_the_same", offsets)
        .test("leaders_may_move", leaders_move)
        .test("what_we_write_is_read_by_others", written)
        .test("leaders_may_move_while_we_write", leaders_move_while_writing)
        .test("who_is_fenced_is_told", fenced)
        .serial()
        .run()
}

/// The guard for what takes about a second.
const GUARD: Duration = Duration::from_mins(2);
const CLIENTS: [KafkaClient; 2] = [KafkaClient::Wire, KafkaClient::Librdkafka];
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PARTITIONS: i32 = 3;

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
        let config = config(case, client)?;
        let consumer = Consumer::new(&config, "test", &case.application_id(), 4 << 20, 1 << 20, Metrics::new("test"))?;
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

fn config(case: &Case<'_>, client: KafkaClient) -> Result<ClientConfig> {
    let connection = Connection {
        name: "main".to_owned(),
        bootstrap_servers: case.client.bootstrap().to_owned(),
        client,
        tls: None,
        sasl: None,
        properties: BTreeMap::new(),
    };
    Ok(ClientConfig::resolve(&connection, &SecretStore::default())?)
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

fn random_record(topic: &str, rng: &mut StdRng) -> Record {
    let headers = if rng.random_ratio(1, 4) { rng.random_range(1..5) } else { 0 };
    Record {
        topic: topic.to_owned(),
        partition: Some(rng.random_range(0..PARTITIONS)),
        key: random_bytes(rng, 40),
        value: random_bytes(rng, 3000),
        headers: (0..headers).map(|_| (format!("h{}", rng.random_range(0..3)), random_bytes(rng, 30))).collect(),
        timestamp: Some(rng.random_range(1_600_000_000_000..1_760_000_000_000)),
        ..Record::default()
    }
}

/// Null, empty, repetitive (which compresses) or noise.
fn random_bytes(rng: &mut StdRng, most: usize) -> Option<Vec<u8>> {
    let length = rng.random_range(1..most);
    Some(match rng.random_range(0..8) {
        0 => return None,
        1 => Vec::new(),
        2..6 => vec![rng.random(); length],
        _ => {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            bytes
        }
    })
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

fn producer(case: &Case<'_>, id: &str) -> Result<Producer> {
    let room = Room { queue: 4 << 20, batch: 1 << 18 };
    let metrics = Metrics::new("test");
    let timeout = Duration::from_mins(1);
    Ok(Producer::transactional(&config(case, KafkaClient::Wire)?, "test", id, timeout, room, metrics)?)
}

/// Gives records of one topic to a producer, in columns.
fn write(producer: &mut Producer, topic: &str, compression: Compression, records: &[Record]) -> Result<()> {
    let partitions: Vec<i32> = records.iter().map(|record| record.partition.unwrap_or(0)).collect();
    let keys: BinaryArray = records.iter().map(|record| record.key.as_deref()).collect();
    let values: BinaryArray = records.iter().map(|record| record.value.as_deref()).collect();
    let timestamps = Int64Array::from_iter_values(records.iter().map(|record| record.timestamp.unwrap_or(-1)));
    let mut headers = HeaderColumns::after(0);
    for record in records {
        headers.push(record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    }
    let headers = headers.finish();
    let batch = WriteBatch {
        partitions: &partitions,
        keys: &keys,
        values: &values,
        timestamps: &timestamps,
        headers: Some(&headers),
    };
    producer.write(topic, compression, batch, &|| true)?;
    Ok(())
}

/// Random batches of all compressions, in transactions that are committed or aborted, read by librdkafka.
fn written(case: &Case<'_>) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed()?);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut producer = producer(case, &case.application_id())?;
    producer.init_transactions(GUARD)?;
    for compression in codecs {
        let topic = case.topic(&format!("{compression:?}"));
        case.client.create_topic(&topic, PARTITIONS, &[])?;
        let mut expected: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for _ in 0..8 {
            let count = rng.random_range(1..300);
            let records: Vec<Record> = (0..count).map(|_| random_record(&topic, &mut rng)).collect();
            producer.begin()?;
            write(&mut producer, &topic, compression, &records)?;
            if rng.random_ratio(1, 4) {
                producer.abort(GUARD)?;
            } else {
                producer.commit(GUARD)?;
                for record in records {
                    expected.entry(record.partition.unwrap_or(0)).or_default().push(record);
                }
            }
        }
        let mut found: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for record in case.client.read(&topic)? {
            found.entry(record.partition.unwrap_or(0)).or_default().push(Record { offset: 0, ..record });
        }
        ensure!(found == expected, "{compression:?}: what was read is not what was written");
    }
    Ok(())
}

/// Brokers stop one after another while transactions are written: all records come once, in order, with their offsets.
fn leaders_move_while_writing(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 1), ("out", 6)])?;
    let (topic, group) = (case.topic("out"), case.application_id());
    let mut producer = producer(case, &group)?;
    producer.init_transactions(GUARD)?;
    let (mut written, mut broker) = (0, 0);
    for round in 0..24 {
        match round % 8 {
            2 => case.cluster.stop(broker)?,
            4 => case.cluster.start_node(broker)?,
            7 => broker += 1,
            _ => {}
        }
        let records: Vec<Record> =
            (0..600).map(|n| Record::new(&topic, (written + n).to_string()).to((n % 6) as i32)).collect();
        producer.begin()?;
        write(&mut producer, &topic, Compression::None, &records)?;
        written += records.len();
        let partition = TopicPartition { topic: Arc::from(case.topic("in")), partition: 0 };
        let place = Place { partition, offset: written as i64, leader_epoch: -1, metadata: String::new() };
        producer.send_offsets(&group, &[place], GUARD).with_context(|| format!("round {round}"))?;
        producer.commit(GUARD).with_context(|| format!("round {round}"))?;
    }
    let mut found: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for record in case.client.read_until(&topic, written, GUARD)? {
        found.entry(record.partition.unwrap_or(0)).or_default().push(record.text().parse()?);
    }
    for (partition, numbers) in &found {
        let expected: Vec<usize> = (0..written).filter(|n| n % 6 == *partition as usize).collect();
        ensure!(*numbers == expected, "partition {partition}: {} records, not {}", numbers.len(), expected.len());
    }
    let offsets = case.client.group_offsets(&group, &case.topic("in"))?;
    ensure!(offsets.get(&0).map(|(offset, _)| *offset) == Some(written as i64), "{offsets:?}");
    Ok(())
}

/// A second producer of the id takes over: what the first one left open is gone, and it cannot go on.
fn fenced(case: &Case<'_>) -> Result<()> {
    case.topics(&[("out", 1)])?;
    let topic = case.topic("out");
    let mut first = producer(case, &case.application_id())?;
    first.init_transactions(GUARD)?;
    first.begin()?;
    write(&mut first, &topic, Compression::None, &[Record::new(&topic, "first")])?;
    first.flush(GUARD)?;
    let mut second = producer(case, &case.application_id())?;
    second.init_transactions(GUARD)?;
    for outcome in [first.commit(GUARD), first.abort(GUARD)] {
        let error = outcome.err().context("the first producer goes on")?;
        ensure!(error.class == Class::Fenced, "{error}");
    }
    second.begin()?;
    write(&mut second, &topic, Compression::None, &[Record::new(&topic, "second")])?;
    second.commit(GUARD)?;
    let found: Vec<String> = case.client.read_until(&topic, 1, GUARD)?.iter().map(Record::text).collect();
    ensure!(found == ["second"], "{found:?}");
    Ok(())
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
