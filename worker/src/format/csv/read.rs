//! Reading CSV.
//!
//! Most records have no quotes: one search finds out, for a whole batch if none of its records has any. They are split at
//! the delimiters up to the last field that is in use; behind it, delimiters are only counted. Records with quotes are
//! walked field by field.

use std::borrow::Cow;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use memchr::{memchr, memchr_iter, memchr3};

use super::super::column::{self, Column};
use super::super::json;
use super::super::number::Why;
use super::super::problem::{Checked, Problem};
use super::super::text::{Texts, bytes_of, cut};
use super::super::{CsvSettings, Decoded, FormatError, all_bad, without_bad};
use crate::records::Reason;

/// Reads `Csv` values.
#[derive(Debug)]
pub(in super::super) struct CsvDecoder {
    settings: CsvSettings,
    /// The columns in use.
    fields: Vec<FieldRef>,
    /// By the place of a field in the record: the column it belongs to, if that is in use.
    columns: Vec<Option<usize>>,
    /// The fields up to the last one in use.
    used: usize,
}

impl CsvDecoder {
    pub(in super::super) fn new(
        settings: &CsvSettings,
        schema: &SchemaRef,
        projection: &[usize],
    ) -> Result<Self, FormatError> {
        schema.fields().iter().try_for_each(|field| super::check(field))?;
        let used = |place: usize| projection.iter().position(|used| *used == place);
        let columns: Vec<_> = match &settings.header {
            None => (0..schema.fields().len()).map(used).collect(),
            Some(header) => {
                check_header(header, schema)?;
                header.iter().map(|name| schema.index_of(name).ok().and_then(used)).collect()
            }
        };
        let fields = projection.iter().map(|place| FieldRef::clone(&schema.fields()[*place])).collect();
        let used = columns.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Ok(Self { settings: settings.clone(), fields, columns, used })
    }

    pub(in super::super) fn decode(&self, values: &BinaryArray) -> Decoded {
        let types = || self.fields.iter().map(|field| field.data_type());
        let bytes = bytes_of(values).len() / self.columns.len().max(1);
        let columns = self.fields.iter().map(|field| Column::new(field, values.len(), bytes));
        let Ok(mut columns) = columns.collect::<Result<Vec<_>, DataType>>() else {
            return all_bad(types(), values.len(), Reason::Malformed, &"a column has no CSV");
        };
        let texts = Texts::new(values);
        let plain = self.is_plain(bytes_of(values));
        let mut bad = Vec::new();
        for row in 0..values.len() {
            let checked = texts
                .get(row)
                .map_err(|message| Problem::new(Reason::InvalidUtf8, message))
                .and_then(|text| self.record(text, plain, &mut columns));
            if let Err(problem) = checked {
                column::fill(&mut columns, row + 1);
                bad.push(problem.of_row(row));
            }
        }
        match column::finish(columns) {
            Ok(columns) => without_bad(columns, values.len(), bad),
            Err(error) => all_bad(types(), values.len(), Reason::Malformed, &error),
        }
    }

    /// Whether there are neither quotes nor line breaks.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        memchr3(self.settings.quote, b'\n', b'\r', bytes).is_none()
    }

    /// Appends a record to the columns; on failure some of them may lack it. `plain` is known of a whole batch.
    fn record(&self, text: &str, plain: bool, columns: &mut [Column]) -> Checked {
        let mut fields = Fields { decoder: self, columns, count: 0, problem: None };
        if plain {
            self.plain_record(text, &mut fields);
            return fields.end();
        }
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if self.is_plain(line.as_bytes()) {
            self.plain_record(line, &mut fields);
        } else {
            self.quoted_record(line, &mut fields)?;
        }
        fields.end()
    }

    /// Splits a record without quotes, as far as its fields are in use.
    fn plain_record(&self, line: &str, fields: &mut Fields<'_>) {
        let mut ends = memchr_iter(self.settings.delimiter, line.as_bytes());
        let mut start = 0;
        while fields.count < self.used {
            let Some(end) = ends.next() else { return fields.push(&line[start..], false) };
            fields.push(&line[start..end], false);
            start = end + 1;
        }
        // The field that begins here, and one behind each further delimiter.
        fields.count += 1 + bytecount::count(&line.as_bytes()[start..], self.settings.delimiter);
    }

    /// Walks a record that may have quotes.
    fn quoted_record(&self, line: &str, fields: &mut Fields<'_>) -> Checked {
        let mut rest = line;
        loop {
            let number = fields.count + 1;
            let (field, quoted, after) = if let Some(inside) = rest.strip_prefix(char::from(self.settings.quote)) {
                let (field, after) = self.quoted_field(inside).ok_or_else(|| unterminated(number))?;
                (field, true, after)
            } else {
                let (field, after) = rest.split_at(self.unquoted_len(rest));
                (Cow::Borrowed(field), false, after)
            };
            fields.push(&field, quoted);
            match after.as_bytes().first() {
                None => return Ok(()),
                Some(byte) if *byte == self.settings.delimiter => rest = &after[1..],
                Some(byte) => return Err(self.unexpected(*byte, quoted, number, line.len() - after.len())),
            }
        }
    }

    /// The text of a field whose quote has been opened, and what follows the closing one.
    fn quoted_field<'a>(&self, inside: &'a str) -> Option<(Cow<'a, str>, &'a str)> {
        let quote = char::from(self.settings.quote);
        let mut text = Cow::Borrowed("");
        let mut rest = inside;
        loop {
            let end = memchr(self.settings.quote, rest.as_bytes())?;
            let after = &rest[end + 1..];
            if text.is_empty() {
                text = Cow::Borrowed(&rest[..end]);
            } else {
                text.to_mut().push_str(&rest[..end]);
            }
            let Some(doubled) = after.strip_prefix(quote) else { return Some((text, after)) };
            text.to_mut().push(quote);
            rest = doubled;
        }
    }

    /// The bytes up to the next one that cannot be within a field without quotes.
    fn unquoted_len(&self, rest: &str) -> usize {
        let CsvSettings { delimiter, quote, .. } = self.settings;
        let ends = |byte: &u8| *byte == delimiter || *byte == quote || *byte == b'\n' || *byte == b'\r';
        rest.as_bytes().iter().position(ends).unwrap_or(rest.len())
    }

    fn unexpected(&self, byte: u8, quoted: bool, number: usize, at: usize) -> Problem {
        let line_break = byte == b'\n' || byte == b'\r';
        let message = if quoted {
            format!("text after the closing quote of field {number} at byte {at}")
        } else if line_break {
            format!("a line break outside of quotes in field {number} at byte {at}; a record is one line")
        } else {
            let quote = char::from(self.settings.quote);
            format!(
                "a quote within field {number} at byte {at}; a field with {quote} in it is quoted and has it doubled"
            )
        };
        Problem::new(Reason::Malformed, message)
    }
}

/// Every column has a field of the header.
fn check_header(header: &[String], schema: &SchemaRef) -> Result<(), FormatError> {
    match schema.fields().iter().find(|field| !header.contains(field.name())) {
        None => Ok(()),
        Some(field) => {
            Err(FormatError::NotInHeader { column: field.name().clone(), header: super::names(header.iter()) })
        }
    }
}

fn unterminated(number: usize) -> Problem {
    Problem::new(Reason::Malformed, format!("field {number} has no closing quote"))
}

/// The fields of one record on their way into columns.
struct Fields<'a> {
    decoder: &'a CsvDecoder,
    columns: &'a mut [Column],
    count: usize,
    problem: Option<Problem>,
}

impl Fields<'_> {
    /// Takes the next field; after the first problem, fields are only counted.
    fn push(&mut self, text: &str, quoted: bool) {
        let place = self.count;
        self.count += 1;
        let Some(Some(column)) = self.decoder.columns.get(place) else { return };
        if self.problem.is_some() {
            return;
        }
        let settings = &self.decoder.settings;
        let builder = &mut self.columns[*column];
        if !quoted && *text == *settings.null_text {
            return builder.append_null();
        }
        let appended = match builder {
            Column::Json(_) => append_json(builder, text, settings),
            _ => builder.append_text(text, &settings.timestamps),
        };
        if let Err(why) = appended {
            let found = format!("text {:?} in field {}", cut(text), place + 1);
            let problem = Problem::mismatch(&builder.expected(), &found, &why);
            self.problem = Some(problem.within(self.decoder.fields[*column].name()));
        }
    }

    /// A record with another number of fields is malformed, whatever else it is.
    fn end(self) -> Checked {
        let (expected, count) = (self.decoder.columns.len(), self.count);
        if count != expected {
            let s = if expected == 1 { "" } else { "s" };
            return Err(Problem::new(Reason::Malformed, format!("expected {expected} field{s}, found {count}")));
        }
        self.problem.map_or(Ok(()), Err)
    }
}

fn append_json(column: &mut Column, text: &str, settings: &CsvSettings) -> Result<(), Why> {
    match json::check(text)? {
        "null" => {
            column.append_null();
            Ok(())
        }
        part => column.append_text(part, &settings.timestamps),
    }
}
