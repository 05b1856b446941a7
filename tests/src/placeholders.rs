//! What differs from run to run in the texts of a live system, replaced: names of pods, uids, addresses, times.

/// What is replaced in texts about a pipeline.
#[derive(Clone, Debug)]
pub struct Placeholders {
    pipeline: String,
    known: Vec<(String, String)>,
}

/// Between which texts something stands that grows with time or depends on the machine, and what takes its place.
const BETWEEN: &[(&str, &str, &str)] = &[
    ("back-off ", " restarting", "<time>"),
    ("(after ", " in state ", "<time>"),
    ("process ended ", " times", "<count>"),
    ("rests for ", " s after", "<count>"),
    // The limit of processor time or the one of real time, whichever was hit first.
    ("to an end with this manifest: ", "; make it smaller", "<what happened>"),
];
/// The longest of these.
const LONGEST: usize = 100;
/// How librdkafka counts errors that it did not tell, behind a comma.
const SUPPRESSED: &str = " identical error(s) suppressed";
/// The lengths of the parts of a uid.
const UID: [usize; 5] = [8, 4, 4, 4, 12];

impl Placeholders {
    /// For texts about this pipeline.
    pub fn of(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), known: Vec::new() }
    }

    /// Replaces a text that is known, such as an address, by `<name>`.
    #[must_use]
    pub fn known(mut self, text: &str, name: &str) -> Self {
        self.known.push((text.to_owned(), format!("<{name}>")));
        self
    }

    /// The text with placeholders.
    pub fn put_into(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (known, placeholder) in &self.known {
            text = text.replace(known, placeholder);
        }
        text = without_suppressed(&text);
        for (before, after, placeholder) in BETWEEN {
            text = between(&text, before, after, placeholder);
        }
        uids(&self.pods(&text))
    }

    /// Pods are called `<pipeline>-<revision>-<hash>-<end>`.
    fn pods(&self, text: &str) -> String {
        let start = format!("{}-", self.pipeline);
        let mut parts = text.split(start.as_str());
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let end = part.find(|c| !inside(c)).unwrap_or(part.len());
            if part[..end].split('-').count() == 3 {
                out.push_str("<pod>");
                out.push_str(&part[end..]);
            } else {
                out.push_str(&start);
                out.push_str(part);
            }
        }
        out
    }
}

/// Replaces what stands between two texts.
fn between(text: &str, before: &str, after: &str, placeholder: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(before);
        match part.find(after).filter(|end| *end <= LONGEST) {
            Some(end) => {
                out.push_str(placeholder);
                out.push_str(&part[end..]);
            }
            None => out.push_str(part),
        }
    }
    out
}

/// Takes `, 12 identical error(s) suppressed` out.
fn without_suppressed(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(SUPPRESSED) {
        let before = &rest[..place];
        out.push_str(&before[..before.rfind(", ").unwrap_or(place)]);
        rest = &rest[place + SUPPRESSED.len()..];
    }
    out + rest
}

/// Replaces uids by `<uid>`.
fn uids(text: &str) -> String {
    let length = UID.iter().sum::<usize>() + UID.len() - 1;
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let uid = rest.get(..length).is_some_and(is_uid);
        out.push_str(if uid { "<uid>" } else { &rest[..first.len_utf8()] });
        rest = &rest[if uid { length } else { first.len_utf8() }..];
    }
    out
}

fn is_uid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let of_length = |(part, length): (&&str, &usize)| part.len() == *length;
    let hexadecimal = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    parts.len() == UID.len() && parts.iter().zip(&UID).all(of_length) && parts.iter().all(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        let placeholders = Placeholders::of("no-memory").known("10.88.0.1:11234", "broker");
        for (text, expected) in [
            (
                "pod no-memory-0123456789-5d9c7b8f6-x2x4z: CrashLoopBackOff: back-off 1m20s restarting failed \
                 container=worker pod=no-memory-0123456789-5d9c7b8f6-x2x4z_visible(7c9e6679-7425-40de-944b-e07fc1f90ae7)",
                "pod <pod>: CrashLoopBackOff: back-off <time> restarting failed \
                 container=worker pod=<pod>_visible(<uid>)",
            ),
            (
                "10.88.0.1:11234/bootstrap: Connect to ipv4#10.88.0.1:11234 failed: Connection refused \
                 (after 0ms in state CONNECT, 29 identical error(s) suppressed); trying again",
                "<broker>/bootstrap: Connect to ipv4#<broker> failed: Connection refused \
                 (after <time> in state CONNECT); trying again",
            ),
            (
                "its worker's process ended 3 times while it was there. It rests for 10 s after that",
                "its worker's process ended <count> times while it was there. It rests for <count> s after that",
            ),
            ("no-memory-in and visible.no-memory.in, back-off", "no-memory-in and visible.no-memory.in, back-off"),
            ("ü7c9e6679-7425-40de-944b-e07fc1f90ae7", "ü<uid>"),
            ("7C9E6679-7425-40de-944b-e07fc1f90ae7", "7C9E6679-7425-40de-944b-e07fc1f90ae7"),
        ] {
            assert_eq!(placeholders.put_into(text), expected);
        }
    }
}
