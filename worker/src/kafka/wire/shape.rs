//! A walk over a response before it is decoded.
//!
//! `kafka-protocol` allocates an array for as many elements as the response says that there are, before it has seen the
//! first: four damaged bytes would ask for gigabytes. So every response is compared with its shape first. What passes has
//! as many elements as it says, and strings and bytes that lie within it.

/// A part of a response.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A string with a length of two bytes; null is possible.
    Text,
    /// A string or bytes with a length of variable size; null is possible.
    Compact,
    /// An array with a count of four bytes; null is possible.
    Array(&'static [Self]),
    /// An array with a count of variable size; null is possible.
    CompactArray(&'static [Self]),
    /// Tagged fields; these are known, and others are skipped.
    Tagged(&'static [(u32, &'static [Self])]),
}

/// Where a response leaves its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misshapen {
    /// The response ends before its shape.
    #[error("it ends {missing} bytes too early, behind {at} bytes")]
    Short {
        /// Where the field begins.
        at: usize,
        /// The bytes that are missing.
        missing: usize,
    },
    /// A length or count that cannot be.
    #[error("at byte {at}, a length of {length} is none")]
    Length {
        /// Where it stands.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// A number of variable size that is too long.
    #[error("at byte {at}, a number has more than 32 bits")]
    Overlong {
        /// Where it stands.
        at: usize,
    },
    /// A tagged field's size is not that of its content.
    #[error("at byte {at}, the field with tag {tag} has {stated} bytes by its size and {found} by its content")]
    TagSize {
        /// Where the content begins.
        at: usize,
        /// The tag.
        tag: u32,
        /// The size before it.
        stated: usize,
        /// The size of what it contains.
        found: usize,
    },
    /// Something follows.
    #[error("{rest} bytes follow its end at byte {at}")]
    Rest {
        /// Where it ends.
        at: usize,
        /// The bytes that follow.
        rest: usize,
    },
}

/// Compares all of a response with its shape.
pub(super) fn check(bytes: &[u8], shape: &[Shape]) -> Result<(), Misshapen> {
    let mut walk = Walk { bytes, at: 0 };
    walk.all(shape)?;
    match bytes.len() - walk.at {
        0 => Ok(()),
        rest => Err(Misshapen::Rest { at: walk.at, rest }),
    }
}

/// The length of the tagged fields that the bytes begin with.
pub(super) fn tags(bytes: &[u8]) -> Result<usize, Misshapen> {
    let mut walk = Walk { bytes, at: 0 };
    walk.tagged(&[])?;
    Ok(walk.at)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn all(&mut self, shape: &[Shape]) -> Result<(), Misshapen> {
        shape.iter().try_for_each(|part| self.part(*part))
    }

    fn part(&mut self, part: Shape) -> Result<(), Misshapen> {
        match part {
            Shape::Fixed(size) => self.skip(size),
            Shape::Text => {
                let at = self.at;
                let length = i16::from_be_bytes(self.take()?);
                self.skip(length_of(i64::from(length), at)?)
            }
            Shape::Compact => {
                let length = self.varint()?.saturating_sub(1);
                self.skip(length as usize)
            }
            Shape::Array(element) => {
                let at = self.at;
                let count = i32::from_be_bytes(self.take()?);
                self.elements(length_of(i64::from(count), at)?, element)
            }
            Shape::CompactArray(element) => {
                let count = self.varint()?.saturating_sub(1);
                self.elements(count as usize, element)
            }
            Shape::Tagged(known) => self.tagged(known),
        }
    }

    /// Ends at the latest where the bytes end: every element has at least one.
    fn elements(&mut self, count: usize, element: &[Shape]) -> Result<(), Misshapen> {
        (0..count).try_for_each(|_| self.all(element))
    }

    fn tagged(&mut self, known: &[(u32, &[Shape])]) -> Result<(), Misshapen> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let stated = self.varint()? as usize;
            let at = self.at;
            match known.iter().find(|(number, _)| *number == tag) {
                None => self.skip(stated)?,
                // The decoder goes by the content and not by the size, and must not lose its place.
                Some((_, shape)) => {
                    self.all(shape)?;
                    let found = self.at - at;
                    if found != stated {
                        return Err(Misshapen::TagSize { at, tag, stated, found });
                    }
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, size: usize) -> Result<(), Misshapen> {
        let left = self.bytes.len() - self.at;
        if size > left {
            return Err(Misshapen::Short { at: self.at, missing: size - left });
        }
        self.at += size;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Misshapen> {
        let found = self.bytes[self.at..].first_chunk::<N>().copied();
        self.skip(N)?;
        found.ok_or(Misshapen::Short { at: self.at, missing: 0 })
    }

    fn varint(&mut self) -> Result<u32, Misshapen> {
        let at = self.at;
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Misshapen::Overlong { at });
            }
        }
        Err(Misshapen::Overlong { at })
    }
}

/// A length or count; null, which is -1, has nothing behind it.
fn length_of(length: i64, at: usize) -> Result<usize, Misshapen> {
    match length {
        -1 => Ok(0),
        length => usize::try_from(length).map_err(|_| Misshapen::Length { at, length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &[Shape] = &[
        Shape::Fixed(2),
        Shape::Text,
        Shape::Array(&[Shape::Fixed(1)]),
        Shape::CompactArray(&[Shape::Compact, Shape::Tagged(&[])]),
        Shape::Tagged(&[(1, &[Shape::Fixed(1), Shape::Tagged(&[])])]),
    ];

    #[test]
    fn what_has_the_shape_passes() {
        let full = b"\0\0\0\x02ab\0\0\0\x02xy\x02\x02z\0\x02\x01\x02q\0\x07\x01q";
        assert_eq!(check(full, SHAPE), Ok(()));
        assert_eq!(check(b"\0\0\xff\xff\xff\xff\xff\xff\0\0", SHAPE), Ok(()), "null everywhere");
        for end in 0..full.len() {
            assert!(matches!(check(&full[..end], SHAPE), Err(Misshapen::Short { .. })), "cut at {end}");
        }
    }

    #[test]
    fn lengths_counts_and_sizes_must_be_those_of_the_bytes() {
        let cases: [(&[u8], Misshapen); 8] = [
            (b"\0\0\xff\xfe", Misshapen::Length { at: 2, length: -2 }),
            (b"\0\0\0\x09a", Misshapen::Short { at: 4, missing: 8 }),
            (b"\0\0\0\0\x7f\xff\xff\xff\0\0", Misshapen::Short { at: 10, missing: 1 }),
            (b"\0\0\0\0\x80\0\0\0\0\0", Misshapen::Length { at: 4, length: -2_147_483_648 }),
            (b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x0f\0\0", Misshapen::Short { at: 15, missing: 1 }),
            (b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x1f", Misshapen::Overlong { at: 8 }),
            (b"\0\0\0\0\0\0\0\0\0\x01\x01\x05q\0", Misshapen::TagSize { at: 12, tag: 1, stated: 5, found: 2 }),
            (b"\0\0\0\0\0\0\0\0\0\0!", Misshapen::Rest { at: 10, rest: 1 }),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check(bytes, SHAPE), Err(expected), "{bytes:?}");
        }
    }
}
