//! `now()` and its relatives: one value a batch.
//!
//! DataFusion fixes the time when it plans, which for a stream is when the worker starts. Here the functions only mark
//! the place: the planner replaces them by a hidden column behind the table's own, which the chain fills with the
//! batch's time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Result, exec_err};
use datafusion_expr::expr::Cast;
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The hidden column's name. No identifier of a text reaches it: names are checked against the table before.
pub const COLUMN: &str = "now()";

/// The hidden column.
pub fn field() -> Field {
    Field::new(COLUMN, timestamp(), false)
}

/// The functions, by which texts name the time.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let now = Clock::new("now", &["current_timestamp"], timestamp());
    let today = Clock::new("current_date", &["today"], DataType::Date32);
    vec![Arc::new(ScalarUDF::from(now)), Arc::new(ScalarUDF::from(today))]
}

/// The hidden column in place of a call, if the expression is one.
pub(super) fn replace(expr: &Expr, column: &Expr) -> Option<Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let clock = call.func.inner().downcast_ref::<Clock>()?;
    Some(match clock.returns {
        DataType::Date32 => Expr::Cast(Cast::new(Box::new(column.clone()), DataType::Date32)),
        _ => column.clone(),
    })
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    name: &'static str,
    aliases: Vec<String>,
    returns: DataType,
    signature: Signature,
}

impl Clock {
    fn new(name: &'static str, aliases: &[&str], returns: DataType) -> Self {
        let aliases = aliases.iter().map(ToString::to_string).collect();
        Self { name, aliases, returns, signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is replaced by a column when it is planned", self.name)
    }
}
