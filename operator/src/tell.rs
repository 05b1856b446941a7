//! Tells people about a Pipeline: its status, an event when another condition holds, and a metric of it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use millstream_crds::{Pipeline, PipelineStatus};

use crate::apply::{ApplyError, Writer};
use crate::build::labels;
use crate::context::Context;
use crate::decide::status::{Facts, is_true, status};
use crate::events::{Kind, publish};
use crate::memory::Memory;

/// How often counts in the status are written.
const TELL_COUNTS: Duration = Duration::from_secs(10);

/// Writes the status, at once when a condition is another one, and rarely for the sake of counts.
pub async fn tell(
    pipeline: &Pipeline,
    facts: &Facts,
    context: &Context,
    memory: &mut Memory,
) -> Result<(), ApplyError> {
    let before = pipeline.status.as_ref();
    let mut told = status(facts, before, Timestamp::now());
    let name = pipeline.name_any();
    told.selector = Some(labels::selector(&name));
    announce(pipeline, &told, context, memory).await;
    let same = before.is_some_and(|before| without_counts(before) == without_counts(&told));
    let fresh = memory.told.is_some_and(|at| at.elapsed() < TELL_COUNTS);
    if before == Some(&told) || (same && fresh) {
        return Ok(());
    }
    memory.told = Some(Instant::now());
    Writer::new(context.client.clone(), &pipeline.namespace().unwrap_or_default()).status(&name, &told).await
}

fn without_counts(status: &PipelineStatus) -> PipelineStatus {
    PipelineStatus { lag: None, rate: None, last_checkpoint: None, ..status.clone() }
}

/// An event and a metric when another condition holds than before.
async fn announce(pipeline: &Pipeline, told: &PipelineStatus, context: &Context, memory: &mut Memory) {
    let holds = ["Stalled", "Ready", "Reconciling"].into_iter().find(|kind| is_true(told, kind)).unwrap_or("None");
    let Some(condition) = told.conditions.first() else { return };
    let now = (holds, condition.reason.clone());
    if memory.condition.as_ref() == Some(&now) {
        return;
    }
    memory.condition = Some(now.clone());
    context.metrics.condition(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any(), now.0, &now.1);
    let kind = if holds == "Stalled" { Kind::Warning } else { Kind::Normal };
    publish(&context.client, &context.settings.pod, pipeline, kind, &now.1, holds, &condition.message).await;
}
