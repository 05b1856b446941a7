//! Carries out the deletion of a Pipeline with `deletionPolicy: Delete`, which a finalizer keeps for as long.
//!
//! ```text
//! observe → decide (decide/deletion.rs) → stop workers │ wait │ clear Kafka (removal.rs) │ let it go → tell
//! ```
//!
//! A Pipeline with `deletionPolicy: Retain` never has the finalizer; what it owns goes with it, by the API server's
//! garbage collection. Nothing here waits: what takes time is looked at again a moment later, so that no other Pipeline
//! is held up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use millstream::plan::pipeline::default_application_id;
use millstream_crds::pipeline::{DeletionPolicy, Mode};
use millstream_crds::{Pipeline, PipelineAssignment};

use crate::apply::{ApplyError, Writer};
use crate::build::Owned;
use crate::check::compiled;
use crate::context::Context;
use crate::decide::assignment::Assignment;
use crate::decide::deletion::{Facts, Farewell, Kafka, Step, Told, Workers, next, note, told};
use crate::decide::status::{self, PodFact};
use crate::events::{Happening, Kind, publish};
use crate::kafka;
use crate::memory::Memory;
use crate::observe::has_ended;
use crate::reconcile::{ON_ITS_WAY, ReconcileError};
use crate::removal::{Job, Remover};
use crate::reports::PipelineKey;
use crate::secrets::{self, Secrets};
use crate::tell::tell;

/// What keeps a Pipeline until its internal topics are deleted.
pub const FINALIZER: &str = "millstream.dev/internal-topics";

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often secrets are looked at for the connection to Kafka.
const CHECK_SECRETS: Duration = Duration::from_secs(15);

/// What is remembered of a deletion, while this replica leads.
#[derive(Debug)]
pub struct Ending {
    since: Instant,
    checked: Option<Instant>,
    /// Who clears Kafka, and of which revision with which secrets; or why nobody can.
    remover: Option<Result<(String, Remover), String>>,
}

impl Ending {
    fn begin() -> Self {
        Self { since: Instant::now(), checked: None, remover: None }
    }

    fn kafka(&self) -> Kafka {
        match &self.remover {
            None => Kafka::Untouched,
            Some(Ok((_, remover))) => remover.kafka(),
            Some(Err(why)) => Kafka::Blocked(why.clone()),
        }
    }
}

/// Puts the finalizer on a Pipeline that is to have it, before anything is made of it, and takes it off from one that is
/// not. Whether there was something to do: what was written comes back as a change.
pub async fn settle_finalizer(pipeline: &Pipeline, context: &Context) -> Result<bool, ApplyError> {
    let wanted = pipeline.spec.deletion_policy == DeletionPolicy::Delete;
    if is_kept(pipeline) == wanted {
        return Ok(false);
    }
    writer(pipeline, context).finalizer(pipeline, FINALIZER, wanted).await?;
    Ok(true)
}

/// Does the next step of a deletion.
pub async fn carry_out(pipeline: &Pipeline, key: &PipelineKey, context: &Context) -> Result<Action, ReconcileError> {
    if !is_kept(pipeline) {
        context.forget(key);
        return Ok(Action::await_change());
    }
    let memory = context.memory(key);
    let mut memory = memory.lock().await;
    // Where it has come to is of no interest any more.
    memory.observer = None;
    let scene = observe(pipeline, key, context);
    let facts = facts(pipeline, &scene, &mut memory);
    let step = next(&facts);
    match &step {
        Step::Release(farewell) => return release(pipeline, farewell, context, &mut memory).await,
        Step::Stop => stop(pipeline, &scene, key, context).await?,
        Step::Wait => {}
        Step::Clear => clear(pipeline, context, &mut memory).await,
    }
    let told = told(&facts, &step, &application_id(pipeline));
    tell(pipeline, &status_facts(pipeline, &scene, told), key, context, &mut memory).await?;
    context.succeeded(key);
    Ok(Action::requeue(LOOK))
}

fn is_kept(pipeline: &Pipeline) -> bool {
    pipeline.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

fn writer(pipeline: &Pipeline, context: &Context) -> Writer {
    Writer::new(&context.server, &pipeline.namespace().unwrap_or_default())
}

/// The name of everything in Kafka, known also where the manifest does not compile.
fn application_id(pipeline: &Pipeline) -> String {
    let default = || default_application_id(&pipeline.namespace().unwrap_or_default(), &pipeline.name_any());
    pipeline.spec.application_id.clone().unwrap_or_else(default)
}

/// What is there.
struct Scene {
    /// Pods that have not ended.
    pods: BTreeMap<String, Arc<Pod>>,
    deployments: BTreeMap<String, Arc<Deployment>>,
    stored: Option<Arc<PipelineAssignment>>,
    assignment: Assignment,
}

fn observe(pipeline: &Pipeline, key: &PipelineKey, context: &Context) -> Scene {
    let uid = pipeline.uid().unwrap_or_default();
    let stored = context.stores.assignment_of(key).filter(|stored| stored.spec.pipeline_uid == uid);
    // One that cannot be read makes nobody own anything.
    let assignment = stored.as_ref().and_then(|stored| Assignment::from_spec(&stored.spec).ok()).unwrap_or_default();
    let mut pods = context.stores.pods_of(key);
    pods.retain(|_, pod| !has_ended(pod));
    // Who is gone is silent, and that says nothing about other Pipelines' workers.
    context.reports.retain(key, |worker| pods.contains_key(worker));
    Scene { pods, deployments: context.stores.deployments_of(key), stored, assignment }
}

fn facts(pipeline: &Pipeline, scene: &Scene, memory: &mut Memory) -> Facts {
    let applied = memory.applied.as_ref().map(|(_, at)| at.elapsed());
    let ending = memory.ending.get_or_insert_with(Ending::begin);
    let had_revision = pipeline.status.as_ref().is_some_and(|status| status.active_revision.is_some());
    let is_owned = scene.assignment.let_go() != scene.assignment;
    let overdue = |pod: &Arc<Pod>| pod.metadata.deletion_timestamp.as_ref().map(|time| since(time.0));
    Facts {
        retain: pipeline.spec.deletion_policy == DeletionPolicy::Retain,
        had_workers: had_revision
            || applied.is_some()
            || scene.stored.is_some()
            || !scene.deployments.is_empty()
            || !scene.pods.is_empty(),
        deleted: pipeline.metadata.deletion_timestamp.as_ref().map_or(Duration::ZERO, |time| since(time.0)),
        tried: ending.since.elapsed(),
        workers: Workers {
            unsettled: applied.is_some_and(|ago| ago < ON_ITS_WAY),
            at_work: is_owned || to_be_deleted(scene).next().is_some(),
            deployments: scene.deployments.len(),
            // The time that a pod is deleted at is the end of its grace period.
            pods: scene.pods.iter().map(|(name, pod)| (name.clone(), overdue(pod))).collect(),
        },
        kafka: ending.kafka(),
    }
}

/// The time since a moment; none if it is yet to come.
fn since(moment: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(moment)).unwrap_or_default()
}

fn to_be_deleted(scene: &Scene) -> impl Iterator<Item = &str> {
    let left = scene.deployments.iter().filter(|(_, deployment)| deployment.metadata.deletion_timestamp.is_none());
    left.map(|(name, _)| name.as_str())
}

/// Workers make a last checkpoint when they own nothing any more, and end without waiting for others.
async fn stop(pipeline: &Pipeline, scene: &Scene, key: &PipelineKey, context: &Context) -> Result<(), ApplyError> {
    let writer = writer(pipeline, context);
    let let_go = scene.assignment.let_go();
    if let Some(stored) = scene.stored.as_ref().filter(|_| let_go != scene.assignment) {
        writer.replace_assignment(stored, let_go.to_spec(&pipeline.uid().unwrap_or_default())).await?;
        context.reports.assigned(key, let_go.generation);
    }
    for deployment in to_be_deleted(scene) {
        writer.stop(deployment).await?;
    }
    Ok(())
}

/// Has somebody clear Kafka, with the secrets as they are now.
async fn clear(pipeline: &Pipeline, context: &Context, memory: &mut Memory) {
    let checked = memory.ending.as_ref().and_then(|ending| ending.checked);
    if checked.is_some_and(|at| at.elapsed() < CHECK_SECRETS) {
        return;
    }
    let found = with_secrets(pipeline, context, memory).await;
    let Some(ending) = &mut memory.ending else { return };
    ending.checked = Some(Instant::now());
    let current = ending.remover.as_ref().and_then(|remover| remover.as_ref().ok()).map(|(of, _)| of);
    match found {
        Ok((owned, secrets)) => {
            // Whoever mends the connection meanwhile, in the spec or in a Secret, is heard.
            let of = format!("{} {}", owned.revision(), secrets.digest);
            if current != Some(&of) {
                ending.remover = Some(start(&owned, secrets).map(|remover| (of, remover)));
            }
        }
        // Who is at it goes on.
        Err(_) if current.is_some() => {}
        Err(why) => ending.remover = Some(Err(why)),
    }
}

/// What is to be cleared, and the secrets for it; or why that is not known.
async fn with_secrets(pipeline: &Pipeline, context: &Context, memory: &mut Memory) -> Result<(Owned, Secrets), String> {
    let owned = compiled(pipeline, context, memory).await.map_err(|error| error.to_string())?;
    let owned = owned.map_err(|refused| format!("{}: {}", refused.reason, refused.message))?;
    let secrets = secrets::read(&context.server, &owned).await;
    let secrets = secrets.map_err(|error| format!("the Secrets of the connections cannot be read: {error}"))?;
    Ok((owned, secrets))
}

fn start(owned: &Owned, secrets: Secrets) -> Result<Remover, String> {
    let pipeline = kafka::compiled(owned.manifest()).ok_or("the manifest compiles in a child, and not here")?;
    let job = Job { pipeline, uid: owned.uid().to_owned(), secrets: secrets.store };
    Remover::start(job).map_err(|error| format!("a thread cannot be started: {error}"))
}

/// Lets the Pipeline go, and says what is left.
async fn release(
    pipeline: &Pipeline,
    farewell: &Farewell,
    context: &Context,
    memory: &mut Memory,
) -> Result<Action, ReconcileError> {
    if *farewell == Farewell::Retained {
        // Who is at it stops.
        memory.ending = None;
    }
    // Once only: what is written here comes back while the memory is still there.
    let released = writer(pipeline, context).finalizer(pipeline, FINALIZER, false).await?;
    if let Some(note) = note(farewell, &application_id(pipeline)).filter(|_| released) {
        let kind = if note.warning { Kind::Warning } else { Kind::Normal };
        tracing::info!(pipeline = pipeline.name_any(), reason = note.reason, "{}", note.text);
        let happening = Happening { kind, reason: note.reason, action: "Deleting", note: &note.text };
        publish(&context.server, &context.settings.pod, pipeline, happening).await;
    }
    Ok(Action::await_change())
}

/// What the status is made of meanwhile. The revision stays, since it tells that there were workers.
fn status_facts(pipeline: &Pipeline, scene: &Scene, told: Told) -> status::Facts {
    let before = pipeline.status.as_ref();
    status::Facts {
        generation: pipeline.metadata.generation.unwrap_or(0),
        batch: pipeline.spec.mode == Mode::Batch,
        revision: before.and_then(|status| status.active_revision.clone()),
        assignment: scene.assignment.clone(),
        pods: scene.pods.keys().map(|name| (name.clone(), PodFact::default())).collect(),
        deletion: Some(told),
        ..status::Facts::default()
    }
}
