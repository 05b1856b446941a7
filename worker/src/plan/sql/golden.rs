//! Golden files: drop a `.sql` file into `golden/`, get a test.
//!
//! A file is a list of sections, separated by empty lines:
//!
//! * `table name type, …`, followed by a line a row with cells between `|`: the input of what follows. `NULL` is null, `''` an empty text.
//! * `value` or `filter`, an expression, `----`, and what it gives: a line a row, evaluated alone.
//! * `query`, a SELECT from `t`, `----`, and its columns and rows.
//! * Lines that start with `#` are comments.
//!
//! A problem of the text stands as `problem line:column: message` and `help: …`, an error of a row as `error: …`.
//! `GOLDEN=update cargo test golden` writes what was found into the files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_physical_expr::PhysicalExpr;

use super::{
    Projected, Select, SqlProblem, clock, compile_filter, compile_select, compile_value, select_source, type_name,
};
use crate::operators::evaluate::evaluate_one;
use crate::operators::metadata;

#[test]
fn golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/sql/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    assert!(!files.is_empty(), "no golden files in {}", folder.display());
    let update = std::env::var("GOLDEN").is_ok_and(|value| value == "update");
    let mut differences = String::new();
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let found = run(&expected);
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&file, &found).unwrap();
        } else {
            let lines = expected.lines().zip(found.lines()).enumerate().filter(|(_, (e, f))| e != f);
            for (line, (expected, found)) in lines.take(20) {
                let _ =
                    writeln!(differences, "{}:{}\n  expected {expected}\n  found    {found}", file.display(), line + 1);
            }
            let _ = writeln!(differences, "{} differs", file.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// The file with what its sections give.
fn run(text: &str) -> String {
    let mut input = table("x int", &[]);
    let mut out = Vec::new();
    for section in text.trim_end().split("\n\n") {
        let (comments, rest): (Vec<_>, Vec<_>) = section.lines().partition(|line| line.starts_with('#'));
        let mut written = comments.join("\n");
        if !comments.is_empty() && !rest.is_empty() {
            written.push('\n');
        }
        if let Some((head, body)) = rest.split_first() {
            let kind = head.split_whitespace().next().unwrap_or_default();
            if kind == "table" {
                input = table(head["table".len()..].trim(), body);
                written.push_str(&rest.join("\n"));
            } else {
                let end = body.iter().position(|line| *line == "----").unwrap_or(body.len());
                let query = body[..end].join("\n");
                let _ = write!(written, "{kind}\n{query}\n----\n{}", give(kind, &query, &input).trim_end());
            }
        }
        out.push(written);
    }
    out.join("\n\n") + "\n"
}

fn give(kind: &str, query: &str, input: &RecordBatch) -> String {
    let table = own_table(input);
    let given = match kind {
        "value" => compile_value(query, &table).map(|value| rows_of_value(&value, input)),
        "filter" => compile_filter(query, &table).map(|expr| rows(&expr, input)),
        "query" => select_source(query)
            .and_then(|source| compile_select(query, &source, &table))
            .map(|select| rows_of_select(&select, input)),
        other => panic!("unknown section `{other}`"),
    };
    given.unwrap_or_else(|problems| problems.iter().map(text_of_problem).collect::<Vec<_>>().concat())
}

fn text_of_problem(problem: &SqlProblem) -> String {
    let place = problem.position.map_or("-".into(), |(line, column)| format!("{line}:{column}"));
    let help = problem.help.as_ref().map_or(String::new(), |help| format!("  help: {help}\n"));
    format!("problem {place}: {}\n{help}", problem.message)
}

fn rows_of_value(value: &Projected, input: &RecordBatch) -> String {
    let mark = if value.field.metadata().is_empty() { "" } else { " (json)" };
    format!("{}{mark}\n{}", type_name(value.field.data_type()), rows(&value.expr, input))
}

/// What an expression gives for each row alone; for all rows at once, it must be the same.
fn rows(expr: &Arc<dyn PhysicalExpr>, input: &RecordBatch) -> String {
    let alone: Vec<_> = (0..input.num_rows())
        .map(|row| evaluate_one(expr, &input.slice(row, 1)).map(|found| show(&found, 0)))
        .collect();
    if let Ok(together) = evaluate_one(expr, input) {
        let together: Vec<_> = (0..input.num_rows()).map(|row| Ok(show(&together, row))).collect();
        assert_eq!(alone, together, "{expr} gives something else for all rows at once");
    }
    alone
        .into_iter()
        .map(|row| row.unwrap_or_else(|error| format!("error: {error}")) + "\n")
        .collect::<Vec<_>>()
        .concat()
}

fn rows_of_select(select: &Select, input: &RecordBatch) -> String {
    let head: Vec<_> =
        select.columns.iter().map(|c| format!("{} {}", c.field.name(), type_name(c.field.data_type()))).collect();
    let mut out = head.join(", ") + "\n";
    for row in 0..input.num_rows() {
        let alone = input.slice(row, 1);
        let kept = match &select.filter {
            Some(filter) => match evaluate_one(filter, &alone) {
                Ok(mask) => filter_record_batch(&alone, mask.as_any().downcast_ref::<BooleanArray>().unwrap()).unwrap(),
                Err(error) => {
                    let _ = writeln!(out, "error: {error}");
                    continue;
                }
            },
            None => alone,
        };
        if kept.num_rows() == 1 {
            let cells = select.columns.iter().map(|c| evaluate_one(&c.expr, &kept).map(|found| show(&found, 0)));
            let line = cells.collect::<Result<Vec<_>, _>>().map_or_else(|e| format!("error: {e}"), |c| c.join(" | "));
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn show(column: &ArrayRef, row: usize) -> String {
    if let Some(bytes) = column.as_any().downcast_ref::<BinaryArray>()
        && bytes.is_valid(row)
    {
        let mut hex = String::new();
        bytes.value(row).iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        return format!("x'{hex}'");
    }
    let options = FormatOptions::default().with_null("NULL");
    let shown = ArrayFormatter::try_new(column.as_ref(), &options).unwrap().value(row).to_string();
    if shown.is_empty() { "''".into() } else { shown }
}

/// The batch with the metadata columns and the clock behind the declared ones.
fn table(columns: &str, lines: &[&str]) -> RecordBatch {
    let fields: Vec<Field> = split_columns(columns).iter().map(|column| field(column)).collect();
    let cells: Vec<Vec<Option<String>>> = lines.iter().map(|line| split_cells(line)).collect();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let texts: StringArray = cells.iter().map(|row| row[place].clone()).collect();
        let options = CastOptions { safe: false, ..CastOptions::default() };
        arrays.push(cast_with_options(&texts, field.data_type(), &options).unwrap());
    }
    let rows = lines.len();
    let own = metadata::table_of(&Schema::new(fields));
    arrays.push(Arc::new(StringArray::from(vec!["readings"; rows])));
    arrays.push(Arc::new(Int32Array::from(vec![3; rows])));
    arrays.push(Arc::new((0..rows as i64).map(|row| 100 + row).collect::<Int64Array>()));
    arrays.push(timestamps(1_700_000_000_000_000, rows));
    arrays.push(Arc::new(BinaryArray::from(vec![b"key".as_slice(); rows])));
    arrays.push(new_null_array(own.field(own.fields().len() - 1).data_type(), rows));
    arrays.push(timestamps(1_767_323_045_000_006, rows));
    let fields = own.fields().iter().cloned().chain([Arc::new(clock::field())]);
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<arrow::datatypes::Fields>())), arrays).unwrap()
}

fn timestamps(value: i64, rows: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![value; rows]).with_timezone("UTC"))
}

/// The declared and the metadata columns: what texts are compiled over.
fn own_table(input: &RecordBatch) -> SchemaRef {
    let schema = input.schema();
    Arc::new(Schema::new(schema.fields()[..schema.fields().len() - 1].to_vec()))
}

fn split_columns(columns: &str) -> Vec<String> {
    let (mut depth, mut out) = (0, vec![String::new()]);
    for character in columns.chars() {
        depth += i32::from(matches!(character, '(' | '<')) - i32::from(matches!(character, ')' | '>'));
        match character {
            ',' if depth == 0 => out.push(String::new()),
            other => out.last_mut().unwrap().push(other),
        }
    }
    out
}

fn split_cells(line: &str) -> Vec<Option<String>> {
    line.split('|').map(str::trim).map(|cell| (cell != "NULL").then(|| cell.trim_matches('\'').to_owned())).collect()
}

fn field(column: &str) -> Field {
    let (name, wanted) = column.trim().split_once(' ').unwrap();
    let found = match wanted.trim() {
        "string" | "json" => DataType::Utf8,
        "binary" => DataType::Binary,
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        decimal => {
            let digits = decimal.trim_start_matches("decimal(").trim_end_matches(')');
            let (precision, scale) = digits.split_once(',').unwrap();
            DataType::Decimal128(precision.trim().parse().unwrap(), scale.trim().parse().unwrap())
        }
    };
    let json = wanted.trim() == "json";
    let marks = json.then(|| ("millstream.type".to_owned(), "json".to_owned()));
    Field::new(name, found, true).with_metadata(marks.into_iter().collect())
}
