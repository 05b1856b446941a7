//! The bar of the benchmark: what librdkafka alone costs.
//!
//! `plain-loop BOOTSTRAP INPUT OUTPUT COMPRESSION` reads a topic from its beginning to its end, and writes every record
//! to another one, exactly once, with a checkpoint a second: one thread, one consumer, one transactional producer, batch
//! calls, nothing looked at. The settings that decide what a record costs are Millstream's own, so that the difference
//! between the two programs is what Millstream adds.
//!
//! Setting up, transactions and offsets go through the safe wrapper; only the two calls on the path of records go to
//! librdkafka directly, because the wrapper has no batch consume and allocates for every record.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::bindings as rd;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(30);
const CHECKPOINT: Duration = Duration::from_secs(1);
/// Records of one batch call.
const BATCH: usize = 8192;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, input, output, compression] = arguments.as_slice() else {
        bail!("usage: plain-loop BOOTSTRAP INPUT OUTPUT COMPRESSION");
    };
    let consumer = consumer(bootstrap, input, output)?;
    let producer = producer(bootstrap, output, compression)?;
    let mut batch = Batch::new(&consumer);
    let topic = Topic::new(&producer, output)?;
    let (mut ends, mut open, mut last) = (consumer.assignment()?.count(), false, Instant::now());
    while ends > 0 {
        for message in batch.poll() {
            if message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
                ends -= 1;
                continue;
            }
            ensure!(message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "{:?}", message.err);
            if !open {
                producer.begin_transaction()?;
                open = true;
            }
            topic.produce(message);
        }
        producer.poll(Duration::ZERO);
        if open && (last.elapsed() >= CHECKPOINT || ends == 0) {
            checkpoint(&consumer, &producer)?;
            (open, last) = (false, Instant::now());
        }
    }
    Ok(())
}

/// Settings as in Millstream's consumer, for one shard without a memory limit.
fn consumer(bootstrap: &str, input: &str, group: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", "65536")
        .set("queued.min.messages", "1000000")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "1048576")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(input), TIMEOUT)?;
    let partitions = metadata.topics().first().context("no metadata")?.partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        list.add_partition_offset(input, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Settings as in Millstream's transactional producer.
fn producer(bootstrap: &str, id: &str, compression: &str) -> Result<BaseProducer> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", id)
        .set("acks", "all")
        .set("delivery.report.only.error", "true")
        .set("queue.buffering.max.kbytes", "6144")
        .set("queue.buffering.max.messages", "0")
        .set("batch.num.messages", "100000")
        .set("batch.size", "1000000")
        .set("linger.ms", "50")
        .set("retry.backoff.ms", "20")
        .set("compression.type", compression)
        .create()?;
    producer.init_transactions(TIMEOUT)?;
    Ok(producer)
}

fn checkpoint(consumer: &BaseConsumer, producer: &BaseProducer) -> Result<()> {
    let group = consumer.group_metadata().context("the consumer has no group")?;
    producer.send_offsets_to_transaction(&consumer.position()?, &group, TIMEOUT)?;
    producer.commit_transaction(TIMEOUT)?;
    Ok(())
}

/// The messages of the last poll, released by the next one.
struct Batch<'a> {
    queue: *mut rd::rd_kafka_queue_t,
    messages: Vec<*mut rd::rd_kafka_message_t>,
    /// Lives as long as its queue.
    _consumer: &'a BaseConsumer,
}

impl<'a> Batch<'a> {
    fn new(consumer: &'a BaseConsumer) -> Self {
        // SAFETY: a live consumer, which the borrow keeps alive.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self { queue, messages: Vec::with_capacity(BATCH), _consumer: consumer }
    }

    fn poll(&mut self) -> impl Iterator<Item = &rd::rd_kafka_message_t> {
        self.release();
        // SAFETY: the call fills at most `BATCH` places of a buffer of that capacity and says how many.
        unsafe {
            let count = rd::rd_kafka_consume_batch_queue(self.queue, 100, self.messages.as_mut_ptr(), BATCH);
            self.messages.set_len(usize::try_from(count).unwrap_or(0));
            self.messages.iter().map(|message| &**message)
        }
    }

    fn release(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: ours since the poll, released once.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: released once, before the consumer.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// The topic to write.
struct Topic<'a> {
    topic: *mut rd::rd_kafka_topic_t,
    producer: &'a BaseProducer,
}

impl<'a> Topic<'a> {
    fn new(producer: &'a BaseProducer, name: &str) -> Result<Self> {
        let name = CString::new(name)?;
        // SAFETY: a live producer, which the borrow keeps alive; the name is copied.
        let topic = unsafe { rd::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        ensure!(!topic.is_null(), "no topic handle");
        Ok(Self { topic, producer })
    }

    /// Writes a message to the partition that it came from; waits for room in the queue.
    fn produce(&self, message: &rd::rd_kafka_message_t) {
        // SAFETY: key and value are copied by the call.
        while unsafe {
            rd::rd_kafka_produce(
                self.topic,
                message.partition,
                rd::RD_KAFKA_MSG_F_COPY,
                message.payload,
                message.len,
                message.key,
                message.key_len,
                ptr::null_mut(),
            )
        } == -1
        {
            self.producer.poll(Duration::from_millis(5));
        }
    }
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        // SAFETY: released once, before the producer.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) };
    }
}
