//! Reading: assignment, and batches of messages.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::client::{Client, millis};
use super::list::{List, Place};
use super::{c_string, check, check_error, describe, text};
use crate::kafka::columns::Row;
use crate::kafka::error::{Code, KafkaError};

/// The queue that a consumer's records arrive in.
#[derive(Debug)]
pub(in crate::kafka) struct MessageQueue {
    queue: *mut rd::rd_kafka_queue_t,
    client: Arc<Client>,
    // Messages of the last poll; emptied by `Messages` when it is dropped.
    buffer: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: a queue belongs to a thread-safe handle; the buffer is empty between polls.
unsafe impl Send for MessageQueue {}

impl MessageQueue {
    pub(in crate::kafka) fn new(client: Arc<Client>) -> Self {
        // SAFETY: a live consumer handle; the reference is released in drop, before the client's.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(client.handle) };
        Self { queue, client, buffer: Vec::new() }
    }

    /// Replaces the assignment.
    pub(in crate::kafka) fn assign(&self, places: &[Place]) -> Result<(), KafkaError> {
        let list = List::of(places.iter());
        // SAFETY: live handle and list; the list is copied.
        check("assign partitions", unsafe { rd::rd_kafka_assign(self.client.handle, list.0) })
    }

    /// Adds to the assignment.
    pub(in crate::kafka) fn assign_more(&self, places: &[Place]) -> Result<(), KafkaError> {
        let list = List::of(places.iter());
        // SAFETY: live handle and list; the list is copied.
        check_error("assign more partitions", unsafe { rd::rd_kafka_incremental_assign(self.client.handle, list.0) })
    }

    /// Removes from the assignment.
    pub(in crate::kafka) fn unassign(&self, places: &[Place]) -> Result<(), KafkaError> {
        let list = List::of(places.iter());
        // SAFETY: live handle and list; the list is copied.
        check_error("unassign partitions", unsafe { rd::rd_kafka_incremental_unassign(self.client.handle, list.0) })
    }

    /// Up to `limit` messages. Returns when there are `limit`, or after `wait`, even if there are fewer.
    pub(in crate::kafka) fn poll(&mut self, limit: usize, wait: Duration) -> Messages<'_> {
        self.buffer.clear();
        self.buffer.reserve(limit);
        // SAFETY: the buffer has room for `limit` pointers; `count` of them are set by the call.
        unsafe {
            let count = rd::rd_kafka_consume_batch_queue(self.queue, millis(wait), self.buffer.as_mut_ptr(), limit);
            self.buffer.set_len(usize::try_from(count).unwrap_or(0).min(limit));
        }
        Messages { buffer: &mut self.buffer }
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: released once, while the client lives.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A topic whose leaders a consumer asks for as soon as it can.
///
/// librdkafka notices that it lacks the leaders of assigned partitions in a timer of a second; of a topic with a handle
/// it asks at once, and again after a few milliseconds while there is no broker yet.
#[derive(Debug)]
pub(in crate::kafka) struct KnownTopic {
    topic: *mut rd::rd_kafka_topic_t,
    // Outlives the handle.
    _client: Arc<Client>,
}

// SAFETY: topic handles are thread-safe.
unsafe impl Send for KnownTopic {}

impl KnownTopic {
    /// None if librdkafka takes no such name; then assigning it will tell.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str) -> Option<Self> {
        // SAFETY: live handle; the name is copied, and null stands for the default configuration.
        let topic = unsafe { rd::rd_kafka_topic_new(client.handle, c_string(name).as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then(|| Self { topic, _client: Arc::clone(client) })
    }
}

impl Drop for KnownTopic {
    fn drop(&mut self) {
        // SAFETY: released once, while the client lives.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) };
    }
}

/// Messages of one poll; given back to librdkafka when dropped.
#[derive(Debug)]
pub(in crate::kafka) struct Messages<'a> {
    buffer: &'a mut Vec<*mut rd::rd_kafka_message_t>,
}

impl Messages<'_> {
    pub(in crate::kafka) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(in crate::kafka) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the pointers are live messages until this value is dropped.
        self.buffer.iter().map(|message| Message { message: unsafe { &**message }, lifetime: PhantomData })
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.buffer.drain(..) {
            // SAFETY: each message is destroyed once.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
    }
}

/// One message: a record, or an event of a partition.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka) struct Message<'a> {
    message: &'a rd::rd_kafka_message_t,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Message<'a> {
    /// What stands for the topic as long as its partitions are assigned: cheaper to compare than a name.
    pub(in crate::kafka) fn topic_token(self) -> usize {
        self.message.rkt as usize
    }

    pub(in crate::kafka) fn topic(self) -> String {
        if self.message.rkt.is_null() {
            return String::new();
        }
        // SAFETY: a live topic handle.
        text(unsafe { rd::rd_kafka_topic_name(self.message.rkt) })
    }

    pub(in crate::kafka) fn partition(self) -> i32 {
        self.message.partition
    }

    pub(in crate::kafka) fn offset(self) -> i64 {
        self.message.offset
    }

    pub(in crate::kafka) fn is_record(self) -> bool {
        self.message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Whether the partition was read to its end, which `offset` then is.
    pub(in crate::kafka) fn is_end(self) -> bool {
        self.message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    pub(in crate::kafka) fn error(self) -> KafkaError {
        // SAFETY: a live message; for an error its payload is the text.
        let words = text(unsafe { rd::rd_kafka_message_errstr(ptr::from_ref(self.message).cast_mut()) });
        let words = if words.is_empty() { describe(self.message.err) } else { words };
        let doing = match self.topic() {
            topic if topic.is_empty() => "read".to_owned(),
            topic => format!("read topic `{topic}` partition {}", self.message.partition),
        };
        KafkaError::new(doing, Code::from(self.message.err), words)
    }

    pub(in crate::kafka) fn leader_epoch(self) -> i32 {
        // SAFETY: a live message.
        unsafe { rd::rd_kafka_message_leader_epoch(self.message) }
    }

    /// The record without its headers.
    pub(in crate::kafka) fn row(self) -> Row<'a> {
        Row {
            offset: self.offset(),
            // SAFETY: a live message; the kind of timestamp is not asked for.
            timestamp: unsafe { rd::rd_kafka_message_timestamp(self.message, ptr::null_mut()) },
            key: bytes(self.message.key, self.message.key_len),
            value: bytes(self.message.payload, self.message.len),
        }
    }

    /// The headers, if there are any.
    pub(in crate::kafka) fn headers(self) -> Option<Headers<'a>> {
        let mut headers = ptr::null_mut();
        // SAFETY: a live message, which goes on owning the headers.
        let code = unsafe { rd::rd_kafka_message_headers(self.message, &raw mut headers) };
        let found = code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null();
        found.then_some(Headers { headers, lifetime: PhantomData })
    }
}

/// The headers of one message.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka) struct Headers<'a> {
    headers: *mut rd::rd_kafka_headers_t,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Headers<'a> {
    /// Name and value of each header, in order.
    pub(in crate::kafka) fn iter(self) -> impl Iterator<Item = (String, Option<&'a [u8]>)> {
        (0..).map_while(move |index| {
            let mut name: *const c_char = ptr::null();
            let mut value: *const c_void = ptr::null();
            let mut size = 0_usize;
            // SAFETY: live headers; an index behind the end is an error code.
            let code = unsafe {
                rd::rd_kafka_header_get_all(self.headers, index, &raw mut name, &raw mut value, &raw mut size)
            };
            let found = code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            found.then(|| (text(name), bytes(value.cast_mut(), size)))
        })
    }
}

/// Bytes of a message; None for null.
fn bytes<'a>(pointer: *const c_void, length: usize) -> Option<&'a [u8]> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: librdkafka gives pointer and length of memory that the message owns.
    Some(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length) })
}
