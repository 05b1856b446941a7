//! The sinks of a Pipeline: what is written where, with which key, in which format.

use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{Schema, SchemaRef};
use millstream_crds::pipeline::{self as crd, PipelineSpec};

use super::columns::unknown;
use super::connections;
use super::context::Context;
use super::graph::{Graph, Id};
use super::path::Path;
use super::pipeline::{Connection, Sink};
use super::sources::{self, Compiled as CompiledSource};
use super::transforms::Tables;
use super::types;
use crate::format::{Encoder, Format, FormatError, UnknownFields, text_form};
use crate::operators::spec::{KeyRule, Step};

/// A sink; parts of it are missing where they were reported as wrong.
pub(super) struct Compiled {
    /// The place of its connection.
    pub(super) connection: Option<usize>,
    /// How values are written.
    pub(super) format: Option<Format>,
    /// What becomes of the key.
    pub(super) key: Option<KeyRule>,
}

/// Checks the sinks; they keep their places.
pub(super) fn compile(
    context: &mut Context<'_>,
    spec: &PipelineSpec,
    connections: &[Connection],
    graph: &Graph,
    tables: &Tables<'_>,
) -> Vec<Compiled> {
    let one = |(index, sink): (usize, &crd::Sink)| {
        let path = Path::spec("sinks").then(index);
        let kafka = sink.kafka.clone().unwrap_or_default();
        let connection = connections::resolve(context, connections, kafka.connection.as_ref(), &path.then("kafka"));
        let format = sources::format(context, &sink.format, &path.then("format"));
        let schema = tables.united(context, &graph.sinks[index], &path);
        if let (Some(format), Some(schema)) = (&format, &schema) {
            check_format(context, format, schema, &path);
        }
        let key = match &kafka.key_column {
            None => Some(KeyRule::Source),
            Some(column) => schema.and_then(|schema| key(context, column, &schema, &path.below("kafka.keyColumn"))),
        };
        Compiled { connection, format, key }
    };
    spec.sinks.iter().enumerate().map(one).collect()
}

/// The sink as the shard sees it.
pub(super) fn finish(compiled: &Compiled, sink: &crd::Sink) -> Option<Sink> {
    let kafka = sink.kafka.as_ref()?;
    Some(Sink {
        name: Arc::from(sink.name.as_str()),
        connection: compiled.connection?,
        topic: kafka.topic.clone(),
        compression: kafka.compression,
    })
}

fn key(context: &mut Context<'_>, column: &str, schema: &SchemaRef, path: &Path) -> Option<KeyRule> {
    let Ok(index) = schema.index_of(column) else {
        let (message, help) = unknown(column, schema);
        context.error(path, message, help);
        return None;
    };
    let field = schema.field(index);
    if let Err(error) = text_form(&new_empty_array(field.data_type())) {
        let message = format!("`{column}` is {}, which makes no key: {error}", types::describe(field));
        context.error(path, message, None);
        return None;
    }
    Some(KeyRule::Column(index))
}

fn check_format(context: &mut Context<'_>, format: &Format, schema: &SchemaRef, path: &Path) {
    let Err(error) = Encoder::new(format, schema) else { return };
    let help = match &error {
        FormatError::RawColumns { .. } => Some(one_column(schema)),
        FormatError::Unsupported { format: "Csv", .. } => {
            Some("leave it out with `drop`, or write `type: Json`".into())
        }
        _ => None,
    };
    let at = match &error {
        FormatError::NotInHeader { .. } | FormatError::NoSuchColumn { .. } => path.below("format.csv.header"),
        _ => path.below("format.type"),
    };
    context.error(&at, error.to_string(), help);
}

fn one_column(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|field| field.name().as_str());
    let names: Vec<&str> = fields.collect();
    format!("take one of {} with `select`, or write `type: Json`", super::names::listed(&names))
}

/// Warns of sinks that lose fields of JSON records that the source's schema does not name.
pub(super) fn warn_of_dropped_fields(
    context: &mut Context<'_>,
    spec: &PipelineSpec,
    graph: &Graph,
    tables: &Tables<'_>,
    sources: &[CompiledSource],
    sinks: &[Compiled],
) {
    for (index, sink) in sinks.iter().enumerate() {
        let Some(Format::Json(_)) = &sink.format else { continue };
        for (source, filtered) in origins(graph, tables, index) {
            let Some(format @ Format::Json(settings)) = &sources[source].format else { continue };
            let forwarded = filtered && sink.format.as_ref() == Some(format);
            if forwarded || settings.unknown_fields == UnknownFields::Refuse {
                continue;
            }
            let name = &spec.sources[source].name;
            let message =
                format!("fields of `{name}` that its schema does not name are not written: rows are encoded anew");
            let help = "to be told of such fields, set `json: {unknownFields: Refuse}` at the source; \
                        to choose columns, use `select`";
            context.warning(&Path::spec("sinks").then(index).then("format"), message, Some(help.to_owned()));
        }
    }
}

/// The sources whose rows reach a sink with all their columns, and whether on the way they were only filtered. Steps
/// that choose columns end the way: who chooses knows what is left out.
fn origins(graph: &Graph, tables: &Tables<'_>, sink: usize) -> Vec<(usize, bool)> {
    let mut found = std::collections::BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    let mut open: Vec<(Id, bool)> = graph.sinks[sink].iter().flatten().map(|id| (*id, true)).collect();
    while let Some((id, filtered)) = open.pop() {
        match id {
            _ if !seen.insert((id, filtered)) => {}
            Id::Source(source) => *found.entry(source).or_insert(true) &= filtered,
            Id::Transform(index) => {
                let filtered = match tables.node(index).map(|node| &node.step) {
                    Some(Step::Filter(_)) => filtered,
                    Some(_) if tables.keeps_columns(index) => false,
                    _ => continue,
                };
                open.extend(graph.transforms[index].iter().flatten().map(|id| (*id, filtered)));
            }
        }
    }
    found.into_iter().collect()
}
