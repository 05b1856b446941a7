//! Finding the record that a broker refused.
//!
//! A broker refuses whole batches, so the transaction is aborted, replayed from the last checkpoint, and halved: every
//! batch is a transaction of its own, with half as many records each time it is refused, until a single record is.

use std::collections::HashMap;

use crate::records::{BadRecord, Reason, SourceBatch, TopicPartition};

/// The search for refused records, and those found.
#[derive(Debug, Default)]
pub struct Isolation {
    /// The most records of a transaction; None when nothing is searched for.
    limit: Option<usize>,
    /// The positions up to which the search goes on.
    until: HashMap<TopicPartition, i64>,
    /// Refused records with the broker's words.
    refused: HashMap<(TopicPartition, i64), String>,
}

impl Isolation {
    /// The most records of the next transaction; None if there is no search.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// A transaction of `tried` records up to these positions was refused; `searched` are its records, if a search was
    /// going on.
    pub fn refused(
        &mut self,
        tried: usize,
        searched: &[(TopicPartition, i64)],
        positions: impl Iterator<Item = (TopicPartition, i64)>,
        words: &str,
    ) {
        for (partition, next) in positions {
            let until = self.until.entry(partition).or_insert(next);
            *until = (*until).max(next);
        }
        if let ([single], 1, Some(_)) = (searched, tried, self.limit) {
            self.refused.insert(single.clone(), words.to_owned());
            return;
        }
        self.limit = Some((self.limit.unwrap_or(tried).min(tried) / 2).max(1));
    }

    /// A transaction up to these positions was committed.
    pub fn committed(&mut self, positions: impl Iterator<Item = (TopicPartition, i64)>) {
        let Some(limit) = self.limit else { return };
        for (partition, next) in positions {
            self.refused.retain(|(of, offset), _| *of != partition || *offset >= next);
            if self.until.get(&partition).is_some_and(|until| next >= *until) {
                self.until.remove(&partition);
            }
        }
        // Records between two refused ones are good: larger steps find the next one sooner.
        self.limit = if self.until.is_empty() { None } else { Some(limit.saturating_mul(2)) };
    }

    /// Records of a batch that are known to be refused: their rows, as bad records of the first sink.
    pub fn known(&self, batch: &SourceBatch, node: &std::sync::Arc<str>) -> Vec<BadRecord> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let refused = (0..batch.len()).filter_map(|row| {
            let key = (batch.partition(row).clone(), batch.offsets.value(row));
            let words = self.refused.get(&key)?;
            Some(BadRecord {
                row: row as u32,
                node: std::sync::Arc::clone(node),
                reason: Reason::Refused,
                message: words.clone(),
                derived: None,
            })
        });
        refused.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "in".into(), partition: 0 }
    }

    /// Runs the search over records 0..n of which some are refused; what it found, and in how many transactions.
    fn search(n: i64, bad: &[i64]) -> (Vec<i64>, usize) {
        let mut isolation = Isolation::default();
        let (mut position, mut transactions, mut found) = (0, 0, Vec::new());
        while position < n {
            transactions += 1;
            assert!(transactions < 1000, "the search does not end");
            let limit = isolation.limit().unwrap_or(n as usize) as i64;
            let end = (position + limit).min(n);
            let records: Vec<_> = (position..end).map(|offset| (partition(), offset)).collect();
            let (out, rest): (Vec<i64>, Vec<i64>) =
                (position..end).partition(|offset| isolation.refused.contains_key(&(partition(), *offset)));
            if rest.iter().any(|offset| bad.contains(offset)) {
                isolation.refused(records.len(), &records, [(partition(), end)].into_iter(), "too odd");
            } else {
                found.extend(out);
                position = end;
                isolation.committed([(partition(), position)].into_iter());
            }
        }
        assert_eq!(isolation.limit(), None, "the search is over");
        (found, transactions)
    }

    #[test]
    fn halving_finds_every_refused_record_and_no_other() {
        for bad in [vec![], vec![0], vec![99], vec![37], vec![10, 11, 80]] {
            let (found, transactions) = search(100, &bad);
            assert_eq!(found, bad);
            assert!(transactions <= 1 + 24 * bad.len(), "{bad:?}: {transactions} transactions");
        }
    }
}
