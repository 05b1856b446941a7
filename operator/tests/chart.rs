//! The chart, and the plain manifests made from it, are of this version and carry the CRDs as the types say.
//!
//! `GOLDEN=update` copies the CRDs into the chart; `scripts/manifests` does that and makes the plain manifests, too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn chart() -> PathBuf {
    root().join("charts/millstream")
}

/// The files of a folder by name, with their texts.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&file).unwrap()))
        .collect()
}

/// The value of a field at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_default().trim_matches('"')
}

#[test]
fn the_chart_has_the_crds_of_the_types() {
    let (made, copies) = (root().join("crds/manifests"), chart().join("files/crds"));
    if std::env::var("GOLDEN").is_ok_and(|value| value == "update") {
        for name in texts(&made).keys() {
            fs::copy(made.join(name), copies.join(name)).unwrap();
        }
    }
    assert!(
        texts(&made) == texts(&copies),
        "{} differs from {}; run scripts/manifests",
        copies.display(),
        made.display()
    );
}

#[test]
fn the_chart_is_of_this_version() {
    let text = fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    assert_eq!((field(&text, "version"), field(&text, "appVersion")), (VERSION, VERSION));
}

#[test]
fn the_plain_manifests_are_of_this_version() {
    let text = fs::read_to_string(root().join("deploy/kubernetes/millstream.yaml")).unwrap();
    for (name, definition) in texts(&root().join("crds/manifests")) {
        assert!(text.contains(&definition), "{name} is not in the plain manifests; run scripts/manifests");
    }
    for image in ["millstream", "millstream-operator"] {
        assert!(text.contains(&format!("{image}:{VERSION}")), "{image} is of another version; run scripts/manifests");
    }
}

/// The places of all fields of a YAML file with an indentation of two, such as `image.tag`. Items of lists are none.
fn fields(text: &str) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', '-'])) {
        let Some((name, _)) = line.split_once(':') else { continue };
        path.truncate((name.len() - name.trim_start().len()) / 2);
        path.push(name.trim_start());
        found.push(path.join("."));
    }
    found
}

/// The words in backticks in the first column of the table of values.
fn documented(text: &str) -> Vec<&str> {
    let table = text.split("| value | default | meaning |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_value_is_documented_and_every_documented_one_is_there() {
    let fields = fields(&fs::read_to_string(chart().join("values.yaml")).unwrap());
    let text = fs::read_to_string(root().join("docs/helm.md")).unwrap();
    let documented = documented(&text);
    let is_within = |field: &str, other: &str| field == other || field.starts_with(&format!("{other}."));
    for field in &fields {
        let found = documented.iter().any(|other| is_within(field, other) || is_within(other, field));
        assert!(found, "{field} of values.yaml is not in docs/helm.md");
    }
    for value in documented {
        assert!(fields.iter().any(|field| field == value), "{value} of docs/helm.md is not in values.yaml");
    }
}
