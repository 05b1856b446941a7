//! Diagnostics as users see them: drop a `.yaml` into `golden/`, get a test.
//!
//! Each manifest has mistakes; the `.snap` beside it is what reading and compiling it says. `INSTA_UPDATE=always`
//! writes the snapshots anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::{compile, manifest};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden")
}

/// The names of the files of a kind, without it.
fn names(kind: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let of_kind = files.filter(|file| file.extension().is_some_and(|extension| extension == kind));
    of_kind.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// All that is said about a file, as `check` says it.
fn diagnostics(name: &str) -> Vec<Diagnostic> {
    let file = format!("{name}.yaml");
    let text = std::fs::read_to_string(folder().join(&file)).unwrap();
    match manifest::read(&file, &text) {
        Err(problems) => problems.into_iter().collect(),
        Ok(documents) => documents
            .iter()
            .flat_map(|document| match compile(document) {
                Ok(compiled) => compiled.warnings,
                Err(problems) => problems.into_iter().collect(),
            })
            .collect(),
    }
}

#[test]
fn every_mistake_is_reported_as_its_snapshot_says() {
    let manifests = names("yaml");
    assert!(manifests.len() >= 50, "there are {} manifests", manifests.len());
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in &manifests {
            let found = diagnostics(name);
            assert!(!found.is_empty(), "nothing is wrong with {name}.yaml");
            let text: Vec<String> = found.iter().map(ToString::to_string).collect();
            insta::assert_snapshot!(name.as_str(), text.join("\n\n"));
        }
    });
}

#[test]
fn every_snapshot_has_its_manifest() {
    let orphans: Vec<_> = names("snap").difference(&names("yaml")).cloned().collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn every_error_has_a_place_and_most_have_a_way_out() {
    let all: Vec<Diagnostic> = names("yaml").iter().flat_map(|name| diagnostics(name)).collect();
    for diagnostic in &all {
        assert!(diagnostic.line > 0 && diagnostic.column > 0 && diagnostic.excerpt.is_some(), "{diagnostic}");
    }
    let helpful = all.iter().filter(|diagnostic| diagnostic.help.is_some()).count();
    assert!(helpful * 4 >= all.len() * 3, "{helpful} of {} have a help", all.len());
}
