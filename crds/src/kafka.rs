//! The Kafka parts of a Pipeline.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// How a Kafka cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.sasl) || self.sasl.mechanism != 'Plain' || has(self.tls)",
    "the SASL mechanism Plain sends the password as it is: it needs tls"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaConnection {
    /// `host:port` of some brokers, separated by commas.
    #[schemars(length(min = 3, max = 4096), regex(pattern = names::BOOTSTRAP_SERVERS))]
    pub bootstrap_servers: String,
    /// Encrypts the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Authenticates by user name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Who speaks with the brokers where records are read and written.
    #[serde(default)]
    pub client: KafkaClient,
    /// Settings of the Kafka client, from an allow-list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub properties: BTreeMap<String, String>,
}

/// Kafka clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaClient {
    /// Millstream's own, of record batches, not records: a fraction of the processor time. A connection with properties that
    /// it does not know goes through librdkafka.
    #[default]
    Wire,
    /// librdkafka.
    Librdkafka,
}

/// TLS to the brokers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The certificate authority (PEM) that the brokers' certificates must come from. Defaults to the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// A client certificate with its key, for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSource>,
}

/// Where a CA certificate is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaSource {
    /// A key of a Secret in the same namespace.
    pub secret_ref: SecretKeyRef,
}

/// Where a client certificate is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSource {
    /// A Secret of type `kubernetes.io/tls` in the same namespace, with the keys `tls.crt` and `tls.key` in PEM.
    pub secret_ref: SecretRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET_KEY))]
    pub key: String,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET))]
    pub name: String,
}

/// SASL authentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The Secret with user name and password.
    pub secret_ref: SaslSecretRef,
}

/// SASL mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// PLAIN; only over TLS.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    #[default]
    ScramSha512,
}

/// A Secret with user name and password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SaslSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET))]
    pub name: String,
    /// The key of the user name.
    #[serde(default = "username")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET_KEY))]
    pub username_key: String,
    /// The key of the password.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SECRET_KEY))]
    pub password_key: String,
}

fn username() -> String {
    "username".into()
}

fn password() -> String {
    "password".into()
}

/// Kafka topics to read. Exactly one of `topics` and `topicPattern`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.topics) && self.topics.size() > 0) != has(self.topicPattern)",
    "a source has either topics or a topicPattern"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSource {
    /// The connection's name; needed where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub connection: Option<String>,
    /// The topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 512),
        inner(length(min = 1, max = names::TOPIC_LENGTH), regex(pattern = names::TOPIC))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub topics: Vec<String>,
    /// A regular expression that the whole name of a topic must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub topic_pattern: Option<String>,
    /// Where a topic is first read from.
    #[serde(default)]
    pub start_from: StartFrom,
}

/// Where a topic is first read from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(self.position == 'Timestamp') == has(self.timestamp)",
    "the position Timestamp and timestamp go together"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartFrom {
    /// The place.
    #[serde(default)]
    pub position: StartPosition,
    /// With `Timestamp`: the first record not older than this, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub timestamp: Option<String>,
}

/// A place in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartPosition {
    /// The earliest record there is.
    #[default]
    Earliest,
    /// The end.
    Latest,
    /// The first record not older than `timestamp`.
    Timestamp,
}

/// A Kafka topic to write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSink {
    /// The connection's name; needed where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub connection: Option<String>,
    /// The topic.
    #[schemars(length(min = 1, max = names::TOPIC_LENGTH), regex(pattern = names::TOPIC))]
    pub topic: String,
    /// The column whose text form becomes the record's key; without it the source record's key is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub key_column: Option<String>,
    /// The compression of the record batches.
    #[serde(default)]
    pub compression: Compression,
}

/// Compression of record batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// Zstandard.
    Zstd,
}
