//! What is measured: engines at jobs over two inputs.

use std::fmt;

use millstream::kafka::KafkaClient;

use crate::named::Named;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;
/// The input of lines.
pub const LINES: &str = "lines";
/// The input of JSON objects.
pub const READINGS: &str = "readings";

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// librdkafka alone: what the others are compared with.
    Loop,
    /// Batches that are moved and not looked into: the distance to the limit.
    Untouched,
    /// Millstream, with the client that reads and writes for it.
    Millstream(KafkaClient),
    /// Apache Flink's `DataStream` API.
    Flink,
    /// Flink SQL.
    FlinkSql,
    /// Kafka Streams.
    Streams,
}

impl Engine {
    /// Whether it is another project's, which runs with `--peers` only.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Flink | Self::FlinkSql | Self::Streams)
    }

    /// Whether it has the job.
    pub fn does(self, job: Job) -> bool {
        match self {
            Self::Loop | Self::Untouched => job == Job::PassThrough,
            // Through SQL, bytes would go as they go through DataStream.
            Self::FlinkSql => job != Job::PassThrough,
            Self::Millstream(_) | Self::Flink | Self::Streams => true,
        }
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Loop => "plain loop",
            Self::Untouched => "untouched",
            Self::Millstream(KafkaClient::Wire) => "Millstream",
            Self::Millstream(KafkaClient::Librdkafka) => "Millstream, librdkafka",
            Self::Flink => "Flink DataStream",
            Self::FlinkSql => "Flink SQL",
            Self::Streams => "Kafka Streams",
        }
    }
}

impl Named for Engine {
    const KIND: &'static str = "engine";
    const ALL: &'static [Self] = &[
        Self::Loop,
        Self::Untouched,
        Self::Millstream(KafkaClient::Wire),
        Self::Millstream(KafkaClient::Librdkafka),
        Self::Flink,
        Self::FlinkSql,
        Self::Streams,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Loop => "plain-loop",
            Self::Untouched => "untouched",
            Self::Millstream(KafkaClient::Wire) => "millstream",
            Self::Millstream(KafkaClient::Librdkafka) => "millstream-librdkafka",
            Self::Flink => "flink",
            Self::FlinkSql => "flink-sql",
            Self::Streams => "streams",
        }
    }
}

/// What is measured: an engine at a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The engine.
    pub engine: Engine,
    /// The job.
    pub job: Job,
}

impl Subject {
    /// The loop, which has one job.
    pub const LOOP: Self = Self { engine: Engine::Loop, job: Job::PassThrough };
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.engine.name(), self.job.name())
    }
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Values go through as they are.
    PassThrough,
    /// `upper(value)` of a text.
    UpperCase,
    /// The second field of CSV lines.
    CsvField,
    /// JSON: half of the records are filtered out, a field is computed, the record is written again.
    Json,
}

impl Named for Job {
    const KIND: &'static str = "job";
    const ALL: &'static [Self] = &[Self::PassThrough, Self::UpperCase, Self::CsvField, Self::Json];

    fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::UpperCase => "upper-case",
            Self::CsvField => "csv-field",
            Self::Json => "json",
        }
    }
}

impl Job {
    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::CsvField => "CSV field",
            Self::Json => "JSON",
            Self::PassThrough | Self::UpperCase => self.name(),
        }
    }

    /// The topic that it reads.
    pub fn input(self) -> &'static str {
        if self == Self::Json { READINGS } else { LINES }
    }

    /// Format of the source, and everything between source and sink, for the manifest.
    pub fn chain(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::PassThrough => ("{type: Raw, raw: {binary: true}}", "", "{type: Raw, raw: {binary: true}}"),
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

/// How record batches are compressed, in the input as in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By lz4.
    Lz4,
}

impl Named for Compression {
    const KIND: &'static str = "compression";
    const ALL: &'static [Self] = &[Self::None, Self::Lz4];

    /// As Kafka's clients name it, too.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }
}
