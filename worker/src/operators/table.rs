//! Rows on their way through a chain: columns, and the row of the source batch that each was derived from.
//!
//! Rows are in the order of their source rows throughout; several may come from one. A table that still has all rows
//! of its batch needs no list of them, so that what does not filter does not copy either.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{FilterBuilder, interleave, take};
use arrow::datatypes::{SchemaRef, UInt32Type};
use arrow::error::ArrowError;

/// Columns of rows of one source batch.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The source row of each row, ascending; None if these are all rows of the batch.
    pub(super) rows: Option<UInt32Array>,
    /// The columns that something behind needs.
    pub(super) columns: Vec<ArrayRef>,
    /// The number of rows.
    pub(super) len: usize,
}

impl Table {
    /// The source row of a row.
    pub(super) fn source_row(&self, row: usize) -> u32 {
        self.rows.as_ref().map_or(row as u32, |rows| rows.value(row))
    }

    /// The source rows of all rows.
    pub(super) fn source_rows(&self) -> UInt32Array {
        self.rows.clone().unwrap_or_else(|| (0..self.len as u32).collect())
    }

    /// The same rows with some of the columns.
    pub(super) fn pick(&self, places: &[usize]) -> Self {
        let columns = places.iter().map(|place| self.columns[*place].clone()).collect();
        Self { rows: self.rows.clone(), columns, len: self.len }
    }

    /// The same rows with other columns.
    pub(super) fn with_columns(&self, columns: Vec<ArrayRef>) -> Self {
        Self { rows: self.rows.clone(), columns, len: self.len }
    }

    /// The rows for which the mask is true.
    pub(super) fn filter(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        let kept = mask.true_count();
        if kept == self.len {
            return Ok(self.clone());
        }
        let several = self.columns.len() + usize::from(self.rows.is_some()) > 1;
        let builder = FilterBuilder::new(mask);
        let predicate = if several { builder.optimize() } else { builder }.build();
        let rows = match &self.rows {
            Some(rows) => predicate.filter(rows)?.as_primitive::<UInt32Type>().clone(),
            None => true_rows(mask),
        };
        let columns = self.columns.iter().map(|column| predicate.filter(column)).collect::<Result<_, _>>()?;
        Ok(Self { rows: Some(rows), columns, len: kept })
    }

    /// The rows at these places.
    pub(super) fn take(&self, places: &UInt32Array) -> Result<Self, ArrowError> {
        let rows = take(&self.source_rows(), places, None)?.as_primitive::<UInt32Type>().clone();
        let columns = self.columns.iter().map(|column| take(column, places, None)).collect::<Result<_, _>>()?;
        Ok(Self { rows: Some(rows), columns, len: places.len() })
    }

    /// As a batch of a schema, with more columns behind the table's own.
    pub(super) fn batch(&self, schema: &SchemaRef, more: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter().cloned().chain(more).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.len));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
    }
}

/// The rows where a mask is true; null is not.
fn true_rows(mask: &BooleanArray) -> UInt32Array {
    let set = match mask.nulls() {
        Some(valid) => mask.values() & valid.inner(),
        None => mask.values().clone(),
    };
    set.set_indices_u32().collect()
}

/// Unites tables of equal columns, in the order of source rows; rows of one source row in the order of the tables.
pub(super) fn unite(tables: &[Table]) -> Result<Table, ArrowError> {
    if let [only] = tables {
        return Ok(only.clone());
    }
    let (rows, places) = order(&tables.iter().map(Table::source_rows).collect::<Vec<_>>());
    let width = tables.first().map_or(0, |table| table.columns.len());
    let columns = (0..width).map(|column| {
        let pieces: Vec<&dyn Array> = tables.iter().map(|table| table.columns[column].as_ref()).collect();
        interleave(&pieces, &places)
    });
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(Table { len: rows.len(), rows: Some(rows), columns })
}

/// The united rows of ascending lists, and for each the list and the place in it.
pub(super) fn order(lists: &[UInt32Array]) -> (UInt32Array, Vec<(usize, usize)>) {
    let all = lists.iter().enumerate().flat_map(|(list, rows)| (0..rows.len()).map(move |place| (list, place)));
    let mut places: Vec<(usize, usize)> = all.collect();
    places.sort_by_key(|(list, place)| lists[*list].value(*place));
    let rows = places.iter().map(|(list, place)| lists[*list].value(*place)).collect();
    (rows, places)
}
