//! The quick way through a record: one walk over its bytes, from which values go straight into their columns.
//!
//! It is for records as programs write them. What is wrong with a record, or only unusual, it does not say: it gives
//! up, and the strict reader in [`read`](super::read) walks the record again and decides. So a walk may refuse what it
//! likes, but must accept nothing that the strict reader refuses, and read nothing differently; properties compare the
//! two.

use std::borrow::Cow;

use super::super::column::Column;
use super::super::members::Members;
use super::super::number;
use super::super::time::{self, Timestamps};

/// Objects and lists within each other that are still walked quickly.
const MAX_DEPTH: usize = 32;

/// A member whose value has parts, or another notation than text, and is left to the strict reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The member's place among the members.
    pub(super) member: usize,
    /// The column of it.
    pub(super) column: usize,
    /// Its text, of right syntax.
    pub(super) raw: &'a str,
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    timestamps: &'a Timestamps,
    refuse_unknown: bool,
    /// By column: behind which place it was given a value last.
    behind: Vec<usize>,
    /// Of the record read last, in its order.
    parts: Vec<Part<'a>>,
}

impl<'a> Walk<'a> {
    /// A walk into so many columns.
    pub(super) fn new(columns: usize, timestamps: &'a Timestamps, refuse_unknown: bool) -> Self {
        Self { timestamps, refuse_unknown, behind: vec![0; columns], parts: Vec::new() }
    }

    /// Appends a record to all columns but those of [`Walk::parts`], as their value at `place`. False if the record has
    /// to be read strictly: then some columns may lack a value, and the others have one that means nothing.
    pub(super) fn read(&mut self, text: &'a str, place: usize, members: &mut Members, columns: &mut [Column]) -> bool {
        self.parts.clear();
        let appended = self.record(Cursor { text, at: 0 }, place, members, columns);
        // Members that did not come are null.
        if appended.is_some_and(|count| count < columns.len()) {
            self.fill(place, columns);
        }
        appended.is_some()
    }

    /// Members of the record read last that are not in their columns yet.
    pub(super) fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    fn fill(&self, place: usize, columns: &mut [Column]) {
        for (column, behind) in columns.iter_mut().zip(&self.behind) {
            if *behind <= place {
                column.append_null();
            }
        }
    }

    /// Walks a record, and tells how many columns it has a value for.
    fn record(
        &mut self,
        mut cursor: Cursor<'a>,
        place: usize,
        members: &mut Members,
        columns: &mut [Column],
    ) -> Option<usize> {
        cursor.space();
        cursor.expect(b'{')?;
        cursor.space();
        let (mut last, mut count) = (members.start(), 0);
        let mut more = !cursor.eat(b'}');
        while more {
            let member = match cursor.name(members, last)? {
                Name::Unknown if self.refuse_unknown => return None,
                Name::Unknown => None,
                Name::Member(member) => {
                    last = member;
                    members.column(member).map(|column| (member, column))
                }
            };
            match member {
                Some((member, column)) => {
                    // A name that stands in the object twice.
                    if self.behind[column] > place {
                        return None;
                    }
                    self.behind[column] = place + 1;
                    count += 1;
                    if let Appended::Left(raw) = cursor.append(&mut columns[column], self.timestamps)? {
                        self.parts.push(Part { member, column, raw });
                    }
                }
                None => _ = cursor.skip(1)?,
            }
            more = cursor.more(b'}')?;
        }
        cursor.space();
        (cursor.at == cursor.text.len()).then_some(count)
    }
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Member(usize),
    Unknown,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appended<'a> {
    /// It is in its column.
    Whole,
    /// Its text, which is not for us.
    Left(&'a str),
}

/// A place in the text of a record.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Behind a value: whether another one follows before the end, at which the cursor then stands.
    fn more(&mut self, end: u8) -> Option<bool> {
        self.space();
        if self.eat(end) {
            return Some(false);
        }
        self.expect(b',')?;
        self.space();
        Some(true)
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    /// What comes as a name; the cursor then stands before the value.
    fn name(&mut self, members: &mut Members, last: usize) -> Option<Name> {
        let guess = members.guess(last, &self.text.as_bytes()[self.at..]);
        let found = if let Some((place, length)) = guess {
            self.at += length;
            Some(place)
        } else {
            self.expect(b'"')?;
            let start = self.at;
            self.at += plain_len(&self.text.as_bytes()[start..]);
            let name = &self.text[start..self.at];
            self.expect(b'"')?;
            self.space();
            self.expect(b':')?;
            members.find(last, name)
        };
        self.space();
        Some(found.map_or(Name::Unknown, Name::Member))
    }

    /// Appends a value to its column, if it is one for us.
    fn append(&mut self, column: &mut Column, timestamps: &Timestamps) -> Option<Appended<'a>> {
        if self.peek() == Some(b'n') {
            self.literal("null")?;
            column.append_null();
            return Some(Appended::Whole);
        }
        match column {
            Column::String(builder) => builder.append_value(self.string()?),
            Column::Json(builder) => builder.append_value(self.skip(1)?),
            Column::Boolean(builder) => builder.append_value(self.boolean()?),
            Column::Int(builder) => builder.append_value(i32::try_from(self.number()?.integer()?).ok()?),
            Column::Bigint(builder) => builder.append_value(self.number()?.integer()?),
            Column::Float(builder) => builder.append_value(number::float(self.number()?.text).ok()?),
            Column::Double(builder) => builder.append_value(self.number()?.double()?),
            Column::Decimal(builder, precision, scale) => {
                builder.append_value(number::decimal(self.number()?.text, *precision, *scale).ok()?);
            }
            Column::Date(builder) => builder.append_value(time::parse_date(&self.string()?)?),
            Column::Timestamp(builder) if timestamps.is_number() => {
                builder.append_value(timestamps.parse(self.number()?.text)?);
            }
            Column::Timestamp(builder) => builder.append_value(timestamps.parse(&self.string()?)?),
            Column::Binary(_) | Column::List(_) | Column::Struct(_) => return Some(Appended::Left(self.skip(1)?)),
        }
        Some(Appended::Whole)
    }

    fn boolean(&mut self) -> Option<bool> {
        let value = self.peek() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Some(value)
    }

    /// The text of a string; without a copy where it has no escapes.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        self.expect(b'"')?;
        self.at += plain_len(&self.text.as_bytes()[self.at..]);
        let end = self.at;
        if self.eat(b'"') {
            return Some(Cow::Borrowed(&self.text[start + 1..end]));
        }
        self.at = start;
        self.skip_string()?;
        serde_json::from_str(&self.text[start..self.at]).ok().map(Cow::Owned)
    }

    /// Goes behind a string.
    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at += plain_len(&self.text.as_bytes()[self.at..]);
            if self.eat(b'"') {
                return Some(());
            }
            self.skip_escape()?;
        }
    }

    fn skip_escape(&mut self) -> Option<()> {
        self.expect(b'\\')?;
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// The text of a value of any type, whose syntax is right.
    fn skip(&mut self, depth: usize) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.skip_string()?,
            b'{' => self.skip_parts(b'}', depth)?,
            b'[' => self.skip_parts(b']', depth)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            _ => _ = self.number()?,
        }
        Some(&self.text[start..self.at])
    }

    /// Goes behind an object or a list.
    fn skip_parts(&mut self, end: u8, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        self.at += 1;
        self.space();
        let mut more = !self.eat(end);
        while more {
            if end == b'}' {
                self.skip_string()?;
                self.space();
                self.expect(b':')?;
                self.space();
            }
            self.skip(depth + 1)?;
            more = self.more(end)?;
        }
        Some(())
    }

    /// A number, of the notation of RFC 8259.
    fn number(&mut self) -> Option<Number<'a>> {
        let start = self.at;
        let negative = self.eat(b'-');
        let (mut digits, mut exponent) = (Digits::default(), 0);
        let zero = self.peek() == Some(b'0');
        if self.digits(&mut digits) == 0 || (zero && digits.count > 1) {
            return None;
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            exponent -= i64::try_from(self.digits(&mut digits)).ok().filter(|count| *count > 0)?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            exponent += self.exponent()?;
        }
        Some(Number { text: &self.text[start..self.at], negative, digits, exponent, whole })
    }

    /// Goes behind digits, and tells how many there were.
    fn digits(&mut self, digits: &mut Digits) -> usize {
        let start = self.at;
        while let Some(bytes) = self.text.as_bytes()[self.at..].first_chunk() {
            let (count, value) = leading_digits(bytes);
            digits.push(count, value);
            self.at += count;
            if count < bytes.len() {
                return self.behind(start, digits);
            }
        }
        while let Some(digit) = self.peek().map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            digits.push(1, u64::from(digit));
            self.at += 1;
        }
        self.behind(start, digits)
    }

    fn behind(&self, start: usize, digits: &mut Digits) -> usize {
        digits.count += self.at - start;
        self.at - start
    }

    fn exponent(&mut self) -> Option<i64> {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let mut digits = Digits::default();
        // Nobody writes more for a number that can be read.
        let few = 1..=4;
        let value = few.contains(&self.digits(&mut digits)).then_some(digits.value as i64)?;
        Some(if negative { -value } else { value })
    }
}

/// Digits one after the other.
#[derive(Clone, Copy, Debug, Default)]
struct Digits {
    /// What they mean, unless they are more than [`Digits::MOST`].
    value: u64,
    count: usize,
}

impl Digits {
    /// As many always fit into 64 bits.
    const MOST: usize = 19;

    /// Appends up to eight digits that are this number.
    #[inline]
    fn push(&mut self, count: usize, value: u64) {
        const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
        self.value = self.value.wrapping_mul(POWERS[count]).wrapping_add(value);
    }
}

/// A number in text: ± digits × 10 to the exponent.
#[derive(Clone, Copy, Debug)]
struct Number<'a> {
    text: &'a str,
    negative: bool,
    digits: Digits,
    exponent: i64,
    /// There is neither a point nor an exponent.
    whole: bool,
}

impl Number<'_> {
    fn integer(self) -> Option<i64> {
        if !self.whole {
            return None;
        }
        // Only 18 digits fit for sure when they are signed.
        if self.digits.count >= Digits::MOST {
            return number::integer(self.text).ok();
        }
        let value = self.digits.value as i64;
        Some(if self.negative { -value } else { value })
    }

    /// The nearest double. Digits that a double holds exactly, multiplied or divided by a power of ten that one holds
    /// exactly, are rounded once, that is correctly (Clinger, "How to read floating point numbers accurately", 1990).
    fn double(self) -> Option<f64> {
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        let power = POWERS.get(self.exponent.unsigned_abs() as usize);
        let (Some(power), true) = (power, self.digits.count <= Digits::MOST && self.digits.value <= EXACT) else {
            return number::double(self.text).ok();
        };
        let digits = self.digits.value as f64;
        let value = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.negative { -value } else { value })
    }
}

/// How many of the bytes before the first other one are digits, and the value of these. They are moved behind zeros, so that
/// there are always eight. Neighbours are joined to numbers of two digits, these to numbers of four, these to one of eight
/// (Lemire, "Quickly parsing eight digits", 2018).
#[inline]
fn leading_digits(bytes: &[u8; 8]) -> (usize, u64) {
    const HIGH_HALVES: u64 = u64::from_le_bytes([0xf0; 8]);
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    const SIXES: u64 = u64::from_le_bytes([6; 8]);
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let word = u64::from_le_bytes(*bytes);
    // Digits are from '0' to '?', and still so when six is added. What is carried over comes from a byte that is no digit.
    let other = ((word & HIGH_HALVES) ^ ZEROS) | ((word.wrapping_add(SIXES) & HIGH_HALVES) ^ ZEROS);
    let count = other.trailing_zeros() / 8;
    // Without any, all bits are moved out.
    let digits = word.wrapping_sub(ZEROS).checked_shl(64 - 8 * count).unwrap_or_default();
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let second = ((pairs >> 16) & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    (count as usize, first.wrapping_add(second) >> 32)
}

/// The number of bytes before the first one that does not stand for itself in a string: a quote, a backslash, a control
/// character. Eight at a time: subtracting 1 from a byte sets its highest bit only if it was 0, or by a borrow from a
/// lower byte, which then was found before.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHEST;
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quote | backslash | below(word, 0x20);
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    words.len() * 8 + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Option<Number<'_>> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.number().filter(|_| cursor.at == text.len())
    }

    /// Whether a record of a column `a` is read, and what of it is left.
    fn read(kind: DataType, record: &str) -> Option<Vec<String>> {
        let field = Field::new("a", kind, true);
        let mut columns = [Column::new(&field, 1, 0).unwrap()];
        let mut members = Members::projected(&Arc::new(Schema::new(vec![field])), &[0]);
        let timestamps = Timestamps::default();
        let mut walk = Walk::new(1, &timestamps, false);
        let read = walk.read(record, 0, &mut members, &mut columns);
        assert!(!read || columns[0].len() + walk.parts().len() == 1, "{record}");
        read.then(|| walk.parts().iter().map(|part| part.raw.to_owned()).collect())
    }

    #[test]
    fn usual_records_are_read() {
        for record in [
            "{}",
            r#"{"a":1}"#,
            " {\t\"a\" : 1 ,\r\n\"b\" : \"x\\u00e4\\n\"} ",
            r#"{"b":[{"c":[]},-1.5e3,null,true,{}],"a":1}"#,
            r#"{"ä":"🦀","a":null}"#,
        ] {
            assert_eq!(read(DataType::Int64, record), Some(Vec::new()), "{record}");
        }
        assert_eq!(read(DataType::Binary, r#"{"a":"AA=="}"#), Some(vec![r#""AA==""#.to_owned()]));
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        assert_eq!(read(list, r#"{"a":[1, "x"] }"#), Some(vec![r#"[1, "x"]"#.to_owned()]));
    }

    #[test]
    fn what_is_wrong_or_unusual_is_left_to_the_strict_reader() {
        let deep = format!(r#"{{"b":{}{}}}"#, "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        for record in [
            "",
            "1",
            "{",
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,"a":1}"#,
            r#"{"\u0061":1}"#,
            r#"{"b":"\x"}"#,
            r#"{"b":"\u12"}"#,
            "{\"b\":\"\t\"}",
            r#"{"b":[1,]}"#,
            r#"{"b":nul}"#,
            r#"{"a":1.0}"#,
            &deep,
        ] {
            assert_eq!(read(DataType::Int64, record), None, "{record}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_standard() {
        for text in ["0", "-0", "10", "0.5", "-1.25e3", "1E+2", "1e-0001", "12345678901234567890123"] {
            assert!(number(text).is_some(), "{text}");
        }
        for text in ["", "-", "01", "-00", "1.", ".5", "+1", "1e", "1e+", "0x1", "1_0", "1e00001", "NaN"] {
            assert!(number(text).is_none(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_the_range_of_their_type() {
        let integer = |text| number(text).unwrap().integer();
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("18446744073709551617"), None);
        assert_eq!(integer("1.0"), None);
        assert_eq!(integer("1e3"), None);
    }

    proptest! {
        #[test]
        fn doubles_are_the_nearest(digits in "[0-9]{1,21}", fraction in "[0-9]{0,25}", exponent in -400_i32..400) {
            let whole = digits.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let point = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
            for text in [format!("-{whole}{point}"), format!("{whole}{point}e{exponent}")] {
                let expected = text.parse::<f64>().ok().filter(|value| value.is_finite());
                let found = number(&text).unwrap().double();
                prop_assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
            }
        }

        #[test]
        fn leading_digits_are_what_they_say(value in 0_u64..100_000_000, place in 0_usize..8, byte: u8, other: u8) {
            let mut text: [u8; 8] = format!("{value:08}").into_bytes().try_into().unwrap();
            prop_assert_eq!(leading_digits(&text), (8, value));
            (text[place], text[7]) = (byte, if place < 7 { other } else { byte });
            let count = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(8);
            let value = std::str::from_utf8(&text[..count]).unwrap().parse().unwrap_or(0);
            prop_assert_eq!(leading_digits(&text), (count, value));
        }

        #[test]
        fn the_first_special_byte_is_found(text in proptest::collection::vec(prop_oneof![0x1e_u8..0x24, 0x5a_u8..0x5e, any::<u8>(), Just(b'a')], 0..40)) {
            let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            prop_assert_eq!(plain_len(&text), text.iter().position(special).unwrap_or(text.len()));
        }
    }
}
