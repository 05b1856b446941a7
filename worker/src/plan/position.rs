//! From a place inside a text value to its place in the file.
//!
//! SQL problems name a line and a column of the SQL text; YAML may have unescaped, unfolded and dedented that text.
//! Both run through the same characters in the same order apart from white space and escapes, so the value is followed
//! along the file's bytes until the wanted character is reached. Where that fails, the answer is the value's beginning.

use std::ops::Range;

use super::diagnostic::Place;

/// The lines of a file, by where they begin.
#[derive(Clone, Debug)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Finds the lines of a text; `\n`, `\r\n` and a lone `\r` end one, as in YAML.
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = |i: usize| bytes[i] == b'\n' || (bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
        let starts = std::iter::once(0).chain((0..bytes.len()).filter(|i| ends(*i)).map(|i| i + 1)).collect();
        Self { starts }
    }

    /// A line, from 1, without its end.
    pub fn line<'a>(&self, text: &'a str, number: u32) -> Option<&'a str> {
        let index = (number as usize).checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(text.len());
        text.get(start..end).map(|line| line.trim_end_matches(['\n', '\r']))
    }

    /// The place of a byte.
    pub fn place(&self, text: &str, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let column = text.get(self.starts[line - 1]..byte).map_or(0, |before| before.chars().count());
        Place { line: line as u32, column: column as u32 + 1 }
    }
}

/// The byte of `file` at which character (line, column) of `value` stands; both count from 1.
///
/// `source` is where the scalar with that value was read from.
pub fn byte_of(file: &str, source: &Range<usize>, value: &str, (line, column): (u32, u32)) -> Option<usize> {
    let wanted = index_of(value, line, column)?;
    let raw = file.get(source.clone())?;
    let style = raw.chars().next()?;
    let body = match style {
        '|' | '>' => raw.find('\n')? + 1,
        '"' | '\'' => 1,
        _ => 0,
    };
    let mut walk = Walk { raw: raw.get(body..)?, at: 0, style };
    for c in value.chars().take(wanted).filter(|c| !c.is_whitespace()) {
        walk.pass(c)?;
    }
    walk.skip_space();
    Some(source.start + body + walk.at)
}

/// The number of characters before (line, column).
fn index_of(value: &str, line: u32, column: u32) -> Option<usize> {
    let (line, column) = (line.checked_sub(1)? as usize, column.checked_sub(1)? as usize);
    let before: usize = value.split('\n').take(line).map(|line| line.chars().count() + 1).sum();
    (value.split('\n').count() > line).then_some(before + column)
}

struct Walk<'a> {
    raw: &'a str,
    at: usize,
    style: char,
}

impl Walk<'_> {
    /// Goes behind the next character of the value, which is not white space.
    fn pass(&mut self, c: char) -> Option<()> {
        self.skip_space();
        let rest = self.raw.get(self.at..)?;
        let found = rest.chars().next()?;
        self.at += match (self.style, found) {
            ('"', '\\') => escape_length(rest),
            ('\'', '\'') => 2,
            _ if found == c => found.len_utf8(),
            _ => return None,
        };
        Some(())
    }

    /// Goes to what may be the next character that is not white space.
    fn skip_space(&mut self) {
        while let Some(rest) = self.raw.get(self.at..) {
            let blank = rest.chars().next().filter(|c| c.is_whitespace()).map(char::len_utf8);
            match blank.or_else(|| (self.style == '"').then(|| escaped_space(rest)).flatten()) {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }
}

/// The length of an escape that stands for white space.
fn escaped_space(rest: &str) -> Option<usize> {
    let mut chars = rest.chars();
    let escaped = chars.next().filter(|c| *c == '\\').and_then(|_| chars.next())?;
    matches!(escaped, 'n' | 't' | 'r' | ' ' | '\n' | '\r' | 'v' | 'f').then_some(2)
}

/// The length of an escape sequence of double quotes.
fn escape_length(rest: &str) -> usize {
    match rest.chars().nth(1) {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(c) => 1 + c.len_utf8(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::plan::yaml;

    /// Where the character `X` of the only value's text is in the file.
    fn found(file: &str) -> Place {
        let documents = yaml::parse(file).unwrap();
        let scalar = documents[0].get("sql").unwrap().scalar().unwrap().clone();
        let before: Vec<&str> = scalar.text.split('X').next().unwrap().split('\n').collect();
        let at = (before.len() as u32, before[before.len() - 1].chars().count() as u32 + 1);
        let byte = byte_of(file, &scalar.source, &scalar.text, at).unwrap();
        Lines::new(file).place(file, byte)
    }

    #[test]
    fn finds_the_place_in_every_style() {
        let cases = [
            "sql: a + X",
            "sql: \"a + X\"",
            "sql: 'a + X'",
            "sql: 'it''s ''a'' X'",
            "sql: \"\\\"a\\\" \\x41 \\n X\"",
            "sql: |\n  SELECT a\n  FROM X",
            "sql: |2\n    SELECT a\n  FROM X",
            "sql: >-\n  SELECT a,\n    b\n\n  FROM X\n  WHERE c",
            "# é\nsql: a\n  é b X",
            "sql: &anchor >\n  SELECT a\n  FROM X",
            "sql: | # note\n\n\n  SELECT X",
            "a: 1\r\nsql: |\r\n  SELECT\r\n  X\r\n",
        ];
        for file in cases {
            let byte = file.find('X').unwrap();
            assert_eq!(found(file), Lines::new(file).place(file, byte), "{file}");
        }
    }

    #[test]
    fn gives_up_where_there_is_no_such_place() {
        assert_eq!(byte_of("sql: abc", &(5..8), "abc", (7, 1)), None);
        assert_eq!(byte_of("sql: abc", &(5..8), "abc", (0, 1)), None);
        assert_eq!(byte_of("sql: abc", &(5..80), "abc", (1, 2)), None);
    }

    #[test]
    fn counts_lines_as_yaml_does() {
        let text = "a\nb\r\nc\rd";
        let lines = Lines::new(text);
        let all: Vec<_> = (0..6).map(|number| lines.line(text, number)).collect();
        assert_eq!(all, [None, Some("a"), Some("b"), Some("c"), Some("d"), None]);
        assert_eq!(lines.place(text, 5), Place { line: 3, column: 1 });
    }

    proptest! {
        #[test]
        fn takes_any_place(value in ".{0,40}", line in 0_u32..4, column in 0_u32..50, start in 0_usize..10, length in 0_usize..60) {
            let file = format!("sql: \"{value}\"");
            let _ = byte_of(&file, &(start..start + length), &value, (line, column));
        }
    }
}
