//! Calls into librdkafka: the only place of the worker with `unsafe`.
//!
//! Why not the safe wrappers of the `rdkafka` crate: its consumer hands out one record at a time with an allocation
//! each, its producer knows neither timestamps together with topic handles nor per-topic compression, and it has no
//! calls for topic ids, leader epochs and offsets by isolation level.
//!
//! What makes the calls sound, once for all of them:
//! - [`client::Client`] owns its `rd_kafka_t`, which may be used from any thread; dropping it has another thread destroy
//!   the handle ([`closing`]), when nobody has a reference any more.
//! - Everything derived from a client (topics, queues, lists, events) is owned by a Rust value that destroys it, and
//!   holds the client by `Arc`, so that it cannot outlive it.
//! - The opaque pointer of a client is an `Arc<Events>` that is released after the client was destroyed, hence after
//!   the last callback. Callbacks neither panic nor block.
//! - Strings that librdkafka lends are copied before the call returns; those lent to it outlive the call.
#![allow(unsafe_code)]

pub(super) mod admin;
pub(super) mod client;
pub(super) mod closing;
pub(super) mod consumer;
mod keeper;
pub(super) mod list;
pub(super) mod messages;
pub(super) mod producer;
mod sockets;
mod topics;

use std::ffi::{CStr, CString, c_char};

use rdkafka::bindings as rd;

use super::error::{Class, Code, KafkaError};

/// Copies a string that librdkafka lends.
fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings are zero-terminated and live at least as long as the call that lends them.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A string for librdkafka. A zero byte cannot be passed; it is cut there, since names are validated before.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|error| {
        let end = error.nul_position();
        CString::new(&text.as_bytes()[..end]).unwrap_or_default()
    })
}

/// The error of a code, if it is one.
fn check(doing: impl Into<String>, code: rd::rd_kafka_resp_err_t) -> Result<(), KafkaError> {
    if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(KafkaError::new(doing, Code::from(code), describe(code)))
}

/// librdkafka's words for a code.
fn describe(code: rd::rd_kafka_resp_err_t) -> String {
    // SAFETY: returns a static string for every code.
    text(unsafe { rd::rd_kafka_err2str(code) })
}

/// Takes over an error object; null means success.
fn check_error(doing: impl Into<String>, error: *mut rd::rd_kafka_error_t) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the object is ours, is read while it lives, and is destroyed once.
    unsafe {
        let mut result =
            KafkaError::new(doing, Code::from(rd::rd_kafka_error_code(error)), text(rd::rd_kafka_error_string(error)));
        if result.class != Class::Fenced {
            result.class = if rd::rd_kafka_error_is_fatal(error) != 0 {
                Class::Fatal
            } else if rd::rd_kafka_error_txn_requires_abort(error) != 0 {
                Class::Abort
            } else if rd::rd_kafka_error_is_retriable(error) != 0 {
                Class::Retriable
            } else {
                Class::Other
            };
        }
        rd::rd_kafka_error_destroy(error);
        Err(result)
    }
}
