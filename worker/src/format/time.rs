//! Dates and timestamps in text.
//!
//! A timestamp is an instant with microseconds. Which instant a text means is decided here once, for every format:
//!
//! * A text with an offset means what it says. One without is taken in the zone of the settings (UTC by default). A
//!   local time that clocks skip or repeat when daylight saving begins or ends is resolved as RFC 5545 does it
//!   ("compatible"): the earlier of two, and for a skipped one the time after the gap by as much as it was late.
//! * Digits below a microsecond are cut off. A leap second (`:60`) is the second before it.
//! * Years are 0000 to 9999, four digits: what cannot be written cannot be read either.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

const EPOCH: Date = Date::constant(1970, 1, 1);
const SECONDS_A_DAY: i64 = 86_400;

/// How timestamps stand in text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The notation.
    pub notation: Notation,
    /// The zone of texts that carry none, and in which texts are written.
    pub zone: TimeZone,
}

/// A notation of timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `2026-01-31T12:00:00.5Z`.
    Rfc3339,
    /// Whole seconds since 1970.
    EpochSeconds,
    /// Whole milliseconds since 1970.
    EpochMillis,
    /// Whole microseconds since 1970.
    EpochMicros,
    /// A strftime pattern.
    Pattern(String),
}

impl Default for Timestamps {
    fn default() -> Self {
        Self { notation: Notation::Rfc3339, zone: TimeZone::UTC }
    }
}

impl Timestamps {
    /// Whether a text of this notation is a number.
    pub fn is_number(&self) -> bool {
        self.micros_a_unit().is_some()
    }

    /// Whether texts are as a pattern says, and may have anything in them.
    pub(super) fn is_pattern(&self) -> bool {
        matches!(self.notation, Notation::Pattern(_))
    }

    /// Checks that what the pattern writes can be read, and says why not.
    pub(super) fn check(&self) -> Result<(), String> {
        let Notation::Pattern(pattern) = &self.notation else { return Ok(()) };
        let sample = sample().map_err(|e| e.to_string())?;
        let text = strtime::format(pattern, &sample).map_err(|e| format!("invalid pattern {pattern:?}: {e}"))?;
        let read = BrokenDownTime::parse(pattern, &text)
            .and_then(|parts| self.instant(&parts))
            .map_err(|e| format!("what the pattern {pattern:?} writes, such as {text:?}, cannot be read: {e}"))?;
        if sample.timestamp().duration_since(read).abs().as_secs() > 2 * SECONDS_A_DAY {
            return Err(format!("the pattern {pattern:?} lacks a part of the date: {text:?} was read as {read}"));
        }
        Ok(())
    }

    /// Microseconds since 1970, or None if the text is not of the notation.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        match &self.notation {
            Notation::Rfc3339 => parse_rfc3339(text, &self.zone),
            Notation::Pattern(pattern) => {
                let parts = BrokenDownTime::parse(pattern, text).ok()?;
                in_years(self.instant(&parts).ok()?.as_microsecond())
            }
            _ => in_years(text.parse::<i64>().ok()?.checked_mul(self.micros_a_unit()?)?),
        }
    }

    /// Appends the text of an instant; false, and nothing appended, if the notation has none for it.
    pub(super) fn write(&self, micros: i64, out: &mut Vec<u8>) -> bool {
        let Some(micros) = in_years(micros) else { return false };
        if let Some(unit) = self.micros_a_unit() {
            out.extend_from_slice(itoa::Buffer::new().format(micros.div_euclid(unit)).as_bytes());
            return true;
        }
        let Ok(instant) = Timestamp::from_microsecond(micros) else { return false };
        if let Notation::Pattern(pattern) = &self.notation {
            return write_pattern(pattern, &instant.to_zoned(self.zone.clone()), out);
        }
        let offset = self.zone.to_offset(instant);
        // Offsets of the time before zones were invented have seconds, for which RFC 3339 has no notation.
        let offset = if offset.seconds() % 60 == 0 { offset } else { Offset::UTC };
        let local = offset.to_datetime(instant);
        if !(0..=9999).contains(&local.year()) {
            return false;
        }
        write_rfc3339(local, offset, out);
        true
    }

    /// What a text of this notation looks like, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.notation {
            Notation::Rfc3339 => "timestamps are like 2026-01-31T12:00:00Z".into(),
            Notation::EpochSeconds => "timestamps are whole seconds since 1970".into(),
            Notation::EpochMillis => "timestamps are whole milliseconds since 1970".into(),
            Notation::EpochMicros => "timestamps are whole microseconds since 1970".into(),
            Notation::Pattern(pattern) => format!("timestamps are like {pattern:?}"),
        }
    }

    fn micros_a_unit(&self) -> Option<i64> {
        match self.notation {
            Notation::EpochSeconds => Some(1_000_000),
            Notation::EpochMillis => Some(1_000),
            Notation::EpochMicros => Some(1),
            Notation::Rfc3339 | Notation::Pattern(_) => None,
        }
    }

    /// The instant that the parts of a pattern mean: an epoch, an offset or a zone among them counts before ours.
    fn instant(&self, parts: &BrokenDownTime) -> Result<Timestamp, jiff::Error> {
        if parts.timestamp().is_some() || parts.offset().is_some() {
            return parts.to_timestamp();
        }
        if parts.iana_time_zone().is_some() {
            return Ok(parts.to_zoned()?.timestamp());
        }
        self.zone.to_timestamp(parts.to_datetime()?)
    }
}

/// A time whose parts are all different, on which patterns are tried.
fn sample() -> Result<Zoned, jiff::Error> {
    jiff::civil::date(2023, 11, 24).at(17, 35, 48, 123_456_000).to_zoned(TimeZone::UTC)
}

/// Only instants of the years 0000 to 9999, in any zone.
fn in_years(micros: i64) -> Option<i64> {
    const FIRST: i64 = -62_167_219_200_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    (FIRST..=LAST).contains(&micros).then_some(micros)
}

fn write_pattern(pattern: &str, zoned: &Zoned, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let parts = BrokenDownTime::from(zoned);
    let written = parts.format(pattern, jiff::fmt::StdIoWrite(&mut *out)).is_ok();
    if !written {
        out.truncate(start);
    }
    written
}

/// RFC 3339 by its fixed places. A space may stand for the `T`, and the offset may be missing.
fn parse_rfc3339(text: &str, zone: &TimeZone) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let date = parse_date_parts(date)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let second = two(s1, s2)?;
    let time = Time::new(two(h1, h2)?, two(m1, m2)?, if second == 60 { 59 } else { second }, 0).ok()?;
    let (micros, rest) = parse_fraction(rest)?;
    let local = DateTime::from_parts(date, time);
    let instant = match rest {
        b"Z" | b"z" => Offset::UTC.to_timestamp(local).ok()?,
        b"" => zone.to_timestamp(local).ok()?,
        _ => parse_offset(rest)?.to_timestamp(local).ok()?,
    };
    in_years(instant.as_microsecond() + micros)
}

/// `.5` and so on: microseconds, and what follows.
fn parse_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else { return Some((0, rest)) };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let kept = &digits[..len.min(6)];
    let value = kept.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value * 10_i64.pow(6 - kept.len() as u32), &digits[len..]))
}

/// `+01:00`.
fn parse_offset(text: &[u8]) -> Option<Offset> {
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *text else { return None };
    let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| ((tens - b'0') * 10 + (ones - b'0')) as i8)
}

fn write_rfc3339(local: DateTime, offset: Offset, out: &mut Vec<u8>) {
    write_date_parts(local.date(), out);
    out.push(b'T');
    push_two(local.hour(), out);
    out.push(b':');
    push_two(local.minute(), out);
    out.push(b':');
    push_two(local.second(), out);
    write_fraction(local.subsec_nanosecond() / 1000, out);
    if offset.is_zero() {
        out.push(b'Z');
        return;
    }
    let seconds = offset.seconds();
    out.push(if seconds < 0 { b'-' } else { b'+' });
    push_two((seconds.abs() / 3600) as i8, out);
    out.push(b':');
    push_two((seconds.abs() / 60 % 60) as i8, out);
}

/// Microseconds without the zeros at their end, and nothing for none.
fn write_fraction(micros: i32, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 100_000;
    let mut rest = micros;
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}

fn push_two(value: i8, out: &mut Vec<u8>) {
    out.push(b'0' + value.unsigned_abs() / 10);
    out.push(b'0' + value.unsigned_abs() % 10);
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    Some(days(parse_date_parts(text.as_bytes())?))
}

fn parse_date_parts(text: &[u8]) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
    Date::new(year, two(m1, m2)?, two(d1, d2)?).ok()
}

fn days(date: Date) -> i32 {
    (date.duration_since(EPOCH).as_secs() / SECONDS_A_DAY) as i32
}

/// Appends `YYYY-MM-DD`; false, and nothing appended, for a year that four digits do not hold.
pub(super) fn write_date(days: i32, out: &mut Vec<u8>) -> bool {
    let seconds = i64::from(days) * SECONDS_A_DAY;
    if in_years(seconds.saturating_mul(1_000_000)).is_none() {
        return false;
    }
    let Ok(instant) = Timestamp::from_second(seconds) else { return false };
    write_date_parts(Offset::UTC.to_datetime(instant).date(), out);
    true
}

fn write_date_parts(date: Date, out: &mut Vec<u8>) {
    let year = date.year();
    push_two((year / 100) as i8, out);
    push_two((year % 100) as i8, out);
    out.push(b'-');
    push_two(date.month(), out);
    out.push(b'-');
    push_two(date.day(), out);
}
