//! Logs: text for people, JSON for programs, on standard error, never through the progress line.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::Failure;
use super::args::LogFormat;
use super::progress::Screen;
use super::terminal::Style;

/// The environment variable with a filter, as `tracing` has them: `debug`, or `millstream::shard=debug,info`.
pub(super) const VARIABLE: &str = "MILLSTREAM_LOG";

/// Sends all events of this process to standard error; `level` counts where the environment says nothing.
pub(super) fn start(format: LogFormat, level: &str, screen: &Screen) -> Result<(), Failure> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(screen.clone());
    let result = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => {
            let ansi = Style::of(&io::stderr()).has_colours();
            builder.with_ansi(ansi).with_target(false).try_init()
        }
    };
    result.map_err(|error| Failure::Stopped(format!("cannot start logging: {error}")))
}

fn filter(level: &str) -> Result<EnvFilter, Failure> {
    let Ok(directives) = std::env::var(VARIABLE) else { return Ok(EnvFilter::new(level)) };
    let wrong = |error| Failure::Usage(format!("{VARIABLE}=\"{directives}\" is no filter for logs: {error}"));
    EnvFilter::try_new(&directives).map_err(wrong)
}

/// Writes whole lines; a progress line is taken away before and drawn again after.
#[derive(Debug)]
pub(super) struct LineWriter {
    screen: Screen,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.screen.log(&self.line);
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { screen: self.clone(), line: Vec::new() }
    }
}
