//! What DataFusion and Arrow say, in words for people: no names of their types, no advice to report a bug to them.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

/// The longest message, in characters; values of records stand in them.
const LONGEST: usize = 400;

/// A failure of planning or evaluation as one line for a person.
pub fn clean(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::ArrowError(error, _) => arrow_text(error),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => return clean(inner),
        DataFusionError::Shared(inner) => return clean(inner),
        DataFusionError::Collection(errors) => return errors.first().map(clean).unwrap_or_default(),
        DataFusionError::SchemaError(error, _) => error.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Internal(text)
        | DataFusionError::ResourcesExhausted(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    shorten(&with_our_types(first_paragraph(&text)))
}

fn arrow_text(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::ArithmeticOverflow(text) => match text.strip_prefix("Overflow happened on: ") {
            Some(operation) => format!("overflow: {operation}"),
            None => format!("overflow: {text}"),
        },
        ArrowError::CastError(text) | ArrowError::ParseError(text) | ArrowError::ComputeError(text) => text.clone(),
        ArrowError::InvalidArgumentError(text) | ArrowError::NotYetImplemented(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Without the backtrace, the list of candidates and the advice that DataFusion adds.
fn first_paragraph(text: &str) -> &str {
    let ends = ["\n", " No function matches", ". You might need", "This was likely caused", " You might need"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].trim().trim_end_matches('.')
}

/// Arrow's names of types, longest first where one is a part of another, and ours.
const TYPES: [(&str, &str); 18] = [
    ("Timestamp(Microsecond, Some(\"UTC\"))", "timestamp"),
    ("Timestamp(Microsecond, \"UTC\")", "timestamp"),
    ("Timestamp(µs, \"UTC\")", "timestamp"),
    ("Timestamp(ns)", "timestamp"),
    ("Interval(MonthDayNano)", "interval"),
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
    TYPES.iter().fold(text.to_owned(), |text, (theirs, ours)| match text.contains(theirs) {
        true => text.replace(theirs, ours),
        false => text,
    })
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
