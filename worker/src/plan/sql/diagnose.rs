//! Where in an expression planning failed, and why, in words for people.
//!
//! DataFusion stops at the first problem and seldom says where it is. The parts of an expression can be planned alone:
//! the smallest one that fails is the place, and the types of its own parts are what the message is about.

use std::ops::ControlFlow;

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Visit, Visitor};

use super::SqlProblem;
use super::message::clean;
use super::planner::Planner;
use super::text::start_of;
use super::types::type_name;

/// The problem behind a failure to plan an expression.
pub(super) fn problem_of(planner: &Planner, ast: &Expr, error: &DataFusionError) -> SqlProblem {
    let mut search = Search { planner, lambdas: 0, found: None };
    let _ = ast.visit(&mut search);
    match search.found {
        Some((part, error)) => explain(planner, &part, &error),
        None => explain(planner, ast, error),
    }
}

/// Plans parts before wholes, until one fails.
struct Search<'a> {
    planner: &'a Planner,
    /// What is in a lambda cannot be planned alone.
    lambdas: usize,
    found: Option<(Expr, DataFusionError)>,
}

impl Visitor for Search<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.lambdas += usize::from(matches!(expr, Expr::Lambda(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Lambda(_)) {
            self.lambdas -= 1;
            return ControlFlow::Continue(());
        }
        // A name alone was found before; as the field of a struct it is not a column.
        if self.lambdas > 0 || matches!(expr, Expr::Identifier(_)) {
            return ControlFlow::Continue(());
        }
        match self.planner.plan(expr) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                self.found = Some((expr.clone(), error));
                ControlFlow::Break(())
            }
        }
    }
}

fn explain(planner: &Planner, part: &Expr, error: &DataFusionError) -> SqlProblem {
    let at = start_of(part);
    let of_types = matches!(
        root(error),
        DataFusionError::Plan(_) | DataFusionError::NotImplemented(_) | DataFusionError::Internal(_)
    );
    let type_of = |expr: &Expr| planner.plan(expr).ok().map(|planned| type_name(planned.field.data_type()));
    match part {
        Expr::BinaryOp { left, op, right } if of_types => match (type_of(left), type_of(right)) {
            (Some(left), Some(right)) => {
                SqlProblem::new(at, format!("`{op}` does not work between {left} and {right}"))
                    .help("CAST one side to the type that is meant")
            }
            _ => SqlProblem::new(at, clean(error)),
        },
        Expr::CompoundIdentifier(path) if path.len() == 2 => {
            let column = Expr::Identifier(path[0].clone());
            match type_of(&column) {
                Some(found) if !found.starts_with("struct") => {
                    SqlProblem::new(at, format!("`{column}` is {found}, which has no fields"))
                }
                _ => SqlProblem::new(at, clean(error)),
            }
        }
        Expr::Function(function) if is_signature(error) => {
            let types: Option<Vec<_>> = arguments(function).map(type_of).collect();
            let name = function.name.to_string().to_lowercase();
            let found = match types {
                Some(types) if types.is_empty() => return SqlProblem::new(at, format!("`{name}` needs arguments")),
                Some(types) => format!("`{name}` does not take ({})", types.join(", ")),
                None => format!("{name}: {}", clean(error)),
            };
            let help = candidates(error).unwrap_or_else(|| "CAST the arguments to types that it takes".into());
            SqlProblem::new(at, found).help(help)
        }
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            let text = clean(error);
            SqlProblem::new(at, if text.contains(&name) { text } else { format!("{name}: {text}") })
        }
        _ => SqlProblem::new(at, clean(error)),
    }
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        other => other,
    }
}

fn is_signature(error: &DataFusionError) -> bool {
    let text = error.to_string();
    ["No function matches", "coerce", "signature", "expects", "requires", "zero arguments"]
        .iter()
        .any(|word| text.contains(word))
}

/// The signatures that DataFusion lists, as help.
fn candidates(error: &DataFusionError) -> Option<String> {
    let text = error.strip_backtrace();
    let (_, list) = text.split_once("Candidate functions:")?;
    let signatures: Vec<_> = list.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
    (!signatures.is_empty()).then(|| format!("it takes {}", signatures.join(" or ")))
}

fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let args = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. } => Some(expr),
        _ => None,
    })
}
