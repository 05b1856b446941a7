//! Tables of single decisions. Workers and shards are written in short:
//!
//! ```text
//! a    ready             a    owned by a
//! a!   leaving           a>b  owned by a, b prepares
//! a?   nobody is sure    b<a  owned by b, a hands over
//! a~   lost              -    nobody's
//! a-   not wanted        >b   nobody's, b prepares
//! a@2  of revision 2
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::decide::quarantine::{Quarantine, Suspicion, Verdict};

fn shard(short: &str) -> Shard {
    let name = |name: &str| (!matches!(name, "" | "-")).then(|| name.to_owned());
    let of =
        |owner, next, former| Shard { owner: name(owner), next: name(next), former: name(former), ..Shard::default() };
    match (short.split_once('>'), short.split_once('<')) {
        (Some((owner, next)), _) => of(owner, next, ""),
        (_, Some((owner, former))) => of(owner, "", former),
        _ => of(short, "", ""),
    }
}

fn assignment(shards: &str) -> Assignment {
    Assignment { generation: 7, shards: shards.split(' ').map(shard).collect() }
}

fn short(assignment: &Assignment) -> String {
    let text = |name: &Option<String>, mark: &str| name.as_ref().map_or(String::new(), |name| format!("{mark}{name}"));
    let shard = |shard: &Shard| {
        let owner = shard.owner.clone().unwrap_or_else(|| "-".into());
        format!("{owner}{}{}", text(&shard.next, ">"), text(&shard.former, "<"))
    };
    assignment.shards.iter().map(shard).collect::<Vec<_>>().join(" ")
}

fn worker(short: &str) -> (String, Worker) {
    let (name, marks) = short.split_at(1);
    let standing = match marks.chars().next() {
        Some('!') => Standing::Leaving,
        Some('?') => Standing::Unsure,
        Some('~') => Standing::Lost,
        _ => Standing::Ready,
    };
    let revision = if marks.contains("@2") { "2" } else { "1" };
    let worker = Worker {
        standing,
        why: format!("is {standing:?}"),
        revision: revision.into(),
        chain_hash: Some(format!("hash-{revision}")),
        wanted: !marks.contains('-'),
        generation: 7,
        ..Worker::default()
    };
    (name.to_owned(), worker)
}

fn view(workers: &str) -> View {
    let workers = workers.split_whitespace().map(worker).collect();
    View { now: Duration::from_secs(100), revision: "1".into(), workers, ..View::default() }
}

fn decide(shards: &str, view: &View) -> String {
    let before = assignment(shards);
    let decision = assign(&before, view);
    let changed = decision.assignment.shards != before.shards;
    assert_eq!(decision.assignment.generation, 7 + i64::from(changed), "{shards}");
    let again = assign(&decision.assignment, &View { pending: BTreeMap::new(), ..view.clone() });
    assert_eq!(short(&again.assignment), short(&decision.assignment), "decided twice: {shards}");
    short(&decision.assignment)
}

fn reasons(shards: &str, view: &View) -> Vec<Reason> {
    assign(&assignment(shards), view).moves.into_iter().map(|done| done.reason).collect()
}

#[test]
fn owners_are_replaced_when_they_are_lost() {
    let cases = [
        ("a b", "a b", "a b"),
        ("- -", "", "- -"),
        ("- -", "a", "a a"),
        ("- - -", "a b", "a b a"),
        ("a b b", "a b~", "a a a"),
        ("a b b", "a c", "a c a"),
        ("a b b c", "a b~ c", "a a c c"),
        ("b", "b~", "-"),
        ("b", "b?", "b"),
        ("b", "b!", "b"),
        ("b c", "b! c~", "b -"),
        ("b c", "b? c~", "b -"),
        ("b>c a a", "a c", "c a a"),
        ("b>c a a", "a c?", "a a a"),
        ("b<c a", "a c", "c a"),
    ];
    for (before, workers, after) in cases {
        assert_eq!(decide(before, &view(workers)), after, "{before} with {workers}");
    }
}

#[test]
fn shards_that_are_new_are_added_and_none_is_dropped() {
    let mut view = view("a");
    view.shards = 3;
    assert_eq!(decide("a", &view), "a a a");
    view.shards = 1;
    assert_eq!(decide("a a", &view), "a a");
}

#[test]
fn a_planned_move_waits_for_the_preparation_but_not_for_ever() {
    use ShardPhase::{Complete, Prepared, Preparing, Running, Starting, Stopped, Waiting};
    let cases = [
        ("b", None, 4, 7, "a>b"),
        ("b", Some(Preparing), 4, 7, "a>b"),
        ("b", Some(Waiting), 4, 7, "a>b"),
        ("b", Some(Stopped), 4, 7, "a>b"),
        ("b", Some(Prepared), 0, 7, "b<a"),
        ("b", Some(Prepared), 0, 6, "a>b"),
        ("b", Some(Starting), 0, 7, "b<a"),
        ("b", Some(Running), 0, 7, "b<a"),
        ("b", Some(Complete), 0, 7, "b<a"),
        ("b", None, 5, 0, "b<a"),
        ("b", Some(Waiting), 5, 7, "b<a"),
        ("b", Some(Stopped), 9, 7, "a>b"),
        ("b?", Some(Prepared), 4, 7, "a>b"),
        ("b?", Some(Prepared), 5, 7, "a"),
        ("b~", Some(Prepared), 0, 7, "a"),
        ("b!", Some(Prepared), 0, 7, "a"),
        ("b-", Some(Prepared), 0, 7, "a"),
        ("b@2", Some(Prepared), 0, 7, "a"),
    ];
    for (target, phase, waited, generation, after) in cases {
        let mut view = view(&format!("a {target}"));
        let worker = view.workers.get_mut("b").unwrap();
        worker.generation = generation;
        worker.shards.extend(phase.map(|phase| (0, phase)));
        view.pending.insert(0, Pending { since: view.now.saturating_sub(Duration::from_secs(waited)), generation: 7 });
        assert_eq!(decide("a>b", &view), after, "{target} reports {phase:?} after {waited} s");
    }
}

#[test]
fn a_move_that_nobody_has_looked_at_counts_from_now() {
    let mut view = view("a b");
    assert_eq!(decide("a>b", &view), "a>b");
    assert_eq!(assign(&assignment("a>b"), &view).look_again, Some(Duration::from_secs(105)));
    view.workers.get_mut("b").unwrap().shards.insert(0, ShardPhase::Prepared);
    assert_eq!(decide("a>b", &view), "b<a");
}

#[test]
fn a_worker_that_cannot_start_a_shard_gets_it_only_if_its_owner_leaves() {
    let mut view = view("a! b");
    view.workers.get_mut("b").unwrap().shards.insert(0, ShardPhase::Stopped);
    view.pending.insert(0, Pending { since: Duration::from_secs(95), generation: 7 });
    assert_eq!(decide("a>b", &view), "b<a");
}

#[test]
fn a_move_is_done_when_the_owner_holds_the_shard_or_the_former_one_is_lost() {
    use ShardPhase::{Prepared, Running, Starting, Waiting};
    let cases = [
        ("a b", None, 7, "b<a"),
        ("a b", Some(Prepared), 7, "b<a"),
        ("a b", Some(Starting), 7, "b<a"),
        ("a b", Some(Running), 6, "b<a"),
        ("a b", Some(Running), 7, "b"),
        ("a b", Some(Waiting), 7, "b"),
        ("a~ b", None, 7, "b"),
        ("b", None, 7, "b"),
        ("a! b", None, 7, "b<a"),
    ];
    for (workers, phase, generation, after) in cases {
        let mut view = view(workers);
        let worker = view.workers.get_mut("b").unwrap();
        worker.generation = generation;
        worker.shards.extend(phase.map(|phase| (0, phase)));
        view.pending.insert(0, Pending { since: view.now, generation: 7 });
        assert_eq!(decide("b<a", &view), after, "{workers}, {phase:?}");
    }
}

#[test]
fn a_shard_has_started_once_it_runs_and_for_ever() {
    let mut view = view("a");
    for (phase, started) in [
        (ShardPhase::Starting, false),
        (ShardPhase::Waiting, false),
        (ShardPhase::Stopped, false),
        (ShardPhase::Running, true),
        (ShardPhase::Complete, true),
    ] {
        view.workers.get_mut("a").unwrap().shards.insert(0, phase);
        assert_eq!(assign(&assignment("a"), &view).assignment.shards[0].started, started, "{phase:?}");
    }
    let mut before = assignment("a");
    before.shards[0].started = true;
    for workers in ["", "b", "a~ b"] {
        assert!(assign(&before, &self::view(workers)).assignment.shards[0].started, "{workers}");
    }
}

#[test]
fn shards_leave_workers_that_are_to_be_without_them() {
    let cases = [
        ("a a b", "a! b c", "a>c a>b b"),
        ("a a b", "a- b c", "a>c a>b b"),
        ("a b", "a@2 b", "a>b b"),
        ("a a", "a! b!", "a a"),
        ("a a", "a- b-", "a>b a"),
        ("a a", "a@2 b@2", "a>b a"),
        ("a a", "a@2 b?", "a a"),
        ("a a", "a? b@2", "a a"),
        ("a a", "a?@2 b", "a>b a>b"),
        ("a>c b", "a! b c~", "a>b b"),
    ];
    for (before, workers, after) in cases {
        assert_eq!(decide(before, &view(workers)), after, "{before} with {workers}");
    }
}

#[test]
fn a_new_revision_gets_all_shards_once_it_has_a_ready_worker() {
    let mut view = view("a b c?@2");
    view.revision = "2".into();
    assert_eq!(decide("a a b b", &view), "a a b b");
    assert_eq!(decide("a a - b", &view), "a a b b");
    view.workers.extend([worker("c@2"), worker("d@2")]);
    assert_eq!(decide("a a b b", &view), "a>c a>d b>c b>d");
    assert_eq!(reasons("a", &view), [Reason::Revision]);
    assert_eq!(decide("a a - b", &view), "a>d a>c c b>d");
    view.workers.remove("d");
    assert_eq!(decide("c d d b", &view), "c c c b>c", "not back to the old ones");
    view.workers.extend([worker("c~@2")]);
    assert_eq!(decide("c c a b", &view), "a b a b", "nobody else is there");
    let given = assign(&assignment("- a"), &view).assignment;
    assert_eq!(given.shards[0].chain_hash.as_deref(), Some("hash-1"));
}

#[test]
fn load_counts_and_not_number() {
    let cases: [(&str, &str, &[f64], &str); 8] = [
        ("a a a b", "a b", &[0.1, 0.1, 0.1, 0.3], "a a a b"),
        ("a a a b", "a b", &[0.3, 0.05, 0.25, 0.1], "a a a>b b"),
        ("a a a a", "a b", &[0.8, 0.1, 0.1, 0.1], "a>b a a a"),
        ("a", "a b", &[0.9], "a"),
        ("a a", "a b", &[0.5, 0.52], "a>b a"),
        ("a a b", "a b", &[0.5, 0.05, 0.5], "a a b"),
        ("a a a a a a", "a b c", &[], "a>b a>c a a a a"),
        ("a a b b", "a b c", &[0.0, 0.001, 0.0, 0.002], "a>c a b b"),
    ];
    for (before, workers, loads, after) in cases {
        let mut view = view(workers);
        view.loads = (0..).zip(loads.iter().copied()).collect();
        assert_eq!(decide(before, &view), after, "{before} with {loads:?}");
    }
}

#[test]
fn a_load_that_is_unknown_or_nonsense_is_an_equal_share() {
    let mut view = view("a b");
    for nonsense in [f64::NAN, f64::INFINITY] {
        view.loads = [(0, 0.4), (1, 0.2), (2, nonsense)].into();
        assert_eq!(decide("a b b", &view), "a b b");
        view.loads = [(0, 0.9), (1, 0.1), (2, nonsense)].into();
        assert_eq!(decide("a a b", &view), "a a>b b");
    }
}

#[test]
fn many_small_shards_are_balanced_too() {
    let view = view("a b");
    let before = ["a"; 40].join(" ");
    assert_eq!(short(&assign(&assignment(&before), &view).assignment).matches('>').count(), BALANCE_MOVES);
}

#[test]
fn balance_waits_while_there_is_worse_to_do() {
    assert_eq!(decide("a a a a", &view("a c")), "a>c a>c a a");
    assert_eq!(decide("a>c a<b a a", &view("a b c")), "a>c a<b a a");
    let orphans = assign(&assignment("a a a a b"), &view("a c d"));
    assert_eq!(short(&orphans.assignment), "a a a a c");
}

#[test]
fn who_may_be_cut_off_gives_away_only_what_nobody_has() {
    let mut view = view("a! b c");
    view.hold = true;
    view.workers.get_mut("b").unwrap().shards.insert(1, ShardPhase::Prepared);
    assert_eq!(decide("a a>b d d", &view), "a a>b c b");
}

fn quarantined(shards: &[(u32, u64, &str)]) -> Verdict {
    let quarantine = |&(shard, until, worker): &(u32, u64, &str)| {
        let until = Duration::from_secs(until);
        (
            shard,
            Quarantine { until, worker: worker.into(), deaths: 3, message: format!("shard {shard} is quarantined") },
        )
    };
    Verdict { quarantined: shards.iter().map(quarantine).collect(), suspicions: vec![] }
}

#[test]
fn a_quarantined_shard_rests_and_then_has_a_worker_of_its_own() {
    type Case = (&'static str, &'static str, &'static [(u32, u64, &'static str)], &'static str);
    let cases: [Case; 14] = [
        ("a a b b", "a b", &[(0, 110, "a")], "- a>b b b"),
        ("- a>b b b", "a b", &[(0, 110, "a")], "- a>b b b"),
        ("- b b b", "a b", &[(0, 100, "a")], "a b b b"),
        ("a b b b", "a b", &[(0, 90, "a")], "a b b b"),
        ("- b b b", "a? b", &[(0, 100, "a")], "- b b b"),
        ("- b b b", "a~ b", &[(0, 100, "a")], "- b b b"),
        ("a b b b", "a? b", &[(0, 90, "a")], "a b b b"),
        ("a c b b", "b c", &[(0, 90, "a")], "- c>b b b"),
        ("- b b b", "b c", &[(0, 90, "a")], "c b b b"),
        ("- b b b", "b", &[(0, 90, "a")], "b b b b"),
        ("a b b b", "a! b", &[(0, 90, "a")], "a>b b b b"),
        ("- b c c", "a b c", &[(3, 110, "c")], "a b c>a -"),
        ("a b b a", "a b", &[(0, 90, "a"), (3, 90, "b")], "a b b a"),
        ("b>a b b a", "a b", &[(0, 90, "a")], "b>a b b a>b"),
    ];
    for (before, workers, shards, after) in cases {
        let mut view = view(workers);
        view.verdict = quarantined(shards);
        assert_eq!(short(&assign(&assignment(before), &view).assignment), after, "{before} with {workers}, {shards:?}");
    }
}

#[test]
fn a_host_that_does_not_come_back_is_replaced() {
    let mut view = view("a~ b c");
    view.verdict = quarantined(&[(0, 90, "a")]);
    assert_eq!(decide("- b c", &view), "- b c");
    view.now = Duration::from_secs(390);
    assert_eq!(decide("- b c", &view), "- b>c c");
    assert_eq!(decide("- c c", &view), "b c c");
}

#[test]
fn suspects_are_spread_before_load_is_looked_at_and_stay_where_they_are() {
    let mut view = view("a b");
    view.loads = [(0, 0.05), (1, 0.05), (2, 0.9), (3, 0.9)].into();
    assert_eq!(decide("a a b b", &view), "a a b>a b");
    let shards = BTreeSet::from([0, 1]);
    view.verdict.suspicions = vec![Suspicion { shards, message: String::new() }];
    assert_eq!(decide("a a b b", &view), "a>b a b>a b");
    assert_eq!(reasons("a a b b", &view), [Reason::Quarantine, Reason::Load]);
    assert_eq!(decide("b a a b", &view), "b a a b");
}

#[test]
fn a_generation_that_workers_are_ahead_of_is_jumped_over() {
    let mut view = view("a");
    view.workers.get_mut("a").unwrap().generation = 40;
    let decision = assign(&assignment("a"), &view);
    assert_eq!((decision.assignment.generation, decision.moves.len()), (41, 0));
    view.workers.get_mut("a").unwrap().generation = 41;
    assert_eq!(assign(&decision.assignment, &view).assignment, decision.assignment);
}

#[test]
fn people_are_told_what_moves_and_why() {
    let told = |shards: &str, view: &View| {
        let moves = assign(&assignment(shards), view).moves;
        moves.into_iter().map(|done| (done.reason, done.message())).collect::<Vec<_>>()
    };
    let cases = [
        ("-", "b", Reason::NoOwner, "shard 0 had no owner; b takes it over"),
        ("a", "a~ b", Reason::OwnerLost, "shard 0: a is Lost; b takes it over"),
        ("a", "b", Reason::OwnerLost, "shard 0: a is lost: its pod is gone; b takes it over"),
        ("a", "a~", Reason::OwnerLost, "shard 0: a is Lost; no other worker can have it now"),
        ("a", "a! b", Reason::OwnerLeaves, "shard 0 moves from a to b: a is Leaving"),
        ("a", "a- b", Reason::OwnerUnwanted, "shard 0 moves from a to b: a is one worker too many"),
        ("a", "a@2 b", Reason::Revision, "shard 0 moves from a to b: a runs the revision 2, not 1"),
        ("a>b", "a b~", Reason::TakenBack, "shard 0 does not go to b, which is Lost"),
        ("a>b", "a b-", Reason::TakenBack, "shard 0 does not go to b, which is not to have it any more"),
        ("a a", "a b", Reason::Load, "shard 0 moves from a to b: b has less to do"),
    ];
    for (shards, workers, reason, message) in cases {
        assert_eq!(told(shards, &view(workers)), [(reason, message.to_owned())], "{shards} with {workers}");
    }
    let mut prepared = view("a b");
    prepared.pending.insert(0, Pending { since: Duration::from_secs(95), generation: 7 });
    let late = "shard 0: b is not prepared after 5 s; a hands it over regardless";
    assert_eq!(told("a>b", &prepared), [(Reason::PreparationLate, late.to_owned())]);
    prepared.workers.get_mut("b").unwrap().shards.insert(0, ShardPhase::Prepared);
    assert_eq!(told("a>b", &prepared), [(Reason::Prepared, "shard 0: b is prepared; a hands it over".to_owned())]);
    prepared.verdict = quarantined(&[(0, 110, "a")]);
    assert_eq!(told("a>b", &prepared), [(Reason::Quarantine, "shard 0 is quarantined".to_owned())]);
}
