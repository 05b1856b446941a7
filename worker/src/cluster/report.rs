//! Reports to the operator: at once when a shard's state changes, otherwise every second when busy and more rarely when
//! idle. Each announces when the next one comes at the latest, so that silence can be told from rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use millstream_crds::report::{REPORT_PATH, ReportAnswer, ShardPhase, ShardReport, WorkerReport};

use super::Common;
use crate::metrics::{Metrics, ShardTotals};
use crate::shard::{ShardState, ShardStatus, StatusBoard};

/// The time between two reports of a busy worker.
const BUSY: Duration = Duration::from_secs(1);
/// The longest time between two reports of an idle one.
const IDLE: Duration = Duration::from_secs(2);
/// The least time between two reports, so that a burst of changes is told in a few.
const LEAST: Duration = Duration::from_millis(20);
/// The wait after a report that did not arrive.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What is told about.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The shards' states.
    pub board: Arc<StatusBoard>,
    /// The counts.
    pub metrics: Arc<Metrics>,
}

/// Sends the reports.
pub(super) struct Reporter {
    client: Client,
    common: Arc<Common>,
    observed: Observed,
    sequence: u64,
    last: Instant,
    totals: BTreeMap<u32, ShardTotals>,
    failing: bool,
}

impl Reporter {
    pub(super) fn new(client: Client, common: Arc<Common>, observed: Observed) -> Self {
        let last = Instant::now();
        Self { client, common, observed, sequence: 0, last, totals: BTreeMap::new(), failing: false }
    }

    /// Reports for ever.
    pub(super) async fn run(mut self) {
        loop {
            let (report, next) = self.report();
            let wait = if self.send(report).await { next } else { AFTER_FAILURE.min(next) };
            tokio::time::sleep(LEAST).await;
            tokio::select! {
                () = self.observed.board.changed().notified() => {}
                () = self.common.changed.notified() => {}
                () = tokio::time::sleep(wait.saturating_sub(LEAST)) => {}
            }
        }
    }

    fn report(&mut self) -> (WorkerReport, Duration) {
        let seconds = self.last.elapsed().as_secs_f64().max(0.001);
        self.last = Instant::now();
        let shard_count = self.observed.board.count();
        let mut statuses = self.observed.board.all();
        // Before the shards are known, the first one's place tells what the whole worker waits for.
        let error =
            shard_count.is_none().then(|| statuses.drain(..).find_map(|status| phase(&status.state).1)).flatten();
        let shards: Vec<ShardReport> = statuses.iter().map(|status| self.shard(status, seconds)).collect();
        self.totals.retain(|shard, _| statuses.iter().any(|status| status.shard == *shard));
        let records_per_second = shards.iter().map(|shard| shard.records_per_second).sum();
        let next = if records_per_second > 0.0 { BUSY } else { IDLE };
        self.sequence += 1;
        let identity = self.common.identity.clone();
        let report = WorkerReport {
            namespace: identity.namespace,
            pipeline: identity.pipeline,
            uid: identity.uid,
            worker: identity.worker,
            revision: identity.revision,
            chain_hash: identity.chain_hash,
            run: identity.run,
            sequence: self.sequence,
            generation: self.common.generation.load(Ordering::Acquire),
            next_report_millis: next.as_millis() as u64,
            leaving: self.common.leaving.load(Ordering::Acquire),
            shard_count,
            busy_ratio: shards.iter().map(|shard| shard.busy_ratio).sum(),
            records_per_second,
            shards,
            error,
        };
        (report, next)
    }

    fn shard(&mut self, status: &ShardStatus, seconds: f64) -> ShardReport {
        let now = self.observed.metrics.shard_totals(status.shard);
        let before = self.totals.insert(status.shard, now).unwrap_or(now);
        let (phase, message) = phase(&status.state);
        ShardReport {
            shard: status.shard,
            phase,
            message,
            checkpoint: status.checkpoint.map_or(0, |checkpoint| checkpoint.sequence),
            checkpoint_millis: status.checkpoint.map(|checkpoint| checkpoint.millis),
            records_per_second: (now.records - before.records).max(0.0) / seconds,
            busy_ratio: ((now.busy_seconds - before.busy_seconds) / seconds).clamp(0.0, 1.0),
        }
    }

    /// Whether it arrived.
    async fn send(&mut self, report: WorkerReport) -> bool {
        let body = serde_json::to_vec(&report).unwrap_or_default();
        let request = Request::post(REPORT_PATH).header("content-type", "application/json").body(body);
        let answer = match request {
            Ok(request) => self.client.request::<ReportAnswer>(request).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let failed_before = std::mem::replace(&mut self.failing, answer.is_err());
        match &answer {
            Ok(_) if failed_before => tracing::info!("reports arrive at the operator again"),
            Ok(_) => {}
            Err(why) if failed_before => tracing::debug!("no report to the operator: {why}"),
            Err(why) => tracing::warn!("no report to the operator: {why}; records flow on"),
        }
        answer.is_ok()
    }
}

/// A state in the words of reports.
fn phase(state: &ShardState) -> (ShardPhase, Option<String>) {
    match state {
        ShardState::Preparing => (ShardPhase::Preparing, None),
        ShardState::Prepared => (ShardPhase::Prepared, None),
        ShardState::Starting => (ShardPhase::Starting, None),
        ShardState::Waiting(what) => (ShardPhase::Waiting, Some(what.clone())),
        ShardState::Running => (ShardPhase::Running, None),
        ShardState::Complete => (ShardPhase::Complete, None),
        ShardState::Released => (ShardPhase::Released, None),
        ShardState::Stopped(why) => (ShardPhase::Stopped, Some(why.clone())),
    }
}
