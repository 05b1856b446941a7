//! Durations as Go writes them: `500ms`, `1m30s`, `1.5h`.
//!
//! The subset of Go's notation that the schema of a Pipeline takes: no sign, and every number has a unit. Bounds are
//! checked with messages that name both.

use std::time::Duration;

/// The longest text that is read.
const LENGTH: usize = 64;

/// Units with their nanoseconds; longer names first, so that `ms` is not read as `m`.
const UNITS: [(&str, u128); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration, or none that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationProblem {
    /// Not in Go's notation.
    #[error("`{0}` is not a duration; write a number with a unit, such as `500ms`, `10s` or `1m30s`")]
    Malformed(String),
    /// A number without a unit.
    #[error("`{0}` has no unit; write for example `{0}s` or `{0}ms`")]
    NoUnit(String),
    /// Below zero.
    #[error("`{0}` is negative")]
    Negative(String),
    /// Outside what the field takes.
    #[error("`{text}` is not between {least} and {most}")]
    OutOfBounds {
        /// The text.
        text: String,
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
}

/// Reads a duration that lies between two bounds, both included.
pub fn parse_between(text: &str, least: Duration, most: Duration) -> Result<Duration, DurationProblem> {
    let duration = parse(text)?;
    if duration < least || duration > most {
        let (least, most) = (format(least), format(most));
        return Err(DurationProblem::OutOfBounds { text: text.to_owned(), least, most });
    }
    Ok(duration)
}

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationProblem> {
    let malformed = || DurationProblem::Malformed(super::names::excerpt(text));
    if text.len() > LENGTH {
        return Err(malformed());
    }
    if text.starts_with('-') {
        return Err(DurationProblem::Negative(text.to_owned()));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DurationProblem::NoUnit(text.to_owned()));
    }
    let (mut nanos, mut rest) = (0_u128, text);
    loop {
        let (part, tail) = component(rest).ok_or_else(malformed)?;
        nanos = nanos.checked_add(part).ok_or_else(malformed)?;
        if tail.is_empty() {
            return u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| malformed());
        }
        rest = tail;
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn component(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = digits(text)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => ("0", rest),
    };
    let (unit, tail) = UNITS.iter().find_map(|(name, nanos)| rest.strip_prefix(name).map(|tail| (*nanos, tail)))?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let scale = 10_u128.checked_pow(fraction.len() as u32)?;
    let fraction = fraction.parse::<u128>().ok()?.checked_mul(unit)? / scale;
    Some((whole.checked_add(fraction)?, tail))
}

/// The digits at the start of a text, at least one, and what follows them.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A duration in Go's notation, without units that are zero.
pub fn format(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanos > 0 {
        return match nanos {
            n if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{}us", n / 1_000),
            n => format!("{n}ns"),
        };
    }
    let mut text = String::new();
    for (unit, amount) in
        [('h', seconds / 3600), ('m', seconds / 60 % 60)].into_iter().filter(|(_, amount)| *amount > 0)
    {
        text.push_str(&amount.to_string());
        text.push(unit);
    }
    let fraction = format!("{nanos:09}");
    let rest = match (seconds % 60, fraction.trim_end_matches('0')) {
        (0, "") if !text.is_empty() => String::new(),
        (rest, "") => format!("{rest}s"),
        (rest, fraction) => format!("{rest}.{fraction}s"),
    };
    text.push_str(&rest);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let cases = [
            ("0s", 0),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2us3ns", 2_003),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let long = "1".repeat(60) + "h";
        for text in [
            "",
            "s",
            "5 s",
            "5x",
            "1m30",
            ".s",
            ".5s",
            "1.s",
            "1..5s",
            "+1s",
            "1µs",
            "five",
            "1h ",
            &long,
            &"1s".repeat(100),
        ] {
            assert!(matches!(parse(text), Err(DurationProblem::Malformed(_))), "{text}: {:?}", parse(text));
        }
        assert_eq!(parse("10"), Err(DurationProblem::NoUnit("10".into())));
        assert_eq!(parse("-1s"), Err(DurationProblem::Negative("-1s".into())));
    }

    #[test]
    fn names_both_bounds() {
        let problem = parse_between("1h", Duration::from_millis(10), Duration::from_mins(5)).unwrap_err();
        assert_eq!(problem.to_string(), "`1h` is not between 10ms and 5m");
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(nanos in 0_u64..10_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn takes_any_text(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
