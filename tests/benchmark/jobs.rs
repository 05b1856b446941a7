//! What is measured: jobs over two inputs, and the manifests of them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use millstream::kafka::KafkaClient;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;
/// The input of lines.
pub const LINES: &str = "lines";
/// The input of JSON objects.
pub const READINGS: &str = "readings";

/// What is measured: a job, and the client that reads and writes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The job.
    pub job: Job,
    /// The client.
    pub client: KafkaClient,
}

impl Subject {
    /// The loop alone.
    pub const LOOP: Self = Self { job: Job::Loop, client: KafkaClient::Librdkafka };

    /// The loop, which is first so that each round has its own bar, and all other jobs with both clients.
    pub fn all() -> impl Iterator<Item = Self> {
        let jobs = Job::ALL.into_iter().filter(|job| *job != Job::Loop);
        let both = |job| [KafkaClient::Wire, KafkaClient::Librdkafka].map(|client| Self { job, client });
        std::iter::once(Self::LOOP).chain(jobs.flat_map(both))
    }

    /// The name in results.
    pub fn name(self) -> String {
        match (self.job, self.client) {
            (Job::Loop, _) | (_, KafkaClient::Wire) => self.job.name().to_owned(),
            (job, KafkaClient::Librdkafka) => format!("{}, librdkafka", job.name()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// librdkafka alone: what the others are compared with.
    Loop,
    /// Values go through as they are.
    PassThrough,
    /// `upper(value)` of a text.
    UpperCase,
    /// The second field of CSV lines.
    CsvField,
    /// JSON: half of the records are filtered out, a field is computed, the record is written again.
    Json,
}

impl Job {
    /// All jobs.
    pub const ALL: [Self; 5] = [Self::Loop, Self::PassThrough, Self::UpperCase, Self::CsvField, Self::Json];

    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loop => "plain loop",
            Self::PassThrough => "pass-through",
            Self::UpperCase => "upper-case",
            Self::CsvField => "CSV field",
            Self::Json => "JSON",
        }
    }

    /// The topic that it reads.
    pub fn input(self) -> &'static str {
        if self == Self::Json { READINGS } else { LINES }
    }

    /// How many times the loop's CPU it may cost.
    pub fn goal(self) -> Option<f64> {
        match self {
            Self::PassThrough | Self::UpperCase => Some(1.25),
            Self::Json => Some(2.0),
            Self::Loop | Self::CsvField => None,
        }
    }

    /// Format of the source, and everything between source and sink, for the manifest.
    fn chain(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Loop | Self::PassThrough => {
                ("{type: Raw, raw: {binary: true}}", "", "{type: Raw, raw: {binary: true}}")
            }
            Self::UpperCase => ("{type: Raw}", UPPER, "{type: Raw}"),
            Self::CsvField => (CSV, FIELD, "{type: Raw}"),
            Self::Json => (JSON, HOT, "{type: Json}"),
        }
    }
}

const UPPER: &str = "
  transforms:
    - name: upper
      set: [{column: value, expression: upper(value)}]";

const CSV: &str = "{type: Csv}
      schema:
        - {name: ts, type: bigint}
        - {name: sensor, type: string}
        - {name: kind, type: string}
        - {name: value, type: double}
        - {name: site, type: string}
        - {name: seq, type: bigint}
        - {name: note, type: string}";

const FIELD: &str = "
  transforms:
    - name: field
      select: [sensor]";

const JSON: &str = "{type: Json}
      schema:
        - {name: sensor, type: string}
        - {name: kind, type: string}
        - {name: value, type: double}
        - {name: ts, type: bigint}
        - {name: site, type: string}
        - {name: seq, type: bigint}";

const HOT: &str = "
  transforms:
    - name: hot
      filter: value > 25
    - name: converted
      set: [{column: fahrenheit, expression: value * 1.8 + 32}]";

/// A pipeline to run.
#[derive(Clone, Debug)]
pub struct Pipeline<'a> {
    /// Names it and its topics in Kafka.
    pub name: &'a str,
    /// What it does, and by which client.
    pub subject: Subject,
    /// The brokers.
    pub bootstrap: &'a str,
    /// The topic it reads.
    pub input: &'a str,
    /// The topic it writes.
    pub output: &'a str,
    /// `Streaming` or `Batch`.
    pub mode: &'a str,
    /// The number of shards.
    pub shards: u32,
    /// The checkpoint's interval.
    pub checkpoint: &'a str,
}

impl Pipeline<'_> {
    /// Writes the manifest into a directory.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join(format!("{}.yaml", self.name));
        fs::write(&path, self.manifest())?;
        Ok(path)
    }

    fn manifest(&self) -> String {
        let Self { name, bootstrap, input, output, mode, shards, checkpoint, .. } = self;
        let (source, transforms, sink) = self.subject.job.chain();
        let client = self.subject.client;
        format!(
            "apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {{name: {name}}}
spec:
  connections:
    - kafka: {{bootstrapServers: \"{bootstrap}\", client: {client:?}}}
  sources:
    - name: in
      kafka: {{topics: [{input}], startFrom: {{position: Earliest}}}}
      format: {source}{transforms}
  sinks:
    - name: out
      kafka: {{topic: {output}}}
      format: {sink}
  checkpoint: {{interval: {checkpoint}}}
  mode: {mode}
  shards: {shards}
"
        )
    }
}
