//! Starts become offsets: what the cluster knows of logs' starts and ends decides.

use std::time::Duration;

use super::error::Trouble;
use super::restore::{Planned, Start};
use super::shard::{Identity, Slot};
use crate::kafka::{Isolation, KafkaError, OffsetSpec};
use crate::plan::pipeline::{Mode, OnDataLoss, StartFrom};
use crate::records::TopicPartition;

/// The ends of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Log {
    start: i64,
    stable: i64,
    high: i64,
}

/// The slots of planned partitions, with numbers.
pub fn resolve(identity: &Identity, planned: Vec<Planned>) -> Result<Vec<Slot>, Trouble> {
    let partitions: Vec<_> = planned.iter().map(|planned| planned.partition.clone()).collect();
    let logs = logs(identity, &partitions)?;
    let mut slots = Vec::with_capacity(planned.len());
    for (planned, log) in planned.into_iter().zip(logs) {
        slots.push(resolve_one(identity, planned, log)?);
    }
    Ok(slots)
}

fn logs(identity: &Identity, partitions: &[TopicPartition]) -> Result<Vec<Log>, Trouble> {
    let starts = ask(identity, partitions, OffsetSpec::Earliest, Isolation::ReadCommitted)?;
    let stable = ask(identity, partitions, OffsetSpec::Latest, Isolation::ReadCommitted)?;
    let high = ask(identity, partitions, OffsetSpec::Latest, Isolation::ReadUncommitted)?;
    let ends = stable.into_iter().zip(high);
    Ok(starts.into_iter().zip(ends).map(|(start, (stable, high))| Log { start, stable, high }).collect())
}

/// Offsets of all partitions; tried again while brokers are away.
fn ask(
    identity: &Identity,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    isolation: Isolation,
) -> Result<Vec<i64>, Trouble> {
    let shared = &identity.shared;
    loop {
        let answers = shared.admin().list_offsets(partitions, spec, isolation);
        let error: KafkaError = match answers.and_then(|answers| answers.into_iter().collect()) {
            Ok(offsets) => return Ok(offsets),
            Err(error) => error,
        };
        if error.is_denied() {
            return Err(Trouble::Denied(error));
        }
        if !error.is_unavailable() {
            return Err(Trouble::Restart(error.to_string()));
        }
        tracing::warn!("{error}");
        if identity.tenure.sleep(Duration::from_millis(200)) {
            return Err(Trouble::Asked);
        }
    }
}

fn resolve_one(identity: &Identity, planned: Planned, log: Log) -> Result<Slot, Trouble> {
    let lost = |why: &str| after_loss(&planned.partition, planned.on_data_loss, why, log).map(|offset| (offset, -1));
    let (next, leader_epoch) = match &planned.start {
        Start::First(from) => (first(identity, &planned.partition, *from, log)?, -1),
        Start::Lost(why) => lost(why)?,
        Start::At { offset, leader_epoch } => match outside(*offset, log) {
            None => (*offset, *leader_epoch),
            Some(why) => lost(&why)?,
        },
    };
    let end = match identity.shared.pipeline.mode {
        Mode::Batch => Some(planned.end.unwrap_or(log.stable)),
        Mode::Streaming => None,
    };
    Ok(Slot { partition: planned.partition, source: planned.source, next, leader_epoch, end, timestamp: -1 })
}

fn outside(offset: i64, log: Log) -> Option<String> {
    if offset < log.start {
        return Some(format!("the next record to read has offset {offset}, but the log now starts at {}", log.start));
    }
    (offset > log.high)
        .then(|| format!("the next record to read has offset {offset}, but the log now ends at {}", log.high))
}

fn first(identity: &Identity, partition: &TopicPartition, from: StartFrom, log: Log) -> Result<i64, Trouble> {
    Ok(match from {
        StartFrom::Earliest => log.start,
        StartFrom::Latest => log.stable,
        StartFrom::Timestamp(time) => {
            let spec = OffsetSpec::Timestamp(time);
            let found = ask(identity, std::slice::from_ref(partition), spec, Isolation::ReadCommitted)?;
            // None so young: whatever comes next is.
            found.first().copied().filter(|offset| *offset >= 0).unwrap_or(log.stable)
        }
    })
}

/// Where to go on when a position is gone, or the stop that `onDataLoss: Fail` asks for.
fn after_loss(partition: &TopicPartition, policy: OnDataLoss, why: &str, log: Log) -> Result<i64, Trouble> {
    let offset = match policy {
        OnDataLoss::Fail => return Err(Trouble::Stop(data_loss(partition, why))),
        OnDataLoss::Earliest => log.start,
        OnDataLoss::Latest => log.stable,
    };
    tracing::warn!(%partition, offset, "data loss: {why}; going on from here, as onDataLoss says");
    Ok(offset)
}

/// The words of a stop because of lost data.
pub fn data_loss(partition: &TopicPartition, why: &str) -> String {
    format!(
        "data loss in {partition}: {why}. Set onDataLoss of the source to Earliest or Latest to go on from there, knowing what is skipped or read again"
    )
}

/// Where a running shard goes on in a partition whose position is gone.
pub fn position_after_loss(identity: &Identity, slot: &Slot, why: &str) -> Result<i64, Trouble> {
    let log = logs(identity, std::slice::from_ref(&slot.partition))?;
    let policy = identity.shared.pipeline.sources[slot.source].on_data_loss;
    match log.first() {
        Some(log) => after_loss(&slot.partition, policy, why, *log),
        None => Err(Trouble::Restart(format!("no answer about {}", slot.partition))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOG: Log = Log { start: 10, stable: 20, high: 25 };

    #[test]
    fn positions_outside_the_log_are_lost() {
        for inside in [10, 15, 25] {
            assert_eq!(outside(inside, LOG), None, "{inside}");
        }
        assert!(outside(9, LOG).unwrap().contains("offset 9, but the log now starts at 10"));
        assert!(outside(26, LOG).unwrap().contains("ends at 25"));
    }

    #[test]
    fn a_loss_is_a_stop_unless_the_manifest_says_otherwise() {
        let partition = TopicPartition { topic: "in".into(), partition: 2 };
        let after = |policy| after_loss(&partition, policy, "gone", LOG);
        assert_eq!(after(OnDataLoss::Earliest).unwrap(), 10);
        assert_eq!(after(OnDataLoss::Latest).unwrap(), 20);
        let Trouble::Stop(text) = after(OnDataLoss::Fail).unwrap_err() else { unreachable!() };
        assert!(text.contains("in-2") && text.contains("onDataLoss"), "{text}");
    }
}
