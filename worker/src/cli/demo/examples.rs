//! The examples of `deploy/examples`, in the program itself: `demo` needs nothing installed and nothing on the disk.

use std::io;

/// An example: a pipeline with a test that holds its sample records.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Example {
    /// The name, which is its folder's.
    pub(in crate::cli) name: &'static str,
    /// The manifest.
    pub(in crate::cli) pipeline: &'static str,
    /// The test; its first document's input is what a demo runs.
    pub(in crate::cli) test: &'static str,
    /// The files that the test names.
    files: &'static [(&'static str, &'static str)],
}

macro_rules! example {
    ($name:literal, $($file:literal),*) => {
        Example {
            name: $name,
            pipeline: include_str!(concat!("../../../../deploy/examples/", $name, "/pipeline.yaml")),
            test: include_str!(concat!("../../../../deploy/examples/", $name, "/test.yaml")),
            files: &[$(($file, include_str!(concat!("../../../../deploy/examples/", $name, "/", $file)))),*],
        }
    };
}

/// All examples; the first is the default.
pub(in crate::cli) const ALL: [Example; 6] = [
    example!("sensors", "readings.csv"),
    example!("upper-case", "lines.txt"),
    example!("csv-field", "cities.csv"),
    example!("routing", "events.jsonl"),
    example!("merge", "old.csv", "new.jsonl"),
    example!("flatten", "orders.jsonl"),
];

impl Example {
    /// The example of that name.
    pub(in crate::cli) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|example| example.name == name)
    }

    /// What it is about: the comment at the top of its manifest, line by line.
    pub(in crate::cli) fn about(&self) -> String {
        let lines = self.pipeline.lines().map_while(|line| line.strip_prefix("# "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The first sentence of what it is about.
    pub(in crate::cli) fn title(&self) -> String {
        let about = self.about().replace('\n', " ");
        let end = about.find(": ").into_iter().chain(about.find(". ")).min();
        end.map_or(about.trim_end_matches('.'), |end| &about[..end]).to_owned()
    }

    /// A file of its folder.
    pub(in crate::cli) fn file(&self, name: &str) -> io::Result<Vec<u8>> {
        let found = self.files.iter().find(|(file, _)| *file == name);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
