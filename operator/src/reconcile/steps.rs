//! Measures a reconcile's steps.

use std::time::Instant;

use super::ReconcileError;
use crate::metrics::{Metrics, Outcome, Step};

/// Steps that follow one another: each begins where the one before has ended.
pub struct Laps<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl<'a> Laps<'a> {
    /// The first step begins.
    pub fn begin(metrics: &'a Metrics) -> Self {
        Self { metrics, since: Instant::now() }
    }

    /// A step that cannot fail has ended.
    pub fn passed(&mut self, step: Step) {
        self.note(step, Outcome::Ok);
    }

    /// A step has ended like this.
    pub fn ended<T, E>(&mut self, step: Step, result: Result<T, E>) -> Result<T, ReconcileError>
    where
        ReconcileError: From<E>,
    {
        let result = result.map_err(ReconcileError::from);
        self.note(step, result.as_ref().err().map_or(Outcome::Ok, ReconcileError::outcome));
        result
    }

    fn note(&mut self, step: Step, outcome: Outcome) {
        let now = Instant::now();
        self.metrics.stepped(step, outcome, now.saturating_duration_since(self.since));
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::apply::ApplyError;

    fn refused(code: u16) -> ApplyError {
        let status = kube::core::Status::failure("refused", "Test").with_code(code);
        ApplyError { doing: "apply Deployment p".into(), source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn each_step_is_measured_and_the_one_that_fails_is_named() {
        let metrics = Metrics::new().unwrap();
        let mut laps = Laps::begin(&metrics);
        assert_eq!(laps.ended(Step::Observe, Ok::<_, ApplyError>(7)).unwrap(), 7);
        laps.passed(Step::Decide);
        let error = laps.ended(Step::Apply, Err::<(), _>(refused(403))).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Error);
        let error = laps.ended(Step::Status, Err::<(), _>(refused(409))).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Conflict);
        let text = metrics.encode();
        for (step, errors) in [("observe", 0), ("decide", 0), ("apply", 1), ("status", 0)] {
            for line in [
                format!(r#"millstream_operator_reconcile_step_duration_seconds_count{{step="{step}"}} 1"#),
                format!(r#"millstream_operator_reconcile_errors_total{{step="{step}"}} {errors}"#),
            ] {
                assert!(text.lines().any(|found| found == line), "{line}\nis missing in\n{text}");
            }
        }
    }
}
