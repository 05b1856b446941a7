//! Memory for what is large and short-lived, used again and again.
//!
//! Responses and record batches have a megabyte or more, and as many are needed in the next moment as in this one. An
//! allocator gives such memory back to the system as soon as it is not needed for a while, and the system zeroes it page by
//! page when it is needed again: that was up to a tenth of what a record cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Less is left to the allocator.
const LEAST: usize = 64 << 10;

/// Buffers that are not in use.
#[derive(Clone, Debug)]
pub struct Pool {
    most: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    /// A pool that keeps up to `most` buffers.
    pub fn new(most: usize) -> Self {
        Self { most, free: Arc::default() }
    }

    /// An empty buffer with room for so many bytes. Where no kept one fits, one of them goes: so none stays for long when
    /// they are not needed any more, or not of that size.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let mut free = self.free();
        let fits = |buffer: &Vec<u8>| (bytes..=bytes.saturating_mul(4)).contains(&buffer.capacity());
        match free.iter().position(fits) {
            Some(place) if bytes >= LEAST => free.swap_remove(place),
            _ => {
                free.pop();
                Vec::with_capacity(bytes)
            }
        }
    }

    /// What is in a buffer. The buffer comes back when nobody has a part of it any more.
    pub fn lend(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.len() < LEAST {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that somebody reads.
struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.pool.free();
        if free.len() < self.pool.most {
            self.buffer.clear();
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &Pool) -> usize {
        pool.free().len()
    }

    #[test]
    fn a_buffer_comes_back_when_its_last_part_is_gone() {
        let pool = Pool::new(1);
        let mut buffer = pool.take(LEAST);
        buffer.resize(LEAST, 7);
        let place = buffer.as_ptr();
        let whole = pool.lend(buffer);
        let part = whole.slice(1..3);
        drop(whole);
        assert_eq!((part.as_ref(), kept(&pool)), ([7, 7].as_slice(), 0));
        drop(part);
        let again = pool.take(LEAST);
        assert_eq!((again.as_ptr(), again.len(), kept(&pool)), (place, 0, 0));
    }

    #[test]
    fn no_more_are_kept_than_allowed_and_none_for_what_is_small() {
        let pool = Pool::new(2);
        let lend = |bytes: usize| pool.lend(vec![0; bytes]);
        drop([lend(LEAST), lend(LEAST), lend(2 * LEAST)]);
        assert_eq!(kept(&pool), 2);
        drop(lend(LEAST - 1));
        assert_eq!(kept(&pool), 2);
        // Neither fits; and none is needed for what is small.
        assert!(pool.take(9 * LEAST).capacity() >= 9 * LEAST);
        assert!(pool.take(10).capacity() < LEAST);
        assert_eq!(kept(&pool), 0);
    }
}
