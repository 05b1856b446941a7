//! Handles are destroyed away from the threads that used them.
//!
//! `rd_kafka_destroy` waits for all threads of a handle, and these may wait for each other for ever: in librdkafka 2.12.1
//! a broker's thread that ends and the main thread that gets an answer take the locks of the handle and of a partition
//! in opposite orders (librdkafka's issue 5476). A shard that has let its clients go must not wait for that.

use std::ffi::c_int;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many handles are being destroyed.
static CLOSING: Closing = Closing { count: Mutex::new(0), changed: Condvar::new() };

struct Closing {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Closing {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as long as a handle is being destroyed.
struct Counted;

impl Counted {
    fn new() -> Self {
        *CLOSING.count() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *CLOSING.count() -= 1;
        CLOSING.changed.notify_all();
    }
}

/// Runs what destroys a handle, and does not wait for it.
pub(super) fn close(destroy: impl FnOnce() + Send + 'static) {
    let counted = Counted::new();
    let body = move || {
        destroy();
        drop(counted);
    };
    if let Err(error) = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(body) {
        // The handle was dropped with the closure that could not be started: it is leaked.
        tracing::warn!("a Kafka client cannot be closed, its thread cannot be started: {error}");
    }
}

/// Ends the process at once, without what a normal end does while threads of clients that hang go on: flushing C's
/// buffers, cleaning up OpenSSL.
pub fn end_process(code: u8) -> ! {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    // SAFETY: POSIX' function; it may be called at any time.
    unsafe { _exit(c_int::from(code)) }
}

/// Waits until all clients that were dropped are closed, at most `wait`; whether they are.
pub fn wait_until_closed(wait: Duration) -> bool {
    let waited = CLOSING.changed.wait_timeout_while(CLOSING.count(), wait, |count| *count > 0);
    let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *count == 0
}
