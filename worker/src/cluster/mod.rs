//! A worker's ties to the cluster: the assignment that it follows, and its reports to the operator.
//!
//! ```text
//! API server ─ watch ─► assignment.rs ─► the crew of shards
//! operator  ◄─ report.rs ◄─ states of shards, counts
//! ```
//!
//! One thread with a runtime of its own, owned by [`Link`] and ended with it. Nothing here is needed for safety: while
//! the API server is away the shards stay as they are, while the operator is away nobody hears the reports, and in both
//! cases records flow on.

mod assignment;
mod backoff;
mod client;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use millstream_crds::PipelineAssignment;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use self::backoff::WatchBackoff;
use self::client::{api_server, operator};
pub use self::report::Observed;
use crate::shard::{Assignment, Assignments};

/// Who this worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The Pipeline's namespace.
    pub namespace: String,
    /// The Pipeline's name, which is that of its assignment.
    pub pipeline: String,
    /// The Pipeline's uid.
    pub uid: String,
    /// The worker's name: its pod's.
    pub worker: String,
    /// The revision that it runs.
    pub revision: String,
    /// The hash of its chain.
    pub chain_hash: String,
    /// The process.
    pub run: String,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub struct OperatorAddress {
    /// `https://host:port`.
    pub url: http::Uri,
    /// The CA of the operator's certificate, in PEM; read again when it changes.
    pub ca: PathBuf,
    /// The token that the worker shows; read again when it changes.
    pub token: PathBuf,
}

/// The cluster cannot be talked to at all.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither a pod's own settings nor a kubeconfig.
    #[error(
        "there is no way to the API server: {0}. In a pod it is found by itself, elsewhere KUBECONFIG names a file"
    )]
    NoApiServer(String),
    /// The operator's address cannot be used.
    #[error("reports cannot be sent to {url}: {why}")]
    NoOperator {
        /// The address.
        url: String,
        /// Why not.
        why: String,
    },
    /// The system gave no thread or no runtime.
    #[error("the thread `cluster` cannot be started: {0}")]
    NoThread(std::io::Error),
}

/// What the tasks of a link share.
#[derive(Debug)]
struct Common {
    identity: Identity,
    /// The newest generation of the assignment that was seen.
    generation: AtomicI64,
    leaving: AtomicBool,
    ended: AtomicBool,
    /// Something happened that the operator should hear of at once.
    changed: Notify,
}

/// A worker's ties to its cluster. Dropping it ends them.
#[derive(Debug)]
pub struct Link {
    common: Arc<Common>,
    runtime: Arc<Runtime>,
    api: kube::Api<PipelineAssignment>,
    seen: Sender<Assignment>,
    assignments: Assignments,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Finds the way to the API server; asks nothing yet.
    pub fn new(identity: Identity) -> Result<Self, ClusterError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Arc::new(runtime.map_err(ClusterError::NoThread)?);
        let client = runtime.block_on(async { api_server().await })?;
        let api = kube::Api::namespaced(client, &identity.namespace);
        let (seen, receive) = crossbeam_channel::unbounded();
        let common = Arc::new(Common {
            identity,
            generation: AtomicI64::new(0),
            leaving: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let handle = runtime.handle().clone();
        let source = assignment::Source::new(Arc::clone(&common), api.clone(), handle, seen.clone());
        let assignments = Assignments { seen: receive, source: Arc::new(source) };
        Ok(Self { common, runtime, api, seen, assignments, thread: None })
    }

    /// What the crew of shards follows.
    pub fn assignments(&self) -> Assignments {
        self.assignments.clone()
    }

    /// Watches the assignment, and reports what `observed` tells.
    pub fn start(&mut self, address: Option<&OperatorAddress>, observed: Observed) -> Result<(), ClusterError> {
        let _runtime = self.runtime.enter();
        let reporter = match address {
            Some(address) => Some(report::Reporter::new(operator(address)?, Arc::clone(&self.common), observed)),
            None => None,
        };
        let (common, runtime) = (Arc::clone(&self.common), Arc::clone(&self.runtime));
        let (api, seen) = (self.api.clone(), self.seen.clone());
        let body = move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                tasks.spawn(assignment::watch(Arc::clone(&common), api, seen));
                if let Some(reporter) = reporter {
                    tasks.spawn(reporter.run());
                }
                while !common.ended.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("cluster".to_owned()).spawn(body);
        self.thread = Some(thread.map_err(ClusterError::NoThread)?);
        Ok(())
    }

    /// Tells the operator that this worker was asked to end, so that it gives the shards to others.
    pub fn leave(&self) {
        self.common.leaving.store(true, Ordering::Release);
        self.common.changed.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.common.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the panic hook already.
            drop(thread.join());
        }
    }
}
