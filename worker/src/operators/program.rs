//! A chain's spec → one program a source: what is decoded, which steps run in which order, what every sink takes.
//!
//! A batch is of one source, so that everything that depends on the source alone is decided here, once: which nodes
//! its records reach, which columns each of them has to carry (no more than something behind it names), and which
//! sinks take the source's own bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use super::ChainError;
use super::metadata::{HIDDEN, hidden_field};
use super::outputs::{Output, Values, Way};
use super::spec::{ChainSpec, KeyRule, NodeRef, NodeSpec, SinkSpec, Step as StepSpec};
use super::steps::{Input, Step, Unnested, Work};
use crate::format::{Decoder, Encoder, text_form};
use crate::plan::sql::{Projected, Select};

/// What happens to the records of one source. The first table is what the decoder gives, each step adds one.
#[derive(Debug)]
pub(super) struct Program {
    /// The source's name.
    pub(super) name: Arc<str>,
    /// Reads the columns that something names.
    pub(super) decoder: Decoder,
    /// Their names, for people.
    pub(super) columns: Vec<String>,
    /// The steps, each behind those that it reads.
    pub(super) steps: Vec<Step>,
    /// The sinks that the source's records reach.
    pub(super) outputs: Vec<Output>,
}

impl Program {
    /// The program of a source.
    pub(super) fn new(spec: &ChainSpec, source: usize) -> Result<Self, ChainError> {
        let reach = Reach::new(spec, source);
        let needs = Needs::new(spec, &reach)?;
        let mut builder = Builder { spec, reach: &reach, needs: &needs, tables: HashMap::new(), steps: Vec::new() };
        builder.tables.insert(NodeRef::Source(source), 0);
        for (place, node) in spec.nodes.iter().enumerate() {
            if needs.columns.contains_key(&NodeRef::Node(place)) {
                builder.node(place, node)?;
            }
        }
        let sinks = spec.sinks.iter().enumerate().filter(|(_, sink)| reach.any(&sink.inputs));
        let outputs = sinks.map(|(place, sink)| builder.output(place, sink)).collect::<Result<_, _>>()?;
        let steps = builder.steps;
        let of = &spec.sources[source];
        let columns = needs.of(NodeRef::Source(source));
        let decoder = Decoder::new(&of.format, &of.schema, &columns)
            .map_err(|error| ChainError::Format { node: of.name.to_string(), error })?;
        let columns = columns.iter().map(|column| of.schema.field(*column).name().clone()).collect();
        Ok(Self { name: Arc::clone(&of.name), decoder, columns, steps, outputs })
    }
}

/// What a source's records reach.
struct Reach {
    source: usize,
    /// For each node: whether the records reach it.
    nodes: Vec<bool>,
    /// For each node: whether they are still the source's own, merely filtered.
    own: Vec<bool>,
    /// For each node: whether its rows are something else than decoded records.
    derived: Vec<bool>,
}

impl Reach {
    fn new(spec: &ChainSpec, source: usize) -> Self {
        let mut reach = Self { source, nodes: Vec::new(), own: Vec::new(), derived: Vec::new() };
        for node in &spec.nodes {
            let passes = matches!(node.step, StepSpec::Filter(_));
            let inputs: Vec<_> = node.inputs.iter().copied().filter(|input| reach.reaches(*input)).collect();
            let own = passes && inputs.iter().all(|input| reach.is_own(*input));
            let derived = !passes || inputs.iter().any(|input| reach.is_derived(*input));
            reach.nodes.push(!inputs.is_empty());
            reach.own.push(own);
            reach.derived.push(derived);
        }
        reach
    }

    fn reaches(&self, at: NodeRef) -> bool {
        match at {
            NodeRef::Source(source) => source == self.source,
            NodeRef::Node(node) => self.nodes.get(node).copied().unwrap_or(false),
        }
    }

    fn any(&self, inputs: &[NodeRef]) -> bool {
        inputs.iter().any(|input| self.reaches(*input))
    }

    fn of<'a>(&'a self, inputs: &'a [NodeRef]) -> impl Iterator<Item = NodeRef> + 'a {
        inputs.iter().copied().filter(|input| self.reaches(*input))
    }

    fn is_own(&self, at: NodeRef) -> bool {
        matches!(at, NodeRef::Node(node) if self.own[node]) || matches!(at, NodeRef::Source(_))
    }

    fn is_derived(&self, at: NodeRef) -> bool {
        matches!(at, NodeRef::Node(node) if self.derived[node])
    }

    fn forwards(&self, spec: &ChainSpec, sink: &SinkSpec, from: NodeRef) -> bool {
        self.is_own(from) && spec.sources[self.source].format == sink.format
    }
}

/// Which columns of each table something behind it needs; a node that nothing needs is not there.
struct Needs {
    columns: BTreeMap<NodeRef, BTreeSet<usize>>,
}

impl Needs {
    fn new(spec: &ChainSpec, reach: &Reach) -> Result<Self, ChainError> {
        let mut needs = Self { columns: BTreeMap::new() };
        needs.columns.insert(NodeRef::Source(reach.source), BTreeSet::new());
        for sink in &spec.sinks {
            for from in reach.of(&sink.inputs) {
                let width = schema_of(spec, from)?.fields().len();
                let all = if reach.forwards(spec, sink, from) { 0..0 } else { 0..width };
                needs.add(from, all.chain(key_of(sink)));
            }
        }
        for (place, node) in spec.nodes.iter().enumerate().rev() {
            let Some(behind) = needs.columns.get(&NodeRef::Node(place)).cloned() else { continue };
            let width = input_width(spec, node)?;
            let columns: Vec<usize> = inputs_for(node, &behind).into_iter().filter(|column| *column < width).collect();
            for from in reach.of(&node.inputs) {
                needs.add(from, columns.iter().copied());
            }
        }
        Ok(needs)
    }

    fn add(&mut self, at: NodeRef, columns: impl Iterator<Item = usize>) {
        self.columns.entry(at).or_default().extend(columns);
    }

    fn of(&self, at: NodeRef) -> Vec<usize> {
        self.columns.get(&at).map(|columns| columns.iter().copied().collect()).unwrap_or_default()
    }
}

/// The columns of a node's input, hidden ones included, that the given columns of its output are made of.
fn inputs_for(node: &NodeSpec, behind: &BTreeSet<usize>) -> BTreeSet<usize> {
    let of_projected = |columns: &[Projected]| -> BTreeSet<usize> {
        behind.iter().filter_map(|place| columns.get(*place)).flat_map(|column| columns_of(&column.expr)).collect()
    };
    match &node.step {
        StepSpec::Filter(condition) => behind.iter().copied().chain(columns_of(condition)).collect(),
        StepSpec::Project(columns) => of_projected(columns),
        StepSpec::Select(select) => {
            of_projected(&select.columns).into_iter().chain(select.filter.iter().flat_map(columns_of)).collect()
        }
        StepSpec::Unnest { column, .. } => behind.iter().copied().chain([*column]).collect(),
    }
}

/// The columns that an expression names.
fn columns_of(expr: &Arc<dyn PhysicalExpr>) -> BTreeSet<usize> {
    let own = expr.downcast_ref::<Column>().map(Column::index);
    own.into_iter().chain(expr.children().into_iter().flat_map(columns_of)).collect()
}

fn key_of(sink: &SinkSpec) -> Option<usize> {
    match sink.key {
        KeyRule::Column(column) => Some(column),
        KeyRule::Source => None,
    }
}

fn schema_of(spec: &ChainSpec, at: NodeRef) -> Result<&SchemaRef, ChainError> {
    let found = match at {
        NodeRef::Source(source) => spec.sources.get(source).map(|source| &source.schema),
        NodeRef::Node(node) => spec.nodes.get(node).map(|node| &node.schema),
    };
    found.ok_or_else(|| ChainError::Missing { node: format!("{at:?}"), what: "the node".into() })
}

fn input_schema<'a>(spec: &'a ChainSpec, name: &str, inputs: &[NodeRef]) -> Result<&'a SchemaRef, ChainError> {
    let first = inputs.first().ok_or_else(|| ChainError::Missing { node: name.into(), what: "an input".into() })?;
    schema_of(spec, *first)
}

fn input_width(spec: &ChainSpec, node: &NodeSpec) -> Result<usize, ChainError> {
    Ok(input_schema(spec, &node.name, &node.inputs)?.fields().len())
}

struct Builder<'a> {
    spec: &'a ChainSpec,
    reach: &'a Reach,
    needs: &'a Needs,
    /// The table that each node ends in.
    tables: HashMap<NodeRef, usize>,
    steps: Vec<Step>,
}

impl Builder<'_> {
    /// Adds the steps of a node.
    fn node(&mut self, place: usize, node: &NodeSpec) -> Result<(), ChainError> {
        let behind: BTreeSet<usize> = self.needs.of(NodeRef::Node(place)).into_iter().collect();
        let scope = Scope::new(input_schema(self.spec, &node.name, &node.inputs)?, &inputs_for(node, &behind));
        let mut inputs = self.inputs(&node.inputs, &scope.own);
        if let StepSpec::Select(Select { filter: Some(condition), .. }) = &node.step {
            let keep: Vec<usize> = (0..scope.own.len()).collect();
            let condition = scope.renumber(condition, &node.name)?;
            self.push(node, inputs, Work::Filter { condition, keep: keep.clone() }, &scope);
            inputs = vec![Input { table: self.steps.len(), columns: keep }];
        }
        let work = work_of(node, &behind, &scope)?;
        self.push(node, inputs, work, &scope);
        self.tables.insert(NodeRef::Node(place), self.steps.len());
        Ok(())
    }

    fn push(&mut self, node: &NodeSpec, inputs: Vec<Input>, work: Work, scope: &Scope) {
        self.steps.push(Step {
            name: Arc::clone(&node.name),
            inputs,
            schema: Arc::clone(&scope.schema),
            hidden: scope.hidden.clone(),
            derived: self.reach.of(&node.inputs).any(|from| self.reach.is_derived(from)),
            work,
        });
    }

    /// The tables of the inputs that the source reaches, with these columns of them.
    fn inputs(&self, inputs: &[NodeRef], columns: &[usize]) -> Vec<Input> {
        self.reach.of(inputs).filter_map(|from| self.input(from, columns)).collect()
    }

    fn input(&self, from: NodeRef, columns: &[usize]) -> Option<Input> {
        let carried = self.needs.of(from);
        let columns = columns.iter().filter_map(|column| carried.binary_search(column).ok()).collect();
        Some(Input { table: *self.tables.get(&from)?, columns })
    }

    fn output(&self, place: usize, sink: &SinkSpec) -> Result<Output, ChainError> {
        let schema = input_schema(self.spec, &sink.name, &sink.inputs)?;
        if let Some(key) = key_of(sink) {
            check_key(sink, schema, key)?;
        }
        let ways = self.reach.of(&sink.inputs).map(|from| self.way(sink, schema, from)).collect::<Result<_, _>>()?;
        Ok(Output { sink: place, name: Arc::clone(&sink.name), ways, own_key: key_of(sink).is_some() })
    }

    fn way(&self, sink: &SinkSpec, schema: &SchemaRef, from: NodeRef) -> Result<Way, ChainError> {
        let missing = || ChainError::Missing { node: sink.name.to_string(), what: format!("{from:?}") };
        let (columns, values): (Vec<usize>, Values) = if self.reach.forwards(self.spec, sink, from) {
            (key_of(sink).into_iter().collect(), Values::Forward)
        } else {
            let encoder = Encoder::new(&sink.format, schema);
            let encoder = encoder.map_err(|error| ChainError::Format { node: sink.name.to_string(), error })?;
            ((0..schema.fields().len()).collect(), Values::Encode(Box::new(encoder), Arc::clone(schema)))
        };
        let key = key_of(sink).and_then(|key| columns.iter().position(|column| *column == key));
        let input = self.input(from, &columns).ok_or_else(missing)?;
        Ok(Way { input, key, values, derived: self.reach.is_derived(from) })
    }
}

/// Whether there is a text form of the column that gives the key.
fn check_key(sink: &SinkSpec, schema: &SchemaRef, key: usize) -> Result<(), ChainError> {
    let what = || format!("column {key} for the key");
    let missing = || ChainError::Missing { node: sink.name.to_string(), what: what() };
    let field = schema.fields().get(key).ok_or_else(missing)?;
    let found = text_form(&new_empty_array(field.data_type()));
    found.map(|_| ()).map_err(|error| ChainError::Format { node: sink.name.to_string(), error })
}

/// What a node does, a SELECT behind its WHERE.
fn work_of(node: &NodeSpec, behind: &BTreeSet<usize>, scope: &Scope) -> Result<Work, ChainError> {
    Ok(match &node.step {
        StepSpec::Filter(condition) => {
            let keep = behind.iter().map(|column| scope.own_place(*column)).collect();
            match always_true(condition) {
                true => Work::Pass { keep },
                false => Work::Filter { condition: scope.renumber(condition, &node.name)?, keep },
            }
        }
        StepSpec::Project(columns) => project(columns, behind, scope, &node.name)?,
        StepSpec::Select(select) => project(&select.columns, behind, scope, &node.name)?,
        StepSpec::Unnest { column, keep_empty } => {
            let keep = behind.iter().map(|place| match place == column {
                true => Unnested::Element,
                false => Unnested::Repeated(scope.own_place(*place)),
            });
            Work::Unnest { list: scope.own_place(*column), keep_empty: *keep_empty, keep: keep.collect() }
        }
    })
}

fn project(
    columns: &[Projected],
    behind: &BTreeSet<usize>,
    scope: &Scope,
    node: &Arc<str>,
) -> Result<Work, ChainError> {
    let needed: Vec<&Projected> = behind.iter().filter_map(|place| columns.get(*place)).collect();
    let exprs = needed.iter().map(|column| scope.renumber(&column.expr, node)).collect::<Result<_, _>>()?;
    let names = needed.iter().map(|column| column.field.name().as_str().into()).collect();
    Ok(Work::Project { exprs, names })
}

/// Whether a condition is the literal true.
fn always_true(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let literal = condition.downcast_ref::<datafusion_physical_expr::expressions::Literal>();
    literal.is_some_and(|literal| *literal.value() == datafusion_common::ScalarValue::Boolean(Some(true)))
}

/// The columns that a step's expressions see: those of the input that are needed, then the hidden ones that are named.
struct Scope {
    own: Vec<usize>,
    hidden: Vec<usize>,
    schema: SchemaRef,
    /// The columns of the input, needed or not.
    width: usize,
}

impl Scope {
    fn new(input: &SchemaRef, named: &BTreeSet<usize>) -> Self {
        let width = input.fields().len();
        let own: Vec<usize> = named.iter().copied().filter(|column| *column < width).collect();
        let hidden =
            named.iter().filter(|column| (width..width + HIDDEN).contains(*column)).map(|column| column - width);
        let hidden: Vec<usize> = hidden.collect();
        let fields = own.iter().map(|column| Arc::clone(&input.fields()[*column]));
        let more = hidden.iter().map(|place| Arc::new(hidden_field(*place)));
        let schema = Arc::new(Schema::new(fields.chain(more).collect::<Fields>()));
        Self { own, hidden, schema, width }
    }

    /// The place of one of the input's own columns, which is among the needed ones.
    fn own_place(&self, column: usize) -> usize {
        self.own.binary_search(&column).unwrap_or(usize::MAX)
    }

    fn place(&self, column: usize) -> Option<usize> {
        match column.checked_sub(self.width) {
            None => self.own.binary_search(&column).ok(),
            Some(hidden) => self.hidden.binary_search(&hidden).ok().map(|place| self.own.len() + place),
        }
    }

    /// An expression over this scope instead of the whole table.
    fn renumber(&self, expr: &Arc<dyn PhysicalExpr>, node: &Arc<str>) -> Result<Arc<dyn PhysicalExpr>, ChainError> {
        let renumbered = Arc::clone(expr).transform_up(|part| {
            let Some(column) = part.downcast_ref::<Column>() else { return Ok(Transformed::no(part)) };
            let place = self.place(column.index()).ok_or_else(|| {
                datafusion_common::DataFusionError::Plan(format!("column {} of {}", column.index(), column.name()))
            })?;
            let field: &Field = self.schema.field(place);
            Ok(Transformed::yes(Arc::new(Column::new(field.name(), place)) as Arc<dyn PhysicalExpr>))
        });
        let missing = |error: datafusion_common::DataFusionError| ChainError::Missing {
            node: node.to_string(),
            what: error.strip_backtrace(),
        };
        renumbered.map(|transformed| transformed.data).map_err(missing)
    }
}
