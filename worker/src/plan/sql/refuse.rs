//! What a stream cannot run, refused by the name of the construct, with what would be right.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    self, BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr, LimitClause, Query,
    Select, SelectFlavor, SetExpr, Spanned, TableFactor, Value, Visit, Visitor,
};

use super::SqlProblem;
use super::text::start_of;

/// Aggregate functions that people try.
const AGGREGATES: [&str; 40] = [
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "every",
    "first",
    "first_value",
    "grouping",
    "last",
    "last_value",
    "listagg",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "percentile_cont",
    "quantile_cont",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "variance",
];

/// Functions that only make sense over a window.
const WINDOWS: [&str; 9] =
    ["cume_dist", "dense_rank", "lag", "lead", "ntile", "percent_rank", "rank", "row_number", "session"];

/// Time windows of streaming SQL.
const TIME_WINDOWS: [&str; 5] = ["tumble", "hop", "cumulate", "session_window", "tumbling"];

/// The problems of a whole query: of its clauses, its FROM and every expression in it.
pub(super) fn problems_of_query(query: &Query) -> Vec<SqlProblem> {
    let mut problems = Vec::new();
    refuse_clauses_of_query(query, &mut problems);
    if let SetExpr::Select(select) = query.body.as_ref() {
        refuse_clauses_of_select(select, &mut problems);
        refuse_from(select, &mut problems);
        for item in &select.projection {
            problems.extend(problems_of(item));
        }
        problems.extend(select.selection.iter().flat_map(problems_of));
    }
    problems
}

/// The problems of the expressions in a part of a tree.
pub(super) fn problems_of(tree: &impl Visit) -> Vec<SqlProblem> {
    let mut constructs = Constructs { problems: Vec::new(), queries: 0 };
    let _ = tree.visit(&mut constructs);
    constructs.problems
}

fn refuse_clauses_of_query(query: &Query, problems: &mut Vec<SqlProblem>) {
    let at = start_of(query);
    let mut refuse = |present: bool, at, what: &str, help: &str| {
        if present {
            problems.push(refused(at, what, help));
        }
    };
    refuse(query.with.is_some(), at, "WITH", "write a transform of its own for it, and name that in FROM");
    refuse(query.order_by.is_some(), query.order_by.as_ref().and_then(start_of), "ORDER BY", ORDER);
    refuse(query.fetch.is_some(), at, "FETCH", LIMIT);
    refuse(!query.locks.is_empty(), at, "FOR UPDATE", "leave it out: records cannot be locked");
    refuse(query.for_clause.is_some(), at, "FOR", "the sink's format decides how rows are written");
    refuse(query.settings.is_some(), at, "SETTINGS", "leave it out");
    refuse(query.format_clause.is_some(), at, "FORMAT", "the sink's format decides how rows are written");
    refuse(!query.pipe_operators.is_empty(), at, "|>", "write SELECT … FROM … WHERE …");
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            refuse(limit.is_some(), limit.as_ref().and_then(start_of), "LIMIT", LIMIT);
            refuse(offset.is_some(), offset.as_ref().and_then(|o| start_of(&o.value)), "OFFSET", LIMIT);
        }
        Some(LimitClause::OffsetCommaLimit { limit, .. }) => refuse(true, start_of(limit), "LIMIT", LIMIT),
        None => {}
    }
    let united = "write a transform for each SELECT, and name them all in `from` of the next node";
    match query.body.as_ref() {
        SetExpr::Select(_) => {}
        SetExpr::Query(_) => refuse(true, at, "a SELECT in parentheses", "leave out the parentheses"),
        SetExpr::SetOperation { op, .. } => refuse(true, at, &op.to_string(), united),
        SetExpr::Values(_) => refuse(true, at, "VALUES", "records come from the sources"),
        SetExpr::Table(_) => refuse(true, at, "TABLE", "write SELECT * FROM …"),
        _ => refuse(true, at, "a statement that changes data", "where the rows go is said by the sinks"),
    }
}

const ORDER: &str = "a stream has no end at which it could be sorted; leave it out";
const LIMIT: &str = "a stream has no end to count from; keep rows by WHERE";
const AGGREGATE: &str = "every row is computed from one record; aggregate behind the sink";

fn refuse_clauses_of_select(select: &Select, problems: &mut Vec<SqlProblem>) {
    let at = start_of(select);
    let mut refuse = |present: bool, at, what: &str, help: &str| {
        if present {
            problems.push(refused(at, what, help));
        }
    };
    let grouped =
        !matches!(&select.group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty());
    refuse(grouped, start_of(&select.group_by), "GROUP BY", AGGREGATE);
    refuse(select.having.is_some(), select.having.as_ref().and_then(start_of), "HAVING", "keep rows by WHERE");
    refuse(select.distinct.is_some(), at, "DISTINCT", "a stream would have to remember every row; leave it out");
    refuse(select.qualify.is_some(), select.qualify.as_ref().and_then(start_of), "QUALIFY", "keep rows by WHERE");
    refuse(!select.named_window.is_empty(), at, "WINDOW", AGGREGATE);
    refuse(select.top.is_some(), at, "TOP", LIMIT);
    refuse(select.into.is_some(), at, "SELECT … INTO", "where the rows go is said by the sinks");
    refuse(!select.lateral_views.is_empty(), at, "LATERAL VIEW", "write a transform with `unnest`");
    refuse(select.prewhere.is_some(), at, "PREWHERE", "write WHERE");
    refuse(!select.connect_by.is_empty(), at, "CONNECT BY", "every row is computed from one record");
    refuse(!select.cluster_by.is_empty(), at, "CLUSTER BY", ORDER);
    refuse(!select.distribute_by.is_empty(), at, "DISTRIBUTE BY", "the sink's `keyColumn` decides the partition");
    refuse(!select.sort_by.is_empty(), at, "SORT BY", ORDER);
    refuse(select.value_table_mode.is_some(), at, "SELECT AS VALUE", "write SELECT with columns");
    refuse(select.exclude.is_some(), at, "EXCLUDE after the columns", "write it after the star: `* EXCLUDE (column)`");
    refuse(select.flavor != SelectFlavor::Standard, at, "FROM before SELECT", "write SELECT … FROM … WHERE …");
    refuse(select.projection.is_empty(), at, "a SELECT without columns", "name the columns, or write `*`");
}

fn refuse_from(select: &Select, problems: &mut Vec<SqlProblem>) {
    const ONE: &str = "a SELECT reads one node; several nodes are united by `from` of a transform";
    let Some(first) = select.from.first() else {
        problems.push(SqlProblem::new(start_of(select), "FROM is missing").help("name the node to read: `FROM node`"));
        return;
    };
    if let Some(second) = select.from.get(1) {
        let (what, help) = refused_table(&second.relation).unwrap_or(("a second node in FROM", ONE));
        problems.push(refused(start_of(second), what, help));
    }
    if let Some(join) = first.joins.first() {
        problems.push(refused(start_of(join), "JOIN", ONE));
    }
    if let Some((what, help)) = refused_table(&first.relation) {
        problems.push(refused(start_of(&first.relation), what, help));
    }
}

/// What is wrong with the table of a FROM, if anything.
fn refused_table(table: &TableFactor) -> Option<(&'static str, &'static str)> {
    const PLAIN: &str = "name a node: `FROM node`";
    Some(match table {
        TableFactor::Table { args: Some(_), .. } => ("a table function", PLAIN),
        TableFactor::Table { sample: Some(_), .. } => {
            ("TABLESAMPLE", "a sample would differ when records are replayed")
        }
        TableFactor::Table { version: Some(_), .. } => ("a version of a table", PLAIN),
        TableFactor::Table { with_hints, partitions, index_hints, json_path, with_ordinality, .. }
            if !with_hints.is_empty()
                || !partitions.is_empty()
                || !index_hints.is_empty()
                || json_path.is_some()
                || *with_ordinality =>
        {
            ("a table with options", PLAIN)
        }
        TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty() => {
            ("a table alias with columns", "give the columns their names by AS")
        }
        TableFactor::Table { .. } => return None,
        TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. } => {
            ("LATERAL", "write a transform of its own for it")
        }
        TableFactor::Derived { .. } => ("a subquery in FROM", "write a transform of its own for it, and name that"),
        TableFactor::UNNEST { .. } => ("UNNEST in FROM", "write a transform with `unnest`"),
        TableFactor::NestedJoin { .. } => ("a table in parentheses", PLAIN),
        TableFactor::Pivot { .. } => ("PIVOT", AGGREGATE),
        TableFactor::Unpivot { .. } => ("UNPIVOT", "write a transform with `unnest`"),
        TableFactor::MatchRecognize { .. } => ("MATCH_RECOGNIZE", AGGREGATE),
        _ => ("a table function", PLAIN),
    })
}

/// Finds refused constructs in expressions.
struct Constructs {
    problems: Vec<SqlProblem>,
    /// Depth of subqueries: what is in one is not looked at, since the whole is refused.
    queries: usize,
}

impl Constructs {
    fn refuse(&mut self, at: &impl Spanned, what: &str, help: &str) {
        self.problems.push(refused(start_of(at), what, help));
    }

    fn check(&mut self, expr: &Expr) {
        const SUBQUERY: &str = "every row is computed from one record; a literal list works: `x IN (1, 2, 3)`";
        match expr {
            Expr::Subquery(_) => self.refuse(expr, "a subquery", SUBQUERY),
            Expr::InSubquery { .. } => self.refuse(expr, "IN (SELECT …)", SUBQUERY),
            Expr::Exists { .. } => self.refuse(expr, "EXISTS", SUBQUERY),
            Expr::InUnnest { .. } => self.refuse(expr, "IN UNNEST", "write `array_has(list, x)`"),
            Expr::GroupingSets(_) => self.refuse(expr, "GROUPING SETS", AGGREGATE),
            Expr::Cube(_) => self.refuse(expr, "CUBE", AGGREGATE),
            Expr::Rollup(_) => self.refuse(expr, "ROLLUP", AGGREGATE),
            Expr::MatchAgainst { .. } => self.refuse(expr, "MATCH … AGAINST", "write LIKE or `regexp_like`"),
            Expr::RLike { .. } => self.refuse(expr, "RLIKE", "write `regexp_like(text, pattern)`"),
            Expr::Collate { .. } => self.refuse(expr, "COLLATE", "texts compare by their bytes; try `lower(text)`"),
            Expr::Convert { .. } => self.refuse(expr, "CONVERT", "write CAST(value AS type)"),
            Expr::Prior(_) => self.refuse(expr, "PRIOR", "every row is computed from one record"),
            Expr::OuterJoin(_) => self.refuse(expr, "(+)", "a SELECT reads one node"),
            Expr::JsonAccess { .. } => self.refuse(expr, "`:` access", "write `column['field']` for a struct"),
            Expr::Tuple(_) => self.refuse(expr, "a tuple", "write `struct(a, b)`"),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                self.refuse(expr, "`*` in an expression", "name a column");
            }
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                self.refuse(expr, "a placeholder", "write the value itself");
            }
            Expr::BinaryOp { op, .. } => self.check_operator(expr, op),
            Expr::Function(function) => self.check_function(function),
            _ => {}
        }
    }

    /// Shifts drop bits, and `^` is exclusive-or here where most people mean a power.
    fn check_operator(&mut self, at: &Expr, op: &BinaryOperator) {
        use BinaryOperator as Op;
        let problem = SqlProblem::new(start_of(at), format!("`{op}` is refused"));
        self.problems.extend(match op {
            Op::PGBitwiseShiftLeft | Op::PGBitwiseShiftRight => {
                Some(problem.help("it would drop bits silently; multiply or divide by a power of two"))
            }
            Op::BitwiseXor | Op::PGBitwiseXor => Some(problem.help("for a power, write `power(a, b)`")),
            _ => None,
        });
    }

    fn check_function(&mut self, function: &Function) {
        let name = function.name.to_string().to_lowercase();
        let window = "every row is computed from one record";
        if function.over.is_some() {
            self.refuse(&function.name, &format!("a window function ({name} … OVER)"), window);
        } else if WINDOWS.contains(&name.as_str()) {
            self.refuse(&function.name, &format!("a window function ({name})"), window);
        } else if TIME_WINDOWS.contains(&name.as_str()) {
            self.refuse(&function.name, &format!("a time window ({name})"), AGGREGATE);
        } else if AGGREGATES.contains(&name.as_str()) {
            self.refuse(&function.name, &format!("an aggregate function ({name})"), aggregate_help(&name));
        } else if matches!(name.as_str(), "unnest" | "unnest_outer" | "explode") {
            self.refuse(&function.name, &format!("{name} in an expression"), "write a transform with `unnest`");
        } else {
            self.check_function_clauses(function, &name);
        }
    }

    fn check_function_clauses(&mut self, function: &Function, name: &str) {
        let clause = match &function.args {
            _ if function.filter.is_some() => "FILTER",
            _ if !function.within_group.is_empty() => "WITHIN GROUP",
            _ if function.null_treatment.is_some() => "IGNORE NULLS",
            _ if !matches!(function.parameters, FunctionArguments::None) => "a second list of arguments",
            FunctionArguments::Subquery(_) => "a subquery",
            FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) => {
                "DISTINCT"
            }
            FunctionArguments::List(list) if !list.clauses.is_empty() => "a clause",
            _ => return,
        };
        self.refuse(&function.name, &format!("{clause} in a call of {name}"), "call it with plain arguments");
    }
}

/// Some aggregates have a sibling that works within a row.
fn aggregate_help(name: &str) -> &'static str {
    match name {
        "max" => "of several columns of a row: `greatest(a, b)`; of a list: `array_max(list)`",
        "min" => "of several columns of a row: `least(a, b)`; of a list: `array_min(list)`",
        "count" => "of a list's elements: `array_length(list)`",
        "sum" => "of columns of a row: `a + b`",
        "array_agg" => "of columns of a row: `make_array(a, b)`",
        "string_agg" | "listagg" => {
            "of columns of a row: `concat_ws(',', a, b)`; of a list: `array_to_string(list, ',')`"
        }
        _ => AGGREGATE,
    }
}

impl Visitor for Constructs {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if self.queries == 0 {
            self.check(expr);
        }
        ControlFlow::Continue(())
    }
}

fn refused(at: Option<(u32, u32)>, what: &str, help: &str) -> SqlProblem {
    SqlProblem::new(at, format!("{what} cannot run in a stream")).help(help)
}
