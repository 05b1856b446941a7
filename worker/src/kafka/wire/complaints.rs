//! What went wrong at a client and nobody has asked for yet.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::connection::ConnectionError;
use super::problem;
use crate::kafka::error::KafkaError;
use crate::metrics::Metrics;

/// The last error, and the last refusal, which does not pass by itself.
#[derive(Debug)]
pub(super) struct Complaints {
    metrics: Arc<Metrics>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    denied: Option<KafkaError>,
    error: Option<KafkaError>,
}

impl Complaints {
    /// None yet; they are counted in the metrics.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, state: RefCell::default() }
    }

    /// A connection failed.
    pub(super) fn add(&self, error: &ConnectionError) {
        let error = problem::of_connection(error);
        tracing::debug!(target: "kafka", "{error}");
        self.count(&error);
        let mut state = self.state.borrow_mut();
        if error.is_denied() {
            state.denied = Some(error);
        } else {
            state.error = Some(error);
        }
    }

    /// Counts an error that is told in another way.
    pub(super) fn count(&self, error: &KafkaError) {
        self.metrics.client_error(&format!("{:?}", error.code));
    }

    /// A broker asked to hold back for so many milliseconds.
    pub(super) fn throttled(&self, milliseconds: i32) {
        if let Ok(milliseconds @ 1..) = u64::try_from(milliseconds) {
            self.metrics.throttled(Duration::from_millis(milliseconds));
        }
    }

    /// The last error in words, which is kept.
    pub(super) fn last(&self) -> Option<String> {
        let state = self.state.borrow();
        state.denied.as_ref().or(state.error.as_ref()).map(|error| error.message.clone())
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub(super) fn is_refused(&self) -> bool {
        self.state.borrow().denied.is_some()
    }

    /// The last error, if any since the last look.
    pub(super) fn take(&self) -> Option<KafkaError> {
        let mut state = self.state.borrow_mut();
        state.denied.take().or_else(|| state.error.take())
    }
}
