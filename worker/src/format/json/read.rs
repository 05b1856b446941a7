//! Reading JSON: RFC 8259 to the letter, over the whole record, whatever is in use of it.
//!
//! `serde_json` walks the record once and hands out the parts in use as slices of its text (`&RawValue`). So the syntax
//! of everything is checked by one parser, numbers are read from their digits, and a value of a wrong type does not
//! keep the rest of the record from being checked: a record that is no JSON is `malformed` first of all.
//!
//! Before that, [`plain`](super::plain) tries to read the record in a quicker way; most records are never seen here.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, BinaryArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::super::column::{self, Column, ListColumn, StructColumn};
use super::super::kind::Kind;
use super::super::members::Members;
use super::super::number::Why;
use super::super::problem::{Checked, Problem};
use super::super::text::{Texts, bytes_of, cut};
use super::super::time::Timestamps;
use super::super::{Decoded, FormatError, JsonSettings, UnknownFields, all_bad, without_bad};
use super::plain::Walk;
use crate::records::Reason;

/// Objects and lists within each other, the record itself included. The limit of many parsers, so that what passes
/// here can be read behind us.
const MAX_DEPTH: usize = 128;

/// Reads `Json` values.
#[derive(Debug)]
pub(in super::super) struct JsonDecoder {
    fields: Vec<FieldRef>,
    members: Members,
    rules: Rules,
}

#[derive(Debug)]
struct Rules {
    timestamps: Timestamps,
    refuse_unknown: bool,
}

impl JsonDecoder {
    pub(in super::super) fn new(
        settings: &JsonSettings,
        schema: &SchemaRef,
        projection: &[usize],
    ) -> Result<Self, FormatError> {
        for field in schema.fields() {
            Kind::of(field).map_err(|found| FormatError::unsupported(field.name(), "Json", &found))?;
        }
        Ok(Self {
            fields: projection.iter().map(|place| FieldRef::clone(&schema.fields()[*place])).collect(),
            members: Members::projected(schema, projection),
            rules: Rules {
                timestamps: settings.timestamps.clone(),
                refuse_unknown: settings.unknown_fields == UnknownFields::Refuse,
            },
        })
    }

    pub(in super::super) fn decode(&self, values: &BinaryArray) -> Decoded {
        self.read(values, true)
    }

    /// The same without the quick way, to compare with.
    #[cfg(test)]
    pub(in super::super) fn decode_strictly(&self, values: &BinaryArray) -> Decoded {
        self.read(values, false)
    }

    fn read(&self, values: &BinaryArray, quickly: bool) -> Decoded {
        let types = || self.fields.iter().map(|field| field.data_type());
        let bytes = bytes_of(values).len() / self.fields.len().max(1);
        let columns = self.fields.iter().map(|field| Column::new(field, values.len(), bytes));
        let Ok(mut columns) = columns.collect::<Result<Vec<_>, DataType>>() else {
            return all_bad(types(), values.len(), Reason::Malformed, &"a column has no JSON");
        };
        let texts = Texts::new(values);
        let Rules { timestamps, refuse_unknown } = &self.rules;
        let mut walk = quickly.then(|| Walk::new(columns.len(), timestamps, *refuse_unknown));
        let mut members = self.members.clone();
        let (mut places, mut bad) = (Places::default(), Vec::new());
        for row in 0..values.len() {
            let text = texts.get(row).map_err(|message| Problem::new(Reason::InvalidUtf8, message));
            let checked = text.and_then(|text| match &mut walk {
                Some(walk) => self.rules.walk(walk, text, &mut places, &mut members, &mut columns),
                None => self.rules.record(text, places.next, &mut members, &mut columns),
            });
            if let Err(problem) = checked {
                column::fill(&mut columns, places.next + 1);
                bad.push(problem.of_row(row));
            }
            places.used();
        }
        match column::finish(columns).and_then(|columns| places.of_use(columns)) {
            Ok(columns) => without_bad(columns, values.len(), bad),
            Err(error) => all_bad(types(), values.len(), Reason::Malformed, &error),
        }
    }
}

/// Where the records' values stand in the columns. A walk that gave up leaves a place behind that means nothing.
#[derive(Debug, Default)]
struct Places {
    next: usize,
    /// The place of each record so far, once they are others than the records' numbers.
    used: Option<Vec<u32>>,
}

impl Places {
    /// The next place has a record's values.
    fn used(&mut self) {
        if let Some(used) = &mut self.used {
            used.push(self.next as u32);
        }
        self.next += 1;
    }

    /// The next place means nothing.
    fn spoiled(&mut self) {
        self.used.get_or_insert_with(|| (0..self.next as u32).collect());
        self.next += 1;
    }

    /// The columns without the places that mean nothing.
    fn of_use(self, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(used) = self.used.map(UInt32Array::from) else { return Ok(columns) };
        columns.iter().map(|column| take(column, &used, None)).collect()
    }
}

impl Rules {
    /// Appends a record to the columns, in the quick way if that is possible; on failure some of them may lack it.
    fn walk<'a>(
        &self,
        walk: &mut Walk<'a>,
        text: &'a str,
        places: &mut Places,
        members: &mut Members,
        columns: &mut [Column],
    ) -> Checked {
        if walk.read(text, places.next, members, columns) {
            return self.parts(walk, text, members, columns);
        }
        column::fill(columns, places.next + 1);
        places.spoiled();
        self.record(text, places.next, members, columns)
    }

    /// Appends a record to the columns; on failure some of them may lack it.
    fn record(&self, text: &str, row: usize, members: &mut Members, columns: &mut [Column]) -> Checked {
        if is_too_deep(text) {
            return Err(Problem::new(Reason::Malformed, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if !text.trim_start_matches(is_space).starts_with('{') {
            return Err(no_object(text));
        }
        let mut problem = None;
        let mut deserializer = Deserializer::from_str(text);
        let object = Object { rules: self, text, row, members, columns, problem: &mut problem };
        deserializer.deserialize_map(object).and_then(|()| deserializer.end()).map_err(|error| malformed(&error))?;
        column::fill(columns, row + 1);
        problem.map_or(Ok(()), Err)
    }

    /// Appends what a walk has left to us; on failure some of the columns may lack it.
    fn parts(&self, walk: &Walk<'_>, text: &str, members: &Members, columns: &mut [Column]) -> Checked {
        walk.parts().iter().try_for_each(|part| {
            let appended = self.append(&mut columns[part.column], part.raw, text);
            appended.map_err(|problem| problem.within(members.name(part.member)))
        })
    }

    /// Appends a value, given as its own text out of the text of the record; on failure the column is as before, or
    /// complete with a null.
    fn append(&self, column: &mut Column, raw: &str, text: &str) -> Checked {
        if raw == "null" {
            column.append_null();
            return Ok(());
        }
        match column {
            Column::List(list) if raw.starts_with('[') => return self.append_list(list, raw, text),
            Column::Struct(row) if raw.starts_with('{') => return self.append_struct(row, raw, text),
            _ => {}
        }
        self.append_scalar(column, raw).map_err(|why| {
            let at = raw.as_ptr().addr() - text.as_ptr().addr();
            Problem::mismatch(&column.expected(), &format!("{} at byte {at}", found(raw)), &why)
        })
    }

    fn append_scalar(&self, column: &mut Column, raw: &str) -> Result<(), Why> {
        let text = match column {
            Column::Json(_) => Cow::Borrowed(raw),
            Column::String(_) | Column::Binary(_) | Column::Date(_) => string(raw)?,
            Column::Timestamp(_) if !self.timestamps.is_number() => string(raw)?,
            Column::Boolean(_) if raw == "true" || raw == "false" => Cow::Borrowed(raw),
            Column::Boolean(_) | Column::List(_) | Column::Struct(_) => return Err(Why::new()),
            _ => number(raw)?,
        };
        column.append_text(&text, &self.timestamps)
    }

    fn append_list(&self, list: &mut ListColumn, raw: &str, text: &str) -> Checked {
        let mut problem = None;
        let items = Items { rules: self, text, item: &mut list.item, problem: &mut problem };
        let walked = Deserializer::from_str(raw).deserialize_seq(items).map_err(|error| malformed(&error));
        let checked = walked.and(problem.map_or(Ok(()), Err));
        list.end(checked.is_ok());
        checked
    }

    fn append_struct(&self, row: &mut StructColumn, raw: &str, text: &str) -> Checked {
        let mut problem = None;
        let len = row.len();
        let StructColumn { members, columns, .. } = row;
        let object = Object { rules: self, text, row: len, members, columns, problem: &mut problem };
        let walked = Deserializer::from_str(raw).deserialize_map(object).map_err(|error| malformed(&error));
        let checked = walked.and(problem.map_or(Ok(()), Err));
        row.end(checked.is_ok());
        checked
    }
}

/// Walks an object: members in use go to their columns, of the others the syntax is checked. After the first problem
/// only syntax is.
struct Object<'a> {
    rules: &'a Rules,
    text: &'a str,
    row: usize,
    members: &'a mut Members,
    columns: &'a mut [Column],
    problem: &'a mut Option<Problem>,
}

impl Object<'_> {
    fn append(&mut self, member: usize, column: usize, raw: &str) -> Checked {
        let column = &mut self.columns[column];
        let checked = if column.len() > self.row {
            Err(Problem::new(Reason::Malformed, "the name stands in the object twice"))
        } else {
            self.rules.append(column, raw, self.text)
        };
        checked.map_err(|problem| problem.within(self.members.name(member)))
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut last = self.members.start();
        loop {
            let seed = Name { members: self.members, last, keep: self.rules.refuse_unknown };
            let Some(name) = map.next_key_seed(seed)? else { return Ok(()) };
            let column = match &name {
                Found::Member(place) => {
                    last = *place;
                    self.members.column(*place)
                }
                Found::Unknown(_) => None,
            };
            match (name, column) {
                (Found::Member(place), Some(column)) if self.problem.is_none() => {
                    let raw: &RawValue = map.next_value()?;
                    *self.problem = self.append(place, column, raw.get()).err();
                }
                (Found::Unknown(Some(name)), _) => {
                    map.next_value::<IgnoredAny>()?;
                    self.problem.get_or_insert_with(|| unknown(&name));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

/// Walks a list.
struct Items<'a> {
    rules: &'a Rules,
    text: &'a str,
    item: &'a mut Column,
    problem: &'a mut Option<Problem>,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut place = 0;
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            if self.problem.is_none() {
                let checked = self.rules.append(self.item, raw.get(), self.text);
                *self.problem = checked.err().map(|problem| problem.at(place));
            }
            place += 1;
        }
        Ok(())
    }
}

/// Finds the member of a name without copying the name.
struct Name<'a> {
    members: &'a mut Members,
    last: usize,
    keep: bool,
}

enum Found {
    Member(usize),
    /// With its name where unknown ones are refused.
    Unknown(Option<String>),
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Found;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Found, E> {
        let unknown = || Found::Unknown(self.keep.then(|| name.to_owned()));
        Ok(self.members.find(self.last, name).map_or_else(unknown, Found::Member))
    }
}

/// The text of a string; without a copy where it has no escapes.
fn string(raw: &str) -> Result<Cow<'_, str>, Why> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).ok_or_else(Why::new)?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    // Its syntax has been checked: only half a surrogate pair, which is no character, can be wrong.
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_| "half of a surrogate pair is no character".into())
}

fn number(raw: &str) -> Result<Cow<'_, str>, Why> {
    let digits = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if digits { Ok(Cow::Borrowed(raw)) } else { Err(Why::new()) }
}

/// A value for a message.
fn found(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'{') => "an object".into(),
        Some(b'[') => "a list".into(),
        Some(b'"') => format!("text {}", cut(raw)),
        Some(b't' | b'f' | b'n') => raw.into(),
        _ => format!("number {}", cut(raw)),
    }
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Reason::Malformed, format!("no JSON: {error}"))
}

fn unknown(name: &str) -> Problem {
    Problem::new(Reason::UnknownField, format!("the schema has no column `{}`", cut(name)))
}

/// What is wrong with a record that does not begin like an object.
fn no_object(text: &str) -> Problem {
    let trimmed = text.trim_matches(is_space);
    if trimmed.is_empty() {
        return Problem::new(Reason::Malformed, "expected an object, found nothing");
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Problem::new(Reason::Malformed, format!("expected an object, found {}", found(trimmed))),
        Err(error) => malformed(&error),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Whether objects and lists are nested deeper than [`MAX_DEPTH`]. Few records have as many brackets at all, and only
/// those are looked at closely.
fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 2 * MAX_DEPTH || memchr::memchr2_iter(b'{', b'[', bytes).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Checks a text that is to be one JSON value, and takes the space around it away.
pub(in super::super) fn check(text: &str) -> Result<&str, Why> {
    if is_too_deep(text) {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("no JSON: {error}"))?;
    Ok(text.trim_matches(is_space))
}
