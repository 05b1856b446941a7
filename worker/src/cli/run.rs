//! `millstream run`: all shards of a Pipeline in this process, until it is stopped.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::{LogFormat, RunArguments};
use super::documents::{self, painted};
use super::progress::{Progress, Screen};
use super::terminal::{Output, Style};
use super::{Exit, Failure, files, logging};
use crate::health::{Server, Watchdog};
use crate::metrics::Metrics;
use crate::plan::diagnostic::{Diagnostic, Severity};
use crate::plan::manifest::Document;
use crate::plan::{self, CompiledPipeline};
use crate::shard::{Outcome, RunOptions, Runner, SecretStore};

/// How often signals, states and the progress line are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the progress line is drawn.
const REDRAW: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) fn run(arguments: &RunArguments, output: &mut Output) -> anyhow::Result<Exit> {
    let screen = Screen::new();
    logging::start(arguments.log_format, "info", &screen)?;
    let Some(pipeline) = read(&arguments.file, arguments.name.as_deref(), arguments.log_format)? else {
        return Ok(Exit::Problems);
    };
    if pipeline.suspend {
        output.line(&format!("{} is suspended (`suspend: true`): nothing runs", pipeline.name))?;
        return Ok(Exit::Done);
    }
    let stop = stop_signals()?;
    let secrets = arguments.secrets.as_ref().map(SecretStore::directory).unwrap_or_default();
    let options = RunOptions { memory_bytes: arguments.memory, ..RunOptions::local(secrets) };
    let job = Job::start(pipeline, options, arguments.metrics)?;
    let outcome = job.watch(&screen, &stop);
    tell(&job, &outcome, arguments.log_format);
    Ok(exit_of(&outcome))
}

/// The one Pipeline to run, or None when its problems have been told.
pub(super) fn read(file: &Path, name: Option<&str>, format: LogFormat) -> anyhow::Result<Option<CompiledPipeline>> {
    if file.is_dir() {
        let message = format!("{} is a folder; `run` takes one file", file.display());
        return Err(Failure::Usage(message).into());
    }
    let sources = files::read_all(&[file.to_owned()])?;
    let found = sources.iter().map(documents::read).next().unwrap_or_default();
    if !found.problems.is_empty() {
        found.problems.iter().for_each(|problem| tell_problem(problem, format));
        return Ok(None);
    }
    let compiled = plan::compile(choose(&found.pipelines, file, name)?);
    let problems: Vec<_> = match &compiled {
        Ok(compiled) => compiled.warnings.iter().collect(),
        Err(problems) => problems.iter().collect(),
    };
    for problem in problems {
        tell_problem(problem, format);
    }
    Ok(compiled.ok().map(|compiled| compiled.pipeline))
}

fn tell_problem(problem: &Diagnostic, format: LogFormat) {
    match (format, problem.severity) {
        (LogFormat::Text, _) => eprintln!("{}\n", painted(problem, Style::of(&std::io::stderr()))),
        (LogFormat::Json, Severity::Error) => tracing::error!(help = problem.help, "{}", problem.headline()),
        (LogFormat::Json, Severity::Warning) => tracing::warn!(help = problem.help, "{}", problem.headline()),
    }
}

fn choose<'a>(pipelines: &'a [Document], file: &Path, name: Option<&str>) -> Result<&'a Document, Failure> {
    let file = file.display();
    let names = || pipelines.iter().map(Document::name).collect::<Vec<_>>().join(", ");
    let fail = |message: String| Err(Failure::Usage(message));
    match (name, pipelines) {
        (_, []) => fail(format!("there is no Pipeline in {file}")),
        (None, [one]) => Ok(one),
        (None, _) => fail(format!("{file} has several Pipelines; choose one with --name: {}", names())),
        (Some(name), all) => match all.iter().find(|document| document.name() == name) {
            Some(document) => Ok(document),
            None => fail(format!("there is no Pipeline {name} in {file}, which has: {}", names())),
        },
    }
}

/// Set by the first SIGTERM or SIGINT; the second one ends the process at once, as if there were no handler.
pub(super) fn stop_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The order matters: the first signal must find the flag unset.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    Ok(stop)
}

/// A running pipeline with what watches it.
#[derive(Debug)]
pub(super) struct Job {
    name: String,
    runner: Runner,
    metrics: Arc<Metrics>,
    /// Ends when the job is dropped.
    _server: Option<Server>,
}

impl Job {
    /// Starts the shards, and the metrics server if there is an address for it.
    pub(super) fn start(
        pipeline: CompiledPipeline,
        options: RunOptions,
        address: Option<std::net::SocketAddr>,
    ) -> anyhow::Result<Self> {
        let name = pipeline.name.clone();
        let (metrics, watchdog) = (Metrics::new(&name), Watchdog::new());
        let serve = |address| Server::start(address, metrics.clone(), watchdog.clone(), options.readiness.clone());
        let server = address.map(serve).transpose().map_err(|error| Failure::Usage(error.to_string()))?;
        if let Some(server) = &server {
            tracing::info!(pipeline = name, "metrics on http://{}/metrics", server.address());
        }
        let runner = Runner::start(Arc::new(pipeline), options, metrics.clone(), watchdog);
        Ok(Self { name, runner, metrics, _server: server })
    }

    /// Waits for the end, passes a stop on, and keeps the progress line up to date.
    fn watch(&self, screen: &Screen, stop: &AtomicBool) -> Outcome {
        let mut progress = Progress::new(&self.name, Style::of(&std::io::stderr()));
        let (mut drawn, mut stopping): (Option<Instant>, bool) = (None, false);
        loop {
            if let Some(outcome) = self.runner.wait(TICK) {
                screen.draw("");
                return outcome;
            }
            if stop.load(Ordering::Relaxed) && !stopping {
                stopping = true;
                tracing::info!(
                    pipeline = self.name,
                    "stopping: a last checkpoint is made; a second signal ends at once"
                );
                self.runner.stop();
            }
            let now = Instant::now();
            if screen.has_line() && drawn.is_none_or(|at| now.duration_since(at) >= REDRAW) {
                drawn = Some(now);
                screen.draw(&progress.text(now, self.metrics.totals(), &self.runner.status()));
            }
        }
    }

    /// The running shards.
    pub(super) fn runner(&self) -> &Runner {
        &self.runner
    }

    /// What was counted.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

/// Says how it ended.
fn tell(job: &Job, outcome: &Outcome, format: LogFormat) {
    let totals = job.metrics.totals();
    let sums = format!("{} in, {} out, {} bad", totals.records_in, totals.records_out, totals.dead_letters);
    let (word, texts) = match outcome {
        Outcome::Stopped => ("", vec![format!("stopped after a checkpoint: {sums}")]),
        Outcome::Complete => ("", vec![format!("complete: {sums}")]),
        Outcome::AlreadyComplete => ("", vec!["this batch was complete already; nothing was done".to_owned()]),
        Outcome::Failed(reasons) => ("stopped:", reasons.clone()),
        Outcome::Fenced(reason) => ("fenced:", vec![reason.clone()]),
    };
    let style = Style::of(&std::io::stderr());
    for text in texts {
        match (format, word) {
            (LogFormat::Text, "") => eprintln!("{text}"),
            (LogFormat::Text, word) => eprintln!("{} {text}", style.error(word)),
            (LogFormat::Json, "") => tracing::info!(pipeline = job.name, "{text}"),
            (LogFormat::Json, word) => tracing::error!(pipeline = job.name, "{word} {text}"),
        }
    }
}

/// The exit code of an end.
pub(super) fn exit_of(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Stopped | Outcome::Complete | Outcome::AlreadyComplete => Exit::Done,
        Outcome::Failed(_) => Exit::Stopped,
        Outcome::Fenced(_) => Exit::Fenced,
    }
}
