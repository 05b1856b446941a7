//! Raw arguments → what the operator runs with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::build::PullPolicy;

/// Turns Pipelines into workers, and tells each worker which shards it owns.
///
/// The Helm chart starts this. Several replicas may run: one of them leads, the others wait.
#[derive(Clone, Debug, Parser)]
#[command(name = "millstream-operator", version, max_term_width = 100)]
pub struct Settings {
    /// The operator's own namespace, where its Lease and its certificate are
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: String,
    /// This replica's name: its pod's
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod: String,
    /// Namespaces whose Pipelines are looked after; all without it
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
    /// The image of the workers
    #[arg(long, value_name = "IMAGE")]
    pub worker_image: String,
    /// When the workers' image is pulled
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent")]
    pub worker_image_pull_policy: PullPolicy,
    /// Where workers send their reports: <https://HOST:PORT>
    #[arg(long, value_name = "URL")]
    pub service_url: String,
    /// Names that the certificate of the reports' server is for
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    pub service_names: Vec<String>,
    /// The Lease that decides which replica leads; the certificate's Secret is named after it
    #[arg(long, value_name = "NAME", default_value = "millstream-operator")]
    pub lease_name: String,
    /// Serve /metrics, /healthz and /readyz here
    #[arg(long, value_name = "ADDR", default_value = ":8080", value_parser = address)]
    pub http: SocketAddr,
    /// Take the workers' reports here
    #[arg(long, value_name = "ADDR", default_value = ":8443", value_parser = address)]
    pub https: SocketAddr,
    /// The program that compiles manifests
    #[arg(long, value_name = "FILE", default_value = "/millstream")]
    pub millstream: PathBuf,
    /// How many Pipelines are worked on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// The form of the logs on standard error; the environment variable `MILLSTREAM_LOG` says which there are
    #[arg(long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Forms of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// `HOST:PORT`, or `:PORT` for all interfaces.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "expected ADDRESS:PORT such as 127.0.0.1:8443, or :PORT for all interfaces".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn addresses() {
        assert_eq!(address(":8443").unwrap(), "0.0.0.0:8443".parse().unwrap());
        assert_eq!(address("127.0.0.1:1").unwrap(), "127.0.0.1:1".parse().unwrap());
        assert!(address("8443").is_err());
    }
}
