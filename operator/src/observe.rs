//! What the operator sees without asking: watched objects, kept in memory.
//!
//! One set of watches for each namespace that is looked after, or one for all. Every change of a watched object names
//! the Pipeline that it belongs to, which is then reconciled.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource, ResourceExt};
use millstream::cluster::WatchBackoff;
use millstream_crds::{Pipeline, PipelineAssignment};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::api::ApiServer;
use crate::build::{FIELD_MANAGER, labels};
use crate::reports::PipelineKey;

/// A Pipeline that may not be readable: a newer version may have fields that this one does not know. One such object
/// must not stop the others.
pub type Guarded = DeserializeGuard<Pipeline>;

/// The watched objects of one scope.
#[derive(Clone)]
pub struct Stores {
    /// Workers' pods.
    pub pods: Store<Pod>,
    /// Workers' Deployments.
    pub deployments: Store<Deployment>,
    /// Assignments.
    pub assignments: Store<PipelineAssignment>,
}

/// An Api of one namespace, or of all.
pub fn scoped<K>(server: &ApiServer, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => server.namespaced(namespace),
        None => Api::all(server.client()),
    }
}

/// Begins to watch; `changed` gets the Pipeline of each object that has changed. The tasks end with `tasks`.
pub fn watch(
    server: &ApiServer,
    namespace: Option<&str>,
    changed: &UnboundedSender<ObjectRef<Guarded>>,
    tasks: &mut JoinSet<()>,
) -> Stores {
    let ours = watcher::Config::default().labels(&format!("{}={FIELD_MANAGER}", labels::MANAGED_BY));
    Stores {
        pods: keep(server, namespace, ours.clone(), changed, tasks),
        deployments: keep(server, namespace, ours.clone(), changed, tasks),
        assignments: keep(server, namespace, ours, changed, tasks),
    }
}

fn keep<K>(
    server: &ApiServer,
    namespace: Option<&str>,
    config: watcher::Config,
    changed: &UnboundedSender<ObjectRef<Guarded>>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    let (store, writer) = reflector::store();
    let watched = watcher(scoped::<K>(server, namespace), config);
    let stream = reflector::reflector(writer, watched).backoff(WatchBackoff::default()).touched_objects();
    tasks.spawn(tell(stream, changed.clone(), server.clone()));
    store
}

async fn tell<K>(
    stream: impl Stream<Item = Result<K, watcher::Error>>,
    changed: UnboundedSender<ObjectRef<Guarded>>,
    server: ApiServer,
) where
    K: Resource,
    K::DynamicType: Default,
{
    let mut stream = std::pin::pin!(stream);
    while let Some(object) = stream.next().await {
        match object {
            Ok(object) => {
                if let Some(pipeline) = pipeline_of(&object) {
                    // The controller has ended: nobody needs to know.
                    drop(changed.unbounded_send(pipeline));
                }
            }
            Err(error) => {
                server.interrupted::<K>(&error);
                tracing::warn!("a watch was interrupted: {error}; it begins again");
            }
        }
    }
}

fn pipeline_of(object: &impl Resource) -> Option<ObjectRef<Guarded>> {
    let name = object.labels().get(labels::PIPELINE)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

impl Stores {
    /// The pods of a Pipeline, by name.
    pub fn pods_of(&self, key: &PipelineKey) -> BTreeMap<String, Arc<Pod>> {
        of(&self.pods, key)
    }

    /// The Deployments of a Pipeline, by name.
    pub fn deployments_of(&self, key: &PipelineKey) -> BTreeMap<String, Arc<Deployment>> {
        of(&self.deployments, key)
    }

    /// The assignment of a Pipeline.
    pub fn assignment_of(&self, key: &PipelineKey) -> Option<Arc<PipelineAssignment>> {
        of(&self.assignments, key).into_values().next()
    }
}

fn of<K>(store: &Store<K>, key: &PipelineKey) -> BTreeMap<String, Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let all = store.state().into_iter();
    let ours = all.filter(|object| {
        object.namespace().as_deref() == Some(&key.namespace)
            && object.labels().get(labels::PIPELINE) == Some(&key.name)
    });
    ours.map(|object| (object.name_any(), object)).collect()
}

/// The worker's container of a pod.
pub fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Whether a pod has ended for good: none of its processes runs or will.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Why a pod cannot run, in Kubernetes' words, if that is so: one word and a text.
pub fn trouble(pod: &Pod) -> Option<(String, String)> {
    let waiting = container(pod).and_then(|container| container.state.as_ref()?.waiting.clone());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        // What every start passes through.
        if reason != "ContainerCreating" && reason != "PodInitializing" {
            return Some((reason, with_last_words(pod, waiting.message.unwrap_or_default())));
        }
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unschedulable = conditions.iter().find(|condition| condition.reason.as_deref() == Some("Unschedulable"))?;
    Some(("Unschedulable".to_owned(), unschedulable.message.clone().unwrap_or_default()))
}

/// A worker that ends again and again says why in its last lines. One that was killed for its memory cannot.
fn with_last_words(pod: &Pod, message: String) -> String {
    let last = container(pod).and_then(|container| container.last_state.as_ref()?.terminated.as_ref());
    let Some(ended) = last else { return message };
    if ended.reason.as_deref() == Some("OOMKilled") {
        return format!("{message}; it needs more memory than spec.worker.resources.limits.memory (OOMKilled)");
    }
    let words = ended.message.as_deref().unwrap_or_default();
    match words.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{message}; it ended with exit code {}; its last words: {last}", ended.exit_code),
        None => format!("{message}; it ended with exit code {}", ended.exit_code),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(status: &serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "w"}, "status": status})).unwrap()
    }

    #[test]
    fn trouble_is_told_in_kubernetes_words_with_the_workers_last() {
        let starting = serde_json::json!({"waiting": {"reason": "ContainerCreating"}});
        let no_image = serde_json::json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let looping = serde_json::json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let ended = serde_json::json!({"terminated": {"exitCode": 3, "message": "start\nstopped: no memory\n"}});
        let killed = serde_json::json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "start\n"}});
        let container = |state, last| serde_json::json!({"containerStatuses": [{"name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last}]});
        let none = serde_json::json!({});
        assert_eq!(trouble(&pod(&container(starting, none.clone()))), None);
        assert_eq!(trouble(&pod(&container(no_image, none))).unwrap(), ("ErrImagePull".into(), "not found".into()));
        let (reason, text) = trouble(&pod(&container(looping.clone(), ended))).unwrap();
        assert_eq!(
            (reason.as_str(), text.as_str()),
            ("CrashLoopBackOff", "back-off 10s; it ended with exit code 3; its last words: stopped: no memory")
        );
        let (_, text) = trouble(&pod(&container(looping, killed))).unwrap();
        assert!(text.ends_with("more memory than spec.worker.resources.limits.memory (OOMKilled)"), "{text}");
        let condition = serde_json::json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
        assert_eq!(trouble(&pod(&condition)).unwrap(), ("Unschedulable".into(), "0/1 nodes".into()));
    }
}
