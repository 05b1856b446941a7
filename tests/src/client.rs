//! A user of the cluster through librdkafka: makes topics, writes and reads records.
//!
//! Reading is read-committed and ends at the last stable offsets, as the oracle does it; the verdict on exactly-once is
//! the oracle's alone, because Millstream uses this very library.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

/// Far above what any request takes.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A record to write, or one that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The partition; when writing, None leaves it to the partitioner.
    pub partition: Option<i32>,
    /// The offset, of a record that was read.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; None is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; when writing, None means now.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A record with a value alone.
    pub fn new(topic: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.to_owned(), value: Some(value.into()), ..Self::default() }
    }

    /// With a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// To a partition.
    #[must_use]
    pub fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With a timestamp.
    #[must_use]
    pub fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((key.to_owned(), Some(value.into())));
        self
    }

    /// The value as text; `null` for a tombstone.
    pub fn text(&self) -> String {
        text(self.value.as_deref())
    }

    /// The key as text; `null` where there is none.
    pub fn key_text(&self) -> String {
        text(self.key.as_deref())
    }

    /// The last header of a name as text.
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| text(value.as_deref()))
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
}

/// Keeps the first delivery that failed.
#[derive(Debug, Default)]
pub struct Deliveries {
    failed: Mutex<Option<String>>,
}

impl Deliveries {
    /// An error if a delivery failed.
    pub fn check(&self) -> Result<()> {
        match self.failed.lock().map_err(|_| anyhow!("poisoned"))?.take() {
            Some(problem) => Err(anyhow!("a record was not delivered: {problem}")),
            None => Ok(()),
        }
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut failed)) = (result, self.failed.lock()) {
            failed.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A producer whose failed deliveries are errors of [`Client::flush`].
pub type Writer = ThreadedProducer<Deliveries>;

/// A connection to a cluster without credentials.
pub struct Client {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let admin = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { bootstrap: bootstrap.to_owned(), admin, runtime })
    }

    /// The brokers' addresses.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    // ----- topics

    /// Makes a topic with the cluster's replication.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let made = self.runtime.block_on(self.admin.create_topics(&[topic], &options()))?;
        all_good(made.into_iter().map(|r| r.map_err(|(_, code)| code)), &format!("create topic {name}"))
    }

    /// Deletes a topic and waits until it is unknown.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let gone = self.runtime.block_on(self.admin.delete_topics(&[name], &options()))?;
        all_good(gone.into_iter().map(|r| r.map_err(|(_, code)| code)), &format!("delete topic {name}"))?;
        crate::wait::until_true(&format!("topic {name} to be gone"), TIMEOUT, || Ok(self.partitions(name)? == 0))
    }

    /// Raises the number of partitions.
    pub fn add_partitions(&self, name: &str, total: usize) -> Result<()> {
        let made =
            self.runtime.block_on(self.admin.create_partitions(&[NewPartitions::new(name, total)], &options()))?;
        all_good(made.into_iter().map(|r| r.map_err(|(_, code)| code)), &format!("add partitions to {name}"))
    }

    /// Replaces the settings of a topic.
    pub fn configure_topic(&self, name: &str, settings: &[(&str, &str)]) -> Result<()> {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in settings {
            change = change.set(key, value);
        }
        let done = self.runtime.block_on(self.admin.alter_configs(&[change], &options()))?;
        all_good(done.into_iter().map(|r| r.map_err(|(_, code)| code)), &format!("configure topic {name}"))
    }

    /// Deletes the records of a partition before an offset.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let done = self.runtime.block_on(self.admin.delete_records(&list, &options()))?;
        done.elements()
            .iter()
            .try_for_each(TopicPartitionListElem::error)
            .with_context(|| format!("delete records of {topic}"))
    }

    /// The number of partitions; 0 for a topic that is unknown.
    pub fn partitions(&self, topic: &str) -> Result<usize> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), TIMEOUT)?;
        Ok(metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic && t.error().is_none())
            .map_or(0, |t| t.partitions().len()))
    }

    // ----- writing

    /// An idempotent producer; `settings` come on top.
    pub fn writer(&self, settings: &[(&str, &str)]) -> Result<Writer> {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "2").set("partitioner", "murmur2_random");
        config.set("queue.buffering.max.messages", "1000000").set("message.max.bytes", "50000000");
        // A broker that has just started may not know a topic yet. Records of a topic that was there longer than this are
        // given up then (`rd_kafka_topic_set_notexists`, which counts microseconds in 31 bits).
        config.set("topic.metadata.propagation.max.ms", "2000000");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Ok(config.create_with_context(Deliveries::default())?)
    }

    /// Hands a record to a producer, waiting while its queue is full.
    pub fn send(writer: &Writer, record: &Record) -> Result<()> {
        loop {
            match writer.send(base_record(record)) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => bail!("cannot produce to {}: {error}", record.topic),
            }
        }
    }

    /// Waits until everything is written.
    pub fn flush(writer: &Writer) -> Result<()> {
        writer.flush(TIMEOUT)?;
        writer.context().check()
    }

    /// Writes records and waits until they are there.
    pub fn write(&self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        let writer = self.writer(&[])?;
        for record in records {
            Self::send(&writer, &record)?;
        }
        Self::flush(&writer)
    }

    /// Writes records in one transaction and leaves it open.
    pub fn open_transaction(&self, id: &str, records: impl IntoIterator<Item = Record>) -> Result<Writer> {
        let writer = self.writer(&[("transactional.id", id)])?;
        writer.init_transactions(TIMEOUT)?;
        writer.begin_transaction()?;
        for record in records {
            Self::send(&writer, &record)?;
        }
        Self::flush(&writer)?;
        Ok(writer)
    }

    /// Writes records in one transaction, which is then committed or aborted.
    pub fn write_transaction(&self, id: &str, commit: bool, records: impl IntoIterator<Item = Record>) -> Result<()> {
        let writer = self.open_transaction(id, records)?;
        if commit {
            writer.commit_transaction(TIMEOUT)?;
        } else {
            writer.abort_transaction(TIMEOUT)?;
        }
        Ok(())
    }

    // ----- reading

    /// All committed records of a topic, by partition, each in its order.
    pub fn read(&self, topic: &str) -> Result<Vec<Record>> {
        self.read_until(topic, 0, TIMEOUT)
    }

    /// Reads a topic from its beginning until there are `count` committed records and no more behind them.
    pub fn read_until(&self, topic: &str, count: usize, guard: Duration) -> Result<Vec<Record>> {
        let mut reader = Reader::open(self.config(), topic, self.partitions(topic)?)?;
        let start = Instant::now();
        while !(reader.at_end() && reader.records.len() >= count) {
            if start.elapsed() > guard {
                bail!("topic {topic} has {} records, not {count}, after {} s", reader.records.len(), guard.as_secs());
            }
            reader.poll()?;
        }
        reader.records.sort_by_key(|r| (r.partition, r.offset));
        Ok(reader.records)
    }

    /// A consumer of what will be committed to a topic from now on, for as long as one likes. An end of a partition is an
    /// error of its polls, `PartitionEOF`; the first one says that it stands there.
    pub fn follow(&self, topic: &str) -> Result<BaseConsumer> {
        let partitions = self.partitions(topic)?;
        ensure!(partitions > 0, "there is no topic {topic}");
        let consumer = looking(self.config()).set("enable.partition.eof", "true").create()?;
        assign_all(&consumer, topic, partitions, Offset::End)?;
        Ok(consumer)
    }

    /// Low watermark and last stable offset of a partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        let consumer: BaseConsumer = self.config().set("isolation.level", "read_committed").create()?;
        Ok(consumer.fetch_watermarks(topic, partition, TIMEOUT)?)
    }

    /// Sends offsets of a group into a transaction: partition, offset.
    pub fn send_offsets(&self, writer: &Writer, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let metadata = consumer.group_metadata().context("no metadata of the group")?;
        Ok(writer.send_offsets_to_transaction(&list, &metadata, TIMEOUT)?)
    }

    /// Commits offsets of a group with their metadata: partition, offset, metadata.
    pub fn commit_offsets(&self, group: &str, topic: &str, offsets: &[(i32, i64, &str)]) -> Result<()> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset, metadata) in offsets {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            element.set_metadata(*metadata);
        }
        Ok(consumer.commit(&list, CommitMode::Sync)?)
    }

    /// What a group has committed, by topic and partition: offset and metadata.
    pub fn group_offsets(&self, group: &str, topic: &str) -> Result<HashMap<i32, (i64, String)>> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.partitions(topic)? as i32 - 1);
        let committed = consumer.committed_offsets(list, TIMEOUT)?;
        Ok((committed.elements().iter())
            .filter_map(|e| {
                e.offset().to_raw().filter(|o| *o >= 0).map(|o| (e.partition(), (o, e.metadata().to_owned())))
            })
            .collect())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}

fn all_good<T>(results: impl Iterator<Item = Result<T, RDKafkaErrorCode>>, what: &str) -> Result<()> {
    for result in results {
        result.map_err(|code| anyhow!("cannot {what}: {code}"))?;
    }
    Ok(())
}

fn base_record(record: &Record) -> BaseRecord<'_, [u8], [u8]> {
    let mut base = BaseRecord::to(&record.topic);
    base.partition = record.partition;
    base.key = record.key.as_deref();
    base.payload = record.value.as_deref();
    base.timestamp = record.timestamp;
    base.headers = (!record.headers.is_empty()).then(|| {
        record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }))
    });
    base
}

/// The settings of consumers that only look.
fn looking(mut config: ClientConfig) -> ClientConfig {
    config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    config.set("group.id", "tests").set("fetch.wait.max.ms", "20");
    config
}

fn assign_all(consumer: &BaseConsumer, topic: &str, partitions: usize, offset: Offset) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(consumer.assign(&list)?)
}

/// A consumer of all partitions of a topic, with the ends that it has reached.
struct Reader {
    consumer: BaseConsumer,
    at_end: Vec<bool>,
    records: Vec<Record>,
}

impl Reader {
    fn open(config: ClientConfig, topic: &str, partitions: usize) -> Result<Self> {
        ensure!(partitions > 0, "there is no topic {topic}");
        let consumer: BaseConsumer = looking(config).set("enable.partition.eof", "true").create()?;
        assign_all(&consumer, topic, partitions, Offset::Beginning)?;
        Ok(Self { consumer, at_end: vec![false; partitions], records: Vec::new() })
    }

    fn at_end(&self) -> bool {
        self.at_end.iter().all(|end| *end)
    }

    fn poll(&mut self) -> Result<()> {
        match self.consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => self.at_end[partition as usize] = true,
            Some(Err(error)) => bail!("cannot read: {error}"),
            Some(Ok(message)) => {
                self.at_end[message.partition() as usize] = false;
                self.records.push(owned(&message));
            }
        }
        Ok(())
    }
}

fn owned(message: &impl Message) -> Record {
    Record {
        topic: message.topic().to_owned(),
        partition: Some(message.partition()),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map(|h| h.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect())
            .unwrap_or_default(),
        timestamp: message.timestamp().to_millis(),
    }
}
