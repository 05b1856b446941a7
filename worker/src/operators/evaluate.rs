//! Evaluates expressions over a batch, such that a record means the same alone as in any batch.
//!
//! Vectorised evaluation can fail because of rows that a condition would have excluded, and it fails as a whole. So a
//! batch that fails is halved until single rows fail alone: only those are bad, and what the others give is what they
//! would have given alone. Functions that panic (arithmetic in dependencies is compiled with overflow checks) fail
//! like those that return an error: a record can stop neither a worker nor its shard.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow::error::ArrowError;
use datafusion_physical_expr::PhysicalExpr;

use crate::plan::sql::message::clean;

/// A row for which an expression fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The row of the batch.
    pub row: usize,
    /// The expression, by its place among those that were evaluated.
    pub expr: usize,
    /// Why, for people.
    pub message: String,
}

/// What expressions give for a batch.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// A column an expression, over the good rows.
    pub columns: Vec<ArrayRef>,
    /// The bad rows, ascending; all others are good.
    pub bad: Vec<BadRow>,
}

/// Evaluates expressions over a batch; only the rows that fail alone are bad.
pub fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Evaluated {
    let mut parts = Vec::new();
    let mut bad = Vec::new();
    isolate(exprs, batch, 0, &mut parts, &mut bad);
    let columns = match parts.pop() {
        Some(only) if parts.is_empty() => only,
        None => exprs.iter().map(|expr| empty(expr, batch)).collect(),
        Some(last) => {
            parts.push(last);
            (0..exprs.len()).map(|place| concat(&parts, place, &exprs[place], batch)).collect()
        }
    };
    Evaluated { columns, bad }
}

/// Evaluates one expression over a whole batch.
pub fn evaluate_one(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, String> {
    quiet_panics();
    EVALUATING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| expr.evaluate(batch)?.into_array(batch.num_rows())));
    EVALUATING.set(false);
    match outcome {
        Ok(Ok(column)) => Ok(column),
        Ok(Err(error)) => Err(clean(&error)),
        Err(panic) => Err(panic_text(panic.as_ref())),
    }
}

fn isolate(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
    start: usize,
    parts: &mut Vec<Vec<ArrayRef>>,
    bad: &mut Vec<BadRow>,
) {
    let rows = batch.num_rows();
    match evaluate_all(exprs, batch) {
        _ if rows == 0 => {}
        Ok(columns) => parts.push(columns),
        Err((expr, message)) if rows == 1 => bad.push(BadRow { row: start, expr, message }),
        Err(_) => {
            let half = rows / 2;
            isolate(exprs, &batch.slice(0, half), start, parts, bad);
            isolate(exprs, &batch.slice(half, rows - half), start + half, parts, bad);
        }
    }
}

fn evaluate_all(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>, (usize, String)> {
    exprs.iter().enumerate().map(|(place, expr)| evaluate_one(expr, batch).map_err(|e| (place, e))).collect()
}

fn empty(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> ArrayRef {
    expr.data_type(&batch.schema())
        .map_or_else(|_| new_empty_array(&arrow::datatypes::DataType::Null), |t| new_empty_array(&t))
}

fn concat(parts: &[Vec<ArrayRef>], place: usize, expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> ArrayRef {
    let pieces: Vec<&dyn Array> = parts.iter().map(|part| part[place].as_ref()).collect();
    arrow::compute::concat(&pieces).unwrap_or_else(|_: ArrowError| empty(expr, batch))
}

thread_local! {
    static EVALUATING: Cell<bool> = const { Cell::new(false) };
}

/// A panic that becomes a bad record must not also print a backtrace for every record.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !EVALUATING.get() {
                usual(info);
            }
        }));
    });
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) if text.contains("overflow") => "overflow".into(),
        Some(text) => format!("the expression cannot be evaluated: {}", text.lines().next().unwrap_or_default()),
        None => "the expression cannot be evaluated".into(),
    }
}
