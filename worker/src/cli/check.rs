//! `millstream check`: every problem of every manifest, without a cluster.

use anyhow::Context as _;
use rlimit::Resource;
use serde::Serialize;

use super::Exit;
use super::args::{CheckArguments, OutputFormat};
use super::documents::{self, painted};
use super::files::{self, Source};
use super::terminal::{Output, count};
use crate::plan::diagnostic::{Diagnostic, Severity};
use crate::plan::manifest::Document;
use crate::plan::{self, CompiledPipeline};

/// The processor time of a confined check, in seconds. The largest manifests that are allowed take a tenth of it.
const CONFINED_SECONDS: u64 = 5;
/// The memory of a confined check.
const CONFINED_BYTES: u64 = 512 << 20;

/// What was found; the JSON output is just this.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every Pipeline can run.
    pub ok: bool,
    /// The number of files read.
    pub files: usize,
    /// The Pipelines, in the order in which they stand.
    pub pipelines: Vec<Checked>,
    /// The problems, in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// How many of them are errors.
    pub errors: usize,
    /// How many of them are warnings.
    pub warnings: usize,
}

/// A Pipeline that was checked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The file.
    pub file: String,
    /// The Pipeline's name.
    pub name: String,
    /// Whether it can run.
    pub ok: bool,
    /// Names everything of it in Kafka; only of one that can run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// What it compiles to, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Sources, transforms and sinks in words.
    #[serde(skip)]
    parts: String,
}

/// Runs the command.
pub(super) fn run(arguments: &CheckArguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.confined {
        confine().context("the limits of this process cannot be set")?;
    }
    let sources = files::read_all(&arguments.files)?;
    let report = check(&sources, arguments.plan);
    match arguments.output {
        OutputFormat::Json => output.line(&serde_json::to_string_pretty(&report)?)?,
        OutputFormat::Text => print(&report, output)?,
    }
    Ok(if report.ok { Exit::Done } else { Exit::Problems })
}

/// Whatever a manifest makes of the compiler ends with this process, and soon.
fn confine() -> std::io::Result<()> {
    Resource::CPU.set(CONFINED_SECONDS, CONFINED_SECONDS)?;
    Resource::DATA.set(CONFINED_BYTES, CONFINED_BYTES)?;
    Resource::CORE.set(0, 0)
}

/// Checks all Pipelines of all files.
pub(super) fn check(sources: &[Source], plan: bool) -> Report {
    let mut report = Report { files: sources.len(), ..Report::default() };
    for source in sources {
        report.add_file(source, plan);
    }
    if report.pipelines.is_empty() && report.diagnostics.is_empty() {
        let file = sources.first().map_or("-", |source| source.name.as_str());
        report.diagnostics.push(nothing_in(file));
    }
    report.errors = report.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    report.warnings = report.diagnostics.len() - report.errors;
    report.ok = report.errors == 0;
    report
}

impl Report {
    fn add_file(&mut self, source: &Source, plan: bool) {
        let documents = documents::read(source);
        let nothing = documents.pipelines.is_empty() && documents.problems.is_empty();
        if nothing && !source.found {
            self.diagnostics.push(nothing_in(&source.name));
        }
        self.diagnostics.extend(documents.problems);
        for document in &documents.pipelines {
            self.add_pipeline(document, plan);
        }
    }

    fn add_pipeline(&mut self, document: &Document, plan: bool) {
        let (file, name) = (document.file().to_owned(), document.name().to_owned());
        match plan::compile(document) {
            Ok(compiled) => {
                let pipeline = &compiled.pipeline;
                self.pipelines.push(Checked {
                    file,
                    name,
                    ok: true,
                    application_id: Some(pipeline.application_id.clone()),
                    plan: plan.then(|| pipeline.chain.explain()),
                    parts: parts(document, pipeline),
                });
                self.diagnostics.extend(compiled.warnings);
            }
            Err(problems) => {
                let checked = Checked { file, name, ok: false, application_id: None, plan: None, parts: String::new() };
                self.pipelines.push(checked);
                self.diagnostics.extend(problems);
            }
        }
    }
}

fn parts(document: &Document, pipeline: &CompiledPipeline) -> String {
    let transforms = document.pipeline.spec.transforms.len();
    let counts = [(pipeline.sources.len(), "source"), (transforms, "transform"), (pipeline.sinks.len(), "sink")];
    counts.map(|(n, noun)| count(n, noun)).join(", ")
}

fn nothing_in(file: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: file.to_owned(),
        line: 1,
        column: 1,
        node: None,
        field: String::new(),
        message: "there is no Pipeline in this file".into(),
        help: Some("a Pipeline begins with `apiVersion: millstream.dev/v1alpha1` and `kind: Pipeline`".into()),
        excerpt: None,
    }
}

/// Problems first, then what is well, the sum last.
fn print(report: &Report, output: &mut Output) -> anyhow::Result<()> {
    let style = output.style();
    for diagnostic in &report.diagnostics {
        output.line(&format!("{}\n", painted(diagnostic, style)))?;
    }
    for pipeline in report.pipelines.iter().filter(|pipeline| pipeline.ok) {
        let Checked { file, name, parts, .. } = pipeline;
        output.line(&format!("{} {file}: {name} ({parts})", style.good("ok")))?;
        for line in pipeline.plan.iter().flat_map(|plan| plan.lines()) {
            output.line(&format!("   {line}"))?;
        }
    }
    if report.errors + report.warnings > 0 {
        let problems = format!("{}, {}", count(report.errors, "error"), count(report.warnings, "warning"));
        let broken = report.pipelines.iter().filter(|pipeline| !pipeline.ok).count();
        let place = if report.files == 1 { String::new() } else { format!(" in {}", count(report.files, "file")) };
        let broken = if broken > 0 { format!("; {} cannot run", count(broken, "pipeline")) } else { String::new() };
        output.line(&format!("{problems}{place}{broken}"))?;
    }
    Ok(())
}
