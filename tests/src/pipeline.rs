//! Runs of the program under test: `millstream run FILE`, each a process with a log of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ports;
use crate::process::{Process, Signal};
use crate::wait;

/// Exit code: everything asked for is done.
pub const DONE: i32 = 0;
/// Exit code: the manifest is bad.
pub const BAD_MANIFEST: i32 = 1;
/// Exit code: stopped by a record, a loss of data, a setting.
pub const STOPPED: i32 = 3;
/// Exit code: another process has taken over.
pub const FENCED: i32 = 4;

/// The guard for everything that takes about a second.
pub const GUARD: Duration = Duration::from_mins(1);

/// How to run a manifest.
#[derive(Clone, Debug)]
pub struct Run {
    manifest: PathBuf,
    log: PathBuf,
    fault: Option<String>,
    secrets: Option<PathBuf>,
}

impl Run {
    /// A run whose output goes to `log`.
    pub fn new(manifest: &Path, log: PathBuf) -> Self {
        Self { manifest: manifest.to_owned(), log, fault: None, secrets: None }
    }

    /// With faults at named points: `point=action[@n][,…]`.
    #[must_use]
    pub fn fault(mut self, fault: &str) -> Self {
        self.fault = Some(fault.to_owned());
        self
    }

    /// With secrets from `DIRECTORY/SECRET/KEY`.
    #[must_use]
    pub fn secrets(mut self, directory: &Path) -> Self {
        self.secrets = Some(directory.to_owned());
        self
    }

    /// Starts the process.
    pub fn start(&self) -> Result<Millstream> {
        let metrics = ports::free(1)?[0];
        let mut command = Command::new(program()?);
        command.arg("run").arg(&self.manifest).args(["--metrics", &format!("127.0.0.1:{metrics}")]);
        if let Some(directory) = &self.secrets {
            command.arg("--secrets").arg(directory);
        }
        command.env_remove("MILLSTREAM_FAULT").env("RUST_BACKTRACE", "1");
        if let Some(fault) = &self.fault {
            command.env("MILLSTREAM_FAULT", fault);
        }
        Ok(Millstream { process: Process::start(&mut command, &self.log)?, metrics })
    }
}

/// A running or ended `millstream`.
#[derive(Debug)]
pub struct Millstream {
    process: Process,
    metrics: u16,
}

impl Millstream {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// All that it has logged.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Where its threads are: for a process that hangs.
    pub fn stacks(&self) -> String {
        self.process.stacks()
    }

    /// Whether it stands still.
    pub fn is_stopped(&self) -> bool {
        self.process.is_stopped()
    }

    /// Its exit code, if it has ended; the negative number of the signal that ended it.
    pub fn code(&mut self) -> Result<Option<i32>> {
        Ok(self.process.exited()?.map(|s| s.code().unwrap_or_else(|| -s.signal().unwrap_or_default())))
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self, guard: Duration) -> Result<i32> {
        wait::until(&format!("millstream ({}) to end", self.process.log().display()), guard, || self.code())
    }

    /// Waits for its end, which must come with this exit code.
    pub fn expect_exit(&mut self, expected: i32, guard: Duration) -> Result<()> {
        let code = self.wait(guard)?;
        ensure!(code == expected, "exit code {code} instead of {expected}");
        Ok(())
    }

    /// SIGTERM; it must end in order.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::Terminate)?;
        self.expect_exit(DONE, GUARD)
    }

    /// Waits for its end with exit code 3 and a message in which all of `words` occur.
    pub fn expect_stop(&mut self, words: &[&str]) -> Result<()> {
        self.expect_exit(STOPPED, GUARD)?;
        self.expect_words(words)
    }

    /// All of `words` must occur in what it has logged, case aside.
    pub fn expect_words(&self, words: &[&str]) -> Result<()> {
        let output = self.output().to_lowercase();
        for word in words {
            ensure!(output.contains(&word.to_lowercase()), "the log does not say `{word}`");
        }
        Ok(())
    }

    /// Waits until the log has `words`; it must not end before.
    pub fn wait_for_words(&mut self, words: &[&str], guard: Duration) -> Result<()> {
        wait::until_true(&format!("the log to say {words:?}"), guard, || {
            if self.expect_words(words).is_ok() {
                return Ok(true);
            }
            self.must_run()?;
            Ok(false)
        })
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.code()? {
            Some(code) => bail!("millstream ended with exit code {code}"),
            None => Ok(()),
        }
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        wait::until_true("/readyz", GUARD, || {
            self.must_run()?;
            Ok(self.get("/readyz").is_ok_and(|(status, _)| status == 200))
        })
    }

    /// Status and body of one of its pages.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// The sum of a metric's samples whose labels contain all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let (_, body) = self.get("/metrics")?;
        Ok(body
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }
}

/// The program: `MILLSTREAM_BIN`, else the one that cargo has built beside the tests.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLSTREAM_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|d| d.join("millstream")).find(|p| p.is_file());
    found
        .context("`millstream` is not built; run: cargo build --workspace --release --features millstream/fault-points")
}
