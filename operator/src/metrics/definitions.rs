//! Every metric of the operator: name, kind, labels, meaning. The registry and the table in `docs/kubernetes.md` both
//! follow from these; tests compare them.
//!
//! Labels are bounded: Pipelines that are there, their partitions, and fixed lists of outcomes, steps, reasons and kinds
//! of requests. Messages, names of pods and numbers of shards are no labels.

use millstream::metrics::{Definition, Kind, counter, gauge};

const PIPELINE: &[&str] = &["namespace", "pipeline"];

/// Reconciles by outcome.
pub const RECONCILES: Definition = counter(
    "millstream_operator_reconciles_total",
    &["outcome"],
    "Reconciles by outcome: `ok`, `conflict` where somebody else was quicker and nothing is wrong, `error`.",
);

/// How long reconciles take.
pub const RECONCILE_DURATION: Definition = Definition {
    name: "millstream_operator_reconcile_duration_seconds",
    kind: Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
    labels: &[],
    help: "How long a whole reconcile took.",
};

/// How long their steps take.
pub const STEP_DURATION: Definition = Definition {
    name: "millstream_operator_reconcile_step_duration_seconds",
    kind: Kind::Histogram(&[0.0001, 0.0005, 0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
    labels: &["step"],
    help: "How long a step of a reconcile took, whether it failed or not.",
};

/// Which step failed.
pub const RECONCILE_ERRORS: Definition = counter(
    "millstream_operator_reconcile_errors_total",
    &["step"],
    "Reconciles that ended with an error, by the step that failed.",
);

/// Requests to the API server.
pub const API_REQUESTS: Definition = counter(
    "millstream_operator_api_requests_total",
    &["verb", "resource", "code"],
    "Requests to the API server, by what came of them.",
);

/// Moves.
pub const MOVES: Definition =
    counter("millstream_operator_moves_total", &["reason"], "Steps of moves of shards, by reason.");

/// How long moves take.
pub const MOVE_DURATION: Definition = Definition {
    name: "millstream_operator_move_duration_seconds",
    kind: Kind::Histogram(&[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0]),
    labels: &["reason"],
    help: "Time from the assignment in which a move of a shard began until its new owner said that it holds it, by the \
           reason why it began.",
};

/// Shards of nobody.
pub const UNOWNED: Definition = gauge("millstream_operator_unowned_shards", PIPELINE, "Shards without an owner.");

/// What holds of a Pipeline.
pub const CONDITION: Definition = gauge(
    "millstream_operator_pipeline_condition",
    &["namespace", "pipeline", "condition", "reason"],
    "1 for the condition and the reason that hold.",
);

/// Lag.
pub const LAG: Definition = gauge(
    "millstream_operator_lag_records",
    &["namespace", "pipeline", "topic", "partition"],
    "Records between the last checkpoint and the last stable offset, asked of Kafka itself: known when no worker is \
     there, too.",
);

/// How soon data is lost.
pub const DATA_LOSS: Definition = gauge(
    "millstream_operator_data_loss_seconds",
    PIPELINE,
    "How soon Kafka deletes records that the pipeline has not read, in the partition where it is soonest, if it read \
     nothing from now on; `+Inf` where nothing is in danger.",
);

/// Age of reports.
pub const REPORT_AGE: Definition =
    gauge("millstream_operator_report_age_seconds", PIPELINE, "The age of the oldest worker's report.");

/// Who leads.
pub const LEADS: Definition = gauge("millstream_operator_leads", &[], "1 on the replica that leads.");

/// The running version.
pub const BUILD_INFO: Definition =
    gauge("millstream_operator_build_info", &["version"], "Always 1; the label is the version.");

/// All of them, in the order of the page.
pub const ALL: [Definition; 14] = [
    RECONCILES,
    RECONCILE_DURATION,
    STEP_DURATION,
    RECONCILE_ERRORS,
    API_REQUESTS,
    MOVES,
    MOVE_DURATION,
    UNOWNED,
    CONDITION,
    LAG,
    DATA_LOSS,
    REPORT_AGE,
    LEADS,
    BUILD_INFO,
];
