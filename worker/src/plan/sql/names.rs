//! Names in expressions: every column and function that is not there, at its place, with the nearest that is.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::Schema;
use datafusion_sql::sqlparser::ast::{AccessExpr, Expr, Function, Ident, Query, Spanned, Visit, Visitor};

use super::SqlProblem;
use super::functions;
use super::text::{position, start_of};
use crate::operators::metadata;

/// The names that are unknown in a part of a tree over a table; `qualifier` is the table's name or alias, if it has one.
pub(super) fn problems_of(tree: &impl Visit, table: &Schema, qualifier: Option<&str>) -> Vec<SqlProblem> {
    let mut names = Names { table, qualifier, parameters: Vec::new(), fields: HashSet::new(), problems: Vec::new() };
    let _ = tree.visit(&mut names);
    names.problems
}

/// The candidate that a person may have meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::osa_distance(&name.to_lowercase(), &candidate.to_lowercase());
    // One letter is near every other one; it is only another case of itself.
    let length = name.chars().count();
    let near = |(far, _): &(usize, &str)| *far <= if length == 1 { 0 } else { (length / 3).max(1) };
    candidates.into_iter().map(|c| (distance(c), c)).filter(near).min_by_key(|(far, _)| *far).map(|(_, c)| c)
}

/// The problem of a column that is not there.
pub(super) fn unknown_column(name: &str, quote: Option<char>, at: Option<(u32, u32)>, table: &Schema) -> SqlProblem {
    let columns = || table.fields().iter().map(|f| f.name().as_str());
    let problem = SqlProblem::new(at, format!("unknown column `{name}`"));
    if let Some(near) = nearest(name, columns()) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    if functions::is_known(name) {
        return problem.help(format!("a function is called with parentheses: `{name}()`"));
    }
    if quote == Some('"') {
        return problem.help(format!("text is written in single quotes: '{name}'"));
    }
    let own: Vec<_> = columns().filter(|c| !metadata::is_metadata(c)).map(|c| format!("`{c}`")).collect();
    problem.help(format!("the columns are {}", shortened(&own)))
}

/// A list for a message: all of a few, else the first of many.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "none".into(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

struct Names<'a> {
    table: &'a Schema,
    qualifier: Option<&'a str>,
    /// Parameters of the lambdas that the visit is in.
    parameters: Vec<HashSet<String>>,
    /// Where the identifiers stand that name fields of a struct, not columns.
    fields: HashSet<(u32, u32)>,
    problems: Vec<SqlProblem>,
}

impl Names<'_> {
    fn has_column(&self, name: &str) -> bool {
        self.table.column_with_name(name).is_some()
    }

    fn is_parameter(&self, name: &str) -> bool {
        self.parameters.iter().any(|names| names.contains(name))
    }

    fn check_column(&mut self, ident: &Ident) {
        let at = position(ident.span.start);
        if self.has_column(&ident.value)
            || self.is_parameter(&ident.value)
            || at.is_some_and(|at| self.fields.contains(&at))
        {
            return;
        }
        self.problems.push(unknown_column(&ident.value, ident.quote_style, at, self.table));
    }

    fn check_path(&mut self, path: &[Ident]) {
        let [first, second, ..] = path else { return };
        if self.qualifier == Some(first.value.as_str()) {
            if !self.has_column(&second.value) {
                let at = position(second.span.start);
                self.problems.push(unknown_column(&second.value, second.quote_style, at, self.table));
            }
        } else if !self.has_column(&first.value) && !self.is_parameter(&first.value) {
            let at = position(first.span.start);
            let problem = SqlProblem::new(at, format!("unknown node or column `{}`", first.value));
            let columns = self.table.fields().iter().map(|f| f.name().as_str());
            self.problems.push(match nearest(&first.value, columns.chain(self.qualifier)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => match self.qualifier {
                    Some(node) => problem.help(format!("the node is `{node}`")),
                    None => problem.help("columns are named alone, fields of a struct as `column.field`"),
                },
            });
        }
    }

    fn check_function(&mut self, function: &Function) {
        let [part] = function.name.0.as_slice() else {
            let problem = SqlProblem::new(start_of(&function.name), format!("unknown function `{}`", function.name));
            self.problems.push(problem.help("functions have one name, without dots"));
            return;
        };
        let name = part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.to_lowercase());
        let at = position(part.span().start);
        if let Some(reason) = functions::refusal(&name) {
            self.problems.push(SqlProblem::new(at, format!("`{name}` cannot run in a stream")).help(reason));
        } else if !functions::is_known(&name) {
            let problem = SqlProblem::new(at, format!("unknown function `{name}`"));
            self.problems.push(match nearest(&name, functions::names()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
    }
}

impl Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.check_column(ident),
            Expr::CompoundIdentifier(path) => self.check_path(path),
            Expr::Function(function) => self.check_function(function),
            Expr::Lambda(lambda) => {
                self.parameters.push(lambda.params.iter().map(|p| p.name.value.clone()).collect());
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                let fields = access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(ident)) => position(ident.span.start),
                    _ => None,
                });
                self.fields.extend(fields);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Lambda(_)) {
            self.parameters.pop();
        }
        ControlFlow::Continue(())
    }
}
