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
    column: Option<usize>,
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
        let members: Vec<_> = members.map(|(name, column)| Member { name: name.into(), column }).collect();
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

    /// The column of the member at a place, if it is in use.
    pub(super) fn column(&self, place: usize) -> Option<usize> {
        self.known.members[place].column
    }

    /// The name of the member at a place.
    pub(super) fn name(&self, place: usize) -> &str {
        &self.known.members[place].name
    }
}
