//! The chain: everything between sources and sinks, compiled.
//!
//! A batch of one source runs through that source's program:
//!
//! ```text
//! values ─ tombstones out ─ decode (columns in use) ─ steps, each over a whole batch ─ encode or forward ─ records
//!                              └ bad records            └ bad records                  └ bad records
//! ```
//!
//! Guarantees: every record of the batch ends in what its sinks get, in [`Processed::bad`], or was filtered out, and
//! which of these it is does not depend on the records around it. A record that is bad on one way still goes the others.

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, UInt32Array};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type, UInt32Type};
use arrow::error::ArrowError;

use super::explain;
use super::metadata::Hidden;
use super::program::Program;
use super::spec::ChainSpec;
use super::table::Table;
use crate::format::FormatError;
use crate::records::{BadRecord, Processed, Reason, SinkBatch, SourceBatch};

/// The compiled form of everything between sources and sinks: decoders, transforms, encoders.
#[derive(Debug, Default)]
pub struct Chain {
    programs: Vec<Program>,
    explained: String,
}

/// A chain that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A part of the spec names something that is not there.
    #[error("node {node}: {what} does not exist")]
    Missing {
        /// The node.
        node: String,
        /// What it names.
        what: String,
    },
    /// A format cannot read or write the columns.
    #[error("node {node}: {error}")]
    Format {
        /// The node.
        node: String,
        /// Why.
        #[source]
        error: FormatError,
    },
}

impl Chain {
    /// Builds the chain of a checked spec.
    #[expect(clippy::needless_pass_by_value, reason = "the compiler hands its result over")]
    pub fn new(spec: ChainSpec) -> Result<Self, ChainError> {
        let programs =
            (0..spec.sources.len()).map(|source| Program::new(&spec, source)).collect::<Result<Vec<_>, _>>()?;
        let explained = explain::text(&spec, &programs);
        Ok(Self { programs, explained })
    }

    /// What the chain does with each source's records, for people.
    pub fn explain(&self) -> String {
        self.explained.clone()
    }

    /// Runs the chain on a batch of one source.
    ///
    /// `now` is what `now()` gives for the whole batch, in microseconds since 1970. Never fails and never panics for
    /// bad data: what cannot be processed is in [`Processed::bad`].
    pub fn process(&self, batch: &SourceBatch, now: i64) -> Processed {
        let Some(program) = self.programs.get(batch.source) else {
            return refuse_all(batch, "chain", "the chain has no such source");
        };
        let mut processed = run_or_halve(program, batch, now, 0);
        processed.bad.sort_by_key(|bad| bad.row);
        processed
    }
}

/// Runs a batch; one whose columns outgrow Arrow's (2 GiB of text, say, behind an unnest) is halved.
fn run_or_halve(program: &Program, batch: &SourceBatch, now: i64, start: u32) -> Processed {
    let processed = match run(program, batch, now) {
        Ok(processed) => processed,
        Err(error) if batch.len() <= 1 => refuse_all(batch, &program.name, &error.to_string()),
        Err(_) => {
            let half = batch.len() / 2;
            let first = run_or_halve(program, &batch.slice(0, half), now, 0);
            let second = run_or_halve(program, &batch.slice(half, batch.len() - half), now, half as u32);
            append(first, second).unwrap_or_else(|error| refuse_all(batch, &program.name, &error.to_string()))
        }
    };
    shift(processed, start)
}

fn run(program: &Program, batch: &SourceBatch, now: i64) -> Result<Processed, ArrowError> {
    let mut processed = Processed::default();
    let hidden = Hidden::new(batch, now);
    let (decoded, tombstones) = decode(program, batch, &mut processed.bad)?;
    let mut tables = vec![decoded];
    for step in &program.steps {
        let table = step.run(&tables, &hidden, &mut processed.bad)?;
        tables.push(table);
    }
    for output in &program.outputs {
        processed.sinks.extend(output.write(&tables, batch, &tombstones, &mut processed.bad)?);
    }
    Ok(processed)
}

/// The decoded rows, and the rows of tombstones.
fn decode(
    program: &Program,
    batch: &SourceBatch,
    bad: &mut Vec<BadRecord>,
) -> Result<(Table, UInt32Array), ArrowError> {
    let (values, present, tombstones) = without_tombstones(&batch.values)?;
    let decoded = program.decoder.decode(&values);
    let source_row = |row: u32| present.as_ref().map_or(row, |present| present.value(row as usize));
    bad.extend(decoded.bad.into_iter().map(|failure| BadRecord {
        row: source_row(failure.row),
        node: program.name.clone(),
        reason: failure.reason,
        message: failure.message,
        derived: None,
    }));
    let rows = match (decoded.rows, present) {
        (None, present) => present,
        (good, None) => good,
        (Some(good), Some(present)) => Some(take(&present, &good, None)?.as_primitive::<UInt32Type>().clone()),
    };
    let len = rows.as_ref().map_or(batch.len(), Array::len);
    Ok((Table { rows, columns: decoded.columns, len }, tombstones))
}

/// The values that are there, their rows if not all are, and the rows of those that are not.
fn without_tombstones(values: &BinaryArray) -> Result<(BinaryArray, Option<UInt32Array>, UInt32Array), ArrowError> {
    let Some(nulls) = values.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok((values.clone(), None, UInt32Array::from(Vec::<u32>::new())));
    };
    let present = BooleanArray::new(nulls.inner().clone(), None);
    let rows = nulls.inner().set_indices_u32().collect();
    let gone = (!nulls.inner()).set_indices_u32().collect();
    Ok((filter(values, &present)?.as_binary::<i32>().clone(), Some(rows), gone))
}

fn refuse_all(batch: &SourceBatch, node: &str, message: &str) -> Processed {
    let refuse =
        |row| BadRecord { row, node: node.into(), reason: Reason::Expression, message: message.into(), derived: None };
    Processed { sinks: Vec::new(), bad: (0..batch.len() as u32).map(refuse).collect() }
}

/// The same for rows that start at another place.
fn shift(mut processed: Processed, start: u32) -> Processed {
    if start > 0 {
        processed.bad.iter_mut().for_each(|bad| bad.row += start);
        processed.sinks.iter_mut().for_each(|sink| sink.rows = sink.rows.unary(|row| row + start));
    }
    processed
}

/// What two parts of a batch became, as one.
fn append(first: Processed, second: Processed) -> Result<Processed, ArrowError> {
    let mut sinks = first.sinks;
    for more in second.sinks {
        match sinks.iter_mut().find(|sink| sink.sink == more.sink) {
            Some(sink) => *sink = append_sink(sink, &more)?,
            None => sinks.push(more),
        }
    }
    sinks.sort_by_key(|sink| sink.sink);
    Ok(Processed { sinks, bad: first.bad.into_iter().chain(second.bad).collect() })
}

fn append_sink(first: &SinkBatch, second: &SinkBatch) -> Result<SinkBatch, ArrowError> {
    let headers = match (&first.headers, &second.headers) {
        (Some(first), Some(second)) => Some(concat(&[first, second])?.as_list::<i32>().clone()),
        _ => None,
    };
    Ok(SinkBatch {
        sink: first.sink,
        rows: append_numbers::<UInt32Type>(&first.rows, &second.rows)?,
        keys: concat(&[&first.keys, &second.keys])?.as_binary::<i32>().clone(),
        values: concat(&[&first.values, &second.values])?.as_binary::<i32>().clone(),
        timestamps: append_numbers::<Int64Type>(&first.timestamps, &second.timestamps)?,
        headers,
    })
}

fn append_numbers<T: ArrowPrimitiveType>(
    first: &arrow::array::PrimitiveArray<T>,
    second: &arrow::array::PrimitiveArray<T>,
) -> Result<arrow::array::PrimitiveArray<T>, ArrowError> {
    Ok(concat(&[first, second])?.as_primitive::<T>().clone())
}
