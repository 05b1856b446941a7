//! Files of manifests → Pipelines that know where each of their fields stands.
//!
//! A file has any number of YAML documents (JSON is YAML, too). What is not YAML, or no Pipeline, ends the reading of
//! the file; problems of shape are kept with the document and reported together with those that compiling it finds.

use std::sync::{Arc, LazyLock};

use millstream_crds::Pipeline;
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use super::names::{excerpt, suggestion};
use super::path::Path;
use super::position::{self, Lines};
use super::schema::{self, ShapeProblem};
use super::yaml::{self, Content, Entry, Node, YamlProblem};

/// The group and version of Pipelines.
pub const API_VERSION: &str = "millstream.dev/v1alpha1";
/// Their kind.
pub const KIND: &str = "Pipeline";

/// Fields of an object's metadata, as Kubernetes has them.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The schema of the Pipeline resource, as the API server has it.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = millstream_crds::definitions().into_iter().find(|definition| definition.spec.names.kind == KIND);
    definition
        .and_then(|definition| serde_json::to_value(definition).ok())
        .and_then(|definition| definition.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned())
        .unwrap_or_default()
});

/// The schema of the Pipeline resource.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// A file's text with its name.
#[derive(Debug)]
struct File {
    name: String,
    text: String,
    lines: Lines,
}

impl File {
    fn diagnostic(&self, place: Place, severity: Severity, message: String, help: Option<String>) -> Diagnostic {
        let Place { line, column } = place;
        let excerpt = self.lines.line(&self.text, line).map(str::to_owned);
        Diagnostic {
            severity,
            file: self.name.clone(),
            line,
            column,
            node: None,
            field: String::new(),
            message,
            help,
            excerpt,
        }
    }

    fn yaml_problem(&self, problem: YamlProblem) -> Diagnostic {
        self.diagnostic(problem.place, Severity::Error, problem.message, problem.help)
    }
}

/// A document of a file: its tree with places, not yet taken for anything.
#[derive(Clone, Debug)]
pub struct RawDocument {
    file: Arc<File>,
    root: Node,
}

/// A Pipeline of a file.
#[derive(Clone, Debug)]
pub struct Document {
    raw: RawDocument,
    /// The Pipeline. What was wrong in shape is left out or replaced; see [`Document::is_spoiled`].
    pub pipeline: Pipeline,
    problems: Vec<ShapeProblem>,
}

/// Reads the Pipelines of a file.
///
/// Fails for what is not YAML, for other kinds of documents, and for files without any; other problems are reported by
/// [`super::compile`].
pub fn read(file: &str, text: &str) -> Result<Vec<Document>, Diagnostics> {
    let raw = documents(file, text)?;
    if raw.is_empty() {
        let file = File { name: file.to_owned(), text: text.to_owned(), lines: Lines::new(text) };
        let message = "there is no Pipeline in this file".to_owned();
        let problem = file.diagnostic(Place { line: 1, column: 1 }, Severity::Error, message, Some(beginning()));
        return Err([problem].into_iter().collect());
    }
    let (documents, problems): (Vec<_>, Vec<_>) = raw.into_iter().map(RawDocument::pipeline).partition(Result::is_ok);
    if problems.is_empty() {
        return Ok(documents.into_iter().filter_map(Result::ok).collect());
    }
    Err(problems.into_iter().filter_map(Result::err).flatten().collect())
}

/// Reads the documents of a file, whatever they are.
pub fn documents(file: &str, text: &str) -> Result<Vec<RawDocument>, Diagnostics> {
    let known = text.len() <= yaml::MAX_BYTES;
    let lines = Lines::new(if known { text } else { "" });
    let source = Arc::new(File { name: file.to_owned(), text: text.to_owned(), lines });
    match yaml::parse(text) {
        Ok(roots) => Ok(roots.into_iter().map(|root| RawDocument { file: Arc::clone(&source), root }).collect()),
        Err(problems) => Err(problems.into_iter().map(|problem| source.yaml_problem(problem)).collect()),
    }
}

impl RawDocument {
    /// The document's tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The text of `apiVersion`.
    pub fn api_version(&self) -> Option<&str> {
        self.root.get("apiVersion").and_then(Node::text)
    }

    /// The text of `kind`.
    pub fn kind(&self) -> Option<&str> {
        self.root.get("kind").and_then(Node::text)
    }

    /// A problem at a field.
    pub fn diagnostic(&self, severity: Severity, path: &Path, message: String, help: Option<String>) -> Diagnostic {
        self.diagnostic_at(self.root.place_of(path), severity, path, message, help)
    }

    fn diagnostic_at(
        &self,
        place: Place,
        severity: Severity,
        path: &Path,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let node = path.node().and_then(|(list, index)| {
            self.root.at(&Path::spec(list).then(index)).and_then(|node| node.get("name")).and_then(Node::text)
        });
        let node = node.filter(|name| !name.is_empty()).map(excerpt);
        Diagnostic { node, field: path.to_string(), ..self.file.diagnostic(place, severity, message, help) }
    }

    fn shape_problem(&self, problem: &ShapeProblem) -> Diagnostic {
        let ShapeProblem { path, at_name, severity, message, help } = problem;
        let place = if *at_name { self.root.key_place_of(path) } else { self.root.place_of(path) };
        self.diagnostic_at(place, *severity, path, message.clone(), help.clone())
    }

    /// Takes the document for a Pipeline.
    pub fn pipeline(self) -> Result<Document, Diagnostics> {
        self.check_kind()?;
        let mut problems = self.check_fields();
        let spec = Path::root().then("spec");
        let empty = Node { place: self.root.place, content: Content::Mapping(Vec::new()) };
        let shaped = schema::shape(
            self.root.get("spec").unwrap_or(&empty),
            schema().pointer("/properties/spec").unwrap_or(&Value::Null),
            &spec,
        );
        if self.root.get("spec").is_some() {
            problems.extend(shaped.problems);
        }
        let metadata = self.metadata(&mut problems);
        let pipeline = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": shaped.value});
        match serde_json::from_value(pipeline) {
            Ok(pipeline) => Ok(Document { raw: self, pipeline, problems }),
            Err(_) if !problems.is_empty() => Err(problems.iter().map(|problem| self.shape_problem(problem)).collect()),
            Err(error) => {
                let problem = self.diagnostic(Severity::Error, &spec, format!("is no Pipeline's: {error}"), None);
                Err([problem].into_iter().collect())
            }
        }
    }

    fn check_kind(&self) -> Result<(), Diagnostics> {
        let wrong = |field: &str, message: String| {
            let at = Path::root().below(field);
            Err([self.diagnostic(Severity::Error, &at, message, Some(beginning()))].into_iter().collect())
        };
        if !matches!(self.root.content, Content::Mapping(_)) {
            return wrong("", format!("expected a Pipeline, found {}", schema::found(&self.root)));
        }
        match (self.api_version(), self.kind()) {
            (Some(API_VERSION), Some(KIND)) => Ok(()),
            (None, _) => wrong("", "`apiVersion` is missing".into()),
            (_, None) => wrong("", "`kind` is missing".into()),
            (Some(API_VERSION), Some(kind)) => wrong("kind", format!("`{}` is not a kind that runs", excerpt(kind))),
            (Some(version), _) => wrong("apiVersion", format!("`{}` is not the API of Pipelines", excerpt(version))),
        }
    }

    /// The names of the fields beside and above the spec.
    fn check_fields(&self) -> Vec<ShapeProblem> {
        let entries = |node: Option<&Node>| match node.map(|node| &node.content) {
            Some(Content::Mapping(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        let unknown = |entry: &Entry, known: &[&'static str], path: &Path| ShapeProblem {
            path: path.then(entry.key.as_str()),
            at_name: true,
            severity: Severity::Error,
            message: format!("unknown field `{}`", excerpt(&entry.key)),
            help: suggestion(&entry.key, known.iter().copied(), "fields here"),
        };
        let levels: [(Option<&Node>, &[&'static str], Path); 2] = [
            (Some(&self.root), &["apiVersion", "kind", "metadata", "spec", "status"], Path::root()),
            (self.root.get("metadata"), &METADATA, Path::root().then("metadata")),
        ];
        let mut problems: Vec<ShapeProblem> = Vec::new();
        for (node, known, path) in levels {
            let strangers = entries(node).into_iter().filter(|entry| !known.contains(&entry.key.as_str()));
            problems.extend(strangers.map(|entry| unknown(&entry, known, &path)));
        }
        if self.root.get("spec").is_none() {
            let help = "add `spec:` with `connections`, `sources`, `transforms` and `sinks`";
            problems.push(error(Path::root().then("spec"), "`spec` is missing", help));
        }
        problems.truncate(schema::MAX_PROBLEMS);
        problems
    }

    /// Name and namespace; the rest of the metadata is Kubernetes' own.
    fn metadata(&self, problems: &mut Vec<ShapeProblem>) -> Value {
        let metadata = Path::root().then("metadata");
        let mut read = |field: &str| {
            let node = self.root.at(&metadata.then(field))?;
            let wanted = json!({"type": "string"});
            let shaped = schema::shape(node, &wanted, &metadata.then(field));
            problems.extend(shaped.problems);
            shaped.value.as_str().map(str::to_owned)
        };
        let (name, namespace) = (read("name"), read("namespace"));
        if self.root.at(&metadata.then("name")).is_none() {
            let help = "add `name: …` with lower-case letters, digits and `-`";
            problems.push(error(metadata.then("name"), "`metadata.name` is missing", help));
        }
        let value = json!({"name": name.unwrap_or_default(), "namespace": namespace});
        let named = problems.iter().any(|problem| metadata.contains(&problem.path));
        if !named {
            problems.extend(schema::broken_rules(&json!({"metadata": value}), schema(), &Path::root()));
        }
        value
    }
}

/// How a Pipeline is told from other documents.
fn beginning() -> String {
    format!("a Pipeline begins with `apiVersion: {API_VERSION}` and `kind: {KIND}`")
}

fn error(path: Path, message: &str, help: &str) -> ShapeProblem {
    let (message, help) = (message.to_owned(), Some(help.to_owned()));
    ShapeProblem { path, at_name: false, severity: Severity::Error, message, help }
}

impl Document {
    /// The Pipeline's name; empty if it has none.
    pub fn name(&self) -> &str {
        self.pipeline.metadata.name.as_deref().unwrap_or_default()
    }

    /// The Pipeline's namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.pipeline.metadata.namespace.as_deref()
    }

    /// The name of the file, as it was given to [`read`].
    pub fn file(&self) -> &str {
        &self.raw.file.name
    }

    /// A problem at a field.
    pub fn diagnostic(&self, severity: Severity, path: &Path, message: String, help: Option<String>) -> Diagnostic {
        self.raw.diagnostic(severity, path, message, help)
    }

    /// The same problem, at a line and column (from 1) inside the text that the field has.
    pub fn at_position(&self, diagnostic: Diagnostic, path: &Path, position: (u32, u32)) -> Diagnostic {
        let File { text, lines, .. } = &*self.raw.file;
        let scalar = self.raw.root.at(path).and_then(Node::scalar);
        let byte = scalar.and_then(|scalar| position::byte_of(text, &scalar.source, &scalar.text, position));
        let Some(byte) = byte else { return diagnostic };
        let Place { line, column } = lines.place(text, byte);
        Diagnostic { line, column, excerpt: lines.line(text, line).map(str::to_owned), ..diagnostic }
    }

    /// Problems of shape, in the order in which they were found.
    pub fn problems(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        self.problems.iter().map(|problem| self.raw.shape_problem(problem))
    }

    /// Whether a field, or something in it, is reported as wrong already, so that its value means nothing.
    pub fn is_spoiled(&self, path: &Path) -> bool {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors.into_iter().any(|problem| path.contains(&problem.path) || problem.path.contains(path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BASE: &str = include_str!("golden/base.txt");

    /// A manifest with a value in every field that takes one.
    const FULL: &str = r#"
apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {name: full, namespace: iot, labels: {team: iot}}
spec:
  applicationId: iot.full
  connections:
    - name: main
      kafka:
        bootstrapServers: a:9092,b:9092
        tls:
          ca: {secretRef: {name: ca, key: ca.crt}}
          certificate: {secretRef: {name: user-cert}}
        sasl: {mechanism: ScramSha256, secretRef: {name: user, passwordKey: secret}}
        properties: {fetch.max.bytes: "1048576"}
  sources:
    - name: readings
      kafka: {connection: main, topics: [one, two], startFrom: {position: Latest}}
      format: {type: Csv, csv: {delimiter: "\t", header: [a, b], nullText: "-"}, timestamps: {encoding: EpochMillis}}
      schema: [{name: a, type: "list<int>"}, {name: b, type: string}]
      onDataLoss: Earliest
    - name: others
      kafka: {connection: main, topicPattern: "x.*"}
      format: {type: Json, json: {unknownFields: Refuse}}
      schema: [{name: a, type: string}]
  transforms:
    - {name: t1, from: [readings, others], filter: a IS NOT NULL}
    - {name: t2, set: [{column: a, expression: upper(a)}]}
    - {name: t3, rename: [{column: a, to: c}]}
    - {name: t4, unnest: {column: c, keepEmpty: true}}
    - name: t5
      sql: >-
        SELECT c
        FROM t4
    - {name: t6, select: [c]}
    - {name: t7, drop: [d]}
  sinks:
    - {name: s, from: [t7], kafka: {connection: main, topic: o, keyColumn: c, compression: Zstd}, format: {type: Raw, raw: {binary: true}}}
  delivery: AtLeastOnce
  checkpoint: {interval: 1s}
  errors: {policy: DeadLetter, deadLetter: {connection: main, topic: dead}}
  mode: Batch
  shards: 12
  scaling: {minReplicas: 1, maxReplicas: 8, targetUtilizationPercent: 60, catchUp: 5m}
  suspend: true
  adopt: true
  deletionPolicy: Delete
  workerTimeout: 10s
  worker:
    resources: {limits: {cpu: "2", memory: 256Mi}}
    labels: {a: b}
    nodeSelector: {zone: x}
    tolerations: [{key: a, operator: Exists, tolerationSeconds: 5}]
    priorityClassName: high
"#;

    #[test]
    fn reads_what_a_typed_reader_reads() {
        for text in [BASE, FULL] {
            let document = read("full.yaml", text).unwrap().remove(0);
            let problems: Vec<String> = document.problems().map(|problem| problem.to_string()).collect();
            assert_eq!(problems, [""; 0]);
            let other: Pipeline = serde_saphyr::from_str(text).unwrap();
            assert_eq!(document.pipeline.spec, other.spec);
            assert_eq!(document.name(), other.metadata.name.unwrap());
            assert_eq!(document.namespace(), other.metadata.namespace.as_deref());
        }
    }

    #[test]
    fn reads_json_and_other_line_ends() {
        let base = read("base.yaml", BASE).unwrap().remove(0);
        let json = serde_json::to_string_pretty(&base.pipeline).unwrap();
        for text in [json, BASE.replace('\n', "\r\n"), format!("\u{feff}{BASE}"), format!("---\n{BASE}...\n")] {
            let document = read("other.yaml", &text).unwrap().remove(0);
            assert_eq!(document.pipeline.spec, base.pipeline.spec, "{text}");
        }
    }

    #[test]
    fn keeps_quiet_about_what_was_reported() {
        let text = BASE.replace("{topic: cleaned}", "{topic: 5}");
        let document = read("base.yaml", &text).unwrap().remove(0);
        assert_eq!(document.problems().count(), 1);
        assert!(document.is_spoiled(&Path::spec("sinks").then(0).below("kafka.topic")));
        assert!(document.is_spoiled(&Path::spec("sinks").then(0).then("kafka")));
        assert!(!document.is_spoiled(&Path::spec("sinks").then(0).then("format")));
    }
}
