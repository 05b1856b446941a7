//! Reading a shard's last header from the state topic.

use std::time::{Duration, Instant};

use arrow::array::Array;

use super::error::Trouble;
use super::header::{Header, KEY};
use super::shard::Identity;
use super::shared::Shared;
use super::status::ShardState;
use crate::kafka::{Assigned, Consumer, ConsumerEvent, Isolation, KafkaError, OffsetSpec};
use crate::records::{SourceBatch, TopicPartition};

/// How far from the end the search begins. A header is followed by the marker of its transaction only.
const FIRST_DISTANCE: i64 = 16;
/// How long a read may make no progress before the run is given up.
const STALLED: Duration = Duration::from_secs(30);

/// The last committed header, if there is one.
pub fn read_header(identity: &Identity, consumer: &mut Consumer) -> Result<Option<Header>, Trouble> {
    let partition = header_partition(identity);
    let log = (
        bound(identity, &partition, OffsetSpec::Earliest, Isolation::ReadCommitted)?,
        bound(identity, &partition, OffsetSpec::Latest, Isolation::ReadCommitted)?,
    );
    last_header(consumer, &partition, log, &|consumer| {
        if identity.tenure.asked() {
            return Some(Trouble::Asked);
        }
        (consumer.is_refused() && identity.is_outdated()).then_some(Trouble::Renew)
    })
}

/// The last committed header of a partition whose log goes from one offset to the other, if there is one. Each partition
/// of a state topic is a shard's, by number.
///
/// Reads from the tail, doubling the distance until a header appears or the log's start is reached. A search ends when
/// the *position* has reached the last stable offset, even if only markers and aborted records follow.
pub fn last_header(
    consumer: &mut Consumer,
    partition: &TopicPartition,
    (start, end): (i64, i64),
    interrupted: &dyn Fn(&Consumer) -> Option<Trouble>,
) -> Result<Option<Header>, Trouble> {
    let mut distance = FIRST_DISTANCE;
    loop {
        let from = (end - distance).max(start);
        if from >= end {
            return Ok(None);
        }
        if let Some(header) = read_from(consumer, partition, (from, end), interrupted)? {
            return Ok(Some(header));
        }
        if from == start {
            return Ok(None);
        }
        distance = distance.saturating_mul(2);
    }
}

/// Whether `header` is still the shard's last one, and nobody is about to write another.
///
/// What is read after a takeover may be newer than its header if another process has taken over since: a process that
/// was frozen in between learns so only from the next transaction. Before a difference is told as a loss, this is asked.
pub fn is_last(identity: &Identity, consumer: &mut Consumer, header: Option<&Header>) -> Result<bool, Trouble> {
    let (end, stable) = ends(identity)?;
    Ok(stable >= end && read_header(identity, consumer)?.as_ref() == header)
}

/// Where the header's partition ends, and where it does for those who read committed records only: before the first
/// transaction that is open in it.
pub fn ends(identity: &Identity) -> Result<(i64, i64), Trouble> {
    let partition = header_partition(identity);
    let end = bound(identity, &partition, OffsetSpec::Latest, Isolation::ReadUncommitted)?;
    let stable = bound(identity, &partition, OffsetSpec::Latest, Isolation::ReadCommitted)?;
    Ok((end, stable))
}

/// Where the log of headers ends for those who read committed records only.
pub fn header_end(identity: &Identity) -> Result<i64, Trouble> {
    bound(identity, &header_partition(identity), OffsetSpec::Latest, Isolation::ReadCommitted)
}

fn header_partition(identity: &Identity) -> TopicPartition {
    TopicPartition { topic: identity.shared.state_topic().into(), partition: identity.id as i32 }
}

/// An offset of the partition; an unknown topic in the metadata is waited for, never read as "no header".
fn bound(
    identity: &Identity,
    partition: &TopicPartition,
    spec: OffsetSpec,
    isolation: Isolation,
) -> Result<i64, Trouble> {
    let shared: &Shared = &identity.shared;
    loop {
        let answer = shared.admin().list_offsets(std::slice::from_ref(partition), spec, isolation);
        let error = match answer.map(|mut answers| answers.pop()) {
            Ok(Some(Ok(offset))) => return Ok(offset),
            Ok(Some(Err(error))) | Err(error) => error,
            Ok(None) => continue,
        };
        if error.is_denied() {
            return Err(Trouble::Denied(error));
        }
        shared.set_state(identity.id, ShardState::Waiting(error.to_string()));
        if identity.tenure.sleep(Duration::from_millis(200)) {
            return Err(Trouble::Asked);
        }
    }
}

fn read_from(
    consumer: &mut Consumer,
    partition: &TopicPartition,
    (from, end): (i64, i64),
    interrupted: &dyn Fn(&Consumer) -> Option<Trouble>,
) -> Result<Option<Header>, Trouble> {
    let assigned = Assigned { partition: partition.clone(), source: 0, offset: from, leader_epoch: -1, end: None };
    consumer.assign(&[assigned])?;
    let (mut position, mut found, mut moved) = (from, None, Instant::now());
    while position < end {
        let polled = consumer.poll(Duration::from_millis(100), usize::MAX);
        for event in &polled.events {
            check_event(event)?;
        }
        for batch in &polled.batches {
            found = header_in(partition, batch)?.or(found);
        }
        if let Some((_, next, _)) = polled.positions.first() {
            (position, moved) = (*next, Instant::now());
        }
        if let Some(trouble) = interrupted(consumer) {
            return Err(trouble);
        }
        if moved.elapsed() > STALLED {
            return Err(Trouble::Restart(stalled(consumer, partition, position, end)));
        }
    }
    Ok(found)
}

fn check_event(event: &ConsumerEvent) -> Result<(), Trouble> {
    match event {
        ConsumerEvent::Error(error) if error.is_denied() => Err(Trouble::Denied(error.clone())),
        // The log's start moved on in between; the next takeover asks for it again.
        ConsumerEvent::PositionLost { error, .. } => Err(Trouble::Restart(error.to_string())),
        ConsumerEvent::Error(error) => {
            tracing::debug!("{error}");
            Ok(())
        }
    }
}

fn stalled(consumer: &Consumer, partition: &TopicPartition, position: i64, end: i64) -> String {
    let cause = consumer.take_error().map(|error: KafkaError| format!(": {error}")).unwrap_or_default();
    format!("the header in {partition} cannot be read: stuck at offset {position} of {end}{cause}")
}

fn header_in(partition: &TopicPartition, batch: &SourceBatch) -> Result<Option<Header>, Trouble> {
    let is_header =
        |row: &usize| batch.keys.is_valid(*row) && batch.keys.value(*row) == KEY && batch.values.is_valid(*row);
    let Some(row) = (0..batch.len()).rev().find(is_header) else { return Ok(None) };
    let (offset, value) = (batch.offsets.value(row), batch.values.value(row));
    let shard = partition.partition as u32;
    Header::from_bytes(shard, &partition.topic, offset, value).map(Some).map_err(|e| Trouble::Stop(e.to_string()))
}
