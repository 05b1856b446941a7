//! `fail(message)`: refuses a row, for a reason that the manifest gives.
//!
//! What a pipeline takes for wrong beyond types (a value out of range, an unknown kind) becomes a bad record like any
//! other, and its message says why. The function has no value: in a CASE it takes the type of the other branches.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Fail { signature: Signature::exact(vec![DataType::Utf8], Volatility::Stable) }))
}

/// The manifest's words, which no other message's rules apply to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fail {
    signature: Signature,
}

impl ScalarUDFImpl for Fail {
    fn name(&self) -> &'static str {
        "fail"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Scalar(ScalarValue::Null));
        }
        let messages = args.args[0].to_array(args.number_rows)?;
        let message = messages.as_string_opt::<i32>().filter(|texts| texts.is_valid(0)).map(|texts| texts.value(0));
        let message = message.unwrap_or("fail() was called without a message").to_owned();
        Err(DataFusionError::External(Box::new(Refused(message))))
    }
}
