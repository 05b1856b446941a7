//! The files that a command line names: files, folders of manifests, standard input.
//!
//! All that cannot be read is reported in one go, before anything is done with the rest.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::Failure;

/// The most that is read of one file: no manifest is larger, and a device file would have no end.
const MAX_BYTES: u64 = 16 << 20;

/// A file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The name, as it was given or found; `<stdin>` for standard input.
    pub(super) name: String,
    /// The folder that paths in it are relative to.
    pub(super) folder: PathBuf,
    /// The text.
    pub(super) text: String,
    /// Whether it was found in a folder, and not named itself.
    pub(super) found: bool,
}

/// Reads files, the manifests of folders, and standard input for `-`.
pub(super) fn read_all(names: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for name in names {
        match read_one(name) {
            Ok(read) => sources.extend(read),
            Err(problem) => problems.push(problem),
        }
    }
    let twice = names.iter().filter(|name| name.as_os_str() == "-").count() > 1;
    if twice {
        problems.push("standard input can be read only once".into());
    }
    if problems.is_empty() { Ok(sources) } else { Err(Failure::Usage(problems.join("\n       "))) }
}

fn read_one(name: &Path) -> Result<Vec<Source>, String> {
    if name.as_os_str() == "-" {
        let text = read_text(std::io::stdin().lock()).map_err(|problem| format!("standard input {problem}"))?;
        return Ok(vec![Source { name: "<stdin>".into(), folder: PathBuf::from("."), text, found: false }]);
    }
    if name.is_dir() {
        let mut files = Vec::new();
        list(name, &mut files, 0).map_err(|error| format!("{} cannot be read: {error}", name.display()))?;
        if files.is_empty() {
            return Err(format!("{} has no .yaml, .yml or .json files", name.display()));
        }
        files.sort();
        return files.iter().map(|file| read_file(file, true)).collect();
    }
    Ok(vec![read_file(name, false)?])
}

fn read_file(path: &Path, found: bool) -> Result<Source, String> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| format!("{name} cannot be read: {}", plain(&error)))?;
    let text = read_text(file).map_err(|problem| format!("{name} {problem}"))?;
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    Ok(Source { name, folder, text, found })
}

fn read_text(reader: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {}", plain(&error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {} MiB, which no manifest is", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let line = memchr::memchr_iter(b'\n', &error.as_bytes()[..place]).count() + 1;
        format!("is not UTF-8 text: line {line} has a byte 0x{:02x}", error.as_bytes()[place])
    })
}

/// All manifests below a folder; links are not followed further than the folder itself, so there are no circles.
fn list(folder: &Path, files: &mut Vec<PathBuf>, depth: usize) -> std::io::Result<()> {
    const MAX_DEPTH: usize = 32;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if kind.is_dir() && !hidden && depth < MAX_DEPTH {
            list(&path, files, depth + 1)?;
        } else if manifest && !hidden && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn folders_give_their_manifests_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let sub = folder.path().join("b");
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        for file in ["c.yaml", "a.json", "b/x.yml", "b/readme.md", ".hidden.yaml", ".git/x.yaml"] {
            std::fs::write(folder.path().join(file), "{}").unwrap();
        }
        let sources = read_all(&[folder.path().to_path_buf()]).unwrap();
        let names: Vec<_> =
            sources.iter().map(|s| s.name.strip_prefix(&*folder.path().to_string_lossy()).unwrap()).collect();
        assert_eq!(names, ["/a.json", "/b/x.yml", "/c.yaml"]);
        assert!(sources.iter().all(|source| source.found));
        assert_eq!(sources[1].folder, sub);
    }

    #[test]
    fn everything_that_cannot_be_read_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, binary, missing) =
            (folder.path().join("empty"), folder.path().join("binary.yaml"), folder.path().join("missing.yaml"));
        std::fs::create_dir(&empty).unwrap();
        std::fs::write(&binary, b"a: 1\nb: \xff\n").unwrap();
        let text = read_all(&[empty, binary, missing]).unwrap_err().to_string();
        assert!(text.contains("empty has no .yaml, .yml or .json files"), "{text}");
        assert!(text.contains("binary.yaml is not UTF-8 text: line 2 has a byte 0xff"), "{text}");
        assert!(
            text.contains("missing.yaml cannot be read: No such file or directory\n") || text.ends_with("directory"),
            "{text}"
        );
    }

    #[test]
    fn endless_files_are_refused() {
        let text = read_all(&["/dev/zero".into()]).unwrap_err().to_string();
        assert_eq!(text, "/dev/zero is larger than 16 MiB, which no manifest is");
    }
}
