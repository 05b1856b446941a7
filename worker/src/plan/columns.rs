//! The columns of nodes: looking them up, comparing them, naming them in messages.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr::expressions::Column;

use super::names::{excerpt, suggestion};
use super::sql::Projected;
use super::types;
use crate::operators::metadata;

/// The most differences that a message names.
const DIFFERENCES: usize = 4;

/// Why a column is not there, and which one was probably meant.
pub(super) fn unknown(name: &str, schema: &Schema) -> (String, Option<String>) {
    let message = format!("unknown column `{}`", excerpt(name));
    if metadata::is_metadata(name) {
        let help = format!("`{name}` is metadata: take it over under a name of its own, in `set` or `sql`");
        return (message, Some(help));
    }
    (message, suggestion(name, schema.fields().iter().map(|field| field.name().as_str()), "columns"))
}

/// A column as it is.
pub(super) fn keep(schema: &Schema, index: usize) -> Projected {
    let field = schema.field(index).clone();
    Projected { expr: Arc::new(Column::new(field.name(), index)), field }
}

/// The schema of some columns.
pub(super) fn schema_of(columns: &[Projected]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
}

/// What keeps two inputs from being united: the first few differences of their columns.
pub(super) fn difference(one: (&str, &Schema), other: (&str, &Schema)) -> Option<String> {
    let ((one_name, one), (other_name, other)) = (one, other);
    let mut found: Vec<String> = Vec::new();
    for field in one.fields() {
        match other.field_with_name(field.name()) {
            Err(_) => found.push(format!("`{}` is only in `{one_name}`", excerpt(field.name()))),
            Ok(twin) if !same_type(field, twin) => found.push(format!(
                "`{}` is {} in `{one_name}` and {} in `{other_name}`",
                excerpt(field.name()),
                types::describe(field),
                types::describe(twin)
            )),
            Ok(_) => {}
        }
    }
    let only_other = other.fields().iter().filter(|field| one.field_with_name(field.name()).is_err());
    found.extend(only_other.map(|field| format!("`{}` is only in `{other_name}`", excerpt(field.name()))));
    if found.is_empty() {
        let moved = one.fields().iter().zip(other.fields()).find(|(a, b)| a.name() != b.name());
        return moved.map(|(a, b)| {
            format!(
                "the order differs: `{}` in `{one_name}` stands where `{}` does in `{other_name}`",
                a.name(),
                b.name()
            )
        });
    }
    let more = found.len().saturating_sub(DIFFERENCES);
    let mut text = found.into_iter().take(DIFFERENCES).collect::<Vec<_>>().join("; ");
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    Some(text)
}

fn same_type(one: &Field, other: &Field) -> bool {
    one.data_type().equals_datatype(other.data_type()) && types::is_json(one) == types::is_json(other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Names and types.
    type Columns<'a> = &'a [(&'a str, &'a str)];

    fn schema(columns: Columns<'_>) -> Schema {
        Schema::new(columns.iter().map(|(name, text)| types::parse_field(name, text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn names_every_difference() {
        let base = [("a", "int"), ("b", "string")];
        let cases: [(Columns<'_>, Option<&str>); 6] = [
            (&base, None),
            (&[("a", "bigint"), ("b", "string")], Some("`a` is int in `x` and bigint in `y`")),
            (&[("a", "int"), ("b", "json")], Some("`b` is string in `x` and json in `y`")),
            (&[("a", "int")], Some("`b` is only in `x`")),
            (&[("a", "int"), ("b", "string"), ("c", "int")], Some("`c` is only in `y`")),
            (&[("b", "string"), ("a", "int")], Some("the order differs: `a` in `x` stands where `b` does in `y`")),
        ];
        for (other, expected) in cases {
            assert_eq!(difference(("x", &schema(&base)), ("y", &schema(other))).as_deref(), expected);
        }
    }

    #[test]
    fn points_to_metadata() {
        let (message, help) = unknown("_topic", &schema(&[("a", "int")]));
        assert_eq!(message, "unknown column `_topic`");
        assert!(help.unwrap().contains("metadata"));
    }
}
