//! What the operator was started with and all workers have in common.

use std::fmt;
use std::str::FromStr;

use super::problems::Problems;

/// When a node pulls an image, in Kubernetes' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If it is not there.
    #[default]
    IfNotPresent,
    /// Not at all: it must be there.
    Never,
}

impl PullPolicy {
    /// The word in a pod's manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PullPolicy {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Always, Self::IfNotPresent, Self::Never];
        let found = all.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| SettingsError::PullPolicy { text: text.to_owned() })
    }
}

/// Why a setting cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No image.
    #[error("worker image `{text}` is no image; write for example registry.example.com/millstream:1.0.0")]
    Image {
        /// What was given.
        text: String,
    },
    /// No pull policy.
    #[error("image pull policy `{text}` is unknown; write Always, IfNotPresent or Never")]
    PullPolicy {
        /// What was given.
        text: String,
    },
    /// Not where a server could be.
    #[error("the operator's URL `{text}` is none that workers can report to; write https://HOST:PORT, without a path")]
    Url {
        /// What was given.
        text: String,
    },
    /// No certificate.
    #[error("the operator's CA has no certificate in PEM in it")]
    NoCertificate,
    /// More than certificates; the text is not repeated.
    #[error("the operator's CA has more than certificates in it; workers must get nothing but these")]
    NotOnlyCertificates,
}

/// What all workers have in common, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    image: String,
    pull_policy: PullPolicy,
    operator_url: String,
    operator_ca: String,
    log: Option<String>,
}

impl WorkerSettings {
    /// Checks what the operator was started with: the workers' image and when to pull it, where workers report to, and
    /// the certificate authority (PEM) of the server there.
    pub fn new(
        image: &str,
        pull_policy: PullPolicy,
        operator_url: &str,
        operator_ca: &str,
    ) -> Result<Self, Problems<SettingsError>> {
        let mut problems = Vec::new();
        if !is_image(image) {
            problems.push(SettingsError::Image { text: image.to_owned() });
        }
        if !is_url(operator_url) {
            problems.push(SettingsError::Url { text: operator_url.to_owned() });
        }
        problems.extend(certificates_problem(operator_ca));
        let settings = Self {
            image: image.to_owned(),
            pull_policy,
            operator_url: operator_url.to_owned(),
            operator_ca: format!("{}\n", operator_ca.trim()),
            log: None,
        };
        Problems::or(problems, settings)
    }

    /// Sets the filter of the workers' logs, as the variable `MILLSTREAM_LOG` has it; workers decide without one.
    #[must_use]
    pub fn with_log(self, filter: Option<String>) -> Self {
        Self { log: filter.filter(|filter| !filter.is_empty()), ..self }
    }

    pub(super) fn image(&self) -> &str {
        &self.image
    }

    pub(super) fn pull_policy(&self) -> PullPolicy {
        self.pull_policy
    }

    pub(super) fn operator_url(&self) -> &str {
        &self.operator_url
    }

    pub(super) fn operator_ca(&self) -> &str {
        &self.operator_ca
    }

    pub(super) fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }
}

/// Whether a text may be an image. What is behind the name, only a registry knows.
fn is_image(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@+".contains(c))
}

fn is_url(text: &str) -> bool {
    let Some((host, port)) = text.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')) else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "._-[]:".contains(c);
    !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A private key would otherwise be one wrong variable away from a `ConfigMap`.
fn certificates_problem(pem: &str) -> Option<SettingsError> {
    let mut blocks = pem.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")).peekable();
    if blocks.peek().is_none() || !pem.contains("-----END CERTIFICATE-----") {
        return Some(SettingsError::NoCertificate);
    }
    blocks.any(|label| label != "CERTIFICATE-----").then_some(SettingsError::NotOnlyCertificates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    const URL: &str = "https://millstream.millstream-system.svc:8443";

    #[test]
    fn settings_that_can_be_used_are_taken() {
        for image in ["millstream", "millstream:0.1.0", "registry.example.com:5000/team/millstream@sha256:ab"] {
            for url in [URL, "https://10.0.0.1:1", "https://[::1]:8443"] {
                assert!(WorkerSettings::new(image, PullPolicy::Never, url, CA).is_ok(), "{image} {url}");
            }
        }
        let settings = WorkerSettings::new("millstream:1", PullPolicy::Never, URL, CA).unwrap();
        assert_eq!(settings.operator_ca(), format!("{CA}\n"));
        assert_eq!(settings.clone().with_log(Some(String::new())), settings);
        assert_eq!(settings.with_log(Some("debug".into())).log(), Some("debug"));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let found = WorkerSettings::new("", PullPolicy::Always, "http://operator", "").unwrap_err();
        let [image, url, ca] = found.iter().collect::<Vec<_>>()[..] else { unreachable!("{found}") };
        assert_eq!(*image, SettingsError::Image { text: String::new() });
        assert_eq!(*url, SettingsError::Url { text: "http://operator".into() });
        assert_eq!(*ca, SettingsError::NoCertificate);
    }

    #[test]
    fn urls_have_a_host_and_a_port_and_no_more() {
        for url in ["", "https://", "https://host", "https://host:", "https://host:0", "https://:8443", "https://h:1/x"]
        {
            let found = WorkerSettings::new("millstream", PullPolicy::Always, url, CA).unwrap_err();
            assert!(found.to_string().contains("https://HOST:PORT"), "{url}: {found}");
        }
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let found = WorkerSettings::new("millstream", PullPolicy::Always, URL, &format!("{CA}\n{KEY}")).unwrap_err();
        assert_eq!(found, Problems::from(SettingsError::NotOnlyCertificates));
        assert!(!format!("{found} {found:?}").contains("c2VjcmV0"));
        let found = WorkerSettings::new("millstream", PullPolicy::Always, URL, KEY).unwrap_err();
        assert_eq!(found, Problems::from(SettingsError::NoCertificate));
    }

    #[test]
    fn pull_policies_are_kubernetes_words() {
        for word in ["Always", "IfNotPresent", "Never"] {
            assert_eq!(word.parse::<PullPolicy>().unwrap().to_string(), word);
        }
        let problem = "always".parse::<PullPolicy>().unwrap_err().to_string();
        assert!(problem.contains("write Always, IfNotPresent or Never"), "{problem}");
    }
}
