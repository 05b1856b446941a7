//! Arithmetic that cannot lie: what does not fit is an error of that row, never a wrapped, infinite or empty result.
//!
//! DataFusion wraps integers unless told otherwise, negates them by wrapping, lets decimals grow past their precision,
//! and divides doubles by zero. The compiled tree is rewritten here so that none of these remains: additions,
//! subtractions and multiplications fail on overflow, and the rest is evaluated by the expressions of this module.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Datum, RecordBatch};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, NegativeExpr, TryCastExpr};

use super::types::type_name;

/// The most digits of a decimal.
const MAX_PRECISION: u8 = 38;

/// The expression with checked arithmetic throughout.
pub(super) fn checked(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|node| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            return checked_binary(binary, schema).map(|found| or_same(found, node));
        }
        if let Some(cast) = node.downcast_ref::<CastExpr>() {
            return checked_cast(cast.expr(), cast.cast_type(), false, schema).map(|found| or_same(found, node));
        }
        if let Some(cast) = node.downcast_ref::<TryCastExpr>() {
            return checked_cast(cast.expr(), cast.cast_type(), true, schema).map(|found| or_same(found, node));
        }
        if let Some(negative) = node.downcast_ref::<NegativeExpr>() {
            let operand = Arc::clone(negative.arg());
            return Ok(Transformed::yes(Arc::new(Checked { check: Check::Negate, operands: vec![operand] })));
        }
        Ok(Transformed::no(node))
    })
    .map(|transformed| transformed.data)
}

fn or_same(found: Option<Arc<dyn PhysicalExpr>>, node: Arc<dyn PhysicalExpr>) -> Transformed<Arc<dyn PhysicalExpr>> {
    found.map_or_else(|| Transformed::no(node), Transformed::yes)
}

/// Casts that would give infinity for a finite number are checked, and those that would guess a unit are refused.
fn checked_cast(
    source: &Arc<dyn PhysicalExpr>,
    to: &DataType,
    lenient: bool,
    schema: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let from = source.data_type(schema)?;
    let time = |found: &DataType| matches!(found, DataType::Timestamp(..) | DataType::Date32);
    if from.is_numeric() && time(to) {
        return plan_err!(
            "a number is no time before its unit is said: to_timestamp_millis(n), to_timestamp(seconds), …"
        );
    }
    if time(&from) && to.is_numeric() {
        return plan_err!("a time is no number before its unit is said: date_part('epoch', t) gives seconds");
    }
    let check = match (&from, to) {
        (DataType::Float64 | DataType::Utf8, DataType::Float32) => Check::ToFloat { lenient },
        (DataType::Utf8, DataType::Float64) => Check::ToDouble { lenient },
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(Checked { check, operands: vec![Arc::clone(source)] })))
}

fn checked_binary(binary: &BinaryExpr, schema: &Schema) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let result = match binary.op() {
        Operator::Plus | Operator::Minus | Operator::Multiply => binary.data_type(schema)?,
        Operator::Divide | Operator::Modulo => {
            let operands = vec![Arc::clone(binary.left()), Arc::clone(binary.right())];
            let check = if *binary.op() == Operator::Divide { Check::Divide } else { Check::Modulo };
            return Ok(match binary.data_type(schema)? {
                DataType::Float32 | DataType::Float64 => Some(Arc::new(Checked { check, operands })),
                result => range_of_decimal(Arc::new(binary.clone()), &result),
            });
        }
        _ => return Ok(None),
    };
    let failing: Arc<dyn PhysicalExpr> = Arc::new(binary.clone().with_fail_on_overflow(true));
    Ok(Some(range_of_decimal(Arc::clone(&failing), &result).unwrap_or(failing)))
}

/// Decimals of fewer digits cannot grow past their type: it is made wide enough for every result.
fn range_of_decimal(expr: Arc<dyn PhysicalExpr>, result: &DataType) -> Option<Arc<dyn PhysicalExpr>> {
    let widest = matches!(result, DataType::Decimal128(MAX_PRECISION, _));
    widest.then(|| Arc::new(Checked { check: Check::Digits, operands: vec![expr] }) as _)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    /// The decimal has no more digits than its type.
    Digits,
    /// The operand as a float; what is finite stays finite, or is null if lenient.
    ToFloat { lenient: bool },
    /// The operand as a double; what is finite stays finite, or is null if lenient.
    ToDouble { lenient: bool },
    /// Minus the operand.
    Negate,
    /// The first over the second, which is not zero.
    Divide,
    /// The rest of the first over the second, which is not zero.
    Modulo,
}

/// An expression of this module over one or two operands.
#[derive(Debug, Eq)]
struct Checked {
    check: Check,
    operands: Vec<Arc<dyn PhysicalExpr>>,
}

// By hand, because the derived ones would move out of the `Arc`s.
impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.check == other.check && self.operands.eq(&other.operands)
    }
}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.check.hash(state);
        self.operands.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.check, self.operands.as_slice()) {
            (Check::Divide, [left, right]) => write!(f, "({left} / {right})"),
            (Check::Modulo, [left, right]) => write!(f, "({left} % {right})"),
            (Check::Negate, [operand]) => write!(f, "(- {operand})"),
            (Check::ToFloat { .. }, [operand]) => write!(f, "CAST({operand} AS FLOAT)"),
            (Check::ToDouble { .. }, [operand]) => write!(f, "CAST({operand} AS DOUBLE)"),
            (_, operands) => operands.iter().try_for_each(|operand| write!(f, "{operand}")),
        }
    }
}

impl Checked {
    fn operand(&self, place: usize) -> Result<&Arc<dyn PhysicalExpr>> {
        self.operands.get(place).ok_or_else(|| ArrowError::ComputeError("an operand is missing".into()).into())
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        match self.check {
            Check::ToFloat { .. } => Ok(DataType::Float32),
            Check::ToDouble { .. } => Ok(DataType::Float64),
            _ => self.operand(0)?.data_type(input),
        }
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.operands.iter().try_fold(false, |nullable, operand| Ok(nullable || operand.nullable(input)?))
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        let field = self.operand(0)?.return_field(input)?;
        let field = field.as_ref().clone().with_data_type(self.data_type(input)?);
        Ok(Arc::new(field.with_nullable(self.nullable(input)?)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let first = self.operand(0)?.evaluate(batch)?;
        match self.check {
            Check::Digits => {
                let checked = unary(&first, |value| {
                    value.as_primitive::<Decimal128Type>().validate_decimal_precision(MAX_PRECISION)
                });
                checked.map(|()| first)
            }
            Check::ToFloat { lenient } => to_finite(&first, &DataType::Float32, lenient),
            Check::ToDouble { lenient } => to_finite(&first, &DataType::Float64, lenient),
            Check::Negate => compute(&[first], |args| numeric::neg(args[0].get().0)),
            Check::Divide => divide(first, self.operand(1)?.evaluate(batch)?, numeric::div),
            Check::Modulo => divide(first, self.operand(1)?.evaluate(batch)?, numeric::rem),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operands.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, operands: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { check: self.check, operands }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

/// Divides doubles or floats; a zero divisor of a row that has a dividend is an error.
fn divide(dividend: ColumnarValue, divisor: ColumnarValue, kernel: Kernel) -> Result<ColumnarValue> {
    compute(&[dividend, divisor], |args| {
        let ((dividends, one_dividend), (divisors, one_divisor)) = (args[0].get(), args[1].get());
        let present = |row: usize| dividends.is_valid(if one_dividend { 0 } else { row });
        let zeros = zeros(divisors);
        let fails = match zeros.first() {
            None => false,
            Some(_) if one_divisor => dividends.null_count() < dividends.len(),
            Some(_) => zeros.iter().any(|row| present(*row)),
        };
        if fails { Err(ArrowError::DivideByZero) } else { kernel(args[0], args[1]) }
    })
}

/// The rows of doubles or floats that are zero.
fn zeros(array: &dyn Array) -> Vec<usize> {
    fn of<T: ArrowPrimitiveType<Native: Default + PartialEq>>(array: &dyn Array) -> Vec<usize> {
        let (values, zero) = (array.as_primitive::<T>().values(), T::Native::default());
        (0..values.len()).filter(|row| values[*row] == zero && array.is_valid(*row)).collect()
    }
    match array.data_type() {
        DataType::Float32 => of::<Float32Type>(array),
        _ => of::<Float64Type>(array),
    }
}

/// Casts to a floating-point type; a number that was finite and is infinite now did not fit.
fn to_finite(value: &ColumnarValue, to: &DataType, lenient: bool) -> Result<ColumnarValue> {
    let options = CastOptions { safe: lenient, ..CastOptions::default() };
    compute(std::slice::from_ref(value), |args| {
        let source = args[0].get().0;
        let result = cast_with_options(source, to, &options)?;
        let infinite = |row: usize| match to {
            DataType::Float32 => result.as_primitive::<Float32Type>().value(row).is_infinite(),
            _ => result.as_primitive::<Float64Type>().value(row).is_infinite(),
        };
        let outgrown: BooleanArray = (0..result.len())
            .map(|row| Some(result.is_valid(row) && infinite(row) && was_finite(source, row)))
            .collect();
        match outgrown.values().set_indices().next() {
            None => Ok(result),
            Some(_) if lenient => nullif(&result, &outgrown),
            Some(row) => {
                let found = array_value_to_string(source, row)?;
                Err(ArrowError::CastError(format!("{found} is too large for the type {}", type_name(to))))
            }
        }
    })
}

fn was_finite(source: &dyn Array, row: usize) -> bool {
    match source.data_type() {
        DataType::Float64 => source.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => !source.as_string::<i32>().value(row).to_lowercase().contains("inf"),
    }
}

fn unary(value: &ColumnarValue, check: impl Fn(&dyn Array) -> Result<(), ArrowError>) -> Result<()> {
    match value {
        ColumnarValue::Array(array) => Ok(check(array)?),
        ColumnarValue::Scalar(scalar) => Ok(check(&scalar.to_array()?)?),
    }
}

/// Runs a kernel over arrays and scalars; of scalars alone, the result is a scalar.
fn compute(
    values: &[ColumnarValue],
    kernel: impl Fn(&[&dyn Datum]) -> Result<ArrayRef, ArrowError>,
) -> Result<ColumnarValue> {
    let owned = values.iter().map(datum).collect::<Result<Vec<_>>>()?;
    let args: Vec<&dyn Datum> = owned.iter().map(AsRef::as_ref).collect();
    let result = kernel(&args)?;
    if values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}
