//! The status: what a person should know about a Pipeline, in kstatus' words.
//!
//! Exactly one thing is told in the conditions: the first that stands in the way, in the order in which a person would
//! mend it. `Stalled` means that nothing gets better without a person; `Reconciling` that the operator or a worker is at
//! it; `Ready` that all shards run, or that a Batch is complete. A pure function of what was observed, so that writing
//! it causes no other one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use millstream_crds::PipelineStatus;
use millstream_crds::report::{ShardPhase, WorkerReport};

use super::assignment::Assignment;
use super::deletion::Told;
use super::quarantine::Verdict;
use super::view::Standing;
use crate::progress::PartitionState;

/// The longest message of a condition; the API server takes 32,768 bytes.
const MESSAGE: usize = 4096;
/// How many of several like things are told one by one.
const EXAMPLES: usize = 3;

/// What is known about a Pipeline when its status is made.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The spec's generation.
    pub generation: i64,
    /// Problems that stand before everything else: the manifest does not compile, a setting cannot be used.
    pub refused: Option<Refused>,
    /// Whether it is not to run.
    pub suspended: bool,
    /// Whether it is a Batch.
    pub batch: bool,
    /// The number of workers that there should be.
    pub replicas: i32,
    /// The revision that has the shards, or is to have them.
    pub revision: Option<String>,
    /// The shards' owners.
    pub assignment: Assignment,
    /// The number of shards, once a worker has told it.
    pub shards: Option<u32>,
    /// What stands in the way of pods, by pod: an image, a volume, a quota.
    pub pods: BTreeMap<String, PodFact>,
    /// The workers' last reports, by worker.
    pub reports: BTreeMap<String, WorkerReport>,
    /// The shards that take their workers down.
    pub verdict: Verdict,
    /// The source partitions as Kafka tells them; none while it is not known.
    pub partitions: Vec<PartitionState>,
    /// Records between the checkpoints and the ends, where that is known.
    pub lag: Option<i64>,
    /// The last scaling decision.
    pub last_scaling: Option<String>,
    /// What is done before it goes, if it is being deleted.
    pub deletion: Option<Told>,
}

/// Why a Pipeline is not run as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A pod as far as people need to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFact {
    /// What the worker can be relied upon for.
    pub standing: Standing,
    /// What stands in the way, if anything: one CamelCase word and a text.
    pub trouble: Option<(String, String)>,
}

/// Which of the conditions is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Ready,
    Reconciling,
    Stalled,
    /// It is as it was asked to be, and does not run.
    Nothing,
}

/// What is told: a reason and a message, and which condition is true.
struct Word {
    holds: Holds,
    reason: &'static str,
    message: String,
}

/// The status of a Pipeline; `before` is the one that stands there.
pub fn status(facts: &Facts, before: Option<&PipelineStatus>, now: Timestamp) -> PipelineStatus {
    let was_complete = facts.batch && before.is_some_and(|before| is_true(before, "Complete"));
    let first = facts.deletion.is_some() || facts.refused.is_some();
    let word = if was_complete && !first { stays_complete(facts) } else { word(facts) };
    let complete = was_complete || word.reason == "Complete";
    let mut conditions = vec![
        condition("Ready", word.holds == Holds::Ready, &word, facts, before, now),
        condition("Reconciling", word.holds == Holds::Reconciling, &word, facts, before, now),
        condition("Stalled", word.holds == Holds::Stalled, &word, facts, before, now),
    ];
    if facts.batch {
        conditions.push(condition("Complete", complete, &word, facts, before, now));
    }
    let rate: f64 = facts.reports.values().map(|report| report.records_per_second).sum();
    PipelineStatus {
        conditions,
        observed_generation: Some(facts.generation),
        replicas: facts.pods.len() as i32,
        selector: None,
        active_revision: facts.revision.clone(),
        shards: shard_count(facts).map(|shards| shards as i32).or_else(|| before.and_then(|before| before.shards)),
        lag: facts.lag,
        rate: (!facts.reports.is_empty()).then_some(rate.round() as i64),
        last_checkpoint: last_checkpoint(facts).or_else(|| before.and_then(|before| before.last_checkpoint.clone())),
        last_scaling: facts.last_scaling.clone(),
    }
}

/// Whether a condition of this type is true.
pub fn is_true(status: &PipelineStatus, kind: &str) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn shard_count(facts: &Facts) -> Option<u32> {
    facts.shards.or_else(|| (!facts.assignment.shards.is_empty()).then_some(facts.assignment.shards.len() as u32))
}

fn last_checkpoint(facts: &Facts) -> Option<String> {
    let shards = facts.reports.values().flat_map(|report| &report.shards);
    let newest = shards.filter_map(|shard| shard.checkpoint_millis).max()?;
    Timestamp::from_millisecond(newest).ok().map(|timestamp| timestamp.to_string())
}

fn condition(
    kind: &str,
    holds: bool,
    word: &Word,
    facts: &Facts,
    before: Option<&PipelineStatus>,
    now: Timestamp,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let same = before.and_then(|before| before.conditions.iter().find(|c| c.type_ == kind && c.status == status));
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: word.reason.to_owned(),
        message: cut(&word.message),
        observed_generation: Some(facts.generation),
        last_transition_time: same.map_or_else(|| Time(now), |same| same.last_transition_time.clone()),
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE {
        return message.to_owned();
    }
    let end = (0..=MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &message[..end])
}

/// The first thing that stands in the way.
fn word(facts: &Facts) -> Word {
    let steps: [fn(&Facts) -> Option<Word>; 10] =
        [deleting, refused, suspended, complete, stopped_worker, stopped_shards, quarantined, pods, waiting, unowned];
    steps.iter().find_map(|step| step(facts)).unwrap_or_else(|| running(facts))
}

fn stalled(reason: &'static str, message: String) -> Word {
    Word { holds: Holds::Stalled, reason, message }
}

fn under_way(reason: &'static str, message: String) -> Word {
    Word { holds: Holds::Reconciling, reason, message }
}

fn deleting(facts: &Facts) -> Option<Word> {
    let told = facts.deletion.as_ref()?;
    Some(match told.blocked {
        true => stalled("DeletionBlocked", told.message.clone()),
        false => under_way("Deleting", told.message.clone()),
    })
}

fn refused(facts: &Facts) -> Option<Word> {
    let refused = facts.refused.as_ref()?;
    Some(stalled(refused.reason, refused.message.clone()))
}

fn suspended(facts: &Facts) -> Option<Word> {
    if !facts.suspended {
        return None;
    }
    let held = owners(facts);
    if held > 0 || !facts.pods.is_empty() {
        return Some(under_way("Suspending", format!("{held} shards and {} workers are left", facts.pods.len())));
    }
    Some(Word {
        holds: Holds::Nothing,
        reason: "Suspended",
        message: "nothing runs, everything in Kafka is kept; set suspend: false to go on".to_owned(),
    })
}

fn complete(facts: &Facts) -> Option<Word> {
    let shards = shard_count(facts)?;
    let done = phases(facts).filter(|(_, phase, _)| *phase == ShardPhase::Complete).count();
    (facts.batch && shards > 0 && done == shards as usize).then(|| stays_complete(facts))
}

/// A batch that was complete once is so for ever, also without workers.
fn stays_complete(facts: &Facts) -> Word {
    let shards = shard_count(facts).unwrap_or(0);
    let message = format!("all {shards} shards have reached the ends that were fixed at the first start");
    Word { holds: Holds::Ready, reason: "Complete", message }
}

/// A worker that cannot work at all: wrong credentials, no broker, a topic that is missing.
fn stopped_worker(facts: &Facts) -> Option<Word> {
    let troubles = facts.reports.iter().filter_map(|(worker, report)| Some((worker, report.error.as_ref()?)));
    let (worker, error) = troubles.min_by_key(|(worker, _)| worker.as_str())?;
    let reason = if error.starts_with("no broker of") { "BrokerUnreachable" } else { "WorkerCannotStart" };
    Some(stalled(reason, format!("worker {worker}: {error}")))
}

fn stopped_shards(facts: &Facts) -> Option<Word> {
    told(facts, ShardPhase::Stopped).map(|message| Word { holds: Holds::Stalled, reason: "ShardStopped", message })
}

fn quarantined(facts: &Facts) -> Option<Word> {
    let cases = facts.verdict.quarantined.iter();
    let messages: Vec<String> =
        cases.map(|(shard, case)| format!("{}{}", case.message, places(facts, *shard))).collect();
    if messages.is_empty() {
        return None;
    }
    Some(stalled("ShardQuarantined", messages.join("; ")))
}

/// Where a shard would go on: the record that takes its workers down is not far behind.
fn places(facts: &Facts, shard: u32) -> String {
    let waiting = facts.partitions.iter().filter(|state| state.shard == shard && state.lag() > 0);
    let all: Vec<String> = waiting
        .map(|state| {
            let offset = state.position.unwrap_or(state.start).max(state.start);
            format!("topic `{}` partition {} offset {offset}", state.topic, state.partition)
        })
        .collect();
    if all.is_empty() { String::new() } else { format!(". What waits there begins at {}", some(&all)) }
}

fn pods(facts: &Facts) -> Option<Word> {
    let troubles = facts.pods.iter().filter_map(|(pod, fact)| Some((pod, fact.trouble.as_ref()?)));
    let all: Vec<String> = troubles.map(|(pod, (what, text))| format!("pod {pod}: {what}: {text}")).collect();
    if all.is_empty() {
        return None;
    }
    Some(stalled("PodsCannotRun", some(&all)))
}

fn waiting(facts: &Facts) -> Option<Word> {
    told(facts, ShardPhase::Waiting).map(|message| Word { holds: Holds::Reconciling, reason: "Waiting", message })
}

fn unowned(facts: &Facts) -> Option<Word> {
    let Some(shards) = shard_count(facts) else {
        let message = match facts.pods.len() {
            0 if facts.replicas == 0 => return Some(scaled_to_zero()),
            0 => "the workers' pods are being made".to_owned(),
            pods => format!("{pods} workers are starting; none has reported yet"),
        };
        return Some(under_way("Starting", message));
    };
    if facts.replicas == 0 && facts.pods.is_empty() {
        return Some(scaled_to_zero());
    }
    let run = phases(facts).filter(|(_, phase, _)| matches!(phase, ShardPhase::Running | ShardPhase::Complete)).count();
    if run >= shards as usize {
        return None;
    }
    let moving = facts.assignment.shards.iter().filter(|shard| shard.is_moving()).count();
    let message = format!(
        "{run} of {shards} shards run; {} have an owner, {moving} are being handed over, {} workers report",
        owners(facts),
        facts.reports.len()
    );
    Some(under_way("Starting", message))
}

fn scaled_to_zero() -> Word {
    let message = "no workers are wanted; set replicas to run".to_owned();
    Word { holds: Holds::Nothing, reason: "ScaledToZero", message }
}

fn running(facts: &Facts) -> Word {
    let (shards, workers) = (facts.assignment.shards.len(), facts.reports.len());
    Word { holds: Holds::Ready, reason: "Running", message: format!("{shards} shards run on {workers} workers") }
}

fn owners(facts: &Facts) -> usize {
    facts.assignment.shards.iter().filter(|shard| shard.owner.is_some()).count()
}

/// What the owners of shards say about them.
fn phases(facts: &Facts) -> impl Iterator<Item = (u32, ShardPhase, Option<&str>)> {
    facts.assignment.numbered().filter_map(|(number, shard)| {
        let report = facts.reports.get(shard.owner.as_ref()?)?;
        let told = report.shards.iter().find(|told| told.shard == number)?;
        Some((number, told.phase, told.message.as_deref()))
    })
}

/// What shards in a phase say, the first few one by one.
fn told(facts: &Facts, phase: ShardPhase) -> Option<String> {
    let of_phase = phases(facts).filter(|(_, found, _)| *found == phase);
    let all: Vec<String> =
        of_phase.map(|(shard, _, message)| format!("shard {shard}: {}", message.unwrap_or(""))).collect();
    (!all.is_empty()).then(|| some(&all))
}

fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(EXAMPLES);
    let mut text = all[..all.len() - more].join("; ");
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_crds::report::ShardReport;

    use super::super::assignment::Shard;
    use super::super::quarantine::Quarantine;
    use super::*;

    fn shards(of: &[(ShardPhase, &str)]) -> Vec<ShardReport> {
        let report = |(shard, (phase, message)): (u32, &(ShardPhase, &str))| ShardReport {
            shard,
            phase: *phase,
            message: (!message.is_empty()).then(|| (*message).to_owned()),
            ..ShardReport::default()
        };
        (0..).zip(of).map(report).collect()
    }

    /// One worker that owns all shards, and says this of them.
    fn facts(of: &[(ShardPhase, &str)]) -> Facts {
        let owned = Shard { owner: Some("w".into()), started: true, ..Shard::default() };
        let report = WorkerReport { shards: shards(of), records_per_second: 12.4, ..WorkerReport::default() };
        Facts {
            generation: 3,
            replicas: 1,
            revision: Some("r".into()),
            assignment: Assignment { generation: 1, shards: vec![owned; of.len()] },
            shards: Some(of.len() as u32),
            pods: BTreeMap::from([("w".into(), PodFact::default())]),
            reports: BTreeMap::from([("w".into(), report)]),
            ..Facts::default()
        }
    }

    fn told(facts: &Facts) -> (String, String, String) {
        let status = status(facts, None, Timestamp::UNIX_EPOCH);
        let holds = ["Ready", "Reconciling", "Stalled"].into_iter().filter(|kind| is_true(&status, kind));
        let ready = &status.conditions[0];
        (holds.collect::<Vec<_>>().join(","), ready.reason.clone(), ready.message.clone())
    }

    fn expect(facts: &Facts, holds: &str, reason: &str, words: &str) {
        let (held, found, message) = told(facts);
        assert_eq!((held.as_str(), found.as_str()), (holds, reason), "{message}");
        assert!(message.contains(words), "{message}");
    }

    const RUN: (ShardPhase, &str) = (ShardPhase::Running, "");

    #[test]
    fn the_first_thing_in_the_way_is_told() {
        use ShardPhase::{Complete, Starting, Stopped, Waiting};
        let good = facts(&[RUN, RUN]);
        expect(&good, "Ready", "Running", "2 shards run on 1 workers");
        expect(&facts(&[RUN, (Starting, "")]), "Reconciling", "Starting", "1 of 2 shards run");
        expect(&facts(&[(Waiting, "topic x"), RUN]), "Reconciling", "Waiting", "shard 0: topic x");
        expect(
            &facts(&[(Waiting, "a"), (Stopped, "record at offset 7")]),
            "Stalled",
            "ShardStopped",
            "shard 1: record at",
        );
        let refused = Refused { reason: "InvalidManifest", message: "node a: unknown column".into() };
        let refused = Facts { refused: Some(refused), ..facts(&[(Stopped, "x")]) };
        expect(&refused, "Stalled", "InvalidManifest", "unknown column");
        let deleted =
            |blocked| Facts { deletion: Some(Told { blocked, message: "no broker".into() }), ..refused.clone() };
        expect(&deleted(false), "Reconciling", "Deleting", "no broker");
        expect(&deleted(true), "Stalled", "DeletionBlocked", "no broker");
        let mut no_broker = good.clone();
        no_broker.reports.get_mut("w").unwrap().error = Some("no broker of k:9092 can be reached".into());
        expect(&no_broker, "Stalled", "BrokerUnreachable", "worker w: no broker of k:9092");
        let mut no_image =
            Facts { reports: BTreeMap::new(), shards: None, assignment: Assignment::default(), ..good.clone() };
        expect(&no_image, "Reconciling", "Starting", "1 workers are starting");
        no_image.pods.get_mut("w").unwrap().trouble = Some(("ErrImagePull".into(), "not found".into()));
        expect(&no_image, "Stalled", "PodsCannotRun", "pod w: ErrImagePull: not found");
        let batch = Facts { batch: true, ..facts(&[(Complete, ""), (Complete, "")]) };
        expect(&batch, "Ready", "Complete", "all 2 shards");
        let suspending = Facts { suspended: true, ..good.clone() };
        expect(&suspending, "Reconciling", "Suspending", "2 shards and 1 workers are left");
        let unowned = Assignment { generation: 2, shards: vec![Shard::default(); 2] };
        let suspended = Facts { suspended: true, assignment: unowned, pods: BTreeMap::new(), ..good };
        expect(&suspended, "", "Suspended", "suspend: false");
    }

    #[test]
    fn a_quarantine_tells_where_the_shard_would_go_on() {
        let case = Quarantine {
            until: std::time::Duration::ZERO,
            worker: "w".into(),
            deaths: 3,
            message: "shard 1 is quarantined".into(),
        };
        let state = |partition, position| PartitionState {
            topic: "in".into(),
            partition,
            shard: 1,
            position,
            start: 5,
            end: 40,
        };
        let facts = Facts {
            verdict: Verdict { quarantined: BTreeMap::from([(1, case)]), ..Verdict::default() },
            // The last one is read to its end.
            partitions: vec![state(1, Some(12)), state(3, None), state(5, Some(40))],
            ..facts(&[RUN, RUN])
        };
        let places = "shard 1 is quarantined. What waits there begins at topic `in` partition 1 offset 12; topic `in` \
                      partition 3 offset 5";
        expect(&facts, "Stalled", "ShardQuarantined", places);
        assert!(!told(&facts).2.contains("partition 5"));
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_last_change() {
        let before = status(&facts(&[RUN]), None, Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).unwrap();
        let same = status(&facts(&[RUN]), Some(&before), later);
        assert_eq!(same, before, "the same facts make the same status, so that writing it causes no other");
        let other = status(&facts(&[(ShardPhase::Stopped, "x")]), Some(&before), later);
        let times: Vec<i64> = other.conditions.iter().map(|c| c.last_transition_time.0.as_second()).collect();
        assert_eq!(times, [60, 0, 60], "Ready and Stalled have changed, Reconciling has not");
        assert_eq!((other.rate, other.shards, other.observed_generation), (Some(12), Some(1), Some(3)));
    }

    #[test]
    fn a_batch_stays_complete_when_its_workers_are_gone() {
        let complete = Facts { batch: true, ..facts(&[(ShardPhase::Complete, "")]) };
        let before = status(&complete, None, Timestamp::UNIX_EPOCH);
        let gone = Facts { reports: BTreeMap::new(), pods: BTreeMap::new(), replicas: 0, ..complete };
        let after = status(&gone, Some(&before), Timestamp::UNIX_EPOCH);
        assert!(is_true(&after, "Complete") && is_true(&after, "Ready"), "{after:?}");
    }

    #[test]
    fn long_messages_are_cut() {
        let all: Vec<(ShardPhase, &str)> = vec![(ShardPhase::Stopped, "why"); 9];
        expect(&facts(&all), "Stalled", "ShardStopped", "shard 2: why; and 6 more");
        assert!(cut(&"ü".repeat(5000)).len() <= MESSAGE + 4);
    }
}
