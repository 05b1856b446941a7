//! The graph of a Pipeline: who takes from whom, and in which order nodes are compiled.
//!
//! `from` left out means the node above. A node may take from one that is defined below it, as long as there is no
//! cycle. Everything is iterative: a manifest decides how long a way through the graph is.

use std::collections::{BTreeSet, HashMap};

use millstream_crds::pipeline::PipelineSpec;

use super::context::Context;
use super::names;
use super::path::Path;
use super::sql;

/// A node that others can take from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Id {
    /// A place in `sources`.
    Source(usize),
    /// A place in `transforms`.
    Transform(usize),
}

/// The inputs of a node; unknown if one of them was reported as wrong.
pub(super) type Inputs = Option<Vec<Id>>;

/// Who takes from whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The inputs of every transform.
    pub(super) transforms: Vec<Inputs>,
    /// The inputs of every sink.
    pub(super) sinks: Vec<Inputs>,
    /// The transforms, each behind those that it takes from; those in or behind a cycle are left out.
    pub(super) order: Vec<usize>,
}

/// Links the nodes of a Pipeline.
pub(super) fn link(context: &mut Context<'_>, spec: &PipelineSpec) -> Graph {
    let linker = Linker::new(spec);
    let transforms: Vec<Inputs> = (0..spec.transforms.len()).map(|index| linker.transform(context, index)).collect();
    let sinks: Vec<Inputs> = (0..spec.sinks.len()).map(|index| linker.sink(context, index)).collect();
    let order = order(&transforms);
    let graph = Graph { transforms, sinks, order };
    report_cycles(context, spec, &graph);
    report_unused(context, spec, &graph);
    graph
}

struct Linker<'a> {
    spec: &'a PipelineSpec,
    ids: HashMap<&'a str, Id>,
}

impl<'a> Linker<'a> {
    fn new(spec: &'a PipelineSpec) -> Self {
        let sources = spec.sources.iter().enumerate().map(|(i, source)| (source.name.as_str(), Id::Source(i)));
        let transforms = spec.transforms.iter().enumerate().map(|(i, t)| (t.name.as_str(), Id::Transform(i)));
        Self { spec, ids: sources.chain(transforms).collect() }
    }

    fn transform(&self, context: &mut Context<'_>, index: usize) -> Inputs {
        let transform = &self.spec.transforms[index];
        let path = Path::spec("transforms").then(index);
        if let Some(text) = &transform.sql {
            return self.of_sql(context, text, &path.then("sql"));
        }
        match (&transform.from, index) {
            (Some(from), _) => self.named(context, from, &path),
            (None, 0) => self.only_source(context, &path),
            (None, _) => Some(vec![Id::Transform(index - 1)]),
        }
    }

    fn sink(&self, context: &mut Context<'_>, index: usize) -> Inputs {
        let path = Path::spec("sinks").then(index);
        match (&self.spec.sinks[index].from, self.spec.transforms.len()) {
            (Some(from), _) => self.named(context, from, &path),
            (None, 0) => self.only_source(context, &path),
            (None, count) => Some(vec![Id::Transform(count - 1)]),
        }
    }

    fn only_source(&self, context: &mut Context<'_>, path: &Path) -> Inputs {
        if self.spec.sources.len() == 1 {
            return Some(vec![Id::Source(0)]);
        }
        let names: Vec<&str> = self.spec.sources.iter().map(|source| source.name.as_str()).collect();
        let help = format!("add `from: […]` with one or more of {}", names::listed(&names));
        if !names.is_empty() {
            context.error(path, "`from` is missing: there are several sources", Some(help));
        }
        None
    }

    fn named(&self, context: &mut Context<'_>, from: &[String], path: &Path) -> Inputs {
        let ids: Vec<Option<Id>> = from
            .iter()
            .enumerate()
            .map(|(place, name)| {
                let id = self.ids.get(name.as_str()).copied();
                if id.is_none() {
                    let (message, help) = self.unknown(name);
                    context.error(&path.then("from").then(place), message, help);
                }
                id
            })
            .collect();
        ids.into_iter().collect()
    }

    fn of_sql(&self, context: &mut Context<'_>, text: &str, path: &Path) -> Inputs {
        let name = match sql::select_source(text) {
            Ok(name) => name,
            Err(problems) => {
                context.sql(path, problems);
                return None;
            }
        };
        let id = self.ids.get(name.as_str()).copied();
        if id.is_none() {
            let (message, help) = self.unknown(&name);
            context.error_within(path, position_of(text, &name), message, help);
        }
        id.map(|id| vec![id])
    }

    fn unknown(&self, name: &str) -> (String, Option<String>) {
        if self.spec.sinks.iter().any(|sink| sink.name == name) {
            let help = "a sink is an end; take from the nodes that it takes from".to_owned();
            return (format!("`{}` is a sink: nothing comes out of it", names::excerpt(name)), Some(help));
        }
        let sources = self.spec.sources.iter().map(|source| source.name.as_str());
        let known = sources.chain(self.spec.transforms.iter().map(|transform| transform.name.as_str()));
        (format!("unknown node `{}`", names::excerpt(name)), names::suggestion(name, known, "nodes"))
    }
}

/// Where the name after FROM stands in a SQL text, as well as that can be told without its grammar.
fn position_of(text: &str, name: &str) -> Option<(u32, u32)> {
    let behind = text.to_ascii_lowercase().find("from").unwrap_or(0);
    let byte = behind + text.get(behind..)?.find(name)?;
    let before = &text[..byte];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) as u32 + 1;
    Some((line, column))
}

/// Orders the transforms behind their inputs, otherwise as they stand.
fn order(transforms: &[Inputs]) -> Vec<usize> {
    let needs = |index: usize| transforms[index].iter().flatten().filter_map(transform_of);
    let mut missing: Vec<usize> = (0..transforms.len()).map(|index| needs(index).count()).collect();
    let mut users = vec![Vec::new(); transforms.len()];
    for index in 0..transforms.len() {
        needs(index).for_each(|input| users[input].push(index));
    }
    let mut ready: BTreeSet<usize> = (0..transforms.len()).filter(|index| missing[*index] == 0).collect();
    let mut order = Vec::with_capacity(transforms.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for user in &users[index] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.insert(*user);
            }
        }
    }
    order
}

fn transform_of(id: &Id) -> Option<usize> {
    match id {
        Id::Transform(index) => Some(*index),
        Id::Source(_) => None,
    }
}

/// Names each cycle once, at the first of its nodes.
fn report_cycles(context: &mut Context<'_>, spec: &PipelineSpec, graph: &Graph) {
    let ordered: BTreeSet<usize> = graph.order.iter().copied().collect();
    let mut left: BTreeSet<usize> = (0..graph.transforms.len()).filter(|index| !ordered.contains(index)).collect();
    while let Some(start) = left.first().copied() {
        let (way, first) = walk_back(graph, &ordered, start);
        let cycle = &way[first..];
        if cycle.iter().all(|index| left.contains(index)) {
            report_cycle(context, spec, cycle);
        }
        for index in &way {
            left.remove(index);
        }
    }
}

/// Follows inputs that have no order either, until a node comes up again: the way, and that node's place in it.
fn walk_back(graph: &Graph, ordered: &BTreeSet<usize>, start: usize) -> (Vec<usize>, usize) {
    let mut way = vec![start];
    let mut places = HashMap::from([(start, 0)]);
    loop {
        let here = way[way.len() - 1];
        let inputs = graph.transforms[here].iter().flatten().filter_map(transform_of);
        let Some(next) = inputs.into_iter().find(|input| !ordered.contains(input)) else {
            let none = way.len();
            return (way, none);
        };
        if let Some(first) = places.get(&next) {
            return (way, *first);
        }
        places.insert(next, way.len());
        way.push(next);
    }
}

fn report_cycle(context: &mut Context<'_>, spec: &PipelineSpec, cycle: &[usize]) {
    let Some(start) = cycle.iter().enumerate().min_by_key(|(_, index)| **index).map(|(place, _)| place) else { return };
    let names: Vec<&str> =
        (0..=cycle.len()).map(|step| spec.transforms[cycle[(start + step) % cycle.len()]].name.as_str()).collect();
    let message = if cycle.len() == 1 {
        format!("`{}` takes from itself", names[0])
    } else {
        let pairs = names.windows(2).map(|pair| format!("`{}` takes from `{}`", pair[0], pair[1]));
        format!("a cycle: {}", pairs.collect::<Vec<_>>().join(", "))
    };
    let path = Path::spec("transforms").then(cycle[start]);
    let transform = &spec.transforms[cycle[start]];
    let field = if transform.sql.is_some() { "sql" } else { "from" };
    context.error(&path.then(field), message, Some("rows only flow forward, from sources to sinks".into()));
}

/// Warns of nodes whose rows reach no sink.
fn report_unused(context: &mut Context<'_>, spec: &PipelineSpec, graph: &Graph) {
    // Where some inputs are unknown, nobody can tell what is unused.
    if graph.sinks.is_empty()
        || graph.transforms.iter().chain(&graph.sinks).any(Option::is_none)
        || graph.order.len() < spec.transforms.len()
    {
        return;
    }
    let used = graph.used();
    for (index, source) in spec.sources.iter().enumerate().filter(|(index, _)| !used.contains(&Id::Source(*index))) {
        let message = format!("no sink takes from `{}`: its topics are read for nothing", names::excerpt(&source.name));
        context.warning(&Path::spec("sources").then(index).then("name"), message, None);
    }
    for (index, transform) in spec.transforms.iter().enumerate() {
        if !used.contains(&Id::Transform(index)) {
            let message = format!("no sink takes from `{}`", names::excerpt(&transform.name));
            let help = "name it in `from` of a sink, or remove it".to_owned();
            context.warning(&Path::spec("transforms").then(index).then("name"), message, Some(help));
        }
    }
}

impl Graph {
    /// The nodes whose rows reach a sink.
    pub(super) fn used(&self) -> BTreeSet<Id> {
        let mut open: Vec<Id> = self.sinks.iter().flatten().flatten().copied().collect();
        let mut used = BTreeSet::new();
        while let Some(id) = open.pop() {
            if used.insert(id) {
                open.extend(transform_of(&id).and_then(|index| self.transforms[index].as_ref()).into_iter().flatten());
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(list: &[&[usize]]) -> Vec<Inputs> {
        let of = |all: &&[usize]| Some(all.iter().map(|index| Id::Transform(*index)).collect());
        list.iter().map(of).collect()
    }

    #[test]
    fn orders_nodes_behind_their_inputs() {
        let cases: [(&[&[usize]], &[usize]); 5] = [
            (&[&[], &[0], &[1]], &[0, 1, 2]),
            (&[&[2], &[0], &[]], &[2, 0, 1]),
            (&[&[1], &[0], &[]], &[2]),
            (&[&[], &[0, 0]], &[0, 1]),
            (&[&[0], &[0]], &[]),
        ];
        for (list, expected) in cases {
            assert_eq!(order(&inputs(list)), expected, "{list:?}");
        }
    }

    #[test]
    fn orders_a_very_long_chain() {
        let chain: Vec<Inputs> =
            (0..100_000).map(|i| Some((i > 0).then(|| Id::Transform(i - 1)).into_iter().collect())).collect();
        assert_eq!(order(&chain).len(), chain.len());
    }

    #[test]
    fn finds_the_name_after_from() {
        assert_eq!(position_of("SELECT tmp\nFROM  tmp", "tmp"), Some((2, 7)));
        assert_eq!(position_of("SELECT 1", "tmp"), None);
    }
}
