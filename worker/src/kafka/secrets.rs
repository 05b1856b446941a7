//! Where secrets are read from: a folder with a folder a secret and a file a key, as Kubernetes mounts them; or memory,
//! for the operator, which asks the API server.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::plan::pipeline::SecretKey;

/// Secrets.
#[derive(Clone, Default)]
pub struct SecretStore {
    place: Place,
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Nowhere => f.write_str("SecretStore(nowhere)"),
            Place::Directory(root) => write!(f, "SecretStore({})", root.display()),
            Place::Memory(_) => f.write_str("SecretStore(…)"),
        }
    }
}

/// The values of keys, by secret.
pub type SecretValues = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

#[derive(Clone, Default)]
enum Place {
    #[default]
    Nowhere,
    Directory(PathBuf),
    Memory(Arc<SecretValues>),
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
    /// There is no such secret, or no such key in it.
    #[error("there is no key `{key}` in secret `{name}`, or no such secret")]
    Missing {
        /// The secret.
        name: String,
        /// The key in it.
        key: String,
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
        Self { place: Place::Directory(root.into()) }
    }

    /// Secrets that were read already.
    pub fn memory(values: SecretValues) -> Self {
        Self { place: Place::Memory(Arc::new(values)) }
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
        let (name, key) = (of.secret.clone(), of.key.clone());
        let root = match &self.place {
            Place::Directory(root) => root,
            Place::Nowhere => return Err(SecretError::NoStore { name, key }),
            Place::Memory(values) => {
                let value = values.get(&name).and_then(|keys| keys.get(&key));
                return value.cloned().map(Secret).ok_or(SecretError::Missing { name, key });
            }
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
        let values =
            BTreeMap::from([("user".to_owned(), BTreeMap::from([("password".to_owned(), b"hush\n".to_vec())]))]);
        let store = SecretStore::memory(values);
        assert_eq!(store.text(&key("user", "password")).unwrap(), "hush");
        assert!(!format!("{store:?}").contains("hush"));
        let missing = store.text(&key("user", "name")).unwrap_err().to_string();
        assert!(missing.contains("no key `name` in secret `user`"), "{missing}");
        let nowhere = SecretStore::default().text(&key("user", "name")).unwrap_err().to_string();
        assert!(nowhere.contains("--secrets DIR"), "{nowhere}");
    }
}
