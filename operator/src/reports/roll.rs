//! Who is there to report: the workers of all Pipelines, each as its Pipeline's last reconcile saw it, with that
//! Pipeline's patience. Whether the operator is cut off is a question about all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::{PipelineKey, lock};
use crate::decide::liveness::{Judge, LastReport, Observed, Patience, is_overdue};

/// The workers of all Pipelines.
#[derive(Debug, Default)]
pub(super) struct Roll {
    pipelines: Mutex<HashMap<PipelineKey, Expected>>,
}

/// The workers of one Pipeline.
#[derive(Debug)]
struct Expected {
    patience: Patience,
    workers: BTreeMap<String, Observed>,
}

/// How many of those that should report do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// Workers that are late with their reports.
    pub overdue: usize,
    /// All that should report, the late ones included.
    pub workers: usize,
}

impl Roll {
    /// Notes the workers of a Pipeline; those that are not among them any more are gone.
    pub(super) fn note(&self, key: &PipelineKey, patience: Patience, workers: BTreeMap<String, Observed>) {
        lock(&self.pipelines).insert(key.clone(), Expected { patience, workers });
    }

    /// Forgets a Pipeline.
    pub(super) fn forget(&self, key: &PipelineKey) {
        lock(&self.pipelines).remove(key);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        lock(&self.pipelines).clear();
    }

    /// Calls the roll: each worker is late by its own Pipeline's patience. What was noted of its reports may be old, and
    /// so `last` is asked.
    pub(super) fn call(&self, judge: &Judge, last: impl Fn(&PipelineKey, &str) -> Option<LastReport>) -> Attendance {
        let mut attendance = Attendance::default();
        for (key, Expected { patience, workers }) in &mut *lock(&self.pipelines) {
            for (name, worker) in workers {
                worker.report = last(key, name);
                if let Some(is_overdue) = is_overdue(worker, patience, judge) {
                    attendance.workers += 1;
                    attendance.overdue += usize::from(is_overdue);
                }
            }
        }
        attendance
    }
}
