//! How a Pipeline's workers are, and whether it is rather the operator who is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use millstream_crds::Pipeline;
use millstream_crds::report::WorkerReport;

use super::Scene;
use crate::build::{self, labels};
use crate::context::Context;
use crate::decide::liveness::{self, Judge, Judgement, Observed, Patience};
use crate::decide::view::Worker;
use crate::memory::Memory;
use crate::observe::has_ended;
use crate::reports::{Attendance, PipelineKey};

/// What was judged.
pub(super) struct Judged {
    /// When.
    pub(super) at: Duration,
    /// The Pipeline's workers.
    pub(super) workers: BTreeMap<String, Worker>,
    /// Whether most workers of all Pipelines are silent.
    pub(super) cut_off: bool,
}

/// Judges a Pipeline's workers by its own patience, and the operator by all that are there.
pub(super) fn judge(
    pipeline: &Pipeline,
    scene: &Scene,
    key: &PipelineKey,
    context: &Context,
    memory: &Memory,
) -> Judged {
    let patience = patience(pipeline);
    let observed: BTreeMap<String, Observed> =
        scene.pods.iter().map(|(name, pod)| (name.clone(), observed(name, pod, scene, context, memory))).collect();
    context.reports.expect(key, patience, observed.clone());
    // Later than all reports that were looked at.
    let mut judge = Judge { now: context.now(), leader_since: Duration::ZERO, cut_off: false };
    let Attendance { overdue, workers } = context.reports.attendance(&judge, |at| context.since_epoch(at));
    judge.cut_off = liveness::is_cut_off(overdue, workers);
    let workers = scene.pods.iter().zip(observed.values()).map(|((name, pod), observed)| {
        let judgement = liveness::judge(observed, &patience, &judge);
        (name.clone(), worker(pod, judgement, scene.reports.get(name).map(|seen| &seen.report)))
    });
    Judged { at: judge.now, workers: workers.collect(), cut_off: judge.cut_off }
}

fn observed(name: &str, pod: &Pod, scene: &Scene, context: &Context, memory: &Memory) -> Observed {
    let remembered = memory.worker(name);
    Observed {
        pod: presence(pod),
        seen: remembered.seen,
        ended: remembered.ended,
        report: scene.reports.get(name).map(|seen| seen.last_report(context.since_epoch(seen.at))),
        shards: memory.progress(name, &scene.kafka.track),
    }
}

fn patience(pipeline: &Pipeline) -> Patience {
    let parse = |text: &str| build::duration::parse(text).unwrap_or(Duration::from_secs(5));
    Patience {
        worker_timeout: parse(&pipeline.spec.worker_timeout),
        interval: parse(&pipeline.spec.checkpoint.interval),
    }
}

fn worker(pod: &Pod, judgement: Judgement, report: Option<&WorkerReport>) -> Worker {
    Worker {
        standing: judgement.standing,
        why: judgement.message,
        revision: pod.labels().get(labels::REVISION).cloned().unwrap_or_default(),
        chain_hash: report.map(|report| report.chain_hash.clone()),
        wanted: true,
        generation: report.map_or(0, |report| report.generation),
        shards: report.iter().flat_map(|r| &r.shards).map(|shard| (shard.shard, shard.phase)).collect(),
    }
}

fn presence(pod: &Pod) -> liveness::Pod {
    match has_ended(pod) {
        true => liveness::Pod::Ended,
        false => liveness::Pod::Present { deleted: pod.metadata.deletion_timestamp.is_some() },
    }
}
