//! Writing to the API server: owned objects by server-side apply under one field manager, the assignment with the
//! precondition that nobody has written it since it was read, the status, and what is to go.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use millstream_crds::{Pipeline, PipelineAssignment, PipelineAssignmentSpec, PipelineStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api::{ApiServer, Verb};
use crate::build::{FIELD_MANAGER, labels};

/// A write that the API server refused.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct ApplyError {
    /// What was being done.
    pub doing: String,
    /// Why not.
    pub source: Box<kube::Error>,
}

impl ApplyError {
    fn new(doing: String) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self { doing, source: Box::new(source) }
    }

    /// Whether somebody else wrote the object meanwhile: looked at again, there is nothing wrong.
    pub fn is_conflict(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if status.code == 409)
    }
}

/// Writes to one namespace.
#[derive(Clone)]
pub struct Writer {
    server: ApiServer,
    namespace: String,
}

impl Writer {
    /// Writes to `server`.
    pub fn new(server: &ApiServer, namespace: &str) -> Self {
        Self { server: server.clone(), namespace: namespace.to_owned() }
    }

    /// Makes an object what it should be.
    pub async fn apply<K>(&self, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
        K::DynamicType: Default,
    {
        let name = object.name_any();
        let doing = format!("apply {} {name}", K::kind(&K::DynamicType::default()));
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.server.namespaced::<K>(&self.namespace), Patch::Apply(object));
        let written = self.server.ask::<K, _>(Verb::Patch, api.patch(&name, &parameters, &patch)).await;
        written.map(drop).map_err(ApplyError::new(doing))
    }

    /// Makes an assignment where there is none.
    pub async fn create_assignment(&self, object: &PipelineAssignment) -> Result<(), ApplyError> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let doing = format!("make the assignment {}", object.name_any());
        let api = self.server.namespaced(&self.namespace);
        let written = self.server.ask::<PipelineAssignment, _>(Verb::Create, api.create(&parameters, object)).await;
        written.map(drop).map_err(ApplyError::new(doing))
    }

    /// Writes an assignment, unless somebody else has written it since it was read.
    pub async fn replace_assignment(
        &self,
        read: &PipelineAssignment,
        spec: PipelineAssignmentSpec,
    ) -> Result<(), ApplyError> {
        let mut object = read.clone();
        object.spec = spec;
        object.metadata.managed_fields = None;
        let name = object.name_any();
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let doing = format!("write the assignment {name}");
        let api = self.server.namespaced(&self.namespace);
        let request = api.replace(&name, &parameters, &object);
        let written = self.server.ask::<PipelineAssignment, _>(Verb::Update, request).await;
        written.map(drop).map_err(ApplyError::new(doing))
    }

    /// Writes a Pipeline's status.
    pub async fn status(&self, pipeline: &str, status: &PipelineStatus) -> Result<(), ApplyError> {
        let patch = json!({
            "apiVersion": Pipeline::api_version(&()),
            "kind": Pipeline::kind(&()),
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let doing = format!("write the status of {pipeline}");
        let (api, patch) = (self.server.namespaced::<Pipeline>(&self.namespace), Patch::Apply(patch));
        let written =
            self.server.ask::<Pipeline, _>(Verb::Patch, api.patch_status(pipeline, &parameters, &patch)).await;
        written.map(drop).map_err(ApplyError::new(doing))
    }

    /// Says which of a Deployment's pods is to go first when it shrinks.
    pub async fn cheap_to_delete(&self, pod: &str) -> Result<(), ApplyError> {
        let patch = json!({"metadata": {"annotations": {labels::POD_DELETION_COST: "-1000"}}});
        let doing = format!("mark pod {pod} as drained");
        let (api, patch) = (self.server.namespaced::<Pod>(&self.namespace), Patch::Merge(patch));
        let written = self.server.ask::<Pod, _>(Verb::Patch, api.patch(pod, &PatchParams::default(), &patch)).await;
        gone_is_fine(written.map(drop), doing)
    }

    /// Puts a finalizer on a Pipeline, or takes it off; whether that has changed it. One that is gone, or is being
    /// deleted and so takes no more, is left as it is.
    pub async fn finalizer(&self, pipeline: &Pipeline, finalizer: &str, wanted: bool) -> Result<bool, ApplyError> {
        let (api, name) = (self.server.namespaced::<Pipeline>(&self.namespace), pipeline.name_any());
        let word = if wanted { "put on" } else { "take off" };
        let doing = || format!("{word} the finalizer {finalizer} of {name}");
        let found = self.server.ask::<Pipeline, _>(Verb::Get, api.get_metadata_opt(&name)).await;
        let Some(now) = found.map_err(ApplyError::new(doing()))? else { return Ok(false) };
        let mut finalizers = now.metadata.finalizers.unwrap_or_default();
        let is_there = finalizers.iter().any(|found| found == finalizer);
        let too_late = wanted && now.metadata.deletion_timestamp.is_some();
        if now.metadata.uid != pipeline.metadata.uid || is_there == wanted || too_late {
            return Ok(false);
        }
        finalizers.retain(|found| found != finalizer);
        finalizers.extend(wanted.then(|| finalizer.to_owned()));
        // The list is written as a whole: not over what somebody else has just put into it.
        let version = now.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let written = self.server.ask::<Pipeline, _>(Verb::Patch, api.patch_metadata(&name, &parameters, &patch)).await;
        gone_is_fine(written.map(|_| ()), doing()).map(|()| true)
    }

    /// Deletes a Deployment, which is there until its pods are gone.
    pub async fn stop(&self, deployment: &str) -> Result<(), ApplyError> {
        let (api, parameters) = (self.server.namespaced::<Deployment>(&self.namespace), DeleteParams::foreground());
        let deleted = self.server.ask::<Deployment, _>(Verb::Delete, api.delete(deployment, &parameters)).await;
        gone_is_fine(deleted.map(|_| ()), format!("delete Deployment {deployment}"))
    }

    /// Removes the Deployment and the `ConfigMap` of a revision that is over.
    pub async fn remove_revision(&self, name: &str) -> Result<(), ApplyError> {
        self.remove::<Deployment>(name).await?;
        self.remove::<ConfigMap>(name).await
    }

    async fn remove<K>(&self, name: &str) -> Result<(), ApplyError>
    where
        K: Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
        K::DynamicType: Default,
    {
        let api = self.server.namespaced::<K>(&self.namespace);
        let removed = self.server.ask::<K, _>(Verb::Delete, api.delete(name, &DeleteParams::background())).await;
        gone_is_fine(removed.map(drop), format!("delete {} {name}", K::kind(&K::DynamicType::default())))
    }
}

fn gone_is_fine(written: Result<(), kube::Error>, doing: String) -> Result<(), ApplyError> {
    match written {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map_err(ApplyError::new(doing)),
    }
}
