//! The API server, as the operator uses it: every request is counted by what came of it.
//!
//! Two things are not seen here: the Lease's requests, which its manager makes by itself, and the watches as long as all
//! is well with them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Config, Error, Resource};

use crate::metrics::Metrics;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// The way to the API server: that of the pod, or of the kubeconfig. Needs a runtime around it.
pub async fn connect() -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    // The library would repeat what a busy server has refused up to fifteen times, with waits of minutes, while the
    // Pipeline that it is about is held up. The next reconcile asks again.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One object.
    Get,
    /// All objects of a kind, or those with a label.
    List,
    /// A new object.
    Create,
    /// Another object in the place of one.
    Update,
    /// A change of an object, or server-side apply.
    Patch,
    /// That an object goes.
    Delete,
    /// Changes, as they happen.
    Watch,
}

impl Verb {
    /// The word in Kubernetes' rules of access.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Watch => "watch",
        }
    }
}

/// The API server. Clones share connection and counts.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    metrics: Arc<Metrics>,
}

impl ApiServer {
    /// Asks through `client`, and counts in `metrics`.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// The way to the server, for who makes requests of its own.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of a kind in a namespace.
    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// Makes a request about objects of the kind `K`, and counts it.
    pub async fn ask<K, T>(&self, verb: Verb, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let answer = request.await;
        let code = answer.as_ref().err().map_or(Cow::Borrowed("ok"), code);
        self.metrics.requested(verb.as_str(), &plural::<K>(), &code);
        answer
    }

    /// Counts the interruption of a watch of objects of the kind `K`.
    pub fn interrupted<K>(&self, error: &watcher::Error)
    where
        K: Resource,
        K::DynamicType: Default,
    {
        use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
        let code = match error {
            InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => code(error),
            WatchError(status) => Cow::Owned(status.code.to_string()),
            NoResourceVersion => UNANSWERED,
        };
        self.metrics.requested(Verb::Watch.as_str(), &plural::<K>(), &code);
    }
}

/// The code of a request without an answer, or with one that cannot be understood.
const UNANSWERED: Cow<'static, str> = Cow::Borrowed("none");

fn code(error: &Error) -> Cow<'static, str> {
    match error {
        Error::Api(status) => Cow::Owned(status.code.to_string()),
        _ => UNANSWERED,
    }
}

fn plural<K>() -> String
where
    K: Resource,
    K::DynamicType: Default,
{
    K::plural(&K::DynamicType::default()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    /// A server that has one Secret, and refuses everything else.
    fn server() -> (ApiServer, Arc<Metrics>) {
        let secret = || async { Json(json!({"metadata": {"name": "s"}})) };
        let refuse = || async { (StatusCode::FORBIDDEN, Json(refused(403))) };
        let router = Router::new().route("/api/v1/namespaces/n/secrets/s", get(secret)).fallback(refuse);
        let metrics = Arc::new(Metrics::new().unwrap());
        (ApiServer::new(Client::new(router, "n"), Arc::clone(&metrics)), metrics)
    }

    fn refused(code: u16) -> Status {
        Status::failure("refused", "Test").with_code(code)
    }

    fn count(metrics: &Metrics, verb: &str, resource: &str, code: &str) -> Option<String> {
        let series =
            format!(r#"millstream_operator_api_requests_total{{code="{code}",resource="{resource}",verb="{verb}"}} "#);
        metrics.encode().lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    }

    #[tokio::test]
    async fn requests_are_counted_by_what_came_of_them() {
        let (server, metrics) = server();
        let secrets = server.namespaced::<Secret>("n");
        let found = server.ask::<Secret, _>(Verb::Get, secrets.get("s")).await.unwrap();
        assert_eq!(found.metadata.name.as_deref(), Some("s"));
        let missing = server.ask::<Secret, _>(Verb::Get, secrets.get("t")).await;
        assert!(matches!(missing, Err(Error::Api(status)) if status.code == 403));
        let broken = std::future::ready(Err(Error::ReadEvents(std::io::Error::other("broken"))));
        assert!(server.ask::<Pod, ()>(Verb::Patch, broken).await.is_err());
        server.interrupted::<Pod>(&watcher::Error::WatchError(Box::new(refused(410))));
        server.interrupted::<Pod>(&watcher::Error::NoResourceVersion);
        for (verb, resource, code) in [
            ("get", "secrets", "ok"),
            ("get", "secrets", "403"),
            ("patch", "pods", "none"),
            ("watch", "pods", "410"),
            ("watch", "pods", "none"),
        ] {
            assert_eq!(count(&metrics, verb, resource, code).as_deref(), Some("1"), "{verb} {resource} {code}");
        }
    }
}
