//! The deletion of a Pipeline with `deletionPolicy: Delete`: what comes next, what is told of it, and what is said at
//! the end.
//!
//! ```text
//! stop the workers → wait for their pods → clear Kafka → let the Pipeline go
//! ```
//!
//! A finalizer keeps the Pipeline until then. It never does so for ever: what stands in the way for [`DEADLINE`] is told
//! in a last event, and the Pipeline goes. Every step is decided by what is there, not by what was done, so that another
//! leader goes on with it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use millstream::plan::pipeline::state_topic;

/// How long after its deletion a Pipeline goes although something stands in the way.
pub const DEADLINE: Duration = Duration::from_mins(10);
/// How long this leader has tried by then at least: nobody may have been there before.
const TRY: Duration = Duration::from_mins(2);
/// How long a pod is waited for behind its grace period. One that is still there then is on a node that nobody hears
/// of, and Kafka's fence keeps it from committing.
const OVERDUE: Duration = Duration::from_secs(30);

/// What is known when the next step is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether internal topics are to stay after all.
    pub retain: bool,
    /// Whether there ever were workers; without any there is nothing in Kafka.
    pub had_workers: bool,
    /// The time since the Pipeline was deleted.
    pub deleted: Duration,
    /// The time since this leader has known of it.
    pub tried: Duration,
    /// What is left of the workers.
    pub workers: Workers,
    /// How far Kafka is cleared.
    pub kafka: Kafka,
}

/// What is left of the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// Whether objects were written so recently that they may not be seen yet.
    pub unsettled: bool,
    /// Whether shards have an owner, or a Deployment is not being deleted yet.
    pub at_work: bool,
    /// How many Deployments are left.
    pub deployments: usize,
    /// The pods that are left, and for how long each should have been gone; None within its grace period.
    pub pods: BTreeMap<String, Option<Duration>>,
}

/// How far Kafka is cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kafka {
    /// Nobody has begun.
    #[default]
    Untouched,
    /// Somebody is at it, and at this.
    UnderWay(String),
    /// It is tried again and again, and does not succeed, for this reason.
    Blocked(String),
    /// It is done; where the group could not be deleted, with the reason.
    Cleared {
        /// Why the group is left.
        group: Option<String>,
    },
    /// The Pipeline with this uid has it; nothing was deleted.
    Foreign {
        /// Its uid.
        uid: String,
    },
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody is to own a shard, and the Deployments are to go.
    Stop,
    /// The workers are on their way out.
    Wait,
    /// The internal topics are to be deleted.
    Clear,
    /// The Pipeline may go.
    Release(Farewell),
}

/// Why a Pipeline may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// What is in Kafka is to stay.
    Retained,
    /// It never had workers.
    NothingMade,
    /// Kafka is cleared; where the group could not be deleted, with the reason.
    Cleared {
        /// Why the group is left.
        group: Option<String>,
    },
    /// What is in Kafka belongs to the Pipeline with this uid.
    Foreign {
        /// Its uid.
        uid: String,
    },
    /// It took too long, for this reason.
    GaveUp(String),
}

/// What the status says meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether nothing gets better without a person.
    pub blocked: bool,
    /// What is being done, or what stands in the way.
    pub message: String,
}

/// The last event about a Pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What happened, and what is left to be done.
    pub text: String,
}

/// The next step.
pub fn next(facts: &Facts) -> Step {
    if facts.retain {
        return Step::Release(Farewell::Retained);
    }
    if !facts.had_workers {
        return Step::Release(Farewell::NothingMade);
    }
    if let Some(farewell) = done(&facts.kafka) {
        return Step::Release(farewell);
    }
    if facts.workers.at_work {
        return Step::Stop;
    }
    let too_long = facts.deleted >= DEADLINE && facts.tried >= TRY;
    match in_the_way(facts) {
        Some(why) if too_long => Step::Release(Farewell::GaveUp(why)),
        _ if facts.workers.are_waited_for() => Step::Wait,
        _ => Step::Clear,
    }
}

fn done(kafka: &Kafka) -> Option<Farewell> {
    match kafka {
        Kafka::Cleared { group } => Some(Farewell::Cleared { group: group.clone() }),
        Kafka::Foreign { uid } => Some(Farewell::Foreign { uid: uid.clone() }),
        Kafka::Untouched | Kafka::UnderWay(_) | Kafka::Blocked(_) => None,
    }
}

/// What keeps the deletion from going on, if it has come to a halt.
fn in_the_way(facts: &Facts) -> Option<String> {
    match &facts.kafka {
        _ if facts.workers.are_waited_for() => Some(facts.workers.to_string()),
        Kafka::Blocked(why) => Some(why.clone()),
        _ => None,
    }
}

impl Workers {
    /// Whether workers may still come, or end by themselves. A Deployment is there for as long as its pods are.
    fn are_waited_for(&self) -> bool {
        let ends = |by: &Option<Duration>| by.is_none_or(|by| by < OVERDUE);
        let left = if self.pods.is_empty() { self.deployments > 0 } else { self.pods.values().any(ends) };
        self.unsettled || left
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pods.first_key_value() {
            None if self.deployments == 0 => f.write_str("the last changes are on their way"),
            None => f.write_str("a Deployment without pods is left"),
            Some((one, _)) if self.pods.len() == 1 => write!(f, "the worker {one} is left"),
            Some((first, _)) => write!(f, "{} workers are left, {first} among them", self.pods.len()),
        }
    }
}

/// What the status says of a step other than the last one.
pub fn told(facts: &Facts, step: &Step, application_id: &str) -> Told {
    let under_way = |message: String| Told { blocked: false, message };
    match (step, &facts.kafka) {
        (Step::Clear, Kafka::Blocked(why)) => Told {
            blocked: true,
            message: format!(
                "{why}; this is tried again until {} minutes after the deletion, and then {} is left in Kafka; to leave it there now, set deletionPolicy: Retain",
                DEADLINE.as_secs() / 60,
                topic(application_id)
            ),
        },
        (Step::Clear, Kafka::UnderWay(what)) => under_way(what.clone()),
        (Step::Stop, _) => under_way("the workers are being stopped".to_owned()),
        (Step::Wait, _) => under_way(facts.workers.to_string()),
        (Step::Clear | Step::Release(_), _) => under_way("the workers are gone".to_owned()),
    }
}

/// The last event, if there is something to be said.
pub fn note(farewell: &Farewell, application_id: &str) -> Option<Note> {
    let topic = topic(application_id);
    let note = |warning, reason, text| Some(Note { warning, reason, text });
    match farewell {
        Farewell::Retained | Farewell::NothingMade => None,
        Farewell::Cleared { group: None } => {
            note(false, "InternalTopicsDeleted", format!("{topic} and group `{application_id}` are deleted"))
        }
        Farewell::Cleared { group: Some(why) } => note(
            false,
            "InternalTopicsDeleted",
            format!("{topic} is deleted; group `{application_id}` is left, and means nothing without it: {why}"),
        ),
        Farewell::Foreign { uid } => note(
            true,
            "InternalTopicsLeft",
            format!(
                "{topic} belongs to the Pipeline with uid {uid}; neither it nor group `{application_id}` was touched"
            ),
        ),
        Farewell::GaveUp(why) => note(
            true,
            "InternalTopicsLeft",
            format!(
                "{topic} and group `{application_id}` may be left in Kafka, and workers on lost nodes are not fenced; look after them with kafka-topics.sh --delete --topic {} and kafka-consumer-groups.sh --delete --group {application_id}. What stood in the way: {why}",
                state_topic(application_id)
            ),
        ),
    }
}

fn topic(application_id: &str) -> String {
    format!("topic `{}`", state_topic(application_id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// The workers are gone, and Kafka is as given.
    fn stopped(kafka: Kafka) -> Facts {
        Facts { had_workers: true, deleted: MINUTE, tried: MINUTE, kafka, ..Facts::default() }
    }

    /// A Deployment is being deleted, and these pods of it are left.
    fn ending(pods: &[(&str, Option<u64>)]) -> Facts {
        let workers = Workers { deployments: 1, pods: self::pods(pods), ..Workers::default() };
        Facts { workers, ..stopped(Kafka::Untouched) }
    }

    /// They are not asked to end yet.
    fn running() -> Facts {
        let ending = ending(&[("a", None)]);
        Facts { workers: Workers { at_work: true, ..ending.workers }, ..ending }
    }

    fn blocked() -> Kafka {
        Kafka::Blocked("no broker has answered".to_owned())
    }

    /// Pods by name, with the seconds by which they should have been gone.
    fn pods(of: &[(&str, Option<u64>)]) -> BTreeMap<String, Option<Duration>> {
        of.iter().map(|(name, by)| ((*name).to_owned(), by.map(Duration::from_secs))).collect()
    }

    fn late(facts: Facts) -> Facts {
        Facts { deleted: DEADLINE, tried: TRY, ..facts }
    }

    #[test]
    fn workers_end_before_kafka_is_cleared_and_kafka_is_cleared_before_the_pipeline_goes() {
        let unsettled = Workers { unsettled: true, ..Workers::default() };
        let under_way = Kafka::UnderWay("fencing".to_owned());
        let cases = [
            (running(), Step::Stop),
            (ending(&[("a", None)]), Step::Wait),
            (ending(&[]), Step::Wait),
            (Facts { workers: unsettled, ..stopped(Kafka::Untouched) }, Step::Wait),
            (stopped(Kafka::Untouched), Step::Clear),
            (stopped(under_way.clone()), Step::Clear),
            (stopped(blocked()), Step::Clear),
            (stopped(Kafka::Cleared { group: None }), Step::Release(Farewell::Cleared { group: None })),
            // What comes late but comes is not given up.
            (late(running()), Step::Stop),
            (late(stopped(Kafka::Untouched)), Step::Clear),
            (late(stopped(under_way)), Step::Clear),
        ];
        for (facts, step) in cases {
            assert_eq!(next(&facts), step, "{facts:?}");
        }
    }

    #[test]
    fn a_pod_on_a_lost_node_is_not_waited_for() {
        assert_eq!(next(&ending(&[("a", Some(0))])), Step::Wait);
        assert_eq!(next(&ending(&[("a", Some(29))])), Step::Wait);
        assert_eq!(next(&ending(&[("a", Some(30))])), Step::Clear);
        assert_eq!(next(&ending(&[("a", Some(30)), ("b", None)])), Step::Wait);
    }

    #[test]
    fn what_stands_in_the_way_for_too_long_is_given_up() {
        let gave_up = |why: &str| Step::Release(Farewell::GaveUp(why.to_owned()));
        let early = Facts { deleted: DEADLINE.checked_sub(MINUTE).unwrap(), ..late(stopped(blocked())) };
        let new_leader = Facts { tried: MINUTE, ..late(stopped(blocked())) };
        let cases = [
            (late(stopped(blocked())), gave_up("no broker has answered")),
            (late(ending(&[("a", None), ("b", None)])), gave_up("2 workers are left, a among them")),
            (late(ending(&[])), gave_up("a Deployment without pods is left")),
            (early, Step::Clear),
            (new_leader, Step::Clear),
        ];
        for (facts, step) in cases {
            assert_eq!(next(&facts), step, "{facts:?}");
        }
    }

    #[test]
    fn what_need_not_or_must_not_be_deleted_holds_nothing_up() {
        let retained = Facts { retain: true, kafka: blocked(), ..running() };
        assert_eq!(next(&retained), Step::Release(Farewell::Retained));
        assert_eq!(next(&Facts { had_workers: false, ..Facts::default() }), Step::Release(Farewell::NothingMade));
        let foreign = Facts { kafka: Kafka::Foreign { uid: "u".into() }, ..stopped(blocked()) };
        assert_eq!(next(&foreign), Step::Release(Farewell::Foreign { uid: "u".into() }));
    }

    #[test]
    fn the_status_says_what_is_waited_for_and_the_way_out() {
        let told = |facts: &Facts| told(facts, &next(facts), "shop.orders");
        assert_eq!(told(&ending(&[("a", None)])), Told { blocked: false, message: "the worker a is left".into() });
        let fencing = stopped(Kafka::UnderWay("fencing the shards: 1 of 4".into()));
        assert_eq!(told(&fencing), Told { blocked: false, message: "fencing the shards: 1 of 4".into() });
        let Told { blocked, message } = told(&stopped(blocked()));
        assert!(blocked, "{message}");
        for words in ["no broker has answered", "10 minutes", "`shop.orders.state`", "deletionPolicy: Retain"] {
            assert!(message.contains(words), "no `{words}` in: {message}");
        }
    }

    #[test]
    fn the_last_event_names_what_is_left() {
        let note = |farewell| note(&farewell, "shop.orders").unwrap();
        let done = note(Farewell::Cleared { group: None });
        assert!(!done.warning && done.text.contains("`shop.orders.state`"), "{done:?}");
        let group = note(Farewell::Cleared { group: Some("not allowed".into()) });
        assert!(group.text.contains("group `shop.orders` is left") && group.text.contains("not allowed"), "{group:?}");
        let foreign = note(Farewell::Foreign { uid: "other".into() });
        assert!(foreign.warning && foreign.text.contains("uid other"), "{foreign:?}");
        let gave_up = note(Farewell::GaveUp("no broker".into()));
        assert!(gave_up.warning && gave_up.text.contains("no broker"), "{gave_up:?}");
        assert!(gave_up.text.contains("kafka-topics.sh --delete --topic shop.orders.state"), "{gave_up:?}");
        assert_eq!(super::note(&Farewell::Retained, "shop.orders"), None);
        assert_eq!(super::note(&Farewell::NothingMade, "shop.orders"), None);
    }
}
