//! The sources of a Pipeline: topics, starting points, formats, and the columns of their records.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_crds::format::Column;
use millstream_crds::kafka::{KafkaSource, StartFrom as SpecStart, StartPosition};
use millstream_crds::pipeline::{self as crd, Mode, PipelineSpec};
use regex::{Regex, RegexBuilder};

use super::connections;
use super::context::Context;
use super::names::excerpt;
use super::path::Path;
use super::pipeline::{Connection, Source, StartFrom, Topics};
use super::types;
use crate::format::{Decoder, Format, FormatError};
use crate::operators::{SourceSpec, metadata};

/// The most memory that a compiled topic pattern may take, in bytes.
const PATTERN_SIZE: usize = 1 << 20;

/// A source; parts of it are missing where they were reported as wrong.
pub(super) struct Compiled {
    /// The place of its connection.
    pub(super) connection: Option<usize>,
    /// Its topics.
    pub(super) topics: Option<Topics>,
    /// Where a topic is first read from.
    start_from: Option<StartFrom>,
    /// How its values are read.
    pub(super) format: Option<Format>,
    /// Its columns.
    pub(super) schema: Option<SchemaRef>,
}

/// Checks the sources; they keep their places.
pub(super) fn compile(context: &mut Context<'_>, spec: &PipelineSpec, connections: &[Connection]) -> Vec<Compiled> {
    let one = |(index, source): (usize, &crd::Source)| {
        let path = Path::spec("sources").then(index);
        let kafka = source.kafka.clone().unwrap_or_default();
        let (format, schema) = values(context, source, &path);
        let kafka_path = path.then("kafka");
        if spec.mode == Mode::Batch && kafka.start_from.position == StartPosition::Latest {
            let message = "a Batch that starts at the end reads nothing";
            let help = Some("use `position: Earliest`, or `mode: Streaming`".to_owned());
            context.warning(&kafka_path.below("startFrom.position"), message, help);
        }
        Compiled {
            connection: connections::resolve(context, connections, kafka.connection.as_ref(), &kafka_path),
            topics: topics(context, &kafka, &kafka_path),
            start_from: start(context, &kafka.start_from, &kafka_path.then("startFrom")),
            format,
            schema,
        }
    };
    spec.sources.iter().enumerate().map(one).collect()
}

/// The source as the shard sees it.
pub(super) fn finish(compiled: &Compiled, source: &crd::Source) -> Option<Source> {
    Some(Source {
        name: Arc::from(source.name.as_str()),
        connection: compiled.connection?,
        topics: compiled.topics.clone()?,
        start_from: compiled.start_from?,
        on_data_loss: source.on_data_loss,
    })
}

/// The source as the chain sees it.
pub(super) fn finish_chain(compiled: &Compiled, source: &crd::Source) -> Option<SourceSpec> {
    let (format, schema) = (compiled.format.clone()?, compiled.schema.clone()?);
    Some(SourceSpec { name: Arc::from(source.name.as_str()), format, schema })
}

fn topics(context: &mut Context<'_>, kafka: &KafkaSource, path: &Path) -> Option<Topics> {
    match &kafka.topic_pattern {
        Some(pattern) => self::pattern(context, pattern, &path.then("topicPattern")).map(Topics::Pattern),
        None => Some(Topics::List(kafka.topics.clone())),
    }
}

/// A pattern for whole names. It must be well-formed alone, so that it cannot close the group around it.
fn pattern(context: &mut Context<'_>, pattern: &str, path: &Path) -> Option<Regex> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
    match build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            context.error(path, format!("`{}` is no regular expression: {reason}", excerpt(pattern)), None);
            None
        }
    }
}

fn start(context: &mut Context<'_>, start: &SpecStart, path: &Path) -> Option<StartFrom> {
    match start.position {
        StartPosition::Earliest => Some(StartFrom::Earliest),
        StartPosition::Latest => Some(StartFrom::Latest),
        StartPosition::Timestamp => {
            let text = start.timestamp.as_deref()?;
            let timestamp = text.parse::<jiff::Timestamp>().ok().filter(|timestamp| timestamp.as_millisecond() >= 0);
            if timestamp.is_none() {
                let message = format!("`{}` is not a time since 1970 in RFC 3339", excerpt(text));
                let help = "write a time with its zone, such as `2026-01-31T12:00:00Z`".to_owned();
                context.error(&path.then("timestamp"), message, Some(help));
            }
            timestamp.map(|timestamp| StartFrom::Timestamp(timestamp.as_millisecond()))
        }
    }
}

/// The format and the columns of a source.
fn values(context: &mut Context<'_>, source: &crd::Source, path: &Path) -> (Option<Format>, Option<SchemaRef>) {
    let format = format(context, &source.format, &path.then("format"));
    let schema = schema(context, &source.schema, &path.then("schema"));
    let spoiled = ["format", "schema"].iter().any(|field| context.is_spoiled(&path.then(*field)));
    let (Some(format), Some(schema), false) = (format, schema, spoiled) else { return (None, None) };
    let schema = match &format {
        Format::Raw(settings) => raw_schema(settings.binary),
        _ => schema,
    };
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    if let Err(error) = Decoder::new(&format, &schema, &all) {
        context.error(&place_of(&error, &schema, path), error.to_string(), None);
        return (Some(format), None);
    }
    (Some(format), Some(schema))
}

/// Checks the settings of a format.
pub(super) fn format(context: &mut Context<'_>, spec: &millstream_crds::format::Format, path: &Path) -> Option<Format> {
    match Format::from_spec(spec) {
        Ok(format) => Some(format),
        Err(problems) => {
            for problem in problems {
                context.error(&path.below(&problem.field), problem.message, problem.help);
            }
            None
        }
    }
}

/// Where a problem of a format with its columns is best shown.
fn place_of(error: &FormatError, schema: &Schema, path: &Path) -> Path {
    let column = |name: &str, field: &str| match schema.index_of(name) {
        Ok(index) => path.then("schema").then(index).then(field),
        Err(_) => path.then("schema"),
    };
    match error {
        FormatError::Unsupported { column: name, .. } => column(name, "type"),
        FormatError::NotInHeader { column: name, .. } => column(name, "name"),
        FormatError::NoSuchColumn { .. } => path.below("format.csv.header"),
        _ => path.then("format"),
    }
}

/// The one column of raw values.
fn raw_schema(binary: bool) -> SchemaRef {
    let data_type = if binary { DataType::Binary } else { DataType::Utf8 };
    Arc::new(Schema::new(vec![Field::new("value", data_type, true)]))
}

/// The declared columns.
fn schema(context: &mut Context<'_>, columns: &[Column], path: &Path) -> Option<SchemaRef> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut fields: Vec<Option<Field>> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let (path, name) = (path.then(index), column.name.as_str());
        let unique = unique(context, name, first.get(name), &path.then("name"));
        first.entry(name).or_insert(index);
        let field = match types::parse_field(name, &column.r#type) {
            Ok(field) => Some(field),
            Err(problem) => {
                let position = (1, problem.position as u32 + 1);
                context.error_within(&path.then("type"), Some(position), problem.message, problem.help);
                None
            }
        };
        fields.push(field.filter(|_| unique));
    }
    let fields: Option<Vec<Field>> = fields.into_iter().collect();
    fields.map(|fields| Arc::new(Schema::new(fields)))
}

fn unique(context: &mut Context<'_>, name: &str, first: Option<&usize>, path: &Path) -> bool {
    if metadata::is_metadata(name) {
        let message = format!("`{name}` is the name of a metadata column");
        context.error(path, message, Some("every source has it without being told; remove this column".into()));
        return false;
    }
    if let Some(first) = first {
        let message = format!("the column `{}` is declared twice", excerpt(name));
        context.error(path, message, Some(format!("schema[{first}] has this name")));
    }
    first.is_none()
}
