//! A librdkafka handle with its callbacks.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::closing::close;
use super::sockets::{self, Sockets};
use super::{c_string, keeper, text};
use crate::kafka::error::{Code, KafkaError};
use crate::metrics::Metrics;

/// How librdkafka begins to say which partition a broker did not take into a transaction.
const REFUSED_PARTITION: &str = "Failed to add partition \"";
/// How it ends for the partition that is the cause; the others of the request were not even tried.
const NOT_AUTHORIZED: &str = "authorization failed";

/// What a handle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Kind {
    /// Reads.
    Consumer,
    /// Writes; also the kind for admin calls.
    Producer,
}

/// What a client's callbacks have seen; shared between librdkafka's threads and ours.
#[derive(Debug)]
pub(in crate::kafka) struct Events {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    sockets: Sockets,
}

#[derive(Debug, Default)]
struct State {
    error: Option<KafkaError>,
    denied: Option<KafkaError>,
    undelivered: Option<Undelivered>,
    refused_partition: Option<String>,
    call: Option<Call>,
}

/// A call that has not ended; no two of a client at a time.
#[derive(Debug)]
struct Call {
    doing: &'static str,
    until: Instant,
    was_late: bool,
}

/// Records that were not delivered since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The first error.
    pub error: KafkaError,
    /// How many records failed.
    pub records: u64,
}

impl Events {
    pub(in crate::kafka) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, state: Mutex::default(), sockets: Sockets::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last error that the client told, and forgets it.
    pub(in crate::kafka) fn take_error(&self) -> Option<KafkaError> {
        let mut state = self.state();
        state.denied.take().or_else(|| state.error.take())
    }

    /// The records that could not be delivered, and forgets them.
    pub(in crate::kafka) fn take_undelivered(&self) -> Option<Undelivered> {
        self.state().undelivered.take()
    }

    /// Whether a record could not be delivered.
    pub(in crate::kafka) fn has_undelivered(&self) -> bool {
        self.state().undelivered.is_some()
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub(in crate::kafka) fn is_refused(&self) -> bool {
        self.state().denied.is_some()
    }

    /// The client's connections.
    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// The call that is not back `late` after it had promised; not again within `patience`.
    pub(super) fn late_call(&self, late: Duration, patience: Duration) -> Option<&'static str> {
        let mut state = self.state();
        let call = state.call.as_mut().filter(|call| call.until.elapsed() >= late)?;
        (call.until, call.was_late) = (Instant::now() + patience, true);
        Some(call.doing)
    }

    /// Calls what promises to be back within `wait`; and whether it was so late that somebody was told.
    fn promised<T>(&self, doing: &'static str, wait: Duration, call: impl FnOnce() -> T) -> (T, bool) {
        self.state().call = Some(Call { doing, until: Instant::now() + wait, was_late: false });
        let outcome = call();
        let was_late = self.state().call.take().is_some_and(|call| call.was_late);
        (outcome, was_late)
    }

    /// How many connections the client has lost or closed so far.
    pub(in crate::kafka) fn connections_closed(&self) -> u64 {
        self.sockets.closed()
    }

    /// What was said about the last partition that was not taken into a transaction, and forgets it.
    pub(in crate::kafka) fn take_refused_partition(&self) -> Option<String> {
        self.state().refused_partition.take()
    }

    fn client_error(&self, error: KafkaError) {
        let error = KafkaError { code: code_of(&error), ..error };
        self.metrics.client_error(&format!("{:?}", error.code));
        keeper::alarm();
        let mut state = self.state();
        // Every error of the last broker is followed by "all brokers are down", which explains nothing.
        if error.is_denied() {
            state.denied = Some(error);
        } else if error.code != Code::AllBrokersDown || state.error.is_none() {
            state.error = Some(error);
        }
    }

    fn record_failed(&self, error: KafkaError) {
        // Purged by our own abort: the transaction's fate is known already.
        if matches!(error.code, Code::PurgeQueue | Code::PurgeInflight) {
            return;
        }
        let mut state = self.state();
        match &mut state.undelivered {
            Some(undelivered) => undelivered.records += 1,
            None => state.undelivered = Some(Undelivered { error, records: 1 }),
        }
    }
}

/// An error's code, where librdkafka tells a refusal and a broken connection apart in its words only.
fn code_of(error: &KafkaError) -> Code {
    // A broker that refuses our certificate says so in a TLS alert.
    if error.message.contains("SSL alert number") {
        return Code::SSL;
    }
    // A broker that stopped while the mechanism was agreed on has refused nothing.
    let local = error.code == Code::Authentication && error.message.contains("mechanism handshake failed: Local:");
    if local { Code::BrokerTransportFailure } else { error.code }
}

/// A librdkafka handle.
#[derive(Debug)]
pub(in crate::kafka) struct Client {
    pub(super) handle: *mut rd::rd_kafka_t,
    kind: Kind,
    events: *const Events,
}

// SAFETY: librdkafka's handles are thread-safe; `events` is an Arc's pointer to a Sync type.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a handle; connects in the background.
    pub(in crate::kafka) fn new(
        kind: Kind,
        settings: &[(String, String)],
        events: Arc<Events>,
    ) -> Result<Self, KafkaError> {
        let opaque = Arc::into_raw(events);
        // SAFETY: the configuration is ours until rd_kafka_new takes it; on failure we destroy it and the opaque.
        unsafe {
            let conf = rd::rd_kafka_conf_new();
            if let Err(error) = set_all(conf, settings) {
                rd::rd_kafka_conf_destroy(conf);
                drop(Arc::from_raw(opaque));
                return Err(error);
            }
            rd::rd_kafka_conf_set_opaque(conf, opaque.cast_mut().cast());
            set_callbacks(conf, kind);
            let mut words: [c_char; 512] = [0; 512];
            let native_kind = match kind {
                Kind::Consumer => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                Kind::Producer => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            };
            let handle = rd::rd_kafka_new(native_kind, conf, words.as_mut_ptr(), words.len());
            if handle.is_null() {
                rd::rd_kafka_conf_destroy(conf);
                drop(Arc::from_raw(opaque));
                return Err(KafkaError::new(
                    "make a Kafka client",
                    Code::from(rd::rd_kafka_last_error()),
                    text(words.as_ptr()),
                ));
            }
            if kind == Kind::Consumer {
                rd::rd_kafka_poll_set_consumer(handle);
            }
            let servers = settings.iter().find(|(name, _)| name == "bootstrap.servers");
            keeper::keep(handle, opaque, c_string(servers.map_or("", |(_, servers)| servers)));
            Ok(Self { handle, kind, events: opaque })
        }
    }

    /// What the callbacks have seen.
    pub(in crate::kafka) fn events(&self) -> &Events {
        // SAFETY: released only in drop.
        unsafe { &*self.events }
    }

    /// Calls what promises to be back within `wait`; and whether it was so late that connections were broken for it.
    pub(super) fn promised<T>(&self, doing: &'static str, wait: Duration, call: impl FnOnce(c_int) -> T) -> (T, bool) {
        self.events().promised(doing, wait, || call(millis(wait)))
    }

    /// Serves callbacks of a producer for at most `wait`.
    ///
    /// Those of a consumer are served where its messages are read: this call would come across messages, and librdkafka
    /// ends the process then.
    pub(in crate::kafka) fn poll(&self, wait: Duration) {
        if self.kind == Kind::Producer {
            // SAFETY: a live handle.
            unsafe { rd::rd_kafka_poll(self.handle, millis(wait)) };
        }
    }

    /// The cluster's id, if a broker told it within `wait`.
    pub(in crate::kafka) fn cluster_id(&self, wait: Duration) -> Option<String> {
        // SAFETY: the returned string is ours and freed with librdkafka's own allocator.
        unsafe {
            let id = rd::rd_kafka_clusterid(self.handle, millis(wait));
            if id.is_null() {
                return None;
            }
            let copy = text(id);
            rd::rd_kafka_mem_free(self.handle, id.cast());
            Some(copy)
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        keeper::forget(self.handle);
        let parts = Parts { handle: self.handle, kind: self.kind, events: self.events };
        close(move || parts.destroy());
    }
}

/// What a client was made of, on its way to its end.
struct Parts {
    handle: *mut rd::rd_kafka_t,
    kind: Kind,
    events: *const Events,
}

// SAFETY: librdkafka's handles are thread-safe; `events` is an Arc's pointer to a Sync type.
unsafe impl Send for Parts {}

impl Parts {
    fn destroy(self) {
        // SAFETY: the handle is destroyed once, with its threads; only then the opaque of its callbacks is released.
        unsafe {
            match self.kind {
                // Nothing to leave: assigned by hand, positions committed by the transaction.
                Kind::Consumer => {
                    rd::rd_kafka_destroy_flags(self.handle, rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int);
                }
                Kind::Producer => {
                    self.forget_requests();
                    rd::rd_kafka_destroy(self.handle);
                }
            }
            drop(Arc::from_raw(self.events));
        }
    }

    /// Takes the produce requests under way back before the handle is destroyed.
    ///
    /// `rd_kafka_destroy` frees the text of a fatal error in the handle's main thread (`rd_kafka_txns_term`) while its
    /// broker threads still run: another answer that says "fenced" would free it a second time. After the purge no answer
    /// is waited for. Seen by `AddressSanitizer` in librdkafka 2.12.1; 2.15.0 reads the same.
    fn forget_requests(&self) {
        let flags = (rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT) as c_int;
        // SAFETY: a live producer handle. The call waits for the broker threads, which never wait for us.
        unsafe { rd::rd_kafka_purge(self.handle, flags) };
    }
}

/// Milliseconds for librdkafka.
pub(super) fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `conf` is a live configuration.
unsafe fn set_all(conf: *mut rd::rd_kafka_conf_t, settings: &[(String, String)]) -> Result<(), KafkaError> {
    for (name, value) in settings {
        let mut words: [c_char; 512] = [0; 512];
        let (c_name, c_value) = (c_string(name), c_string(value));
        // SAFETY: the strings outlive the call, which copies them.
        let outcome =
            unsafe { rd::rd_kafka_conf_set(conf, c_name.as_ptr(), c_value.as_ptr(), words.as_mut_ptr(), words.len()) };
        if outcome != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            // librdkafka's words may quote the value, and some values are secrets.
            let secret = name.contains("password") || name.contains("pem") || name.contains("username");
            let words = if secret { "its value is not usable".to_owned() } else { text(words.as_ptr()) };
            return Err(KafkaError::new(format!("set the client property `{name}`"), Code::InvalidArgument, words));
        }
    }
    Ok(())
}

/// # Safety
/// `conf` is a live configuration whose opaque is a `*const Events`.
unsafe fn set_callbacks(conf: *mut rd::rd_kafka_conf_t, kind: Kind) {
    // SAFETY: the callbacks have librdkafka's signatures and live for ever.
    unsafe {
        rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
        rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
        rd::rd_kafka_conf_set_throttle_cb(conf, Some(on_throttle));
        sockets::set_callbacks(conf);
        if kind == Kind::Producer {
            rd::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
        }
    }
}

/// # Safety
/// `opaque` is null or an `Events` that lives as long as the client.
pub(super) unsafe fn events<'a>(opaque: *mut c_void) -> Option<&'a Events> {
    // SAFETY: by the contract above.
    unsafe { opaque.cast_const().cast::<Events>().as_ref() }
}

unsafe extern "C" fn on_log(
    client: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    words: *const c_char,
) {
    let (facility, words) = (text(facility), text(words));
    if facility == "ADDPARTS"
        && let Some(refused) = refused_partition(&words)
        // SAFETY: a client that talks to brokers is passed, and its opaque is that of our clients.
        && let Some(events) = unsafe { events(rd::rd_kafka_opaque(client)) }
    {
        events.state().refused_partition = Some(refused.to_owned());
    }
    // librdkafka repeats what it cannot do on every attempt; what follows from it is told by the status.
    if level <= 3 {
        tracing::info!(target: "librdkafka", facility, "{words}");
    } else {
        tracing::debug!(target: "librdkafka", facility, "{words}");
    }
}

fn refused_partition(words: &str) -> Option<&str> {
    words.find(REFUSED_PARTITION).map(|place| &words[place..]).filter(|refused| refused.ends_with(NOT_AUTHORIZED))
}

unsafe extern "C" fn on_error(client: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    let reason = text(reason);
    let native = rd::rd_kafka_resp_err_t::try_from(code).unwrap_or(rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN);
    let mut error = KafkaError::new("talk to the brokers", Code::from(native), reason);
    if error.code == Code::Fatal {
        let mut words: [c_char; 512] = [0; 512];
        // SAFETY: librdkafka passes its live handle; the buffer has the length given.
        let cause = unsafe { rd::rd_kafka_fatal_error(client, words.as_mut_ptr(), words.len()) };
        error = KafkaError::new("go on", Code::from(cause), text(words.as_ptr()));
    }
    // SAFETY: the opaque of our clients.
    if let Some(events) = unsafe { events(opaque) } {
        events.client_error(error);
    }
}

unsafe extern "C" fn on_throttle(
    _: *mut rd::rd_kafka_t,
    _broker: *const c_char,
    _id: i32,
    time_ms: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque of our clients.
    if let Some(events) = unsafe { events(opaque) } {
        events.metrics.throttled(Duration::from_millis(u64::try_from(time_ms).unwrap_or(0)));
    }
}

unsafe extern "C" fn on_delivery(_: *mut rd::rd_kafka_t, message: *const rd::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: librdkafka passes a live message, and the opaque of our clients.
    unsafe {
        let Some(message) = message.as_ref() else { return };
        if message.err == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        let topic = if message.rkt.is_null() { ptr::null() } else { rd::rd_kafka_topic_name(message.rkt) };
        let doing = format!("write to topic `{}` partition {}", text(topic), message.partition);
        if let Some(events) = events(opaque) {
            events.record_failed(KafkaError::new(doing, Code::from(message.err), super::describe(message.err)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_connection_that_broke() {
        let code = |code, words: &str| code_of(&KafkaError::new("talk to the brokers", code, words));
        let alert = "b:9093: SSL routines::tlsv13 alert certificate required: SSL alert number 116";
        assert_eq!(code(Code::BrokerTransportFailure, alert), Code::SSL);
        let cut = "b:9093: SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: ";
        assert_eq!(code(Code::Authentication, cut), Code::BrokerTransportFailure);
        let unsupported = "b:9093: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: GSSAPI";
        assert_eq!(code(Code::Authentication, unsupported), Code::Authentication);
        let password =
            "b:9093: SASL authentication error: Authentication failed during authentication due to invalid credentials";
        assert_eq!(code(Code::Authentication, password), Code::Authentication);
    }

    #[test]
    fn the_partition_that_was_refused_is_found_in_the_log() {
        let line = |what: &str| {
            format!("[thrd:main]: 127.0.0.1:9092/1: Failed to add partition \"out\" [0] to transaction: {what}")
        };
        let denied = line("Broker: Topic authorization failed");
        let found = refused_partition(&denied);
        assert_eq!(
            found,
            Some("Failed to add partition \"out\" [0] to transaction: Broker: Topic authorization failed")
        );
        assert_eq!(refused_partition(&line("Broker: Operation not attempted")), None);
    }

    #[test]
    fn a_late_call_is_told_once_in_a_while() {
        let events = Events::new(Metrics::new("p"));
        let late = || events.late_call(Duration::from_millis(1), Duration::from_hours(1));
        assert_eq!(late(), None, "no call");
        assert_eq!(events.promised("wait", Duration::from_hours(1), late), (None, false), "not late yet");
        let twice = || {
            std::thread::sleep(Duration::from_millis(5));
            (late(), late())
        };
        assert_eq!(events.promised("wait", Duration::ZERO, twice), ((Some("wait"), None), true));
        assert_eq!(late(), None, "it is back");
    }

    #[test]
    fn what_explains_most_is_told() {
        use Code::{AllBrokersDown, Authentication, BrokerTransportFailure, Resolve};
        let events = Events::new(Metrics::new("p"));
        let told = |codes: &[Code]| {
            for code in codes {
                events.client_error(KafkaError::new("talk to the brokers", *code, "x"));
            }
            let told = events.take_error().map(|error| error.code);
            // Another one may be left behind it.
            events.take_error();
            told
        };
        assert_eq!(told(&[BrokerTransportFailure, AllBrokersDown]), Some(BrokerTransportFailure));
        assert_eq!(told(&[AllBrokersDown]), Some(AllBrokersDown));
        assert_eq!(told(&[AllBrokersDown, Resolve]), Some(Resolve));
        assert_eq!(told(&[Authentication, BrokerTransportFailure, AllBrokersDown]), Some(Authentication));
        assert_eq!(told(&[]), None);
    }
}
