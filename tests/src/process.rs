//! Child processes whose output goes to a file, and the signals that tests send them.
//!
//! Every process is addressed by the id of a child that has not been waited for, so that no signal can hit another one;
//! dropping a [`Process`] kills and reaps it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait;

/// A signal that tests send; SIGKILL is [`Process::kill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGSTOP: the process stands still and cannot know it.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
        }
    }
}

/// A running or ended child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; both its outputs are appended to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All output so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Sends a signal; nothing happens if the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_none() {
            // The shell's own `kill`: a system call of ours would need unsafe code or a dependency more.
            let id = self.id().to_string();
            let sent = Command::new("sh").args(["-c", "kill -s $0 $1", signal.name(), &id]).status()?;
            ensure!(sent.success(), "cannot send SIG{} to process {id}", signal.name());
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, guard: Duration) -> Result<ExitStatus> {
        let what = format!("the end of process {} ({})", self.id(), self.log.display());
        wait::until(&what, guard, || self.exited())
    }

    /// SIGKILL, and waits.
    pub fn kill(&mut self) -> Result<()> {
        if self.exited()?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits; SIGKILL after `guard`.
    pub fn terminate(&mut self, guard: Duration) -> Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        self.wait(guard).inspect_err(|_| drop(self.child.kill()))
    }

    /// Where its threads are, as gdb tells it, if gdb is installed: for a process that hangs.
    pub fn stacks(&self) -> String {
        let id = self.id().to_string();
        let told = Command::new("gdb").args(["-p", &id, "-batch", "-ex", "thread apply all bt 25"]).output();
        match told {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("no stacks of process {id}: gdb: {error}"),
        }
    }

    /// Whether it stands still after SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        // The state is the letter behind the program's name, which stands in brackets and may contain anything.
        fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T')))
            .unwrap_or(false)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may have ended already; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
