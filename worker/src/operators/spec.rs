//! What a chain is made of: the compiler's output, the chain's input.
//!
//! Everything here is already checked: references point backwards, columns exist, expressions have their types. So
//! that building a chain out of it can only fail for a reason that a user cannot cause.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use crate::format::Format;
use crate::plan::sql::{Projected, Select};

/// Everything between sources and sinks.
#[derive(Clone, Debug, Default)]
pub struct ChainSpec {
    /// The sources, in the order of [`crate::plan::CompiledPipeline::sources`].
    pub sources: Vec<SourceSpec>,
    /// The nodes between sources and sinks; each names only sources and nodes before it.
    pub nodes: Vec<NodeSpec>,
    /// The sinks, in the order of [`crate::plan::CompiledPipeline::sinks`].
    pub sinks: Vec<SinkSpec>,
}

/// A source: how its records become rows.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The node's name.
    pub name: Arc<str>,
    /// How a record's value is read.
    pub format: Format,
    /// The declared columns.
    pub schema: SchemaRef,
}

/// A source or a node, as an input of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeRef {
    /// A place in [`ChainSpec::sources`].
    Source(usize),
    /// A place in [`ChainSpec::nodes`].
    Node(usize),
}

/// A step with its inputs.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The node's name.
    pub name: Arc<str>,
    /// Where the rows come from; several inputs are united, and have equal columns.
    pub inputs: Vec<NodeRef>,
    /// What happens to them.
    pub step: Step,
    /// The output's columns, without the metadata columns.
    pub schema: SchemaRef,
}

/// What a node does with its rows. Expressions are compiled over [`super::metadata::table_of`] the input's schema.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps the rows for which the expression is true; with an expression that is always true, unites and routes.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes the output's columns, in order.
    Project(Vec<Projected>),
    /// Keeps some rows, and computes the output's columns of them.
    Select(Select),
    /// Makes a row of every element of a list column; the element takes the column's place.
    Unnest {
        /// The list column's place in the input's schema.
        column: usize,
        /// Keeps a row with null where the list is empty or null.
        keep_empty: bool,
    },
}

/// A sink: how rows become records.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// The node's name.
    pub name: Arc<str>,
    /// Where the rows come from; several inputs are united, and have equal columns.
    pub inputs: Vec<NodeRef>,
    /// How a record's value is written.
    pub format: Format,
    /// What becomes of the key.
    pub key: KeyRule,
}

/// Where the key of an output record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// The source record's key.
    Source,
    /// The text form of a column, by its place in the input's schema.
    Column(usize),
}
