//! What all reconciles share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::ApiServer;
use crate::build::WorkerSettings;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::observe::Stores;
use crate::reports::{PipelineKey, Reports};
use crate::settings::Settings;

/// What all reconciles of one scope share. Lives as long as this replica leads.
pub struct Context {
    /// The API server.
    pub server: ApiServer,
    /// What the operator was started with.
    pub settings: Arc<Settings>,
    /// What all workers have in common.
    pub workers: WorkerSettings,
    /// Watched objects.
    pub stores: Stores,
    /// What workers have reported.
    pub reports: Arc<Reports>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// When this replica became the leader: the epoch of all times in decisions.
    pub epoch: Instant,
    memories: Mutex<HashMap<PipelineKey, Arc<tokio::sync::Mutex<Memory>>>>,
    failures: Mutex<HashMap<PipelineKey, u32>>,
}

impl Context {
    /// What a new leader begins with; `epoch` is when it became the leader.
    pub fn new(
        server: ApiServer,
        settings: Arc<Settings>,
        workers: WorkerSettings,
        stores: Stores,
        reports: Arc<Reports>,
        metrics: Arc<Metrics>,
        epoch: Instant,
    ) -> Self {
        let (memories, failures) = (Mutex::default(), Mutex::default());
        Self { server, settings, workers, stores, reports, metrics, epoch, memories, failures }
    }

    /// The time since the epoch.
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// A moment as a time since the epoch.
    pub fn since_epoch(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    /// What is remembered of a Pipeline. Reconciles of one Pipeline never overlap, so that the lock is free.
    pub fn memory(&self, key: &PipelineKey) -> Arc<tokio::sync::Mutex<Memory>> {
        Arc::clone(self.memories().entry(key.clone()).or_default())
    }

    /// Counts one more failure in a row of a Pipeline's reconcile.
    pub fn failures(&self, key: &PipelineKey) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// A reconcile came to its end.
    pub fn succeeded(&self, key: &PipelineKey) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets a Pipeline that is gone.
    pub fn forget(&self, key: &PipelineKey) {
        self.succeeded(key);
        self.memories().remove(key);
        self.reports.forget(key);
        self.metrics.forget(key);
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<PipelineKey, Arc<tokio::sync::Mutex<Memory>>>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
