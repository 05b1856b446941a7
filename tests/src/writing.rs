//! What the worker's own client writes, in transactions of either version: read by other clients, while leaders move, and
//! by who was fenced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{BinaryArray, Int64Array};
use millstream::kafka::columns::HeaderColumns;
use millstream::kafka::{Class, ClientConfig, KafkaClient, Place, Producer, Room, SecretStore, WriteBatch};
use millstream::metrics::Metrics;
use millstream::plan::pipeline::{Compression, Connection};
use millstream::records::TopicPartition;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::client::Record;
use crate::oracle;
use crate::suite::{Case, seed};

/// The guard for what takes about a second.
const GUARD: Duration = Duration::from_mins(2);
/// The partitions that random records are for.
pub const PARTITIONS: i32 = 3;

/// How long an epoch of a producer lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// Until somebody takes over or aborts: transactions of the first version.
    Long,
    /// Each transaction has its own: the second version.
    Each,
}

/// The configuration of a client of the case's cluster.
pub fn config(case: &Case<'_>, client: KafkaClient) -> Result<ClientConfig> {
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

/// A record of any kind.
pub fn random_record(topic: &str, rng: &mut StdRng) -> Record {
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

/// Random batches of all compressions, in transactions that are committed or aborted, read by librdkafka and by Kafka's
/// Java client.
pub fn read_by_others(case: &Case<'_>, epochs: Epochs) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed()?);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut producer = producer(case, &case.application_id())?;
    producer.init_transactions(GUARD)?;
    let (mut ended, mut aborted) = (0, 0);
    for compression in codecs {
        let topic = case.topic(&format!("{compression:?}"));
        case.client.create_topic(&topic, PARTITIONS, &[])?;
        let mut expected: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for _ in 0..8 {
            let count = rng.random_range(1..300);
            let records: Vec<Record> = (0..count).map(|_| random_record(&topic, &mut rng)).collect();
            producer.begin()?;
            write(&mut producer, &topic, compression, &records)?;
            ended += 1;
            if rng.random_ratio(1, 4) {
                aborted += 1;
                producer.abort(GUARD)?;
            } else {
                producer.commit(GUARD)?;
                for record in records {
                    expected.entry(record.partition.unwrap_or(0)).or_default().push(record);
                }
            }
        }
        let readers =
            [("librdkafka", case.client.read(&topic)?), ("the Java client", oracle::dump(case.cluster, &[&topic])?)];
        for (reader, records) in readers {
            equal(&expected, records).with_context(|| format!("{compression:?}, read by {reader}"))?;
        }
    }
    let epoch = epoch(case, &case.application_id())?;
    let right = match epochs {
        Epochs::Each => epoch >= ended,
        // One for the takeover, and one or two for each abort.
        Epochs::Long => epoch <= 1 + 2 * aborted,
    };
    ensure!(right, "epoch {epoch} behind {ended} transactions, {aborted} of them aborted; {epochs:?} was expected");
    Ok(())
}

/// The epoch of a transactional id, as Kafka's tool tells it.
fn epoch(case: &Case<'_>, id: &str) -> Result<i32> {
    let arguments = ["--bootstrap-server", case.client.bootstrap(), "describe", "--transactional-id", id];
    let told = case.cluster.installation().tool("org.apache.kafka.tools.TransactionsCommand", &arguments)?;
    let mut lines = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let column = lines.by_ref().find_map(|names| names.iter().position(|name| *name == "ProducerEpoch"));
    let values = lines.next().with_context(|| told.clone())?;
    let epoch = column.and_then(|column| values.get(column)).with_context(|| told.clone())?;
    Ok(epoch.parse()?)
}

/// Whether each partition has the records that are expected, in their order.
fn equal(expected: &BTreeMap<i32, Vec<Record>>, records: Vec<Record>) -> Result<()> {
    let mut found: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for record in records {
        found.entry(record.partition.unwrap_or(0)).or_default().push(Record { offset: 0, ..record });
    }
    for (partition, expected) in expected {
        let found = found.remove(partition).unwrap_or_default();
        if let Some((ours, theirs)) = expected.iter().zip(&found).find(|(ours, theirs)| ours != theirs) {
            bail!("partition {partition}: {ours:?} was written, {theirs:?} was read");
        }
        ensure!(found.len() == expected.len(), "partition {partition}: {} of {}", found.len(), expected.len());
    }
    ensure!(found.is_empty(), "{} partitions more", found.len());
    Ok(())
}

/// Brokers stop one after another while transactions are written: all records come once, in order, with their offsets.
pub fn leaders_move(case: &Case<'_>) -> Result<()> {
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
pub fn fenced(case: &Case<'_>) -> Result<()> {
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
