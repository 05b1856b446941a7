//! The types of columns, as formats see them.

use std::fmt;

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The key of a field's metadata that tells types apart which Arrow does not.
pub const TYPE_KEY: &str = "millstream.type";

/// The type of a column, in the words of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    /// A string that holds JSON.
    Json,
    Binary,
    Boolean,
    Int,
    Bigint,
    Float,
    Double,
    Decimal(u8, i8),
    Date,
    Timestamp,
    List(Box<Self>),
    Struct(Vec<(String, Self)>),
}

impl Kind {
    /// The kind of a field, or the Arrow type (of it or of a part) that has none.
    pub(super) fn of(field: &Field) -> Result<Self, DataType> {
        Ok(match field.data_type() {
            DataType::Utf8 if field.metadata().get(TYPE_KEY).is_some_and(|name| name == "json") => Self::Json,
            DataType::Utf8 => Self::String,
            DataType::Binary => Self::Binary,
            DataType::Boolean => Self::Boolean,
            DataType::Int32 => Self::Int,
            DataType::Int64 => Self::Bigint,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Decimal128(precision, scale) if *scale >= 0 => Self::Decimal(*precision, *scale),
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Self::Timestamp,
            DataType::List(item) => Self::List(Box::new(Self::of(item)?)),
            DataType::Struct(fields) => {
                Self::Struct(fields.iter().map(|field| Ok((field.name().clone(), Self::of(field)?))).collect::<Result<
                    _,
                    DataType,
                >>(
                )?)
            }
            other => return Err(other.clone()),
        })
    }

    /// Whether values have no parts.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Struct(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::String => "string",
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Bigint => "bigint",
            Self::Float => "float",
            Self::Double => "double",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Decimal(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            Self::List(item) => return write!(f, "list<{item}>"),
            Self::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
                return write!(f, "struct<{}>", fields.join(", "));
            }
        };
        f.write_str(name)
    }
}

/// The type of a field for a message: the manifest's word, or Arrow's where there is none.
pub(super) fn describe(field: &Field) -> String {
    Kind::of(field).map_or_else(|_| field.data_type().to_string(), |kind| kind.to_string())
}
