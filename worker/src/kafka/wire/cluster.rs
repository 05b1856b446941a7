//! Who leads which partition, and where the brokers are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::backoff::Backoff;
use crate::records::TopicPartition;

/// How old metadata may become. Leaders that move are noticed at once; this is for brokers that do.
const FRESH: Duration = Duration::from_secs(30);

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    pub(super) epoch: i32,
}

/// What metadata said of a topic.
#[derive(Debug, Default)]
struct Topic {
    id: Uuid,
    // By partition; also of those that have no leader now, for their epoch.
    leaders: HashMap<i32, (Option<i32>, i32)>,
}

/// What is known of the cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    endpoints: BTreeMap<i32, Endpoint>,
    topics: HashMap<Arc<str>, Topic>,
    wanted: bool,
    asked: bool,
    fresh_until: Option<Instant>,
    backoff: Backoff,
}

impl Cluster {
    pub(super) fn endpoint(&self, node: i32) -> Option<&Endpoint> {
        self.endpoints.get(&node)
    }

    /// Where a broker listens, told by somebody else than metadata.
    pub(super) fn learn(&mut self, node: i32, endpoint: Endpoint) {
        self.endpoints.insert(node, endpoint);
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = (i32, &Endpoint)> {
        self.endpoints.iter().map(|(node, endpoint)| (*node, endpoint))
    }

    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        let (node, epoch) = self.topics.get(topic)?.leaders.get(&partition)?;
        node.map(|node| Leader { node, epoch: *epoch })
    }

    /// Something known is wrong or missing.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The partition is not led by `node` in `epoch` any more, or not yet.
    pub(super) fn forget(&mut self, topic: &str, partition: i32, leader: Leader) {
        self.wanted = true;
        let known = self.topics.get_mut(topic).and_then(|topic| topic.leaders.get_mut(&partition));
        if let Some(known) = known.filter(|known| **known == (Some(leader.node), leader.epoch)) {
            known.0 = None;
        }
    }

    /// A broker said who leads a partition now. Worth nothing without the broker's address.
    pub(super) fn hint(&mut self, topic: &str, partition: i32, leader: Leader) {
        let known = self.topics.get_mut(topic).and_then(|topic| topic.leaders.get_mut(&partition));
        if let Some(known) = known.filter(|known| leader.epoch > known.1 && self.endpoints.contains_key(&leader.node)) {
            *known = (Some(leader.node), leader.epoch);
        }
    }

    /// The question to ask now, if any, about these topics.
    pub(super) fn question<'a>(
        &mut self,
        now: Instant,
        topics: impl Iterator<Item = &'a str>,
    ) -> Option<MetadataRequest> {
        let old = self.fresh_until.is_none_or(|until| now >= until);
        if self.asked || !(self.wanted || old) || !self.backoff.is_over(now) {
            return None;
        }
        let topics: BTreeSet<&str> = topics.collect();
        let topics: Vec<_> = topics
            .into_iter()
            .map(|topic| {
                MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(topic.into()))))
            })
            .collect();
        if topics.is_empty() {
            return None;
        }
        self.asked = true;
        self.wanted = false;
        Some(MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false))
    }

    /// When the next question is due.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.asked {
            return None;
        }
        let due = if self.wanted { now } else { self.fresh_until.unwrap_or(now) };
        Some(self.backoff.end(now).map_or(due, |end| end.max(due)))
    }

    /// Takes an answer; returns topics with errors. While one of the needed partitions has no leader, another question
    /// is due, later each time.
    pub(super) fn answered<'a>(
        &mut self,
        now: Instant,
        response: &MetadataResponse,
        mut needed: impl Iterator<Item = &'a TopicPartition>,
    ) -> Vec<(Arc<str>, ResponseError)> {
        self.asked = false;
        self.wanted = false;
        self.fresh_until = Some(now + FRESH);
        for broker in &response.brokers {
            if let Ok(port) = u16::try_from(broker.port) {
                let endpoint = Endpoint { host: broker.host.to_string(), port };
                self.endpoints.insert(broker.node_id.0, endpoint);
            }
        }
        let errors: Vec<_> = response.topics.iter().filter_map(|topic| self.topic(topic)).collect();
        if needed.any(|needed| self.leader(&needed.topic, needed.partition).is_none()) {
            self.wanted = true;
            self.backoff.failed(now);
        } else {
            self.backoff.worked();
        }
        errors
    }

    /// No answer came.
    pub(super) fn unanswered(&mut self, now: Instant) {
        self.asked = false;
        self.wanted = true;
        self.backoff.failed(now);
    }

    fn topic(&mut self, told: &MetadataResponseTopic) -> Option<(Arc<str>, ResponseError)> {
        let name: Arc<str> = Arc::from(told.name.as_ref().map_or("", |name| name.as_str()));
        if let Some(error) = told.error_code.err() {
            return Some((name, error));
        }
        let topic = self.topics.entry(name).or_default();
        if topic.id != told.topic_id {
            // Another topic of that name: its epochs begin anew.
            *topic = Topic { id: told.topic_id, leaders: HashMap::new() };
        }
        for partition in &told.partitions {
            let node = Some(partition.leader_id.0).filter(|node| *node >= 0);
            let known = topic.leaders.entry(partition.partition_index).or_insert((None, -1));
            // A broker may be behind what another one said before.
            if partition.leader_epoch >= known.1 {
                *known = (node, partition.leader_epoch);
            }
        }
        None
    }

    /// Keeps only these topics.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.topics.retain(|topic, _| keep(topic));
    }
}
