//! The header of a record batch, 61 bytes of fixed places, and how batches follow one another.

use super::compression::Codec;
use super::problem::Problem;

/// The length of a batch's header.
pub(super) const HEADER: usize = 61;
/// What a batch's length field does not count: the first offset and itself.
const UNCOUNTED: usize = 12;
/// Where what the checksum covers begins.
pub(super) const CHECKED: usize = 21;
/// Where the message format's number stands, in all formats.
const MAGIC: usize = 16;

/// The bits of a batch's attributes.
pub(super) mod attributes {
    pub(in super::super) const CODEC: i16 = 0x07;
    pub(in super::super) const LOG_APPEND_TIME: i16 = 0x08;
    pub(in super::super) const TRANSACTIONAL: i16 = 0x10;
    pub(in super::super) const CONTROL: i16 = 0x20;
}

/// The header of a record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) checksum: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) count: i32,
}

impl Header {
    /// Reads the header of the first batch and says how long that batch is. None if the batch is not whole: a broker
    /// cuts the last one off where the bytes that were asked for end.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Problem> {
        let Some(magic) = bytes.get(MAGIC) else { return Ok(None) };
        match magic.cast_signed() {
            2 => {}
            old @ (0 | 1) => return Err(Problem::OldFormat(old)),
            unknown => return Err(Problem::UnknownFormat(unknown)),
        }
        let mut fields = Fields(bytes);
        let (Some(base_offset), Some(length)) = (fields.i64(), fields.i32()) else { return Ok(None) };
        let total = usize::try_from(length).map_err(|_| Problem::Length(length))? + UNCOUNTED;
        if total < HEADER {
            return Err(Problem::Length(length));
        }
        if bytes.len() < total {
            return Ok(None);
        }
        let Some(header) = Self::fields(base_offset, fields) else { return Ok(None) };
        header.last_offset()?;
        Ok(Some((header, total)))
    }

    fn fields(base_offset: i64, mut fields: Fields<'_>) -> Option<Self> {
        let leader_epoch = fields.i32()?;
        fields.take::<1>()?;
        Some(Self {
            base_offset,
            leader_epoch,
            checksum: fields.i32()?.cast_unsigned(),
            attributes: fields.i16()?,
            last_offset_delta: fields.i32()?,
            base_timestamp: fields.i64()?,
            max_timestamp: fields.i64()?,
            producer_id: fields.i64()?,
            producer_epoch: fields.i16()?,
            base_sequence: fields.i32()?,
            count: fields.i32()?,
        })
    }

    /// The header's bytes, for a batch of `total` bytes.
    pub(super) fn write(&self, total: usize) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let mut rest = out.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            rest = after;
        };
        put(&self.base_offset.to_be_bytes());
        put(&((total - UNCOUNTED) as i32).to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&[2]);
        put(&self.checksum.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.count.to_be_bytes());
        out
    }

    /// The offset of the last record that the batch had when it was written; compaction may have removed it since.
    pub(super) fn last_offset(&self) -> Result<i64, Problem> {
        let impossible = Problem::Offsets { base: self.base_offset, delta: self.last_offset_delta };
        if self.base_offset < 0 || self.last_offset_delta < 0 {
            return Err(impossible);
        }
        match self.base_offset.checked_add(i64::from(self.last_offset_delta)) {
            // The offset behind the last one must be a number, too.
            Some(last) if last < i64::MAX => Ok(last),
            _ => Err(impossible),
        }
    }

    pub(super) fn codec(&self) -> Result<Codec, Problem> {
        Codec::of_bits((self.attributes & attributes::CODEC) as u8)
    }

    pub(super) fn is(&self, attribute: i16) -> bool {
        self.attributes & attribute != 0
    }
}

/// Numbers at fixed places.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header() -> Header {
        Header {
            base_offset: 77,
            leader_epoch: 5,
            checksum: 0xdead_beef,
            attributes: attributes::TRANSACTIONAL | 4,
            last_offset_delta: 9,
            base_timestamp: 1,
            max_timestamp: -1,
            producer_id: 3,
            producer_epoch: 2,
            base_sequence: 8,
            count: 10,
        }
    }

    #[test]
    fn headers_survive_and_a_cut_one_is_no_error() {
        let bytes = [header().write(HEADER).as_slice(), b"next"].concat();
        assert_eq!(Header::read(&bytes), Ok(Some((header(), HEADER))));
        assert_eq!(header().last_offset(), Ok(86));
        assert_eq!(header().codec(), Ok(Codec::Zstd));
        assert!(header().is(attributes::TRANSACTIONAL) && !header().is(attributes::CONTROL));
        for end in 0..HEADER {
            assert_eq!(Header::read(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let longer = header().write(HEADER + 5);
        assert_eq!(Header::read(&longer), Ok(None));
    }

    #[test]
    fn impossible_headers_say_what_was_found() {
        let change = |at: usize, with: &[u8]| {
            let mut bytes = header().write(HEADER).to_vec();
            bytes[at..at + with.len()].copy_from_slice(with);
            Header::read(&bytes).unwrap_err()
        };
        assert_eq!(change(MAGIC, &[1]), Problem::OldFormat(1));
        assert_eq!(change(MAGIC, &[3]), Problem::UnknownFormat(3));
        assert_eq!(change(8, &48_i32.to_be_bytes()), Problem::Length(48));
        assert_eq!(change(8, &(-1_i32).to_be_bytes()), Problem::Length(-1));
        assert_eq!(change(0, &(-1_i64).to_be_bytes()), Problem::Offsets { base: -1, delta: 9 });
        assert_eq!(change(0, &(i64::MAX - 9).to_be_bytes()), Problem::Offsets { base: i64::MAX - 9, delta: 9 });
        assert_eq!(change(23, &(-1_i32).to_be_bytes()), Problem::Offsets { base: 77, delta: -1 });
        // A message set of Kafka 0.10 that is shorter than a batch's header.
        let mut old = [0; 26];
        old[MAGIC] = 0;
        assert!(Header::read(&old).unwrap_err().to_string().contains("message format v0"), "says which format");
    }
}
