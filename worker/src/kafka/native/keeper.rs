//! Looks after clients that cannot help themselves.
//!
//! A broker that has just started may know topics before it knows brokers. librdkafka (2.10 and later) takes such an
//! answer as the truth: it drops all brokers, those of `bootstrap.servers` too, and the attempt to begin with these again
//! is cancelled by the very answer (its issue 5301, open in 2.15). What follows from it lasts for ten minutes, until
//! brokers close connections that are idle:
//! - The client has nobody to ask, and tells nobody: a consumer waits as if there were no records. It is given its
//!   bootstrap servers again.
//! - A call of a transaction waits for a coordinator among the brokers that were dropped, whatever its time limit says.
//!   The client looks for the coordinator again when one of its connections breaks while another one stands, and not
//!   within a second of the last time; so they are broken one by one.
//!
//! One thread does that for all clients of the process, and ends with it. It keeps no client alive: one that is dropped is
//! forgotten first.

use std::ffi::CString;
use std::ptr;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::client::Events;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long after the last error clients are asked whether they have brokers: they ask for metadata every five minutes
/// when nothing fails.
const AFTER: Duration = Duration::from_mins(6);
/// How much longer than promised a call may take.
const LATE: Duration = Duration::from_secs(1);
/// How long a call that is late is left alone when a connection was broken for it.
const PATIENCE: Duration = Duration::from_secs(2);

static KEEPER: Keeper = Keeper(Mutex::new(State { alarmed: None, clients: Vec::new() }));
static THREAD: Once = Once::new();

/// All clients of the process.
struct Keeper(Mutex<State>);

struct State {
    alarmed: Option<Instant>,
    clients: Vec<Kept>,
}

struct Kept {
    handle: *mut rd::rd_kafka_t,
    events: *const Events,
    servers: CString,
}

// SAFETY: librdkafka's handles are thread-safe, `Events` is Sync, and both live until the client is forgotten.
unsafe impl Send for Kept {}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            thread::sleep(EVERY);
            let state = self.state();
            let alarmed = state.alarmed.is_some_and(|at| at.elapsed() < AFTER);
            for client in &state.clients {
                client.look_for_late_call();
                if alarmed {
                    client.look_for_brokers();
                }
            }
        }
    }
}

impl Kept {
    /// Gives a client without brokers its bootstrap servers back. Harmless where brokers are only down: the client has
    /// them already.
    fn look_for_brokers(&self) {
        if self.is_without_broker() {
            tracing::debug!(servers = ?self.servers, "a client has no broker that it could ask");
            // SAFETY: live handle; the names are copied.
            unsafe { rd::rd_kafka_brokers_add(self.handle, self.servers.as_ptr()) };
        }
    }

    /// Whether there is no broker to which a connection exists. Asks such a one for metadata, and does not wait.
    fn is_without_broker(&self) -> bool {
        let mut metadata = ptr::null();
        // SAFETY: live handle; metadata that is set is ours, and freed once.
        unsafe {
            let code = rd::rd_kafka_metadata(self.handle, 0, ptr::null_mut(), &raw mut metadata, 0);
            if !metadata.is_null() {
                rd::rd_kafka_metadata_destroy(metadata);
            }
            code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TRANSPORT
        }
    }

    /// Breaks a connection of a client that does not come back from a call.
    fn look_for_late_call(&self) {
        // SAFETY: lives until the client is forgotten.
        let events = unsafe { &*self.events };
        if let Some(call) = events.late_call(LATE, PATIENCE)
            && events.sockets().shut_down_next()
        {
            tracing::warn!("the Kafka client does not come back from \"{call}\": one of its connections is made anew");
        }
    }
}

/// Looks after a client from now on.
///
/// # Safety
/// Handle and events must live until [`forget`] has returned.
pub(super) unsafe fn keep(handle: *mut rd::rd_kafka_t, events: *const Events, servers: CString) {
    KEEPER.state().clients.push(Kept { handle, events, servers });
    THREAD.call_once(|| {
        let keeper = thread::Builder::new().name("kafka-keeper".to_owned()).spawn(|| KEEPER.run());
        if let Err(error) = keeper {
            tracing::warn!("nobody looks after clients that lose their brokers: {error}");
        }
    });
}

/// Looks after a client no longer.
pub(super) fn forget(handle: *mut rd::rd_kafka_t) {
    KEEPER.state().clients.retain(|kept| kept.handle != handle);
}

/// A client has told an error: brokers may be about to start.
pub(super) fn alarm() {
    KEEPER.state().alarmed = Some(Instant::now());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use bytes::{Buf, BufMut, Bytes, BytesMut};
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, TopicName};
    use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

    use crate::kafka::native::client::{Client, Events, Kind};
    use crate::metrics::Metrics;

    const WAIT: Duration = Duration::from_secs(2);
    /// The guard against hanging.
    const GUARD: Duration = Duration::from_mins(1);

    /// Whether an answer without brokers leaves the client blind is a matter of microseconds; one of so many does.
    const ANSWERS: usize = 40;

    /// A broker that knows one topic, and, if it is forgetful, in every second answer nobody that leads it.
    struct Broker {
        listener: TcpListener,
        answers: AtomicUsize,
        forgetful: bool,
    }

    impl Broker {
        fn start(forgetful: bool) -> (Arc<Self>, u16) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let broker = Arc::new(Self { listener, answers: AtomicUsize::new(0), forgetful });
            let serving = Arc::clone(&broker);
            thread::spawn(move || {
                while let Ok((stream, _)) = serving.listener.accept() {
                    let serving = Arc::clone(&serving);
                    thread::spawn(move || while serving.serve(&stream, port).is_some() {});
                }
            });
            (broker, port)
        }

        /// Answers one request; None once the client is gone.
        fn serve(&self, mut stream: &TcpStream, port: u16) -> Option<()> {
            let mut length = [0; 4];
            stream.read_exact(&mut length).ok()?;
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).ok()?;
            let mut request = Bytes::from(request);
            let (api, version, number) = (request.get_i16(), request.get_i16(), request.get_i32());
            let answer = match ApiKey::try_from(api).ok()? {
                ApiKey::ApiVersions => encoded(number, version, &versions()),
                ApiKey::Metadata => encoded(number, version, &self.metadata(port)),
                _ => return None,
            };
            stream.write_all(&answer).ok()
        }

        fn metadata(&self, port: u16) -> MetadataResponse {
            let first = self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let started = first || !self.forgetful;
            let itself = MetadataResponseBroker::default()
                .with_node_id(BrokerId(1))
                .with_host(StrBytes::from_static_str("127.0.0.1"))
                .with_port(i32::from(port));
            let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(if started { 1 } else { -1 }));
            let topic = MetadataResponseTopic::default()
                .with_name(Some(TopicName(StrBytes::from_static_str("topic"))))
                .with_partitions(vec![partition]);
            MetadataResponse::default()
                .with_brokers(if started { vec![itself] } else { Vec::new() })
                .with_topics(vec![topic])
        }
    }

    fn versions() -> ApiVersionsResponse {
        let version = |api, most| ApiVersion::default().with_api_key(api as i16).with_max_version(most);
        ApiVersionsResponse::default()
            .with_api_keys(vec![version(ApiKey::ApiVersions, 3), version(ApiKey::Metadata, 9)])
    }

    fn encoded<M: Encodable + HeaderVersion>(number: i32, version: i16, message: &M) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i32(0);
        out.put_i32(number);
        if M::header_version(version) > 0 {
            out.put_u8(0);
        }
        message.encode(&mut out, version).unwrap();
        let length = out.len() as u32 - 4;
        out[..4].copy_from_slice(&length.to_be_bytes());
        out.freeze()
    }

    fn client_of(port: u16) -> Client {
        let settings = [("bootstrap.servers".to_owned(), format!("127.0.0.1:{port}"))];
        Client::new(Kind::Producer, &settings, Events::new(Metrics::new("p"))).unwrap()
    }

    #[test]
    fn a_client_gets_over_an_answer_without_brokers() {
        let (broker, port) = Broker::start(true);
        let client = client_of(port);
        let started = Instant::now();
        while broker.answers.load(Ordering::Relaxed) < ANSWERS {
            // An error does not end it: the keeper looks after the client.
            drop(client.topics(WAIT));
            client.poll(Duration::ZERO);
            assert!(started.elapsed() < GUARD, "{} answers", broker.answers.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn connections_are_broken_for_a_call_that_is_late() {
        let (_broker, port) = Broker::start(false);
        let client = client_of(port);
        let started = Instant::now();
        // The connection to the bootstrap server is closed once the broker is known.
        for _ in 0..5 {
            client.topics(WAIT).unwrap();
            thread::sleep(Duration::from_millis(200));
        }
        let before = client.events().connections_closed();
        let pause = |_| thread::sleep(Duration::from_secs(3));
        while !client.promised("wait", Duration::ZERO, pause).1 {
            assert!(started.elapsed() < GUARD, "nobody looks for late calls");
        }
        while client.events().connections_closed() == before {
            assert!(started.elapsed() < GUARD, "no connection was broken");
            thread::sleep(Duration::from_millis(10));
        }
        while client.topics(WAIT).is_err() {
            assert!(started.elapsed() < GUARD, "the client does not connect again");
        }
    }
}
