//! Licences and duplicate versions of all dependencies, as `deny.toml` wants them, by what Cargo says about them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What the program is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", TARGET];
    let output = Command::new(cargo).current_dir(root()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The lines of a list in `deny.toml`, without its brackets.
fn list(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("{name} = [")).skip(1);
    lines.take_while(|line| *line != "]").map(|line| line.trim().trim_end_matches(',').to_owned()).collect()
}

/// The value between the quotes behind `key = `.
fn quoted(line: &str, key: &str) -> String {
    let (_, value) = line.split_once(&format!("{key} = \"")).expect("every entry names its crate");
    value.split('"').next().unwrap().to_owned()
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds closer than `OR`.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut words = Vec::new();
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        words.push(word.to_owned());
    }
    let mut words = words.into_iter().peekable();
    let met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "cannot read {expression}");
    met
}

type Words = std::iter::Peekable<std::vec::IntoIter<String>>;

fn any(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if(|word| word == "OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if(|word| word == "AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words, allowed: &BTreeSet<String>) -> bool {
    let mut licence = words.next().expect("a licence");
    if licence == "(" {
        let met = any(words, allowed);
        assert_eq!(words.next().as_deref(), Some(")"));
        return met;
    }
    if words.next_if(|word| word == "WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().expect("an exception"));
    }
    allowed.contains(&licence)
}

#[test]
fn expressions_are_read_as_spdx_says() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()]);
    let cases = [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("GPL-3.0 AND MIT OR MIT", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND MIT", true),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception AND MIT", true),
    ];
    for (expression, expected) in cases {
        assert_eq!(met(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_licence_is_allowed_and_every_allowed_one_is_needed() {
    let allowed: BTreeSet<String> = list("allow").into_iter().map(|line| line.replace('"', "")).collect();
    let packages = packages();
    let licence = |package: &Value| package["license"].as_str().unwrap_or("none").to_owned();
    for package in &packages {
        assert!(met(&licence(package), &allowed), "{} is under {}", package["name"], licence(package));
    }
    for superfluous in &allowed {
        let rest = allowed.iter().filter(|licence| *licence != superfluous).cloned().collect();
        let needed = packages.iter().any(|package| !met(&licence(package), &rest));
        assert!(needed, "{superfluous} is allowed in deny.toml, but nothing needs it");
    }
}

#[test]
fn every_duplicate_version_is_excused_and_every_excuse_is_needed() {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    let excused: BTreeSet<String> = list("skip").iter().map(|line| quoted(line, "crate")).collect();
    let duplicates = versions.iter().filter(|(_, versions)| versions.len() > 1);
    for (name, versions) in duplicates {
        let left: Vec<&String> =
            versions.iter().filter(|version| !excused.contains(&format!("{name}@{version}"))).collect();
        assert!(left.len() < 2, "{name} is there as {left:?}; deny.toml excuses none of them");
    }
    for excuse in &excused {
        let (name, version) = excuse.split_once('@').unwrap();
        let found =
            versions.get(name).is_some_and(|found| found.len() > 1 && found.iter().any(|found| found == version));
        assert!(found, "deny.toml excuses {excuse}, which is not there twice any more");
    }
}

#[test]
fn nothing_banned_is_there() {
    let banned: BTreeSet<String> = list("deny").iter().map(|line| quoted(line, "crate")).collect();
    assert!(!banned.is_empty());
    for package in packages() {
        assert!(!banned.contains(package["name"].as_str().unwrap()), "deny.toml bans {}", package["name"]);
    }
}
