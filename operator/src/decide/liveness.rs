//! Whether a worker is there, from its pod, its reports and its shards' positions in Kafka.
//!
//! Silence alone is no proof: a worker that cannot reach the operator works on, and its positions move. So a worker is
//! lost only if its pod is gone, its process has ended and does not come back, or it is silent *and* nothing of what
//! waits for it is committed. Who judges must itself be in a position to: a new leader has heard nobody yet, and one
//! that more than half of all workers are silent to at once is rather cut off itself. Then only pods that are gone
//! count, on the API server's word.

use std::time::Duration;

use super::view::Standing;

/// How long a worker's process may be away before its shards go to others.
pub const RESTART: Duration = Duration::from_secs(2);

/// What is known about a worker. Times are since the epoch of all times here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its pod.
    pub pod: Pod,
    /// When it was first seen.
    pub seen: Duration,
    /// Since when its process is known to have ended, as long as no other has reported: its container does not run, or
    /// restarted.
    pub ended: Option<Duration>,
    /// Its last report to this operator, of the process that runs.
    pub report: Option<LastReport>,
    /// The shards that it owns.
    pub shards: Vec<Progress>,
}

/// A worker's pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pod {
    /// The API server says that there is none.
    #[default]
    Absent,
    /// It has succeeded or failed, and will not run again.
    Ended,
    /// It is there; deleted: only until it has ended.
    Present {
        /// Whether it is to be deleted.
        deleted: bool,
    },
}

/// A worker's last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReport {
    /// When it arrived.
    pub at: Duration,
    /// How soon it announced the next one.
    pub next: Duration,
    /// Whether the worker said that it was asked to end.
    pub leaving: bool,
}

/// What Kafka says about a shard, whoever runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When its positions moved last, or its worker was made its owner.
    pub moved: Duration,
    /// Since when input waits without a break; None if there is none, or nobody knows.
    pub input: Option<Duration>,
}

/// What a pipeline says about patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Its `workerTimeout`.
    pub worker_timeout: Duration,
    /// Its `checkpoint.interval`.
    pub interval: Duration,
}

/// Who judges, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judge {
    /// The moment.
    pub now: Duration,
    /// Since when this operator is the leader.
    pub leader_since: Duration,
    /// Whether it takes itself for cut off; see [`is_cut_off`].
    pub cut_off: bool,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its pod is there, and it has not reported yet.
    Starting,
    /// It reports in time.
    Ready,
    /// Its process has ended, and another is expected.
    Restarting,
    /// It should have reported.
    Overdue,
    /// It is about to end.
    Leaving,
    /// There is no such pod any more, or it has ended.
    Gone,
}

/// What a worker was judged to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How it is.
    pub state: State,
    /// What it can be relied upon for.
    pub standing: Standing,
    /// Why, for people; it follows the worker's name: "is lost: its pod has ended".
    pub message: String,
}

/// Whether so many workers are overdue, of all pipelines, that it must be the operator's own fault.
pub fn is_cut_off(overdue: usize, workers: usize) -> bool {
    overdue >= 2 && overdue * 2 > workers
}

/// Whether a worker that should report is late with it; None if it need not: then it does not count in [`is_cut_off`].
/// One that owns shards should: it has reported to somebody once.
pub fn is_overdue(worker: &Observed, patience: &Patience, judge: &Judge) -> Option<bool> {
    let runs = matches!(worker.pod, Pod::Present { .. }) && worker.ended.is_none();
    let reports = runs && (worker.report.is_some() || !worker.shards.is_empty());
    reports.then(|| silence(worker, judge) > patience.worker_timeout)
}

/// Judges a worker.
pub fn judge(worker: &Observed, patience: &Patience, judge: &Judge) -> Judgement {
    let deleted = match worker.pod {
        Pod::Absent => return told(State::Gone, Standing::Lost, "is lost: its pod is gone"),
        Pod::Ended => return told(State::Gone, Standing::Lost, "is lost: its pod has ended"),
        Pod::Present { deleted } => deleted,
    };
    let leaving = deleted || worker.report.is_some_and(|report| report.leaving);
    if let Some(ended) = worker.ended {
        let new_leader = judge.now < judge.leader_since + patience.worker_timeout;
        return restarting(judge.now.saturating_sub(ended), leaving, new_leader);
    }
    if silence(worker, judge) > patience.worker_timeout && is_overdue(worker, patience, judge).is_some() {
        return overdue(worker, leaving, patience, judge);
    }
    match worker.report {
        _ if deleted => told(State::Leaving, Standing::Leaving, "is leaving: its pod is being deleted"),
        _ if leaving => told(State::Leaving, Standing::Leaving, "is leaving: it was asked to end"),
        Some(_) => told(State::Ready, Standing::Ready, "is ready"),
        None => told(State::Starting, Standing::Unsure, "has not reported yet"),
    }
}

fn told(state: State, standing: Standing, message: impl Into<String>) -> Judgement {
    Judgement { state, standing, message: message.into() }
}

/// For how long a report has been due. A new leader can have missed the last one, and so counts from its own beginning.
fn silence(worker: &Observed, judge: &Judge) -> Duration {
    let due = worker.report.map_or(worker.seen, |report| report.at + report.next);
    judge.now.saturating_sub(due.max(judge.leader_since))
}

fn restarting(away: Duration, leaving: bool, new_leader: bool) -> Judgement {
    let since = seconds(away);
    match (leaving, new_leader) {
        (_, true) => told(State::Restarting, Standing::Unsure, format!("ended {since} ago; this operator is new")),
        (true, _) => told(State::Leaving, Standing::Lost, "is lost: its process has ended, and its pod is leaving"),
        _ if away > RESTART => {
            let message = format!("is lost: its process ended {since} ago and has not come back");
            told(State::Restarting, Standing::Lost, message)
        }
        _ => told(State::Restarting, Standing::Unsure, format!("restarts: its process ended {since} ago")),
    }
}

fn overdue(worker: &Observed, leaving: bool, patience: &Patience, judge: &Judge) -> Judgement {
    let bound = patience.worker_timeout.max(patience.interval * 2);
    let still = still_since(&worker.shards).map(|since| judge.now.saturating_sub(since));
    let silence = format!("its report is {} overdue", seconds(silence(worker, judge)));
    let (state, standing) =
        if leaving { (State::Leaving, Standing::Leaving) } else { (State::Overdue, Standing::Unsure) };
    match still {
        _ if judge.cut_off => {
            let message = format!("is silent: {silence}; so are most others, and this operator may be cut off");
            told(state, standing, message)
        }
        Some(still) if still >= bound => {
            let message = format!("is lost: {silence}, and for {} nothing of its input was committed", seconds(still));
            told(state, Standing::Lost, message)
        }
        Some(_) => told(state, standing, format!("is silent: {silence}; its shards are watched")),
        None => told(state, standing, format!("is silent: {silence}; no input waits for it")),
    }
}

/// Since when nothing of a worker's shards has moved although input waits; None if none waits.
fn still_since(shards: &[Progress]) -> Option<Duration> {
    let input = shards.iter().filter_map(|shard| shard.input).min()?;
    let moved = shards.iter().map(|shard| shard.moved).max()?;
    Some(input.max(moved))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::properties::run;
    use super::*;

    const PATIENCE: Patience =
        Patience { worker_timeout: Duration::from_secs(5), interval: Duration::from_millis(500) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A worker whose last report came at 100 s and announced the next within 1 s.
    fn worker() -> Observed {
        let report = Some(LastReport { at: at(100), next: at(1), leaving: false });
        Observed { pod: Pod::Present { deleted: false }, seen: at(1), ended: None, report, shards: vec![] }
    }

    fn with(change: impl FnOnce(&mut Observed)) -> Observed {
        let mut worker = worker();
        change(&mut worker);
        worker
    }

    fn standing_still(moved: u64, input: u64) -> Vec<Progress> {
        vec![Progress { moved: at(moved), input: Some(at(input)) }, Progress { moved: at(3), input: None }]
    }

    fn judged(worker: &Observed, now: u64) -> (State, Standing) {
        let judgement = judge(worker, &PATIENCE, &Judge { now: at(now), leader_since: at(10), cut_off: false });
        assert!(judgement.message.contains(' '), "{judgement:?}");
        (judgement.state, judgement.standing)
    }

    #[test]
    fn each_state_has_its_case() {
        use Standing::{Leaving, Lost, Ready, Unsure};
        let deleted = || Pod::Present { deleted: true };
        let cases = [
            ("no pod", with(|w| w.pod = Pod::Absent), 100, State::Gone, Lost),
            ("pod has ended", with(|w| w.pod = Pod::Ended), 100, State::Gone, Lost),
            ("has not reported", with(|w| w.report = None), 12, State::Starting, Unsure),
            ("has never reported, and has no shards", with(|w| w.report = None), 900, State::Starting, Unsure),
            ("reports", worker(), 106, State::Ready, Ready),
            ("silent, has no shards", worker(), 107, State::Overdue, Unsure),
            ("silent, no input", with(|w| w.shards = vec![Progress::default()]), 900, State::Overdue, Unsure),
            ("silent, moves", with(|w| w.shards = standing_still(103, 90)), 107, State::Overdue, Unsure),
            ("silent, stands still", with(|w| w.shards = standing_still(102, 90)), 107, State::Overdue, Lost),
            ("stands still, reports", with(|w| w.shards = standing_still(2, 9)), 106, State::Ready, Ready),
            ("silent, new input", with(|w| w.shards = standing_still(2, 106)), 110, State::Overdue, Unsure),
            ("silent, input waits", with(|w| w.shards = standing_still(2, 106)), 111, State::Overdue, Lost),
            ("ended", with(|w| w.ended = Some(at(101))), 103, State::Restarting, Unsure),
            ("ended, not back", with(|w| w.ended = Some(at(101))), 104, State::Restarting, Lost),
            ("deleted", with(|w| w.pod = deleted()), 101, State::Leaving, Leaving),
            (
                "deleted before it has reported",
                with(|w| (w.pod, w.report) = (deleted(), None)),
                12,
                State::Leaving,
                Leaving,
            ),
            ("deleted, silent", with(|w| w.pod = deleted()), 107, State::Leaving, Leaving),
            (
                "deleted, process ended",
                with(|w| (w.pod, w.ended) = (deleted(), Some(at(101)))),
                101,
                State::Leaving,
                Lost,
            ),
        ];
        for (name, worker, now, state, standing) in cases {
            assert_eq!(judged(&worker, now), (state, standing), "{name}");
        }
        let mut asked = worker();
        asked.report = asked.report.map(|report| LastReport { leaving: true, ..report });
        assert_eq!(judged(&asked, 101), (State::Leaving, Leaving));
        asked.shards = standing_still(2, 3);
        assert_eq!(judged(&asked, 107), (State::Leaving, Lost));
    }

    #[test]
    fn a_slow_checkpoint_is_waited_for() {
        let slow = Patience { interval: at(10), ..PATIENCE };
        let worker = with(|w| w.shards = standing_still(100, 90));
        let standing =
            |now| judge(&worker, &slow, &Judge { now: at(now), leader_since: at(0), cut_off: false }).standing;
        assert_eq!((standing(119), standing(120)), (Standing::Unsure, Standing::Lost));
    }

    #[test]
    fn a_new_leader_waits_a_full_timeout() {
        let new = |now| Judge { now: at(now), leader_since: at(200), cut_off: false };
        let silent = with(|w| w.shards = standing_still(2, 3));
        let ended = with(|w| w.ended = Some(at(190)));
        let standing = |worker: &Observed, now| judge(worker, &PATIENCE, &new(now)).standing;
        assert_eq!((standing(&silent, 205), standing(&silent, 206)), (Standing::Ready, Standing::Lost));
        assert_eq!((standing(&ended, 204), standing(&ended, 205)), (Standing::Unsure, Standing::Lost));
        let unheard = with(|w| (w.report, w.shards) = (None, standing_still(2, 3)));
        assert_eq!((standing(&unheard, 205), standing(&unheard, 206)), (Standing::Unsure, Standing::Lost));
        assert_eq!(standing(&with(|w| w.pod = Pod::Absent), 200), Standing::Lost);
    }

    #[test]
    fn who_is_cut_off_loses_nobody_but_whose_pod_is_gone() {
        for (overdue, workers, cut_off) in
            [(0, 0, false), (1, 1, false), (1, 2, false), (2, 2, true), (2, 3, true), (2, 4, false)]
        {
            assert_eq!(is_cut_off(overdue, workers), cut_off, "{overdue} of {workers}");
        }
        let cut_off = Judge { now: at(900), leader_since: at(0), cut_off: true };
        let silent = judge(&with(|w| w.shards = standing_still(2, 3)), &PATIENCE, &cut_off);
        assert_eq!((silent.state, silent.standing), (State::Overdue, Standing::Unsure));
        assert!(silent.message.contains("this operator may be cut off"), "{}", silent.message);
        assert_eq!(judge(&with(|w| w.pod = Pod::Ended), &PATIENCE, &cut_off).standing, Standing::Lost);
    }

    #[test]
    fn only_who_should_report_can_be_overdue() {
        let judge = Judge { now: at(107), leader_since: at(0), cut_off: false };
        let late = |worker: Observed| is_overdue(&worker, &PATIENCE, &judge);
        assert_eq!(late(worker()), Some(true));
        assert_eq!(late(with(|w| w.report = None)), None);
        assert_eq!(late(with(|w| (w.report, w.shards) = (None, standing_still(2, 3)))), Some(true));
        assert_eq!(late(with(|w| w.ended = Some(at(106)))), None);
        assert_eq!(late(with(|w| w.pod = Pod::Absent)), None);
    }

    prop_compose! {
        fn anybody()(
            pod in prop_oneof![Just(Pod::Absent), Just(Pod::Ended), any::<bool>().prop_map(|deleted| Pod::Present { deleted })],
            seen in 0..30_u64,
            ended in proptest::option::of(0..60_u64),
            report in proptest::option::of((0..60_u64, 0..5_u64, any::<bool>())),
            shards in proptest::collection::vec((0..60_u64, proptest::option::of(0..60_u64)), 0..3),
        ) -> Observed {
            let report = report.map(|(arrived, next, leaving)| LastReport { at: at(arrived), next: at(next), leaving });
            let shards = shards.into_iter().map(|(moved, input)| Progress { moved: at(moved), input: input.map(at) });
            Observed { pod, seen: at(seen), ended: ended.map(at), report, shards: shards.collect() }
        }
    }

    #[test]
    fn nobody_is_lost_without_proof() {
        run(&(anybody(), 0..90_u64, 0..60_u64, any::<bool>()), |(worker, now, leader_since, cut_off)| {
            let who = Judge { now: at(now), leader_since: at(leader_since), cut_off };
            let judgement = judge(&worker, &PATIENCE, &who);
            prop_assert_eq!(judgement.standing == Standing::Ready, judgement.state == State::Ready);
            let is_lost = judgement.standing == Standing::Lost;
            if matches!(worker.pod, Pod::Present { .. }) {
                let input = worker.shards.iter().any(|shard| shard.input.is_some());
                prop_assert!(!is_lost || worker.ended.is_some() || (input && !cut_off));
                prop_assert!(!is_lost || now >= leader_since + 5);
            } else {
                prop_assert!(is_lost);
            }
            Ok(())
        });
    }
}
