//! The transforms of a Pipeline: steps over the columns of their inputs.
//!
//! A transform is compiled once its inputs' columns are known. Where these were reported as wrong they are unknown, and
//! so are the columns of everything behind: one mistake is one message.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_crds::pipeline::{PipelineSpec, RenameColumn, SetColumn, Transform, Unnest};

use super::columns::{difference, keep, schema_of, unknown};
use super::context::Context;
use super::graph::{Graph, Id, Inputs};
use super::names::excerpt;
use super::path::Path;
use super::sql::{self, Projected};
use super::types;
use crate::operators::metadata::{is_metadata, table_of};
use crate::operators::spec::Step;

/// A compiled transform.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it does.
    pub(super) step: Step,
    /// Its output's columns.
    pub(super) schema: SchemaRef,
}

/// Everything that rows can be taken from, with what it turned into.
pub(super) struct Tables<'a> {
    spec: &'a PipelineSpec,
    sources: Vec<Option<SchemaRef>>,
    transforms: Vec<Option<Node>>,
}

impl<'a> Tables<'a> {
    /// The name of a node.
    pub(super) fn name(&self, id: Id) -> &'a str {
        match id {
            Id::Source(index) => &self.spec.sources[index].name,
            Id::Transform(index) => &self.spec.transforms[index].name,
        }
    }

    /// The columns of a node, if they are known.
    pub(super) fn schema(&self, id: Id) -> Option<SchemaRef> {
        match id {
            Id::Source(index) => self.sources[index].clone(),
            Id::Transform(index) => self.transforms[index].as_ref().map(|node| Arc::clone(&node.schema)),
        }
    }

    /// The compiled transform at a place.
    pub(super) fn node(&self, index: usize) -> Option<&Node> {
        self.transforms[index].as_ref()
    }

    /// Whether a step passes on the columns that it does not name.
    pub(super) fn keeps_columns(&self, index: usize) -> bool {
        let transform = &self.spec.transforms[index];
        transform.select.is_none() && transform.sql.is_none()
    }

    /// The columns that several inputs have in common, which must be all of them.
    pub(super) fn united(&self, context: &mut Context<'_>, inputs: &Inputs, path: &Path) -> Option<SchemaRef> {
        let (first, rest) = inputs.as_deref()?.split_first()?;
        let schema = self.schema(*first);
        for (place, other) in rest.iter().enumerate() {
            let (Some(one), Some(two)) = (&schema, self.schema(*other)) else { continue };
            if let Some(difference) = difference((self.name(*first), one), (self.name(*other), &two)) {
                let message =
                    format!("`{}` and `{}` cannot be united: {difference}", self.name(*first), self.name(*other));
                let help = "bring them to equal columns before, with `select`, `set` or `sql`".to_owned();
                context.error(&path.then("from").then(place + 1), message, Some(help));
                return None;
            }
        }
        rest.iter().all(|other| self.schema(*other).is_some()).then_some(schema).flatten()
    }
}

/// Compiles the transforms in the order of the graph.
pub(super) fn compile<'a>(
    context: &mut Context<'_>,
    spec: &'a PipelineSpec,
    graph: &Graph,
    sources: Vec<Option<SchemaRef>>,
) -> Tables<'a> {
    let mut tables = Tables { spec, sources, transforms: vec![None; spec.transforms.len()] };
    for index in &graph.order {
        let path = Path::spec("transforms").then(*index);
        let Some(input) = tables.united(context, &graph.transforms[*index], &path) else { continue };
        let node = Compiler { context: &mut *context, input, path }.step(&spec.transforms[*index]);
        tables.transforms[*index] = node;
    }
    tables
}

struct Compiler<'a, 'd> {
    context: &'a mut Context<'d>,
    input: SchemaRef,
    path: Path,
}

impl Compiler<'_, '_> {
    fn step(&mut self, transform: &Transform) -> Option<Node> {
        if let Some(text) = &transform.filter {
            return self.filter(text);
        }
        if let Some(columns) = &transform.set {
            return self.set(columns).map(project);
        }
        if let Some(columns) = &transform.select {
            return self.select(columns).map(project);
        }
        if let Some(columns) = &transform.drop {
            return self.drop(columns).map(project);
        }
        if let Some(columns) = &transform.rename {
            return self.rename(columns).map(project);
        }
        if let Some(text) = &transform.sql {
            return self.sql(text);
        }
        self.unnest(transform.unnest.as_ref()?)
    }

    fn filter(&mut self, text: &str) -> Option<Node> {
        let schema = Arc::clone(&self.input);
        match sql::compile_filter(text, &table_of(&schema)) {
            Ok(expr) => Some(Node { step: Step::Filter(expr), schema }),
            Err(problems) => {
                self.context.sql(&self.path.then("filter"), problems);
                None
            }
        }
    }

    /// All expressions see the incoming row; new columns come last.
    fn set(&mut self, columns: &[SetColumn]) -> Option<Vec<Projected>> {
        let table = table_of(&self.input);
        let mut output: Vec<Projected> = (0..self.input.fields().len()).map(|index| keep(&self.input, index)).collect();
        let mut good = self.all_differ("set", columns.iter().map(|set| (set.column.as_str(), "column")));
        for (place, SetColumn { column, expression }) in columns.iter().enumerate() {
            let path = self.path.then("set").then(place);
            good &= self.is_free(column, &path.then("column"));
            match sql::compile_value(expression, &table) {
                Err(problems) => {
                    self.context.sql(&path.then("expression"), problems);
                    good = false;
                }
                Ok(value) => {
                    let value = Projected { field: value.field.with_name(column.clone()).with_nullable(true), ..value };
                    match self.input.index_of(column) {
                        Ok(index) => output[index] = value,
                        Err(_) => output.push(value),
                    }
                }
            }
        }
        good.then_some(output)
    }

    fn select(&mut self, columns: &[String]) -> Option<Vec<Projected>> {
        let good = self.all_differ("select", columns.iter().map(|column| (column.as_str(), "")));
        let places: Vec<Option<usize>> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| self.find(column, &self.path.then("select").then(place)))
            .collect();
        let places: Option<Vec<usize>> = places.into_iter().collect();
        places.filter(|_| good).map(|places| places.into_iter().map(|index| keep(&self.input, index)).collect())
    }

    fn drop(&mut self, columns: &[String]) -> Option<Vec<Projected>> {
        let places: Vec<Option<usize>> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| self.find(column, &self.path.then("drop").then(place)))
            .collect();
        let dropped: HashSet<usize> = places.into_iter().collect::<Option<_>>()?;
        let left: Vec<Projected> = (0..self.input.fields().len())
            .filter(|index| !dropped.contains(index))
            .map(|index| keep(&self.input, index))
            .collect();
        if left.is_empty() {
            self.context.error(&self.path.then("drop"), "no column is left", None);
        }
        (!left.is_empty()).then_some(left)
    }

    fn rename(&mut self, columns: &[RenameColumn]) -> Option<Vec<Projected>> {
        let mut good = self.all_differ("rename", columns.iter().map(|rename| (rename.column.as_str(), "column")));
        let mut names: HashMap<usize, &str> = HashMap::new();
        for (place, RenameColumn { column, to }) in columns.iter().enumerate() {
            let path = self.path.then("rename").then(place);
            good &= self.is_free(to, &path.then("to"));
            match self.find(column, &path.then("column")) {
                Some(index) => good &= names.insert(index, to).is_none(),
                None => good = false,
            }
        }
        if !good {
            return None;
        }
        let mut output: Vec<Projected> = (0..self.input.fields().len()).map(|index| keep(&self.input, index)).collect();
        for (index, name) in names {
            output[index].field.set_name(name);
        }
        self.distinct(columns, &output).then_some(output)
    }

    /// Whether no column was renamed to the name of another.
    fn distinct(&mut self, renames: &[RenameColumn], output: &[Projected]) -> bool {
        let mut good = true;
        for (place, rename) in renames.iter().enumerate() {
            if output.iter().filter(|column| *column.field.name() == rename.to).count() > 1 {
                let message = format!("there would be two columns `{}`", excerpt(&rename.to));
                let help = Some("drop or rename the other one".to_owned());
                self.context.error(&self.path.then("rename").then(place).then("to"), message, help);
                good = false;
            }
        }
        good
    }

    fn sql(&mut self, text: &str) -> Option<Node> {
        let path = self.path.then("sql");
        let select = sql::select_source(text).and_then(|name| sql::compile_select(text, &name, &table_of(&self.input)));
        let mut select = match select {
            Ok(select) => select,
            Err(problems) => {
                self.context.sql(&path, problems);
                return None;
            }
        };
        let good = select.columns.iter().all(|column| self.is_free(column.field.name(), &path));
        for column in &mut select.columns {
            column.field.set_nullable(true);
        }
        let schema = schema_of(&select.columns);
        good.then_some(Node { step: Step::Select(select), schema })
    }

    fn unnest(&mut self, unnest: &Unnest) -> Option<Node> {
        let path = self.path.below("unnest.column");
        let column = self.find(&unnest.column, &path)?;
        let field = self.input.field(column);
        let DataType::List(item) = field.data_type() else {
            let message = format!("`{}` is {}, not a list", excerpt(field.name()), types::describe(field));
            let lists = self.input.fields().iter().filter(|field| matches!(field.data_type(), DataType::List(_)));
            let lists: Vec<&str> = lists.map(|field| field.name().as_str()).collect();
            let help = (!lists.is_empty()).then(|| format!("lists are {}", super::names::listed(&lists)));
            self.context.error(&path, message, help);
            return None;
        };
        let element = Field::new(field.name(), item.data_type().clone(), true).with_metadata(item.metadata().clone());
        let replaced =
            |(index, field): (usize, &Arc<Field>)| if index == column { element.clone() } else { (**field).clone() };
        let fields: Vec<Field> = self.input.fields().iter().enumerate().map(replaced).collect();
        Some(Node {
            step: Step::Unnest { column, keep_empty: unnest.keep_empty },
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The place of a column of the input.
    fn find(&mut self, name: &str, path: &Path) -> Option<usize> {
        let found = self.input.index_of(name).ok();
        if found.is_none() {
            let (message, help) = unknown(name, &self.input);
            self.context.error(path, message, help);
        }
        found
    }

    /// Whether a column may have this name.
    fn is_free(&mut self, name: &str, path: &Path) -> bool {
        if is_metadata(name) {
            let message = format!("`{name}` is the name of a metadata column");
            let help = format!("give it another name, such as `{}`", name.trim_start_matches('_'));
            self.context.error(path, message, Some(help));
        }
        !is_metadata(name)
    }

    /// Whether a list names no column twice. `field` is where the name stands in an entry; empty if it is the entry.
    fn all_differ<'n>(&mut self, step: &str, names: impl Iterator<Item = (&'n str, &'n str)>) -> bool {
        let mut seen = HashSet::new();
        let mut good = true;
        for (place, (name, field)) in names.enumerate() {
            if !seen.insert(name) {
                let path = self.path.then(step).then(place).below(field);
                self.context.error(&path, format!("the column `{}` is named twice", excerpt(name)), None);
                good = false;
            }
        }
        good
    }
}

fn project(columns: Vec<Projected>) -> Node {
    let schema = schema_of(&columns);
    Node { step: Step::Project(columns), schema }
}
