//! The HTTP server for Prometheus and the kubelet: `/metrics`, `/healthz`, `/readyz`.
//!
//! It runs on one thread of its own with a single-threaded runtime, owned by [`Server`]: dropping that ends the
//! thread. A scrape never touches a shard's thread; the two share atomic counters and short locks.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use super::{Readiness, Watchdog};
use crate::metrics::Metrics;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for metrics: {source}; is another process using it?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The thread or its runtime cannot be made.
    #[error("cannot start the metrics server: {0}")]
    Start(#[source] std::io::Error),
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Observed {
    metrics: Arc<Metrics>,
    watchdog: Arc<Watchdog>,
    readiness: Arc<Readiness>,
}

impl Server {
    /// Listens on `address` (port 0: any free one) and serves until it is dropped.
    pub fn start(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        watchdog: Arc<Watchdog>,
        readiness: Arc<Readiness>,
    ) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
        listener.set_nonblocking(true).map_err(ServeError::Start)?;
        let address = listener.local_addr().map_err(ServeError::Start)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Start)?;
        let (stop, stopped) = oneshot::channel();
        let router = router(Observed { metrics, watchdog, readiness });
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || runtime.block_on(serve(listener, router, stopped)))
            .map_err(ServeError::Start)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the metrics server ended by a panic");
        }
    }
}

/// Serves until `stopped` fires or its sender is gone. Open connections are cut: none of the answers matters then.
async fn serve(listener: TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the metrics server cannot use its socket");
            return;
        }
    };
    tokio::select! {
        result = axum::serve(listener, router).into_future() => {
            if let Err(error) = result {
                tracing::error!(%error, "the metrics server ended");
            }
        },
        _ = stopped => {},
    }
}

fn router(observed: Observed) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(observed)
}

async fn metrics(State(observed): State<Observed>) -> Response {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], observed.metrics.encode()).into_response()
}

async fn healthz(State(observed): State<Observed>) -> Response {
    let overdue = observed.watchdog.overdue();
    verdict(StatusCode::INTERNAL_SERVER_ERROR, &overdue.iter().map(ToString::to_string).collect::<Vec<_>>())
}

async fn readyz(State(observed): State<Observed>) -> Response {
    verdict(StatusCode::SERVICE_UNAVAILABLE, &observed.readiness.reasons())
}

/// `ok`, or the status with a line for each reason.
fn verdict(failure: StatusCode, reasons: &[String]) -> Response {
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    (failure, reasons.join("\n") + "\n").into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn start() -> (Server, Arc<Metrics>, Arc<Watchdog>, Arc<Readiness>) {
        let (metrics, watchdog, readiness) = (Metrics::new("p"), Watchdog::new(), Readiness::new());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(address, metrics.clone(), watchdog.clone(), readiness.clone()).unwrap();
        (server, metrics, watchdog, readiness)
    }

    /// Status and body of a GET.
    fn fetch(server: &Server, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[test]
    fn health_fails_while_work_is_overdue() {
        let (server, _metrics, watchdog, _readiness) = start();
        assert_eq!(fetch(&server, "/healthz"), (200, "ok\n".into()));
        let shard = watchdog.thread("shard-7");
        let work = shard.enter("process", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        let (status, body) = fetch(&server, "/healthz");
        assert_eq!(status, 500);
        assert!(body.starts_with("thread shard-7: process has taken "), "{body}");
        drop(work);
        assert_eq!(fetch(&server, "/healthz"), (200, "ok\n".into()));
    }

    #[test]
    fn readiness_is_served_with_its_reasons() {
        let (server, _metrics, _watchdog, readiness) = start();
        assert_eq!(fetch(&server, "/readyz"), (503, "no shard has started yet\n".into()));
        readiness.not_ready(0, "waiting for topic sensor_data");
        assert_eq!(fetch(&server, "/readyz"), (503, "shard 0: waiting for topic sensor_data\n".into()));
        readiness.ready(0);
        assert_eq!(fetch(&server, "/readyz"), (200, "ok\n".into()));
    }

    #[test]
    fn metrics_are_served_and_other_paths_are_not() {
        let (server, metrics, ..) = start();
        metrics.shard(0).batch_in("s", 42, 0);
        let (status, body) = fetch(&server, "/metrics");
        assert_eq!(status, 200);
        assert!(
            body.lines().any(|line| line.starts_with("millstream_records_in_total{") && line.ends_with(" 42")),
            "{body}"
        );
        assert_eq!(fetch(&server, "/").0, 404);
    }

    #[test]
    fn an_address_in_use_is_a_clear_error() {
        let (server, metrics, watchdog, readiness) = start();
        let error = Server::start(server.address(), metrics, watchdog, readiness).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {} for metrics: ", server.address())), "{text}");
    }

    #[test]
    fn dropping_the_server_frees_its_address_even_with_an_open_connection() {
        let (server, metrics, watchdog, readiness) = start();
        let address = server.address();
        let _idle = TcpStream::connect(address).unwrap();
        drop(server);
        Server::start(address, metrics, watchdog, readiness).unwrap();
    }
}
