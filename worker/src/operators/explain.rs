//! A chain in words, for `check --plan`.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;

use super::outputs::{Output, Values};
use super::program::Program;
use super::spec::{ChainSpec, KeyRule};
use super::steps::{Step, Work};
use crate::format::Format;

/// What happens to each source's records: what is read, the steps with the columns that they read, what sinks take.
pub(super) fn text(spec: &ChainSpec, programs: &[Program]) -> String {
    let mut out = String::new();
    for (source, program) in spec.sources.iter().zip(programs) {
        let _ = writeln!(out, "source {} ({}): {}", source.name, format_name(&source.format), read(&program.columns));
        let names = names_of_tables(program);
        for (place, step) in program.steps.iter().enumerate() {
            let from: Vec<&str> = step.inputs.iter().map(|input| names[input.table].as_str()).collect();
            let _ = writeln!(out, "  {} = {}", names[place + 1], work(step, &from));
        }
        for output in &program.outputs {
            let _ = writeln!(out, "{}", sink(spec, output, &names));
        }
    }
    out
}

/// The source, then a name a step; a node of several steps has a numbered name for all but the last.
fn names_of_tables(program: &Program) -> Vec<String> {
    let mut names = vec![program.name.to_string()];
    for (place, step) in program.steps.iter().enumerate() {
        let goes_on = program.steps.get(place + 1).is_some_and(|next| Arc::ptr_eq(&next.name, &step.name));
        names.push(if goes_on { format!("{}(rows)", step.name) } else { step.name.to_string() });
    }
    names
}

fn read(columns: &[String]) -> String {
    match columns {
        [] => "reads no column, checks the syntax of every record".into(),
        columns => format!("reads {}", columns.join(", ")),
    }
}

fn work(step: &Step, from: &[&str]) -> String {
    let from = from.join(" + ");
    let columns = || step.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
    match &step.work {
        Work::Pass { .. } => format!("all rows of {from}"),
        Work::Filter { condition, .. } => format!("rows of {from} where {} [reads {}]", Sql(condition), columns()),
        Work::Project { exprs, names } => {
            let columns: Vec<_> = names.iter().zip(exprs).map(|(name, expr)| column(name, expr)).collect();
            format!("columns of {from}: {}", columns.join(", "))
        }
        Work::Unnest { list, keep_empty, .. } => {
            let list = step.schema.field(*list).name();
            let empty = if *keep_empty { ", empty ones kept" } else { "" };
            format!("a row of {from} for each element of {list}{empty}")
        }
    }
}

fn column(name: &str, expr: &Arc<dyn PhysicalExpr>) -> String {
    let text = Sql(expr).to_string();
    if text == name { text } else { format!("{name} = {text}") }
}

fn sink(spec: &ChainSpec, output: &Output, names: &[String]) -> String {
    let of = &spec.sinks[output.sink];
    let ways = output.ways.iter().map(|way| match &way.values {
        Values::Forward => format!("forwards the bytes of {}", names[way.input.table]),
        Values::Encode(_, schema) => {
            let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("writes {} of {}", columns.join(", "), names[way.input.table])
        }
    });
    let key = match of.key {
        KeyRule::Source => "the source's key".to_owned(),
        KeyRule::Column(column) => key_name(spec, output.sink, column),
    };
    let ways: Vec<_> = ways.collect();
    format!("  sink {} ({}): {}; {key}", output.name, format_name(&of.format), ways.join(", "))
}

fn key_name(spec: &ChainSpec, sink: usize, column: usize) -> String {
    use super::spec::NodeRef;
    let schema = match spec.sinks[sink].inputs.first() {
        Some(NodeRef::Source(source)) => &spec.sources[*source].schema,
        Some(NodeRef::Node(node)) => &spec.nodes[*node].schema,
        None => return String::new(),
    };
    format!("key from {}", schema.field(column).name())
}

fn format_name(format: &Format) -> &'static str {
    match format {
        Format::Raw(_) => "Raw",
        Format::Csv(_) => "Csv",
        Format::Json(_) => "Json",
    }
}

/// An expression in SQL's notation.
struct Sql<'a>(&'a Arc<dyn PhysicalExpr>);

impl fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}
