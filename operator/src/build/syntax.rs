//! How Kubernetes spells names, labels and annotations.

/// The longest name of a thing in DNS: a subdomain.
const SUBDOMAIN_LENGTH: usize = 253;
/// The longest DNS label, label value, and name in a key.
const LABEL_LENGTH: usize = 63;

/// Whether a text is a DNS label: lower-case letters, digits, `-`.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= LABEL_LENGTH && is_framed(text, inner, |c| inner(c) || c == b'-')
}

/// Whether a text is a DNS subdomain: labels of any length with dots between them.
pub(super) fn is_subdomain(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= SUBDOMAIN_LENGTH && text.split('.').all(|part| is_framed(part, inner, |c| inner(c) || c == b'-'))
}

/// Whether a text can be the key of a label or an annotation: a name, with a domain before it or without.
pub(super) fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
        None => is_name(text),
    }
}

/// Whether a text can be the value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_name(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric();
    text.len() <= LABEL_LENGTH && is_framed(text, inner, |c| inner(c) || matches!(c, b'-' | b'_' | b'.'))
}

/// Whether a text begins and ends with one kind of characters, and has another kind between.
fn is_framed(text: &str, outer: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    outer(*first) && outer(*last) && bytes.iter().all(|byte| inner(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_kubernetes_wants_them() {
        let long = "a".repeat(64);
        for (text, label, subdomain, key, value) in [
            ("a", true, true, true, true),
            ("a-1", true, true, true, true),
            ("1a", true, true, true, true),
            ("a.b", false, true, true, true),
            ("a..b", false, false, true, true),
            ("A_b", false, false, true, true),
            ("a/b", false, false, true, false),
            ("example.com/a_B.c", false, false, true, false),
            ("Example.com/a", false, false, false, false),
            ("a/b/c", false, false, false, false),
            ("-a", false, false, false, false),
            ("a-", false, false, false, false),
            ("a b", false, false, false, false),
            ("ä", false, false, false, false),
            ("", false, false, false, true),
            (long.as_str(), false, true, false, false),
        ] {
            let found = (is_dns_label(text), is_subdomain(text), is_key(text), is_label_value(text));
            assert_eq!(found, (label, subdomain, key, value), "{text}");
        }
    }
}
