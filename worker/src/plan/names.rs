//! Names: what they may look like, and which one was probably meant.

use std::fmt::Write as _;

/// The most candidates that a message lists in full.
const LISTED: usize = 12;
/// Texts longer than this are not compared: nobody mistypes them, and comparing takes the product of both lengths.
const COMPARED_LENGTH: usize = 64;
/// The longest name of a Kafka topic.
const TOPIC_LENGTH: usize = 249;
/// The longest part of a text that a message repeats.
const QUOTED_LENGTH: usize = 60;

/// The candidate that was probably meant by `name`, if one is near enough.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > COMPARED_LENGTH {
        return None;
    }
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= COMPARED_LENGTH * 4)
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(name).min(allowed(candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// One slip in short names, one for every three characters in longer ones.
fn allowed(name: &str) -> usize {
    match name.chars().count() {
        0..=1 => 0,
        2..=5 => 1,
        length => length / 3,
    }
}

/// What to write instead of `name`: the nearest candidate, or the list of all if there are few.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> Option<String> {
    if let Some(candidate) = closest(name, candidates.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let all: Vec<&str> = candidates.into_iter().collect();
    (!all.is_empty()).then(|| format!("{what}: {}", listed(&all)))
}

/// `a`, `b`, `c`; cut where there are very many.
pub fn listed(names: &[&str]) -> String {
    let mut text = String::new();
    for (place, name) in names.iter().take(LISTED).enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}`{}`", excerpt(name));
    }
    if names.len() > LISTED {
        let _ = write!(text, " and {} more", names.len() - LISTED);
    }
    text
}

/// A text as a message may repeat it: on one line, and cut where it is long.
pub fn excerpt(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= QUOTED_LENGTH {
        return text.chars().map(clean).collect();
    }
    text.chars().take(QUOTED_LENGTH).map(clean).chain(std::iter::once('…')).collect()
}

/// Why Kafka would not take `topic` as a topic's name.
pub fn topic_problem(topic: &str) -> Option<String> {
    let bad = topic.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    match bad {
        _ if topic.is_empty() => Some("a topic's name cannot be empty".into()),
        Some(c) => Some(format!("a topic's name has no `{}`", c.escape_default())),
        None if topic == "." || topic == ".." => Some(format!("Kafka has no topic named `{topic}`")),
        None if topic.len() > TOPIC_LENGTH => {
            Some(format!("a topic's name has at most {TOPIC_LENGTH} characters; this has {}", topic.len()))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let cases = [
            ("tmp", vec!["temp", "time"], Some("temp")),
            ("Temp", vec!["temp"], Some("temp")),
            ("sensorid", vec!["sensor", "sensorId"], Some("sensorId")),
            ("from", vec!["form"], Some("form")),
            ("x", vec!["y"], None),
            ("pressure", vec!["temp"], None),
            ("a", vec!["a"], None),
        ];
        for (name, candidates, expected) in cases {
            assert_eq!(closest(name, candidates.iter().copied()), expected, "{name}");
        }
    }

    #[test]
    fn lists_what_there_is_if_nothing_is_near() {
        assert_eq!(suggestion("tmp", ["temp", "kind"], "columns").as_deref(), Some("did you mean `temp`?"));
        assert_eq!(suggestion("zzz", ["temp", "kind"], "columns").as_deref(), Some("columns: `temp`, `kind`"));
        assert_eq!(suggestion("zzz", [], "columns"), None);
    }

    #[test]
    fn cuts_long_texts() {
        assert_eq!(excerpt("a\nb"), "a b");
        assert_eq!(excerpt(&"x".repeat(100)).chars().count(), 61);
    }

    #[test]
    fn knows_kafkas_topic_names() {
        for good in ["a", "sensor_data", "a.b-c_D9", &"x".repeat(249)] {
            assert_eq!(topic_problem(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(topic_problem(bad).is_some(), "{bad}");
        }
    }
}
