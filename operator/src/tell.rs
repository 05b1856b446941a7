//! Tells people about a Pipeline: its status, and events when shards move or another condition holds.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use millstream_crds::{Pipeline, PipelineStatus};

use crate::apply::{ApplyError, Writer};
use crate::build::labels;
use crate::context::Context;
use crate::decide::status::{Facts, is_true, status};
use crate::events::{Happening, Kind, publish};
use crate::memory::Memory;
use crate::reports::PipelineKey;

/// How often counts in the status are written.
const TELL_COUNTS: Duration = Duration::from_secs(10);

/// Writes the status, at once when a condition is another one, and rarely for the sake of counts.
pub async fn tell(
    pipeline: &Pipeline,
    facts: &Facts,
    key: &PipelineKey,
    context: &Context,
    memory: &mut Memory,
) -> Result<(), ApplyError> {
    let before = pipeline.status.as_ref();
    let mut told = status(facts, before, Timestamp::now());
    told.selector = Some(labels::selector(&key.name));
    announce_moves(pipeline, context, memory).await;
    announce(pipeline, &told, key, context, memory).await;
    let same = before.is_some_and(|before| without_counts(before) == without_counts(&told));
    let fresh = memory.told.is_some_and(|at| at.elapsed() < TELL_COUNTS);
    if before == Some(&told) || (same && fresh) {
        return Ok(());
    }
    memory.told = Some(Instant::now());
    Writer::new(&context.server, &key.namespace).status(&key.name, &told).await
}

fn without_counts(status: &PipelineStatus) -> PipelineStatus {
    PipelineStatus { lag: None, rate: None, last_checkpoint: None, ..status.clone() }
}

/// An event for each reason for which shards move, but not too often.
async fn announce_moves(pipeline: &Pipeline, context: &Context, memory: &mut Memory) {
    for notice in memory.notices.due(context.now()) {
        let kind = if notice.reason.is_trouble() { Kind::Warning } else { Kind::Normal };
        let reason = notice.reason.to_string();
        let happening = Happening { kind, reason: &reason, action: "MoveShards", note: &notice.text };
        publish(&context.server, &context.settings.pod, pipeline, happening).await;
    }
}

/// An event and a metric when another condition holds than before.
async fn announce(
    pipeline: &Pipeline,
    told: &PipelineStatus,
    key: &PipelineKey,
    context: &Context,
    memory: &mut Memory,
) {
    let holds = ["Stalled", "Ready", "Reconciling"].into_iter().find(|kind| is_true(told, kind)).unwrap_or("None");
    let Some(condition) = told.conditions.first() else { return };
    let now = (holds, condition.reason.clone());
    if memory.condition.as_ref() == Some(&now) {
        return;
    }
    memory.condition = Some(now.clone());
    context.metrics.condition(key, now.0, &now.1);
    let kind = if holds == "Stalled" { Kind::Warning } else { Kind::Normal };
    let happening = Happening { kind, reason: &now.1, action: holds, note: &condition.message };
    publish(&context.server, &context.settings.pod, pipeline, happening).await;
}
