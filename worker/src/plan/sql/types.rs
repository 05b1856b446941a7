//! Types: SQL's names for them, people's names for them, and the set that columns can have.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion_common::{Result, plan_err};
use datafusion_expr::planner::TypePlanner;
use datafusion_sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, StructField, TimezoneInfo,
};

/// The largest precision of a decimal.
const MAX_PRECISION: u8 = 38;

/// How deep lists and structs nest.
const MAX_DEPTH: usize = 16;

/// Reads types in CAST and in typed literals.
#[derive(Debug)]
pub(super) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        Ok(Some(Arc::new(Field::new("", arrow_type(sql_type, 0)?, true))))
    }
}

fn arrow_type(sql_type: &SqlType, depth: usize) -> Result<DataType> {
    if depth > MAX_DEPTH {
        return plan_err!("types are nested at most {MAX_DEPTH} deep");
    }
    Ok(match sql_type {
        SqlType::String(None) | SqlType::Text | SqlType::Varchar(None) | SqlType::Char(None) => DataType::Utf8,
        SqlType::Binary(None) | SqlType::Varbinary(None) | SqlType::Bytea => DataType::Binary,
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) => DataType::Int32,
        SqlType::BigInt(None) | SqlType::Int8(None) => DataType::Int64,
        SqlType::Float(ExactNumberInfo::None) | SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(*info)?,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            timestamp()
        }
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, None)) => {
            list_of(arrow_type(item, depth + 1)?)
        }
        SqlType::Struct(fields, _) => {
            DataType::Struct(fields.iter().map(|field| struct_field(field, depth)).collect::<Result<Fields>>()?)
        }
        other => return plan_err!("{}", no_such_type(other)),
    })
}

fn no_such_type(found: &SqlType) -> String {
    let near = match found {
        SqlType::TinyInt(_) | SqlType::SmallInt(_) | SqlType::Int2(_) | SqlType::MediumInt(_) => "; use INT",
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Character(_) | SqlType::CharacterVarying(_) => {
            "; use STRING, and `left(text, n)` to cut"
        }
        SqlType::Datetime(_) | SqlType::TimestampNtz(_) | SqlType::Timestamp(..) => {
            "; use TIMESTAMP, which is UTC with microseconds"
        }
        SqlType::Time(..) => "; use TIMESTAMP, or text by `to_char`",
        SqlType::JSON | SqlType::JSONB => "; use STRING",
        _ => {
            "; the types are STRING, BINARY, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE, TIMESTAMP, T[] and STRUCT<name T, …>"
        }
    };
    format!("there is no type {found}{near}")
}

fn decimal(info: ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return plan_err!("DECIMAL needs its digits, such as DECIMAL(10,2)"),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=MAX_PRECISION), Ok(s)) if s >= 0 && s.unsigned_abs() <= p => Ok(DataType::Decimal128(p, s)),
        _ => plan_err!(
            "DECIMAL({precision},{scale}) is not 1 to {MAX_PRECISION} digits, of which 0 to all are decimal places"
        ),
    }
}

fn struct_field(field: &StructField, depth: usize) -> Result<Field> {
    match &field.field_name {
        Some(name) => Ok(Field::new(&name.value, arrow_type(&field.field_type, depth + 1)?, true)),
        None => plan_err!("the fields of a STRUCT need names, such as STRUCT<a INT>"),
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The type of our set that a value of this type becomes as a column, or why there is none.
pub(super) fn column_type(found: &DataType) -> Result<DataType, &'static str> {
    use DataType as T;
    Ok(match found {
        T::Utf8 | T::Utf8View | T::LargeUtf8 => T::Utf8,
        T::Binary | T::BinaryView | T::LargeBinary | T::FixedSizeBinary(_) => T::Binary,
        T::Dictionary(_, values) => column_type(values)?,
        T::Boolean => T::Boolean,
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 => T::Int32,
        T::Int64 | T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 | T::Float32 => T::Float32,
        T::Float64 => T::Float64,
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if *s >= 0 => T::Decimal128(*p, *s),
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) => {
            return Err("give the result a scale: CAST(… AS DECIMAL(38,0))");
        }
        T::Decimal256(..) => {
            return Err("decimals have at most 38 digits: CAST an operand or the result to a narrower DECIMAL");
        }
        T::Date32 | T::Date64 => T::Date32,
        T::Timestamp(..) => timestamp(),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => list_of(column_type(item.data_type())?),
        T::Struct(fields) if has_twins(fields) => return Err("give every field of the struct a name of its own"),
        T::Struct(fields) => T::Struct(fields.iter().map(|f| column_field(f)).collect::<Result<Fields, _>>()?),
        T::Null => return Err("say which type the null has, such as CAST(NULL AS STRING)"),
        T::Interval(_) | T::Duration(_) => {
            return Err("there is no type for a span of time: `date_part('epoch', …)` gives its seconds");
        }
        T::Time32(_) | T::Time64(_) => return Err("there is no type for a time of day: use `to_char`"),
        _ => return Err("there is no such type of column"),
    })
}

fn has_twins(fields: &Fields) -> bool {
    let mut names = HashSet::new();
    !fields.iter().all(|field| names.insert(field.name()))
}

/// As [`column_type`], keeping the field's metadata, which marks json.
fn column_field(field: &Field) -> Result<Field, &'static str> {
    let metadata = field.metadata().clone();
    Ok(Field::new(field.name(), column_type(field.data_type())?, true).with_metadata(metadata))
}

/// A type as people write it in a schema.
pub fn type_name(found: &DataType) -> String {
    use DataType as T;
    match found {
        T::Utf8 | T::Utf8View | T::LargeUtf8 => "string".into(),
        T::Binary | T::BinaryView | T::LargeBinary | T::FixedSizeBinary(_) => "binary".into(),
        T::Dictionary(_, values) => type_name(values),
        T::Boolean => "boolean".into(),
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 => "int".into(),
        T::Int64 | T::UInt32 | T::UInt64 => "bigint".into(),
        T::Float16 | T::Float32 => "float".into(),
        T::Float64 => "double".into(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        T::Date32 | T::Date64 => "date".into(),
        T::Timestamp(..) => "timestamp".into(),
        T::Time32(_) | T::Time64(_) => "time".into(),
        T::Interval(_) | T::Duration(_) => "interval".into(),
        T::Null => "null".into(),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        T::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), type_name(f.data_type()))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
