//! How the value of a record is read and written.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// The format of a record's value. Only the settings of `type` may be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.type == 'Raw' || !has(self.raw)", "raw goes with type Raw only"))]
#[x_kube(validation = ("self.type == 'Csv' || !has(self.csv)", "csv goes with type Csv only"))]
#[x_kube(validation = ("self.type == 'Json' || !has(self.json)", "json goes with type Json only"))]
#[x_kube(validation = ("self.type != 'Raw' || !has(self.timestamps)", "timestamps does not go with type Raw"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Format {
    /// The kind of format.
    pub r#type: FormatType,
    /// Settings of `Raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawFormat>,
    /// Settings of `Csv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,
    /// Settings of `Json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonFormat>,
    /// How timestamps stand in text. Defaults to RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<TimestampFormat>,
}

/// Kinds of format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FormatType {
    /// One column `value` with the whole record.
    #[default]
    Raw,
    /// One line of separated fields a record.
    Csv,
    /// One JSON object a record.
    Json,
}

/// Settings of `Raw`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawFormat {
    /// Keeps bytes as they are: the column is `binary`, and nothing is checked. Otherwise it is a `string`, and
    /// invalid UTF-8 is a bad record.
    #[serde(default)]
    pub binary: bool,
}

/// Settings of `Csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("self.delimiter != self.quote", "delimiter and quote must differ"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CsvFormat {
    /// The character between fields, one ASCII character.
    #[serde(default = "delimiter")]
    #[schemars(length(min = 1, max = 1), regex(pattern = names::ASCII_CHARACTER))]
    pub delimiter: String,
    /// The character around fields that contain delimiters, one ASCII character; doubled inside a field.
    #[serde(default = "quote")]
    #[schemars(length(min = 1, max = 1), regex(pattern = names::ASCII_CHARACTER))]
    pub quote: String,
    /// The names of a record's fields in order, so that `schema` may name some of them in any order. Without it,
    /// fields bind to `schema` in order. For writing: the columns in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), inner(length(max = 255)))]
    pub header: Option<Vec<String>>,
    /// The unquoted text that stands for null.
    #[serde(default)]
    #[schemars(length(max = 255))]
    pub null_text: String,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: delimiter(), quote: quote(), header: None, null_text: String::new() }
    }
}

fn delimiter() -> String {
    ",".into()
}

fn quote() -> String {
    "\"".into()
}

/// Settings of `Json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonFormat {
    /// What happens to fields that the schema does not name.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
}

/// What happens to fields that the schema does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnknownFields {
    /// They are skipped.
    #[default]
    Ignore,
    /// The record is bad.
    Refuse,
}

/// How timestamps stand in text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(self.encoding == 'Pattern') == has(self.pattern)",
    "the encoding Pattern and pattern go together"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimestampFormat {
    /// The notation.
    #[serde(default)]
    pub encoding: TimestampEncoding,
    /// With `Pattern`: a strftime pattern, such as `%Y-%m-%d %H:%M:%S%.f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub pattern: Option<String>,
    /// The time zone of texts that carry none, an IANA name. Defaults to UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub zone: Option<String>,
}

/// Notations of a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimestampEncoding {
    /// `2026-01-31T12:00:00.5Z`; a space instead of `T` and a missing zone are read, too.
    #[default]
    Rfc3339,
    /// Whole seconds since 1970.
    EpochSeconds,
    /// Whole milliseconds since 1970.
    EpochMillis,
    /// Whole microseconds since 1970.
    EpochMicros,
    /// As `pattern` says.
    Pattern,
}

/// A column of a record's value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Column {
    /// The column's name; case counts.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// `string`, `binary`, `boolean`, `int`, `bigint`, `float`, `double`, `decimal(p,s)`, `date`, `timestamp`,
    /// `list<T>`, `struct<name: T, …>` or `json`.
    #[schemars(length(min = 1, max = 8192))]
    pub r#type: String,
}
