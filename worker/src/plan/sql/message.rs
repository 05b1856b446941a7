//! What DataFusion and Arrow say, in words for people: no names of their types, no advice to report a bug to them.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

use super::fail::Refused;

/// The longest message, in characters; values of records stand in them.
const LONGEST: usize = 400;

/// A failure of planning or evaluation as one line for a person.
pub fn clean(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::ArrowError(error, _) => arrow_text(error),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => return clean(inner),
        DataFusionError::Shared(inner) => return clean(inner),
        DataFusionError::Collection(errors) => return errors.first().map(clean).unwrap_or_default(),
        DataFusionError::External(error) if error.is::<Refused>() => return shorten(&error.to_string()),
        DataFusionError::SchemaError(error, _) => error.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Internal(text)
        | DataFusionError::ResourcesExhausted(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    shorten(&plain(&text))
}

fn arrow_text(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::ArithmeticOverflow(text)
        | ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::NotYetImplemented(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One line in our words.
fn plain(text: &str) -> String {
    if text.contains("regex parse error") {
        let reason = text.rsplit("error: ").next().unwrap_or_default().lines().next().unwrap_or_default();
        return format!("the regular expression is wrong: {}", reason.trim_end_matches(')').trim());
    }
    for start in ["Overflow happened on: ", "Overflow happened on ", "Array overflow on "] {
        if let Some((_, operation)) = text.split_once(start) {
            return format!("overflow: {operation}");
        }
    }
    let kinds = ["Arrow error: ", "External error: ", "Execution error: ", "Cast error: ", "Error during planning: "];
    let text = kinds.iter().fold(text, |text, kind| text.strip_prefix(kind).unwrap_or(text));
    lower_first(&with_our_types(first_paragraph(text)))
}

/// Without the backtrace, the list of candidates, dumps of their trees and the advice that DataFusion adds.
fn first_paragraph(text: &str) -> &str {
    let ends = [
        "\n",
        " No function matches",
        ". You might need",
        "This was likely caused",
        " You might need",
        " Substring {",
        ": Interval",
        " (DataType: ",
    ];
    let dumps = text.find("IntervalMonthDayNano").and_then(|dump| text[..dump].rfind(':'));
    let end = ends.iter().filter_map(|end| text.find(end)).chain(dumps).min().unwrap_or(text.len());
    text[..end].trim().trim_end_matches('.')
}

/// Arrow's names of types, longest first where one is a part of another, and ours.
const TYPES: [(&str, &str); 20] = [
    ("Timestamp(Microsecond, Some(\"UTC\"))", "timestamp"),
    ("Timestamp(Microsecond, \"UTC\")", "timestamp"),
    ("Timestamp(µs, \"UTC\")", "timestamp"),
    ("Timestamp(µs)", "timestamp"),
    ("Timestamp(ns)", "timestamp"),
    ("Interval(MonthDayNano)", "interval"),
    // A text is first read with these digits, whatever the type that it becomes.
    ("Decimal128(38, 10)", "decimal"),
    ("Decimal128", "decimal"),
    ("LargeUtf8", "string"),
    ("Utf8View", "string"),
    ("Utf8", "string"),
    ("UInt64", "bigint"),
    ("Int64", "bigint"),
    ("UInt32", "bigint"),
    ("Int32", "int"),
    ("Float64", "double"),
    ("Float32", "float"),
    ("Boolean", "boolean"),
    ("Date32", "date"),
    ("Binary", "binary"),
];

fn with_our_types(text: &str) -> String {
    TYPES.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Messages go on behind a place; names in capitals stay.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == '\'' => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
