//! The program as people use it: arguments, files, pipes, exit codes, demos.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");

fn millstream(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).env_remove("MILLSTREAM_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    text(millstream(arguments).output().unwrap())
}

fn text(output: Output) -> (i32, String, String) {
    let words = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), words(output.stdout), words(output.stderr))
}

fn example(file: &str) -> String {
    Path::new(EXAMPLES).join(file).display().to_string()
}

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().to_path_buf();
    (folder, path)
}

#[test]
fn wrong_arguments_say_what_would_be_right() {
    let good = example("sensors/pipeline.yaml");
    for (arguments, expected) in [
        (&[][..], "Usage: millstream <COMMAND>"),
        (&["runn", "x"], "a similar subcommand exists: 'run'"),
        (&["run"], "<FILE>"),
        (&["check"], "<FILE>"),
        (&["run", "missing.yaml"], "missing.yaml cannot be read: No such file or directory"),
        (&["run", EXAMPLES], "is a folder; `run` takes one file"),
        (&["run", &good, "--name", "other"], "there is no Pipeline other in "),
        (&["run", &good, "--metrics", "nonsense"], "expected HOST:PORT such as 127.0.0.1:9464"),
        (&["run", &good, "--secrets", "/nope"], "there is no such folder"),
        (&["run", &good, "--memory", "5x"], "expected bytes such as 256Mi"),
        (&["run", &good, "--log-format", "xml"], "[possible values: text, json]"),
        (&["check", "-", "-"], "standard input can be read only once"),
        (&["check", "/dev/zero"], "is larger than 16 MiB"),
        (&["test", "missing.yaml"], "missing.yaml cannot be read"),
        (&["demo", "nope"], "there is no example `nope`; there are:\n  sensors"),
        (&["demo", "--list", "--keep"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn help_fits_on_a_terminal_and_has_examples() {
    for arguments in
        [&["--help"][..], &["run", "--help"], &["check", "--help"], &["test", "--help"], &["demo", "--help"]]
    {
        let (code, stdout, _) = run(arguments);
        assert_eq!(code, 0);
        assert!(stdout.contains("Examples:\n  millstream "), "{arguments:?}");
        let longest = stdout.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(longest <= 100, "{arguments:?} has a line of {longest} characters");
    }
    let version = format!("millstream {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (0, version, String::new()));
}

#[test]
fn an_address_in_use_is_said_before_anything_runs() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(&["run", &example("sensors/pipeline.yaml"), "--metrics", &address]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address} for metrics")), "{stderr}");
}

#[test]
fn check_reports_good_and_bad_manifests() {
    let (code, stdout, stderr) = run(&["check", EXAMPLES]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.lines().count() >= 6 && stdout.lines().all(|line| line.starts_with("ok ")), "{stdout}");

    let bad = std::fs::read_to_string(example("sensors/pipeline.yaml"))
        .unwrap()
        .replace("keyColumn: sensor", "keyColumn: senser");
    let (_guard, path) =
        folder(&[("bad.yaml", &bad), ("empty.yaml", ""), ("other.yaml", "apiVersion: v1\nkind: Secret\n")]);
    let file = path.join("bad.yaml").display().to_string();
    let (code, stdout, _) = run(&["check", &file]);
    assert_eq!(code, 1);
    assert!(stdout.contains("bad.yaml:") && stdout.contains("did you mean `sensor`?"), "{stdout}");
    assert!(stdout.ends_with("1 error, 0 warnings; 1 pipeline cannot run\n"), "{stdout}");
    for other in ["empty.yaml", "other.yaml"] {
        let (code, stdout, _) = run(&["check", &path.join(other).display().to_string()]);
        assert_eq!(code, 1);
        assert!(stdout.contains("there is no Pipeline in this file"), "{stdout}");
    }
    let (code, stdout, stderr) = run(&["run", &file]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("did you mean `sensor`?"), "{stderr}");
}

#[test]
fn check_speaks_json() {
    let mut command = millstream(&["check", "--output", "json", "--plan", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let manifest = std::fs::read(example("routing/pipeline.yaml")).unwrap();
    child.stdin.take().unwrap().write_all(&manifest).unwrap();
    let (code, stdout, _) = text(child.wait_with_output().unwrap());
    assert_eq!(code, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["files"], 1);
    assert_eq!(report["pipelines"][0]["file"], "<stdin>");
    assert_eq!(report["pipelines"][0]["applicationId"], "default.routing");
    assert!(report["pipelines"][0]["plan"].as_str().unwrap().contains("to_orders"));

    let (_guard, path) = folder(&[("bad.yaml", "apiVersion: millstream.dev/v1alpha1\nkind: Pipelin\n")]);
    let (code, stdout, _) = run(&["check", "--output", "json", &path.display().to_string()]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["ok"], &report["errors"]), (&false.into(), &1.into()));
    let problem = &report["diagnostics"][0];
    assert_eq!(
        (&problem["severity"], &problem["line"], &problem["field"]),
        (&"error".into(), &2.into(), &"kind".into())
    );
}

#[test]
fn test_passes_and_fails() {
    let (code, stdout, _) = run(&["test", EXAMPLES]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.ends_with(" tests: passed\n"), "{stdout}");

    let test = std::fs::read_to_string(example("csv-field/test.yaml")).unwrap();
    let (_guard, path) = folder(&[
        ("test.yaml", &test.replace("{value: Hamburg}", "{value: Bremen}")),
        ("pipeline.yaml", &std::fs::read_to_string(example("csv-field/pipeline.yaml")).unwrap()),
        ("cities.csv", &std::fs::read_to_string(example("csv-field/cities.csv")).unwrap()),
    ]);
    let (code, stdout, _) = run(&["test", &path.display().to_string()]);
    assert_eq!(code, 1);
    assert!(stdout.contains("\n    - Bremen\n    + Hamburg\n      \"Frankfurt, Main\"\n"), "{stdout}");
    assert!(stdout.ends_with("1 test: 0 passed, 1 failed\n"), "{stdout}");

    let (code, stdout, _) = run(&["test", &example("sensors/pipeline.yaml")]);
    assert_eq!(code, 1);
    assert!(stdout.contains("there is no PipelineTest in this file"), "{stdout}");
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let many = vec![example("sensors/pipeline.yaml"); 200];
    let arguments: Vec<&str> = ["check", "--plan"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let mut child = millstream(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (code, _, stderr) = text(child.wait_with_output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn colours_are_for_terminals() {
    let (_, stdout, stderr) = run(&["check", &example("sensors/pipeline.yaml"), "missing.yaml"]);
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{stdout}{stderr}");
}

#[test]
fn every_demo_shows_what_comes_out() {
    let (code, list, _) = run(&["demo", "--list"]);
    assert_eq!(code, 0);
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names[0], "sensors");
    let demos: Vec<_> =
        names.iter().map(|name| (*name, millstream(&["demo", name]).stdout(Stdio::piped()).spawn().unwrap())).collect();
    for (name, demo) in demos {
        let (code, stdout, _) = text(demo.wait_with_output().unwrap());
        assert_eq!(code, 0, "{name}: {stdout}");
        assert!(stdout.contains("An embedded broker for trying out runs on 127.0.0.1:"), "{name}: {stdout}");
        assert!(stdout.contains("\n1000 records processed, the last result after "), "{name}: {stdout}");
        if name == "sensors" {
            assert!(
                stdout.contains("flink_output (sink cleaned): 500 records out, such as\n    s1  {\"sensor\":\"s1\","),
                "{stdout}"
            );
            assert!(
                stdout.contains("dead letters): 500 records out (300 expression, 100 malformed, 100 type)"),
                "{stdout}"
            );
        }
    }
}

#[test]
fn a_demo_that_is_kept_runs_until_it_is_told_to_stop() {
    let mut demo = millstream(&["demo", "upper-case", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = demo.stdout.take().unwrap();
    let (mut seen, mut part) = (String::new(), [0; 4096]);
    while !seen.contains("It keeps running until Ctrl+C") {
        let read = stdout.read(&mut part).unwrap();
        assert!(read > 0, "ended early: {seen}");
        seen += &String::from_utf8_lossy(&part[..read]);
    }
    assert!(demo.try_wait().unwrap().is_none(), "still running");
    let begin = Instant::now();
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
}

#[test]
fn the_manifest_of_a_demo_is_a_good_beginning() {
    let (code, manifest, _) = run(&["demo", "sensors", "--manifest"]);
    assert_eq!(code, 0);
    let (_guard, path) = folder(&[("mine.yaml", &manifest)]);
    assert_eq!(run(&["check", &path.display().to_string()]).0, 0);
}
