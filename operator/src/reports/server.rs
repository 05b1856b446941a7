//! Takes the workers' reports over HTTPS.
//!
//! Only the leader takes them. The others close the connection with their answer, so that a worker finds the new leader
//! with its next report and not at the end of a connection's life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONNECTION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::ObjectRef;
use millstream_crds::report::{REPORT_PATH, ReportAnswer, WorkerReport};

use super::tokens::Tokens;
use super::{PipelineKey, Reports};
use crate::api::ApiServer;
use crate::certificate::Certificate;
use crate::observe::Guarded;

/// The largest report: 1,024 shards with long messages fit.
const REPORT_BYTES: usize = 2 << 20;

/// What the server works with.
#[derive(Clone)]
pub struct Reception {
    /// Where reports go.
    pub reports: Arc<Reports>,
    /// Whether this replica leads.
    pub leads: Arc<AtomicBool>,
    /// Pipelines that something new was said about.
    pub news: UnboundedSender<ObjectRef<Guarded>>,
    tokens: Arc<Tokens>,
}

impl Reception {
    /// Checks senders by asking `server`.
    pub fn new(
        server: ApiServer,
        reports: Arc<Reports>,
        leads: Arc<AtomicBool>,
        news: UnboundedSender<ObjectRef<Guarded>>,
    ) -> Self {
        Self { reports, leads, news, tokens: Arc::new(Tokens::new(server)) }
    }
}

/// Serves until it is dropped.
pub async fn serve(address: SocketAddr, certificate: &Certificate, reception: Reception) -> std::io::Result<()> {
    let (chain, key) = (certificate.certificate.clone().into_bytes(), certificate.key.clone().into_bytes());
    let tls = RustlsConfig::from_pem(chain, key).await?;
    let router =
        Router::new().route(REPORT_PATH, post(take)).layer(DefaultBodyLimit::max(REPORT_BYTES)).with_state(reception);
    axum_server::bind_rustls(address, tls).serve(router.into_make_service()).await
}

async fn take(State(reception): State<Reception>, headers: HeaderMap, Json(report): Json<WorkerReport>) -> Response {
    if !reception.leads.load(Ordering::Acquire) {
        let text = "this replica does not lead; send the report again";
        return (StatusCode::SERVICE_UNAVAILABLE, [(CONNECTION, "close")], text).into_response();
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = token else {
        return (StatusCode::UNAUTHORIZED, "a report needs the worker's projected token").into_response();
    };
    match reception.tokens.sender(token).await {
        Ok(Some(sender)) if sender.pod == report.worker && sender.namespace == report.namespace => {
            accept(&reception, report)
        }
        Ok(Some(sender)) => {
            let text = format!("the token is of pod {}/{}, not of the worker", sender.namespace, sender.pod);
            (StatusCode::FORBIDDEN, text).into_response()
        }
        Ok(None) => (StatusCode::UNAUTHORIZED, "the token is no pod's, or not for the operator").into_response(),
        Err(error) => {
            tracing::warn!("the token of worker {} cannot be checked: {error}", report.worker);
            (StatusCode::SERVICE_UNAVAILABLE, "the token cannot be checked now").into_response()
        }
    }
}

fn accept(reception: &Reception, report: WorkerReport) -> Response {
    let key = PipelineKey { namespace: report.namespace.clone(), name: report.pipeline.clone() };
    if reception.reports.record(report, Instant::now()) {
        // The controller ends with the leadership; then nobody has to be told.
        drop(reception.news.unbounded_send(ObjectRef::new(&key.name).within(&key.namespace)));
    }
    Json(ReportAnswer { generation: reception.reports.generation(&key) }).into_response()
}
