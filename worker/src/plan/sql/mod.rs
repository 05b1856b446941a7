//! SQL and expressions: text → physical expressions over Arrow batches, by DataFusion's parser, planner and functions.
//!
//! A stream runs a part of SQL: expressions, and `SELECT … FROM node WHERE …`. Everything else is refused by the name
//! of the construct. Identifiers keep their case; arithmetic is checked; `now()` is one value a batch; what replay
//! would show (`random()`) is refused. Texts are untrusted: their size and depth are bounded before they are parsed.
//!
//! The way of a text: `text` (limits, parser) → `refuse` (constructs) → `names` (columns, functions) → `planner` (types,
//! physical expression, over DataFusion) with `checked`, `clock`, `functions`, `guarded` and `types` → or `diagnose` (what failed,
//! and where).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_sql::sqlparser::ast::Expr;

mod checked;
pub mod clock;
mod diagnose;
mod fail;
mod functions;
mod guarded;
pub mod message;
mod names;
mod planner;
mod refuse;
mod select;
mod text;
mod types;

pub use functions::names as function_names;
pub use names::nearest;
pub use types::type_name;

use planner::Planner;

/// Marks a column whose text is JSON; the only metadata that columns carry.
const TYPE_KEY: &str = "millstream.type";

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

impl SqlProblem {
    fn new(position: Option<(u32, u32)>, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
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
    text::on_large_stack(|| {
        let ast = text::parse_expression(text)?;
        plan_filter(&planner_of(table, None)?, &ast, table, None, "the filter")
    })
}

/// Compiles an expression over a table. The field's name is the column's for a plain column, else `value`.
pub fn compile_value(text: &str, table: &SchemaRef) -> Result<Projected, Vec<SqlProblem>> {
    text::on_large_stack(|| {
        let ast = text::parse_expression(text)?;
        let name = if let Expr::Identifier(ident) = &ast { ident.value.as_str() } else { "value" };
        plan_value(&planner_of(table, None)?, &ast, table, None, name)
    })
}

/// The one node that a SELECT reads.
pub fn select_source(text: &str) -> Result<String, Vec<SqlProblem>> {
    text::on_large_stack(|| select::source(&*text::parse_query(text)?))
}

/// Compiles a SELECT over the table of the node `name`.
pub fn compile_select(text: &str, name: &str, table: &SchemaRef) -> Result<Select, Vec<SqlProblem>> {
    text::on_large_stack(|| select::compile(&*text::parse_query(text)?, name, table))
}

fn planner_of(table: &SchemaRef, qualifier: Option<&str>) -> Result<Planner, Vec<SqlProblem>> {
    Planner::new(table, qualifier).map_err(|error| vec![SqlProblem::new(None, message::clean(&error))])
}

/// The problems that can be seen without planning.
fn check(ast: &Expr, table: &SchemaRef, qualifier: Option<&str>) -> Result<(), Vec<SqlProblem>> {
    let refused = refuse::problems_of(ast);
    let problems = if refused.is_empty() { names::problems_of(ast, table, qualifier) } else { refused };
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn plan_filter(
    planner: &Planner,
    ast: &Expr,
    table: &SchemaRef,
    qualifier: Option<&str>,
    what: &str,
) -> Result<Arc<dyn PhysicalExpr>, Vec<SqlProblem>> {
    check(ast, table, qualifier)?;
    let planned = planner.plan(ast).map_err(|error| vec![diagnose::problem_of(planner, ast, &error)])?;
    if *planned.field.data_type() == DataType::Boolean {
        return Ok(planned.expr);
    }
    let found = type_name(planned.field.data_type());
    let problem = SqlProblem::new(text::start_of(ast), format!("{what} is {found}, not boolean"));
    Err(vec![problem.help("compare it with something, such as `… > 0` or `… IS NOT NULL`")])
}

fn plan_value(
    planner: &Planner,
    ast: &Expr,
    table: &SchemaRef,
    qualifier: Option<&str>,
    name: &str,
) -> Result<Projected, Vec<SqlProblem>> {
    check(ast, table, qualifier)?;
    let planned = planner.plan(ast).map_err(|error| vec![diagnose::problem_of(planner, ast, &error)])?;
    let found = type_name(planned.field.data_type());
    let planned = planned.into_column().map_err(|reason| {
        let problem =
            SqlProblem::new(text::start_of(ast), format!("the expression is {found}, which no column can be"));
        vec![problem.help(reason)]
    })?;
    let field = Field::new(name, planned.field.data_type().clone(), true);
    let marks = planned.field.metadata().iter().filter(|(key, _)| *key == TYPE_KEY && passes_through(ast));
    let marks = marks.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Projected { expr: planned.expr, field: field.with_metadata(marks) })
}

/// Whether an expression hands on what a column holds, so that json stays json.
fn passes_through(ast: &Expr) -> bool {
    match ast {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => true,
        Expr::Nested(inner) => passes_through(inner),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod golden;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod limits;
