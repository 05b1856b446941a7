//! The ends of a program: rows and tombstones become the records of a sink.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use super::steps::Input;
use super::table::{Table, order};
use crate::format::{Encoder, row_as_json, text_form};
use crate::records::{BadRecord, Reason, SinkBatch, SourceBatch, take_headers};

/// A sink, as one source's rows reach it.
#[derive(Debug)]
pub(super) struct Output {
    /// The sink's place in the pipeline.
    pub(super) sink: usize,
    /// The sink's name.
    pub(super) name: Arc<str>,
    /// The tables that it takes.
    pub(super) ways: Vec<Way>,
    /// Whether the key is a column's, and not the source's.
    pub(super) own_key: bool,
}

/// A table that a sink takes, and how its rows become values.
#[derive(Debug)]
pub(super) struct Way {
    /// The table, and its columns in the sink's order, the key's among them.
    pub(super) input: Input,
    /// The place of the key's column among the input's.
    pub(super) key: Option<usize>,
    /// How values are made.
    pub(super) values: Values,
    /// Whether rows are something else than decoded source records.
    pub(super) derived: bool,
}

/// How rows become values.
#[derive(Debug)]
pub(super) enum Values {
    /// The source's own bytes.
    Forward,
    /// Written from the first columns of the input, of this schema.
    Encode(Box<Encoder>, SchemaRef),
}

/// Records of a sink that came one way.
struct Piece {
    rows: Option<UInt32Array>,
    keys: BinaryArray,
    values: BinaryArray,
}

impl Output {
    /// The sink's records of a batch, if there are any.
    pub(super) fn write(
        &self,
        tables: &[Table],
        batch: &SourceBatch,
        tombstones: &UInt32Array,
        bad: &mut Vec<BadRecord>,
    ) -> Result<Option<SinkBatch>, ArrowError> {
        let mut pieces = Vec::new();
        for way in &self.ways {
            pieces.push(self.piece(way, &tables[way.input.table], batch, bad)?);
        }
        if !tombstones.is_empty() {
            if self.own_key {
                bad.extend(tombstones.values().iter().map(|row| self.refused_tombstone(*row)));
            } else {
                pieces.push(tombstone_piece(batch, tombstones)?);
            }
        }
        let whole = join(pieces, batch.len())?;
        if whole.values.is_empty() {
            return Ok(None);
        }
        self.records(whole, batch).map(Some)
    }

    fn records(&self, whole: Piece, batch: &SourceBatch) -> Result<SinkBatch, ArrowError> {
        let (timestamps, headers) = match &whole.rows {
            None => (batch.timestamps.clone(), batch.headers.clone()),
            Some(rows) => {
                let timestamps: Int64Array = take(&batch.timestamps, rows, None)?.as_primitive::<Int64Type>().clone();
                (timestamps, batch.headers.as_ref().map(|headers| take_headers(headers, rows)).transpose()?)
            }
        };
        let rows = whole.rows.unwrap_or_else(|| all_rows(batch.len()));
        Ok(SinkBatch { sink: self.sink, rows, keys: whole.keys, values: whole.values, timestamps, headers })
    }

    fn piece(
        &self,
        way: &Way,
        table: &Table,
        batch: &SourceBatch,
        bad: &mut Vec<BadRecord>,
    ) -> Result<Piece, ArrowError> {
        let table = table.pick(&way.input.columns);
        let (values, kept) = match &way.values {
            Values::Forward => (rows_of(&batch.values, table.rows.as_ref())?, None),
            Values::Encode(encoder, schema) => self.encode(encoder, schema, way.derived, &table, bad)?,
        };
        let keys = match way.key {
            None => None,
            Some(place) => Some(text_form(&table.columns[place]).map_err(|e| ArrowError::ComputeError(e.to_string()))?),
        };
        let (rows, keys) = match kept {
            None => (table.rows, keys),
            Some(kept) => {
                let rows = take(&table.source_rows(), &kept, None)?.as_primitive::<UInt32Type>().clone();
                (Some(rows), keys.map(|keys| rows_of(&keys, Some(&kept))).transpose()?)
            }
        };
        let keys = keys.map_or_else(|| rows_of(&batch.keys, rows.as_ref()), Ok)?;
        Ok(Piece { rows, keys, values })
    }

    /// The values of a table's rows, and the rows that they are of, if not all.
    fn encode(
        &self,
        encoder: &Encoder,
        schema: &SchemaRef,
        derived: bool,
        table: &Table,
        bad: &mut Vec<BadRecord>,
    ) -> Result<(BinaryArray, Option<UInt32Array>), ArrowError> {
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let rows = table.pick(&columns).batch(schema, Vec::new())?;
        let encoded = encoder.encode(&rows);
        bad.extend(encoded.bad.into_iter().map(|failure| BadRecord {
            row: table.source_row(failure.row as usize),
            node: Arc::clone(&self.name),
            reason: failure.reason,
            message: failure.message,
            derived: derived.then(|| row_as_json(&rows, failure.row as usize)),
        }));
        Ok((encoded.values, encoded.rows))
    }

    fn refused_tombstone(&self, row: u32) -> BadRecord {
        BadRecord {
            row,
            node: Arc::clone(&self.name),
            reason: Reason::Tombstone,
            message: "the record has no value (a tombstone), so that its key cannot be taken from a column".into(),
            derived: None,
        }
    }
}

fn tombstone_piece(batch: &SourceBatch, rows: &UInt32Array) -> Result<Piece, ArrowError> {
    let values = BinaryArray::new_null(rows.len());
    Ok(Piece { rows: Some(rows.clone()), keys: rows_of(&batch.keys, Some(rows))?, values })
}

fn all_rows(len: usize) -> UInt32Array {
    UInt32Array::from_iter_values(0..len as u32)
}

/// Some rows of a column; all of them, without copying, if None.
fn rows_of(column: &BinaryArray, rows: Option<&UInt32Array>) -> Result<BinaryArray, ArrowError> {
    rows.map_or_else(|| Ok(column.clone()), |rows| Ok(take(column, rows, None)?.as_binary::<i32>().clone()))
}

/// Pieces as one, in the order of source rows.
fn join(mut pieces: Vec<Piece>, len: usize) -> Result<Piece, ArrowError> {
    if pieces.len() > 1 {
        pieces.retain(|piece| !piece.values.is_empty());
    }
    if pieces.len() == 1
        && let Some(only) = pieces.pop()
    {
        return Ok(only);
    }
    let lists: Vec<_> = pieces.iter().map(|piece| piece.rows.clone().unwrap_or_else(|| all_rows(len))).collect();
    let (rows, places) = order(&lists);
    let merged = |column: fn(&Piece) -> &dyn Array| -> Result<BinaryArray, ArrowError> {
        if pieces.is_empty() {
            return Ok(BinaryArray::new_null(0));
        }
        let columns: Vec<&dyn Array> = pieces.iter().map(column).collect();
        Ok(interleave(&columns, &places)?.as_binary::<i32>().clone())
    };
    let (keys, values) = (merged(|piece| &piece.keys)?, merged(|piece| &piece.values)?);
    Ok(Piece { rows: Some(rows), keys, values })
}
