//! SQL and expressions: text → physical expressions over Arrow batches, by DataFusion's parser, planner and functions.
//!
//! A stream runs a part of SQL: expressions, and `SELECT … FROM node WHERE …`. Everything else is refused by the name
//! of the construct. Identifiers keep their case; arithmetic is checked; `now()` is one value a batch; what replay
//! would show (`random()`) is refused. Texts are untrusted: their size and depth are bounded before they are parsed.

use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

/// A problem of a SQL text, with its place in the text and a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlProblem {
    /// Line and column within the text, both from 1; None if it is about the text as a whole.
    pub position: Option<(u32, u32)>,
    /// What was found.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// An output column: its name and type, and the expression that computes it.
#[derive(Clone, Debug)]
pub struct Projected {
    /// Computes the column over the input's table.
    pub expr: Arc<dyn PhysicalExpr>,
    /// The column's name and type.
    pub field: Field,
}

/// A compiled `SELECT`.
#[derive(Clone, Debug)]
pub struct Select {
    /// WHERE: keeps the rows for which this is true.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The output's columns, with unique names.
    pub columns: Vec<Projected>,
}

/// Compiles a boolean expression over a table (see [`crate::operators::metadata::table_of`]).
pub fn compile_filter(text: &str, table: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, Vec<SqlProblem>> {
    let _ = (text, table);
    Err(not_yet())
}

/// Compiles an expression over a table. The field's name is the column's for a plain column, else `value`.
pub fn compile_value(text: &str, table: &SchemaRef) -> Result<Projected, Vec<SqlProblem>> {
    let _ = (text, table);
    Err(not_yet())
}

/// The one node that a SELECT reads.
pub fn select_source(text: &str) -> Result<String, Vec<SqlProblem>> {
    let _ = text;
    Err(not_yet())
}

/// Compiles a SELECT over the table of the node `name`.
pub fn compile_select(text: &str, name: &str, table: &SchemaRef) -> Result<Select, Vec<SqlProblem>> {
    let _ = (text, name, table);
    Err(not_yet())
}

fn not_yet() -> Vec<SqlProblem> {
    vec![SqlProblem { position: None, message: "this build cannot compile SQL yet".into(), help: None }]
}
