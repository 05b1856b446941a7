//! Columns under construction.
//!
//! Records are appended one by one; a record's values stand at the same place of all columns once it is complete. A
//! value that cannot be read leaves its column as it was, so that the record can be completed with nulls and taken out
//! later: one bad record costs nothing but its own place.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::kind::Kind;
use super::members::Members;
use super::number::{self, Why};
use super::time::{self, Timestamps};

/// A column of one kind under construction.
#[derive(Debug)]
pub(super) enum Column {
    String(StringBuilder),
    Json(StringBuilder),
    Binary(BinaryBuilder),
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Bigint(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    List(ListColumn),
    Struct(StructColumn),
}

/// A list under construction.
#[derive(Debug)]
pub(super) struct ListColumn {
    pub(super) item: Box<Column>,
    field: FieldRef,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

/// A struct under construction.
#[derive(Debug)]
pub(super) struct StructColumn {
    pub(super) columns: Vec<Column>,
    pub(super) members: Members,
    fields: Fields,
    valid: NullBufferBuilder,
}

/// Does the same with the builder of every kind but list and struct.
macro_rules! each_builder {
    ($column:expr, $builder:ident => $scalar:expr, $list:ident => $of_list:expr, $struct:ident => $of_struct:expr) => {
        match $column {
            Column::String($builder) | Column::Json($builder) => $scalar,
            Column::Binary($builder) => $scalar,
            Column::Boolean($builder) => $scalar,
            Column::Int($builder) => $scalar,
            Column::Bigint($builder) => $scalar,
            Column::Float($builder) => $scalar,
            Column::Double($builder) => $scalar,
            Column::Decimal($builder, _, _) => $scalar,
            Column::Date($builder) => $scalar,
            Column::Timestamp($builder) => $scalar,
            Column::List($list) => $of_list,
            Column::Struct($struct) => $of_struct,
        }
    };
}

impl Column {
    /// An empty column for a field, with room for `rows` values of together `bytes` bytes of text.
    pub(super) fn new(field: &Field, rows: usize, bytes: usize) -> Result<Self, DataType> {
        let data_type = || field.data_type().clone();
        Ok(match Kind::of(field)? {
            Kind::String => Self::String(StringBuilder::with_capacity(rows, bytes)),
            Kind::Json => Self::Json(StringBuilder::with_capacity(rows, bytes)),
            Kind::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, bytes)),
            Kind::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Int => Self::Int(Int32Builder::with_capacity(rows)),
            Kind::Bigint => Self::Bigint(Int64Builder::with_capacity(rows)),
            Kind::Float => Self::Float(Float32Builder::with_capacity(rows)),
            Kind::Double => Self::Double(Float64Builder::with_capacity(rows)),
            Kind::Decimal(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(data_type());
                Self::Decimal(builder, precision, scale)
            }
            Kind::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Kind::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(data_type()))
            }
            Kind::List(_) | Kind::Struct(_) => return Self::nested(field, rows, bytes),
        })
    }

    fn nested(field: &Field, rows: usize, bytes: usize) -> Result<Self, DataType> {
        match field.data_type() {
            DataType::List(item) => Ok(Self::List(ListColumn {
                item: Box::new(Self::new(item, rows, bytes)?),
                field: Arc::clone(item),
                offsets: vec![0],
                valid: NullBufferBuilder::new(rows),
            })),
            DataType::Struct(fields) => Ok(Self::Struct(StructColumn {
                columns: fields
                    .iter()
                    .map(|field| Self::new(field, rows, bytes / fields.len()))
                    .collect::<Result<_, _>>()?,
                members: Members::all(fields),
                fields: fields.clone(),
                valid: NullBufferBuilder::new(rows),
            })),
            other => Err(other.clone()),
        }
    }

    /// The number of values so far.
    pub(super) fn len(&self) -> usize {
        each_builder!(self, builder => builder.len(), list => list.valid.len(), row => row.valid.len())
    }

    /// Appends a null.
    pub(super) fn append_null(&mut self) {
        each_builder!(self, builder => builder.append_null(), list => list.end(false), row => row.end(false));
    }

    /// Completes the column to `len` values by nulls.
    pub(super) fn fill(&mut self, len: usize) {
        while self.len() < len {
            self.append_null();
        }
    }

    /// Reads and appends a value of a kind without parts, from the text that every format writes for it. On failure
    /// the column is as before.
    pub(super) fn append_text(&mut self, text: &str, timestamps: &Timestamps) -> Result<(), Why> {
        match self {
            Self::String(builder) | Self::Json(builder) => builder.append_value(text),
            Self::Binary(builder) => {
                builder.append_value(BASE64_STANDARD.decode(text).map_err(|error| format!("no base64: {error}"))?);
            }
            Self::Boolean(builder) => builder.append_value(boolean(text)?),
            Self::Int(builder) => builder.append_value(number::integer(text)?),
            Self::Bigint(builder) => builder.append_value(number::integer(text)?),
            Self::Float(builder) => builder.append_value(number::float(text)?),
            Self::Double(builder) => builder.append_value(number::double(text)?),
            Self::Decimal(builder, precision, scale) => {
                builder.append_value(number::decimal(text, *precision, *scale)?);
            }
            Self::Date(builder) => {
                builder.append_value(time::parse_date(text).ok_or("dates are like 2026-01-31")?);
            }
            Self::Timestamp(builder) => {
                builder.append_value(timestamps.parse(text).ok_or_else(|| timestamps.describe())?);
            }
            Self::List(_) | Self::Struct(_) => return Err("no text has parts".into()),
        }
        Ok(())
    }

    /// What a value of the column is called in a message.
    pub(super) fn expected(&self) -> String {
        let name = match self {
            Self::String(_) => "string",
            Self::Json(_) => "json",
            Self::Binary(_) => "binary",
            Self::Boolean(_) => "boolean",
            Self::Int(_) => "int",
            Self::Bigint(_) => "bigint",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Date(_) => "date",
            Self::Timestamp(_) => "timestamp",
            Self::List(_) => "list",
            Self::Struct(_) => "struct",
            Self::Decimal(_, precision, scale) => return format!("decimal({precision},{scale})"),
        };
        name.into()
    }

    /// The finished column.
    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let mut column = self;
        Ok(each_builder!(&mut column,
            builder => Arc::new(builder.finish()),
            list => return list.finish(),
            row => return row.finish()
        ))
    }
}

impl ListColumn {
    /// Ends the list of a row with the items appended since the last one.
    pub(super) fn end(&mut self, valid: bool) {
        self.offsets.push(self.item.len() as i32);
        self.valid.append(valid);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let item = std::mem::replace(&mut *self.item, Column::Boolean(BooleanBuilder::new())).finish()?;
        let offsets = OffsetBuffer::new(std::mem::take(&mut self.offsets).into());
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.field), offsets, item, self.valid.finish())?))
    }
}

impl StructColumn {
    /// The number of values so far.
    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Ends the struct of a row; members that did not come are null.
    pub(super) fn end(&mut self, valid: bool) {
        self.valid.append(valid);
        for column in &mut self.columns {
            column.fill(self.valid.len());
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = self.valid.len();
        let columns = self.columns.drain(..).map(Column::finish).collect::<Result<_, _>>()?;
        let fields = self.fields.clone();
        Ok(Arc::new(StructArray::try_new_with_length(fields, columns, self.valid.finish(), len)?))
    }
}

/// Completes all columns to `len` values by nulls.
pub(super) fn fill(columns: &mut [Column], len: usize) {
    for column in columns {
        column.fill(len);
    }
}

/// Finishes all columns.
pub(super) fn finish(columns: Vec<Column>) -> Result<Vec<ArrayRef>, ArrowError> {
    columns.into_iter().map(Column::finish).collect()
}

fn boolean(text: &str) -> Result<bool, Why> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(Why::new())
    }
}
