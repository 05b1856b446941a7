//! Fuzzes every decoder that meets bytes from the network: none may panic, and none may allocate by what the bytes claim.
//!
//! For each target, the inputs in `tests/fuzz/TARGET.hex` are replayed, a line each, and then valid messages are mutated for
//! `MILLSTREAM_FUZZ_SECONDS` (default 10); `scripts/fuzz` runs it for longer. Checksums and lengths are mended in half of
//! the mutated inputs, so that what is behind them is met, too. An input whose outcome was not seen before is mutated
//! further; with `MILLSTREAM_FUZZ_CORPUS=write` it is added to the target's file. An input that fails is written to
//! `target/tmp/fuzz/`, as such a line; once the cause is mended, it belongs into the target's file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse, OffsetFetchRequest, OffsetFetchResponse, ProducerId,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use libtest_mimic::{Arguments, Failed, Trial};
use millstream::kafka::columns::{Columns, Row};
use millstream::kafka::wire::api::{self, Api, CodecError, Transactions};
use millstream::kafka::wire::batch::{
    Aborted, Codec, Decompressor, Position, Producer, Records, Room, Settings, Target as Rows, Writer,
};
use millstream::kafka::wire::connection::{Frames, Reader};
use millstream::kafka::wire::sasl::{Exchange, Login, Mechanism};
use millstream_tests::suite::seed;
use peak_alloc::PeakAlloc;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The bound on a decompressed batch.
const INFLATED: usize = 1 << 20;
/// What may be allocated for any input, and for each of its bytes. Growing buffers double, and Arrow's builders with them;
/// a decompressed record of seven bytes becomes a row of some dozens.
const FLAT: usize = 32 << 20;
const PER_BYTE: usize = 256;
/// Inputs kept for mutation.
const MOST: usize = 2000;
/// The bytes of an input that is kept in a file.
const LONGEST_KEPT: usize = 400;

/// A decoder.
struct Decoder {
    name: &'static str,
    /// A valid input.
    valid: fn(&mut StdRng) -> Result<Vec<u8>>,
    /// Decodes; the outcome in words.
    decode: fn(&[u8]) -> String,
    /// Mends lengths and checksums.
    mend: Option<fn(&mut [u8])>,
}

const DECODERS: &[Decoder] = &[
    Decoder { name: "record-batches", valid: batches, decode: read_batches, mend: Some(mend_batch) },
    Decoder { name: "fetch", valid: fetch, decode: response::<FetchRequest>, mend: None },
    Decoder { name: "metadata", valid: metadata, decode: response::<MetadataRequest>, mend: None },
    Decoder { name: "api-versions", valid: versions, decode: response::<ApiVersionsRequest>, mend: None },
    Decoder { name: "find-coordinator", valid: coordinator, decode: response::<FindCoordinatorRequest>, mend: None },
    Decoder { name: "offset-fetch", valid: offsets, decode: response::<OffsetFetchRequest>, mend: None },
    Decoder { name: "produce", valid: produced, decode: response::<ProduceRequest>, mend: None },
    Decoder { name: "init-producer-id", valid: identity, decode: response::<InitProducerIdRequest>, mend: None },
    Decoder { name: "add-partitions", valid: added, decode: response::<AddPartitionsToTxnRequest>, mend: None },
    Decoder { name: "add-offsets", valid: grouped, decode: response::<AddOffsetsToTxnRequest>, mend: None },
    Decoder { name: "commit-offsets", valid: committed, decode: response::<TxnOffsetCommitRequest>, mend: None },
    Decoder { name: "end-txn", valid: ended, decode: response::<EndTxnRequest>, mend: None },
    Decoder { name: "produce-second", valid: produced_second, decode: second::<ProduceRequest>, mend: None },
    Decoder {
        name: "commit-offsets-second",
        valid: committed_second,
        decode: second::<TxnOffsetCommitRequest>,
        mend: None,
    },
    Decoder { name: "end-txn-second", valid: ended_second, decode: second::<EndTxnRequest>, mend: None },
    Decoder { name: "sasl-handshake", valid: mechanisms, decode: response::<SaslHandshakeRequest>, mend: None },
    Decoder { name: "sasl-authenticate", valid: token, decode: response::<SaslAuthenticateRequest>, mend: None },
    Decoder { name: "scram", valid: scram, decode: read_scram, mend: None },
    Decoder { name: "frames", valid: frames, decode: read_frames, mend: None },
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // What is allocated is counted for the whole process.
    arguments.test_threads = Some(1);
    let trial = |decoder: &'static Decoder| {
        Trial::test(format!("fuzz_{}", decoder.name), move || fuzz(decoder).map_err(|e| Failed::from(format!("{e:#}"))))
    };
    libtest_mimic::run(&arguments, DECODERS.iter().map(trial).collect()).exit_code()
}

fn fuzz(decoder: &Decoder) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed()?);
    let mut kept = corpus(decoder.name)?;
    let replayed = kept.len();
    let mut seen: BTreeSet<String> = kept.iter().map(|input| attempt(decoder, input)).collect::<Result<_>>()?;
    let mut runs = 0_u64;
    let end = Instant::now() + seconds()?;
    while Instant::now() < end {
        let mut input = match kept.len() {
            0 => (decoder.valid)(&mut rng)?,
            _ if rng.random_ratio(1, 4) => (decoder.valid)(&mut rng)?,
            kept_inputs => kept[rng.random_range(0..kept_inputs)].clone(),
        };
        for _ in 0..rng.random_range(0..6) {
            mutate(&mut input, &mut rng);
        }
        if let Some(mend) = decoder.mend.filter(|_| rng.random()) {
            mend(&mut input);
        }
        let outcome = attempt(decoder, &input)?;
        if seen.insert(outcome) && kept.len() < MOST {
            kept.push(input);
        }
        runs += 1;
    }
    eprintln!("{}: {replayed} replayed, {runs} inputs, {} outcomes", decoder.name, seen.len());
    if std::env::var("MILLSTREAM_FUZZ_CORPUS").is_ok_and(|value| value == "write") {
        write_corpus(decoder.name, &kept)?;
    }
    // Valid messages and damaged ones have different outcomes; a decoder that does nothing has one.
    anyhow::ensure!(seen.len() > 1, "all inputs have the same outcome: {seen:?}");
    Ok(())
}

fn seconds() -> Result<Duration> {
    let text = std::env::var("MILLSTREAM_FUZZ_SECONDS").unwrap_or_else(|_| "10".to_owned());
    let seconds = text.parse().with_context(|| format!("MILLSTREAM_FUZZ_SECONDS is `{text}`; it must be a number"))?;
    Ok(Duration::from_secs(seconds))
}

fn corpus_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(format!("{name}.hex"))
}

fn corpus(name: &str) -> Result<Vec<Vec<u8>>> {
    let file = corpus_file(name);
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    text.lines().map(|line| from_hex(line).with_context(|| format!("{}: {line}", file.display()))).collect()
}

/// The inputs that are short enough to be looked at, in a fixed order.
fn write_corpus(name: &str, kept: &[Vec<u8>]) -> Result<()> {
    let lines: BTreeSet<String> = kept.iter().filter(|input| input.len() <= LONGEST_KEPT).map(|i| to_hex(i)).collect();
    let text: String = lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect();
    Ok(fs::write(corpus_file(name), text)?)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

/// The words without those that have digits, so that outcomes of one kind are one.
fn without_numbers(outcome: &str) -> String {
    let words = outcome.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.take(60).collect::<Vec<_>>().join(" ")
}

/// Decodes an input; the outcome in words.
fn attempt(decoder: &Decoder, input: &[u8]) -> Result<String> {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (decoder.decode)(input)));
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let problem = match &outcome {
        Err(_) => "panicked".to_owned(),
        Ok(_) if taken > FLAT + PER_BYTE * input.len() => format!("allocated {taken} bytes"),
        Ok(outcome) => return Ok(without_numbers(outcome)),
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}-{:016x}", decoder.name, hash(input)));
    fs::write(&file, to_hex(input))?;
    bail!("{} {problem} at an input of {} bytes, which is in {}", decoder.name, input.len(), file.display());
}

fn hash(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Numbers at which something changes.
const INTERESTING: [i32; 9] = [0, 1, -1, 127, 128, 32_767, 65_536, i32::MAX, i32::MIN];

fn mutate(input: &mut Vec<u8>, rng: &mut StdRng) {
    if input.is_empty() {
        input.push(rng.random());
        return;
    }
    let at = rng.random_range(0..input.len());
    let length = rng.random_range(1..=16).min(input.len() - at);
    match rng.random_range(0..8) {
        0 => input[at] ^= 1 << rng.random_range(0..8),
        1 => input[at] = rng.random(),
        2 => input[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
        3 => input.truncate(at),
        4 => drop(input.drain(at..at + length)),
        5 => {
            let copy = input[at..at + length].to_vec();
            input.splice(at..at, copy);
        }
        6 => {
            let bytes = INTERESTING[rng.random_range(0..INTERESTING.len())].to_be_bytes();
            input.splice(at..(at + 4).min(input.len()), bytes);
        }
        _ => {
            let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            input.splice(at..at + length, noise);
        }
    }
}

// --- responses ---

fn response<R: Api>(input: &[u8]) -> String {
    outcome(&api::decode::<R>(Bytes::copy_from_slice(input)))
}

/// As it is where transactions are of the second version.
fn second<R: Api>(input: &[u8]) -> String {
    outcome(&api::decode_for::<R>(Bytes::copy_from_slice(input), Transactions::Second))
}

fn outcome<T>(decoded: &Result<T, CodecError>) -> String {
    match decoded {
        Ok(_) => "decoded".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn encoded<R: Api>(response: &R::Response) -> Result<Vec<u8>>
where
    R::Response: Encodable,
{
    encoded_as::<R>(response, R::VERSION)
}

fn encoded_second<R: Api>(response: &R::Response) -> Result<Vec<u8>>
where
    R::Response: Encodable,
{
    encoded_as::<R>(response, R::SECOND.0)
}

fn encoded_as<R: Api>(response: &R::Response, version: i16) -> Result<Vec<u8>>
where
    R::Response: Encodable,
{
    let mut out = BytesMut::new();
    if R::Response::header_version(version) > 0 {
        out.extend_from_slice(&[0]);
    }
    response.encode(&mut out, version)?;
    Ok(out.to_vec())
}

fn word(rng: &mut StdRng) -> StrBytes {
    StrBytes::from_string("w".repeat(rng.random_range(0..12)))
}

fn some<T>(rng: &mut StdRng, mut make: impl FnMut(&mut StdRng) -> T) -> Vec<T> {
    (0..rng.random_range(0..4)).map(|_| make(rng)).collect()
}

fn fetch(rng: &mut StdRng) -> Result<Vec<u8>> {
    let partition = |rng: &mut StdRng| {
        let aborted = |rng: &mut StdRng| {
            AbortedTransaction::default().with_producer_id(ProducerId(rng.random())).with_first_offset(rng.random())
        };
        let records = batches(rng).ok().map(Bytes::from);
        PartitionData::default()
            .with_partition_index(rng.random())
            .with_aborted_transactions(rng.random::<bool>().then(|| some(rng, aborted)))
            .with_records(records)
    };
    let topic = |rng: &mut StdRng| {
        FetchableTopicResponse::default().with_topic(TopicName(word(rng))).with_partitions(some(rng, partition))
    };
    encoded::<FetchRequest>(&FetchResponse::default().with_responses(some(rng, topic)))
}

fn metadata(rng: &mut StdRng) -> Result<Vec<u8>> {
    let broker =
        |rng: &mut StdRng| MetadataResponseBroker::default().with_node_id(BrokerId(rng.random())).with_host(word(rng));
    let partition = |rng: &mut StdRng| {
        let replicas = some(rng, |rng| BrokerId(rng.random()));
        MetadataResponsePartition::default().with_partition_index(rng.random()).with_replica_nodes(replicas)
    };
    let topic = |rng: &mut StdRng| {
        MetadataResponseTopic::default().with_name(Some(TopicName(word(rng)))).with_partitions(some(rng, partition))
    };
    let response = MetadataResponse::default().with_brokers(some(rng, broker)).with_topics(some(rng, topic));
    encoded::<MetadataRequest>(&response)
}

fn versions(rng: &mut StdRng) -> Result<Vec<u8>> {
    let key = |rng: &mut StdRng| ApiVersion::default().with_api_key(rng.random()).with_max_version(rng.random());
    let feature = |rng: &mut StdRng| {
        FinalizedFeatureKey::default().with_name(word(rng)).with_max_version_level(rng.random_range(0..4))
    };
    let response = ApiVersionsResponse::default().with_api_keys(some(rng, key));
    encoded::<ApiVersionsRequest>(&response.with_finalized_features(some(rng, feature)))
}

fn coordinator(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<FindCoordinatorRequest>(&FindCoordinatorResponse::default().with_host(word(rng)).with_port(rng.random()))
}

fn offsets(rng: &mut StdRng) -> Result<Vec<u8>> {
    let partition = |rng: &mut StdRng| {
        OffsetFetchResponsePartition::default().with_committed_offset(rng.random()).with_metadata(Some(word(rng)))
    };
    let topic = |rng: &mut StdRng| {
        OffsetFetchResponseTopic::default().with_name(TopicName(word(rng))).with_partitions(some(rng, partition))
    };
    encoded::<OffsetFetchRequest>(&OffsetFetchResponse::default().with_topics(some(rng, topic)))
}

fn produced(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<ProduceRequest>(&acknowledged(rng))
}

fn produced_second(rng: &mut StdRng) -> Result<Vec<u8>> {
    let node = |rng: &mut StdRng| NodeEndpoint::default().with_node_id(BrokerId(rng.random())).with_host(word(rng));
    let mut response = acknowledged(rng).with_node_endpoints(some(rng, node));
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        partition.current_leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(rng.random()));
    }
    encoded_second::<ProduceRequest>(&response)
}

fn acknowledged(rng: &mut StdRng) -> ProduceResponse {
    let refused = |rng: &mut StdRng| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(rng.random())
            .with_batch_index_error_message(Some(word(rng)))
    };
    let partition = |rng: &mut StdRng| {
        let refused = some(rng, refused);
        PartitionProduceResponse::default().with_error_code(rng.random()).with_record_errors(refused)
    };
    let topic = |rng: &mut StdRng| {
        let partitions = some(rng, partition);
        TopicProduceResponse::default().with_name(TopicName(word(rng))).with_partition_responses(partitions)
    };
    ProduceResponse::default().with_responses(some(rng, topic))
}

fn identity(rng: &mut StdRng) -> Result<Vec<u8>> {
    let id = ProducerId(rng.random());
    encoded::<InitProducerIdRequest>(&InitProducerIdResponse::default().with_producer_id(id))
}

fn added(rng: &mut StdRng) -> Result<Vec<u8>> {
    let partition = |rng: &mut StdRng| AddPartitionsToTxnPartitionResult::default().with_partition_index(rng.random());
    let topic = |rng: &mut StdRng| {
        let results = some(rng, partition);
        AddPartitionsToTxnTopicResult::default().with_name(TopicName(word(rng))).with_results_by_partition(results)
    };
    let response = AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(some(rng, topic));
    encoded::<AddPartitionsToTxnRequest>(&response)
}

fn grouped(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<AddOffsetsToTxnRequest>(&AddOffsetsToTxnResponse::default().with_error_code(rng.random()))
}

fn committed(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<TxnOffsetCommitRequest>(&taken(rng))
}

fn committed_second(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded_second::<TxnOffsetCommitRequest>(&taken(rng))
}

fn taken(rng: &mut StdRng) -> TxnOffsetCommitResponse {
    let partition = |rng: &mut StdRng| TxnOffsetCommitResponsePartition::default().with_error_code(rng.random());
    let topic = |rng: &mut StdRng| {
        let partitions = some(rng, partition);
        TxnOffsetCommitResponseTopic::default().with_name(TopicName(word(rng))).with_partitions(partitions)
    };
    TxnOffsetCommitResponse::default().with_topics(some(rng, topic))
}

fn ended(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<EndTxnRequest>(&EndTxnResponse::default().with_error_code(rng.random()))
}

fn ended_second(rng: &mut StdRng) -> Result<Vec<u8>> {
    let response = EndTxnResponse::default().with_error_code(rng.random());
    encoded_second::<EndTxnRequest>(&response.with_producer_id(ProducerId(rng.random())).with_producer_epoch(3))
}

fn mechanisms(rng: &mut StdRng) -> Result<Vec<u8>> {
    encoded::<SaslHandshakeRequest>(&SaslHandshakeResponse::default().with_mechanisms(some(rng, word)))
}

fn token(rng: &mut StdRng) -> Result<Vec<u8>> {
    let bytes = Bytes::from(word(rng).to_string());
    encoded::<SaslAuthenticateRequest>(&SaslAuthenticateResponse::default().with_auth_bytes(bytes))
}

// --- record batches ---

fn batches(rng: &mut StdRng) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut offset = rng.random_range(0..100);
    for _ in 0..rng.random_range(1..4) {
        let mut writer = Writer::new(Vec::new());
        let count: i64 = rng.random_range(1..20);
        for record in 0..count {
            let (key, value) = (word(rng), word(rng));
            let headers = [("name", Some(key.as_bytes()))];
            let row = Row { offset: record, timestamp: 1000 + record, key: Some(key.as_bytes()), value: None };
            let row = if rng.random() { Row { value: Some(value.as_bytes()), ..row } } else { row };
            let some = if rng.random_ratio(1, 3) { &headers[..] } else { &[] };
            writer.push(row, some.iter().copied());
        }
        let codec = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd][rng.random_range(0..5)];
        let producer = Producer { id: rng.random_range(0..3), epoch: 0, sequence: 0, transactional: rng.random() };
        let producer = rng.random::<bool>().then_some(producer);
        bytes.extend(writer.finish(&Settings { base_offset: offset, codec, producer, ..Settings::default() })?);
        offset += count;
    }
    Ok(bytes)
}

/// The length and checksum of the first batch.
fn mend_batch(input: &mut [u8]) {
    if input.len() < 61 {
        return;
    }
    let stated = input[8..12].first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes)) as usize;
    let end = if (49..=input.len() - 12).contains(&stated) { 12 + stated } else { input.len() };
    input[8..12].copy_from_slice(&((end - 12) as u32).to_be_bytes());
    input[16] = 2;
    let checksum = crc32c::crc32c(&input[21..end]);
    input[17..21].copy_from_slice(&checksum.to_be_bytes());
}

fn read_batches(input: &[u8]) -> String {
    let begin = Position { offset: 5, leader_epoch: -1 };
    let bytes = Bytes::copy_from_slice(input);
    let committed = Records::committed(bytes.clone(), begin, 1_000_000, Aborted::new([(1, 3), (2, 40)].into_iter()));
    let mut outcome = String::new();
    for mut records in [committed, Records::uncommitted(bytes, begin)] {
        let mut decompressor = Decompressor::new(INFLATED);
        let mut columns = Columns::with_capacity(0, 16, 64);
        let reach = records.reach();
        let mut room = Room { rows: 100_000, bytes: 2 * INFLATED };
        let mut target = Rows { columns: &mut columns, slot: 0, headers: true, end: None };
        let told = match records.read(&mut target, &mut room, &mut decompressor) {
            Ok(()) => "read".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(records.position().offset >= begin.offset && reach.offset >= begin.offset);
        let batch = columns.finish(&std::sync::Arc::from([]));
        assert!(batch.offsets.values().windows(2).all(|pair| pair[0] < pair[1]), "offsets out of order");
        outcome.push_str(&told);
    }
    outcome
}

// --- logins and frames ---

const USER: (&str, &str) = ("user", "pencil");

#[expect(clippy::unnecessary_wraps, reason = "as all of them are")]
fn scram(rng: &mut StdRng) -> Result<Vec<u8>> {
    let rounds = [4096, 1, 0, 100_000_000][rng.random_range(0..4)];
    Ok(format!("r={},s=QSXCR+Q6sek8bf92,i={rounds}\nv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", word(rng)).into())
}

/// The first line is the server's first message behind our own nonce, the second line its last.
fn read_scram(input: &[u8]) -> String {
    let login = Login::new(Mechanism::ScramSha256, USER.0.to_owned(), USER.1.to_owned());
    let (mut exchange, first) = match Exchange::begin(&login) {
        Ok(begun) => begun,
        Err(error) => return error.to_string(),
    };
    let nonce = first.windows(2).position(|pair| pair == b"r=").map_or(&first[..], |at| &first[at + 2..]);
    let (head, tail) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len()));
    let head = [&b"r="[..], nonce, head.strip_prefix(b"r=").unwrap_or(head)].concat();
    match exchange.answer(&head).and_then(|_| exchange.answer(tail.strip_prefix(b"\n").unwrap_or(tail))) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all of them are")]
fn frames(rng: &mut StdRng) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        let mut body = vec![0; rng.random_range(4..60)];
        rng.fill_bytes(&mut body);
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
    }
    Ok(bytes)
}

/// Gives a few bytes at a time, and says between them that there are none yet.
struct Halting<'a> {
    left: &'a [u8],
    pause: bool,
}

impl Read for Halting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.pause = !self.pause;
        if self.pause {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(3);
        self.left.read(&mut buffer[..count])
    }
}

fn read_frames(input: &[u8]) -> String {
    let mut frames = Frames::new(1 << 16);
    let mut from = Reader(Halting { left: input, pause: false });
    let mut count = 0;
    loop {
        match frames.next(&mut from) {
            Ok(Some(_)) => count += 1,
            Ok(None) => {}
            Err(error) => return format!("{} then {error}", if count > 0 { "some" } else { "none" }),
        }
    }
}
