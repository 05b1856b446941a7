//! Compression of a batch's records: one stream a batch, with a bound on what comes out of it.

use std::io::{self, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::get_frame_content_size;

use super::problem::Problem;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy, bare or in blocks as Java's snappy library frames them.
    Snappy,
    /// LZ4's frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub(super) fn of_bits(bits: u8) -> Result<Self, Problem> {
        Self::ALL.get(usize::from(bits)).copied().ok_or(Problem::UnknownCodec(bits))
    }

    pub(super) fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// What Java's snappy library writes before its blocks: a magic number, its version and the oldest that can read it.
pub(super) const XERIAL: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_MAGIC: usize = 8;

/// Decompresses batches. Keeps a buffer, and the context of zstd, for the next one.
pub struct Decompressor {
    limit: usize,
    spare: Vec<u8>,
    zstd: Option<Decoder<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Refuses batches that are larger than `limit` bytes when decompressed.
    pub fn new(limit: usize) -> Self {
        Self { limit, spare: Vec::new(), zstd: None }
    }

    /// Decompresses the records of one batch. Asks for at most twice the limit, and beyond what the input can become
    /// for no more than a block of it.
    pub(super) fn decompress(&mut self, codec: Codec, input: &[u8]) -> Result<Inflated, Problem> {
        let mut out = Output { bytes: std::mem::take(&mut self.spare), filled: 0, limit: self.limit };
        let outcome = match codec {
            Codec::None => out.append(input),
            Codec::Gzip => gzip(input, &mut out),
            Codec::Snappy => snappy(input, &mut out),
            Codec::Lz4 => lz4(input, &mut out),
            Codec::Zstd => self.zstd(input, &mut out),
        };
        let inflated = Inflated { bytes: out.bytes, length: out.filled };
        match outcome {
            Ok(()) => Ok(inflated),
            Err(stop) => {
                self.give_back(inflated);
                Err(match stop {
                    Stop::TooLarge => Problem::TooLarge { codec, limit: self.limit },
                    Stop::Damaged(found) => Problem::Compression { codec, found },
                })
            }
        }
    }

    /// Takes back the buffer of a batch that was read.
    pub(super) fn give_back(&mut self, inflated: Inflated) {
        if inflated.bytes.len() > self.spare.len() {
            self.spare = inflated.bytes;
        }
    }

    fn zstd(&mut self, input: &[u8], out: &mut Output) -> Result<(), Stop> {
        let mut decoder = match self.zstd.take() {
            Some(decoder) => decoder,
            None => new_zstd(self.limit).map_err(damaged)?,
        };
        zstd_frames(&mut decoder, input, out)?;
        // Not kept after an error: the next batch begins with a clean one.
        self.zstd = Some(decoder);
        Ok(())
    }
}

/// Decompressed records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inflated {
    // Longer than what was decompressed where the buffer served a longer batch before.
    bytes: Vec<u8>,
    length: usize,
}

impl std::ops::Deref for Inflated {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Why decompression ended before its time.
enum Stop {
    TooLarge,
    Damaged(String),
}

fn damaged(error: impl std::fmt::Display) -> Stop {
    Stop::Damaged(error.to_string())
}

/// A buffer with a bound. What it served before is not cleared: decompressing overwrites it.
struct Output {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output {
    /// Room for up to `most` bytes, and less only where the limit is nearer.
    fn room(&mut self, most: usize) -> &mut [u8] {
        let end = self.filled + most.min(self.left());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    fn left(&self) -> usize {
        self.limit - self.filled
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.len() > self.left() {
            return Err(Stop::TooLarge);
        }
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
        Ok(())
    }
}

/// What is decompressed at once where the input does not say how much it becomes.
const CHUNK: usize = 64 * 1024;

fn gzip(input: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut reader = flate2::bufread::MultiGzDecoder::new(input);
    loop {
        let full = out.left() == 0;
        let read = if full { reader.read(&mut [0]) } else { reader.read(out.room(CHUNK)) };
        match read.map_err(damaged)? {
            0 => return Ok(()),
            _ if full => return Err(Stop::TooLarge),
            read => out.filled += read,
        }
    }
}

fn snappy(input: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut decoder = snap::raw::Decoder::new();
    if !input.starts_with(&XERIAL[..XERIAL_MAGIC]) {
        return snappy_block(&mut decoder, input, out);
    }
    let mut rest = input.get(XERIAL.len()..).ok_or_else(|| damaged("the bytes end within the header"))?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or_else(|| damaged("the bytes end within a length"))?;
        let (block, after) = block(after, u32::from_be_bytes(*length) as usize)?;
        snappy_block(&mut decoder, block, out)?;
        rest = after;
    }
    Ok(())
}

fn snappy_block(decoder: &mut snap::raw::Decoder, block: &[u8], out: &mut Output) -> Result<(), Stop> {
    let length = snap::raw::decompress_len(block).map_err(damaged)?;
    if length > out.left() {
        return Err(Stop::TooLarge);
    }
    // Three bytes of input make at most 64 of output.
    if length / 22 > block.len() {
        return Err(Stop::Damaged(format!("{} bytes say that they become {length}", block.len())));
    }
    out.filled += decoder.decompress(block, out.room(length)).map_err(damaged)?;
    Ok(())
}

/// The first `length` bytes, and what follows them.
fn block(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), Stop> {
    bytes
        .split_at_checked(length)
        .ok_or_else(|| Stop::Damaged(format!("a block's length is {length} bytes, with {} bytes left", bytes.len())))
}

/// The flags of an LZ4 frame.
mod lz4_flags {
    pub(super) const VERSION: u8 = 0xc0;
    pub(super) const VERSION_1: u8 = 0x40;
    pub(super) const INDEPENDENT: u8 = 0x20;
    pub(super) const BLOCK_CHECKSUM: u8 = 0x10;
    pub(super) const CONTENT_SIZE: u8 = 0x08;
    pub(super) const CONTENT_CHECKSUM: u8 = 0x04;
    pub(super) const DICTIONARY: u8 = 0x01;
    /// The bit of a block's length that says that the block is not compressed.
    pub(super) const PLAIN_BLOCK: u32 = 0x8000_0000;
}

/// Reads an LZ4 frame block by block into its place. Its checksums are skipped: the batch's own covers them.
fn lz4(input: &[u8], out: &mut Output) -> Result<(), Stop> {
    let (flags, block_size, mut rest) = lz4_header(input)?;
    loop {
        let (word, after) = lz4_word(rest)?;
        if word == 0 {
            rest = after;
            break;
        }
        let (content, after) = block(after, (word & !lz4_flags::PLAIN_BLOCK) as usize)?;
        if word & lz4_flags::PLAIN_BLOCK == 0 {
            lz4_block(content, block_size, flags & lz4_flags::INDEPENDENT != 0, out)?;
        } else {
            out.append(content)?;
        }
        rest = if flags & lz4_flags::BLOCK_CHECKSUM == 0 { after } else { lz4_word(after)?.1 };
    }
    if flags & lz4_flags::CONTENT_CHECKSUM != 0 {
        rest = lz4_word(rest)?.1;
    }
    match rest.len() {
        0 => Ok(()),
        more => Err(Stop::Damaged(format!("{more} bytes follow the frame"))),
    }
}

/// The flags and the block size of a frame, and what follows its header.
fn lz4_header(input: &[u8]) -> Result<(u8, usize, &[u8]), Stop> {
    let Some(([0x04, 0x22, 0x4d, 0x18, flags, sizes], rest)) = input.split_first_chunk() else {
        return Err(damaged("no frame begins here"));
    };
    if flags & lz4_flags::VERSION != lz4_flags::VERSION_1 || flags & lz4_flags::DICTIONARY != 0 {
        return Err(Stop::Damaged(format!("a frame with flags {flags:#04x}; such are not written to Kafka")));
    }
    let block_size = match (sizes >> 4) & 0x07 {
        size @ 4..=7 => 1 << (8 + 2 * size),
        other => return Err(Stop::Damaged(format!("block size {other}; known are 4 to 7"))),
    };
    // The content's size, and a byte that checks the header.
    let more = 1 + if flags & lz4_flags::CONTENT_SIZE == 0 { 0 } else { 8 };
    let rest = rest.get(more..).ok_or_else(|| damaged("the bytes end within the header"))?;
    Ok((*flags, block_size, rest))
}

fn lz4_word(bytes: &[u8]) -> Result<(u32, &[u8]), Stop> {
    let (word, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("the bytes end without an end mark"))?;
    Ok((u32::from_le_bytes(*word), rest))
}

fn lz4_block(content: &[u8], block_size: usize, independent: bool, out: &mut Output) -> Result<(), Stop> {
    const WINDOW: usize = 64 * 1024;
    // A byte of input makes at most 255 of output.
    let most = block_size.min(content.len() * 255);
    let cut = out.left() < most;
    let filled = out.filled;
    out.room(most);
    let (before, place) = out.bytes.split_at_mut(filled);
    let end = place.len().min(most).min(out.limit - filled);
    let place = &mut place[..end];
    let done = if independent {
        lz4_flex::block::decompress_into(content, place)
    } else {
        lz4_flex::block::decompress_into_with_dict(content, place, &before[filled.saturating_sub(WINDOW)..])
    };
    match done {
        Ok(length) => out.filled += length,
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if cut => return Err(Stop::TooLarge),
        Err(error) => return Err(damaged(error)),
    }
    Ok(())
}

fn new_zstd(limit: usize) -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    // A window is allocated as large as the frame says, so not larger than what may come out of it.
    let window = usize::BITS - limit.max(1).leading_zeros();
    decoder.set_parameter(DParameter::WindowLogMax(window.clamp(10, 27)))?;
    Ok(decoder)
}

fn zstd_frames(decoder: &mut Decoder<'static>, input: &[u8], out: &mut Output) -> Result<(), Stop> {
    let mut source = InBuffer::around(input);
    while source.pos() < input.len() {
        decoder.reinit().map_err(damaged)?;
        let stated = get_frame_content_size(&input[source.pos()..]).map_err(|_| damaged("no frame begins here"))?;
        if stated.is_some_and(|size| size > out.left() as u64) {
            return Err(Stop::TooLarge);
        }
        zstd_frame(decoder, &mut source, out)?;
    }
    Ok(())
}

fn zstd_frame(decoder: &mut Decoder<'static>, source: &mut InBuffer<'_>, out: &mut Output) -> Result<(), Stop> {
    loop {
        let full = out.left() == 0;
        let mut beyond = [0_u8];
        let mut output = OutBuffer::around(if full { &mut beyond[..] } else { out.room(CHUNK) });
        let more = decoder.run(source, &mut output).map_err(damaged)?;
        let (written, room) = (output.pos(), output.capacity());
        if full && written > 0 {
            return Err(Stop::TooLarge);
        }
        out.filled += written;
        if more == 0 {
            return Ok(());
        }
        if written < room && source.pos() == source.src.len() {
            return Err(damaged("the bytes end within the frame"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::encode::compress;
    use super::*;

    fn text() -> Vec<u8> {
        (0..3000).flat_map(|n: u32| format!("line {n} of text\n").into_bytes()).collect()
    }

    #[test]
    fn all_codecs_give_back_what_they_took() {
        let mut decompressor = Decompressor::new(1 << 20);
        for codec in Codec::ALL {
            for plain in [Vec::new(), b"x".to_vec(), text(), vec![7; 1 << 20]] {
                let compressed = compress(codec, &plain).unwrap();
                let again = decompressor.decompress(codec, &compressed).unwrap();
                assert!(*again == *plain, "{codec}, {} bytes", plain.len());
                decompressor.give_back(again);
            }
            assert_eq!(Codec::of_bits(codec.bits() as u8), Ok(codec));
        }
        assert_eq!(Codec::of_bits(5), Err(Problem::UnknownCodec(5)));
    }

    #[test]
    fn bare_snappy_and_streams_of_several_frames_are_read() {
        let mut decompressor = Decompressor::new(1 << 20);
        let bare = snap::raw::Encoder::new().compress_vec(&text()).unwrap();
        assert!(decompressor.decompress(Codec::Snappy, &bare).unwrap()[..] == text());
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
            // A stream behind the first: lz4's own readers in Kafka's clients stop there, so nobody writes it.
            let two = [compress(codec, b"one").unwrap(), compress(codec, b"two").unwrap()].concat();
            let found = decompressor.decompress(codec, &two);
            // A stream behind the first is what lz4 has no use for; nobody writes it.
            match codec {
                Codec::Lz4 => assert!(found.is_err()),
                _ => assert_eq!(&*found.unwrap(), b"onetwo", "{codec}"),
            }
        }
    }

    #[test]
    fn what_becomes_too_large_is_refused() {
        let bomb = vec![0; 10_000_000];
        for codec in Codec::ALL {
            let compressed = compress(codec, &bomb).unwrap();
            let mut decompressor = Decompressor::new(bomb.len() - 1);
            let limit = bomb.len() - 1;
            assert_eq!(decompressor.decompress(codec, &compressed), Err(Problem::TooLarge { codec, limit }), "{codec}");
            assert!(Decompressor::new(bomb.len()).decompress(codec, &compressed).unwrap()[..] == bomb, "{codec}");
        }
        // zstd without the content's size in the frame, as Java writes it.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        io::Write::write_all(&mut encoder, &bomb).unwrap();
        let unsized_frame = encoder.finish().unwrap();
        assert_eq!(get_frame_content_size(&unsized_frame).unwrap(), None);
        let found = Decompressor::new(5_000_000).decompress(Codec::Zstd, &unsized_frame);
        assert_eq!(found, Err(Problem::TooLarge { codec: Codec::Zstd, limit: 5_000_000 }));
        assert!(Decompressor::new(bomb.len()).decompress(Codec::Zstd, &unsized_frame).unwrap()[..] == bomb);
    }

    #[test]
    fn a_cut_stream_is_damaged_wherever_it_is_cut() {
        let mut decompressor = Decompressor::new(1 << 20);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let plain = text();
            let whole = compress(codec, &plain).unwrap();
            for end in (1..whole.len()).step_by(7).chain([whole.len() - 1]) {
                // Between two blocks, a cut snappy stream is a shorter one: the number of records tells.
                if let Ok(found) = decompressor.decompress(codec, &whole[..end]) {
                    assert!(codec == Codec::Snappy && found.len() < text().len(), "{codec} cut at {end}");
                }
            }
            assert!(decompressor.decompress(codec, &whole).is_ok(), "{codec} works after errors");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_not_allocated() {
        // Says 2^30 bytes, in six.
        let liar = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00];
        let found = Decompressor::new(usize::MAX >> 1).decompress(Codec::Snappy, &liar).unwrap_err();
        assert!(found.to_string().contains("6 bytes say that they become 1073741824"), "{found}");
    }
}
