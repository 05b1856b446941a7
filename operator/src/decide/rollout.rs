//! Which revision is to have the shards, and how many workers each Deployment is to have.
//!
//! A new revision starts beside the old one and gets the shards when as many of its workers are ready as are wanted; if
//! they never are, the old one keeps running. A Deployment shrinks only after the workers that are one too many own
//! nothing more.

use std::collections::BTreeSet;

use super::assignment::Assignment;
use super::view::{Standing, View};

/// The revision that is to have the shards, `current` being the one that has them now.
pub fn active<'a>(view: &View, target: &'a str, current: Option<&'a str>, replicas: usize) -> &'a str {
    let Some(current) = current.filter(|current| *current != target) else { return target };
    let ready = |revision: &str| {
        view.workers.values().filter(|worker| worker.revision == revision && worker.standing == Standing::Ready).count()
    };
    let there = view.workers.values().any(|worker| worker.revision == current && worker.standing != Standing::Lost);
    if !there || ready(target) >= replicas.max(1) { target } else { current }
}

/// Whether a worker has anything to do with a shard, by the assignment.
pub fn is_involved(assignment: &Assignment, worker: &str) -> bool {
    let is = |name: &Option<String>| name.as_deref() == Some(worker);
    assignment.shards.iter().any(|shard| is(&shard.owner) || is(&shard.next) || is(&shard.former))
}

/// The replicas of the Deployment of the revision that has the shards: `wanted`, or as many as there are until the
/// `surplus` is drained.
pub fn replicas(assignment: &Assignment, wanted: usize, there: usize, surplus: &BTreeSet<String>) -> usize {
    let drained = surplus.iter().all(|worker| !is_involved(assignment, worker));
    if there <= wanted || drained { wanted } else { there }
}

#[cfg(test)]
mod tests {
    use super::super::assignment::Shard;
    use super::super::view::Worker;
    use super::*;

    fn view(workers: &[(&str, &str, Standing)]) -> View {
        let worker = |&(name, revision, standing): &(&str, &str, Standing)| {
            (name.to_owned(), Worker { standing, revision: revision.to_owned(), ..Worker::default() })
        };
        View { workers: workers.iter().map(worker).collect(), ..View::default() }
    }

    #[test]
    fn a_new_revision_gets_the_shards_when_its_workers_are_ready() {
        use Standing::{Lost, Ready, Unsure};
        let old = [("a", "1", Ready), ("b", "1", Ready)];
        let with = |more: &[(&str, &'static str, Standing)]| -> View {
            view(&old.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>())
        };
        assert_eq!(active(&with(&[]), "1", Some("1"), 2), "1");
        assert_eq!(active(&with(&[]), "1", None, 2), "1");
        assert_eq!(active(&with(&[("c", "2", Ready), ("d", "2", Unsure)]), "2", Some("1"), 2), "1");
        assert_eq!(active(&with(&[("c", "2", Ready), ("d", "2", Ready)]), "2", Some("1"), 2), "2");
        assert_eq!(active(&view(&[("a", "1", Lost), ("c", "2", Unsure)]), "2", Some("1"), 2), "2");
        assert_eq!(active(&view(&[]), "2", Some("1"), 0), "2");
    }

    #[test]
    fn a_deployment_shrinks_after_the_surplus_is_drained() {
        let owner = |name: &str| Shard { owner: Some(name.to_owned()), ..Shard::default() };
        let assignment = Assignment { generation: 1, shards: vec![owner("a"), owner("b")] };
        let surplus = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(replicas(&assignment, 1, 2, &surplus(&["b"])), 2);
        assert_eq!(replicas(&assignment, 1, 2, &surplus(&["c"])), 1);
        assert_eq!(replicas(&assignment, 3, 2, &surplus(&[])), 3);
    }
}
