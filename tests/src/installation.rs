//! The Kafka that `tests/kafka/install.sh` has put into the cache, and programs that run on its jars.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// A release of Apache Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The last release line before 4.0, without the server side of transactions' second version.
    V3_9,
    /// The release that all suites with a single broker run against: the newest line that keeps the markers of
    /// transactions while a partition has no leader, as all have whenever a single broker is restarted (KAFKA-20734).
    #[default]
    V4_2,
    /// The newest release. Like 4.3 it loses such markers, so it is for clusters in which each partition has a leader.
    V4_4,
}

impl Version {
    /// The number as `install.sh` takes it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V3_9 => "3.9.2",
            Self::V4_2 => "4.2.2",
            Self::V4_4 => "4.4.0",
        }
    }
}

/// An installed release.
#[derive(Clone, Debug)]
pub struct Installation {
    directory: PathBuf,
    classpath: String,
}

/// Only one thread at a time compiles.
static COMPILING: Mutex<()> = Mutex::new(());

impl Installation {
    /// The release, if `install.sh` has been run.
    pub fn find(version: Version) -> Result<Self> {
        let directory = cache()?.join(format!("kafka-{}", version.number()));
        ensure!(
            directory.join("complete").exists(),
            "Kafka {} is not in {}; run tests/kafka/install.sh",
            version.number(),
            directory.display()
        );
        let classpath = fs::read_to_string(directory.join("classpath"))?.trim().to_owned();
        Ok(Self { directory, classpath })
    }

    /// A Java machine for a main class of Kafka. C1 only: brokers and tools of tests live for seconds.
    pub fn java(&self, heap: &str, class: &str) -> Command {
        self.java_with(heap, &self.classpath, class)
    }

    fn java_with(&self, heap: &str, classpath: &str, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .arg(format!("-Xmx{heap}"))
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseG1GC", "-Xshare:auto", "-Djava.awt.headless=true"])
            .arg(format!("-XX:SharedArchiveFile={}", self.directory.join("classes.jsa").display()))
            .arg(format!("-Dlog4j2.configurationFile={}", self.directory.join("log4j2.properties").display()))
            .args(["-cp", classpath, class]);
        command
    }

    /// Runs a tool of Kafka's to its end and returns what it printed.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.java("256m", class);
        command.args(arguments).env("KAFKA_LOG_LEVEL", "ERROR");
        let (output, success) = run(command, "")?;
        ensure!(success, "{class} {arguments:?} failed: {output}");
        Ok(output)
    }

    /// One of the project's own Java programs in `tests/oracle`, compiled at its first use.
    pub fn program(&self, name: &str) -> Result<Command> {
        let classes = self.compile(name)?;
        let classpath = format!("{}:{}", self.classpath, classes.display());
        let mut command = self.java_with("768m", &classpath, name);
        command.env("KAFKA_LOG_LEVEL", "ERROR");
        Ok(command)
    }

    /// Compiles into the cache, at a place named after the source's bytes.
    fn compile(&self, name: &str) -> Result<PathBuf> {
        let _only = COMPILING.lock();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("oracle/{name}.java"));
        let text = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let classes = self.directory.join(format!("{name}-{:08x}", checksum(&text)));
        if !classes.exists() {
            let scratch = tempfile::tempdir_in(&self.directory)?;
            let mut javac = Command::new("javac");
            javac.args(["-cp", &self.classpath, "-d"]).arg(scratch.path()).arg(&source);
            let (output, success) =
                run(javac, "").context("is a JDK installed? apt-get install openjdk-17-jdk-headless")?;
            ensure!(success, "cannot compile {}: {output}", source.display());
            // Another test binary may have been quicker; what it left is the same.
            drop(fs::rename(scratch.path(), &classes));
        }
        Ok(classes)
    }
}

/// Runs a command to its end with `input`; returns its output (its errors where it failed) and whether it succeeded.
pub fn run(mut command: Command, input: &str) -> Result<(String, bool)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().display().to_string();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    Ok((text, output.status.success()))
}

/// Where `install.sh` puts things.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("MILLSTREAM_CACHE") {
        return Ok(directory.into());
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(Path::new(&home).join(".cache/millstream")),
        None => bail!("neither MILLSTREAM_CACHE nor HOME is set"),
    }
}

/// FNV-1a: enough to tell versions of a source file from each other.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
