//! Names that are derived from a Pipeline's.
//!
//! A Pipeline's name may be as long as a DNS label. A derived name that would be too long is cut and gets a hash of the
//! whole, so that two Pipelines never share one. What a name was derived to is what later releases must find again:
//! nothing here may change.

use sha2::{Digest, Sha256};

use super::revision::{self, Revision};

/// The longest name of a Service, which is a DNS label.
const SERVICE_LENGTH: usize = 63;
/// The longest name of a Deployment that still stands unbroken in its pods' names: Kubernetes keeps 58 characters of
/// `<deployment>-<hash>-`, and puts a random end behind them.
const DEPLOYMENT_LENGTH: usize = 57;
/// The longest name of anything else: a DNS subdomain.
const SUBDOMAIN_LENGTH: usize = 253;
/// The digits of the hash in a name that was cut.
const HASH_DIGITS: usize = 8;

/// The Deployment and the `ConfigMap` of a revision.
pub fn of_revision(pipeline: &str, revision: &Revision) -> String {
    derived(pipeline, revision.as_str(), DEPLOYMENT_LENGTH)
}

/// The `ServiceAccount` of the workers, its Role and its `RoleBinding`.
pub fn worker(pipeline: &str) -> String {
    derived(pipeline, "worker", SUBDOMAIN_LENGTH)
}

/// The Service of the workers' metrics. Names of Services, unlike those of Pipelines, begin with a letter.
pub fn metrics(pipeline: &str) -> String {
    const SUFFIX: &str = "metrics";
    if pipeline.starts_with(|c: char| c.is_ascii_digit()) {
        return hashed(&format!("p-{pipeline}"), pipeline, SUFFIX, SERVICE_LENGTH);
    }
    derived(pipeline, SUFFIX, SERVICE_LENGTH)
}

/// The `PipelineAssignment`.
pub fn assignment(pipeline: &str) -> String {
    pipeline.to_owned()
}

/// The `PodDisruptionBudget`.
pub fn disruption_budget(pipeline: &str) -> String {
    pipeline.to_owned()
}

/// `<base>-<suffix>`, within a length.
fn derived(base: &str, suffix: &str, length: usize) -> String {
    let whole = format!("{base}-{suffix}");
    if whole.len() <= length { whole } else { hashed(base, base, suffix, length) }
}

/// `<beginning of readable>-<hash of identity>-<suffix>`, within a length.
fn hashed(readable: &str, identity: &str, suffix: &str, length: usize) -> String {
    let hash = &revision::hexadecimal(&Sha256::digest(identity))[..HASH_DIGITS];
    let room = length.saturating_sub(hash.len() + suffix.len() + 2);
    let beginning: String = readable.chars().take(room).collect();
    format!("{}-{hash}-{suffix}", beginning.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::super::syntax;
    use super::*;

    fn revision() -> Revision {
        Revision::of(b"any")
    }

    #[test]
    fn names_are_derived_as_ever() {
        let long = format!("{}-{}", "a".repeat(40), "b".repeat(22));
        let revision = revision();
        let cases = [
            (of_revision("sensors", &revision), "sensors-d6a7cd2a73"),
            (of_revision(&"a".repeat(46), &revision), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-d6a7cd2a73"),
            (of_revision(&long, &revision), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b80faf54-d6a7cd2a73"),
            (worker("sensors"), "sensors-worker"),
            (metrics("sensors"), "sensors-metrics"),
            (metrics(&"a".repeat(55)), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-metrics"),
            (metrics(&long), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbb-b80faf54-metrics"),
            (metrics("2nd"), "p-2nd-c21365c7-metrics"),
            (assignment("sensors"), "sensors"),
            (disruption_budget("sensors"), "sensors"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_name_is_one_that_kubernetes_takes() {
        for length in 1..=63 {
            for name in ["a".repeat(length), "1".repeat(length), format!("a{}b", "-".repeat(length.max(3) - 2))] {
                assert!(syntax::is_dns_label(&name));
                let (deployment, service) = (of_revision(&name, &revision()), metrics(&name));
                assert!(syntax::is_dns_label(&deployment) && deployment.len() <= DEPLOYMENT_LENGTH, "{deployment}");
                assert!(syntax::is_dns_label(&service) && service.as_bytes()[0].is_ascii_lowercase(), "{service}");
                assert!(syntax::is_subdomain(&worker(&name)));
            }
        }
    }

    #[test]
    fn names_that_differ_after_the_cut_stay_different() {
        let (one, other) = (format!("{}x", "a".repeat(62)), format!("{}y", "a".repeat(62)));
        assert_ne!(of_revision(&one, &revision()), of_revision(&other, &revision()));
        assert_ne!(metrics(&one), metrics(&other));
        assert_ne!(metrics("1st"), metrics("p-1st"));
    }
}
