//! DataFusion's functions that a record could abuse, behind checks.
//!
//! * A number or a text in a record can ask for gigabytes (`repeat(s, n)`): one row's text is at most 1 MiB, which is
//!   what a broker takes by default, and one row's list at most 100,000 elements.
//! * `date_bin` gives null for times that nanoseconds cannot express, and `date_part` computes spans of time in 32
//!   bits: the first becomes an error, the second is replaced for the one part that makes sense.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, DurationMicrosecondType, FieldRef, Int64Type, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The longest text that one row can become, in bytes.
const MAX_TEXT: u64 = 1024 * 1024;
/// The longest list that one row can become.
const MAX_ELEMENTS: u64 = 100_000;

/// The function behind a check, if it needs one.
pub(super) fn guard(function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let check = match function.name() {
        "repeat" => Check::Repeat,
        "lpad" | "rpad" => Check::Pad,
        "replace" | "regexp_replace" => Check::Replace,
        "range" | "generate_series" => Check::Range,
        "array_repeat" | "array_resize" => Check::Elements,
        "date_bin" => Check::NotNull,
        _ => return None,
    };
    if function.inner().is::<Guarded>() {
        return None;
    }
    Some(Arc::new(ScalarUDF::from(Guarded { inner: Arc::clone(function), check })))
}

/// The seconds of a span of time.
pub(super) fn seconds(span: Expr) -> Expr {
    let function = Seconds { signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(function).call(vec![span])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    Repeat,
    Pad,
    Replace,
    Range,
    Elements,
    NotNull,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded {
    inner: Arc<ScalarUDF>,
    check: Check,
}

impl Guarded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let name = self.inner.name();
        // Constants alone are evaluated once, even over no rows.
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let mut rows = 0..if constant { 1 } else { args.number_rows };
        let bytes = |size: u64| match size {
            0..=MAX_TEXT => Ok(()),
            _ => exec_err!("{name} would give a text of more than {MAX_TEXT} bytes"),
        };
        let elements = |count: u64| match count {
            0..=MAX_ELEMENTS => Ok(()),
            _ => exec_err!("{name} would give a list of more than {MAX_ELEMENTS} elements"),
        };
        match self.check {
            Check::Repeat => {
                let (texts, counts) = (Texts::new(args, 0)?, Numbers::new(args, 1)?);
                rows.try_for_each(|row| bytes(texts.len(row).saturating_mul(counts.positive(row))))
            }
            Check::Pad => {
                let lengths = Numbers::new(args, 1)?;
                rows.try_for_each(|row| bytes(lengths.positive(row)))
            }
            Check::Replace => {
                let (texts, patterns, by) = (Texts::new(args, 0)?, Texts::new(args, 1)?, Texts::new(args, 2)?);
                let literal = name == "replace";
                rows.try_for_each(|row| bytes(replaced(&texts, &patterns, &by, row, literal)))
            }
            Check::Range => match Ends::new(args)? {
                Some(ends) => rows.try_for_each(|row| elements(ends.count(row))),
                None => exec_err!("{name} takes integers"),
            },
            Check::Elements => {
                let counts = Numbers::new(args, 1)?;
                rows.try_for_each(|row| elements(counts.positive(row)))
            }
            Check::NotNull => Ok(()),
        }
    }
}

/// The most bytes that a text has after its parts were replaced.
fn replaced(texts: &Texts, patterns: &Texts, by: &Texts, row: usize, literal: bool) -> u64 {
    let (length, added) = (texts.len(row), by.len(row));
    let most = (length + 1).saturating_mul(added).saturating_add(length);
    if most <= MAX_TEXT || !literal {
        return most;
    }
    let found = texts.value(row).matches(patterns.value(row)).count() as u64;
    length.saturating_add(found.saturating_mul(added))
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        if self.check != Check::NotNull {
            return self.inner.invoke_with_args(args);
        }
        let rows = args.number_rows;
        let Some(input) = args.args.get(1).cloned() else { return internal_err!("{} without arguments", self.name()) };
        let result = self.inner.invoke_with_args(args)?;
        let (before, after) = (input.into_array(rows)?, result.clone().into_array(rows)?);
        if (0..rows).any(|row| before.is_valid(row) && after.is_null(row)) {
            return exec_err!("{}: the time is outside of the years 1678 to 2261", self.name());
        }
        Ok(result)
    }
}

/// An argument's numbers, a row or one for all.
struct Numbers(Int64Array);

impl Numbers {
    fn new(args: &ScalarFunctionArgs, place: usize) -> Result<Self> {
        let array = array_of(args, place)?;
        Ok(Self(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }

    fn value(&self, row: usize) -> Option<i64> {
        let row = if self.0.len() == 1 { 0 } else { row };
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    /// The number, 0 for null and negative ones.
    fn positive(&self, row: usize) -> u64 {
        self.value(row).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
    }
}

/// An argument's texts, a row or one for all.
struct Texts(ArrayRef);

impl Texts {
    fn new(args: &ScalarFunctionArgs, place: usize) -> Result<Self> {
        Ok(Self(cast(&array_of(args, place)?, &DataType::Utf8)?))
    }

    fn value(&self, row: usize) -> &str {
        let row = if self.0.len() == 1 { 0 } else { row };
        if self.0.is_valid(row) { self.0.as_string::<i32>().value(row) } else { "" }
    }

    fn len(&self, row: usize) -> u64 {
        self.value(row).len() as u64
    }
}

/// The ends and steps of series of integers.
struct Ends {
    start: Option<Numbers>,
    stop: Numbers,
    step: Option<Numbers>,
}

impl Ends {
    fn new(args: &ScalarFunctionArgs) -> Result<Option<Self>> {
        if args.args.iter().any(|arg| !arg.data_type().is_integer() && !arg.data_type().is_null()) {
            return Ok(None);
        }
        let number = |place| Numbers::new(args, place);
        Ok(Some(match args.args.len() {
            1 => Self { start: None, stop: number(0)?, step: None },
            2 => Self { start: Some(number(0)?), stop: number(1)?, step: None },
            _ => Self { start: Some(number(0)?), stop: number(1)?, step: Some(number(2)?) },
        }))
    }

    fn count(&self, row: usize) -> u64 {
        let or = |numbers: &Option<Numbers>, or| numbers.as_ref().map_or(Some(or), |numbers| numbers.value(row));
        let (Some(start), Some(stop), Some(step)) = (or(&self.start, 0), self.stop.value(row), or(&self.step, 1))
        else {
            return 0;
        };
        let towards = (stop >= start) == (step > 0);
        if step == 0 || !towards { 0 } else { (stop.abs_diff(start) / step.unsigned_abs()).saturating_add(1) }
    }
}

fn array_of(args: &ScalarFunctionArgs, place: usize) -> Result<ArrayRef> {
    match args.args.get(place) {
        Some(ColumnarValue::Array(array)) => Ok(Arc::clone(array)),
        Some(ColumnarValue::Scalar(scalar)) => scalar.to_array(),
        None => internal_err!("argument {place} is missing"),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Seconds {
    signature: Signature,
}

impl ScalarUDFImpl for Seconds {
    fn name(&self) -> &'static str {
        "seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let spans = cast(&array_of(&args, 0)?, &DataType::Duration(TimeUnit::Microsecond))?;
        let seconds: Float64Array = spans.as_primitive::<DurationMicrosecondType>().unary(|micros| micros as f64 / 1e6);
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&seconds, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(seconds)))
    }
}
