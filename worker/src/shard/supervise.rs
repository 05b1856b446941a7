//! The thread of a shard: runs, and takes over again after trouble, as long as the shard is ours.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Trouble;
use super::isolation::Isolation;
use super::ownership::{Ownership, still_assigned};
use super::rotation::AfterDenial;
use super::run::Ended;
use super::shard::{Identity, Shard};
use super::shared::Shared;
use super::status::ShardState;
use super::takeover::take_over;
use super::tenure::Tenure;
use crate::kafka::KafkaError;
use crate::metrics::{TakeoverReason, TransactionOutcome};

/// The first wait before another takeover; it doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait before another takeover.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long shard 0 waits after it was fenced: who fenced it writes its header meanwhile, and is then left the pipeline.
/// Taking back at once would fence a successor in the middle of its takeover, and be fenced by the next one.
const FENCED_BACKOFF: Duration = Duration::from_secs(3);
/// A run that lasted this long was a good one: the next trouble is a new one.
const GOOD_RUN: Duration = Duration::from_secs(30);

/// How a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked to stop.
    Released,
    /// A batch has reached its ends; `before`: it had when the shard was taken over.
    Complete {
        /// Whether it was complete already.
        before: bool,
    },
    /// It cannot go on.
    Failed(String),
    /// Another process has taken over.
    Lost(String),
}

/// What follows from the end of a run.
enum Next {
    End(End),
    Again(TakeoverReason, String),
}

/// Runs a shard to its end. Panics end the shard, not the process.
pub fn shard_thread(shard: u32, tenure: &Arc<Tenure>, shared: &Arc<Shared>) -> End {
    let (pipeline, generation) = (&shared.pipeline.name, tenure.generation());
    let span = tracing::info_span!(parent: None, "shard", pipeline, shard, generation);
    let _entered = span.enter();
    match catch_unwind(AssertUnwindSafe(|| run_shard(shard, tenure, shared))) {
        Ok(end) => end,
        Err(panic) => End::Failed(format!("shard {shard} panicked: {}; this is a defect of Millstream", words(&panic))),
    }
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}

fn run_shard(shard: u32, tenure: &Arc<Tenure>, shared: &Arc<Shared>) -> End {
    let mut identity = Identity {
        id: shard,
        shared: Arc::clone(shared),
        tenure: Arc::clone(tenure),
        metrics: shared.metrics.shard(shard),
        thread: shared.watchdog.thread(&format!("shard-{shard}")),
        isolation: Isolation::default(),
        held: None,
        access: shared.rotation.newest(),
        turn: None,
    };
    let first = if tenure.generation() == 0 { TakeoverReason::Start } else { TakeoverReason::Assigned };
    let (mut backoff, mut reason) = (FIRST_BACKOFF, first);
    loop {
        let started = Instant::now();
        identity.metrics.takeover(reason);
        let why = match run_once(&mut identity) {
            Next::End(end) => return end,
            Next::Again(next, why) => {
                reason = next;
                why
            }
        };
        if reason == TakeoverReason::Rotation {
            // Nothing went wrong, or what did is over.
            tracing::info!("{why}; the clients are made anew");
            continue;
        }
        identity.turn = None;
        if started.elapsed() > GOOD_RUN {
            backoff = FIRST_BACKOFF;
        }
        let wait =
            if decides(&identity) && reason == TakeoverReason::Fenced { backoff.max(FENCED_BACKOFF) } else { backoff };
        tracing::warn!("{why}; taking the shard over again in {wait:?}");
        shared.set_state(shard, ShardState::Waiting(why));
        if tenure.sleep(wait) {
            return End::Released;
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// Whether the shard decides which of two processes goes on.
fn decides(identity: &Identity) -> bool {
    identity.id == 0 && matches!(identity.shared.ownership, Ownership::Whole(_))
}

fn run_once(identity: &mut Identity) -> Next {
    let trouble = match take_over(identity) {
        Ok(mut shard) => {
            let before = shard.was_complete;
            match shard.run() {
                Ok(Ended::Released) => return Next::End(End::Released),
                Ok(Ended::Complete) if decides(shard.identity) => match shard.serve_others() {
                    Ok(()) => return Next::End(End::Complete { before }),
                    Err(trouble) => trouble,
                },
                Ok(Ended::Complete) => return Next::End(End::Complete { before }),
                Err(trouble) => trouble,
            }
        }
        Err(trouble) => trouble,
    };
    identity.metrics.open_transaction(None);
    after(identity, trouble)
}

fn after(identity: &Identity, trouble: Trouble) -> Next {
    let shared = &identity.shared;
    match trouble {
        Trouble::Stop(why) => Next::End(End::Failed(why)),
        Trouble::Denied(error) => after_denial(identity, &error),
        Trouble::Renew => Next::Again(TakeoverReason::Rotation, "the secrets have changed".to_owned()),
        Trouble::Asked => Next::End(End::Released),
        Trouble::Lost(why) => {
            if let Ownership::Whole(confirm) = &shared.ownership {
                confirm.lost();
            }
            Next::End(End::Lost(why))
        }
        _ if identity.tenure.asked() => {
            tracing::warn!("stopped without a last checkpoint: what was not committed is read again by the next owner");
            Next::End(End::Released)
        }
        Trouble::Refused(error) => Next::Again(TakeoverReason::Error, error.to_string()),
        Trouble::Restart(why) => Next::Again(TakeoverReason::Error, why),
        Trouble::Fenced(error) => after_fence(identity, &error.to_string()),
    }
}

/// Waiting does not help, other secrets may.
fn after_denial(identity: &Identity, error: &KafkaError) -> Next {
    match identity.shared.rotation.after_denial(identity.access.version, error) {
        AfterDenial::Again => Next::Again(TakeoverReason::Rotation, error.to_string()),
        AfterDenial::Later(why) => Next::Again(TakeoverReason::Error, why),
        AfterDenial::Stop(why) => Next::End(End::Failed(why)),
    }
}

/// Shard 0 looks at the header's run id when it is taken again, the others ask shard 0; in a cluster the assignment
/// says whether the shard is to be taken again.
fn after_fence(identity: &Identity, why: &str) -> Next {
    identity.metrics.transaction(TransactionOutcome::Fenced);
    let (still_ours, who) = match &identity.shared.ownership {
        Ownership::Whole(_) if identity.id == 0 => (Some(true), ""),
        Ownership::Whole(confirm) => {
            (confirm.ask(identity.tenure.stop()), "another process has taken the pipeline over")
        }
        Ownership::Assigned(source) => {
            let ours = still_assigned(&**source, identity.id, &identity.tenure);
            (ours, "another worker has taken the shard over, as the assignment says")
        }
    };
    match still_ours {
        Some(true) => Next::Again(TakeoverReason::Fenced, why.to_owned()),
        Some(false) => Next::End(End::Lost(who.to_owned())),
        None => Next::End(End::Released),
    }
}

impl Shard<'_> {
    /// Shard 0 of a complete batch: goes on answering the others' questions until all are complete.
    fn serve_others(&mut self) -> Result<(), Trouble> {
        let shared = Arc::clone(self.shared());
        shared.set_state(self.identity.id, ShardState::Complete);
        while !self.identity.tenure.asked()
            && !shared.status.all().iter().all(|status| status.state == ShardState::Complete)
        {
            if self.open_question().is_some() {
                self.checkpoint()?;
            }
            self.follow_secrets()?;
            self.identity.tenure.sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
