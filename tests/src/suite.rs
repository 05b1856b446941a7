//! A test binary with one cluster: started at the first test that runs, stopped behind the last one.
//!
//! Names, filters, `--list` and the `test result:` line are those of Rust's own test harness. Each test has a directory
//! and names of its own; when it fails, the ends of all logs in its directory are printed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::client::Client;
use crate::cluster::{Cluster, Settings};
use crate::pipeline::Run;

/// Lines of a log that are printed when a test has failed.
const TAIL: usize = 60;

/// A test.
pub type Test = fn(&Case<'_>) -> Result<()>;

/// Tests that share a cluster.
pub struct Suite {
    settings: Settings,
    tests: Vec<(String, Test)>,
    threads: Option<usize>,
}

impl Suite {
    /// A suite without tests.
    pub fn new(settings: Settings) -> Self {
        Self { settings, tests: Vec::new(), threads: None }
    }

    /// One more test.
    #[must_use]
    pub fn test(mut self, name: &str, test: Test) -> Self {
        self.tests.push((name.to_owned(), test));
        self
    }

    /// Runs one test at a time, for those that disturb the brokers.
    #[must_use]
    pub fn serial(mut self) -> Self {
        self.threads = Some(1);
        self
    }

    /// Runs so many tests at a time, for those that mostly wait.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs the tests that the command line asks for.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = self.threads.or(arguments.test_threads);
        let shared = Arc::new(Shared { settings: self.settings, cluster: OnceLock::new() });
        let trials = (self.tests.into_iter())
            .map(|(name, test)| {
                let shared = Arc::clone(&shared);
                Trial::test(name.clone(), move || shared.run(&name, test))
            })
            .collect();
        let conclusion = libtest_mimic::run(&arguments, trials);
        drop(shared);
        conclusion.exit_code()
    }
}

/// What the tests of a suite have in common.
struct Shared {
    settings: Settings,
    cluster: OnceLock<Result<Cluster, String>>,
}

impl Shared {
    fn run(&self, name: &str, test: Test) -> Result<(), Failed> {
        let cluster = self.cluster.get_or_init(|| Cluster::start(&self.settings).map_err(|e| format!("{e:#}")));
        let cluster = cluster.as_ref().map_err(Failed::from)?;
        let directory = tempfile::Builder::new().prefix(&format!("millstream-{name}-")).tempdir()?;
        let case = Case::new(name, cluster, directory.path()).map_err(|e| Failed::from(format!("{e:#}")))?;
        test(&case)
            .map_err(|error| Failed::from(format!("{error:#}\n{}{}", tails(directory.path()), cluster.log_tail())))
    }
}

/// What one test works with.
pub struct Case<'a> {
    name: String,
    directory: PathBuf,
    /// The suite's cluster.
    pub cluster: &'a Cluster,
    /// A client of it.
    pub client: Client,
}

impl<'a> Case<'a> {
    /// A test's place on a cluster.
    pub fn new(name: &str, cluster: &'a Cluster, directory: &Path) -> Result<Self> {
        let client = Client::new(&cluster.bootstrap())?;
        Ok(Self { name: name.replace('_', "-"), directory: directory.to_owned(), cluster, client })
    }

    /// The same test on a cluster of its own.
    pub fn on<'b>(&self, cluster: &'b Cluster) -> Result<Case<'b>> {
        Case::new(&self.name, cluster, &self.directory)
    }

    /// A name that no other test uses: `TEST.name`.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// The application id of the test's pipeline.
    pub fn application_id(&self) -> String {
        format!("tests.{}", self.name)
    }

    /// The test's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the topics of the test's names, each with that many partitions.
    pub fn topics(&self, topics: &[(&str, i32)]) -> Result<()> {
        topics.iter().try_for_each(|(name, partitions)| self.client.create_topic(&self.topic(name), *partitions, &[]))
    }

    /// Writes the manifest of the test's pipeline. `spec` is the YAML below `spec:`; its `connections` are given, and
    /// `~name` stands for the topic of that name.
    pub fn manifest(&self, spec: &str) -> Result<PathBuf> {
        let connections =
            format!("connections: [{{name: main, kafka: {{bootstrapServers: \"{}\"}}}}]", self.cluster.bootstrap());
        self.manifest_with(&connections, spec)
    }

    /// As [`Self::manifest`], with connections of one's own.
    pub fn manifest_with(&self, connections: &str, spec: &str) -> Result<PathBuf> {
        let path = self.directory.join("pipeline.yaml");
        let mut text =
            format!("apiVersion: millstream.dev/v1alpha1\nkind: Pipeline\nmetadata: {{name: {}}}\nspec:\n", self.name);
        if !spec.contains("applicationId:") {
            let _ = writeln!(text, "  applicationId: {}", self.application_id());
        }
        for line in connections.lines().chain(spec.trim_end().lines()) {
            let _ = writeln!(text, "  {}", line.replace('~', &format!("{}.", self.name)));
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A run of a manifest; `log` names its output.
    pub fn run(&self, manifest: &Path, log: &str) -> Run {
        Run::new(manifest, self.directory.join(format!("{log}.log")))
    }
}

/// The ends of all logs in a directory.
fn tails(directory: &Path) -> String {
    let mut text = String::new();
    let mut logs: Vec<PathBuf> = fs::read_dir(directory)
        .map(|entries| {
            entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "log")).collect()
        })
        .unwrap_or_default();
    logs.sort();
    for log in logs {
        let content = fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = content.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        let _ = writeln!(text, "--- {}\n{tail}", log.display());
    }
    text
}

/// The seed of a test's random choices: `MILLSTREAM_SEED`, else a fresh one. It is printed, so that a failure can be
/// repeated.
pub fn seed() -> Result<u64> {
    let seed = match std::env::var("MILLSTREAM_SEED") {
        Ok(text) => text.parse().map_err(|_| anyhow!("MILLSTREAM_SEED is `{text}`; it must be a number"))?,
        Err(_) => rand::random::<u32>().into(),
    };
    eprintln!("MILLSTREAM_SEED={seed}");
    Ok(seed)
}
