//! The program `millstream-operator`. Everything it does is in the library.

use anyhow::{Context, Result};
use clap::Parser;
use millstream_operator::run::run;
use millstream_operator::settings::{LogFormat, Settings};
use tracing_subscriber::EnvFilter;

fn main() -> Result<()> {
    let settings = Settings::parse();
    start_logging(settings.log_format)?;
    // kube asks for the process's provider; there must be one before the first connection.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(settings))
}

fn start_logging(format: LogFormat) -> Result<()> {
    const VARIABLE: &str = "MILLSTREAM_LOG";
    let directives = std::env::var(VARIABLE).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&directives)
        .with_context(|| format!("{VARIABLE}=\"{directives}\" is no filter for logs"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_target(false).try_init(),
    };
    result.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
