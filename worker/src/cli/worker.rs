//! `millstream worker`: the shards of a Pipeline that the assignment gives to this worker, until it is asked to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::WorkerArguments;
use super::progress::Screen;
use super::run::{Job, exit_of, read, stop_signals};
use super::{Exit, Failure, logging};
use crate::cluster::{Identity, Link, Observed, OperatorAddress};
use crate::plan::CompiledPipeline;
use crate::shard::{Outcome, RunOptions, SecretStore, ShardState, ShardStatus};

/// How often signals and states are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Runs the command.
pub(super) fn run(arguments: &WorkerArguments) -> anyhow::Result<Exit> {
    logging::start(arguments.log_format, "info", &Screen::new())?;
    let Some(pipeline) = read(&arguments.manifest, None, arguments.log_format)? else { return Ok(Exit::Problems) };
    let stop = stop_signals()?;
    let mut link = Link::new(identity(arguments, &pipeline)).map_err(|error| Failure::Stopped(error.to_string()))?;
    let options = RunOptions {
        uid: arguments.uid.clone(),
        memory_bytes: arguments.memory,
        rack: arguments.rack.clone(),
        assigned: Some(link.assignments()),
        ..RunOptions::local(arguments.secrets.as_ref().map(SecretStore::directory).unwrap_or_default())
    };
    let job = Job::start(pipeline, options, arguments.metrics)?;
    let observed = Observed { board: Arc::clone(job.runner().board()), metrics: Arc::clone(job.metrics()) };
    link.start(address(arguments).as_ref(), observed).context("the cluster")?;
    let outcome = follow(&job, &link, &stop, Duration::from_secs(arguments.grace) / 2);
    tell(&outcome);
    Ok(exit_of(&outcome))
}

fn identity(arguments: &WorkerArguments, pipeline: &CompiledPipeline) -> Identity {
    Identity {
        namespace: arguments.namespace.clone(),
        pipeline: arguments.assignment.clone(),
        uid: arguments.uid.clone(),
        worker: arguments.worker.clone(),
        revision: arguments.revision.clone(),
        chain_hash: pipeline.chain_hash.clone(),
        run: uuid::Uuid::new_v4().to_string(),
    }
}

fn address(arguments: &WorkerArguments) -> Option<OperatorAddress> {
    let WorkerArguments { operator: Some(url), operator_ca: Some(ca), token: Some(token), .. } = arguments else {
        return None;
    };
    Some(OperatorAddress { url: url.clone(), ca: ca.clone(), token: token.clone() })
}

/// Waits for the end. Asked to end, the worker says so and keeps its shards until others have them, or for `keep`.
fn follow(job: &Job, link: &Link, stop: &AtomicBool, keep: Duration) -> Outcome {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(outcome) = job.runner().wait(TICK) {
            return outcome;
        }
        if !stop.load(Ordering::Relaxed) {
            continue;
        }
        let since = *asked.get_or_insert_with(|| {
            tracing::info!("asked to end; the shards are kept until other workers have them, for at most {keep:?}");
            link.leave();
            Instant::now()
        });
        if since.elapsed() >= keep || !job.runner().status().iter().any(is_kept) {
            job.runner().stop();
        }
    }
}

/// Whether a shard is worth waiting for until another worker has it.
fn is_kept(status: &ShardStatus) -> bool {
    matches!(status.state, ShardState::Running | ShardState::Starting | ShardState::Waiting(_))
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Failed(reasons) => reasons.iter().for_each(|reason| tracing::error!("stopped: {reason}")),
        Outcome::Fenced(reason) => tracing::error!("fenced: {reason}"),
        Outcome::Stopped | Outcome::Complete | Outcome::AlreadyComplete => tracing::info!("ended"),
    }
}
