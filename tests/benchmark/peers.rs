//! The peers: Apache Flink and Kafka Streams, as `peers/install.sh` makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::input::Input;
use crate::jobs::{Engine, Subject};
use crate::named::Named;

/// Installed peers.
#[derive(Clone, Debug)]
pub struct Peers {
    home: PathBuf,
}

/// What a peer reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The engine and its job.
    pub subject: Subject,
    /// The broker.
    pub bootstrap: &'a str,
    /// How much there is to read.
    pub input: Input,
    /// The topic to write.
    pub output: &'a str,
    /// A folder for what the engine keeps.
    pub scratch: &'a Path,
}

impl Peers {
    /// Installs them; those that are there stay.
    pub fn install() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/peers/install.sh");
        let said = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let said = said.with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(said.status.success(), "{}: {}", script.display(), said.status);
        let said = String::from_utf8(said.stdout)?;
        let home = said.lines().next_back().with_context(|| format!("{} names no folder", script.display()))?;
        Ok(Self { home: home.into() })
    }

    /// The program of a peer.
    pub fn command(&self, task: &Task<'_>) -> Result<Command> {
        let Task { subject, bootstrap, input, output, scratch } = *task;
        let (folder, class) = match subject.engine {
            Engine::Flink => ("flink", "DataStreamJobs"),
            Engine::FlinkSql => ("flink", "SqlJobs"),
            Engine::Streams => ("streams", "StreamsJobs"),
            other => bail!("{} is no peer", other.title()),
        };
        let folder = self.home.join(folder);
        let classpath = fs::read_to_string(folder.join("classpath"))?;
        fs::create_dir_all(scratch)?;
        let mut command = Command::new("java");
        command
            .arg(format!("@{}", folder.join("java.options").display()))
            .arg(format!("-Djava.io.tmpdir={}", scratch.display()))
            .arg(format!("-Dlog4j2.configurationFile={}", self.home.join("log4j2.properties").display()))
            .args(["-cp", classpath.trim(), class])
            .args([bootstrap, subject.job.name(), subject.job.input(), output, input.compression.name()]);
        if subject.engine == Engine::Streams {
            command.arg(input.records.to_string());
        }
        Ok(command)
    }
}
