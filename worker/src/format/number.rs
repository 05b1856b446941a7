//! Numbers from text and to text, exactly.
//!
//! A number that does not fit its type is refused, never rounded, wrapped or turned into an infinity. Only the nearest
//! double (or float) of a decimal text is taken, as that is what these types mean.

use std::num::IntErrorKind;
use std::str::FromStr;

/// Why a text is no number of a type; empty where there is nothing to add to "expected int, found x".
pub(super) type Why = String;

/// A whole number in plain notation: `1.0` and `1e3` are none.
pub(super) fn integer<T: FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, Why> {
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "out of range".into(),
        _ => Why::new(),
    })
}

/// The nearest double, if it is finite.
pub(super) fn double(text: &str) -> Result<f64, Why> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(not_finite(text)),
        Err(_) => Err(Why::new()),
    }
}

/// The nearest float, if it is finite.
pub(super) fn float(text: &str) -> Result<f32, Why> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(not_finite(text)),
        Err(_) => Err(Why::new()),
    }
}

fn not_finite(text: &str) -> Why {
    if text.bytes().any(|b| b.is_ascii_digit()) { "out of range".into() } else { "only finite numbers are read".into() }
}

/// A decimal with exactly the text's value, as a multiple of 10^-scale.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Why> {
    let Some(parts) = Parts::of(text) else { return Err(Why::new()) };
    let Some((first, last)) = parts.significant() else { return Ok(0) };
    let (precision, scale) = (i64::from(precision), i64::from(scale));
    // The powers of ten of the first and last digits that are not zero.
    let point = parts.whole.len() as i64 - 1 + parts.exponent;
    let (high, low) = (point.saturating_sub(first as i64), point.saturating_sub(last as i64));
    if high >= precision - scale {
        return Err(format!("more than {} digits before the point", precision - scale));
    }
    if low < -scale {
        return Err(format!("more than {scale} digits after the point"));
    }
    // Now there are at most `precision`, that is 38, digits, which an i128 holds.
    let digits = (first..=last).fold(0_i128, |value, place| value * 10 + i128::from(parts.digit(place)));
    let value = digits * 10_i128.pow((low + scale) as u32);
    Ok(if parts.negative { -value } else { value })
}

/// The parts of `-12.5e3`.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (negative, text) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(place) => (&text[..place], exponent(&text[place + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
            Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
            None => (mantissa, &[][..]),
        };
        let digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        (digits && whole.len() + fraction.len() > 0).then_some(Self { negative, whole, fraction, exponent })
    }

    fn digit(&self, place: usize) -> u8 {
        let digit = if place < self.whole.len() { self.whole[place] } else { self.fraction[place - self.whole.len()] };
        digit - b'0'
    }

    /// The places of the first and the last digit that are not zero; None for zero.
    fn significant(&self) -> Option<(usize, usize)> {
        let len = self.whole.len() + self.fraction.len();
        let first = (0..len).find(|place| self.digit(*place) != 0)?;
        let last = (first..len).rev().find(|place| self.digit(*place) != 0)?;
        Some((first, last))
    }
}

/// An exponent; one beyond every decimal is as good as any other of its sign.
fn exponent(text: &[u8]) -> Option<i64> {
    const BEYOND: i64 = 1 << 40;
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] | rest => (1, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(BEYOND));
    Some(sign * value)
}

/// Appends a decimal with all digits of its scale.
pub(super) fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let scale = usize::from(scale.unsigned_abs());
    if scale == 0 {
        out.extend_from_slice(digits);
        return;
    }
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
    out.push(b'.');
    out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
    out.extend_from_slice(&digits[whole..]);
}

/// Appends a whole number.
pub(super) fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the shortest text that is read as the same float; false, and nothing appended, if it is not finite.
pub(super) fn write_float<T: zmij::Float + Into<f64> + Copy>(value: T, out: &mut Vec<u8>) -> bool {
    let finite = value.into().is_finite();
    if finite {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
    finite
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let read = |text: &str| decimal(text, 5, 2);
        for (text, expected) in [
            ("0", 0),
            ("-0.00", 0),
            ("0e999999999999999999999", 0),
            ("1", 100),
            ("1.5", 150),
            ("+1.5", 150),
            ("-1.25", -125),
            ("001.2500000000000000000000000000000000000000000000000000", 125),
            ("999.99", 99_999),
            ("1e2", 10_000),
            ("1.25E+1", 1250),
            ("125e-2", 125),
            (".5", 50),
            ("5.", 500),
            ("0.000000000000000000000000000000000000000000000000000000000000000001e66", 100),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["1000", "999.991e1", "1e3", "1e99999999999999999999", "123456789012345678901234567890123456789012"]
        {
            assert_eq!(read(text), Err("more than 3 digits before the point".into()), "{text}");
        }
        for text in ["1.001", "1e-3", "999.991", "1e-99999999999999999999"] {
            assert_eq!(read(text), Err("more than 2 digits after the point".into()), "{text}");
        }
        for text in
            ["", "-", ".", "e5", "1e", "1e+", "1.2.3", "abc", "1 ", " 1", "0x1", "1_0", "--1", "NaN", "Infinity", "١"]
        {
            assert_eq!(read(text), Err(String::new()), "{text}");
        }
        let largest = "99999999999999999999999999999999999999";
        assert_eq!(decimal(largest, 38, 0), Ok(largest.parse().unwrap()));
        assert_eq!(decimal(&format!("-0.{largest}"), 38, 38), Ok(-largest.parse::<i128>().unwrap()));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(integer::<i32>("2147483647"), Ok(i32::MAX));
        assert_eq!(integer::<i32>("-2147483648"), Ok(i32::MIN));
        assert_eq!(integer::<i32>("2147483648"), Err("out of range".into()));
        assert_eq!(integer::<i64>("9223372036854775808"), Err("out of range".into()));
        assert_eq!(integer::<i64>("1.0"), Err(String::new()));
        assert_eq!(double("1e308"), Ok(1e308));
        assert_eq!(double("1e400"), Err("out of range".into()));
        assert_eq!(double("-1e-400"), Ok(-0.0));
        assert_eq!(float("1e39"), Err("out of range".into()));
        assert_eq!(double("NaN"), Err("only finite numbers are read".into()));
        assert_eq!(float("-inf"), Err("only finite numbers are read".into()));
        assert_eq!(double("1,5"), Err(String::new()));
    }

    #[test]
    fn decimals_are_written_with_their_scale() {
        for (value, scale, expected) in [
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (-1234, 2, "-12.34"),
            (7, 0, "7"),
            (1, 38, &format!("0.{}1", "0".repeat(37))),
        ] {
            let mut out = Vec::new();
            write_decimal(value, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in -99_999_999_999_999_999_999_999_999_999_999_999_999_i128..=99_999_999_999_999_999_999_999_999_999_999_999_999, scale in 0_i8..=38, double_bits: u64, float_bits: u32) {
            let mut out = Vec::new();
            write_decimal(value, scale, &mut out);
            prop_assert_eq!(decimal(std::str::from_utf8(&out).unwrap(), 38, scale), Ok(value));
            let value = f64::from_bits(double_bits);
            out.clear();
            if write_float(value, &mut out) {
                prop_assert_eq!(double(std::str::from_utf8(&out).unwrap()).unwrap().to_bits(), double_bits);
            } else {
                prop_assert!(!value.is_finite());
            }
            let value = f32::from_bits(float_bits);
            out.clear();
            if write_float(value, &mut out) {
                prop_assert_eq!(float(std::str::from_utf8(&out).unwrap()).unwrap().to_bits(), float_bits);
            }
        }
    }
}
