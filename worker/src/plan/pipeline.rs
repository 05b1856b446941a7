//! The validated pipeline: what the compiler makes of a manifest. Nothing behind it looks at the raw spec again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use millstream_crds::kafka::{Compression, KafkaClient, SaslMechanism};
pub use millstream_crds::pipeline::{Delivery, Mode, OnDataLoss};

use crate::operators::Chain;

/// A pipeline that can run.
#[derive(Clone, Debug)]
pub struct CompiledPipeline {
    /// The Pipeline's name.
    pub name: String,
    /// Names everything in Kafka.
    pub application_id: String,
    /// The clusters.
    pub connections: Vec<Connection>,
    /// The sources, in the manifest's order.
    pub sources: Vec<Source>,
    /// The sinks, in the manifest's order.
    pub sinks: Vec<Sink>,
    /// What happens to bad records.
    pub errors: ErrorPolicy,
    /// What is promised.
    pub delivery: Delivery,
    /// The time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Streaming or Batch.
    pub mode: Mode,
    /// The number of shards, if the manifest names one.
    pub shards: Option<u32>,
    /// Takes over a foreign uid's headers.
    pub adopt: bool,
    /// Does not run.
    pub suspend: bool,
    /// The compiled chain.
    pub chain: Arc<Chain>,
    /// Identifies the chain: SHA-256 (hex, 16 digits) of the canonical spec parts that decide what a record becomes.
    pub chain_hash: String,
}

impl CompiledPipeline {
    /// The place in [`Self::connections`] of the cluster that sources, state, group and transactions are on.
    pub fn home(&self) -> usize {
        self.sources.first().map_or(0, |source| source.connection)
    }

    /// Whether a source's pattern takes a topic: the whole name matches, and the topic is neither Kafka's own, nor
    /// internal to this pipeline, nor named by one of its nodes.
    pub fn pattern_matches(&self, source: usize, topic: &str) -> bool {
        let Some(Topics::Pattern(pattern)) = self.sources.get(source).map(|source| &source.topics) else {
            return false;
        };
        pattern.is_match(topic) && !self.is_reserved(topic)
    }

    /// Whether a pattern must not take a topic.
    fn is_reserved(&self, topic: &str) -> bool {
        let written = self.sinks.iter().any(|sink| sink.topic == topic)
            || matches!(&self.errors, ErrorPolicy::DeadLetter { topic: dead, .. } if dead == topic);
        let named = self.sources.iter().any(|source| match &source.topics {
            Topics::List(names) => names.iter().any(|name| name == topic),
            Topics::Pattern(_) => false,
        });
        topic.starts_with("__") || is_internal(&self.application_id, topic) || written || named
    }
}

/// The application id of a Pipeline that gives itself none.
pub fn default_application_id(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// The topic in which a pipeline keeps its positions.
pub fn state_topic(application_id: &str) -> String {
    format!("{application_id}.state")
}

/// The transactional id of a shard: whoever initialised it last is the only one that can commit for the shard.
pub fn transactional_id(application_id: &str, shard: u32) -> String {
    format!("{application_id}.{shard}")
}

/// Whether a topic is one of those in which a pipeline keeps its positions, its state and what is under way.
pub fn is_internal(application_id: &str, topic: &str) -> bool {
    topic
        .strip_prefix(application_id)
        .is_some_and(|rest| rest == ".state" || rest.starts_with(".exchange.") || rest.starts_with(".outbox."))
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The connection's name; `default` where it was left out.
    pub name: String,
    /// `host:port,…`.
    pub bootstrap_servers: String,
    /// Who speaks with the brokers.
    pub client: KafkaClient,
    /// TLS.
    pub tls: Option<Tls>,
    /// SASL.
    pub sasl: Option<Sasl>,
    /// Properties by librdkafka's names, checked against the allow-list.
    pub properties: BTreeMap<String, String>,
}

/// TLS by references to secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The CA; the system's without it.
    pub ca: Option<SecretKey>,
    /// Certificate and key of the client.
    pub certificate: Option<ClientCertificate>,
}

/// Where a client certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain in PEM.
    pub certificate: SecretKey,
    /// The private key in PEM.
    pub key: SecretKey,
}

/// A key of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The secret's name.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

/// SASL by references to secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// Where the user name is.
    pub username: SecretKey,
    /// Where the password is.
    pub password: SecretKey,
}

/// A source.
#[derive(Clone, Debug)]
pub struct Source {
    /// The node's name.
    pub name: Arc<str>,
    /// The place in [`CompiledPipeline::connections`].
    pub connection: usize,
    /// The topics.
    pub topics: Topics,
    /// Where a topic is first read from.
    pub start_from: StartFrom,
    /// What happens when the position is gone.
    pub on_data_loss: OnDataLoss,
}

/// The topics of a source.
#[derive(Clone, Debug)]
pub enum Topics {
    /// Topics by name.
    List(Vec<String>),
    /// All topics whose whole name matches; anchored.
    Pattern(regex::Regex),
}

/// Where a topic is first read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The earliest record.
    Earliest,
    /// The end.
    Latest,
    /// The first record not older than this, in milliseconds since 1970.
    Timestamp(i64),
}

/// A sink.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The node's name.
    pub name: Arc<str>,
    /// The place in [`CompiledPipeline::connections`].
    pub connection: usize,
    /// The topic.
    pub topic: String,
    /// Compression of the batches.
    pub compression: Compression,
}

/// What happens to bad records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Stop before it.
    Fail,
    /// Count it, leave it out.
    Skip,
    /// Write it to a topic.
    DeadLetter {
        /// The place in [`CompiledPipeline::connections`].
        connection: usize,
        /// The topic.
        topic: String,
    },
}
