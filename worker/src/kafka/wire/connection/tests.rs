#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::TcpListener;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;

use super::fake::{self, Conduct, answer, versions};
use super::*;
use crate::kafka::wire::sasl::Mechanism;

const WAIT: Duration = Duration::from_secs(20);

fn login(mechanism: Mechanism) -> Login {
    Login::new(mechanism, "user".to_owned(), "pencil".to_owned())
}

fn sent(step: Step) -> Bytes {
    let Step::Send(frame) = step else { panic!("{step:?}") };
    assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    frame
}

/// A handshake up to the login's first message.
fn up_to_login(mechanism: Mechanism) -> (Handshake, Calls, Bytes) {
    let (mut handshake, mut calls) = (Handshake::new(Some(login(mechanism))), Calls::new("test"));
    let frame = sent(handshake.begin(&mut calls).unwrap());
    let frame = answer::<ApiVersionsRequest>(&frame, &versions((4, 18)));
    let frame = sent(handshake.answer(&mut calls, frame).unwrap());
    assert!(String::from_utf8_lossy(&frame).contains(mechanism.name()));
    let frame = answer::<SaslHandshakeRequest>(&frame, &SaslHandshakeResponse::default());
    let frame = sent(handshake.answer(&mut calls, frame).unwrap());
    (handshake, calls, frame)
}

#[test]
fn a_handshake_without_login_only_looks_at_versions() {
    let (mut handshake, mut calls) = (Handshake::new(None), Calls::new("test"));
    let frame = sent(handshake.begin(&mut calls).unwrap());
    assert_eq!(frame[4..12], [0, 18, 0, 3, 0, 0, 0, 0], "ApiVersions, version 3, number 0");
    let ready = handshake.answer(&mut calls, answer::<ApiVersionsRequest>(&frame, &versions((4, 18))));
    assert_eq!(ready, Ok(Step::Ready(Ready { session: None, transactions: Transactions::First })));
    assert_eq!(calls.under_way(), 0);
}

#[test]
fn transactions_are_what_the_cluster_has_and_not_what_the_broker_could() {
    let of = |response: ApiVersionsResponse| {
        let (mut handshake, mut calls) = (Handshake::new(None), Calls::new("test"));
        let frame = sent(handshake.begin(&mut calls).unwrap());
        match handshake.answer(&mut calls, answer::<ApiVersionsRequest>(&frame, &response)) {
            Ok(Step::Ready(ready)) => ready.transactions,
            other => panic!("{other:?}"),
        }
    };
    let finalized = |name, level| {
        let feature = FinalizedFeatureKey::default().with_name(StrBytes::from_static_str(name));
        versions((4, 18)).with_finalized_features(vec![feature.with_max_version_level(level)])
    };
    assert_eq!(of(versions((4, 18))), Transactions::First);
    assert_eq!(of(finalized("transaction.version", 1)), Transactions::First);
    assert_eq!(of(finalized("group.version", 2)), Transactions::First);
    assert_eq!(of(finalized("transaction.version", 2)), Transactions::Second);
    let mut without = finalized("transaction.version", 2);
    without.api_keys.iter_mut().filter(|key| key.api_key == ApiKey::EndTxn as i16).for_each(|key| key.max_version = 4);
    assert_eq!(of(without), Transactions::First, "a broker that lacks a request");
}

#[test]
fn a_broker_that_is_too_old_is_told_with_what_it_has() {
    let first = |response: ApiVersionsResponse| {
        let (mut handshake, mut calls) = (Handshake::new(None), Calls::new("test"));
        let frame = sent(handshake.begin(&mut calls).unwrap());
        handshake.answer(&mut calls, answer::<ApiVersionsRequest>(&frame, &response)).unwrap_err()
    };
    let error = first(versions((0, 11))).to_string();
    assert_eq!(error, "the broker has Fetch in versions 0 to 11, and version 12 is needed: Kafka 2.8 or later has it");
    assert_eq!(first(ApiVersionsResponse::default()), HandshakeError::Missing { api: ApiKey::Fetch });
    let code = ResponseError::ClusterAuthorizationFailed;
    let refused = first(ApiVersionsResponse::default().with_error_code(code.code()));
    assert_eq!(refused, HandshakeError::Refused { step: "to say what it has", code });
    // In version 0: error 35, and the versions of ApiVersions.
    let (mut handshake, mut calls) = (Handshake::new(None), Calls::new("test"));
    handshake.begin(&mut calls).unwrap();
    let old = Bytes::from_static(b"\0\0\0\0\0\x23\0\0\0\x01\0\x12\0\0\0\x02");
    assert_eq!(handshake.answer(&mut calls, old), Err(HandshakeError::Old));
}

#[test]
fn a_login_ends_in_a_session_or_in_the_brokers_words() {
    let (mut handshake, mut calls, frame) = up_to_login(Mechanism::Plain);
    assert!(frame.ends_with(b"\0user\0pencil\0"));
    let good = SaslAuthenticateResponse::default().with_session_lifetime_ms(60_000);
    let ready = handshake.answer(&mut calls, answer::<SaslAuthenticateRequest>(&frame, &good));
    assert_eq!(
        ready,
        Ok(Step::Ready(Ready { session: Some(Duration::from_mins(1)), transactions: Transactions::First }))
    );

    let (mut handshake, mut calls, frame) = up_to_login(Mechanism::Plain);
    let bad = SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::SaslAuthenticationFailed.code())
        .with_error_message(Some(StrBytes::from_static_str("Invalid username or password")));
    let error = handshake.answer(&mut calls, answer::<SaslAuthenticateRequest>(&frame, &bad)).unwrap_err();
    assert!(error.is_denied());
    assert!(error.to_string().contains("Invalid username or password; check user name"), "{error}");
    assert!(!error.to_string().contains("pencil"));
}

#[test]
fn scram_takes_two_rounds_and_the_brokers_proof_counts() {
    let (mut handshake, mut calls, frame) = up_to_login(Mechanism::ScramSha512);
    let text = String::from_utf8_lossy(&frame);
    let nonce = text.split("n,,n=user,r=").nth(1).unwrap().trim_end_matches('\0');
    let first = format!("r={nonce}more,s=AAAA,i=4096");
    let challenge = SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from(first));
    let challenge = answer::<SaslAuthenticateRequest>(&frame, &challenge);
    let frame = sent(handshake.answer(&mut calls, challenge).unwrap());
    assert!(String::from_utf8_lossy(&frame).contains(&format!("c=biws,r={nonce}more,p=")));
    let proof = SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from_static(b"v=AAAA"));
    let error = handshake.answer(&mut calls, answer::<SaslAuthenticateRequest>(&frame, &proof)).unwrap_err();
    assert!(error.is_denied() && error.to_string().contains("could not prove"), "{error}");
}

#[test]
fn a_mechanism_that_the_broker_lacks_is_told_with_those_that_it_has() {
    let (mut handshake, mut calls) = (Handshake::new(Some(login(Mechanism::Plain))), Calls::new("test"));
    let frame = sent(handshake.begin(&mut calls).unwrap());
    let frame = answer::<ApiVersionsRequest>(&frame, &versions((4, 18)));
    let frame = sent(handshake.answer(&mut calls, frame).unwrap());
    let offered = ["SCRAM-SHA-512", "GSSAPI"].map(StrBytes::from_static_str);
    let response = SaslHandshakeResponse::default()
        .with_error_code(ResponseError::UnsupportedSaslMechanism.code())
        .with_mechanisms(offered.to_vec());
    let error = handshake.answer(&mut calls, answer::<SaslHandshakeRequest>(&frame, &response)).unwrap_err();
    assert_eq!(error.to_string(), "the broker does not take SASL mechanism PLAIN; it takes: SCRAM-SHA-512, GSSAPI");
}

#[test]
fn answers_come_in_the_order_of_their_requests() {
    let mut calls = Calls::new("test");
    let metadata = calls.request(&MetadataRequest::default()).unwrap();
    calls.request(&FetchRequest::default()).unwrap();
    assert_eq!(calls.under_way(), 2);
    assert_eq!(calls.answer(Bytes::from_static(b"\0\0\0\x01")), Err(OrderError::Number { expected: 0, found: 1 }));
    let response = MetadataResponse::default();
    let (api, body) = calls.answer(answer::<MetadataRequest>(&metadata, &response)).unwrap();
    assert_eq!((api, api::decode::<MetadataRequest>(body)), (ApiKey::Metadata, Ok(response)));
    assert_eq!(calls.answer(Bytes::from_static(b"\0\0\0\x01rest")), Ok((ApiKey::Fetch, Bytes::from_static(b"rest"))));
    assert_eq!(calls.answer(Bytes::from_static(b"\0\0\0\x02")), Err(OrderError::Nobody(2)));
    assert_eq!(calls.answer(Bytes::from_static(b"\0\0")), Err(OrderError::Short(2)));
}

/// A reader that gives pieces, and says `WouldBlock` between them.
struct Pieces {
    bytes: Bytes,
    sizes: std::vec::IntoIter<usize>,
    blocked: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.blocked = !self.blocked;
        if self.blocked && !self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = self.sizes.next().unwrap_or(usize::MAX).min(buffer.len()).min(self.bytes.len());
        buffer[..size].copy_from_slice(&self.bytes.split_to(size));
        Ok(size)
    }
}

proptest! {
    #[test]
    fn frames_come_whole_whatever_the_pieces_are(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 4..50), 0..6),
        sizes in proptest::collection::vec(1_usize..30, 0..40),
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            bytes.put_i32(frame.len() as i32);
            bytes.put_slice(frame);
        }
        let mut reader = Reader(Pieces { bytes: bytes.freeze(), sizes: sizes.into_iter(), blocked: false });
        let mut found = Vec::new();
        let mut decoder = Frames::new(50);
        let end = loop {
            match decoder.next(&mut reader) {
                Ok(Some(frame)) => found.push(frame.to_vec()),
                Ok(None) => {}
                Err(error) => break error,
            }
        };
        prop_assert_eq!(found, frames);
        prop_assert!(end.to_string().contains("end of file"), "{}", end);
    }

    #[test]
    fn damaged_answers_are_refused_or_decoded(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..5),
        cut in proptest::option::of(any::<usize>()),
        which in 0..4,
    ) {
        let request = [0; 12];
        let mut bytes = match which {
            0 => answer::<ApiVersionsRequest>(&request, &versions((1, 2))),
            1 => answer::<SaslHandshakeRequest>(&request, &SaslHandshakeResponse::default()
                .with_mechanisms(vec![StrBytes::from_static_str("PLAIN")])),
            2 => answer::<SaslAuthenticateRequest>(&request, &SaslAuthenticateResponse::default()),
            _ => answer::<MetadataRequest>(&request, &MetadataResponse::default()),
        }.to_vec();
        for (at, with) in changes {
            let length = bytes.len();
            bytes[at % length] = with;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % (bytes.len() + 1));
        }
        let mut body = Bytes::from(bytes);
        body.advance(4.min(body.len()));
        let _ = match which {
            0 => api::decode::<ApiVersionsRequest>(body).is_ok(),
            1 => api::decode::<SaslHandshakeRequest>(body).is_ok(),
            2 => api::decode::<SaslAuthenticateRequest>(body).is_ok(),
            _ => api::decode::<MetadataRequest>(body).is_ok(),
        };
    }
}

#[test]
fn a_frame_beyond_its_bound_is_refused_before_it_is_allocated() {
    // What a TLS port answers, read as a length; and an HTTP server.
    for (bytes, length) in [(&b"\x15\x03\x03\0\x02"[..], 0x1503_0300), (b"HTTP/1.1", 0x4854_5450), (b"\0\0\0\x03", 3)] {
        let error = Frames::new(1000).next(&mut Reader(bytes)).unwrap_err();
        assert!(matches!(error, ConnectionError::Frame { length: found, most: 1000 } if found == length), "{error}");
    }
    let negative = Frames::new(1000).next(&mut Reader([0xff; 4].as_slice()));
    assert!(matches!(negative, Err(ConnectionError::Frame { length: -1, .. })));
}

fn options(tls: Option<Tls>, login: Option<Login>) -> Options {
    Options { client: "test".to_owned(), tls, login, frame: 10_000 }
}

#[test]
fn a_connection_asks_and_is_answered() {
    let endpoint = fake::broker(Conduct::Answers).endpoint;
    let mut connection = Connection::open(&endpoint, &options(None, Some(login(Mechanism::Plain))), WAIT).unwrap();
    assert!(connection.renewal.is_none());
    assert_eq!(connection.call(&MetadataRequest::default(), WAIT).unwrap().throttle_time_ms, 7);
    assert!(connection.receive(Duration::from_millis(5)).unwrap().is_none(), "nothing was asked");
    // Two under way.
    connection.send(&MetadataRequest::default(), WAIT).unwrap();
    connection.send(&MetadataRequest::default(), WAIT).unwrap();
    assert_eq!(connection.receive(WAIT).unwrap().unwrap().0, ApiKey::Metadata);
    assert_eq!(connection.receive(WAIT).unwrap().unwrap().0, ApiKey::Metadata);
}

#[test]
fn tls_is_checked_against_the_connections_ca() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = || PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key())
        .unwrap();
    let config = Arc::new(config);
    let tls = Tls::new(Some(&cert.pem()), None).unwrap();
    let endpoint = fake::start(Some(Arc::clone(&config)), Conduct::Answers).endpoint;
    let mut connection =
        Connection::open(&endpoint, &options(Some(tls.clone()), Some(login(Mechanism::Plain))), WAIT).unwrap();
    assert_eq!(connection.call(&MetadataRequest::default(), WAIT).unwrap().throttle_time_ms, 7);
    assert!(connection.receive(Duration::from_millis(5)).unwrap().is_none());
    drop(connection);

    let other = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let wrong = Tls::new(Some(&other.cert.pem()), Some((&other.cert.pem(), &other.signing_key.serialize_pem())));
    let endpoint = fake::start(Some(Arc::clone(&config)), Conduct::Answers).endpoint;
    let error = Connection::open(&endpoint, &options(Some(wrong.unwrap()), None), WAIT).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    // By its address, which the certificate is not for.
    let endpoint = fake::start(Some(config), Conduct::Answers).endpoint;
    let endpoint = Endpoint { host: "127.0.0.1".to_owned(), ..endpoint };
    let error = Connection::open(&endpoint, &options(Some(tls), None), WAIT).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn what_is_no_pem_is_refused_without_showing_it() {
    let wrong = [
        Tls::new(Some("hush"), None),
        Tls::new(Some("-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n"), None),
        Tls::new(Some(&generate_simple_self_signed(vec![]).unwrap().cert.pem()), Some(("hush", "hush"))),
    ];
    for wrong in wrong {
        let error = wrong.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}

#[test]
fn who_cannot_be_reached_or_is_silent_is_told_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let wait = Duration::from_millis(50);
    let error = Connection::open(&endpoint, &options(None, None), wait).unwrap_err();
    assert!(matches!(error, ConnectionError::Late(_)), "{error}");
    drop(listener);
    let error = Connection::open(&endpoint, &options(None, None), wait).unwrap_err();
    assert!(error.to_string().contains(&format!("cannot connect to broker 127.0.0.1:{}", endpoint.port)), "{error}");
}
