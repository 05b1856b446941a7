//! Raw arguments → values that cannot be wrong.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  millstream demo                        see it work: nothing to install, nothing to write
  millstream check pipeline.yaml         find all mistakes of a manifest
  millstream test pipeline-test.yaml     run records through a pipeline without Kafka
  millstream run pipeline.yaml           run it against the Kafka that it names

Exit codes:
  0 done   1 bad manifest or failed test   2 wrong arguments
  3 stopped and needs a person   4 fenced by another process";

/// Kafka pipelines from a manifest, exactly once.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(RunArguments),
    Check(CheckArguments),
    Test(TestArguments),
    Demo(DemoArguments),
    Worker(Box<WorkerArguments>),
}

/// Run a pipeline against the Kafka that its manifest names
///
/// All shards run in this process until it gets SIGTERM or SIGINT; then it makes a last checkpoint and ends. A second
/// signal ends it at once. On a terminal, a progress line shows what happens; otherwise there are only logs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millstream run pipeline.yaml
  millstream run pipeline.yaml --metrics :9464            for Prometheus and probes
  millstream run pipeline.yaml --secrets /etc/millstream  secrets as files SECRET/KEY
  MILLSTREAM_LOG=debug millstream run pipeline.yaml --log-format json

Exit codes:
  0 stopped by a signal, or complete   1 bad manifest   2 wrong arguments
  3 stopped and needs a person   4 fenced by another process that runs the pipeline")]
pub(super) struct RunArguments {
    /// The file with the Pipeline, or - for standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Which Pipeline to run, if the file has several
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// The folder of the secrets that the manifest refers to: a folder each, in it a file each key
    #[arg(long, value_name = "DIR", value_parser = folder)]
    pub(super) secrets: Option<PathBuf>,
    /// Serve /metrics, /healthz and /readyz here: HOST:PORT, :PORT for all interfaces, or PORT for this machine
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(super) metrics: Option<SocketAddr>,
    /// The memory that buffers are sized by, such as 256Mi; the container's limit without it
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(super) memory: Option<u64>,
    /// The form of the logs on standard error; the environment variable `MILLSTREAM_LOG` says which there are
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
}

/// Forms of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Find all mistakes of manifests, without a cluster
///
/// Reads every Pipeline in the files, compiles it, and reports all problems with their places and what would be right.
/// Documents of other kinds are left alone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millstream check pipeline.yaml
  millstream check --plan pipeline.yaml      also show what each pipeline compiles to
  helm template chart | millstream check -   read standard input
  millstream check --output json deploy/     a whole folder, for a program")]
pub(super) struct CheckArguments {
    /// Files of manifests, folders of such files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Show what each pipeline compiles to: nodes, columns read, bytes forwarded
    #[arg(long)]
    pub(super) plan: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT")]
    pub(super) output: OutputFormat,
    /// Bound this process' memory and time first: for manifests of strangers
    #[arg(long, hide = true)]
    pub(super) confined: bool,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    Text,
    /// One JSON object, for programs
    Json,
}

/// Run records through pipelines and compare what comes out, without Kafka
///
/// Each PipelineTest document names a pipeline, input records for its sources, and the records that are expected in its
/// sinks and dead letters. They go through the same compiled chain that `run` uses.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millstream test pipeline-test.yaml
  millstream test deploy/examples/           all tests in a folder")]
pub(super) struct TestArguments {
    /// Files with PipelineTest documents, folders of such files, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// See an example run: an embedded broker, sample records, results
///
/// Needs nothing installed and writes nothing to the disk. The broker is for trying out: it forgets everything when it
/// ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millstream demo                                 cleaned sensor readings, dead letters
  millstream demo --list                          what there is
  millstream demo routing --keep                  leave it running for any Kafka client
  millstream demo sensors --manifest > mine.yaml  the manifest, to begin with")]
pub(super) struct DemoArguments {
    /// The example
    #[arg(value_name = "NAME", default_value = "sensors")]
    pub(super) name: String,
    /// Leave broker and pipeline running until Ctrl+C
    #[arg(long)]
    pub(super) keep: bool,
    /// List the examples
    #[arg(long, exclusive = true)]
    pub(super) list: bool,
    /// Print the example's manifest instead
    #[arg(long, conflicts_with = "keep")]
    pub(super) manifest: bool,
}

/// Run shards of a pipeline as one of its workers in a Kubernetes cluster
///
/// The operator starts this; it is not for people. Which shards run here is said by the PipelineAssignment, which is
/// watched. On SIGTERM the shards are kept until they are assigned to other workers, for at most half of the grace
/// period, and then let go after a last checkpoint.
#[derive(Debug, Args)]
pub(super) struct WorkerArguments {
    /// The file with the Pipeline
    #[arg(long, value_name = "FILE")]
    pub(super) manifest: PathBuf,
    /// The Pipeline's uid, which stands in the headers
    #[arg(long, value_name = "UID")]
    pub(super) uid: String,
    /// The revision of the Pipeline that this worker runs
    #[arg(long, value_name = "REVISION")]
    pub(super) revision: String,
    /// The namespace of Pipeline and PipelineAssignment
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) namespace: String,
    /// The name of the PipelineAssignment
    #[arg(long, value_name = "NAME")]
    pub(super) assignment: String,
    /// The worker's name, as assignments have it: its pod's
    #[arg(long, value_name = "NAME")]
    pub(super) worker: String,
    /// Where to send reports: <https://HOST:PORT>
    #[arg(long, value_name = "URL", requires_all = ["operator_ca", "token"])]
    pub(super) operator: Option<http::Uri>,
    /// The CA of the operator's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub(super) operator_ca: Option<PathBuf>,
    /// The token to show to the operator
    #[arg(long, value_name = "FILE")]
    pub(super) token: Option<PathBuf>,
    /// The time between SIGTERM and SIGKILL, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) grace: u64,
    /// The rack that brokers are to serve from: the node's zone
    #[arg(long, value_name = "RACK", env = "MILLSTREAM_RACK")]
    pub(super) rack: Option<String>,
    /// The folder of the secrets that the manifest refers to: a folder each, in it a file each key
    #[arg(long, value_name = "DIR")]
    pub(super) secrets: Option<PathBuf>,
    /// Serve /metrics, /healthz and /readyz here: HOST:PORT, or :PORT for all interfaces
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(super) metrics: Option<SocketAddr>,
    /// The memory that buffers are sized by, such as 256Mi; the container's limit without it
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(super) memory: Option<u64>,
    /// The form of the logs on standard error; the environment variable `MILLSTREAM_LOG` says which there are
    #[arg(long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
}

/// A folder that is there.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such folder".into()) }
}

/// `HOST:PORT`, `:PORT` for all interfaces, or `PORT` for this machine only.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port_only = text.parse::<u16>().is_ok();
    let full = match text {
        _ if port_only => format!("127.0.0.1:{text}"),
        _ if text.starts_with(':') => format!("0.0.0.0{text}"),
        _ => text.to_owned(),
    };
    let mut addresses = full.to_socket_addrs().map_err(|_| {
        "expected HOST:PORT such as 127.0.0.1:9464, :PORT for all interfaces, or PORT for this machine".to_owned()
    })?;
    addresses.next().ok_or_else(|| format!("{text} has no address"))
}

/// Bytes with an optional unit: `268435456`, `256Mi`, `1Gi`, `500M`.
fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let wrong = || "expected bytes such as 256Mi, 1Gi or 500M".to_owned();
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = found.unwrap_or((text, 1));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "0.0.0.0:9464"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "x", "127.0.0.1", "99999", ":99999", "127.0.0.1:http:"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("1", 1), ("1000", 1000), ("4Ki", 4096), ("256Mi", 268_435_456), ("1Gi", 1 << 30), ("500M", 500_000_000)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "Mi", "-1", "1.5Gi", "256MB", "99999999999999999999", "18446744073709551615Ki"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
