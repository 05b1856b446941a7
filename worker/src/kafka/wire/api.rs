//! The requests that are sent, and the shape of their responses.
//!
//! One version of each is enough: all brokers since Kafka 2.8 have these, and a handshake checks it. Only transactions of
//! the second version (KIP-890) need others, of three requests.

mod records;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, ApiVersionsRequest, ApiVersionsResponse, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest, OffsetFetchRequest, ProduceRequest,
    RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::shape::{self, Misshapen, Shape};
use records::Insertion;

/// A request or response that cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The request cannot be written.
    #[error("cannot write a request {api:?} version {version}: {found}")]
    Encode {
        /// Which request.
        api: ApiKey,
        /// In which version.
        version: i16,
        /// What the codec said.
        found: String,
    },
    /// The response's bytes are not laid out like one.
    #[error("the response to {api:?} version {version} is damaged: {found}")]
    Misshapen {
        /// To which request.
        api: ApiKey,
        /// In which version.
        version: i16,
        /// Where.
        found: Misshapen,
    },
    /// The response cannot be read.
    #[error("cannot read the response to {api:?} version {version}: {found}")]
    Decode {
        /// To which request.
        api: ApiKey,
        /// In which version.
        version: i16,
        /// What the codec said.
        found: String,
    },
}

/// Which transactions a cluster has: what its finalized feature `transaction.version` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transactions {
    /// Partitions and groups are added by requests of their own, and an epoch lasts until somebody takes over.
    #[default]
    First,
    /// KIP-890: writing adds them, and each transaction has an epoch of its own.
    Second,
}

/// A request in the version that is used.
pub trait Api: Request<Response: std::fmt::Debug> {
    /// Which request.
    const API: ApiKey;
    /// The version.
    const VERSION: i16;
    /// The parts of the response, behind its header.
    #[doc(hidden)]
    const RESPONSE: Parts;
    /// The version, with the parts of its response, where transactions are of the second version.
    #[doc(hidden)]
    const SECOND: (i16, Parts) = (Self::VERSION, Self::RESPONSE);

    /// Writes the request, but for its records: they are returned, to be sent from where they are.
    #[doc(hidden)]
    fn write(&self, out: &mut BytesMut, version: i16) -> Result<Vec<Insertion>, String> {
        self.encode(out, version).map_err(|error| error.to_string())?;
        Ok(Vec::new())
    }
}

/// The version of a request, and the parts of its response.
fn form<R: Api>(transactions: Transactions) -> (i16, Parts) {
    match transactions {
        Transactions::First => (R::VERSION, R::RESPONSE),
        Transactions::Second => R::SECOND,
    }
}

/// The parts of a response.
#[derive(Clone, Copy, Debug)]
pub struct Parts(&'static [Shape]);

/// A request as it goes over the wire, with its length in front. Its number is set when it is sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which request.
    pub api: ApiKey,
    bytes: BytesMut,
    records: Vec<Insertion>,
}

/// Room for a request that is not long.
const ROOM: usize = 512;
/// Where the number stands, behind the length, the request's key and its version.
const NUMBER: std::ops::Range<usize> = 8..12;

impl Frame {
    /// The bytes, part by part, with the number by which the answer will be known.
    pub fn numbered(mut self, number: i32) -> impl Iterator<Item = Bytes> + use<> {
        self.bytes[NUMBER].copy_from_slice(&number.to_be_bytes());
        records::joined(&self.bytes.freeze(), self.records)
    }
}

/// A request as it goes over the wire.
pub fn encode<R: Api>(request: &R, client: &StrBytes) -> Result<Frame, CodecError> {
    encode_for(request, client, Transactions::First)
}

/// The same, for a cluster with these transactions.
pub fn encode_for<R: Api>(request: &R, client: &StrBytes, transactions: Transactions) -> Result<Frame, CodecError> {
    let (version, _) = form::<R>(transactions);
    let failed = |found: String| CodecError::Encode { api: R::API, version, found };
    let header = RequestHeader::default()
        .with_request_api_key(R::API as i16)
        .with_request_api_version(version)
        .with_client_id(Some(client.clone()));
    let mut bytes = BytesMut::with_capacity(ROOM);
    bytes.put_i32(0);
    header.encode(&mut bytes, R::header_version(version)).map_err(|error| failed(error.to_string()))?;
    let records = request.write(&mut bytes, version).map_err(failed)?;
    let total = bytes.len() + records.iter().map(Insertion::len).sum::<usize>();
    let length = i32::try_from(total - 4).map_err(|error| failed(error.to_string()))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(Frame { api: R::API, bytes, records })
}

/// A response, from what follows the correlation id. Its records, if it has any, are not copied.
pub fn decode<R: Api>(bytes: Bytes) -> Result<R::Response, CodecError> {
    decode_for::<R>(bytes, Transactions::First)
}

/// The same, to a request that was sent for these transactions.
pub fn decode_for<R: Api>(mut bytes: Bytes, transactions: Transactions) -> Result<R::Response, CodecError> {
    let (api, (version, response)) = (R::API, form::<R>(transactions));
    let misshapen = |found| CodecError::Misshapen { api, version, found };
    if R::Response::header_version(version) > 0 {
        let header = shape::tags(&bytes).map_err(misshapen)?;
        bytes = bytes.slice(header..);
    }
    shape::check(&bytes, response.0).map_err(misshapen)?;
    R::Response::decode(&mut bytes, version).map_err(|error| CodecError::Decode {
        api,
        version,
        found: error.to_string(),
    })
}

const TAGS: Shape = Shape::Tagged(&[]);
const I16: Shape = Shape::Fixed(2);
const I32: Shape = Shape::Fixed(4);
const I64: Shape = Shape::Fixed(8);
const BOOL: Shape = Shape::Fixed(1);
const UUID: Shape = Shape::Fixed(16);

impl Api for ApiVersionsRequest {
    const API: ApiKey = ApiKey::ApiVersions;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = Parts(&[
        I16,
        Shape::CompactArray(&[I16, I16, I16, TAGS]),
        I32,
        Shape::Tagged(&[
            (0, &[Shape::CompactArray(&[Shape::Compact, I16, I16, TAGS])]),
            (1, &[I64]),
            (2, &[Shape::CompactArray(&[Shape::Compact, I16, I16, TAGS])]),
            (3, &[BOOL]),
        ]),
    ]);
}

impl Api for SaslHandshakeRequest {
    const API: ApiKey = ApiKey::SaslHandshake;
    const VERSION: i16 = 1;
    const RESPONSE: Parts = Parts(&[I16, Shape::Array(&[Shape::Text])]);
}

impl Api for SaslAuthenticateRequest {
    const API: ApiKey = ApiKey::SaslAuthenticate;
    const VERSION: i16 = 2;
    const RESPONSE: Parts = Parts(&[I16, Shape::Compact, Shape::Compact, I64, TAGS]);
}

impl Api for MetadataRequest {
    const API: ApiKey = ApiKey::Metadata;
    const VERSION: i16 = 10;
    const RESPONSE: Parts = Parts(&[
        I32,
        Shape::CompactArray(&[I32, Shape::Compact, I32, Shape::Compact, TAGS]),
        Shape::Compact,
        I32,
        Shape::CompactArray(&[
            I16,
            Shape::Compact,
            UUID,
            BOOL,
            Shape::CompactArray(&[
                I16,
                I32,
                I32,
                I32,
                Shape::CompactArray(&[I32]),
                Shape::CompactArray(&[I32]),
                Shape::CompactArray(&[I32]),
                TAGS,
            ]),
            I32,
            TAGS,
        ]),
        I32,
        TAGS,
    ]);
}

impl Api for FetchRequest {
    const API: ApiKey = ApiKey::Fetch;
    const VERSION: i16 = 12;
    const RESPONSE: Parts = Parts(&[
        I32,
        I16,
        I32,
        Shape::CompactArray(&[
            Shape::Compact,
            Shape::CompactArray(&[
                I32,
                I16,
                I64,
                I64,
                I64,
                Shape::CompactArray(&[I64, I64, TAGS]),
                I32,
                Shape::Compact,
                Shape::Tagged(&[
                    // Where the log diverged, who leads it now, and where its snapshot is.
                    (0, &[I32, I64, TAGS]),
                    (1, &[I32, I32, TAGS]),
                    (2, &[I64, I32, TAGS]),
                ]),
            ]),
            TAGS,
        ]),
        TAGS,
    ]);
}

impl Api for FindCoordinatorRequest {
    const API: ApiKey = ApiKey::FindCoordinator;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = Parts(&[I32, I16, Shape::Compact, I32, Shape::Compact, I32, TAGS]);
}

impl Api for OffsetFetchRequest {
    const API: ApiKey = ApiKey::OffsetFetch;
    const VERSION: i16 = 7;
    const RESPONSE: Parts = Parts(&[
        I32,
        Shape::CompactArray(&[Shape::Compact, Shape::CompactArray(&[I32, I64, I32, Shape::Compact, I16, TAGS]), TAGS]),
        I16,
        TAGS,
    ]);
}

/// What became of batches. The tagged parts are there from version 10 on.
const WRITTEN: Parts = Parts(&[
    Shape::CompactArray(&[
        Shape::Compact,
        Shape::CompactArray(&[
            I32,
            I16,
            I64,
            I64,
            I64,
            Shape::CompactArray(&[I32, Shape::Compact, TAGS]),
            Shape::Compact,
            // Who leads it now.
            Shape::Tagged(&[(0, &[I32, I32, TAGS])]),
        ]),
        TAGS,
    ]),
    I32,
    // Where leaders listen.
    Shape::Tagged(&[(0, &[Shape::CompactArray(&[I32, Shape::Compact, I32, Shape::Compact, TAGS])])]),
]);

impl Api for ProduceRequest {
    const API: ApiKey = ApiKey::Produce;
    const VERSION: i16 = 9;
    const RESPONSE: Parts = WRITTEN;
    const SECOND: (i16, Parts) = (12, WRITTEN);

    fn write(&self, out: &mut BytesMut, version: i16) -> Result<Vec<Insertion>, String> {
        records::write(self, out, version)
    }
}

/// A code.
const CODE: Parts = Parts(&[I32, I16, TAGS]);
/// A code for each partition.
const CODES: Parts =
    Parts(&[I32, Shape::CompactArray(&[Shape::Compact, Shape::CompactArray(&[I32, I16, TAGS]), TAGS]), TAGS]);

impl Api for InitProducerIdRequest {
    const API: ApiKey = ApiKey::InitProducerId;
    const VERSION: i16 = 4;
    const RESPONSE: Parts = Parts(&[I32, I16, I64, I16, TAGS]);
}

impl Api for AddPartitionsToTxnRequest {
    const API: ApiKey = ApiKey::AddPartitionsToTxn;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = CODES;
}

impl Api for AddOffsetsToTxnRequest {
    const API: ApiKey = ApiKey::AddOffsetsToTxn;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = CODE;
}

impl Api for TxnOffsetCommitRequest {
    const API: ApiKey = ApiKey::TxnOffsetCommit;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = CODES;
    const SECOND: (i16, Parts) = (5, CODES);
}

impl Api for EndTxnRequest {
    const API: ApiKey = ApiKey::EndTxn;
    const VERSION: i16 = 3;
    const RESPONSE: Parts = CODE;
    const SECOND: (i16, Parts) = (5, Parts(&[I32, I16, I64, I16, TAGS]));
}

/// The kind of coordinator that a group has, in `FindCoordinator`.
pub(super) const OF_GROUP: i8 = 0;
/// The kind that a transactional id has.
pub(super) const OF_TRANSACTION: i8 = 1;

/// The versions that a broker must have.
pub(super) const NEEDED: [(ApiKey, i16); 10] = [
    (FetchRequest::API, FetchRequest::VERSION),
    (MetadataRequest::API, MetadataRequest::VERSION),
    (FindCoordinatorRequest::API, FindCoordinatorRequest::VERSION),
    (OffsetFetchRequest::API, OffsetFetchRequest::VERSION),
    (ProduceRequest::API, ProduceRequest::VERSION),
    (InitProducerIdRequest::API, InitProducerIdRequest::VERSION),
    (AddPartitionsToTxnRequest::API, AddPartitionsToTxnRequest::VERSION),
    (AddOffsetsToTxnRequest::API, AddOffsetsToTxnRequest::VERSION),
    (TxnOffsetCommitRequest::API, TxnOffsetCommitRequest::VERSION),
    (EndTxnRequest::API, EndTxnRequest::VERSION),
];

/// The versions that a broker must have for transactions of the second version.
const NEEDED_SECOND: [(ApiKey, i16); 3] = [
    (ProduceRequest::API, ProduceRequest::SECOND.0),
    (TxnOffsetCommitRequest::API, TxnOffsetCommitRequest::SECOND.0),
    (EndTxnRequest::API, EndTxnRequest::SECOND.0),
];
/// The feature that says which transactions a cluster has, and the level from which on they are of the second version.
const FEATURE: (&str, i16) = ("transaction.version", 2);

/// Which transactions a broker's cluster has. The ranges of versions alone do not say so: a broker has them before its
/// cluster does.
pub(super) fn transactions(response: &ApiVersionsResponse) -> Transactions {
    let (name, least) = FEATURE;
    let mut finalized = response.finalized_features.iter();
    let is_finalized = finalized.any(|f| f.name.as_str() == name && f.max_version_level >= least);
    let has = |(api, version): &(ApiKey, i16)| {
        let mut offered = response.api_keys.iter().filter(|offered| offered.api_key == *api as i16);
        offered.any(|offered| (offered.min_version..=offered.max_version).contains(version))
    };
    if is_finalized && NEEDED_SECOND.iter().all(has) { Transactions::Second } else { Transactions::First }
}
