//! What went wrong on the wire, in the words and codes that the shards know.

use std::io;

use kafka_protocol::error::ResponseError;
use rdkafka::bindings::rd_kafka_resp_err_t;

use super::connection::{ConnectionError, HandshakeError};
use super::fetch::{FetchError, Lost};
use crate::kafka::error::{Code, KafkaError};

/// A broker's word as a code: librdkafka's codes of brokers' errors are the protocol's.
pub(super) fn code_of(error: ResponseError) -> Code {
    let native = rd_kafka_resp_err_t::try_from(i32::from(error.code()));
    native.map_or(Code::Unknown, Code::from)
}

/// A position that is gone.
pub(super) fn of_lost(lost: &Lost) -> KafkaError {
    let code = match lost {
        Lost::OutOfRange { .. } => Code::OffsetOutOfRange,
        Lost::Diverged { .. } => Code::LogTruncation,
    };
    KafkaError::new("read on", code, lost.to_string())
}

/// What could not be read.
pub(super) fn of_fetch(error: &FetchError) -> KafkaError {
    let (doing, code, words) = match error {
        FetchError::Refused { partition, code } => (format!("read {partition}"), code_of(*code), told(*code)),
        FetchError::RefusedAll { node, code } => (format!("read from broker {node}"), code_of(*code), told(*code)),
        FetchError::NoTopic { topic, code } => {
            (format!("find the leaders of topic `{topic}`"), code_of(*code), told(*code))
        }
        FetchError::Malformed { partition, malformed } => {
            (format!("read {partition}"), Code::BadMessage, malformed.to_string())
        }
    };
    KafkaError::new(doing, code, words)
}

/// A broker's refusal of something.
pub(super) fn refused(doing: impl Into<String>, error: ResponseError) -> KafkaError {
    KafkaError::new(doing, code_of(error), told(error))
}

/// The code tells the rest, unless it is one that librdkafka does not know.
fn told(error: ResponseError) -> String {
    match code_of(error) {
        Code::Unknown => format!("the broker refused it: {error:?}"),
        _ => "the broker refused it".to_owned(),
    }
}

/// A client that cannot be made.
pub(super) fn of_client(error: &io::Error) -> KafkaError {
    KafkaError::new("make a Kafka client", Code::Fail, error.to_string())
}

/// A connection that is lost or was never there.
pub(super) fn of_connection(error: &ConnectionError) -> KafkaError {
    let code = match error {
        ConnectionError::Broken(error) if is_of_tls(error) => Code::SSL,
        ConnectionError::Tls(_) => Code::SSL,
        ConnectionError::Connect { .. } | ConnectionError::Broken(_) => Code::BrokerTransportFailure,
        ConnectionError::Late(_) => Code::OperationTimedOut,
        ConnectionError::Handshake(error) => of_handshake(error),
        ConnectionError::Codec(_) | ConnectionError::Order(_) | ConnectionError::Frame { .. } => Code::BadMessage,
    };
    KafkaError::new("talk to the brokers", code, error.to_string())
}

fn of_handshake(error: &HandshakeError) -> Code {
    match error {
        HandshakeError::Version { .. } | HandshakeError::Missing { .. } | HandshakeError::Old => {
            Code::UnsupportedVersion
        }
        HandshakeError::Refused { code, .. } => code_of(*code),
        HandshakeError::Mechanism { .. } => Code::UnsupportedSASLMechanism,
        HandshakeError::Denied(_) => Code::SaslAuthenticationFailed,
        HandshakeError::Sasl(_) => Code::Authentication,
        HandshakeError::Codec(_) | HandshakeError::Order(_) => Code::BadMessage,
    }
}

/// Whether TLS refused a certificate, ours or the broker's, or something that is no TLS.
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}
