//! Which column a name in a record belongs to.
//!
//! Producers write the fields of their records in one order. That order is learned while reading: the member that
//! followed another one last time is tried first, so that a name mostly costs one comparison and no hashing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Fields, SchemaRef};

/// The members of an object by name, with the order in which they came last.
#[derive(Clone, Debug)]
pub(super) struct Members {
    known: Arc<Known>,
    /// By the place of a member (or the number of members, for the start of an object) what came next.
    next: Vec<usize>,
}

#[derive(Debug)]
struct Known {
    members: Vec<Member>,
    places: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
struct Member {
    name: Box<str>,
    /// The name as it mostly stands in JSON; None if it has to be escaped there.
    json: Option<Pattern>,
    column: Option<usize>,
}

impl Member {
    fn new(name: &str, column: Option<usize>) -> Self {
        let plain = !name.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
        Self { name: name.into(), json: plain.then(|| Pattern::new(&format!("\"{name}\":"))), column }
    }
}

/// A text that is looked for at the front of another one, mostly by one comparison of numbers.
#[derive(Debug)]
struct Pattern {
    text: Box<[u8]>,
    /// The first bytes of the text, as a number, and which bits of it count.
    head: u128,
    mask: u128,
}

impl Pattern {
    const HEAD: usize = size_of::<u128>();

    fn new(text: &str) -> Self {
        let (mut head, mut mask) = ([0; Self::HEAD], [0; Self::HEAD]);
        for (place, byte) in text.bytes().take(Self::HEAD).enumerate() {
            (head[place], mask[place]) = (byte, 0xff);
        }
        let (head, mask) = (u128::from_le_bytes(head), u128::from_le_bytes(mask));
        Self { text: text.as_bytes().into(), head, mask }
    }

    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk() else { return text.starts_with(&self.text) };
        let same = u128::from_le_bytes(*head) & self.mask == self.head;
        same && (self.text.len() <= Self::HEAD || text[Self::HEAD..].starts_with(&self.text[Self::HEAD..]))
    }
}

impl Members {
    /// Every field is a column.
    pub(super) fn all(fields: &Fields) -> Self {
        Self::new(fields.iter().enumerate().map(|(column, field)| (field.name().as_str(), Some(column))))
    }

    /// The fields at the places `projection` are columns, the others are known and not in use.
    pub(super) fn projected(schema: &SchemaRef, projection: &[usize]) -> Self {
        let column = |place| projection.iter().position(|used| *used == place);
        Self::new(schema.fields().iter().enumerate().map(|(place, field)| (field.name().as_str(), column(place))))
    }

    fn new<'a>(members: impl Iterator<Item = (&'a str, Option<usize>)>) -> Self {
        let members: Vec<_> = members.map(|(name, column)| Member::new(name, column)).collect();
        let places = members.iter().enumerate().map(|(place, member)| (member.name.clone(), place)).collect();
        let next = (0..=members.len()).map(|place| if place + 1 < members.len() { place + 1 } else { 0 }).collect();
        Self { known: Arc::new(Known { members, places }), next }
    }

    /// Where an object begins: before its first member.
    pub(super) fn start(&self) -> usize {
        self.known.members.len()
    }

    /// The place of a name that comes after the member at `last`.
    pub(super) fn find(&mut self, last: usize, name: &str) -> Option<usize> {
        let guess = self.next[last];
        if self.known.members.get(guess).is_some_and(|member| *member.name == *name) {
            return Some(guess);
        }
        let place = *self.known.places.get(name)?;
        self.next[last] = place;
        Some(place)
    }

    /// The member that came after the one at `last` before, if `json` begins with its name in quotes and a colon; with
    /// the length of that.
    #[inline]
    pub(super) fn guess(&self, last: usize, json: &[u8]) -> Option<(usize, usize)> {
        let guess = self.next[last];
        let pattern = self.known.members.get(guess)?.json.as_ref()?;
        pattern.begins(json).then_some((guess, pattern.text.len()))
    }

    /// The column of the member at a place, if it is in use.
    pub(super) fn column(&self, place: usize) -> Option<usize> {
        self.known.members[place].column
    }

    /// The name of the member at a place.
    pub(super) fn name(&self, place: usize) -> &str {
        &self.known.members[place].name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_where_it_is() {
        for pattern in ["\"a\":", "\"twelve bytes\":", "\"of sixteen bytes\":", "\"quite a long name of a field\":"] {
            let found = Pattern::new(pattern);
            for rest in ["", "1", "1,\"another quite long field\":2}"] {
                assert!(found.begins(format!("{pattern}{rest}").as_bytes()), "{pattern} {rest}");
                for place in 0..pattern.len() {
                    let mut other = format!("{pattern}{rest}").into_bytes();
                    other[place] ^= 1;
                    assert!(!found.begins(&other), "{pattern} {rest} {place}");
                    assert!(!found.begins(&pattern.as_bytes()[..place]), "{pattern} {place}");
                }
            }
        }
    }
}
