//! observe → decide → apply, for one Pipeline.
//!
//! Everything is observed from memory: watched objects and reports. Everything is decided by pure functions. Only what
//! differs is written. An error ends this reconcile and causes another one; it never concerns another Pipeline.

mod measure;
mod steps;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use millstream_crds::pipeline::Mode;
use millstream_crds::report::ShardPhase;
use millstream_crds::{Pipeline, PipelineAssignment};
use sha2::{Digest, Sha256};

pub use self::steps::Laps;
use crate::apply::{ApplyError, Writer};
use crate::build::{self, Owned, labels};
use crate::check::check;
use crate::compile::CompileError;
use crate::context::Context;
use crate::decide::assign::assign;
use crate::decide::assignment::{Assignment, AssignmentError, Shard};
use crate::decide::durations::Arrival;
use crate::decide::moves::Move;
use crate::decide::quarantine::{self, Verdict};
use crate::decide::status::{Facts, PodFact, Refused, is_true};
use crate::decide::view::{Standing, View};
use crate::decide::{rollout, surplus};
use crate::deletion;
use crate::kafka::{self, Observer};
use crate::memory::Memory;
use crate::metrics::{Outcome, Step};
use crate::observe::trouble;
use crate::progress::Track;
use crate::reports::{PipelineKey, Seen};
use crate::secrets;
use crate::tell::tell;

/// How often a Pipeline is looked at though nothing has happened: silence is only seen by looking.
const LOOK: Duration = Duration::from_secs(1);
/// How often one that is not to run is looked at.
const LOOK_RARELY: Duration = Duration::from_mins(5);
/// How often the owned objects are applied though they should be as they were: somebody may have changed one.
const APPLY_AGAIN: Duration = Duration::from_mins(5);
/// How long it takes at most until a write is seen by the watches.
pub const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How often secrets are looked at for the operator's own connection.
const CHECK_OBSERVER: Duration = Duration::from_secs(15);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The compiler cannot be asked.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The assignment cannot be read.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The API server refused a write.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl ReconcileError {
    /// How the reconcile ended.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Apply(error) if error.is_conflict() => Outcome::Conflict,
            _ => Outcome::Error,
        }
    }
}

/// Makes one Pipeline what it should be.
pub async fn reconcile(pipeline: Arc<Pipeline>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let key = PipelineKey::of(&*pipeline);
    if pipeline.metadata.deletion_timestamp.is_some() {
        return deletion::carry_out(&pipeline, &key, &context).await;
    }
    if deletion::settle_finalizer(&pipeline, &context).await? {
        return Ok(Action::await_change());
    }
    let memory = context.memory(&key);
    let mut memory = memory.lock().await;
    let mut laps = Laps::begin(&context.metrics);
    let owned = laps.ended(Step::Compile, check(&pipeline, &context, &mut memory).await)?;
    if let Ok(owned) = &owned {
        look_at_kafka(owned, &key, &context, &mut memory).await;
    }
    laps.passed(Step::Kafka);
    let scene = laps.ended(Step::Observe, observe(&pipeline, &key, &context, &mut memory))?;
    let plan = decide(&pipeline, owned, scene, &key, &context, &mut memory);
    laps.passed(Step::Decide);
    measure::measure(&plan, &key, &context);
    laps.ended(Step::Apply, apply(&plan, &key, &context, &mut memory).await)?;
    laps.ended(Step::Status, tell(&pipeline, &plan.facts, &key, &context, &mut memory).await)?;
    context.succeeded(&key);
    Ok(Action::requeue(plan.look_again))
}

/// Has somebody look at the positions in Kafka, once the number of shards is known.
async fn look_at_kafka(owned: &Owned, key: &PipelineKey, context: &Context, memory: &mut Memory) {
    let assignment = context.stores.assignment_of(key);
    let shards = assignment.map_or(0, |assignment| assignment.spec.shards.len() as u32);
    let checked = memory.observer_checked.is_some_and(|at| at.elapsed() < CHECK_OBSERVER);
    if shards == 0 || checked {
        return;
    }
    memory.observer_checked = Some(Instant::now());
    let secrets = match secrets::read(&context.server, owned).await {
        Ok(secrets) => secrets,
        Err(error) => return tracing::debug!(pipeline = owned.name(), "positions cannot be looked at: {error}"),
    };
    let digest = format!("{shards} {} {}", owned.revision().as_str(), secrets.digest);
    if memory.observer.as_ref().is_some_and(|(of, _)| *of == digest) {
        return;
    }
    let compiled = crate::kafka::compiled(owned.manifest());
    let started = compiled.map(|pipeline| Observer::start(pipeline, secrets.store, shards, context.epoch));
    match started {
        Some(Ok(observer)) => memory.observer = Some((digest, observer)),
        Some(Err(error)) => tracing::warn!(pipeline = owned.name(), "positions cannot be looked at: {error}"),
        None => tracing::warn!(pipeline = owned.name(), "the manifest compiles in a child, and not here"),
    }
}

/// What is there.
struct Scene {
    pods: BTreeMap<String, Arc<Pod>>,
    reports: BTreeMap<String, Seen>,
    /// The Deployments' revisions, by name, with their replicas.
    revisions: BTreeMap<String, (String, i32)>,
    stored: Option<Arc<PipelineAssignment>>,
    assignment: Assignment,
    kafka: kafka::Seen,
}

fn observe(
    pipeline: &Pipeline,
    key: &PipelineKey,
    context: &Context,
    memory: &mut Memory,
) -> Result<Scene, AssignmentError> {
    let uid = pipeline.uid().unwrap_or_default();
    let pods = context.stores.pods_of(key);
    context.reports.retain(key, |worker| pods.contains_key(worker));
    let mut reports = context.reports.of(key);
    reports.retain(|_, seen| seen.report.uid == uid);
    memory.follow(&pods, &reports, context.now(), |at| context.since_epoch(at));
    // That of a former Pipeline of the same name goes with it.
    let stored = context.stores.assignment_of(key).filter(|stored| stored.spec.pipeline_uid == uid);
    let assignment = stored.as_ref().map(|stored| Assignment::from_spec(&stored.spec)).transpose()?.unwrap_or_default();
    memory.pending.observe(&assignment, context.now());
    memory.owners(&assignment, context.now());
    let kafka = memory.observer.as_ref().map(|(_, observer)| observer.seen()).unwrap_or_default();
    let kafka = if kafka.track.is_current(context.now()) { kafka } else { kafka::Seen::default() };
    let revisions = context.stores.deployments_of(key).into_iter().filter_map(|(name, deployment)| {
        let revision = deployment.labels().get(labels::REVISION)?.clone();
        Some((name, (revision, deployment.spec.as_ref()?.replicas.unwrap_or(0))))
    });
    let scene = Scene { revisions: revisions.collect(), pods, reports, stored, assignment, kafka };
    memory.loads.measure(&loads(&scene), context.now());
    Ok(scene)
}

/// What is to be done.
struct Plan {
    /// What to build from; None if the spec cannot be used: then nothing is built, and what runs goes on.
    owned: Option<Owned>,
    /// The replicas of the Deployment of the spec's revision.
    replicas: usize,
    /// Pods to go first when the Deployment shrinks.
    cheap: BTreeSet<String>,
    /// The replicas that the Deployment of the spec's revision has now, if it is there.
    replicas_now: Option<i32>,
    /// Deployments of revisions that are over.
    over: Vec<String>,
    /// The assignment that is there, and the one that is to be.
    stored: Option<Arc<PipelineAssignment>>,
    assignment: Assignment,
    assignment_changed: bool,
    moves: Vec<Move>,
    /// Moves that have come to their end.
    arrivals: Vec<Arrival>,
    facts: Facts,
    /// The positions in Kafka.
    track: Track,
    report_age: Duration,
    look_again: Duration,
}

fn decide(
    pipeline: &Pipeline,
    owned: Result<Owned, Refused>,
    scene: Scene,
    key: &PipelineKey,
    context: &Context,
    memory: &mut Memory,
) -> Plan {
    let wanted = wanted_replicas(pipeline);
    let mut view = view(pipeline, &scene, key, context, memory);
    let target = owned.as_ref().map(|owned| owned.revision().as_str().to_owned()).ok();
    let current = pipeline.status.as_ref().and_then(|status| status.active_revision.clone());
    let target = target.or_else(|| current.clone()).unwrap_or_default();
    view.revision = rollout::active(&view, &target, current.as_deref(), wanted).to_owned();
    if memory.runs(&view.revision) {
        view.verdict = Verdict::default();
    }
    let too_many = surplus(&scene.assignment, &view, wanted);
    for (name, worker) in &mut view.workers {
        worker.wanted = !too_many.contains(name);
    }
    let (assignment, moves, due) = next_assignment(&scene, &view, wanted);
    let there = view.workers.values().filter(|worker| worker.revision == target).count();
    let replicas = match (wanted, target == view.revision) {
        (0, _) if is_let_go(&scene) => 0,
        (0, _) => there,
        (wanted, true) => rollout::replicas(&scene.assignment, wanted, there, &too_many),
        (wanted, false) => wanted,
    };
    if wanted == 0 {
        memory.durations.clear();
    }
    let arrivals = memory.durations.finish(&scene.assignment, &view);
    let at_rest = scene.pods.is_empty() && (pipeline.spec.suspend || owned.is_err());
    Plan {
        facts: facts(pipeline, &owned, &scene, &view, &assignment, wanted),
        owned: owned.ok(),
        replicas,
        cheap: if replicas < there { too_many } else { BTreeSet::new() },
        replicas_now: scene.revisions.values().find(|(revision, _)| *revision == target).map(|(_, replicas)| *replicas),
        over: over(&scene, &view, &target),
        assignment_changed: assignment.generation != scene.assignment.generation,
        report_age: scene.reports.values().map(|seen| seen.at.elapsed()).max().unwrap_or_default(),
        track: scene.kafka.track,
        stored: scene.stored,
        assignment,
        moves,
        arrivals,
        look_again: if at_rest { LOOK_RARELY } else { soon(due, context.now()) },
    }
}

/// What the assignment is to be, with the moves that lead there, and when to decide again.
fn next_assignment(scene: &Scene, view: &View, wanted: usize) -> (Assignment, Vec<Move>, Option<Duration>) {
    if wanted == 0 {
        return (scene.assignment.let_go(), Vec::new(), None);
    }
    let decision = assign(&with_all_shards(&scene.assignment, view.shards), view);
    (decision.assignment, decision.moves, decision.look_again)
}

/// The Deployments whose revision is neither wanted nor in use, and whose workers have let everything go.
fn over(scene: &Scene, view: &View, target: &str) -> Vec<String> {
    let is_over = |revision: &str| {
        let mut workers = view.workers.iter().filter(|(_, worker)| worker.revision == revision);
        revision != target
            && revision != view.revision
            && workers.all(|(name, _)| !rollout::is_involved(&scene.assignment, name))
    };
    scene.revisions.iter().filter(|(_, (revision, _))| is_over(revision)).map(|(name, _)| name.clone()).collect()
}

/// The time until the next look, `due` being when something is to be decided at the latest.
fn soon(due: Option<Duration>, now: Duration) -> Duration {
    due.map_or(LOOK, |due| due.saturating_sub(now).clamp(Duration::from_millis(50), LOOK))
}

/// The number of workers that there should be.
fn wanted_replicas(pipeline: &Pipeline) -> usize {
    let complete = pipeline.status.as_ref().is_some_and(|status| is_true(status, "Complete"));
    if pipeline.spec.suspend || complete {
        return 0;
    }
    usize::try_from(pipeline.spec.replicas.unwrap_or(1)).unwrap_or(0)
}

/// Whether no worker holds anything any more.
fn is_let_go(scene: &Scene) -> bool {
    let held = |seen: &Seen| seen.report.shards.iter().any(|shard| shard.phase.is_held());
    let batch_done = |seen: &Seen| seen.report.shards.iter().all(|shard| shard.phase == ShardPhase::Complete);
    scene.assignment.shards.iter().all(|shard| shard.owner.is_none())
        && scene.reports.values().all(|seen| !held(seen) || batch_done(seen))
}

/// The first assignment has no shards: their number follows from Kafka, and workers tell it.
fn with_all_shards(assignment: &Assignment, shards: u32) -> Assignment {
    let mut assignment = assignment.clone();
    if assignment.shards.is_empty() {
        assignment.shards = vec![Shard::default(); shards as usize];
    }
    assignment
}

fn view(pipeline: &Pipeline, scene: &Scene, key: &PipelineKey, context: &Context, memory: &Memory) -> View {
    let judged = workers::judge(pipeline, scene, key, context, memory);
    let reported = scene.reports.values().find_map(|seen| seen.report.shard_count);
    let listed = scene.assignment.shards.len() as u32;
    View {
        now: judged.at,
        shards: if listed > 0 { listed } else { reported.unwrap_or(0) },
        revision: String::new(),
        workers: judged.workers,
        loads: memory.loads.taken().clone(),
        pending: memory.pending.all(),
        verdict: quarantine::judge(&memory.deaths, judged.at),
        hold: judged.cut_off,
    }
}

/// What each shard's owner says of its load.
fn loads(scene: &Scene) -> BTreeMap<u32, f64> {
    let owned = scene.assignment.numbered().filter_map(|(number, shard)| {
        let report = &scene.reports.get(shard.owner.as_ref()?)?.report;
        let told = report.shards.iter().find(|told| told.shard == number && told.phase.is_held())?;
        Some((number, told.busy_ratio))
    });
    owned.collect()
}

fn facts(
    pipeline: &Pipeline,
    owned: &Result<Owned, Refused>,
    scene: &Scene,
    view: &View,
    assignment: &Assignment,
    wanted: usize,
) -> Facts {
    let pods = scene.pods.iter().map(|(name, pod)| {
        let standing = view.workers.get(name).map_or(Standing::Unsure, |worker| worker.standing);
        (name.clone(), PodFact { standing, trouble: trouble(pod) })
    });
    Facts {
        generation: pipeline.metadata.generation.unwrap_or(0),
        refused: owned.as_ref().err().cloned(),
        suspended: pipeline.spec.suspend,
        batch: pipeline.spec.mode == Mode::Batch,
        replicas: i32::try_from(wanted).unwrap_or(i32::MAX),
        revision: (!view.revision.is_empty()).then(|| view.revision.clone()),
        assignment: assignment.clone(),
        shards: (view.shards > 0).then_some(view.shards),
        pods: pods.collect(),
        reports: scene.reports.iter().map(|(name, seen)| (name.clone(), seen.report.clone())).collect(),
        verdict: view.verdict.clone(),
        partitions: scene.kafka.track.partitions.clone(),
        deletion: None,
        lag: scene.kafka.track.lag(),
        last_scaling: None,
    }
}

async fn apply(plan: &Plan, key: &PipelineKey, context: &Context, memory: &mut Memory) -> Result<(), ApplyError> {
    let writer = Writer::new(&context.server, &key.namespace);
    if let Some(owned) = &plan.owned {
        apply_assignment(plan, owned, &writer, context, key, memory).await?;
        for pod in &plan.cheap {
            writer.cheap_to_delete(pod).await?;
        }
        apply_objects(owned, plan, &writer, memory).await?;
    }
    for name in &plan.over {
        writer.remove_revision(name).await?;
    }
    Ok(())
}

async fn apply_assignment(
    plan: &Plan,
    owned: &Owned,
    writer: &Writer,
    context: &Context,
    key: &PipelineKey,
    memory: &mut Memory,
) -> Result<(), ApplyError> {
    let Some(stored) = &plan.stored else {
        return writer.create_assignment(&build::assignment(owned)).await;
    };
    if plan.assignment_changed {
        writer.replace_assignment(stored, plan.assignment.to_spec(owned.uid())).await?;
        memory.pending.observe(&plan.assignment, context.now());
        measure::moved(plan, key, context, memory);
    }
    context.reports.assigned(key, plan.assignment.generation);
    Ok(())
}

async fn apply_objects(owned: &Owned, plan: &Plan, writer: &Writer, memory: &mut Memory) -> Result<(), ApplyError> {
    let replicas = i32::try_from(plan.replicas).unwrap_or(i32::MAX);
    let deployment = build::deployment(owned, replicas);
    let text = serde_json::to_vec(&deployment).unwrap_or_default();
    let digest = format!("{:x?}", Sha256::digest(&text));
    // What was changed or deleted by somebody else is put right; what was written just now is on its way here.
    let patience = if plan.replicas_now == Some(replicas) { APPLY_AGAIN } else { ON_ITS_WAY };
    if memory.applied.as_ref().is_some_and(|(last, at)| *last == digest && at.elapsed() < patience) {
        return Ok(());
    }
    writer.apply(&build::service_account(owned)).await?;
    writer.apply(&build::role(owned)).await?;
    writer.apply(&build::role_binding(owned)).await?;
    writer.apply(&build::config_map(owned)).await?;
    writer.apply(&deployment).await?;
    writer.apply(&build::pod_disruption_budget(owned)).await?;
    writer.apply(&build::service(owned)).await?;
    memory.applied = Some((digest, Instant::now()));
    Ok(())
}
