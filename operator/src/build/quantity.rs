//! Amounts as Kubernetes writes them: `100m`, `1.5`, `512Mi`, `1e3`.
//!
//! Only what comparing needs: whether a text is an amount, and which of two is greater. Exact, in billionths, as the
//! API server counts them; negative amounts are none.

/// What suffixes multiply by, in billionths.
const SUFFIXES: [(&str, u128); 16] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", BILLION),
    ("k", 1_000 * BILLION),
    ("M", 1_000_000 * BILLION),
    ("G", BILLION * BILLION),
    ("T", 1_000 * BILLION * BILLION),
    ("P", 1_000_000 * BILLION * BILLION),
    ("E", BILLION * BILLION * BILLION),
    ("Ki", BILLION << 10),
    ("Mi", BILLION << 20),
    ("Gi", BILLION << 30),
    ("Ti", BILLION << 40),
    ("Pi", BILLION << 50),
    ("Ei", BILLION << 60),
];
const BILLION: u128 = 1_000_000_000;
/// The greatest amount that Kubernetes knows; it cuts greater ones.
const GREATEST: u128 = i64::MAX as u128 * BILLION;

/// An amount in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(u128);

/// Reads an amount; none if the text is none, negative, or greater than what Kubernetes knows.
pub(super) fn parse(text: &str) -> Option<Amount> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unit = unit(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = digits(whole)?.checked_mul(unit)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = digits(fraction)?.checked_mul(unit)?.div_ceil(scale);
    let amount = whole.checked_add(fraction)?;
    (amount <= GREATEST).then_some(Amount(amount))
}

/// What the suffix multiplies by: a unit, or a power of ten.
fn unit(suffix: &str) -> Option<u128> {
    if let Some((_, unit)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some(*unit);
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    10_u128.checked_pow(u32::try_from(exponent.checked_add(9)?).ok()?)
}

fn digits(text: &str) -> Option<u128> {
    if text.is_empty() { Some(0) } else { text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())? }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_across_units() {
        let ascending =
            ["0", "1n", "0.1", "101m", "1", "1.5", "2000m", "1e3", "1Ki", "1025", "1M", "1Mi", "1.5Gi", "2E"];
        for pair in ascending.windows(2) {
            assert!(parse(pair[0]).is_some() && parse(pair[0]) < parse(pair[1]), "{pair:?}");
        }
        for (one, other) in [("1", "1000m"), ("1024", "1Ki"), ("1e3", "1k"), (".5", "500m"), ("1.", "1"), ("+1", "1")] {
            assert_eq!(parse(one), parse(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        let texts = ". -1 1.2.3 Mi 1mi 1MB 1e 1e99 1e2147483647 10E 1Ki2 9999999999999999999999";
        for text in texts.split(' ').chain(["", "1 Mi"]) {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
