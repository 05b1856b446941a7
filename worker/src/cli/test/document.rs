//! What a PipelineTest says: the document → values that can be run.

use std::collections::HashSet;
use std::io;

use serde_json::Value;

use super::reader::{At, Reader};
use super::{API_VERSION, KIND};
use crate::plan::CompiledPipeline;
use crate::plan::diagnostic::Diagnostics;
use crate::plan::manifest::RawDocument;
use crate::plan::names::suggestion;
use crate::plan::path::Path;
use crate::plan::pipeline::{Source, Topics};
use crate::records::Reason;

/// A test of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct PipelineTest {
    /// The file of the pipeline, relative to the test's; without it, the pipeline is in the same file.
    pub(in crate::cli) pipeline_file: Option<String>,
    /// The pipeline's name, where the file has several.
    pub(in crate::cli) pipeline_name: Option<String>,
    /// What `now()` gives, in microseconds since 1970.
    pub(in crate::cli) now: i64,
    /// Input, in the order in which it is processed.
    pub(in crate::cli) inputs: Vec<Input>,
    /// Expected output; a sink that is not named gets nothing.
    pub(in crate::cli) sinks: Vec<ExpectedSink>,
    /// Expected bad records.
    pub(in crate::cli) dead_letters: Vec<ExpectedDeadLetter>,
}

/// Records for a source.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Input {
    pub(in crate::cli) source: String,
    pub(in crate::cli) records: Vec<Record>,
}

/// A record as it stands in Kafka.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct Record {
    /// The topic; the source's first without it.
    pub(in crate::cli) topic: Option<String>,
    pub(in crate::cli) partition: i32,
    /// The offset; the one after the record before without it.
    pub(in crate::cli) offset: Option<i64>,
    pub(in crate::cli) key: Option<Vec<u8>>,
    pub(in crate::cli) value: Option<Vec<u8>>,
    pub(in crate::cli) headers: Vec<Header>,
    /// In microseconds since 1970; the test's `now` without it.
    pub(in crate::cli) timestamp: Option<i64>,
}

/// A key or a value: bytes, or Kafka's null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Cell(pub(in crate::cli) Option<Vec<u8>>);

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Header {
    pub(in crate::cli) key: String,
    pub(in crate::cli) value: Option<Vec<u8>>,
}

/// What a sink should get, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct ExpectedSink {
    pub(in crate::cli) sink: String,
    pub(in crate::cli) records: Vec<ExpectedRecord>,
}

/// A record that should come out. What is None is not compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli) struct ExpectedRecord {
    pub(in crate::cli) key: Option<Cell>,
    pub(in crate::cli) value: Option<ExpectedValue>,
    pub(in crate::cli) headers: Option<Vec<Header>>,
    pub(in crate::cli) timestamp: Option<i64>,
}

/// How a value is compared.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) enum ExpectedValue {
    /// Byte for byte.
    Bytes(Cell),
    /// As JSON: spaces, the order of fields and the notation of numbers do not count.
    Json(Value),
}

/// A record that should be refused. What is None is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct ExpectedDeadLetter {
    pub(in crate::cli) topic: Option<String>,
    pub(in crate::cli) partition: Option<i32>,
    pub(in crate::cli) offset: Option<i64>,
    pub(in crate::cli) value: Option<Cell>,
    pub(in crate::cli) node: Option<String>,
    pub(in crate::cli) reason: Option<Reason>,
    /// A part of the message.
    pub(in crate::cli) message: Option<String>,
}

/// The test's name, for reports; `-` if it has none.
pub(super) fn name(raw: &RawDocument) -> String {
    let path = Path::root().then("metadata").then("name");
    raw.root().at(&path).and_then(|node| node.text()).unwrap_or("-").to_owned()
}

/// Gives the bytes of a file that a test names.
pub(in crate::cli) type Files<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;

/// Reads a test.
pub(in crate::cli) fn read(raw: &RawDocument, files: Files<'_>) -> Result<PipelineTest, Diagnostics> {
    let mut reader = Reader::new(raw);
    let root = reader.root();
    check_head(&mut reader, &root);
    let mut test = PipelineTest {
        pipeline_file: None,
        pipeline_name: None,
        now: jiff::Timestamp::now().as_microsecond(),
        inputs: Vec::new(),
        sinks: Vec::new(),
        dead_letters: Vec::new(),
    };
    if let Some(spec) = reader.required(&root, "spec") {
        test.read_spec(&mut reader, &spec, files);
    }
    reader.finish(test)
}

fn check_head(reader: &mut Reader<'_>, root: &At<'_>) {
    if !reader.fields(root, &["apiVersion", "kind", "metadata", "spec"]) {
        return;
    }
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let text = root.field(field).and_then(|at| at.node.text().map(str::to_owned));
        if text.as_deref() != Some(expected) {
            let found = text.map_or_else(|| "nothing".to_owned(), |text| format!("`{text}`"));
            let path = root.field(field).map_or_else(|| root.path.clone(), |at| at.path);
            reader.problem(&path, format!("`{field}` is {found}"), Some(format!("a test has `{field}: {expected}`")));
        }
    }
    if let Some(metadata) = root.field("metadata") {
        reader.fields(&metadata, &["name", "labels", "annotations"]);
    }
}

impl PipelineTest {
    fn read_spec(&mut self, reader: &mut Reader<'_>, spec: &At<'_>, files: Files<'_>) {
        if !reader.fields(spec, &["pipeline", "now", "inputs", "expected"]) {
            return;
        }
        if let Some(pipeline) = spec.field("pipeline").filter(|at| reader.fields(at, &["file", "name"])) {
            self.pipeline_file = pipeline.field("file").and_then(|at| reader.text(&at));
            self.pipeline_name = pipeline.field("name").and_then(|at| reader.text(&at));
        }
        if let Some(now) = spec.field("now").and_then(|at| reader.moment(&at)) {
            self.now = now;
        }
        if let Some(inputs) = reader.required(spec, "inputs") {
            let inputs = reader.items(&inputs);
            self.inputs = inputs.iter().filter_map(|at| input(reader, at, files)).collect();
        }
        if let Some(expected) = reader.required(spec, "expected") {
            self.read_expected(reader, &expected);
        }
    }

    fn read_expected(&mut self, reader: &mut Reader<'_>, expected: &At<'_>) {
        if !reader.fields(expected, &["sinks", "deadLetters"]) {
            return;
        }
        if let Some(sinks) = expected.field("sinks") {
            let mut seen = HashSet::new();
            for at in reader.items(&sinks) {
                let Some(sink) = expected_sink(reader, &at) else { continue };
                if !seen.insert(sink.sink.clone()) {
                    reader.problem(&at.path, format!("sink `{}` is named twice", sink.sink), None);
                }
                self.sinks.push(sink);
            }
        }
        if let Some(letters) = expected.field("deadLetters") {
            let letters = reader.items(&letters);
            self.dead_letters = letters.iter().map(|at| expected_dead_letter(reader, at)).collect();
        }
    }
}

fn input(reader: &mut Reader<'_>, at: &At<'_>, files: Files<'_>) -> Option<Input> {
    if !reader.fields(at, &["source", "records", "lines"]) {
        return None;
    }
    let source = reader.required(at, "source").and_then(|at| reader.text(&at));
    let records = match (at.field("records"), at.field("lines")) {
        (Some(records), None) => {
            let records = reader.items(&records);
            records.iter().map(|at| record(reader, at)).collect()
        }
        (None, Some(lines)) => lines_of(reader, &lines, files),
        (Some(_), Some(lines)) => {
            reader.problem(&lines.path, "`records` and `lines` exclude each other", None);
            Vec::new()
        }
        (None, None) => {
            reader.problem(&at.path, "`records` is missing", Some("or name a file with `lines`".into()));
            Vec::new()
        }
    };
    Some(Input { source: source?, records })
}

/// A record for each line of a file.
fn lines_of(reader: &mut Reader<'_>, at: &At<'_>, files: Files<'_>) -> Vec<Record> {
    let Some(name) = reader.text(at) else { return Vec::new() };
    match files(&name) {
        Ok(bytes) => records_of_lines(&bytes),
        Err(error) => {
            reader.problem(&at.path, format!("`{name}` cannot be read: {error}"), None);
            Vec::new()
        }
    }
}

/// A record for each line; line ends are not part of it, and the last line may lack its own.
fn records_of_lines(bytes: &[u8]) -> Vec<Record> {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let value = |line: &[u8]| Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    lines.into_iter().map(|line| Record { value: value(line), ..Record::default() }).collect()
}

fn record(reader: &mut Reader<'_>, at: &At<'_>) -> Record {
    const FIELDS: [&str; 9] =
        ["topic", "partition", "offset", "key", "keyBase64", "value", "valueBase64", "headers", "timestamp"];
    let mut record = Record::default();
    if !reader.fields(at, &FIELDS) {
        return record;
    }
    if at.field("value").is_none() && at.field("valueBase64").is_none() {
        reader.problem(&at.path, "`value` is missing", Some("write `value: null` for a tombstone".into()));
    }
    record.topic = at.field("topic").and_then(|at| reader.text(&at));
    record.partition = at.field("partition").and_then(|at| reader.natural(&at)).unwrap_or(0);
    record.offset = at.field("offset").and_then(|at| reader.natural(&at));
    record.key = reader.bytes(at, "key").and_then(|cell| cell.0);
    record.value = reader.bytes(at, "value").and_then(|cell| cell.0);
    record.headers = at.field("headers").map(|at| headers(reader, &at)).unwrap_or_default();
    record.timestamp = at.field("timestamp").and_then(|at| reader.moment(&at));
    record
}

fn headers(reader: &mut Reader<'_>, at: &At<'_>) -> Vec<Header> {
    let mut headers = Vec::new();
    for at in reader.items(at) {
        if !reader.fields(&at, &["key", "value", "valueBase64"]) {
            continue;
        }
        let key = reader.required(&at, "key").and_then(|at| reader.text(&at));
        let value = reader.bytes(&at, "value").and_then(|cell| cell.0);
        headers.extend(key.map(|key| Header { key, value }));
    }
    headers
}

fn expected_sink(reader: &mut Reader<'_>, at: &At<'_>) -> Option<ExpectedSink> {
    if !reader.fields(at, &["sink", "records"]) {
        return None;
    }
    let sink = reader.required(at, "sink").and_then(|at| reader.text(&at));
    let records = reader.required(at, "records").map(|at| reader.items(&at)).unwrap_or_default();
    let records = records.iter().map(|at| expected_record(reader, at)).collect();
    Some(ExpectedSink { sink: sink?, records })
}

fn expected_record(reader: &mut Reader<'_>, at: &At<'_>) -> ExpectedRecord {
    let mut record = ExpectedRecord::default();
    if !reader.fields(at, &["key", "keyBase64", "value", "valueBase64", "json", "headers", "timestamp"]) {
        return record;
    }
    record.key = reader.bytes(at, "key");
    let bytes = reader.bytes(at, "value").map(ExpectedValue::Bytes);
    let json = at.field("json").map(|at| (reader.json(&at), at));
    record.value = match (bytes, json) {
        (Some(_), Some((_, at))) => {
            reader.problem(&at.path, "`value` and `json` exclude each other", None);
            None
        }
        (bytes, json) => bytes.or(json.map(|(json, _)| ExpectedValue::Json(json))),
    };
    record.headers = at.field("headers").map(|at| headers(reader, &at));
    record.timestamp = at.field("timestamp").and_then(|at| reader.moment(&at));
    record
}

fn expected_dead_letter(reader: &mut Reader<'_>, at: &At<'_>) -> ExpectedDeadLetter {
    const FIELDS: [&str; 8] = ["topic", "partition", "offset", "value", "valueBase64", "node", "reason", "message"];
    let mut letter = ExpectedDeadLetter::default();
    if !reader.fields(at, &FIELDS) {
        return letter;
    }
    letter.topic = at.field("topic").and_then(|at| reader.text(&at));
    letter.partition = at.field("partition").and_then(|at| reader.natural(&at));
    letter.offset = at.field("offset").and_then(|at| reader.natural(&at));
    letter.value = reader.bytes(at, "value");
    letter.node = at.field("node").and_then(|at| reader.text(&at));
    letter.reason = at.field("reason").and_then(|at| reason(reader, &at));
    letter.message = at.field("message").and_then(|at| reader.text(&at));
    letter
}

fn reason(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Reason> {
    let text = reader.text(at)?;
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == text);
    if reason.is_none() {
        let help = suggestion(&text, Reason::ALL.map(Reason::as_str), "reasons");
        reader.problem(&at.path, format!("`{text}` is no reason"), help);
    }
    reason
}

/// Checks the names in a test against the pipeline's.
pub(super) fn check_against(
    raw: &RawDocument,
    test: &PipelineTest,
    pipeline: &CompiledPipeline,
) -> Result<(), Diagnostics> {
    let mut reader = Reader::new(raw);
    for (place, input) in test.inputs.iter().enumerate() {
        let at = Path::spec("inputs").then(place);
        match pipeline.sources.iter().find(|source| *source.name == *input.source) {
            Some(source) => check_topics(&mut reader, &at.then("records"), source, &input.records),
            None => {
                let names = pipeline.sources.iter().map(|source| &*source.name);
                let help = suggestion(&input.source, names, "sources");
                reader.problem(&at.then("source"), format!("there is no source `{}`", input.source), help);
            }
        }
    }
    for (place, expected) in test.sinks.iter().enumerate() {
        if !pipeline.sinks.iter().any(|sink| *sink.name == *expected.sink) {
            let names = pipeline.sinks.iter().map(|sink| &*sink.name);
            let help = suggestion(&expected.sink, names, "sinks");
            let at = Path::spec("expected").then("sinks").then(place).then("sink");
            reader.problem(&at, format!("there is no sink `{}`", expected.sink), help);
        }
    }
    reader.finish(())
}

fn check_topics(reader: &mut Reader<'_>, at: &Path, source: &Source, records: &[Record]) {
    for (place, record) in records.iter().enumerate() {
        let at = at.then(place);
        match (&source.topics, &record.topic) {
            (Topics::List(topics), Some(topic)) if !topics.contains(topic) => {
                let help = suggestion(topic, topics.iter().map(String::as_str), "its topics");
                let message = format!("source `{}` does not read topic `{topic}`", source.name);
                reader.problem(&at.then("topic"), message, help);
            }
            (Topics::Pattern(pattern), Some(topic)) if !pattern.is_match(topic) => {
                let message = format!("the topic pattern of source `{}` does not match `{topic}`", source.name);
                reader.problem(&at.then("topic"), message, None);
            }
            (Topics::Pattern(_), None) => {
                let message = format!("`topic` is missing: source `{}` has a topic pattern", source.name);
                reader.problem(&at, message, None);
            }
            _ => {}
        }
    }
}
