//! Compiles manifests in a child process: a manifest is untrusted, and whatever it makes of the compiler ends with the
//! child. What comes back are the diagnostics that `millstream check` prints.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How long compiling may take.
const TIME: Duration = Duration::from_secs(10);
/// The most that is read of the answer.
const ANSWER_BYTES: u64 = 4 << 20;

/// What compiling a manifest showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// It can run.
    Fine {
        /// What may not be as meant, as text for people.
        warnings: Vec<String>,
    },
    /// It cannot.
    Wrong {
        /// All problems, as text for people, one after another.
        problems: Vec<String>,
    },
    /// The compiler did not come to an end with it.
    Unbearable {
        /// What happened.
        why: String,
    },
}

/// The compiler cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It cannot be started.
    #[error("{program} cannot be started: {source}")]
    NoCompiler {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be talked to.
    #[error("the compiler's answer cannot be read: {0}")]
    Silent(std::io::Error),
}

#[derive(Debug, Deserialize)]
struct Report {
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    severity: String,
    node: Option<String>,
    field: String,
    message: String,
    help: Option<String>,
}

impl Diagnostic {
    /// Lines and columns are left out: the manifest that they count in is not the one that the user wrote.
    fn text(&self) -> String {
        let about = match (&self.node, self.field.as_str()) {
            (Some(node), "") => format!("node {node}: "),
            (Some(node), field) => format!("node {node}, {field}: "),
            (None, "") => String::new(),
            (None, field) => format!("{field}: "),
        };
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{about}{}{help}", self.message)
    }
}

/// Compiles a manifest with the program `millstream`.
pub async fn compile(millstream: &Path, manifest: &str) -> Result<Compiled, CompileError> {
    let mut child = Command::new(millstream)
        .args(["check", "--confined", "--output", "json", "-"])
        .env_clear()
        // The child bounds its memory; what its allocator only reserves would count, too.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CompileError::NoCompiler { program: millstream.display().to_string(), source })?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let manifest = manifest.to_owned();
    let talk = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // A child that ended early says why by its end.
                drop(stdin.write_all(manifest.as_bytes()).await);
            }
        };
        let read = async {
            let mut text = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(ANSWER_BYTES).read_to_end(&mut text).await?;
            }
            Ok::<_, std::io::Error>(text)
        };
        let ((), text) = futures::join!(write, read);
        Ok::<_, std::io::Error>((text?, child.wait().await?))
    };
    match tokio::time::timeout(TIME, talk).await {
        Ok(Ok((text, status))) => Ok(judge(&text, &status.to_string())),
        Ok(Err(error)) => Err(CompileError::Silent(error)),
        Err(_) => Ok(Compiled::Unbearable { why: format!("it took longer than {TIME:?}") }),
    }
}

fn judge(text: &[u8], status: &str) -> Compiled {
    let Ok(report) = serde_json::from_slice::<Report>(text) else {
        return Compiled::Unbearable { why: format!("the compiler ended without an answer ({status})") };
    };
    let of = |severity: &str| -> Vec<String> {
        report.diagnostics.iter().filter(|d| d.severity == severity).map(Diagnostic::text).collect()
    };
    match of("error") {
        problems if problems.is_empty() => Compiled::Fine { warnings: of("warning") },
        problems => Compiled::Wrong { problems },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_become_texts_for_people() {
        let diagnostic = |severity: &str, help: &str| {
            format!(
                r#"{{"severity":"{severity}","node":"clean","field":"transforms[0].filter","message":"unknown column `tmp`","help":{help}}}"#
            )
        };
        let report = |list: &str| format!(r#"{{"ok":false,"diagnostics":[{list}]}}"#);
        let error = report(&diagnostic("error", r#""did you mean `temp`?""#));
        let text = "node clean, transforms[0].filter: unknown column `tmp` (did you mean `temp`?)";
        assert_eq!(judge(error.as_bytes(), ""), Compiled::Wrong { problems: vec![text.to_owned()] });
        let warning = report(&diagnostic("warning", "null"));
        let text = "node clean, transforms[0].filter: unknown column `tmp`";
        assert_eq!(judge(warning.as_bytes(), ""), Compiled::Fine { warnings: vec![text.to_owned()] });
        let Compiled::Unbearable { why } = judge(b"", "signal: 9 (SIGKILL)") else { unreachable!() };
        assert!(why.contains("SIGKILL"));
    }

    #[tokio::test]
    async fn a_compiler_that_is_not_there_is_named() {
        let error = compile(Path::new("/nowhere/millstream"), "").await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/millstream"));
    }

    #[tokio::test]
    async fn a_compiler_that_dies_is_no_answer() {
        let outcome = compile(Path::new("/bin/false"), "x").await.unwrap();
        assert!(matches!(outcome, Compiled::Unbearable { .. }), "{outcome:?}");
    }
}
