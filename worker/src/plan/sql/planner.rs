//! A parsed expression → a physical one over a table: DataFusion's planner and type coercion, with our types, our
//! functions and checked arithmetic.
//!
//! DataFusion's simplifier is left out on purpose: it evaluates constants with wrapping arithmetic and rearranges
//! conditions. The little of it that is needed (`coalesce` and its relatives exist only as CASE) is done here.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result, ScalarValue, TableReference, exec_err, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::expressions::CastExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, Value, VisitMut, VisitorMut};

use super::types::{SqlTypes, column_type};
use super::{checked, clock, functions, guarded};

/// Plans expressions over one table.
pub(super) struct Planner {
    catalog: Catalog,
    /// The table with the clock's hidden column behind it, as DataFusion's planner sees it.
    schema: DFSchema,
    clock: Expr,
}

/// A planned expression, of whatever type DataFusion gave it.
pub(super) struct Planned {
    pub(super) expr: Arc<dyn PhysicalExpr>,
    pub(super) field: Field,
}

impl Planner {
    /// A planner over a table, whose columns may also be named by the qualifier.
    pub(super) fn new(table: &SchemaRef, qualifier: Option<&str>) -> Result<Self> {
        let columns = table.fields().iter().cloned().chain([Arc::new(clock::field())]);
        let schema = Schema::new(columns.collect::<Fields>());
        let relation = qualifier.map(TableReference::bare);
        let clock = Expr::Column(Column::new(relation.clone(), clock::COLUMN));
        let schema = match relation {
            Some(relation) => DFSchema::try_from_qualified_schema(relation, &schema)?,
            None => DFSchema::try_from(schema)?,
        };
        Ok(Self { catalog: Catalog::new(), schema, clock })
    }

    /// Plans an expression, and evaluates it over no rows: what fails then would fail for every record.
    pub(super) fn plan(&self, ast: &ast::Expr) -> Result<Planned> {
        let mut ast = ast.clone();
        let _ = VisitMut::visit(&mut ast, &mut Numbers);
        let expr = SqlToRel::new_with_options(&self.catalog, parser_options()).sql_to_expr(
            ast,
            &self.schema,
            &mut PlannerContext::new(),
        )?;
        let expr = expr.transform_up(|node| {
            Ok(clock::replace(&node, &self.clock).map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        let expr = expr.data.rewrite(&mut TypeCoercionRewriter::new(&self.schema))?.data;
        let expr = expr.transform_up(|node| simplify(node, &self.schema))?.data;
        self.physical(&expr)
    }

    fn physical(&self, expr: &Expr) -> Result<Planned> {
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::clone(&self.catalog.config));
        let expr = create_physical_expr(expr, &self.schema, &props, &PhysicalPlanningContext::default())?;
        let expr = checked::checked(expr, self.schema.as_arrow())?;
        let field = expr.return_field(self.schema.as_arrow())?.as_ref().clone();
        let empty = RecordBatch::new_empty(Arc::clone(self.schema.inner()));
        match catch_unwind(AssertUnwindSafe(|| expr.evaluate(&empty))) {
            Ok(outcome) => outcome.map(|_| Planned { expr, field }),
            Err(_) => exec_err!("it cannot be evaluated"),
        }
    }
}

impl Planned {
    /// The same as one that gives a type that columns can have; the reason if there is none.
    pub(super) fn into_column(self) -> Result<Self, &'static str> {
        let wanted = column_type(self.field.data_type())?;
        if wanted == *self.field.data_type() {
            return Ok(self);
        }
        let field = self.field.with_data_type(wanted.clone());
        Ok(Self { expr: Arc::new(CastExpr::new(self.expr, wanted, None)), field })
    }
}

/// What the planner would leave to DataFusion's simplifier, and constants that are cast.
fn simplify(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "nvl" | "nvl2") => {
            match call.func.simplify(call.args, &SimplifyContext::default())? {
                ExprSimplifyResult::Simplified(expr) => Ok(Transformed::yes(expr)),
                ExprSimplifyResult::Original(_) => plan_err!("{} cannot be planned", call.func.name()),
            }
        }
        Expr::ScalarFunction(call) => replace_call(call, schema),
        Expr::Cast(Cast { expr, field }) => {
            let field = in_microseconds(field);
            match expr.as_ref() {
                Expr::Literal(value, _) => fold_cast(value, field.data_type()).map(Transformed::yes),
                _ => Ok(Transformed::yes(Expr::Cast(Cast::new_from_field(expr, field)))),
            }
        }
        Expr::TryCast(TryCast { expr, field }) => {
            Ok(Transformed::yes(Expr::TryCast(TryCast::new_from_field(expr, in_microseconds(field)))))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A call that DataFusion would get wrong, or that a record could abuse, as one that is right.
fn replace_call(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match (call.func.name(), call.args.as_mut_slice()) {
        // A failing `to_date(text)` says nothing about the text; the cast does, and is the same otherwise.
        ("to_date", [text]) if text.get_type(schema)? == DataType::Utf8 => {
            let cast = Cast::new(Box::new(text.clone()), DataType::Date32);
            return Ok(Transformed::yes(Expr::Cast(cast)));
        }
        ("date_part", [part, span]) if matches!(span.get_type(schema)?, DataType::Duration(_)) => {
            return match part {
                Expr::Literal(value, _)
                    if value.try_as_str().flatten().is_some_and(|p| p.eq_ignore_ascii_case("epoch")) =>
                {
                    Ok(Transformed::yes(guarded::seconds(span.clone())))
                }
                _ => plan_err!("of a span of time, only its seconds can be had: date_part('epoch', …)"),
            };
        }
        // Its origin has to be in nanoseconds, unlike our timestamps.
        ("date_bin", [_, _, origin]) => {
            let exact = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
            *origin = Expr::Cast(Cast::new(Box::new(origin.clone()), exact));
        }
        _ => {}
    }
    let guarded = guarded::guard(&call.func);
    let func = guarded.unwrap_or(call.func);
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: call.args })))
}

/// DataFusion plans `AT TIME ZONE` in nanoseconds, which end in 2262; our timestamps have microseconds.
fn in_microseconds(field: Arc<Field>) -> Arc<Field> {
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let exact = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(exact))
        }
        _ => field,
    }
}

/// A constant cast now, so that `ts > 'yesterday'` is a problem of the text and not of every record.
fn fold_cast(value: &ScalarValue, to: &DataType) -> Result<Expr> {
    let folded = match (value, to) {
        // From its text, because decimal digits divided by a power of ten can be off by the last bit.
        (ScalarValue::Decimal128(Some(_), ..), DataType::Float64 | DataType::Float32) => {
            ScalarValue::from(value.to_string()).cast_to(to)?
        }
        _ => value.cast_to(to)?,
    };
    Ok(Expr::Literal(folded, None))
}

/// Numbers as SQL means them: with an exponent they are doubles, beyond bigint they are decimals.
struct Numbers;

impl VisitorMut for Numbers {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        let smallest = i64::MIN.to_string();
        match expr {
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: operand } => {
                if let Some(digits) = number(operand)
                    && smallest[1..] == *digits
                {
                    *expr = cast(&smallest, ast::DataType::BigInt(None));
                }
            }
            operand => {
                if let Some(digits) = number(operand)
                    && let Some(to) = type_of_number(digits)
                {
                    *operand = cast(&digits.clone(), to);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn number(expr: &ast::Expr) -> Option<&String> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

fn type_of_number(digits: &str) -> Option<ast::DataType> {
    if digits.contains(['e', 'E']) {
        return Some(ast::DataType::Double(ast::ExactNumberInfo::None));
    }
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    (whole && digits.parse::<i64>().is_err())
        .then(|| ast::DataType::Decimal(ast::ExactNumberInfo::Precision(digits.trim_start_matches('0').len() as u64)))
}

fn cast(text: &str, to: ast::DataType) -> ast::Expr {
    let text = ast::Expr::Value(Value::SingleQuotedString(text.into()).with_empty_span());
    let kind = ast::CastKind::Cast;
    ast::Expr::Cast { kind, expr: Box::new(text), data_type: to, array: false, format: None }
}

fn parser_options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: false,
        support_varchar_with_length: false,
        enable_options_value_normalization: false,
        collect_spans: false,
        map_string_types_to_utf8view: false,
        default_null_ordering: NullOrdering::NullsMax,
    }
}

/// What DataFusion's planner asks for: functions and types, no tables.
struct Catalog {
    config: Arc<ConfigOptions>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Catalog {
    fn new() -> Self {
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(CoreFunctionPlanner::default()),
            Arc::new(NestedFunctionPlanner),
            Arc::new(FieldAccessPlanner),
            Arc::new(DatetimeFunctionPlanner),
            Arc::new(UnicodeFunctionPlanner),
        ];
        Self { config: Arc::new(ConfigOptions::new()), planners }
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("{name} is not read here")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SqlTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        functions::higher_order(name)
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        functions::names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
