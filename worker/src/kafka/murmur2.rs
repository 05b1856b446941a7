//! Kafka's murmur2: where records with a key go, and which shard a partition belongs to.
//!
//! Stable for ever: a changed hash would move keys between partitions and partitions between shards.
//! Reference: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`.

/// Kafka's murmur2, made positive.
///
/// # Examples
/// ```
/// assert_eq!(millstream::kafka::murmur2::positive(b"21"), 1_173_551_340);
/// ```
pub fn positive(data: &[u8]) -> u32 {
    murmur2(data) & 0x7fff_ffff
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test, `UtilsTest.testMurmur2`.
    #[test]
    fn equals_kafkas_own_cases() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (text, expected) in cases {
            assert_eq!(murmur2(text).cast_signed(), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
