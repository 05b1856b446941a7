//! Finished columns, typed once a batch, so that writing a value is a match and no cast.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::kind::Kind;
use super::number::{write_decimal, write_float, write_integer};
use super::time::{self, Timestamps};

/// A column by its kind.
#[derive(Debug)]
pub(super) enum View<'a> {
    String(&'a StringArray),
    Json(&'a StringArray),
    Binary(&'a BinaryArray),
    Boolean(&'a BooleanArray),
    Int(&'a Int32Array),
    Bigint(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
    List(&'a ListArray, &'a Field),
    Struct(&'a StructArray),
    /// A type that no format knows, for messages and dead letters.
    Other(&'a dyn Array),
}

/// Why a value has no text.
pub(super) enum Refused {
    /// NaN or an infinity, by name.
    NotFinite(&'static str),
    /// A year that four digits do not hold.
    Years,
    /// A type without notation.
    Type(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFinite(name) => f.write_str(name),
            Self::Years => f.write_str("a time outside of the years 0000 to 9999"),
            Self::Type(name) => f.write_str(name),
        }
    }
}

impl<'a> View<'a> {
    /// The view of a column that has the type of its field.
    pub(super) fn of(field: &'a Field, array: &'a dyn Array) -> Self {
        let kind = if array.data_type() == field.data_type() { Kind::of(field).ok() } else { None };
        match kind {
            Some(Kind::String) => Self::String(array.as_string()),
            Some(Kind::Json) => Self::Json(array.as_string()),
            Some(Kind::Binary) => Self::Binary(array.as_binary()),
            Some(Kind::Boolean) => Self::Boolean(array.as_boolean()),
            Some(Kind::Int) => Self::Int(array.as_primitive()),
            Some(Kind::Bigint) => Self::Bigint(array.as_primitive()),
            Some(Kind::Float) => Self::Float(array.as_primitive()),
            Some(Kind::Double) => Self::Double(array.as_primitive()),
            Some(Kind::Decimal(_, scale)) => Self::Decimal(array.as_primitive(), scale),
            Some(Kind::Date) => Self::Date(array.as_primitive()),
            Some(Kind::Timestamp) => Self::Timestamp(array.as_primitive()),
            Some(Kind::Struct(_)) => Self::Struct(array.as_struct()),
            Some(Kind::List(_)) => match field.data_type() {
                DataType::List(item) => Self::List(array.as_list(), item),
                _ => Self::Other(array),
            },
            None => Self::Other(array),
        }
    }

    /// Whether the value of a row is null.
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::String(array) | Self::Json(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Int(array) => array.is_null(row),
            Self::Bigint(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Struct(array) => array.is_null(row),
            Self::Other(array) => array.is_null(row),
        }
    }

    /// Appends the text of a value that is not null, as all formats write it; nothing is appended if it has none.
    pub(super) fn write_text(&self, row: usize, timestamps: &Timestamps, out: &mut Vec<u8>) -> Result<(), Refused> {
        let done = match self {
            Self::String(array) | Self::Json(array) => push(array.value(row).as_bytes(), out),
            Self::Binary(array) => push_base64(array.value(row), out),
            Self::Boolean(array) => push(if array.value(row) { b"true" } else { b"false" }, out),
            Self::Int(array) => {
                write_integer(array.value(row), out);
                true
            }
            Self::Bigint(array) => {
                write_integer(array.value(row), out);
                true
            }
            Self::Float(array) => {
                let value = array.value(row);
                return if write_float(value, out) { Ok(()) } else { Err(not_finite(value.into())) };
            }
            Self::Double(array) => {
                let value = array.value(row);
                return if write_float(value, out) { Ok(()) } else { Err(not_finite(value)) };
            }
            Self::Decimal(array, scale) => {
                write_decimal(array.value(row), *scale, out);
                true
            }
            Self::Date(array) => time::write_date(array.value(row), out),
            Self::Timestamp(array) => timestamps.write(array.value(row), out),
            Self::List(..) | Self::Struct(_) => return Err(Refused::Type("a value with parts".into())),
            Self::Other(array) => return Err(Refused::Type(array.data_type().to_string())),
        };
        if done { Ok(()) } else { Err(Refused::Years) }
    }

    /// Appends some text for a value that [`View::write_text`] refused: it is better told than lost.
    pub(super) fn write_refused(&self, row: usize, refused: &Refused, out: &mut Vec<u8>) {
        match (self, refused) {
            (_, Refused::NotFinite(name)) => out.extend_from_slice(name.as_bytes()),
            (Self::Date(array), _) => write_integer(array.value(row), out),
            (Self::Timestamp(array), _) => write_integer(array.value(row), out),
            (Self::Other(array), _) => {
                let text = array_value_to_string(*array, row).unwrap_or_else(|error| error.to_string());
                out.extend_from_slice(text.as_bytes());
            }
            _ => {}
        }
    }
}

fn push(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(bytes);
    true
}

fn push_base64(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64_STANDARD.encode_slice(bytes, &mut out[start..]).is_ok()
}

fn not_finite(value: f64) -> Refused {
    Refused::NotFinite(match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    })
}
