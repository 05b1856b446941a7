//! The compiler: a document → a pipeline that can run, or all of its problems.
//!
//! Each part checks what is its own and goes on after problems with what is left; only at the end it is decided
//! whether there is a pipeline. Nothing here knows files, networks or clocks.

use std::sync::Arc;

use millstream_crds::pipeline::{ErrorPolicy as SpecPolicy, PipelineSpec};

use super::connections;
use super::context::Context;
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::duration;
use super::graph::{self, Graph, Id};
use super::hash;
use super::manifest::Document;
use super::path::Path;
use super::pipeline::{CompiledPipeline, Connection, ErrorPolicy, default_application_id};
use super::sinks;
use super::sources;
use super::topics::Topology;
use super::transforms::{self, Tables};
use crate::operators::spec::{NodeRef, NodeSpec, SinkSpec};
use crate::operators::{Chain, ChainSpec};

/// The namespace of a Pipeline that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// A pipeline that can run, and what is legal in its manifest but perhaps not meant.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The pipeline.
    pub pipeline: CompiledPipeline,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a Pipeline, or reports all of its problems.
pub fn compile(document: &Document) -> Result<Compiled, Diagnostics> {
    let spec = &document.pipeline.spec;
    let mut context = Context::new(document);
    let parts = Parts::check(&mut context, spec, &application_id(document));
    let warnings = context.finish()?;
    let chain = parts.chain(spec).map(Chain::new);
    let pipeline = match chain {
        Some(Ok(chain)) => parts.finish(document, chain),
        Some(Err(error)) => return Err(unexpected(document, &error.to_string())),
        None => None,
    };
    let pipeline =
        pipeline.ok_or_else(|| unexpected(document, "a part is missing although nothing is wrong with it"))?;
    Ok(Compiled { pipeline, warnings })
}

/// What is running under which names, and what becomes of the records of each source.
pub fn explain(pipeline: &CompiledPipeline) -> String {
    let CompiledPipeline { name, application_id, chain_hash, chain, .. } = pipeline;
    format!("pipeline {name}, application id {application_id}, chain {chain_hash}\n{}", chain.explain())
}

/// A problem that no check foresaw. It is reported like any other, and not by a panic.
fn unexpected(document: &Document, what: &str) -> Diagnostics {
    let message = format!("cannot be compiled: {what}");
    let help = "this is an error of Millstream; please report it with this manifest".to_owned();
    [document.diagnostic(Severity::Error, &Path::root().then("spec"), message, Some(help))].into_iter().collect()
}

/// What names everything in Kafka.
fn application_id(document: &Document) -> String {
    let given = document.pipeline.spec.application_id.clone();
    given.unwrap_or_else(|| default_application_id(document.namespace().unwrap_or(DEFAULT_NAMESPACE), document.name()))
}

/// Warns of workers that can never have a shard.
fn warn_of_idle_workers(context: &mut Context<'_>, spec: &PipelineSpec) {
    let scaled = spec.scaling.as_ref().map(|scaling| (Path::spec("scaling").then("maxReplicas"), scaling.max_replicas));
    let Some((path, workers)) = spec.replicas.map(|replicas| (Path::spec("replicas"), replicas)).or(scaled) else {
        return;
    };
    if let Some(shards) = spec.shards.filter(|shards| workers > *shards) {
        let message = format!("{workers} workers are more than the {shards} shards: the others have nothing to do");
        context.warning(&path, message, None);
    }
}

/// The parts of a pipeline, checked.
struct Parts<'a> {
    connections: Vec<Connection>,
    sources: Vec<sources::Compiled>,
    graph: Graph,
    tables: Tables<'a>,
    sinks: Vec<sinks::Compiled>,
    dead_letters: Option<usize>,
}

impl<'a> Parts<'a> {
    fn check(context: &mut Context<'_>, spec: &'a PipelineSpec, application_id: &str) -> Self {
        let connections = connections::compile(context, spec);
        let sources = sources::compile(context, spec, &connections);
        let graph = graph::link(context, spec);
        let columns = sources.iter().map(|source| source.schema.clone()).collect();
        let tables = transforms::compile(context, spec, &graph, columns);
        let sinks = sinks::compile(context, spec, &connections, &graph, &tables);
        sinks::warn_of_dropped_fields(context, spec, &graph, &tables, &sources, &sinks);
        let dead_letters = spec.errors.dead_letter.as_ref().and_then(|dead_letter| {
            let path = Path::spec("errors").then("deadLetter");
            connections::resolve(context, &connections, dead_letter.connection.as_ref(), &path)
        });
        let parts = Self { connections, sources, graph, tables, sinks, dead_letters };
        parts.check_clusters(context, spec);
        parts.topology(spec, application_id).check(context);
        warn_of_idle_workers(context, spec);
        parts
    }

    fn check_clusters(&self, context: &mut Context<'_>, spec: &PipelineSpec) {
        let at = |list: &str, index: usize| Path::spec(list).then(index).below("kafka.connection");
        let user = |path, connection, reads| connections::User { path, connection, reads };
        let sources =
            self.sources.iter().enumerate().map(|(i, source)| user(at("sources", i), source.connection, true));
        let sinks = self.sinks.iter().enumerate().map(|(i, sink)| user(at("sinks", i), sink.connection, false));
        let dead_letters = user(Path::spec("errors").below("deadLetter.connection"), self.dead_letters, false);
        let users: Vec<_> = sources.chain(sinks).chain([dead_letters]).collect();
        connections::check_one_cluster(context, spec.delivery, &self.connections, &users);
    }

    fn topology<'t>(&'t self, spec: &'t PipelineSpec, application_id: &'t str) -> Topology<'t> {
        Topology {
            spec,
            connections: &self.connections,
            sources: &self.sources,
            sinks: self.sinks.iter().map(|sink| sink.connection).collect(),
            dead_letters: self.dead_letters,
            application_id,
        }
    }

    /// The chain of what is used; unused transforms were checked and warned of, and cost nothing.
    fn chain(&self, spec: &PipelineSpec) -> Option<ChainSpec> {
        let used = self.graph.used();
        let order: Vec<usize> =
            self.graph.order.iter().copied().filter(|index| used.contains(&Id::Transform(*index))).collect();
        let reference = |id: &Id| match id {
            Id::Source(index) => Some(NodeRef::Source(*index)),
            Id::Transform(index) => order.iter().position(|other| other == index).map(NodeRef::Node),
        };
        let inputs = |ids: &graph::Inputs| ids.as_ref()?.iter().map(reference).collect::<Option<Vec<_>>>();
        let sources = self.sources.iter().zip(&spec.sources).map(|(part, source)| sources::finish_chain(part, source));
        let nodes = order.iter().map(|index| {
            let node = self.tables.node(*index)?.clone();
            let name = Arc::from(spec.transforms[*index].name.as_str());
            Some(NodeSpec {
                name,
                inputs: inputs(&self.graph.transforms[*index])?,
                step: node.step,
                schema: node.schema,
            })
        });
        let sinks = self.sinks.iter().zip(&spec.sinks).zip(&self.graph.sinks).map(|((part, sink), ids)| {
            let (name, inputs) = (Arc::from(sink.name.as_str()), inputs(ids)?);
            Some(SinkSpec { name, inputs, format: part.format.clone()?, key: part.key? })
        });
        Some(ChainSpec {
            sources: sources.collect::<Option<_>>()?,
            nodes: nodes.collect::<Option<_>>()?,
            sinks: sinks.collect::<Option<_>>()?,
        })
    }

    fn finish(self, document: &Document, chain: Chain) -> Option<CompiledPipeline> {
        let spec = &document.pipeline.spec;
        let chain_hash = hash::chain_hash(spec, &self.graph, &self.tables);
        let sources = self.sources.iter().zip(&spec.sources).map(|(part, source)| sources::finish(part, source));
        let sinks = self.sinks.iter().zip(&spec.sinks).map(|(part, sink)| sinks::finish(part, sink));
        Some(CompiledPipeline {
            name: document.name().to_owned(),
            application_id: application_id(document),
            sources: sources.collect::<Option<_>>()?,
            sinks: sinks.collect::<Option<_>>()?,
            errors: self.errors(spec)?,
            connections: self.connections,
            delivery: spec.delivery,
            checkpoint_interval: duration::parse(&spec.checkpoint.interval).ok()?,
            mode: spec.mode,
            shards: spec.shards.map(u32::try_from).transpose().ok()?,
            adopt: spec.adopt,
            suspend: spec.suspend,
            chain: Arc::new(chain),
            chain_hash,
        })
    }

    fn errors(&self, spec: &PipelineSpec) -> Option<ErrorPolicy> {
        Some(match (spec.errors.policy, &spec.errors.dead_letter) {
            (SpecPolicy::Fail, _) => ErrorPolicy::Fail,
            (SpecPolicy::Skip, _) => ErrorPolicy::Skip,
            (SpecPolicy::DeadLetter, dead_letter) => {
                ErrorPolicy::DeadLetter { connection: self.dead_letters?, topic: dead_letter.as_ref()?.topic.clone() }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::plan::manifest;
    use crate::plan::pipeline::{StartFrom, Topics};

    const RAW: &str = "
apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {name: copy, namespace: iot}
spec:
  connections: [{kafka: {bootstrapServers: 'a:1,b:2', properties: {client.rack: r1}}}]
  sources:
    - {name: in, kafka: {topics: [u, v], startFrom: {position: Timestamp, timestamp: '1970-01-01T00:00:01Z'}}, format: {type: Raw}}
  sinks:
    - {name: out, kafka: {topic: z}, format: {type: Raw}}
  errors: {policy: DeadLetter, deadLetter: {topic: dead}}
  checkpoint: {interval: 1.5s}
  shards: 4
";

    fn compiled(text: &str) -> Compiled {
        let document = manifest::read("test.yaml", text).unwrap().remove(0);
        compile(&document).unwrap_or_else(|problems| unreachable!("{problems}"))
    }

    #[test]
    fn takes_over_what_the_manifest_says() {
        let Compiled { pipeline, warnings } = compiled(RAW);
        assert_eq!(warnings, []);
        assert_eq!((pipeline.name.as_str(), pipeline.application_id.as_str()), ("copy", "iot.copy"));
        assert_eq!(pipeline.connections[0].name, "default");
        assert_eq!(pipeline.connections[0].properties["client.rack"], "r1");
        assert_eq!(pipeline.sources[0].start_from, StartFrom::Timestamp(1_000));
        assert!(matches!(&pipeline.sources[0].topics, Topics::List(topics) if topics == &["u", "v"]));
        assert_eq!(pipeline.errors, ErrorPolicy::DeadLetter { connection: 0, topic: "dead".into() });
        assert_eq!(pipeline.checkpoint_interval, Duration::from_millis(1_500));
        assert_eq!(pipeline.shards, Some(4));
    }

    #[test]
    fn names_everything_after_the_default_namespace_or_the_given_id() {
        let nowhere = RAW.replace(", namespace: iot", "");
        assert_eq!(compiled(&nowhere).pipeline.application_id, "default.copy");
        let given = RAW.replace("spec:\n", "spec:\n  applicationId: mine\n");
        assert_eq!(compiled(&given).pipeline.application_id, "mine");
    }

    #[test]
    fn a_pattern_takes_whole_names_that_are_nobody_elses() {
        let text = RAW.replace("topics: [u, v], ", "topicPattern: '[a-y].*', ").replace("topic: dead", "topic: z2");
        let pipeline = compiled(&text).pipeline;
        let cases = [
            ("x", true),
            ("abc", true),
            ("1x", false),
            ("z", false),
            ("iot.copy.state", false),
            ("iot.copy.outbox.x", false),
            ("iot.copy.states", true),
            ("__consumer_offsets", false),
        ];
        for (topic, expected) in cases {
            assert_eq!(pipeline.pattern_matches(0, topic), expected, "{topic}");
        }
    }

    #[test]
    fn the_hash_follows_the_meaning_and_nothing_else() {
        let hash = |text: &str| compiled(text).pipeline.chain_hash;
        let base = hash(RAW);
        let same = [
            RAW.replace("shards: 4", "shards: 8"),
            RAW.replace("interval: 1.5s", "interval: 1s"),
            RAW.replace("topics: [u, v]", "topics: [w]"),
            RAW.replace("a:1", "c:1"),
            RAW.replace("topic: z}, format: {type: Raw}", "topic: z}, from: [in], format: {type: Raw, raw: {}}"),
        ];
        for text in &same {
            assert_eq!(hash(text), base, "{text}");
        }
        let other = [
            RAW.replace("topic: z}", "topic: zz}"),
            RAW.replace("topic: dead", "topic: deader"),
            RAW.replace("format: {type: Raw}}\n  sinks", "format: {type: Raw, raw: {binary: true}}}\n  sinks"),
            RAW.replace("  sinks:", "  transforms: [{name: t, rename: [{column: value, to: v}]}]\n  sinks:"),
        ];
        for text in &other {
            assert_ne!(hash(text), base, "{text}");
        }
    }

    /// Changing this hash makes every running pipeline look changed: raise the version in `hash.rs` knowingly.
    #[test]
    fn the_hash_is_stable_across_releases() {
        insta::assert_snapshot!(compiled(RAW).pipeline.chain_hash, @"4a3cab3279768018");
    }
}
