//! The steps of a program: rows in, rows out, and the rows that failed.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, UInt32Array, UInt32Builder,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion_physical_expr::PhysicalExpr;

use super::evaluate::{BadRow, Evaluated, evaluate};
use super::metadata::Hidden;
use super::table::{Table, unite};
use crate::format::row_as_json;
use crate::records::{BadRecord, Reason};

/// A step of a program.
#[derive(Debug)]
pub(super) struct Step {
    /// The node's name.
    pub(super) name: Arc<str>,
    /// Where the rows come from.
    pub(super) inputs: Vec<Input>,
    /// The columns of the inputs, followed by the hidden columns that the expressions name.
    pub(super) schema: SchemaRef,
    /// The hidden columns, by their places among them.
    pub(super) hidden: Vec<usize>,
    /// Whether the input's rows are something else than decoded source records.
    pub(super) derived: bool,
    /// What happens to the rows.
    pub(super) work: Work,
}

/// A table that a step reads, and its columns that the step needs.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// The table, by its place in the program.
    pub(super) table: usize,
    /// The columns, by their places in it.
    pub(super) columns: Vec<usize>,
}

/// What happens to rows.
#[derive(Debug)]
pub(super) enum Work {
    /// Keeps the rows for which the expression is true, with some of their columns.
    Filter { condition: Arc<dyn PhysicalExpr>, keep: Vec<usize> },
    /// Hands all rows on, with some of their columns: unites and routes.
    Pass { keep: Vec<usize> },
    /// Computes columns.
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, names: Vec<Arc<str>> },
    /// Makes a row of every element of a list.
    Unnest { list: usize, keep_empty: bool, keep: Vec<Unnested> },
}

/// A column behind an unnest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnested {
    /// The elements of the list.
    Element,
    /// A column of the input, repeated.
    Repeated(usize),
}

impl Step {
    /// Runs the step on the tables before it; what fails goes to `bad`.
    pub(super) fn run(
        &self,
        tables: &[Table],
        hidden: &Hidden<'_>,
        bad: &mut Vec<BadRecord>,
    ) -> Result<Table, ArrowError> {
        let inputs: Vec<_> = self.inputs.iter().map(|input| tables[input.table].pick(&input.columns)).collect();
        let input = unite(&inputs)?;
        match &self.work {
            Work::Pass { keep } => Ok(input.pick(keep)),
            Work::Filter { condition, keep } => {
                let batch = self.batch(&input, hidden)?;
                let found = evaluate(std::slice::from_ref(condition), &batch);
                self.refuse(&found.bad, &input, &batch, |_| String::new(), bad);
                input.pick(keep).filter(&mask(&found, input.len))
            }
            Work::Project { exprs, names } => {
                let batch = self.batch(&input, hidden)?;
                let found = evaluate(exprs, &batch);
                self.refuse(&found.bad, &input, &batch, |expr| format!("column `{}`: ", names[expr]), bad);
                let rows = input.pick(&[]);
                let kept = if found.bad.is_empty() { rows } else { rows.filter(&good(&found.bad, input.len))? };
                Ok(kept.with_columns(found.columns))
            }
            Work::Unnest { list, keep_empty, keep } => unnest(&input, *list, *keep_empty, keep),
        }
    }

    fn batch(&self, input: &Table, hidden: &Hidden<'_>) -> Result<RecordBatch, ArrowError> {
        let more = self.hidden.iter().map(|place| hidden.column(*place, input.rows.as_ref()));
        input.batch(&self.schema, more.collect::<Result<_, _>>()?)
    }

    fn refuse(
        &self,
        found: &[BadRow],
        input: &Table,
        batch: &RecordBatch,
        place: impl Fn(usize) -> String,
        bad: &mut Vec<BadRecord>,
    ) {
        let own: Vec<usize> = (0..input.columns.len()).collect();
        let own = batch.project(&own).ok().filter(|_| self.derived);
        bad.extend(found.iter().map(|found| BadRecord {
            row: input.source_row(found.row),
            node: Arc::clone(&self.name),
            reason: Reason::Expression,
            message: format!("{}{}", place(found.expr), found.message),
            derived: own.as_ref().map(|own| row_as_json(own, found.row)),
        }));
    }
}

/// The rows that are not bad.
fn good(bad: &[BadRow], len: usize) -> BooleanArray {
    let mut mask = BooleanBufferBuilder::new(len);
    mask.append_n(len, true);
    for bad in bad {
        mask.set_bit(bad.row, false);
    }
    BooleanArray::new(mask.finish(), None)
}

/// The rows for which a condition is true, over all rows.
fn mask(found: &Evaluated, len: usize) -> BooleanArray {
    let condition = found.columns[0].as_boolean();
    if found.bad.is_empty() {
        return condition.clone();
    }
    let good = good(&found.bad, len);
    let mut results = (0..condition.len()).map(|row| condition.is_valid(row) && condition.value(row));
    let spread: BooleanBuffer = good.values().iter().map(|good| good && results.next().unwrap_or(false)).collect();
    BooleanArray::new(spread, None)
}

fn unnest(input: &Table, list: usize, keep_empty: bool, keep: &[Unnested]) -> Result<Table, ArrowError> {
    let lists = input.columns[list].as_list::<i32>();
    let offsets = lists.value_offsets();
    let (mut rows, mut elements) = (Vec::new(), UInt32Builder::new());
    for row in 0..lists.len() {
        let (start, end) = (offsets[row] as u32, offsets[row + 1] as u32);
        if lists.is_null(row) || start == end {
            if keep_empty {
                rows.push(row as u32);
                elements.append_null();
            }
            continue;
        }
        rows.extend(std::iter::repeat_n(row as u32, (end - start) as usize));
        (start..end).for_each(|element| elements.append_value(element));
    }
    let (rows, elements) = (UInt32Array::from(rows), elements.finish());
    let columns = keep.iter().map(|column| match column {
        Unnested::Element => take(lists.values(), &elements, None),
        Unnested::Repeated(place) => take(&input.columns[*place], &rows, None),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    Ok(input.pick(&[]).take(&rows)?.with_columns(columns))
}
