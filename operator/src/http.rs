//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy is whoever answers. Ready is whoever can reach the API server, leader or not: a replica that waits for the
//! lead is as good as it should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;

/// What the pages tell about.
#[derive(Clone)]
pub struct Pages {
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// Whether the API server has answered.
    pub ready: Arc<AtomicBool>,
}

/// Serves until it is dropped.
pub async fn serve(address: SocketAddr, pages: Pages) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await
}

async fn metrics(State(pages): State<Pages>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.encode()).into_response()
}

async fn ready(State(pages): State<Pages>) -> Response {
    if pages.ready.load(Ordering::Acquire) {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet\n").into_response()
}
