//! The command line: run, check, test, demo, worker.
//!
//! Results go to standard output, everything about the work to standard error. The exit code says what happened
//! ([`Exit`]). `anyhow` ends here: errors that reach this module are printed with their causes, and end the process.

mod args;
mod check;
mod demo;
mod documents;
mod files;
mod logging;
mod progress;
mod run;
mod terminal;
pub mod test;
mod worker;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::args::{Arguments, Command};
use self::terminal::{Output, Style};
use crate::kafka;

/// How long Kafka clients may take to close their connections at the end; it takes milliseconds.
const CLOSE: Duration = Duration::from_secs(5);

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// A manifest is wrong, or a test found a difference.
    Problems,
    /// Wrong arguments, or a file that they name cannot be read.
    Usage,
    /// The pipeline stopped and needs a person.
    Stopped,
    /// Another process has taken the pipeline over.
    Fenced,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Problems => 1,
            Self::Usage => 2,
            Self::Stopped => 3,
            Self::Fenced => 4,
        }
    }
}

/// An error that ends the command with an exit code of its own.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The arguments cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Something outside stands in the way.
    #[error("{0}")]
    Stopped(String),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = Output::stdout();
    let result = dispatch(arguments.command, &mut output).and_then(|exit| {
        output.flush()?;
        Ok(exit)
    });
    let code = result.unwrap_or_else(|error| report(&error)).code();
    if !kafka::wait_until_closed(CLOSE) {
        tracing::warn!("a Kafka client does not come to its end; the process ends without it");
        kafka::end_process(code);
    }
    ExitCode::from(code)
}

fn dispatch(command: Command, output: &mut Output) -> anyhow::Result<Exit> {
    match command {
        Command::Check(arguments) => check::run(&arguments, output),
        Command::Test(arguments) => test::run(&arguments, output),
        Command::Run(arguments) => run::run(&arguments, output),
        Command::Demo(arguments) => demo::run(&arguments, output),
        Command::Worker(arguments) => worker::run(&arguments),
    }
}

/// Prints an error with its causes, and says which exit code it means.
fn report(error: &anyhow::Error) -> Exit {
    let style = Style::of(&io::stderr());
    eprintln!("{} {error:#}", style.error("error:"));
    match error.downcast_ref() {
        Some(Failure::Usage(_)) => Exit::Usage,
        Some(Failure::Stopped(_)) | None => Exit::Stopped,
    }
}
