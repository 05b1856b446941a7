//! One record of a batch.

use std::borrow::Cow;

use super::problem::{Fault, Field};
use super::varint::{self, Unreadable};

/// The least bytes of a record: seven numbers.
pub(super) const LEAST: usize = 7;

/// A record, as it lies in its batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: i32,
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the next record from the front. Its headers are checked only where they are read.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "handing a record over costs as much as reading it")]
    pub(super) fn take(bytes: &mut &'a [u8]) -> Result<Self, Fault> {
        let length = number(varint::take_i32(bytes), Field::Length)?;
        let mut fields = slice(bytes, length, Field::Length)?;
        let (_attributes, rest) = fields.split_first().ok_or(Fault::Short(Field::Attributes))?;
        fields = rest;
        let timestamp_delta = number(varint::take_i64(&mut fields), Field::Timestamp)?;
        let offset_delta = number(varint::take_i32(&mut fields), Field::Offset)?;
        let key = bytes_or_null(&mut fields, Field::Key)?;
        let value = bytes_or_null(&mut fields, Field::Value)?;
        let headers = number(varint::take_i32(&mut fields), Field::Headers)?;
        if headers == 0 && !fields.is_empty() {
            return Err(Fault::Rest(fields.len()));
        }
        // A header has at least two numbers.
        if headers < 0 || headers as usize > fields.len() / 2 {
            return Err(Fault::Length { field: Field::Headers, length: i64::from(headers), left: fields.len() });
        }
        Ok(Self { timestamp_delta, offset_delta, key, value, headers, rest: fields })
    }

    /// Checks the headers, so that they can be iterated over.
    pub(super) fn check_headers(&self) -> Result<(), Fault> {
        let mut rest = self.rest;
        for _ in 0..self.headers {
            header(&mut rest)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(Fault::Rest(rest.len())) }
    }

    /// Name and value of each header, up to the first that is damaged. Names that are not UTF-8 are shown as far as
    /// they are.
    pub(super) fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> {
        let mut rest = self.rest;
        (0..self.headers)
            .map_while(move |_| header(&mut rest).ok())
            .map(|(name, value)| (String::from_utf8_lossy(name), value))
    }
}

fn header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), Fault> {
    let length = number(varint::take_i32(bytes), Field::HeaderName)?;
    let name = slice(bytes, length, Field::HeaderName)?;
    Ok((name, bytes_or_null(bytes, Field::HeaderValue)?))
}

#[inline]
fn bytes_or_null<'a>(bytes: &mut &'a [u8], field: Field) -> Result<Option<&'a [u8]>, Fault> {
    match number(varint::take_i32(bytes), field)? {
        -1 => Ok(None),
        length => slice(bytes, length, field).map(Some),
    }
}

#[inline]
fn slice<'a>(bytes: &mut &'a [u8], length: i32, field: Field) -> Result<&'a [u8], Fault> {
    let taken = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (taken, rest) = taken.ok_or(Fault::Length { field, length: i64::from(length), left: bytes.len() })?;
    *bytes = rest;
    Ok(taken)
}

#[inline]
fn number<T>(read: Result<T, Unreadable>, field: Field) -> Result<T, Fault> {
    read.map_err(|unreadable| match unreadable {
        Unreadable::Short => Fault::Short(field),
        Unreadable::Overlong => Fault::Overlong(field),
    })
}
