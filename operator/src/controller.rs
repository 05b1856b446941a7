//! The controller of one scope: a namespace, or all. Whatever has changed about a Pipeline causes a reconcile of it.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use millstream::cluster::WatchBackoff;
use millstream_crds::PipelineStatus;

use crate::apply::Writer;
use crate::backoff::delay;
use crate::context::Context;
use crate::decide::status::{Facts, Refused, status};
use crate::metrics::{Outcome, Step};
use crate::observe::{Guarded, scoped};
use crate::reconcile::{Laps, ReconcileError, reconcile};
use crate::reports::PipelineKey;

/// Runs until it is dropped.
pub async fn run(context: Arc<Context>, namespace: Option<String>, news: UnboundedReceiver<ObjectRef<Guarded>>) {
    let stores = context.stores.clone();
    // A decision over half of what is there would be a wrong one.
    let filled = futures::join!(
        stores.pods.wait_until_ready(),
        stores.deployments.wait_until_ready(),
        stores.assignments.wait_until_ready()
    );
    if let (Err(_), _, _) | (_, Err(_), _) | (_, _, Err(_)) = filled {
        return;
    }
    let pipelines = scoped::<Guarded>(&context.server, namespace.as_deref());
    let concurrency = context.settings.concurrency;
    Controller::new(pipelines, watcher::Config::default())
        .with_config(controller::Config::default().concurrency(concurrency))
        .trigger_backoff(WatchBackoff::default())
        .reconcile_on(news)
        .run(guarded, after_error, Arc::clone(&context))
        .for_each(|outcome| {
            match outcome {
                Err(controller::Error::ObjectNotFound(gone)) => {
                    context.forget(&PipelineKey { namespace: gone.namespace.unwrap_or_default(), name: gone.name });
                }
                Err(controller::Error::QueueError(error)) => {
                    context.server.interrupted::<Guarded>(&error);
                    tracing::warn!("the watch of Pipelines was interrupted: {error}; it begins again");
                }
                _ => {}
            }
            futures::future::ready(())
        })
        .await;
}

async fn guarded(pipeline: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let outcome = match &pipeline.0 {
        Ok(readable) => reconcile(Arc::new(readable.clone()), Arc::clone(&context)).await,
        Err(unreadable) => refuse(&pipeline, &unreadable.error, &context).await,
    };
    let word = outcome.as_ref().err().map_or(Outcome::Ok, ReconcileError::outcome);
    context.metrics.reconciled(word, started.elapsed());
    outcome
}

/// A Pipeline that cannot be read is told so, and left as it is.
async fn refuse(pipeline: &Guarded, error: &str, context: &Context) -> Result<Action, ReconcileError> {
    let message = format!("this operator cannot read the Pipeline: {error}; is the operator older than the CRD?");
    let facts = Facts {
        generation: pipeline.meta().generation.unwrap_or(0),
        refused: Some(Refused { reason: "Unreadable", message }),
        ..Facts::default()
    };
    let told: PipelineStatus = status(&facts, None, jiff::Timestamp::now());
    let writer = Writer::new(&context.server, &pipeline.namespace().unwrap_or_default());
    let mut laps = Laps::begin(&context.metrics);
    laps.ended(Step::Status, writer.status(&pipeline.name_any(), &told).await)?;
    Ok(Action::await_change())
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it like this")]
fn after_error(pipeline: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let key = PipelineKey::of(&*pipeline);
    match error.outcome() {
        // Somebody was quicker; what he wrote is on its way here.
        Outcome::Conflict => tracing::debug!(pipeline = key.name, "{error}"),
        _ => tracing::warn!(pipeline = key.name, "{}", chain(error)),
    }
    Action::requeue(delay(context.failures(&key)))
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
