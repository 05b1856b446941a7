//! Measures what was decided and done, for Prometheus.

use super::Plan;
use crate::context::Context;
use crate::memory::Memory;
use crate::reports::PipelineKey;

/// Sets what is measured of a Pipeline, whether it can be written or not.
pub(super) fn measure(plan: &Plan, key: &PipelineKey, context: &Context) {
    let unowned = plan.assignment.shards.iter().filter(|shard| shard.owner.is_none()).count();
    context.metrics.pipeline(key, unowned, plan.report_age);
    context.metrics.lag(key, &plan.track.partitions);
    context.metrics.data_loss(key, plan.track.seconds_to_data_loss());
    for arrival in &plan.arrivals {
        context.metrics.arrived(arrival.reason, arrival.took);
    }
}

/// Takes note of the moves of an assignment that has just been written.
pub(super) fn moved(plan: &Plan, key: &PipelineKey, context: &Context, memory: &mut Memory) {
    for moved in &plan.moves {
        tracing::info!(pipeline = key.name, shard = moved.shard, reason = %moved.reason, "{}", moved.message());
        context.metrics.moved(moved.reason);
    }
    memory.durations.begin(&plan.moves, plan.assignment.generation, context.now());
    memory.notices.add(&plan.moves);
}
