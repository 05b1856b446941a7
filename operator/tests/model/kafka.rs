//! Kafka: the last who called `init_transactions` for a transactional id is the only one that commits under it.

use super::state::{Header, Known, Work, World};

impl World {
    /// `init_transactions`: aborts what is open and fences whoever took over before. What those believe makes no
    /// difference any more, if there is a fence.
    pub fn fence_others(&mut self, shard: usize, fence: bool) {
        for worker in &mut self.workers {
            if let Work::Taken { fenced, .. } = &mut worker.work[shard] {
                *fenced = true;
            }
            if let Work::Held { fenced, known } = &mut worker.work[shard] {
                *fenced = true;
                *known = if fence { Known::default() } else { *known };
            }
        }
    }

    /// What the last header says.
    pub fn read(&self, shard: usize) -> Known {
        Known { behind: 0, position: self.kafka[shard].last.map_or(0, |last| last.position) }
    }

    /// Commits the header that follows the one that its worker knows; false if the worker is fenced. Without the fence
    /// everybody can commit.
    pub fn commit(&mut self, shard: usize, header: Header, behind: u8, stranger: bool, fence: bool) -> bool {
        if fence && stranger {
            return false;
        }
        let partition = &mut self.kafka[shard];
        partition.broken.sequence |= behind > 0;
        partition.broken.position |= partition.last.is_some_and(|last| header.position < last.position);
        partition.broken.stranger |= stranger;
        partition.last = Some(header);
        self.fall_behind(shard, fence);
        true
    }

    fn fall_behind(&mut self, shard: usize, fence: bool) {
        for worker in &mut self.workers {
            match &mut worker.work[shard] {
                Work::Held { fenced: true, .. } if fence => {}
                Work::Held { known, .. } | Work::Read(known) | Work::Taken { known: Some(known), .. } => {
                    known.behind = (known.behind + 1).min(2);
                }
                _ => {}
            }
        }
    }
}
