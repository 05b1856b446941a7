//! The settings of a format, validated.
//!
//! A spec that passed [`Format::from_spec`] cannot fail on its settings any more; all problems of one are reported at
//! once. Equal formats read and write the same bytes, which is what forwarding of whole values rests on.

use millstream_crds::format::{self as crd, FormatType, TimestampEncoding, TimestampFormat};

use super::time::{Notation, Timestamps};

pub use millstream_crds::format::UnknownFields;

/// How the values of records are read and written.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// One column `value` with the whole record.
    Raw(RawSettings),
    /// One line of separated fields a record.
    Csv(CsvSettings),
    /// One JSON object a record.
    Json(JsonSettings),
}

/// Settings of `Raw`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawSettings {
    /// The column is `binary` and nothing is checked; otherwise it is a `string`.
    pub binary: bool,
}

/// Settings of `Csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvSettings {
    /// The ASCII character between fields.
    pub delimiter: u8,
    /// The ASCII character around fields, doubled inside of one.
    pub quote: u8,
    /// The names of a record's fields in order.
    pub header: Option<Vec<String>>,
    /// The unquoted text that stands for null.
    pub null_text: String,
    /// How timestamps stand in text.
    pub timestamps: Timestamps,
}

/// Settings of `Json`.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSettings {
    /// What happens to fields that the schema does not name.
    pub unknown_fields: UnknownFields,
    /// How timestamps stand in text.
    pub timestamps: Timestamps,
}

/// A problem in the settings of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatProblem {
    /// The path below the format, such as `csv.delimiter`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl FormatProblem {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Format {
    /// The validated form of a spec, or all of its problems.
    pub fn from_spec(spec: &crd::Format) -> Result<Self, Vec<FormatProblem>> {
        let mut problems = foreign_settings(spec);
        let timestamps = timestamps(spec.timestamps.as_ref(), &mut problems);
        let format = match spec.r#type {
            FormatType::Raw => Self::Raw(RawSettings { binary: spec.raw.as_ref().is_some_and(|raw| raw.binary) }),
            FormatType::Csv => Self::Csv(csv(&spec.csv.clone().unwrap_or_default(), timestamps, &mut problems)),
            FormatType::Json => {
                let unknown_fields = spec.json.as_ref().map(|json| json.unknown_fields).unwrap_or_default();
                Self::Json(JsonSettings { unknown_fields, timestamps })
            }
        };
        if problems.is_empty() { Ok(format) } else { Err(problems) }
    }

    /// The name of the format in a manifest.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raw(_) => "Raw",
            Self::Csv(_) => "Csv",
            Self::Json(_) => "Json",
        }
    }
}

/// Settings that were given for another type than the spec's.
fn foreign_settings(spec: &crd::Format) -> Vec<FormatProblem> {
    let name = match spec.r#type {
        FormatType::Raw => "Raw",
        FormatType::Csv => "Csv",
        FormatType::Json => "Json",
    };
    let given =
        [("raw", spec.raw.is_some(), "Raw"), ("csv", spec.csv.is_some(), "Csv"), ("json", spec.json.is_some(), "Json")];
    let mut problems: Vec<_> = given
        .into_iter()
        .filter(|(_, given, owner)| *given && *owner != name)
        .map(|(field, _, owner)| {
            FormatProblem::new(field, format!("these are settings of `{owner}`, but the type is `{name}`"))
                .help(format!("remove `{field}`, or write `type: {owner}`"))
        })
        .collect();
    if spec.timestamps.is_some() && spec.r#type == FormatType::Raw {
        problems.push(
            FormatProblem::new("timestamps", "a `Raw` record has no timestamps in it").help("remove `timestamps`"),
        );
    }
    problems
}

fn csv(spec: &crd::CsvFormat, timestamps: Timestamps, problems: &mut Vec<FormatProblem>) -> CsvSettings {
    let delimiter = separator("csv.delimiter", &spec.delimiter, problems);
    let quote = separator("csv.quote", &spec.quote, problems);
    if let (Some(delimiter), Some(quote)) = (delimiter, quote) {
        if delimiter == quote {
            problems.push(
                FormatProblem::new("csv.quote", format!("`{}` is the delimiter as well", spec.quote))
                    .help("choose two different characters"),
            );
        } else if let Some(bad) = spec.null_text.chars().find(|c| is_special(*c, delimiter, quote)) {
            problems.push(
                FormatProblem::new(
                    "csv.nullText",
                    format!("{bad:?} can only stand in a quoted field, which is never null"),
                )
                .help("choose a text without delimiter, quote and line break"),
            );
        }
    }
    if let Some(header) = &spec.header {
        check_header(header, problems);
    }
    CsvSettings {
        delimiter: delimiter.unwrap_or(b','),
        quote: quote.unwrap_or(b'"'),
        header: spec.header.clone(),
        null_text: spec.null_text.clone(),
        timestamps,
    }
}

fn is_special(c: char, delimiter: u8, quote: u8) -> bool {
    c == char::from(delimiter) || c == char::from(quote) || c == '\n' || c == '\r'
}

/// A delimiter or quote: one ASCII character that is no line break.
fn separator(field: &str, text: &str, problems: &mut Vec<FormatProblem>) -> Option<u8> {
    match text.as_bytes() {
        [b'\n' | b'\r' | 0] => {
            problems.push(FormatProblem::new(field, format!("{text:?} cannot separate fields of one line")));
            None
        }
        [byte] if byte.is_ascii() => Some(*byte),
        _ => {
            problems.push(
                FormatProblem::new(field, format!("expected one ASCII character, found {text:?}"))
                    .help("for example \",\", \";\", \"|\" or \"\\t\""),
            );
            None
        }
    }
}

fn check_header(header: &[String], problems: &mut Vec<FormatProblem>) {
    if header.is_empty() {
        problems.push(
            FormatProblem::new("csv.header", "the header names no field").help(
                "name every field of a record in order, or remove `header` to bind fields to the schema in order",
            ),
        );
    }
    for (place, name) in header.iter().enumerate() {
        let field = format!("csv.header[{place}]");
        if name.is_empty() {
            problems
                .push(FormatProblem::new(&field, "a field needs a name").help("any name will do for an unused field"));
        } else if header[..place].contains(name) {
            problems.push(FormatProblem::new(&field, format!("`{name}` is named twice")));
        }
    }
}

fn timestamps(spec: Option<&TimestampFormat>, problems: &mut Vec<FormatProblem>) -> Timestamps {
    let Some(spec) = spec else { return Timestamps::default() };
    let zone = spec.zone.as_deref().map_or(Ok(jiff::tz::TimeZone::UTC), jiff::tz::TimeZone::get);
    let zone = zone.unwrap_or_else(|_| {
        let name = spec.zone.as_deref().unwrap_or_default();
        problems.push(
            FormatProblem::new("timestamps.zone", format!("unknown time zone `{name}`"))
                .help("an IANA name, such as `Europe/Berlin` or `UTC`"),
        );
        jiff::tz::TimeZone::UTC
    });
    let notation = match (spec.encoding, &spec.pattern) {
        (TimestampEncoding::Rfc3339, _) => Notation::Rfc3339,
        (TimestampEncoding::EpochSeconds, _) => Notation::EpochSeconds,
        (TimestampEncoding::EpochMillis, _) => Notation::EpochMillis,
        (TimestampEncoding::EpochMicros, _) => Notation::EpochMicros,
        (TimestampEncoding::Pattern, Some(pattern)) => Notation::Pattern(pattern.clone()),
        (TimestampEncoding::Pattern, None) => {
            problems.push(
                FormatProblem::new("timestamps.pattern", "the encoding `Pattern` needs a pattern")
                    .help("a strftime pattern, such as \"%Y-%m-%d %H:%M:%S\""),
            );
            Notation::Rfc3339
        }
    };
    superfluous(spec, problems);
    let timestamps = Timestamps { notation, zone };
    if let Err(message) = timestamps.check() {
        problems.push(
            FormatProblem::new("timestamps.pattern", message)
                .help("a strftime pattern with date and time, such as \"%Y-%m-%d %H:%M:%S\""),
        );
    }
    timestamps
}

/// Settings that the encoding would silently ignore.
fn superfluous(spec: &TimestampFormat, problems: &mut Vec<FormatProblem>) {
    let encoding = spec.encoding;
    if spec.pattern.is_some() && encoding != TimestampEncoding::Pattern {
        problems.push(
            FormatProblem::new("timestamps.pattern", format!("the encoding `{encoding:?}` takes no pattern"))
                .help("remove `pattern`, or write `encoding: Pattern`"),
        );
    }
    let epoch = !matches!(encoding, TimestampEncoding::Rfc3339 | TimestampEncoding::Pattern);
    if spec.zone.is_some() && epoch {
        problems.push(
            FormatProblem::new(
                "timestamps.zone",
                format!("the encoding `{encoding:?}` counts in UTC and takes no zone"),
            )
            .help("remove `zone`"),
        );
    }
}
