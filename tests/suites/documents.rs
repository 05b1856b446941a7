//! What the documents refer to is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The Markdown files for people: those at the top, and all in `docs/`.
fn documents() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect();
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The targets of `[text](target)`; not for code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The contents of the table cells in backticks, where they look like files: `a/b.rs`, `c/`.
fn files(row: &str) -> impl Iterator<Item = &str> {
    let is_file = |word: &&str| word.ends_with('/') || Path::new(word).extension().is_some();
    row.split('`').skip(1).step_by(2).filter(is_file)
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let prose: String = text.split('`').step_by(2).collect();
        for link in links(&prose).filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap();
            let target = document.parent().unwrap().join(file);
            assert!(target.exists(), "{} links to {link}, which is not there", document.display());
        }
    }
}

/// Within a row, a file stands below the folder of the one before, or from the root, or below `worker/src`.
#[test]
fn the_source_map_is_of_this_source() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let map = text.split("## Source map").nth(1).expect("a source map");
    let mut count = 0;
    for row in map.lines().filter(|line| line.starts_with("| ")) {
        let mut last = PathBuf::new();
        for file in files(row).filter(|file| !file.contains('*')) {
            let places = [root().join(file), root().join("worker/src").join(file), last.join(file)];
            let found = places.iter().find(|place| place.exists());
            last = found.unwrap_or_else(|| unreachable!("`{file}` is not there: {row}")).parent().unwrap().to_owned();
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}
