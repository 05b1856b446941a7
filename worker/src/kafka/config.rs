//! Settings of the clients: a connection with its secrets becomes librdkafka's properties, or the wire's settings.

use std::fmt;
use std::time::Duration;

pub use millstream_crds::kafka::KafkaClient;

use super::error::{Code, KafkaError};
use super::producer::Room;
use super::secrets::{SecretError, SecretStore};
use super::wire::cluster::Endpoint;
use super::wire::connection::{Options, Tls, TlsError};
use super::wire::consumer::Settings;
use super::wire::fetch;
use super::wire::network::Patience;
use super::wire::sasl::{Login, Mechanism};
use super::wire::{produce, producer};
use crate::plan::pipeline::{Connection, SaslMechanism};

/// What all clients of one connection share. `Debug` shows no value, since some are secrets. Two are equal if their
/// clients would be: so a secret that was written again without a change is none that changed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The connection's name, for messages.
    pub connection: String,
    client: KafkaClient,
    servers: String,
    tls: Option<Pem>,
    sasl: Option<Credentials>,
    rack: Option<String>,
    overrides: Vec<(String, String)>,
}

/// Certificates and key.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    ca: Option<String>,
    client: Option<(String, String)>,
}

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    mechanism: SaslMechanism,
    user: String,
    password: String,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientConfig({})", self.connection)
    }
}

/// Properties that the wire's client follows. A connection with any other goes through librdkafka, which has them all.
const KNOWN_TO_WIRE: [&str; 10] = [
    "batch.size",
    RACK,
    FETCH_BYTES,
    PARTITION_BYTES,
    "max.partition.fetch.bytes",
    MIN_BYTES,
    MAX_WAIT,
    "linger.ms",
    OPEN_TIMEOUT,
    ANSWER_TIMEOUT,
];
const RACK: &str = "client.rack";
const FETCH_BYTES: &str = "fetch.max.bytes";
const PARTITION_BYTES: &str = "fetch.message.max.bytes";
const MIN_BYTES: &str = "fetch.min.bytes";
const MAX_WAIT: &str = "fetch.wait.max.ms";
const OPEN_TIMEOUT: &str = "socket.connection.setup.timeout.ms";
const ANSWER_TIMEOUT: &str = "socket.timeout.ms";

/// Opening a connection: a broker that restarts is back within seconds.
const OPEN: Duration = Duration::from_secs(10);
/// An answer, beyond what the broker was asked to wait.
const ANSWER: Duration = Duration::from_secs(10);
/// The bytes of batches in one request: a broker takes more, but nothing is gained by it.
const MOST_REQUEST: usize = 4 << 20;
/// The bytes of an answer to anything but a fetch.
const MOST_ANSWER: usize = 64 << 20;
/// After this long records are not tried to be delivered any more without transactions, as with librdkafka.
const DELIVERY: Duration = Duration::from_mins(5);
/// What a tail's fetch may wait for records.
const TAIL_WAIT: Duration = Duration::from_millis(5);

impl ClientConfig {
    /// Reads the secrets that the connection refers to.
    pub fn resolve(connection: &Connection, secrets: &SecretStore) -> Result<Self, SecretError> {
        let tls = connection.tls.as_ref().map(|tls| {
            let client = tls.certificate.as_ref();
            let client = client.map(|client| Ok((secrets.pem(&client.certificate)?, secrets.pem(&client.key)?)));
            let ca = tls.ca.as_ref().map(|ca| secrets.pem(ca)).transpose()?;
            Ok(Pem { ca, client: client.transpose()? })
        });
        let sasl = connection.sasl.as_ref().map(|sasl| {
            let (user, password) = (secrets.text(&sasl.username)?, secrets.text(&sasl.password)?);
            Ok(Credentials { mechanism: sasl.mechanism, user, password })
        });
        Ok(Self {
            connection: connection.name.clone(),
            client: connection.client,
            servers: connection.bootstrap_servers.clone(),
            tls: tls.transpose()?,
            sasl: sasl.transpose()?,
            rack: None,
            overrides: connection.properties.iter().map(|(name, value)| pair(name, value)).collect(),
        })
    }

    /// For clients in a rack, which is a zone: they fetch from the closest replica.
    #[must_use]
    pub fn in_rack(self, rack: Option<&str>) -> Self {
        Self { rack: rack.filter(|rack| !rack.is_empty()).map(str::to_owned), ..self }
    }

    /// The client that reads and writes: the connection's, unless it is told something that only librdkafka knows.
    pub fn client(&self) -> KafkaClient {
        if self.librdkafkas().is_some() { KafkaClient::Librdkafka } else { self.client }
    }

    /// What is set that only librdkafka knows, if that decides who reads and writes.
    pub fn librdkafkas(&self) -> Option<&str> {
        let mut names = self.overrides.iter().map(|(name, _)| name.as_str());
        names.find(|name| !KNOWN_TO_WIRE.contains(name)).filter(|_| self.client == KafkaClient::Wire)
    }

    /// The rack that clients are in: what the connection says counts more than where the process is.
    fn rack(&self) -> Option<&str> {
        let said = self.overrides.iter().find(|(name, _)| name == RACK).map(|(_, rack)| rack.as_str());
        said.or(self.rack.as_deref())
    }

    /// The wire's settings for a producer, in transactions with this id and timeout, or without any.
    pub(super) fn wire_producer(
        &self,
        client: &str,
        transactional: Option<(&str, Duration)>,
        room: Room,
    ) -> Result<producer::Settings, KafkaError> {
        let batch =
            self.number("batch.size").unwrap_or(usize::MAX).min(usize::try_from(room.batch).unwrap_or(usize::MAX));
        // Output is not visible before the commit, which flushes: waiting for larger batches costs nothing.
        let linger = if transactional.is_some() { Duration::from_millis(50) } else { Duration::ZERO };
        let produce = produce::Settings {
            transactional: transactional.map(|(id, timeout)| (id.to_owned(), timeout)),
            batch: batch.max(1),
            request: MOST_REQUEST,
            linger: self.milliseconds("linger.ms").unwrap_or(linger),
            delivery: transactional.map_or(DELIVERY, |(_, timeout)| timeout),
            acknowledge: ANSWER,
        };
        let patience = Patience {
            open: self.milliseconds(OPEN_TIMEOUT).unwrap_or(OPEN),
            answer: self.milliseconds(ANSWER_TIMEOUT).unwrap_or(ANSWER) + produce.acknowledge,
        };
        let queue = usize::try_from(room.queue).unwrap_or(usize::MAX);
        Ok(producer::Settings {
            seeds: self.seeds(),
            options: self.options(client, MOST_ANSWER)?,
            patience,
            produce,
            queue,
        })
    }

    /// The wire's settings for a consumer. `prefetch` bounds the bytes that are fetched ahead.
    pub(super) fn wire_consumer(&self, client: &str, prefetch: u64) -> Result<Settings, KafkaError> {
        let mut fetch = fetch::Settings::for_prefetch(usize::try_from(prefetch).unwrap_or(usize::MAX));
        if let Some(bytes) = self.number(FETCH_BYTES) {
            fetch.response = fetch.response.min(bytes);
        }
        if let Some(bytes) = self.number(PARTITION_BYTES).or_else(|| self.number("max.partition.fetch.bytes")) {
            fetch.partition = bytes.min(fetch.response);
        }
        fetch.least = self.number(MIN_BYTES).unwrap_or(1);
        fetch.max_wait = self.milliseconds(MAX_WAIT).unwrap_or(fetch.max_wait);
        let patience = Patience {
            open: self.milliseconds(OPEN_TIMEOUT).unwrap_or(OPEN),
            answer: self.milliseconds(ANSWER_TIMEOUT).unwrap_or(ANSWER) + fetch.max_wait,
        };
        // A broker sends a batch that is larger than what it was asked for, too, if it is the first.
        let frame = fetch.response + fetch.batch;
        let rack = self.rack().unwrap_or_default().to_owned();
        Ok(Settings { seeds: self.seeds(), options: self.options(client, frame)?, patience, fetch, rack })
    }

    /// The same for the last record of a log: brokers answer at once though nothing follows, and no follower is asked that
    /// may not have it yet.
    pub(super) fn wire_tail_consumer(&self, client: &str, prefetch: u64) -> Result<Settings, KafkaError> {
        let mut settings = self.wire_consumer(client, prefetch)?;
        settings.fetch.max_wait = TAIL_WAIT;
        settings.rack.clear();
        Ok(settings)
    }

    /// How to connect; `frame` bounds an answer.
    fn options(&self, client: &str, frame: usize) -> Result<Options, KafkaError> {
        let tls = self.tls.as_ref().map(|pem| {
            let client = pem.client.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
            Tls::new(pem.ca.as_deref(), client)
        });
        let unusable = |error: TlsError| KafkaError::new("make a Kafka client", Code::SSL, error.to_string());
        let login = self.sasl.as_ref().map(|sasl| {
            let mechanism = match sasl.mechanism {
                SaslMechanism::Plain => Mechanism::Plain,
                SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
                SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
            };
            Login::new(mechanism, sasl.user.clone(), sasl.password.clone())
        });
        Ok(Options { client: client.to_owned(), tls: tls.transpose().map_err(unusable)?, login, frame })
    }

    fn seeds(&self) -> Vec<Endpoint> {
        let servers = self.servers.split(',').filter_map(|server| {
            let (host, port) = server.trim().rsplit_once(':')?;
            // An address of version 6 stands in brackets.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
        });
        servers.collect()
    }

    fn number(&self, property: &str) -> Option<usize> {
        let found = self.overrides.iter().find(|(name, _)| name == property);
        found.and_then(|(_, value)| value.parse().ok())
    }

    fn milliseconds(&self, property: &str) -> Option<Duration> {
        self.number(property).map(|value| Duration::from_millis(value as u64))
    }

    fn common(&self) -> Vec<(String, String)> {
        let mut common = vec![
            pair("bootstrap.servers", &self.servers),
            // A broker that restarts is back within seconds; the defaults would wait up to ten.
            pair("reconnect.backoff.ms", "50"),
            pair("reconnect.backoff.max.ms", "1000"),
            pair("retry.backoff.ms", "20"),
            pair("socket.connection.setup.timeout.ms", "10000"),
            pair("log.connection.close", "false"),
            pair("log_level", "6"),
        ];
        common.extend(self.security());
        common.extend(self.rack.as_ref().map(|rack| pair(RACK, rack)));
        common
    }

    fn with(&self, client: &str, settings: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut all = self.common();
        all.push(pair("client.id", client));
        all.extend(settings);
        all.extend(self.overrides.iter().cloned());
        all
    }

    /// A consumer's settings. `prefetch` bounds the bytes that are fetched ahead.
    pub(super) fn consumer(&self, client: &str, group: &str, prefetch: u64) -> Vec<(String, String)> {
        let kilobytes = (prefetch / 1024).max(1024);
        let settings = vec![
            pair("group.id", group),
            pair("enable.auto.commit", "false"),
            pair("enable.auto.offset.store", "false"),
            // Tells positions that moved over markers and aborted records only.
            pair("enable.partition.eof", "true"),
            pair("isolation.level", "read_committed"),
            // A lost position is decided on by the pipeline's `onDataLoss`, never by the client.
            pair("auto.offset.reset", "error"),
            pair("check.crcs", "true"),
            pair("queued.max.messages.kbytes", &kilobytes.to_string()),
            pair("queued.min.messages", "1000000"),
            // The default of a second stops a partition for that long whenever its queue is full.
            pair("fetch.queue.backoff.ms", "5"),
            pair("fetch.message.max.bytes", &(kilobytes * 1024 / 8).clamp(65_536, 1_048_576).to_string()),
            pair("topic.metadata.refresh.interval.ms", "30000"),
        ];
        self.with(client, settings)
    }

    /// The settings of a consumer that reads the last record of a log: brokers answer at once though nothing follows.
    /// Else whatever is read next waits behind a fetch that is under way, half a second by default.
    pub(super) fn tail_consumer(&self, client: &str, group: &str, prefetch: u64) -> Vec<(String, String)> {
        let mut settings = self.consumer(client, group, prefetch);
        settings.push(pair("fetch.wait.max.ms", "5"));
        settings
    }

    /// A transactional producer's settings. `queue` bounds the bytes that wait to be written, `batch` those that are
    /// written at once.
    pub(super) fn transactional_producer(
        &self,
        client: &str,
        transactional_id: &str,
        timeout: Duration,
        queue: u64,
        batch: u64,
    ) -> Vec<(String, String)> {
        let mut settings = writing(queue, batch);
        settings.push(pair("transactional.id", transactional_id));
        settings.push(pair("transaction.timeout.ms", &timeout.as_millis().to_string()));
        // Output is not visible before the commit, which flushes: waiting for larger batches costs nothing.
        settings.push(pair("linger.ms", "50"));
        self.with(client, settings)
    }

    /// The settings of an idempotent producer without transactions.
    pub(super) fn plain_producer(&self, client: &str, queue: u64, batch: u64) -> Vec<(String, String)> {
        let mut settings = writing(queue, batch);
        settings.push(pair("enable.idempotence", "true"));
        settings.push(pair("linger.ms", "2"));
        self.with(client, settings)
    }

    /// The settings of a client for questions.
    pub(super) fn admin(&self, client: &str) -> Vec<(String, String)> {
        self.with(client, Vec::new())
    }

    fn security(&self) -> Vec<(String, String)> {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        let mut settings = vec![pair("security.protocol", protocol)];
        if let Some(pem) = &self.tls {
            settings.push(pair("ssl.endpoint.identification.algorithm", "https"));
            settings.extend(pem.ca.as_ref().map(|ca| pair("ssl.ca.pem", ca)));
            if let Some((certificate, key)) = &pem.client {
                settings.push(pair("ssl.certificate.pem", certificate));
                settings.push(pair("ssl.key.pem", key));
            }
        }
        if let Some(sasl) = &self.sasl {
            let mechanism = match sasl.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            settings.push(pair("sasl.mechanism", mechanism));
            settings.push(pair("sasl.username", &sasl.user));
            settings.push(pair("sasl.password", &sasl.password));
        }
        settings
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn writing(queue: u64, batch: u64) -> Vec<(String, String)> {
    vec![
        pair("acks", "all"),
        pair("delivery.report.only.error", "true"),
        pair("queue.buffering.max.kbytes", &(queue / 1024).max(1024).to_string()),
        // Bounded by bytes alone.
        pair("queue.buffering.max.messages", "0"),
        pair("batch.num.messages", "100000"),
        pair("batch.size", &batch.max(1).to_string()),
        // Each topic's own limit is checked before a record is written; this one must not be in the way.
        pair("message.max.bytes", "1000000000"),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(properties: &[(&str, &str)]) -> ClientConfig {
        let connection = Connection {
            name: "home".to_owned(),
            bootstrap_servers: "a:9092, [::1]:9093".to_owned(),
            client: KafkaClient::Wire,
            tls: None,
            sasl: None,
            properties: properties.iter().map(|(name, value)| pair(name, value)).collect(),
        };
        ClientConfig::resolve(&connection, &SecretStore::default()).unwrap()
    }

    #[test]
    fn what_only_librdkafka_knows_goes_through_it() {
        type Case = (&'static [(&'static str, &'static str)], Option<&'static str>);
        let cases: [Case; 6] = [
            (&[], None),
            (&[("fetch.wait.max.ms", "5"), ("linger.ms", "1")], None),
            (&[("linger.ms", "1"), ("ssl.cipher.suites", "x")], Some("ssl.cipher.suites")),
            (&[("client.rack", "a")], None),
            (&[("client.rack", "a"), ("ssl.cipher.suites", "x")], Some("ssl.cipher.suites")),
            (&[("reconnect.backoff.ms", "1")], Some("reconnect.backoff.ms")),
        ];
        for (properties, reason) in cases {
            let or_wire = |librdkafka| if librdkafka { KafkaClient::Librdkafka } else { KafkaClient::Wire };
            let config = config(properties);
            assert_eq!((config.librdkafkas(), config.client()), (reason, or_wire(reason.is_some())), "{properties:?}");
        }
    }

    #[test]
    fn the_rack_is_the_connections_or_else_the_nodes() {
        let rack = |config: ClientConfig| config.wire_consumer("c", 1).unwrap().rack;
        assert_eq!(rack(config(&[])), "");
        assert_eq!(rack(config(&[]).in_rack(Some(""))), "");
        assert_eq!(rack(config(&[]).in_rack(Some("node"))), "node");
        assert_eq!(rack(config(&[("client.rack", "said")]).in_rack(Some("node"))), "said");
        let tail = config(&[("client.rack", "said")]).wire_tail_consumer("c", 1).unwrap();
        assert_eq!(tail.rack, "", "the last record is the leader's to tell");
    }

    #[test]
    fn the_wires_settings_follow_from_the_properties() {
        let settings = config(&[]).wire_consumer("c", 8 << 20).unwrap();
        let endpoint = |host: &str, port| Endpoint { host: host.to_owned(), port };
        assert_eq!(settings.seeds, [endpoint("a", 9092), endpoint("::1", 9093)]);
        assert_eq!((settings.fetch.least, settings.fetch.max_wait), (1, Duration::from_millis(200)));
        assert_eq!(settings.patience.answer, Duration::from_millis(10_200));
        let told = config(&[("fetch.wait.max.ms", "70"), ("fetch.max.bytes", "5000"), ("socket.timeout.ms", "30")]);
        let settings = told.wire_consumer("c", 8 << 20).unwrap();
        assert_eq!((settings.fetch.response, settings.fetch.max_wait), (5000, Duration::from_millis(70)));
        assert_eq!(settings.patience.answer, Duration::from_millis(100));
        assert_eq!(told.wire_tail_consumer("c", 8 << 20).unwrap().fetch.max_wait, TAIL_WAIT);
    }
}
