//! What came out against what was expected, as a text that shows both where they differ.

use std::fmt::Write;

use serde_json::Value;

use super::document::{ExpectedDeadLetter, ExpectedRecord, ExpectedValue, Header, PipelineTest};
use super::execute::{Outcome, Produced, Refused};
use crate::cli::terminal::{Style, count};
use crate::plan::CompiledPipeline;

/// Above this many pairs, records are compared place by place: the best alignment would take too long.
const MAX_PAIRS: usize = 4_000_000;
/// How many equal records are shown around a difference.
const CONTEXT: usize = 2;

/// The differences as text; None if there are none.
pub(super) fn differences(
    test: &PipelineTest,
    pipeline: &CompiledPipeline,
    outcome: &Outcome,
    style: Style,
) -> Option<String> {
    let mut text = String::new();
    for (sink, found) in pipeline.sinks.iter().zip(&outcome.sinks) {
        let expected = test.sinks.iter().find(|expected| *expected.sink == *sink.name);
        let expected = expected.map_or(&[] as &[_], |expected| &expected.records);
        let shown = Shown::of(expected);
        let lines = Lines {
            expected: expected.iter().map(describe_expected).collect(),
            found: found.iter().map(|record| shown.describe(record)).collect(),
        };
        let steps = align(expected.len(), found.len(), |e, f| matches(&expected[e], &found[f]));
        render(&mut text, &format!("sink {}", sink.name), &lines, &steps, style);
    }
    let (expected, found) = (&test.dead_letters, &outcome.dead_letters);
    let lines = Lines {
        expected: expected.iter().map(describe_expected_letter).collect(),
        found: found.iter().map(describe_letter).collect(),
    };
    let steps = align(expected.len(), found.len(), |e, f| letter_matches(&expected[e], &found[f]));
    render(&mut text, "dead letters", &lines, &steps, style);
    (!text.is_empty()).then_some(text)
}

fn matches(expected: &ExpectedRecord, found: &Produced) -> bool {
    let value = match &expected.value {
        None => true,
        Some(ExpectedValue::Bytes(bytes)) => bytes.0 == found.value,
        Some(ExpectedValue::Json(json)) => {
            let parsed = found.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
            parsed.is_some_and(|parsed: Value| json_equal(json, &parsed))
        }
    };
    value
        && expected.key.as_ref().is_none_or(|key| key.0 == found.key)
        && expected.headers.as_ref().is_none_or(|headers| *headers == found.headers)
        && expected.timestamp.is_none_or(|timestamp| timestamp.div_euclid(1000) == found.timestamp)
}

/// Equal as JSON; `1`, `1.0` and `1e0` are one number.
fn json_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64() && !(whole(a) && whole(b)),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| json_equal(a, b)))
        }
        _ => a == b,
    }
}

/// Whole numbers of 64 bits are compared exactly, not as doubles.
fn whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64()
}

fn letter_matches(expected: &ExpectedDeadLetter, found: &Refused) -> bool {
    expected.topic.as_deref().is_none_or(|topic| topic == &*found.place.topic)
        && expected.partition.is_none_or(|partition| partition == found.place.partition)
        && expected.offset.is_none_or(|offset| offset == found.offset)
        && expected.value.as_ref().is_none_or(|value| value.0 == found.value)
        && expected.node.as_deref().is_none_or(|node| node == &*found.bad.node)
        && expected.reason.is_none_or(|reason| reason == found.bad.reason)
        && expected.message.as_deref().is_none_or(|part| found.bad.message.contains(part))
}

/// One line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Expected and found.
    Equal(usize),
    /// Expected, not found.
    Missing(usize),
    /// Found, not expected.
    Extra(usize),
}

/// The longest common subsequence as steps; the place is in `found` for equal ones.
fn align(expected: usize, found: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Step> {
    let common = expected.min(found);
    let head = (0..common).take_while(|place| same(*place, *place)).count();
    let tail = (1..=common - head).take_while(|back| same(expected - back, found - back)).count();
    let (rows, columns) = (expected - head - tail, found - head - tail);
    let middle = if rows * columns > MAX_PAIRS {
        by_place(rows, columns, |e, f| same(head + e, head + f))
    } else {
        longest_common(rows, columns, |e, f| same(head + e, head + f))
    };
    let shifted = middle.into_iter().map(|step| match step {
        Step::Equal(place) => Step::Equal(head + place),
        Step::Missing(place) => Step::Missing(head + place),
        Step::Extra(place) => Step::Extra(head + place),
    });
    (0..head).map(Step::Equal).chain(shifted).chain((found - tail..found).map(Step::Equal)).collect()
}

fn by_place(rows: usize, columns: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for place in 0..rows.max(columns) {
        if place < rows && place < columns && same(place, place) {
            steps.push(Step::Equal(place));
            continue;
        }
        steps.extend((place < rows).then_some(Step::Missing(place)));
        steps.extend((place < columns).then_some(Step::Extra(place)));
    }
    steps
}

fn longest_common(rows: usize, columns: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Step> {
    // longest[r][c]: the length for expected from r and found from c.
    let mut longest = vec![vec![0_u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            longest[row][column] = if same(row, column) {
                longest[row + 1][column + 1] + 1
            } else {
                longest[row + 1][column].max(longest[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut steps) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && same(row, column) {
            steps.push(Step::Equal(column));
            (row, column) = (row + 1, column + 1);
        } else if row < rows && (column == columns || longest[row + 1][column] >= longest[row][column + 1]) {
            steps.push(Step::Missing(row));
            row += 1;
        } else {
            steps.push(Step::Extra(column));
            column += 1;
        }
    }
    steps
}

struct Lines {
    expected: Vec<String>,
    found: Vec<String>,
}

/// Adds a section with the lines around each difference, if there is any.
fn render(text: &mut String, title: &str, lines: &Lines, steps: &[Step], style: Style) {
    let differs = |step: &Step| !matches!(step, Step::Equal(_));
    if !steps.iter().any(differs) {
        return;
    }
    let (expected, found) = (lines.expected.len(), lines.found.len());
    let heading = style.heading(&format!("{title}:"));
    let _ =
        writeln!(text, "  {heading} {} expected (-), {} found (+)", count(expected, "record"), count(found, "record"));
    let mut hidden = 0;
    for (place, step) in steps.iter().enumerate() {
        let near = &steps[place.saturating_sub(CONTEXT)..(place + CONTEXT + 1).min(steps.len())];
        if !near.iter().any(differs) {
            hidden += 1;
            continue;
        }
        skip(text, &mut hidden, style);
        let line = match *step {
            Step::Equal(found) => format!("      {}", lines.found[found]),
            Step::Missing(expected) => style.removed(&format!("    - {}", lines.expected[expected])),
            Step::Extra(found) => style.good(&format!("    + {}", lines.found[found])),
        };
        let _ = writeln!(text, "{line}");
    }
    skip(text, &mut hidden, style);
}

fn skip(text: &mut String, hidden: &mut usize, style: Style) {
    if *hidden > 0 {
        let _ = writeln!(text, "      {}", style.faint(&format!("… {} equal", count(*hidden, "record"))));
        *hidden = 0;
    }
}

/// Which parts of a record are worth showing: those that any expectation names, and always the value.
#[derive(Clone, Copy)]
struct Shown {
    key: bool,
    headers: bool,
    timestamp: bool,
}

impl Shown {
    fn of(expected: &[ExpectedRecord]) -> Self {
        Self {
            key: expected.is_empty() || expected.iter().any(|record| record.key.is_some()),
            headers: expected.iter().any(|record| record.headers.is_some()),
            timestamp: expected.iter().any(|record| record.timestamp.is_some()),
        }
    }

    fn describe(self, record: &Produced) -> String {
        let mut parts = vec![bytes(record.value.as_deref())];
        parts.extend(self.key.then(|| format!("key={}", bytes(record.key.as_deref()))));
        parts.extend(self.headers.then(|| headers(&record.headers)));
        parts.extend(self.timestamp.then(|| moment(record.timestamp.saturating_mul(1000))));
        parts.join("  ")
    }
}

fn describe_expected(record: &ExpectedRecord) -> String {
    let mut parts = Vec::new();
    match &record.value {
        Some(ExpectedValue::Bytes(value)) => parts.push(bytes(value.0.as_deref())),
        Some(ExpectedValue::Json(json)) => parts.push(json.to_string()),
        None => parts.push("(any value)".into()),
    }
    parts.extend(record.key.as_ref().map(|key| format!("key={}", bytes(key.0.as_deref()))));
    parts.extend(record.headers.as_ref().map(|list| headers(list)));
    parts.extend(record.timestamp.map(moment));
    parts.join("  ")
}

fn describe_expected_letter(letter: &ExpectedDeadLetter) -> String {
    let mut parts = Vec::new();
    parts.extend(letter.topic.as_ref().map(|topic| format!("topic={topic}")));
    parts.extend(letter.partition.map(|partition| format!("partition={partition}")));
    parts.extend(letter.offset.map(|offset| format!("offset={offset}")));
    parts.extend(letter.node.as_ref().map(|node| format!("node={node}")));
    parts.extend(letter.reason.map(|reason| format!("reason={}", reason.as_str())));
    parts.extend(letter.message.as_ref().map(|part| format!("message=…{part}…")));
    parts.extend(letter.value.as_ref().map(|value| format!("value={}", bytes(value.0.as_deref()))));
    if parts.is_empty() { "(any dead letter)".into() } else { parts.join("  ") }
}

fn describe_letter(found: &Refused) -> String {
    let Refused { place, offset, value, bad } = found;
    format!(
        "topic={}  partition={}  offset={offset}  node={}  reason={}  message={}  value={}",
        place.topic,
        place.partition,
        bad.node,
        bad.reason.as_str(),
        bad.message,
        bytes(value.as_deref())
    )
}

fn headers(list: &[Header]) -> String {
    let list: Vec<_> = list.iter().map(|h| format!("{}={}", h.key, bytes(h.value.as_deref()))).collect();
    format!("headers=[{}]", list.join(", "))
}

fn moment(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros);
    format!("timestamp={}", time.map_or_else(|_| micros.to_string(), |time| time.to_string()))
}

/// Bytes for people: text with control characters escaped, others in hexadecimal.
pub(in crate::cli) fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "(null)".into() };
    let Ok(text) = std::str::from_utf8(bytes) else {
        let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        return format!("0x{digits}");
    };
    if text.is_empty() {
        return "\"\"".into();
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(expected: &str, found: &str) -> String {
        let (expected, found): (Vec<_>, Vec<_>) = (expected.chars().collect(), found.chars().collect());
        let steps = align(expected.len(), found.len(), |e, f| expected[e] == found[f]);
        let show = |step: &Step| match *step {
            Step::Equal(place) => format!(" {}", found[place]),
            Step::Missing(place) => format!("-{}", expected[place]),
            Step::Extra(place) => format!("+{}", found[place]),
        };
        steps.iter().map(show).collect()
    }

    #[test]
    fn aligns_what_is_common() {
        for (expected, found, steps_wanted) in [
            ("", "", ""),
            ("abc", "abc", " a b c"),
            ("abc", "", "-a-b-c"),
            ("", "ab", "+a+b"),
            ("abc", "axc", " a-b+x c"),
            ("abcd", "bcd", "-a b c d"),
            ("abcd", "abxcd", " a b+x c d"),
            ("aab", "ab", " a-a b"),
            ("abcdef", "fabcde", "+f a b c d e-f"),
        ] {
            assert_eq!(steps(expected, found), steps_wanted, "{expected} {found}");
        }
    }

    #[test]
    fn long_lists_are_compared_place_by_place() {
        let middle = by_place(3, 2, |e, f| e == 1 && f == 1);
        assert_eq!(middle, [Step::Missing(0), Step::Extra(0), Step::Equal(1), Step::Missing(2)]);
    }

    #[test]
    fn json_is_compared_by_meaning() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        for (a, b, equal) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1.0, 2], "a": 1e0 }"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false),
            ("[1,2]", "[2,1]", false),
            ("9007199254740993", "9007199254740992", false),
            ("0.1", "0.10", true),
            ("1", "\"1\"", false),
        ] {
            assert_eq!(json_equal(&parse(a), &parse(b)), equal, "{a} {b}");
        }
    }

    #[test]
    fn bytes_are_shown_for_people() {
        assert_eq!(bytes(None), "(null)");
        assert_eq!(bytes(Some(b"")), "\"\"");
        assert_eq!(bytes(Some("Grüße\n\u{1b}[31m".as_bytes())), "Grüße\\n\\u{1b}[31m");
        assert_eq!(bytes(Some(&[0xff, 0x00])), "0xff00");
    }
}
