//! Topics of a Pipeline against each other: who reads, who writes, and what belongs to Millstream or to Kafka.
//!
//! A pipeline that reads what it writes never comes to an end, and a topic with two readers has two positions; both
//! are refused. Names are compared wherever two connections could be one cluster.

use std::collections::HashMap;

use millstream_crds::pipeline::{Delivery, PipelineSpec};

use super::connections::share_hosts;
use super::context::Context;
use super::names::{excerpt, topic_problem};
use super::path::Path;
use super::pipeline::{Connection, Topics, is_internal};
use super::sources::Compiled;

/// A topic with its role.
struct Named<'a> {
    topic: &'a str,
    connection: Option<usize>,
    path: Path,
    role: String,
}

/// What the checks look at.
pub(super) struct Topology<'a> {
    pub(super) spec: &'a PipelineSpec,
    pub(super) connections: &'a [Connection],
    pub(super) sources: &'a [Compiled],
    /// The connections of the sinks.
    pub(super) sinks: Vec<Option<usize>>,
    /// The connection of the dead letters.
    pub(super) dead_letters: Option<usize>,
    pub(super) application_id: &'a str,
}

impl Topology<'_> {
    /// Checks all topics.
    pub(super) fn check(&self, context: &mut Context<'_>) {
        let (read, written) = (self.read(), self.written());
        for named in read.iter().chain(&written) {
            self.check_name(context, named);
        }
        self.check_read_twice(context, &read);
        self.check_written(context, &read, &written);
        self.check_patterns(context, &read, &written);
    }

    /// The topics that sources name, in order.
    fn read(&self) -> Vec<Named<'_>> {
        let mut read = Vec::new();
        for (index, (source, compiled)) in self.spec.sources.iter().zip(self.sources).enumerate() {
            let topics = source.kafka.iter().flat_map(|kafka| &kafka.topics).enumerate();
            read.extend(topics.map(|(place, topic)| Named {
                topic,
                connection: compiled.connection,
                path: Path::spec("sources").then(index).below("kafka.topics").then(place),
                role: format!("source `{}`", source.name),
            }));
        }
        read
    }

    /// The topics of sinks and dead letters.
    fn written(&self) -> Vec<Named<'_>> {
        let sinks = self.spec.sinks.iter().zip(&self.sinks).enumerate().filter_map(|(index, (sink, connection))| {
            Some(Named {
                topic: &sink.kafka.as_ref()?.topic,
                connection: *connection,
                path: Path::spec("sinks").then(index).below("kafka.topic"),
                role: format!("sink `{}`", sink.name),
            })
        });
        let dead_letters = self.spec.errors.dead_letter.iter().map(|dead_letter| Named {
            topic: &dead_letter.topic,
            connection: self.dead_letters,
            path: Path::spec("errors").below("deadLetter.topic"),
            role: "the dead letters".into(),
        });
        sinks.chain(dead_letters).filter(|named| !named.topic.is_empty()).collect()
    }

    fn check_name(&self, context: &mut Context<'_>, named: &Named<'_>) {
        if let Some(problem) = topic_problem(named.topic) {
            context.error(&named.path, problem, None);
        } else if is_internal(self.application_id, named.topic) {
            let message = format!("`{}` is an internal topic of this pipeline", excerpt(named.topic));
            let help =
                format!("names of the form `{}.state`, `.exchange.…` and `.outbox.…` are its own", self.application_id);
            context.error(&named.path, message, Some(help));
        } else if named.topic.starts_with("__") && !named.role.starts_with("source") {
            context.error(&named.path, format!("`{}` belongs to Kafka itself", excerpt(named.topic)), None);
        }
    }

    /// Whether two topics of one name are one topic, as far as can be told without a cluster.
    fn same(&self, one: &Named<'_>, other: &Named<'_>) -> bool {
        if one.topic != other.topic {
            return false;
        }
        let (Some(a), Some(b)) = (one.connection, other.connection) else { return false };
        a == b || self.spec.delivery == Delivery::ExactlyOnce || share_hosts(&self.connections[a], &self.connections[b])
    }

    fn check_read_twice(&self, context: &mut Context<'_>, read: &[Named<'_>]) {
        let mut seen: HashMap<&str, Vec<&Named<'_>>> = HashMap::new();
        for named in read {
            let others = seen.entry(named.topic).or_default();
            let Some(other) = others.iter().find(|other| self.same(named, other)) else {
                others.push(named);
                continue;
            };
            // The same topic twice in one list is a problem of shape.
            if other.role != named.role {
                let message = format!("topic `{}` is already read by {}", excerpt(named.topic), other.role);
                let help = "a topic belongs to one source; several nodes may take from that source".to_owned();
                context.error(&named.path, message, Some(help));
            }
        }
    }

    fn check_written(&self, context: &mut Context<'_>, read: &[Named<'_>], written: &[Named<'_>]) {
        for (place, named) in written.iter().enumerate() {
            if let Some(source) = read.iter().find(|source| self.same(named, source)) {
                let message = format!("topic `{}` is also read, by {}", excerpt(named.topic), source.role);
                context.error(&named.path, message, Some("a pipeline cannot read what it writes".into()));
            } else if let Some(other) = written[..place].iter().find(|other| self.same(named, other)) {
                let formats = "readers find both kinds of records there".to_owned();
                let message = format!("topic `{}` is also written by {}", excerpt(named.topic), other.role);
                context.warning(&named.path, message, Some(formats));
            }
        }
    }

    /// A pattern may not match a topic that another node names, for then two nodes would mean it.
    fn check_patterns(&self, context: &mut Context<'_>, read: &[Named<'_>], written: &[Named<'_>]) {
        for (index, compiled) in self.sources.iter().enumerate() {
            let Some(Topics::Pattern(pattern)) = &compiled.topics else { continue };
            let path = Path::spec("sources").then(index).below("kafka.topicPattern");
            for named in read.iter().chain(written).filter(|named| pattern.is_match(named.topic)) {
                let message = format!("the pattern matches `{}`, the topic of {}", excerpt(named.topic), named.role);
                let help = "make it narrower, so that it matches topics of this source only".to_owned();
                context.error(&path, message, Some(help));
            }
        }
    }
}
