//! Which transactions were aborted: what a reader of committed records leaves out.
//!
//! A broker sends, with the batches, the aborted transactions that overlap them: producer and first offset. A producer's
//! batches are left out from that offset on, up to the marker that ends the transaction; the same producer's next
//! transaction may be a committed one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Aborted transactions along one response's batches.
#[derive(Clone, Debug, Default)]
pub struct Aborted {
    // First offset, producer; the lowest on top.
    ahead: BinaryHeap<Reverse<(i64, i64)>>,
    open: HashSet<i64>,
}

impl Aborted {
    /// From pairs of producer and first offset, in any order.
    pub fn new(transactions: impl Iterator<Item = (i64, i64)>) -> Self {
        Self { ahead: transactions.map(|(producer, first)| Reverse((first, producer))).collect(), open: HashSet::new() }
    }

    /// Opens the transactions that begin up to this offset, a batch's last.
    pub(super) fn advance(&mut self, last_offset: i64) {
        while let Some(Reverse((first, producer))) = self.ahead.peek().copied() {
            if first > last_offset {
                break;
            }
            self.ahead.pop();
            self.open.insert(producer);
        }
    }

    /// Whether the producer's batches belong to an aborted transaction here.
    pub(super) fn contains(&self, producer: i64) -> bool {
        self.open.contains(&producer)
    }

    /// The producer's transaction ended.
    pub(super) fn end(&mut self, producer: i64) {
        self.open.remove(&producer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_open_from_its_first_offset_to_its_end() {
        let mut aborted = Aborted::new([(7, 30), (8, 12), (7, 10)].into_iter());
        aborted.advance(9);
        assert!(!aborted.contains(7));
        aborted.advance(11);
        assert!(aborted.contains(7) && !aborted.contains(8));
        aborted.advance(20);
        assert!(aborted.contains(7) && aborted.contains(8));
        aborted.end(7);
        assert!(!aborted.contains(7) && aborted.contains(8), "the other producer's goes on");
        aborted.advance(29);
        assert!(!aborted.contains(7), "a committed transaction between two aborted ones");
        aborted.advance(30);
        assert!(aborted.contains(7));
    }
}
