//! `millstream test`: records through the compiled chain, and what comes out against what is expected, without Kafka.
//!
//! A test is a document of its own kind (`PipelineTest`), beside the Pipeline or in the same file. It is read like a
//! manifest: all mistakes at once, each at its place. The chain is the one that `run` uses; what is not there is Kafka,
//! and so time, positions and transactions.

mod compare;
mod document;
mod execute;
mod reader;

use std::path::Path;

use super::Exit;
use super::args::TestArguments;
use super::documents::{self, painted_all};
use super::files::{self, Source};
use super::terminal::{Output, Style, count};
use crate::plan::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::plan::manifest::{Document, RawDocument};
use crate::plan::path::Path as Field;
use crate::plan::{self, CompiledPipeline};

pub(super) use self::compare::bytes;
pub(super) use self::document::{PipelineTest, Record, read};

/// The group and version of a PipelineTest.
pub const API_VERSION: &str = "cli.millstream.dev/v1alpha1";
/// Their kind.
pub const KIND: &str = "PipelineTest";

/// Whether a document is, or was meant to be, a test.
pub(super) fn is_test(raw: &RawDocument) -> bool {
    raw.kind() == Some(KIND) || raw.api_version().is_some_and(|version| version.starts_with("cli.millstream.dev/"))
}

/// The result of one test.
#[derive(Debug)]
pub struct TestResult {
    /// The file.
    pub file: String,
    /// The test's name.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a test.
#[derive(Debug)]
pub enum Verdict {
    /// Everything is as expected; the number of records that went in.
    Passed(usize),
    /// Something differs: the differences as text.
    Failed(String),
    /// The test or its pipeline cannot be used.
    Broken(Diagnostics),
}

/// Runs the command.
pub(super) fn run(arguments: &TestArguments, output: &mut Output) -> anyhow::Result<Exit> {
    let sources = files::read_all(&arguments.files)?;
    let results = run_all(&sources, output.style());
    for result in &results {
        print(result, output)?;
    }
    let passed = results.iter().filter(|result| matches!(result.verdict, Verdict::Passed(_))).count();
    let failed = results.len() - passed;
    let verdict = if failed == 0 { "passed".into() } else { format!("{passed} passed, {failed} failed") };
    output.line(&format!("{}: {verdict}", count(results.len(), "test")))?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Problems })
}

fn print(result: &TestResult, output: &mut Output) -> anyhow::Result<()> {
    let TestResult { file, name, verdict } = result;
    let style = output.style();
    match verdict {
        Verdict::Passed(records) => {
            let records = count(*records, "record");
            output.line(&format!("{} {file}: {name} ({records})", style.good("ok")))?;
        }
        Verdict::Failed(differences) => {
            output.line(&format!("{} {file}: {name}", style.error("FAILED")))?;
            output.line(differences)?;
        }
        Verdict::Broken(problems) => {
            output.line(&format!("{} {file}: {name}", style.error("BROKEN")))?;
            output.line(&format!("{}\n", painted_all(problems, style)))?;
        }
    }
    Ok(())
}

/// Runs every test of some files or folders; what cannot be read is an error.
pub fn run_files(files: &[std::path::PathBuf]) -> anyhow::Result<Vec<TestResult>> {
    Ok(run_all(&files::read_all(files)?, Style::PLAIN))
}

fn run_all(sources: &[Source], style: Style) -> Vec<TestResult> {
    let mut results = Vec::new();
    for source in sources {
        results.extend(run_source(source, style));
    }
    if results.is_empty() {
        let file = sources.first().map_or_else(|| "-".to_owned(), |source| source.name.clone());
        results.push(broken(&file, "-", [nothing_in(&file)]));
    }
    results
}

/// The tests of a file. What is wrong with the file itself counts as one broken test.
fn run_source(source: &Source, style: Style) -> Vec<TestResult> {
    let found = documents::read(source);
    if found.tests.is_empty() && source.found {
        return Vec::new();
    }
    if found.tests.is_empty() && found.problems.is_empty() {
        return vec![broken(&source.name, "-", [nothing_in(&source.name)])];
    }
    let mut results = Vec::new();
    if !found.problems.is_empty() {
        results.push(broken(&source.name, "-", found.problems));
    }
    for raw in &found.tests {
        results.push(run_test(source, raw, &found.pipelines, style));
    }
    results
}

fn run_test(source: &Source, raw: &RawDocument, beside: &[Document], style: Style) -> TestResult {
    let name = document::name(raw);
    let verdict = prepare(source, raw, beside).map_or_else(Verdict::Broken, |(test, pipeline)| {
        let outcome = execute::execute(&test, &pipeline);
        let differences = compare::differences(&test, &pipeline, &outcome, style);
        match differences {
            None => Verdict::Passed(test.inputs.iter().map(|input| input.records.len()).sum()),
            Some(text) => Verdict::Failed(text),
        }
    });
    TestResult { file: source.name.clone(), name, verdict }
}

/// The test and its pipeline, each checked.
fn prepare(
    source: &Source,
    raw: &RawDocument,
    beside: &[Document],
) -> Result<(PipelineTest, CompiledPipeline), Diagnostics> {
    let test = document::read(raw, &|name| std::fs::read(source.folder.join(name)))?;
    let at = Field::spec("pipeline");
    let fail = |message: String| -> Diagnostics {
        [raw.diagnostic(Severity::Error, &at, message, None)].into_iter().collect()
    };
    let elsewhere = test.pipeline_file.as_ref().map(|file| pipelines_of(&source.folder.join(file)));
    let candidates = match &elsewhere {
        None => beside,
        Some(Ok(documents)) => documents,
        Some(Err(problem)) => return Err(problem.clone().into_diagnostics(&fail)),
    };
    let document = choose(candidates, &test).map_err(&fail)?;
    let pipeline = plan::compile(document)?.pipeline;
    document::check_against(raw, &test, &pipeline)?;
    Ok((test, pipeline))
}

/// Why a file has no Pipelines to test.
#[derive(Clone, Debug)]
enum FileProblem {
    Unreadable(String),
    Wrong(Diagnostics),
}

impl FileProblem {
    fn into_diagnostics(self, fail: &impl Fn(String) -> Diagnostics) -> Diagnostics {
        match self {
            Self::Unreadable(message) => fail(message),
            Self::Wrong(problems) => problems,
        }
    }
}

fn pipelines_of(file: &Path) -> Result<Vec<Document>, FileProblem> {
    let sources = files::read_all(&[file.to_path_buf()]).map_err(|e| FileProblem::Unreadable(e.to_string()))?;
    let found: Vec<_> = sources.iter().map(documents::read).collect();
    let problems: Vec<_> = found.iter().flat_map(|documents| documents.problems.clone()).collect();
    if problems.is_empty() {
        return Ok(found.into_iter().flat_map(|documents| documents.pipelines).collect());
    }
    Err(FileProblem::Wrong(problems.into_iter().collect()))
}

/// The Pipeline that a test means.
fn choose<'a>(candidates: &'a [Document], test: &PipelineTest) -> Result<&'a Document, String> {
    let names = || candidates.iter().map(|d| format!("`{}`", d.name())).collect::<Vec<_>>().join(", ");
    let place = test.pipeline_file.as_deref().unwrap_or("this file");
    match (&test.pipeline_name, candidates) {
        (_, []) if test.pipeline_file.is_none() => {
            Err("there is no Pipeline in this file; name the file with `pipeline: {file: pipeline.yaml}`".into())
        }
        (_, []) => Err(format!("there is no Pipeline in {place}")),
        (None, [one]) => Ok(one),
        (None, _) => {
            Err(format!("{place} has several Pipelines ({}); choose one with `pipeline: {{name: …}}`", names()))
        }
        (Some(name), all) => all
            .iter()
            .find(|document| document.name() == name)
            .ok_or_else(|| format!("there is no Pipeline `{name}` in {place}; there are {}", names())),
    }
}

fn broken(file: &str, name: &str, problems: impl IntoIterator<Item = Diagnostic>) -> TestResult {
    let verdict = Verdict::Broken(problems.into_iter().collect());
    TestResult { file: file.to_owned(), name: name.to_owned(), verdict }
}

fn nothing_in(file: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: file.to_owned(),
        line: 1,
        column: 1,
        node: None,
        field: String::new(),
        message: format!("there is no {KIND} in this file"),
        help: Some(format!("a test begins with `apiVersion: {API_VERSION}` and `kind: {KIND}`")),
        excerpt: None,
    }
}

#[cfg(test)]
mod tests;
