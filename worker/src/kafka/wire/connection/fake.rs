//! A broker for tests: it answers the handshake, then everything with empty metadata.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::{Frames, Reader};
use crate::kafka::wire::api::Api;
use crate::kafka::wire::cluster::Endpoint;

/// What it does behind the handshake of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka::wire) enum Conduct {
    /// Answers everything.
    Answers,
    /// Answers nothing.
    IsSilent,
    /// Ends the connection at the request after so many answers.
    EndsAfter(usize),
}

/// A broker; its threads end with their connections.
pub(in crate::kafka::wire) struct Broker {
    /// Where it listens.
    pub(in crate::kafka::wire) endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
}

impl Broker {
    /// How many connections it has taken.
    pub(in crate::kafka::wire) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Starts a broker without TLS.
pub(in crate::kafka::wire) fn broker(conduct: Conduct) -> Broker {
    start(None, conduct)
}

/// Starts a broker.
pub(in crate::kafka::wire) fn start(tls: Option<Arc<rustls::ServerConfig>>, conduct: Conduct) -> Broker {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::Relaxed);
            let tls = tls.clone();
            std::thread::spawn(move || match tls {
                None => serve(socket, conduct),
                Some(config) => {
                    let connection = rustls::ServerConnection::new(config).unwrap();
                    serve(rustls::StreamOwned::new(connection, socket), conduct);
                }
            });
        }
    });
    Broker { endpoint: Endpoint { host: "localhost".to_owned(), port }, connections }
}

fn serve(stream: impl Read + Write, conduct: Conduct) {
    let mut stream = Reader(stream);
    let mut frames = Frames::new(100 << 20);
    let mut answers = 0;
    while let Ok(Some(request)) = frames.next(&mut stream) {
        let request = [&[0; 4], &request[..]].concat();
        let response = match i16::from_be_bytes([request[4], request[5]]) {
            18 => answer::<ApiVersionsRequest>(&request, &versions((4, 17))),
            17 => answer::<SaslHandshakeRequest>(&request, &SaslHandshakeResponse::default()),
            36 => {
                let mut body = Bytes::from(request.clone()).slice(12..);
                // The client's name and the header's tags come before the request.
                let name = body.get_i16() as usize;
                body.advance(name + 1);
                let asked = SaslAuthenticateRequest::decode(&mut body, 2).unwrap();
                let good = asked.auth_bytes == b"\0user\0pencil"[..];
                let code = if good { 0 } else { ResponseError::SaslAuthenticationFailed.code() };
                answer::<SaslAuthenticateRequest>(&request, &SaslAuthenticateResponse::default().with_error_code(code))
            }
            _ => {
                match conduct {
                    Conduct::IsSilent => continue,
                    Conduct::EndsAfter(most) if answers >= most => return,
                    _ => answers += 1,
                }
                answer::<MetadataRequest>(&request, &MetadataResponse::default().with_throttle_time_ms(7))
            }
        };
        let mut frame = BytesMut::new();
        frame.put_i32(response.len() as i32);
        frame.put_slice(&response);
        // The client may be gone.
        if stream.0.write_all(&frame).and_then(|()| stream.0.flush()).is_err() {
            return;
        }
    }
}

/// The answer to a request's frame, without its length.
pub(super) fn answer<R: Api>(request: &[u8], response: &R::Response) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&request[8..12]);
    if R::Response::header_version(R::VERSION) > 0 {
        out.put_u8(0);
    }
    response.encode(&mut out, R::VERSION).unwrap();
    out.freeze()
}

/// What a broker with these versions of Fetch says.
pub(super) fn versions(fetch: (i16, i16)) -> ApiVersionsResponse {
    let version = |api, least, most| {
        ApiVersion::default().with_api_key(api as i16).with_min_version(least).with_max_version(most)
    };
    let keys = vec![
        version(ApiKey::Fetch, fetch.0, fetch.1),
        version(ApiKey::Metadata, 0, 13),
        version(ApiKey::FindCoordinator, 0, 6),
        version(ApiKey::OffsetFetch, 1, 9),
        version(ApiKey::Produce, 3, 12),
        version(ApiKey::InitProducerId, 0, 5),
        version(ApiKey::AddPartitionsToTxn, 0, 5),
        version(ApiKey::AddOffsetsToTxn, 0, 4),
        version(ApiKey::TxnOffsetCommit, 0, 5),
        version(ApiKey::EndTxn, 0, 5),
        version(ApiKey::SaslHandshake, 0, 1),
        version(ApiKey::SaslAuthenticate, 0, 2),
    ];
    ApiVersionsResponse::default().with_api_keys(keys)
}
