//! Kafka's numbers of variable length: zigzag, then seven bits a byte, the lowest first.

/// Why no number could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The bytes end within it.
    Short,
    /// It has more bytes, or larger ones, than its type.
    Overlong,
}

/// Takes a 32-bit number from the front.
#[inline(always)]
#[expect(clippy::inline_always, reason = "five a record: a call costs more than what is done")]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Result<i32, Unreadable> {
    take_short(bytes).map_or_else(|| take_long_i32(bytes), |raw| Ok(unzigzag(raw)))
}

/// Takes a number of up to three bytes, as nearly all numbers of a record are; none of more.
#[inline(always)]
#[expect(clippy::inline_always, reason = "six a record, as above")]
fn take_short(bytes: &mut &[u8]) -> Option<u32> {
    let (raw, rest) = match *bytes {
        [first @ ..0x80, rest @ ..] => (u32::from(*first), rest),
        [first, second @ ..0x80, rest @ ..] => (u32::from(first & 0x7f) | u32::from(*second) << 7, rest),
        [first, second, third @ ..0x80, rest @ ..] => {
            (u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7 | u32::from(*third) << 14, rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some(raw)
}

#[cold]
#[inline(never)]
fn take_long_i32(bytes: &mut &[u8]) -> Result<i32, Unreadable> {
    let raw = take_raw(bytes, 5)?;
    u32::try_from(raw).map(unzigzag).map_err(|_| Unreadable::Overlong)
}

#[inline]
fn unzigzag(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

/// Takes a 64-bit number from the front.
#[inline(always)]
#[expect(clippy::inline_always, reason = "one a record, as above")]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, Unreadable> {
    take_short(bytes).map_or_else(|| take_long_i64(bytes), |raw| Ok(i64::from(unzigzag(raw))))
}

#[inline(never)]
fn take_long_i64(bytes: &mut &[u8]) -> Result<i64, Unreadable> {
    let raw = take_raw(bytes, 10)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

#[inline]
fn take_raw(bytes: &mut &[u8], most: usize) -> Result<u64, Unreadable> {
    let mut raw = 0_u64;
    for (index, byte) in bytes.iter().take(most).enumerate() {
        // The tenth byte has room for one bit.
        if index == 9 && *byte > 1 {
            return Err(Unreadable::Overlong);
        }
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(raw);
        }
    }
    Err(if bytes.len() < most { Unreadable::Short } else { Unreadable::Overlong })
}

/// Appends a number; 32-bit numbers have the same form.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; LONGEST];
    let length = write(&mut bytes, value);
    out.extend_from_slice(&bytes[..length]);
}

/// The bytes of the longest number.
const LONGEST: usize = 10;

/// Writes a number to where there is room for it; tells how many bytes it has.
#[inline]
pub(super) fn write(out: &mut [u8], value: i64) -> usize {
    let raw = zigzag(value);
    match out {
        [first, ..] if raw < 0x80 => {
            *first = raw as u8;
            1
        }
        [first, second, ..] if raw < 0x4000 => {
            (*first, *second) = ((raw & 0x7f) as u8 | 0x80, (raw >> 7) as u8);
            2
        }
        [first, second, third, ..] if raw < 0x20_0000 => {
            (*first, *second) = ((raw & 0x7f) as u8 | 0x80, (raw >> 7 & 0x7f) as u8 | 0x80);
            *third = (raw >> 14) as u8;
            3
        }
        _ => write_long(out, raw),
    }
}

#[inline(never)]
fn write_long(out: &mut [u8], mut raw: u64) -> usize {
    let mut length = 0;
    while raw >= 0x80 {
        out[length] = (raw & 0x7f) as u8 | 0x80;
        raw >>= 7;
        length += 1;
    }
    out[length] = raw as u8;
    length + 1
}

/// The bytes that [`put`] appends.
#[inline]
pub(super) fn size(value: i64) -> usize {
    let raw = zigzag(value);
    if raw < 0x80 { 1 } else { (70 - raw.leading_zeros() as usize) / 7 }
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_kafkas_form() {
        // The cases of Kafka's ByteUtilsTest.
        let cases: [(i64, &[u8]); 10] = [
            (0, &[0x00]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-8193, &[0x81, 0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!((out.as_slice(), size(value)), (bytes, bytes.len()), "{value}");
            assert_eq!(take_i64(&mut &*out), Ok(value));
            if let Ok(small) = i32::try_from(value) {
                assert_eq!(take_i32(&mut &*out), Ok(small));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(take_i32(&mut [].as_slice()), Err(Unreadable::Short));
        assert_eq!(take_i32(&mut [0x80, 0x80].as_slice()), Err(Unreadable::Short));
        assert_eq!(take_i32(&mut [0x80; 5].as_slice()), Err(Unreadable::Overlong));
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x10].as_slice()), Err(Unreadable::Overlong));
        assert_eq!(take_i64(&mut [0x80; 9].as_slice()), Err(Unreadable::Short));
        assert_eq!(take_i64(&mut [0x80; 11].as_slice()), Err(Unreadable::Overlong));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_i64(&mut over.as_slice()), Err(Unreadable::Overlong));
    }

    proptest! {
        #[test]
        fn numbers_survive_and_leave_the_rest(value: i64, small: i32, rest: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, value);
            put(&mut out, i64::from(small));
            prop_assert_eq!(out.len(), size(value) + size(i64::from(small)));
            out.extend_from_slice(&rest);
            let mut left = out.as_slice();
            prop_assert_eq!(take_i64(&mut left), Ok(value));
            prop_assert_eq!(take_i32(&mut left), Ok(small));
            prop_assert_eq!(left, rest.as_slice());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let before = bytes.len();
            for take in [|b: &mut &[u8]| take_i32(b).is_ok(), |b: &mut &[u8]| take_i64(b).is_ok()] {
                let mut left = bytes.as_slice();
                prop_assert!(!take(&mut left) || left.len() < before);
            }
        }
    }
}
