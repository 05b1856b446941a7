//! A client's connections, as sockets of ours: so that they can be broken from outside of it.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::bindings as rd;

use super::client::events;

/// The sockets of a client.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Those that are open; who stands first is broken next.
    open: Mutex<VecDeque<c_int>>,
    closed: AtomicU64,
}

impl Sockets {
    fn open(&self) -> MutexGuard<'_, VecDeque<c_int>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were closed so far, by whomever.
    pub(super) fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Breaks a connection, another one each time, as a network does; the client connects again. False if there is none.
    pub(super) fn shut_down_next(&self) -> bool {
        let mut open = self.open();
        let Some(socket) = open.pop_front() else { return false };
        open.push_back(socket);
        // SAFETY: a socket that the client has not closed, and cannot while the list is locked, so that the number is no
        // other file's. That it may not be connected is no matter.
        unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
        true
    }
}

/// # Safety
/// `conf` is a live configuration whose opaque is a `*const Events`.
pub(super) unsafe fn set_callbacks(conf: *mut rd::rd_kafka_conf_t) {
    // SAFETY: the callbacks have librdkafka's signatures and live for ever.
    unsafe {
        rd::rd_kafka_conf_set_socket_cb(conf, Some(on_socket));
        rd::rd_kafka_conf_set_closesocket_cb(conf, Some(on_close));
    }
}

unsafe extern "C" fn on_socket(domain: c_int, kind: c_int, protocol: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: POSIX' function; the opaque of our clients.
    unsafe {
        let socket = libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol);
        if socket >= 0
            && let Some(events) = events(opaque)
        {
            events.sockets().open().push_back(socket);
        }
        socket
    }
}

unsafe extern "C" fn on_close(socket: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: librdkafka closes each socket once; the opaque of our clients.
    unsafe {
        if let Some(events) = events(opaque) {
            events.sockets().closed.fetch_add(1, Ordering::Relaxed);
            events.sockets().open().retain(|open| *open != socket);
        }
        libc::close(socket)
    }
}
