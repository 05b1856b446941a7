//! An embedded broker for trying out: librdkafka's mock cluster, with topics made beforehand.
//!
//! It speaks Kafka's protocol on 127.0.0.1, so that a pipeline's own loop and any Kafka client work with it. It keeps
//! records in memory for as long as it lives, and only some megabytes a partition. Transactions are accepted but not
//! kept apart: an abort does not take records back. So it shows what a pipeline does, and proves nothing about faults.
//!
//! The broker's threads belong to [`MockBroker`] and end with it.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long the broker may take for anything; it answers in milliseconds.
const WAIT: Duration = Duration::from_secs(10);

/// The embedded broker failed.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// It does not start.
    #[error("the embedded broker does not start: {0}")]
    Start(#[source] KafkaError),
    /// A topic cannot be made.
    #[error("the embedded broker does not make topic {topic}: {source}")]
    Topic {
        /// The topic.
        topic: String,
        /// Why.
        source: KafkaError,
    },
    /// Records cannot be written.
    #[error("the embedded broker does not take records: {0}")]
    Produce(#[source] KafkaError),
    /// Records cannot be read.
    #[error("the embedded broker does not give records: {0}")]
    Consume(#[source] KafkaError),
}

/// A record to write or one that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainRecord {
    /// The topic.
    pub topic: String,
    /// The partition; when writing, a negative one leaves the choice to the client.
    pub partition: i32,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A running broker; it ends when this is dropped.
pub struct MockBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Vec<(String, i32)>,
}

impl std::fmt::Debug for MockBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockBroker").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl MockBroker {
    /// Starts a broker with these topics and their numbers of partitions.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, MockError> {
        let cluster = MockCluster::new(1).map_err(MockError::Start)?;
        for (topic, partitions) in topics {
            let made = cluster.create_topic(topic, *partitions, 1);
            made.map_err(|source| MockError::Topic { topic: topic.clone(), source })?;
        }
        Ok(Self { cluster, topics: topics.to_vec() })
    }

    /// `host:port` for clients.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Writes records and waits until the broker has them.
    pub fn produce(&self, records: &[PlainRecord]) -> Result<(), MockError> {
        let producer: BaseProducer<DefaultProducerContext> = self.config().create().map_err(MockError::Produce)?;
        for record in records {
            send(&producer, record)?;
        }
        producer.flush(WAIT).map_err(MockError::Produce)
    }

    /// A reader of some topics, from their beginning.
    pub fn reader(&self, topics: &[&str]) -> Result<MockReader, MockError> {
        let mut config = self.config();
        config.set("group.id", "millstream-demo-reader").set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "50");
        let consumer: BaseConsumer<DefaultConsumerContext> = config.create().map_err(MockError::Consume)?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in self.topics.iter().filter(|(topic, _)| topics.contains(&topic.as_str())) {
            for partition in 0..*partitions {
                list.add_partition_offset(topic, partition, Offset::Beginning).map_err(MockError::Consume)?;
            }
        }
        consumer.assign(&list).map_err(MockError::Consume)?;
        Ok(MockReader { consumer })
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap_servers()).set("log_level", "0");
        config
    }
}

type DefaultConsumerContext = rdkafka::consumer::DefaultConsumerContext;

/// Hands a record to the client, and waits while its queue is full.
fn send(producer: &BaseProducer<DefaultProducerContext>, record: &PlainRecord) -> Result<(), MockError> {
    let headers = record
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
    let mut message = BaseRecord::<[u8], [u8]>::to(&record.topic).headers(headers);
    message.partition = (record.partition >= 0).then_some(record.partition);
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    let begin = Instant::now();
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((error, _)) if begin.elapsed() > WAIT => return Err(MockError::Produce(error)),
            Err((KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                message = back;
            }
            Err((error, _)) => return Err(MockError::Produce(error)),
        }
    }
}

/// Reads what arrives in some topics.
pub struct MockReader {
    consumer: BaseConsumer<DefaultConsumerContext>,
}

impl std::fmt::Debug for MockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MockReader")
    }
}

impl MockReader {
    /// The next record, if one arrives in time.
    pub fn next(&self, wait: Duration) -> Result<Option<PlainRecord>, MockError> {
        let Some(message) = self.consumer.poll(wait) else { return Ok(None) };
        let message = message.map_err(MockError::Consume)?;
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
        Ok(Some(PlainRecord {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let broker = MockBroker::start(&[("t".into(), 2), ("other".into(), 1)]).unwrap();
        assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"), "{}", broker.bootstrap_servers());
        let record = |partition, value: Option<&str>| PlainRecord {
            topic: "t".into(),
            partition,
            key: Some(b"k".to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: vec![("h".into(), Some(b"1".to_vec())), ("none".into(), None)],
        };
        let written = [record(0, Some("a")), record(1, Some("b")), record(1, None)];
        broker.produce(&written).unwrap();
        let reader = broker.reader(&["t"]).unwrap();
        let begin = Instant::now();
        let mut read = Vec::new();
        while read.len() < written.len() && begin.elapsed() < WAIT {
            read.extend(reader.next(Duration::from_millis(100)).unwrap());
        }
        read.sort_by_key(|record| record.partition);
        assert_eq!(read, written);
        assert_eq!(reader.next(Duration::from_millis(100)).unwrap(), None);
    }
}
