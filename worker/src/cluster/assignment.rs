//! The assignment as this worker sees it: watched, and read afresh after a fence.
//!
//! Nothing that is missing, refused or of another Pipeline is taken for "no shards": then what is held stays held, and
//! whoever should have it takes it over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use millstream_crds::{PipelineAssignment, PipelineAssignmentSpec};
use tokio::runtime::Handle;

use super::{Common, Identity, WatchBackoff};
use crate::shard::{Assignment, AssignmentSource, Claim, Grant};

/// How long a fresh look may take.
const LOOK: Duration = Duration::from_secs(5);

/// What an assignment says about this worker; None if it belongs to another Pipeline of the same name.
pub(super) fn claims(identity: &Identity, spec: &PipelineAssignmentSpec) -> Option<Assignment> {
    if spec.pipeline_uid != identity.uid {
        return None;
    }
    let is_me = |worker: &Option<String>| worker.as_deref() == Some(identity.worker.as_str());
    let mut claims = BTreeMap::new();
    for shard in &spec.shards {
        let claim = if is_me(&shard.owner) {
            let handed_over = shard.former.is_some() && !is_me(&shard.former);
            Claim::Owner(Grant { generation: spec.generation, handed_over, started: shard.started })
        } else if is_me(&shard.next) {
            Claim::Standby
        } else {
            continue;
        };
        claims.insert(shard.shard as u32, claim);
    }
    Some(Assignment { generation: spec.generation, claims })
}

/// Watches the assignment for ever.
pub(super) async fn watch(common: Arc<Common>, api: Api<PipelineAssignment>, seen: Sender<Assignment>) {
    let only = watcher::Config::default().fields(&format!("metadata.name={}", common.identity.pipeline));
    let mut stream = watcher(api, only).backoff(WatchBackoff::default()).boxed();
    let mut told = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                told = false;
                follow(&common, &object.spec, &seen);
            }
            Ok(watcher::Event::Delete(_)) => {
                tracing::warn!("the assignment was deleted; what is held stays held");
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) if told => tracing::debug!("the assignment cannot be watched: {error}"),
            Err(error) => {
                told = true;
                tracing::warn!("the assignment cannot be watched: {error}; what is held stays held");
            }
        }
    }
}

fn follow(common: &Common, spec: &PipelineAssignmentSpec, seen: &Sender<Assignment>) {
    match claims(&common.identity, spec) {
        Some(assignment) => {
            tracing::debug!(generation = assignment.generation, shards = assignment.claims.len(), "assignment");
            common.generation.fetch_max(assignment.generation, Ordering::AcqRel);
            // Nobody listens any more when the worker is about to end.
            drop(seen.send(assignment));
        }
        None => tracing::warn!(
            "the assignment is of a Pipeline with uid {}, this worker is of {}; what is held stays held",
            spec.pipeline_uid,
            common.identity.uid
        ),
    }
}

/// Reads the assignment from the API server, for threads that may block.
#[derive(Debug)]
pub(super) struct Source {
    common: Arc<Common>,
    api: Api<PipelineAssignment>,
    runtime: Handle,
    seen: Sender<Assignment>,
}

impl Source {
    pub(super) fn new(
        common: Arc<Common>,
        api: Api<PipelineAssignment>,
        runtime: Handle,
        seen: Sender<Assignment>,
    ) -> Self {
        Self { common, api, runtime, seen }
    }
}

impl AssignmentSource for Source {
    fn read(&self) -> Result<Assignment, String> {
        let name = self.common.identity.pipeline.as_str();
        let (send, receive) = crossbeam_channel::bounded(1);
        let api = self.api.clone();
        let asked = name.to_owned();
        // On the thread `cluster`, which drives the runtime; this one only waits.
        self.runtime.spawn(async move {
            let answer = tokio::time::timeout(LOOK, api.get(&asked)).await;
            let answer = match answer {
                Ok(Ok(object)) => Ok(object.spec),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the API server did not answer in time".to_owned()),
            };
            drop(send.send(answer));
        });
        let answer = receive.recv_timeout(LOOK + Duration::from_secs(1));
        let spec = answer.unwrap_or_else(|_| Err("the API server was not asked in time".to_owned()));
        let spec = spec.map_err(|why| format!("the assignment {name} cannot be read: {why}"))?;
        let assignment = claims(&self.common.identity, &spec)
            .ok_or_else(|| format!("the assignment {name} is of another Pipeline (uid {})", spec.pipeline_uid))?;
        drop(self.seen.send(assignment.clone()));
        Ok(assignment)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_crds::ShardAssignment;

    use super::*;

    fn identity() -> Identity {
        Identity {
            namespace: "n".into(),
            pipeline: "p".into(),
            uid: "u".into(),
            worker: "me".into(),
            revision: "r".into(),
            chain_hash: "c".into(),
            run: "x".into(),
        }
    }

    #[test]
    fn a_worker_sees_what_concerns_it() {
        let shard = |shard, owner: &str, next: &str, former: &str| {
            let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            let (owner, next, former) = (name(owner), name(next), name(former));
            ShardAssignment { shard, owner, next, former, started: shard > 0, ..ShardAssignment::default() }
        };
        let shards = vec![
            shard(0, "me", "", ""),
            shard(1, "me", "other", "other"),
            shard(2, "other", "me", ""),
            shard(3, "other", "", "me"),
            shard(4, "", "", ""),
        ];
        let spec = PipelineAssignmentSpec { pipeline_uid: "u".into(), generation: 9, shards };
        let grant = |handed_over, started| Claim::Owner(Grant { generation: 9, handed_over, started });
        let expected = BTreeMap::from([(0, grant(false, false)), (1, grant(true, true)), (2, Claim::Standby)]);
        assert_eq!(claims(&identity(), &spec).unwrap(), Assignment { generation: 9, claims: expected });
        let foreign = PipelineAssignmentSpec { pipeline_uid: "other".into(), ..spec };
        assert_eq!(claims(&identity(), &foreign), None);
    }
}
