//! Settings of the clients: a connection with its secrets becomes librdkafka properties.

use std::fmt;
use std::time::Duration;

use super::secrets::{SecretError, SecretStore};
use crate::plan::pipeline::{Connection, SaslMechanism};

/// What all clients of one connection share. `Debug` shows no value, since some are secrets. Two are equal if their
/// clients would be: so a secret that was written again without a change is none that changed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The connection's name, for messages.
    pub connection: String,
    common: Vec<(String, String)>,
    overrides: Vec<(String, String)>,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientConfig({})", self.connection)
    }
}

impl ClientConfig {
    /// Reads the secrets that the connection refers to.
    pub fn resolve(connection: &Connection, secrets: &SecretStore) -> Result<Self, SecretError> {
        let mut common = vec![
            pair("bootstrap.servers", &connection.bootstrap_servers),
            // A broker that restarts is back within seconds; the defaults would wait up to ten.
            pair("reconnect.backoff.ms", "50"),
            pair("reconnect.backoff.max.ms", "1000"),
            pair("retry.backoff.ms", "20"),
            pair("socket.connection.setup.timeout.ms", "10000"),
            pair("log.connection.close", "false"),
            pair("log_level", "6"),
        ];
        common.extend(security(connection, secrets)?);
        let overrides = connection.properties.iter().map(|(name, value)| pair(name, value)).collect();
        Ok(Self { connection: connection.name.clone(), common, overrides })
    }

    /// For clients in a rack, which is a zone: they fetch from the closest replica.
    #[must_use]
    pub fn in_rack(mut self, rack: Option<&str>) -> Self {
        self.common.extend(rack.filter(|rack| !rack.is_empty()).map(|rack| pair("client.rack", rack)));
        self
    }

    fn with(&self, client: &str, settings: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut all = self.common.clone();
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

fn security(connection: &Connection, secrets: &SecretStore) -> Result<Vec<(String, String)>, SecretError> {
    let mut settings = Vec::new();
    let protocol = match (&connection.tls, &connection.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    settings.push(pair("security.protocol", protocol));
    if let Some(tls) = &connection.tls {
        settings.push(pair("ssl.endpoint.identification.algorithm", "https"));
        if let Some(ca) = &tls.ca {
            settings.push(pair("ssl.ca.pem", &secrets.pem(ca)?));
        }
        if let Some(certificate) = &tls.certificate {
            settings.push(pair("ssl.certificate.pem", &secrets.pem(&certificate.certificate)?));
            settings.push(pair("ssl.key.pem", &secrets.pem(&certificate.key)?));
        }
    }
    if let Some(sasl) = &connection.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        settings.push(pair("sasl.mechanism", mechanism));
        settings.push(pair("sasl.username", &secrets.text(&sasl.username)?));
        settings.push(pair("sasl.password", &secrets.text(&sasl.password)?));
    }
    Ok(settings)
}
