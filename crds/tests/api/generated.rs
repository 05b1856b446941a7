//! Files that are made from the types: the manifests to install and the reference of the fields.
//!
//! `GOLDEN=update cargo test --release -p millstream-crds` writes them; without it, a difference fails.

use std::path::{Path, PathBuf};

use millstream_crds::definitions;

use crate::reference;

fn compare(path: &Path, expected: &str) {
    if std::env::var("GOLDEN").is_ok_and(|value| value == "update") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == expected,
        "{} is not what the types say; run GOLDEN=update cargo test --release -p millstream-crds",
        path.display()
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn manifests_are_what_the_types_say() {
    for definition in definitions() {
        let name = definition.spec.names.plural.clone();
        let yaml = serde_saphyr::to_string(&definition).unwrap();
        let read_back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            read_back,
            serde_json::to_value(&definition).unwrap(),
            "the YAML of {name} means what the types say"
        );

        let header = "# Made from the types in crds/src by a test; see crds/tests/api/generated.rs.\n";
        compare(&root().join(format!("crds/manifests/{name}.yaml")), &format!("{header}{}\n", yaml.trim_end()));
    }
}

#[test]
fn the_reference_is_what_the_types_say() {
    compare(&root().join("docs/manifest.md"), &reference::markdown());
}
