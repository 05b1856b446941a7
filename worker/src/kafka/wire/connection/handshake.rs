//! What comes before the first request: versions, then a login.

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Calls, OrderError};
use crate::kafka::wire::api::{self, Api, CodecError, Transactions};
use crate::kafka::wire::sasl::{Exchange, Login, SaslError};

/// Why broker and client do not come together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The broker lacks a request.
    #[error(
        "the broker has {api:?} in versions {least} to {most}, and version {needed} is needed: Kafka 2.8 or later has it"
    )]
    Version {
        /// The request.
        api: ApiKey,
        /// The broker's oldest version.
        least: i16,
        /// The broker's newest version.
        most: i16,
        /// The version that is needed.
        needed: i16,
    },
    /// The broker does not know a request.
    #[error("the broker does not know {api:?}; Kafka 2.8 or later does")]
    Missing {
        /// The request.
        api: ApiKey,
    },
    /// The broker is too old to say what it has.
    #[error("the broker is older than Kafka 2.4; 2.8 or later is needed")]
    Old,
    /// The broker refused a step.
    #[error("the broker refused {step}: {code:?}")]
    Refused {
        /// Which step.
        step: &'static str,
        /// Its word.
        code: ResponseError,
    },
    /// The broker does not take this mechanism.
    #[error("the broker does not take SASL mechanism {asked}; it takes: {offered}")]
    Mechanism {
        /// What was asked for.
        asked: &'static str,
        /// What it takes.
        offered: String,
    },
    /// The login was refused.
    #[error("the broker refused the login: {0}; check user name, password and mechanism in the connection's secret")]
    Denied(String),
    /// The login went wrong.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// A message cannot be written or read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An answer to something else.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl HandshakeError {
    /// Whether the credentials are wrong: waiting does not help.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Mechanism { .. } | Self::Denied(_) | Self::Sasl(_))
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this frame; then [`Handshake::answer`] takes the next one.
    Send(Bytes),
    /// The connection is ready for requests.
    Ready(Ready),
}

/// A connection that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// How long the login is good for, if not for ever: then the broker ends the connection.
    pub session: Option<Duration>,
    /// Which transactions the broker's cluster has.
    pub transactions: Transactions,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    login: Option<Login>,
    exchange: Option<Exchange>,
    transactions: Transactions,
}

impl Handshake {
    /// A handshake, with a login if the broker wants one.
    pub fn new(login: Option<Login>) -> Self {
        Self { login, exchange: None, transactions: Transactions::default() }
    }

    /// The first step.
    pub fn begin(&mut self, calls: &mut Calls) -> Result<Step, HandshakeError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("millstream"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        Ok(Step::Send(calls.request(&request)?))
    }

    /// Takes the broker's answer, a frame without its length.
    pub fn answer(&mut self, calls: &mut Calls, frame: Bytes) -> Result<Step, HandshakeError> {
        let (api, answer) = calls.answer(frame)?;
        match api {
            ApiKey::ApiVersions => self.versions(calls, answer),
            ApiKey::SaslHandshake => self.mechanism(calls, answer),
            _ => self.authenticated(calls, answer),
        }
    }

    fn ready(&self, session: Option<Duration>) -> Step {
        Step::Ready(Ready { session, transactions: self.transactions })
    }

    fn versions(&mut self, calls: &mut Calls, answer: Bytes) -> Result<Step, HandshakeError> {
        // To a version that it does not have, a broker answers in version 0, which begins with the error as well.
        let code = answer.as_ref().try_get_i16().unwrap_or(0);
        match code.err() {
            None => {}
            Some(ResponseError::UnsupportedVersion) => return Err(HandshakeError::Old),
            Some(code) => return Err(HandshakeError::Refused { step: "to say what it has", code }),
        }
        let response = api::decode::<ApiVersionsRequest>(answer)?;
        let login = [
            (SaslHandshakeRequest::API, SaslHandshakeRequest::VERSION),
            (SaslAuthenticateRequest::API, SaslAuthenticateRequest::VERSION),
        ];
        let login = login.into_iter().filter(|_| self.login.is_some());
        for (api, needed) in api::NEEDED.into_iter().chain(login) {
            let offered = response.api_keys.iter().find(|offered| offered.api_key == api as i16);
            let offered = offered.ok_or(HandshakeError::Missing { api })?;
            let (least, most) = (offered.min_version, offered.max_version);
            if !(least..=most).contains(&needed) {
                return Err(HandshakeError::Version { api, least, most, needed });
            }
        }
        self.transactions = api::transactions(&response);
        let Some(login) = &self.login else { return Ok(self.ready(None)) };
        let mechanism = StrBytes::from_static_str(login.mechanism.name());
        Ok(Step::Send(calls.request(&SaslHandshakeRequest::default().with_mechanism(mechanism))?))
    }

    fn mechanism(&mut self, calls: &mut Calls, answer: Bytes) -> Result<Step, HandshakeError> {
        let response = api::decode::<SaslHandshakeRequest>(answer)?;
        let Some(login) = &self.login else { return Ok(self.ready(None)) };
        match response.error_code.err() {
            None => {}
            Some(ResponseError::UnsupportedSaslMechanism) => {
                let offered: Vec<_> = response.mechanisms.iter().map(StrBytes::as_str).collect();
                return Err(HandshakeError::Mechanism { asked: login.mechanism.name(), offered: offered.join(", ") });
            }
            Some(code) => return Err(HandshakeError::Refused { step: "to begin a login", code }),
        }
        let (exchange, first) = Exchange::begin(login)?;
        self.exchange = Some(exchange);
        authenticate(calls, first)
    }

    fn authenticated(&mut self, calls: &mut Calls, answer: Bytes) -> Result<Step, HandshakeError> {
        let response = api::decode::<SaslAuthenticateRequest>(answer)?;
        if let Some(code) = response.error_code.err() {
            let words = response.error_message.map_or(String::new(), |words| words.to_string());
            return Err(match code {
                ResponseError::SaslAuthenticationFailed => HandshakeError::Denied(words),
                code => HandshakeError::Refused { step: "the login", code },
            });
        }
        let next = match &mut self.exchange {
            Some(exchange) => exchange.answer(&response.auth_bytes)?,
            None => None,
        };
        match next {
            Some(message) => authenticate(calls, message),
            None => {
                let session = u64::try_from(response.session_lifetime_ms).ok().filter(|lifetime| *lifetime > 0);
                Ok(self.ready(session.map(Duration::from_millis)))
            }
        }
    }
}

fn authenticate(calls: &mut Calls, message: Vec<u8>) -> Result<Step, HandshakeError> {
    Ok(Step::Send(calls.request(&SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message)))?))
}
