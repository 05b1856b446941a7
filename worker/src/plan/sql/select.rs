//! `SELECT … FROM node WHERE …`: its source, its output's columns and its filter.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion_physical_expr::expressions::Column;
use datafusion_sql::sqlparser::ast::{
    self, ExcludeSelectItem, Expr, Ident, ObjectName, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, WildcardAdditionalOptions,
};

use super::planner::Planner;
use super::text::{position, start_of};
use super::{Projected, Select, SqlProblem, names, refuse};
use crate::operators::metadata;

/// The node that a query reads.
pub(super) fn source(query: &Query) -> Result<String, Vec<SqlProblem>> {
    let problems = refuse::problems_of_query(query);
    if let Some((select, name, _)) = parts(query)
        && let [part] = name.0.as_slice()
        && let Some(ident) = part.as_ident()
        && select.from.len() == 1
    {
        return if problems.is_empty() { Ok(ident.value.clone()) } else { Err(problems) };
    }
    if problems.is_empty() {
        let problem = SqlProblem::new(start_of(query), "FROM does not name a node");
        return Err(vec![problem.help("a node has one name, of letters, digits and `_`")]);
    }
    Err(problems)
}

/// Compiles a query over its node's table.
pub(super) fn compile(query: &Query, name: &str, table: &SchemaRef) -> Result<Select, Vec<SqlProblem>> {
    let mut problems = refuse::problems_of_query(query);
    let Some((select, _, alias)) = parts(query) else { return Err(problems) };
    let qualifier = alias.map_or(name, |alias| alias.value.as_str());
    let compiler = Compiler::new(table, qualifier)?;
    let filter = select.selection.as_ref().map(|filter| compiler.filter(filter)).transpose();
    let filter = filter.map_err(|found| problems.extend(found)).ok().flatten();
    let columns = compiler.columns(&select.projection, &mut problems);
    if columns.is_empty() && problems.is_empty() {
        problems.push(SqlProblem::new(start_of(select), "no column is left").help("exclude fewer of them"));
    }
    problems.dedup();
    if problems.is_empty() { Ok(Select { filter, columns }) } else { Err(problems) }
}

fn parts(query: &Query) -> Option<(&ast::Select, &ObjectName, Option<&Ident>)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match &select.from.first()?.relation {
        TableFactor::Table { name, alias, .. } => Some((select, name, alias.as_ref().map(|alias| &alias.name))),
        _ => None,
    }
}

/// A column of the output, and where its name stands.
type Item = (Projected, Option<(u32, u32)>);

struct Compiler<'a> {
    table: &'a SchemaRef,
    qualifier: &'a str,
    planner: Planner,
}

impl<'a> Compiler<'a> {
    fn new(table: &'a SchemaRef, qualifier: &'a str) -> Result<Self, Vec<SqlProblem>> {
        let planner = super::planner_of(table, Some(qualifier))?;
        Ok(Self { table, qualifier, planner })
    }

    fn filter(&self, ast: &Expr) -> Result<Arc<dyn datafusion_physical_expr::PhysicalExpr>, Vec<SqlProblem>> {
        super::plan_filter(&self.planner, ast, self.table, Some(self.qualifier), "WHERE")
    }

    fn columns(&self, items: &[SelectItem], problems: &mut Vec<SqlProblem>) -> Vec<Projected> {
        let mut columns = Vec::new();
        let mut taken = HashSet::new();
        for item in items {
            match self.item(item) {
                Ok(found) => {
                    for (column, at) in found {
                        problems.extend(problem_of_name(column.field.name(), at, &mut taken));
                        columns.push(column);
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        columns
    }

    /// The columns of an item, and where their names stand.
    fn item(&self, item: &SelectItem) -> Result<Vec<Item>, Vec<SqlProblem>> {
        match item {
            SelectItem::Wildcard(options) => self.star(options, start_of(item)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let found = name.to_string();
                if name.0.len() != 1 || name.0[0].as_ident().is_none_or(|ident| ident.value != self.qualifier) {
                    let problem = SqlProblem::new(start_of(name), format!("unknown node `{found}`"));
                    return Err(vec![problem.help(format!("the node is `{}`", self.qualifier))]);
                }
                self.star(options, start_of(item))
            }
            SelectItem::QualifiedWildcard(..) => {
                Err(vec![SqlProblem::new(start_of(item), "`.*` of an expression").help("name the fields")])
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let column = self.value(expr, &alias.value)?;
                Ok(vec![(column, position(alias.span.start))])
            }
            SelectItem::ExprWithAliases { .. } => {
                Err(vec![SqlProblem::new(start_of(item), "several names for one expression").help("give it one name")])
            }
            SelectItem::UnnamedExpr(expr) => match own_name(expr) {
                Some(name) => Ok(vec![(self.value(expr, name)?, start_of(expr))]),
                None => {
                    let mut problems = self.value(expr, "").err().unwrap_or_default();
                    let problem = SqlProblem::new(start_of(expr), format!("the expression `{expr}` has no name"));
                    problems.push(problem.help("give it one: `… AS name`"));
                    Err(problems)
                }
            },
        }
    }

    fn value(&self, ast: &Expr, name: &str) -> Result<Projected, Vec<SqlProblem>> {
        super::plan_value(&self.planner, ast, self.table, Some(self.qualifier), name)
    }

    fn star(&self, options: &WildcardAdditionalOptions, at: Option<(u32, u32)>) -> Result<Vec<Item>, Vec<SqlProblem>> {
        let mut problems = refused_options(options, at);
        let excluded = excluded(options);
        for name in &excluded {
            if self.table.column_with_name(&name.value).is_none() {
                let at = position(name.span.start);
                problems.push(names::unknown_column(&name.value, name.quote_style, at, self.table));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let own = self.table.fields().iter().enumerate().filter(|(_, field)| !metadata::is_metadata(field.name()));
        let kept = own.filter(|(_, field)| !excluded.iter().any(|name| name.value == *field.name()));
        Ok(kept.map(|(place, field)| (projected(place, field), at)).collect())
    }
}

fn projected(place: usize, field: &Field) -> Projected {
    Projected { expr: Arc::new(Column::new(field.name(), place)), field: field.clone().with_nullable(true) }
}

/// The name that an expression has by itself: a column's, or a field's of a struct.
fn own_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(ident) => Some(&ident.value),
        Expr::CompoundIdentifier(path) => path.last().map(|ident| ident.value.as_str()),
        _ => None,
    }
}

fn problem_of_name(name: &str, at: Option<(u32, u32)>, taken: &mut HashSet<String>) -> Option<SqlProblem> {
    if metadata::is_metadata(name) {
        let problem = SqlProblem::new(at, format!("`{name}` is the name of a metadata column"));
        return Some(problem.help(format!("give it another one: `{name} AS {}`", name.trim_start_matches('_'))));
    }
    if taken.insert(name.to_owned()) {
        return None;
    }
    let problem = SqlProblem::new(at, format!("two columns are named `{name}`"));
    Some(problem.help(format!("name one of them differently, or leave one out: `* EXCLUDE ({name})`")))
}

fn excluded(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let ident = |name: &ObjectName| name.0.first().and_then(|part| part.as_ident()).cloned();
    let mut names: Vec<_> = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => ident(name).into_iter().collect(),
        Some(ExcludeSelectItem::Multiple(names)) => names.iter().filter_map(ident).collect(),
        None => Vec::new(),
    };
    if let Some(except) = &options.opt_except {
        names.push(except.first_element.clone());
        names.extend(except.additional_elements.iter().cloned());
    }
    names
}

fn refused_options(options: &WildcardAdditionalOptions, at: Option<(u32, u32)>) -> Vec<SqlProblem> {
    let refused = [
        (options.opt_ilike.is_some(), "ILIKE", "name the columns"),
        (
            options.opt_replace.is_some(),
            "REPLACE",
            "write `* EXCLUDE (column), … AS column`, or a transform with `set`",
        ),
        (options.opt_rename.is_some(), "RENAME", "write a transform with `rename`"),
        (options.opt_alias.is_some(), "AS", "columns keep their names"),
    ];
    let found = refused.into_iter().filter(|(present, ..)| *present);
    found.map(|(_, what, help)| SqlProblem::new(at, format!("`*` cannot have {what}")).help(help)).collect()
}
