//! Where secrets are read from: a folder with a folder a secret and a file a key, as Kubernetes mounts them.

use std::fmt;
use std::path::PathBuf;

use crate::plan::pipeline::SecretKey;

/// A folder of secrets.
#[derive(Clone, Debug, Default)]
pub struct SecretStore {
    root: Option<PathBuf>,
}

/// A secret's bytes; neither `Debug` nor anything else shows them.
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A secret is referred to, but there is no folder to look in.
    #[error(
        "the connection refers to secret `{name}`, but no folder of secrets was given; pass --secrets DIR with a file DIR/{name}/{key}"
    )]
    NoStore {
        /// The secret.
        name: String,
        /// The key in it.
        key: String,
    },
    /// The file cannot be read.
    #[error("secret `{name}`, key `{key}`: cannot read {path}: {source}")]
    Unreadable {
        /// The secret.
        name: String,
        /// The key in it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what is needed.
    #[error("secret `{name}`, key `{key}`: {problem}")]
    Unusable {
        /// The secret.
        name: String,
        /// The key in it.
        key: String,
        /// What is wrong and what would be right; never the value.
        problem: &'static str,
    },
}

impl SecretStore {
    /// Secrets in `root/<secret>/<key>`.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()) }
    }

    /// The value of a key, without the line end that editors and `echo` leave behind.
    pub fn text(&self, of: &SecretKey) -> Result<String, SecretError> {
        let unusable = |problem| SecretError::Unusable { name: of.secret.clone(), key: of.key.clone(), problem };
        let Secret(bytes) = self.read(of)?;
        let text = String::from_utf8(bytes).map_err(|_| unusable("the value is not UTF-8 text"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(unusable("the value is empty"));
        }
        Ok(text.to_owned())
    }

    /// The value of a key that must be PEM.
    pub fn pem(&self, of: &SecretKey) -> Result<String, SecretError> {
        let text = self.text(of)?;
        if text.contains("-----BEGIN ") {
            return Ok(text);
        }
        Err(SecretError::Unusable {
            name: of.secret.clone(),
            key: of.key.clone(),
            problem: "the value is not PEM: no line `-----BEGIN …-----` in it",
        })
    }

    fn read(&self, of: &SecretKey) -> Result<Secret, SecretError> {
        let Some(root) = &self.root else {
            return Err(SecretError::NoStore { name: of.secret.clone(), key: of.key.clone() });
        };
        let path = root.join(&of.secret).join(&of.key);
        std::fs::read(&path).map(Secret).map_err(|source| SecretError::Unreadable {
            name: of.secret.clone(),
            key: of.key.clone(),
            path,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(secret: &str, key: &str) -> SecretKey {
        SecretKey { secret: secret.into(), key: key.into() }
    }

    #[test]
    fn values_are_read_without_their_line_end_and_problems_name_the_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("user")).unwrap();
        std::fs::write(folder.path().join("user/password"), "hush hush\n").unwrap();
        std::fs::write(folder.path().join("user/empty"), "\n").unwrap();
        let store = SecretStore::directory(folder.path());
        assert_eq!(store.text(&key("user", "password")).unwrap(), "hush hush");
        let empty = store.text(&key("user", "empty")).unwrap_err().to_string();
        assert!(empty.contains("secret `user`, key `empty`: the value is empty"), "{empty}");
        let pem = store.pem(&key("user", "password")).unwrap_err().to_string();
        assert!(pem.contains("not PEM") && !pem.contains("hush"), "{pem}");
        let missing = store.text(&key("user", "name")).unwrap_err().to_string();
        assert!(missing.contains("user/name"), "{missing}");
        let nowhere = SecretStore::default().text(&key("user", "name")).unwrap_err().to_string();
        assert!(nowhere.contains("--secrets DIR"), "{nowhere}");
    }
}
