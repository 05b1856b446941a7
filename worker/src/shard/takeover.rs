//! Takeover: a worker makes a shard its own.
//!
//! In this order: read the header once, and stop if its uid is foreign → `init_transactions`, which aborts what the
//! former owner left open and fences him → ask for the last stable offset, and read the header again up to it → decide
//! the positions → commit a header of our own → read. After `init_transactions` nobody else can commit for the shard,
//! so the header read then is the last one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Trouble;
use super::header::{Header, HeaderTopic, MirrorMark};
use super::header_reader::{ends, header_end, is_last, read_header};
use super::ownership::Ownership;
use super::resolve::resolve;
use super::restore::{SourceTopic, plan};
use super::shard::{Held, Identity, Progress, Shard, Slot};
use super::shared::Shared;
use super::status::ShardState;
use super::tenure::Grant;
use super::topology::Topology;
use crate::fault;
use crate::kafka::{Code, Consumer, KafkaError, Producer, Room};
use crate::plan::pipeline::{Delivery, ErrorPolicy, transactional_id};
use crate::records::TopicPartition;

/// How long one call may take before it is tried again.
const WAIT: Duration = Duration::from_secs(10);
/// How long the former owner's mark is waited for.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK_FOR_RELEASE: Duration = Duration::from_millis(10);
/// How long brokers are waited for before the coordinator is looked for.
const MEET: Duration = Duration::from_millis(500);
/// The buffer for headers, which are some kilobytes each.
const HEADER_BYTES: u64 = 1 << 20;
/// The bytes of a producer's batch, unless a topic takes less: what brokers take by default, with room for overhead.
const BATCH_BYTES: u64 = 1_000_000;

/// The shortest time that a transaction may be open, however short the interval: brokers restart within it.
const SHORTEST_TRANSACTION: Duration = Duration::from_secs(10);
/// The longest: brokers refuse more unless their `transaction.max.timeout.ms` was raised.
const LONGEST_TRANSACTION: Duration = Duration::from_mins(15);

/// How long a transaction may be open: one of a frozen shard holds back everybody who reads its output.
pub fn transaction_timeout(interval: Duration) -> Duration {
    (interval * 4).clamp(SHORTEST_TRANSACTION, LONGEST_TRANSACTION)
}

/// What a takeover begins with. To have it ready makes the pause of a hand-over short.
struct Standby {
    /// Reads headers, and ends with the takeover.
    headers: Consumer,
    consumer: Consumer,
    producer: Producer,
    topology: Arc<Topology>,
    topology_version: u64,
}

/// Takes the shard over, as soon as it is this process's.
pub fn take_over(identity: &mut Identity) -> Result<Shard<'_>, Trouble> {
    identity.access = identity.shared.rotation.newest();
    let standby = prepare(identity)?;
    let grant = wait_for_grant(identity)?;
    take(identity, standby, grant)
}

/// All that needs no ownership: topics are there, clients are connected, and the shard is no foreign one.
fn prepare(identity: &Identity) -> Result<Standby, Trouble> {
    let granted = identity.tenure.granted().is_some();
    identity.shared.set_state(identity.id, if granted { ShardState::Starting } else { ShardState::Preparing });
    fault::point("takeover.begin");
    let (topology_version, topology) = wait_for_topics(identity)?;
    let mut headers = make_header_consumer(identity)?;
    // Connect meanwhile; the producer is nobody's before `init_transactions`.
    let consumer = make_consumer(identity, &topology.sources(&identity.shared.pipeline))?;
    let producer = make_producer(identity, &topology)?;
    let before = read_header(identity, &mut headers)?;
    check_owner(identity, before.as_ref())?;
    fault::point("takeover.header-read");
    Ok(Standby { headers, consumer, producer, topology, topology_version })
}

fn wait_for_grant(identity: &Identity) -> Result<Grant, Trouble> {
    if let Some(grant) = identity.tenure.granted() {
        return Ok(grant);
    }
    identity.shared.set_state(identity.id, ShardState::Prepared);
    let grant = identity.tenure.wait_for_grant().ok_or(Trouble::Asked)?;
    identity.shared.set_state(identity.id, ShardState::Starting);
    Ok(grant)
}

/// Waits until the former owner has let the shard go, which its last header says; not for long, since it may be gone.
fn wait_for_release(identity: &Identity, headers: &mut Consumer, grant: Grant) -> Result<(), Trouble> {
    let deadline = Instant::now() + HAND_OVER;
    let mut seen = None;
    while grant.handed_over && identity.held.is_none() && Instant::now() < deadline {
        let end = header_end(identity)?;
        if seen.replace(end) != Some(end) && read_header(identity, headers)?.is_none_or(|header| header.released) {
            return Ok(());
        }
        if identity.tenure.sleep(LOOK_FOR_RELEASE) {
            return Err(Trouble::Asked);
        }
    }
    Ok(())
}

fn take(identity: &mut Identity, standby: Standby, grant: Grant) -> Result<Shard<'_>, Trouble> {
    let shared = Arc::clone(&identity.shared);
    let Standby { mut headers, consumer, mut producer, topology, topology_version } = standby;
    let sources = topology.sources(&shared.pipeline);
    wait_for_release(identity, &mut headers, grant)?;
    wait_for_shard_0(identity)?;
    fault::point("takeover.before-init");
    init_transactions(identity, &mut producer)?;
    fault::point("takeover.after-init");
    wait_until_settled(identity)?;
    let header = read_header(identity, &mut headers)?;
    check_owner(identity, header.as_ref())?;
    if header.is_none() && grant.started {
        return Err(stop_if_last(identity, &mut headers, None, lost_start(identity)));
    }
    identity.held = Some(Held::of(header.as_ref()));
    fault::point("takeover.header-read-again");
    let slots = match positions(identity, &consumer, &sources, header.as_ref()) {
        Err(Trouble::Stop(why)) => return Err(stop_if_last(identity, &mut headers, header.as_ref(), why)),
        slots => slots?,
    };
    fault::point("takeover.restored");
    let plain = make_plain(identity, &topology)?;
    let mut shard = Shard {
        consumer,
        producer,
        plain,
        slots,
        topics: header_topics(&sources),
        was_complete: header.as_ref().is_some_and(|header| header.complete),
        committed: header.unwrap_or_else(|| nothing_committed(&shared)),
        transaction: None,
        progress: Progress::default(),
        fresh: false,
        checkpointed: Instant::now(),
        mirrored: Instant::now(),
        topology,
        topology_version,
        identity,
    };
    fault::point("takeover.first-commit");
    let complete = shard.is_complete();
    shard.commit_header(false, complete, true)?;
    shard.fresh = true;
    fault::point("takeover.taken");
    shard.assign()?;
    shared.set_state(shard.identity.id, ShardState::Running);
    shard.identity.turn = None;
    Ok(shard)
}

/// Where the shard goes on.
fn positions(
    identity: &Identity,
    consumer: &Consumer,
    sources: &[SourceTopic],
    header: Option<&Header>,
) -> Result<Vec<Slot>, Trouble> {
    check_mirror(identity, consumer, sources, header)?;
    let shared = &identity.shared;
    resolve(identity, plan(identity.id, shared.shards, sources, header, shared.pipeline.mode))
}

/// What looks lost to a process that was overtaken without knowing is not: the other one has moved on.
pub fn stop_if_last(identity: &Identity, headers: &mut Consumer, header: Option<&Header>, why: String) -> Trouble {
    match is_last(identity, headers, header) {
        Ok(true) => Trouble::Stop(why),
        Ok(false) => {
            let doing = format!("take shard {} over", identity.id);
            Trouble::Fenced(KafkaError::new(doing, Code::Fenced, "another process has written its header since"))
        }
        Err(trouble) => trouble,
    }
}

/// Taking shard 0 over decides which of two processes goes on, so the others do not fence before it is done.
fn wait_for_shard_0(identity: &Identity) -> Result<(), Trouble> {
    let Ownership::Whole(confirm) = &identity.shared.ownership else { return Ok(()) };
    if identity.id == 0 || identity.held.is_some() {
        return Ok(());
    }
    match confirm.ask(identity.tenure.stop()) {
        Some(true) => Ok(()),
        Some(false) => Err(Trouble::Lost("another process has taken the pipeline over".to_owned())),
        None => Err(Trouble::Asked),
    }
}

/// What stands before the first checkpoint.
fn nothing_committed(shared: &Shared) -> Header {
    Header {
        version: super::header::VERSION,
        sequence: 0,
        uid: shared.uid.clone(),
        shards: shared.shards,
        run: shared.run.clone(),
        generation: 0,
        released: false,
        chain: shared.pipeline.chain_hash.clone(),
        complete: false,
        topics: Vec::new(),
        partitions: Vec::new(),
    }
}

/// Source topics as a header names them.
pub fn header_topics(sources: &[SourceTopic]) -> Vec<HeaderTopic> {
    let topic = |topic: &SourceTopic| HeaderTopic {
        name: topic.name.to_string(),
        id: topic.id.clone(),
        partitions: topic.partitions,
    };
    sources.iter().map(topic).collect()
}

/// Topics that are missing are waited for.
fn wait_for_topics(identity: &Identity) -> Result<(u64, Arc<Topology>), Trouble> {
    let shared = &identity.shared;
    let mut seen = shared.topology.get();
    loop {
        if identity.tenure.asked() {
            return Err(Trouble::Asked);
        }
        // What was refused to former secrets is asked for again.
        if let Some(error) = seen.1.denied().filter(|_| seen.1.access >= identity.access.version) {
            return Err(Trouble::Denied(error.clone()));
        }
        match seen.1.missing(&shared.pipeline) {
            None => return Ok(seen),
            Some(what) => shared.set_state(identity.id, ShardState::Waiting(what)),
        }
        seen = shared.topology.wait(seen.0, Duration::from_millis(200));
    }
}

fn client_name(identity: &Identity) -> String {
    format!("millstream.{}.{}", identity.shared.pipeline.application_id, identity.id)
}

/// Headers are read with a client of their own, at the takeover only.
fn make_header_consumer(identity: &Identity) -> Result<Consumer, Trouble> {
    let shared = &identity.shared;
    let mut consumer = Consumer::of_tails(
        &identity.access.configs[shared.home()],
        &format!("{}.headers", client_name(identity)),
        &shared.pipeline.application_id,
        HEADER_BYTES,
        Arc::clone(&shared.metrics),
    )
    .map_err(|error| Trouble::Stop(error.to_string()))?;
    consumer.expect(std::iter::once(shared.state_topic().as_str()));
    Ok(consumer)
}

fn make_consumer(identity: &Identity, sources: &[SourceTopic]) -> Result<Consumer, Trouble> {
    let shared = &identity.shared;
    let mut consumer = Consumer::new(
        &identity.access.configs[shared.home()],
        &client_name(identity),
        &shared.pipeline.application_id,
        shared.budget.prefetch,
        shared.budget.batch,
        Arc::clone(&shared.metrics),
    )
    .map_err(|error| Trouble::Stop(error.to_string()))?;
    let mine = own_partitions(identity, sources);
    let topics: BTreeSet<&str> = mine.iter().map(|partition| &*partition.topic).collect();
    consumer.expect(topics.into_iter());
    Ok(consumer)
}

/// The partitions that belong to the shard.
fn own_partitions(identity: &Identity, sources: &[SourceTopic]) -> Vec<TopicPartition> {
    let planned = plan(identity.id, identity.shared.shards, sources, None, identity.shared.pipeline.mode);
    planned.into_iter().map(|planned| planned.partition).collect()
}

fn make_producer(identity: &Identity, topology: &Topology) -> Result<Producer, Trouble> {
    let shared = &identity.shared;
    let producer = Producer::transactional(
        &identity.access.configs[shared.home()],
        &client_name(identity),
        &transactional_id(&shared.pipeline.application_id, identity.id),
        transaction_timeout(shared.pipeline.checkpoint_interval),
        room(shared, topology),
        Arc::clone(&shared.metrics),
    );
    producer.map_err(|error| Trouble::Stop(error.to_string()))
}

/// A batch must not be larger than any topic takes, or brokers would refuse good records with it.
fn room(shared: &Shared, topology: &Topology) -> Room {
    let sinks = shared.pipeline.sinks.iter().map(|sink| (sink.connection, sink.topic.as_str()));
    let dead = match &shared.pipeline.errors {
        ErrorPolicy::DeadLetter { connection, topic } => Some((*connection, topic.as_str())),
        _ => None,
    };
    let limits = sinks.chain(dead).filter_map(|(connection, topic)| topology.known(connection, topic));
    let batch = limits.map(|(_, _, limits)| limits.max_bytes).fold(BATCH_BYTES, u64::min);
    Room { queue: shared.budget.queue, batch }
}

fn make_plain(identity: &Identity, topology: &Topology) -> Result<Vec<Option<Producer>>, Trouble> {
    let shared = &identity.shared;
    let mut plain = Vec::new();
    for (connection, config) in identity.access.configs.iter().enumerate() {
        let wanted = shared.pipeline.delivery == Delivery::AtLeastOnce && writes_to(shared, connection);
        plain.push(if wanted {
            let metrics = Arc::clone(&shared.metrics);
            Some(Producer::idempotent(config, &client_name(identity), room(shared, topology), metrics)?)
        } else {
            None
        });
    }
    Ok(plain)
}

fn writes_to(shared: &Shared, connection: usize) -> bool {
    let dead = matches!(&shared.pipeline.errors, ErrorPolicy::DeadLetter { connection: c, .. } if *c == connection);
    dead || shared.pipeline.sinks.iter().any(|sink| sink.connection == connection)
}

/// Stops at a header that is not ours; with `millstream run`, also at one that another process wrote after us.
fn check_owner(identity: &Identity, header: Option<&Header>) -> Result<(), Trouble> {
    let Some(header) = header else { return Ok(()) };
    let shared = &identity.shared;
    let pipeline = &shared.pipeline;
    if header.uid != shared.uid && !pipeline.adopt {
        return Err(Trouble::Stop(format!(
            "shard {} belongs to a pipeline with uid {} (its header in topic `{}` says so), this one is {}; choose another applicationId, or set `adopt: true` to take over what the other left",
            identity.id,
            header.uid,
            shared.state_topic(),
            shared.uid
        )));
    }
    if header.shards != shared.shards {
        return Err(Trouble::Stop(format!(
            "the header of shard {} is of a pipeline with {} shards, its state topic `{}` has {} partitions; the topic was altered or copied",
            identity.id,
            header.shards,
            shared.state_topic(),
            shared.shards
        )));
    }
    // A header that is neither ours nor the one that we found tells of an owner after us.
    let taken = identity.held.as_ref().is_some_and(|held| *held != Held::of(Some(header)));
    let decides = identity.id == 0 && matches!(shared.ownership, Ownership::Whole(_));
    if decides && taken && header.run != shared.run {
        return Err(Trouble::Lost(format!("another process (run {}) has taken the pipeline over", header.run)));
    }
    Ok(())
}

fn init_transactions(identity: &Identity, producer: &mut Producer) -> Result<(), Trouble> {
    let shared = &identity.shared;
    // Without a broker librdkafka would look for the coordinator again only after half a second.
    producer.meet_brokers(MEET);
    loop {
        match producer.init_transactions(WAIT) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_denied() => return Err(Trouble::Denied(error)),
            Err(error) if error.class == crate::kafka::Class::Retriable || error.is_unavailable() => {
                let cause = producer.take_error().map_or_else(|| error.message.clone(), |cause| cause.message);
                shared.set_state(identity.id, ShardState::Waiting(format!("the transaction coordinator: {cause}")));
            }
            Err(error) => return Err(error.into()),
        }
        if identity.tenure.asked() {
            return Err(Trouble::Asked);
        }
        if identity.is_outdated() {
            return Err(Trouble::Renew);
        }
    }
}

/// Behind `init_transactions` nothing is open in the header's partition. If something is and the log grows, another process
/// has taken the shard over since. If it does not grow, the marker of a transaction is missing, and nobody can tell whether
/// the header in it counts, while its output may be visible elsewhere. Kafka 4.3.0 to 4.4.0 forget the markers of partitions
/// that have no leader (KAFKA-20734).
fn wait_until_settled(identity: &Identity) -> Result<(), Trouble> {
    let deadline = Instant::now() + WAIT;
    let mut first = None;
    loop {
        let (end, stable) = ends(identity)?;
        if stable >= end {
            return Ok(());
        }
        if *first.get_or_insert(end) != end {
            let doing = format!("take shard {} over", identity.id);
            return Err(Trouble::Fenced(KafkaError::new(doing, Code::Fenced, "another process writes headers")));
        }
        if Instant::now() >= deadline {
            return Err(Trouble::Restart(format!(
                "a transaction hangs in topic `{}` partition {}, neither committed nor aborted: offsets {stable} to {end}. Kafka \
                 4.3.0 to 4.4.0 lose the ends of transactions where a partition has no leader (KAFKA-20734); \
                 `kafka-transactions.sh find-hanging` tells more, docs/operations.md what to do",
                identity.shared.state_topic(),
                identity.id
            )));
        }
        if identity.tenure.sleep(LOOK_FOR_RELEASE) {
            return Err(Trouble::Asked);
        }
    }
}

/// Compares the group's offsets with the header: a mirror that is ahead of the truth means that the truth was lost.
fn check_mirror(
    identity: &Identity,
    consumer: &Consumer,
    sources: &[SourceTopic],
    header: Option<&Header>,
) -> Result<(), Trouble> {
    let shared = &identity.shared;
    let mirror = match consumer.committed(&own_partitions(identity, sources), WAIT) {
        Ok(mirror) => mirror,
        Err(error) if error.is_unavailable() => return Err(Trouble::Restart(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let marks = mirror.iter().filter_map(|place| MirrorMark::from_text(&place.metadata));
    let newest = marks.filter(|mark| mark.uid == shared.uid).map(|mark| mark.sequence).max();
    let truth = header.map_or(0, |header| header.sequence);
    match newest {
        Some(sequence) if sequence > truth => Err(Trouble::Stop(lost_header(identity, sequence, header))),
        _ => {
            report_mirror(identity, &mirror, header);
            Ok(())
        }
    }
}

fn lost_header(identity: &Identity, mirror: u64, header: Option<&Header>) -> String {
    let shared = &identity.shared;
    let found = match header {
        Some(header) => format!("its last header is checkpoint {}", header.sequence),
        None => "there is no header".to_owned(),
    };
    format!(
        "data loss: the offsets of group `{}` are of checkpoint {mirror} of shard {}, but {found} in topic `{}`: the topic was deleted or truncated. To begin anew, choose another applicationId or delete the group; what was written stays written",
        shared.pipeline.application_id,
        identity.id,
        shared.state_topic()
    )
}

fn lost_start(identity: &Identity) -> String {
    let shared = &identity.shared;
    format!(
        "data loss: shard {} has started before, but there is no header of it in topic `{}`: the topic was deleted or truncated. To begin anew, delete the Pipeline and make it again with another applicationId; what was written stays written",
        identity.id,
        shared.state_topic()
    )
}

fn report_mirror(identity: &Identity, mirror: &[crate::kafka::Place], header: Option<&Header>) {
    let Some(header) = header else { return };
    for place in mirror {
        let Some(position) = header.partition(&place.partition.topic, place.partition.partition) else { continue };
        if place.offset != position.offset {
            tracing::warn!(
                shard = identity.id,
                partition = %place.partition,
                group = place.offset,
                header = position.offset,
                "the group's offset is not ours; the header counts, and the offset is written again"
            );
        }
    }
}

/// The slots of new partitions, from their beginning.
pub fn new_slots(shard: &Shard<'_>, sources: &[SourceTopic]) -> Result<Vec<Slot>, Trouble> {
    let shared = shard.shared();
    let known = Header { topics: shard.topics.clone(), ..shard.next_header(false, false) };
    let planned = plan(shard.identity.id, shared.shards, sources, Some(&known), shared.pipeline.mode);
    let is_new = |partition: &TopicPartition| !shard.slots.iter().any(|slot| slot.partition == *partition);
    resolve(shard.identity, planned.into_iter().filter(|planned| is_new(&planned.partition)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_outlives_its_checkpoint_and_brokers_take_its_timeout() {
        let seconds = |interval| transaction_timeout(Duration::from_millis(interval)).as_secs();
        assert_eq!([10, 500, 10_000, 300_000].map(seconds), [10, 10, 40, 900]);
    }
}
