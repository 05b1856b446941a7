//! Writing: topics, records, transactions.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::client::{Client, millis};
use super::list::{List, Place};
use super::{c_string, check, check_error, text};
use crate::kafka::error::{Class, Code, KafkaError};

/// A topic to write, with its settings.
#[derive(Debug)]
pub(in crate::kafka) struct Topic {
    topic: *mut rd::rd_kafka_topic_t,
    client: Arc<Client>,
}

// SAFETY: topic handles are thread-safe.
unsafe impl Send for Topic {}

/// One record to write; bytes are copied by the call.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka) struct Outgoing<'a> {
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; -1 lets librdkafka set it.
    pub timestamp: i64,
}

/// Whether a record found room in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Enqueued {
    Yes,
    QueueFull,
}

impl Topic {
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str, compression: &str) -> Result<Self, KafkaError> {
        let doing = format!("write to topic `{name}`");
        // SAFETY: the configuration is taken over by rd_kafka_topic_new; strings are copied.
        unsafe {
            let conf = rd::rd_kafka_default_topic_conf_dup(client.handle);
            let mut words: [c_char; 512] = [0; 512];
            let (key, value) = (c_string("compression.codec"), c_string(compression));
            let outcome =
                rd::rd_kafka_topic_conf_set(conf, key.as_ptr(), value.as_ptr(), words.as_mut_ptr(), words.len());
            if outcome != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                rd::rd_kafka_topic_conf_destroy(conf);
                return Err(KafkaError::new(doing, Code::InvalidArgument, text(words.as_ptr())));
            }
            let topic = rd::rd_kafka_topic_new(client.handle, c_string(name).as_ptr(), conf);
            if topic.is_null() {
                let code = Code::from(rd::rd_kafka_last_error());
                return Err(KafkaError::new(doing, code, "the topic handle could not be made"));
            }
            Ok(Self { topic, client: Arc::clone(client) })
        }
    }

    /// Gives a record to the queue.
    pub(in crate::kafka) fn produce(
        &self,
        record: Outgoing<'_>,
        headers: Option<OwnedHeaders>,
    ) -> Result<Enqueued, (KafkaError, Option<OwnedHeaders>)> {
        let mut fields =
            [vu_rkt(self.topic), vu_partition(record.partition), vu_copy(), vu_end(), vu_end(), vu_end(), vu_end()];
        let mut count = 3;
        let mut push = |field| {
            fields[count] = field;
            count += 1;
        };
        push(vu_bytes(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, record.value));
        push(vu_bytes(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, record.key));
        if record.timestamp >= 0 {
            push(vu_timestamp(record.timestamp));
        }
        if let Some(headers) = &headers {
            push(vu_headers(headers.0));
        }
        // SAFETY: `count` fields are set; key and value are copied; headers change hands only on success.
        let error = unsafe { rd::rd_kafka_produceva(self.client.handle, fields.as_ptr(), count) };
        if error.is_null() {
            if let Some(headers) = headers {
                std::mem::forget(headers);
            }
            return Ok(Enqueued::Yes);
        }
        match check_error("write a record", error) {
            Err(error) if error.code == Code::QueueFull => Ok(Enqueued::QueueFull),
            Err(error) => Err((error, headers)),
            Ok(()) => Ok(Enqueued::Yes),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: released once, while the client lives.
        unsafe { rd::rd_kafka_topic_destroy(self.topic) };
    }
}

/// Headers of a record to write.
#[derive(Debug)]
pub(in crate::kafka) struct OwnedHeaders(*mut rd::rd_kafka_headers_t);

impl OwnedHeaders {
    pub(in crate::kafka) fn of<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        // SAFETY: a new list; names and values are copied with their lengths.
        unsafe {
            let list = rd::rd_kafka_headers_new(8);
            for (name, value) in headers {
                let (pointer, size) = value.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
                rd::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast(),
                    isize::try_from(name.len()).unwrap_or(0),
                    pointer.cast(),
                    isize::try_from(size).unwrap_or(0),
                );
            }
            Self(list)
        }
    }
}

impl Drop for OwnedHeaders {
    fn drop(&mut self) {
        // SAFETY: not given away (then the value is forgotten).
        unsafe { rd::rd_kafka_headers_destroy(self.0) };
    }
}

fn vu(vtype: rd::rd_kafka_vtype_t, u: rd::rd_kafka_vu_s__bindgen_ty_1) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

fn vu_rkt(rkt: *mut rd::rd_kafka_topic_t) -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, rd::rd_kafka_vu_s__bindgen_ty_1 { rkt })
}

fn vu_partition(partition: i32) -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, rd::rd_kafka_vu_s__bindgen_ty_1 { i32_: partition })
}

fn vu_copy() -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, rd::rd_kafka_vu_s__bindgen_ty_1 { i: rd::RD_KAFKA_MSG_F_COPY })
}

fn vu_timestamp(timestamp: i64) -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP, rd::rd_kafka_vu_s__bindgen_ty_1 { i64_: timestamp })
}

fn vu_headers(headers: *mut rd::rd_kafka_headers_t) -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, rd::rd_kafka_vu_s__bindgen_ty_1 { headers })
}

fn vu_bytes(vtype: rd::rd_kafka_vtype_t, bytes: Option<&[u8]>) -> rd::rd_kafka_vu_t {
    let (pointer, size) = bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
    let mem = rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: pointer.cast_mut().cast::<c_void>(), size };
    vu(vtype, rd::rd_kafka_vu_s__bindgen_ty_1 { mem })
}

fn vu_end() -> rd::rd_kafka_vu_t {
    vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END, rd::rd_kafka_vu_s__bindgen_ty_1 { i: 0 })
}

/// The calls of a transaction; each blocks at most as long as it says.
impl Client {
    pub(in crate::kafka) fn init_transactions(&self, wait: Duration) -> Result<(), KafkaError> {
        // SAFETY: live handle.
        self.call("take over the transactional id", wait, |wait| unsafe {
            rd::rd_kafka_init_transactions(self.handle, wait)
        })
    }

    pub(in crate::kafka) fn begin_transaction(&self) -> Result<(), KafkaError> {
        // SAFETY: live handle.
        check_error("begin a transaction", unsafe { rd::rd_kafka_begin_transaction(self.handle) })
    }

    pub(in crate::kafka) fn commit_transaction(&self, wait: Duration) -> Result<(), KafkaError> {
        // SAFETY: live handle.
        self.call("commit the transaction", wait, |wait| unsafe { rd::rd_kafka_commit_transaction(self.handle, wait) })
    }

    pub(in crate::kafka) fn abort_transaction(&self, wait: Duration) -> Result<(), KafkaError> {
        // SAFETY: live handle.
        self.call("abort the transaction", wait, |wait| unsafe { rd::rd_kafka_abort_transaction(self.handle, wait) })
    }

    /// Adds offsets of a group to the transaction, without being a member of it.
    pub(in crate::kafka) fn send_offsets(
        &self,
        group: &str,
        places: &[Place],
        wait: Duration,
    ) -> Result<(), KafkaError> {
        let list = List::of(places.iter());
        // SAFETY: live handle, list and metadata, which is destroyed after the call.
        self.call("write the group's offsets", wait, |wait| unsafe {
            let metadata = rd::rd_kafka_consumer_group_metadata_new(c_string(group).as_ptr());
            let error = rd::rd_kafka_send_offsets_to_transaction(self.handle, list.0, metadata, wait);
            rd::rd_kafka_consumer_group_metadata_destroy(metadata);
            error
        })
    }

    /// A call for which connections were broken has failed, whatever it says: requests on those may be carried out behind
    /// all that follows, and only a new epoch keeps them out.
    fn call(
        &self,
        doing: &'static str,
        wait: Duration,
        call: impl FnOnce(c_int) -> *mut rd::rd_kafka_error_t,
    ) -> Result<(), KafkaError> {
        let (error, was_late) = self.promised(doing, wait, call);
        match check_error(doing, error) {
            Err(error) if !was_late || error.class == Class::Fenced => Err(error),
            _ if was_late => {
                Err(KafkaError::new(doing, Code::OperationTimedOut, "the client had to be helped out of the call"))
            }
            outcome => outcome,
        }
    }

    /// Waits until everything that was given to the queue is delivered or failed.
    pub(in crate::kafka) fn flush(&self, wait: Duration) -> Result<(), KafkaError> {
        // SAFETY: live handle.
        check("flush", unsafe { rd::rd_kafka_flush(self.handle, millis(wait)) })
    }
}
