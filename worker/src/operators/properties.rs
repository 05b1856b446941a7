//! Properties: a chain over batches does what it does record by record, however the batches are cut.
//!
//! Random chains of steps run over random records, good and bad. Two references: a plain interpreter of the same steps
//! over single records, written here without Arrow, and the chain itself over other batches. The seed is printed with
//! a failure; `PROPTEST=<seed>` runs it again, and the fixed seeds run always.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Chain;
use super::spec::NodeRef;
use super::tests::{Build, IN, batch, csv, json, schema, show};
use crate::records::{BadRecord, Processed, SinkBatch};

const NOW: i64 = 1_767_323_045_000_006;

/// A record's columns, as the interpreter sees them; behind an unnest, `xs` is one number.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    a: Option<i64>,
    s: Option<String>,
    xs: Option<Vec<Option<i64>>>,
    x: Option<i64>,
}

/// A step: its SQL and what it means.
#[derive(Clone, Copy, Debug)]
enum Step {
    Filter(&'static str, fn(&Row) -> Result<bool, ()>),
    SetA(&'static str, fn(&Row) -> Result<Option<i64>, ()>),
    SetS(&'static str, fn(&Row) -> Result<Option<String>, ()>),
}

const STEPS: &[Step] = &[
    Step::Filter("a > 0", |row| Ok(row.a.is_some_and(|a| a > 0))),
    Step::Filter("s IS NOT NULL", |row| Ok(row.s.is_some())),
    Step::Filter("a <> 0 AND 100 / a > 10", |row| Ok(row.a.is_some_and(|a| a != 0 && 100 / a > 10))),
    Step::Filter("100 / a > 10 AND a <> 0", |row| match row.a {
        Some(0) => Err(()),
        a => Ok(a.is_some_and(|a| 100 / a > 10)),
    }),
    Step::Filter("s = 'a' OR 10 / a > 1", |row| match (row.s.as_deref(), row.a) {
        (Some("a"), _) => Ok(true),
        (_, Some(0)) => Err(()),
        (_, a) => Ok(a.is_some_and(|a| 10 / a > 1)),
    }),
    Step::Filter("TRY_CAST(s AS BIGINT) IS NULL", |row| Ok(row.s.as_ref().is_none_or(|s| s.parse::<i64>().is_err()))),
    Step::Filter("CAST(s AS BIGINT) >= 0", |row| match &row.s {
        Some(s) => s.parse::<i64>().map(|n| n >= 0).map_err(drop),
        None => Ok(false),
    }),
    Step::SetA("a + 9223372036854775800", |row| match row.a {
        Some(a) => a.checked_add(9_223_372_036_854_775_800).map(Some).ok_or(()),
        None => Ok(None),
    }),
    Step::SetA("-a * 3", |row| match row.a {
        Some(a) => a.checked_neg().and_then(|a| a.checked_mul(3)).map(Some).ok_or(()),
        None => Ok(None),
    }),
    Step::SetA("CASE WHEN a > 3 THEN 12 / (a - 4) ELSE a END", |row| match row.a {
        Some(4) => Err(()),
        Some(a) if a > 3 => Ok(Some(12 / (a - 4))),
        a => Ok(a),
    }),
    Step::SetA("coalesce(a, length(s))", |row| Ok(row.a.or(row.s.as_ref().map(|s| s.chars().count() as i64)))),
    Step::SetA("CAST(s AS BIGINT)", |row| row.s.as_ref().map(|s| s.parse::<i64>().map_err(drop)).transpose()),
    Step::SetS("upper(s)", |row| Ok(row.s.as_ref().map(|s| s.to_uppercase()))),
    Step::SetS("s || '-' || a", |row| Ok(row.s.as_ref().zip(row.a).map(|(s, a)| format!("{s}-{a}")))),
    Step::SetS("CASE WHEN a = 0 THEN CAST(1 / a AS STRING) ELSE s END", |row| match row.a {
        Some(0) => Err(()),
        _ => Ok(row.s.clone()),
    }),
];

/// A random chain: steps on two branches, perhaps an unnest, and three sinks.
#[derive(Clone, Debug)]
struct Plan {
    trunk: Vec<usize>,
    left: Vec<usize>,
    right: Vec<usize>,
    unnest: Option<bool>,
    key: bool,
}

impl Plan {
    fn strategy() -> impl Strategy<Value = Self> {
        let steps = || prop::collection::vec(0..STEPS.len(), 0..4);
        (steps(), steps(), steps(), any::<Option<bool>>(), any::<bool>())
            .prop_map(|(trunk, left, right, unnest, key)| Self { trunk, left, right, unnest, key })
    }

    fn chain(&self) -> Chain {
        let mut build = Build::new(json(), schema());
        let mut from = add(&mut build, IN, "trunk", &self.trunk);
        if let Some(keep_empty) = self.unnest {
            from = build.unnest("unnest", from, "xs", keep_empty);
        }
        let left = add(&mut build, from, "left", &self.left);
        let right = add(&mut build, from, "right", &self.right);
        let united = build.unite("united", &[left, right]);
        build.sink("one", &[left], json(), self.key.then_some("s"));
        let flat = build.sql("flat", united, "SELECT a, s FROM t");
        build.sink("two", &[flat], csv(), None);
        build.sink("three", &[right, left], json(), None);
        build.chain()
    }
}

fn add(build: &mut Build, from: NodeRef, name: &str, steps: &[usize]) -> NodeRef {
    steps.iter().enumerate().fold(from, |from, (place, step)| {
        let name = format!("{name}{place}");
        match STEPS[*step] {
            Step::Filter(text, _) => build.filter(&name, from, text),
            Step::SetA(text, _) => build.set(&name, from, "a", text),
            Step::SetS(text, _) => build.set(&name, from, "s", text),
        }
    })
}

/// A record's value, and its row if it is good.
#[derive(Clone, Debug)]
enum Given {
    Row(Row),
    Text(&'static str),
    Tombstone,
}

fn given() -> impl Strategy<Value = Given> {
    let number = prop_oneof![
        6 => -6_i64..12,
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => Just(7_i64),
    ];
    let text =
        prop_oneof![Just("a"), Just(""), Just("12"), Just("-3"), Just("ß"), Just("x,\"y\"")].prop_map(str::to_owned);
    let list = prop::collection::vec(prop::option::weighted(0.9, -3_i64..3), 0..4);
    let row =
        (prop::option::weighted(0.8, number), prop::option::weighted(0.8, text), prop::option::weighted(0.8, list))
            .prop_map(|(a, s, xs)| Given::Row(Row { a, s, xs, x: None }));
    prop_oneof![
        20 => row,
        1 => prop_oneof![Just("{"), Just("[]"), Just("{\"a\": \"no\", \"s\": 5, \"xs\": 1}"), Just("")].prop_map(Given::Text),
        1 => Just(Given::Tombstone),
    ]
}

impl Given {
    fn value(&self) -> Option<String> {
        match self {
            Self::Row(row) => Some(write_json(row, false)),
            Self::Text(text) => Some((*text).to_owned()),
            Self::Tombstone => None,
        }
    }
}

fn write_json(row: &Row, unnested: bool) -> String {
    let number = |n: Option<i64>| n.map_or("null".into(), |n| n.to_string());
    let text = row.s.as_ref().map_or("null".into(), |s| format!("\"{}\"", s.replace('"', "\\\"")));
    let list = match (&row.xs, unnested) {
        (_, true) => number(row.x),
        (Some(xs), false) => format!("[{}]", xs.iter().map(|x| number(*x)).collect::<Vec<_>>().join(",")),
        (None, false) => "null".into(),
    };
    format!("{{\"a\":{},\"s\":{text},\"xs\":{list}}}", number(row.a))
}

fn write_csv(row: &Row) -> String {
    let text = match row.s.as_deref() {
        None => String::new(),
        Some("") => "\"\"".into(),
        Some(s) if s.contains(',') || s.contains('"') => format!("\"{}\"", s.replace('"', "\"\"")),
        Some(s) => s.to_owned(),
    };
    format!("{},{text}", row.a.map_or(String::new(), |a| a.to_string()))
}

/// Which of `a` and `s` are used behind a place.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    a: bool,
    s: bool,
}

/// Whether a text names a column outside of quotes.
fn names(text: &str, column: &str) -> bool {
    let unquoted: String = text.split('\'').step_by(2).collect();
    unquoted.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column)
}

/// For each step, whether it is evaluated at all: a value that is set again before anything uses it is not. And what
/// is used before the first step.
fn used(steps: &[usize], behind: Uses) -> (Vec<bool>, Uses) {
    let mut uses = behind;
    let mut evaluated: Vec<bool> = steps
        .iter()
        .rev()
        .map(|step| {
            let (text, runs) = match STEPS[*step] {
                Step::Filter(text, _) => (text, true),
                Step::SetA(text, _) => (text, std::mem::take(&mut uses.a)),
                Step::SetS(text, _) => (text, std::mem::take(&mut uses.s)),
            };
            if runs {
                uses = Uses { a: uses.a || names(text, "a"), s: uses.s || names(text, "s") };
            }
            runs
        })
        .collect();
    evaluated.reverse();
    (evaluated, uses)
}

/// What the interpreter makes of steps: the row, nothing, or the name of the node that refuses it.
fn interpret(row: &Row, name: &str, steps: &[usize], behind: Uses) -> Result<Option<Row>, String> {
    let mut row = row.clone();
    let (evaluated, _) = used(steps, behind);
    for (place, step) in steps.iter().enumerate().filter(|(place, _)| evaluated[*place]) {
        let bad = |()| format!("{name}{place}");
        match STEPS[*step] {
            Step::Filter(_, keeps) => {
                if !keeps(&row).map_err(bad)? {
                    return Ok(None);
                }
            }
            Step::SetA(_, value) => row.a = value(&row).map_err(bad)?,
            Step::SetS(_, value) => row.s = value(&row).map_err(bad)?,
        }
    }
    Ok(Some(row))
}

/// The chain's meaning for one record: lines `sink row key value`, and `bad row node`.
fn reference(plan: &Plan, number: usize, given: &Given) -> (Vec<String>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let row = match given {
        Given::Tombstone => {
            match plan.key {
                true => bad.push(format!("bad {number} one")),
                false => good.push(format!("0 {number} k{number} -")),
            }
            good.extend([format!("1 {number} k{number} -"), format!("2 {number} k{number} -")]);
            return (good, bad);
        }
        Given::Text(_) => return (good, vec![format!("bad {number} in")]),
        Given::Row(row) => row,
    };
    let ends = Uses { a: true, s: true };
    let (left, right) = (used(&plan.left, ends).1, used(&plan.right, ends).1);
    let behind = Uses { a: left.a || right.a, s: left.s || right.s };
    let trunk = match interpret(row, "trunk", &plan.trunk, behind) {
        Ok(Some(row)) => row,
        Ok(None) => return (good, bad),
        Err(node) => return (good, vec![format!("bad {number} {node}")]),
    };
    let rows = match (plan.unnest, &trunk.xs) {
        (None, _) => vec![trunk],
        (Some(keep), xs) if xs.as_ref().is_none_or(Vec::is_empty) => {
            if keep {
                vec![trunk]
            } else {
                Vec::new()
            }
        }
        (Some(_), xs) => {
            let elements = xs.iter().flatten();
            elements.map(|x| Row { x: *x, ..trunk.clone() }).collect()
        }
    };
    let unnested = plan.unnest.is_some();
    let forwarded = |steps: &[usize]| {
        !unnested && plan.trunk.iter().chain(steps).all(|step| matches!(STEPS[*step], Step::Filter(..)))
    };
    let source = given.value().unwrap_or_default();
    let value = |row: &Row, steps: &[usize]| if forwarded(steps) { source.clone() } else { write_json(row, unnested) };
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    for row in &rows {
        for (name, steps, out) in [("left", &plan.left, &mut lefts), ("right", &plan.right, &mut rights)] {
            match interpret(row, name, steps, ends) {
                Ok(found) => out.extend(found),
                Err(node) => bad.push(format!("bad {number} {node}")),
            }
        }
    }
    for row in &lefts {
        let key = if plan.key { row.s.clone().unwrap_or("-".into()) } else { format!("k{number}") };
        good.push(format!("0 {number} {key} {}", value(row, &plan.left)));
    }
    good.extend(lefts.iter().chain(&rights).map(|row| format!("1 {number} k{number} {}", write_csv(row))));
    good.extend(rights.iter().map(|row| format!("2 {number} k{number} {}", value(row, &plan.right))));
    good.extend(lefts.iter().map(|row| format!("2 {number} k{number} {}", value(row, &plan.left))));
    (good, bad)
}

/// The lines of a batch; of bad records, only row and node: their order among one record's is the steps' order.
fn lines(processed: &Processed) -> (Vec<String>, Vec<String>) {
    let text = show(processed);
    let (bad, good): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("bad "));
    let short = |line: &&str| line.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ");
    let mut bad: Vec<String> = bad.iter().map(short).collect();
    bad.sort();
    (good.iter().map(ToString::to_string).collect(), bad)
}

fn check_reference(plan: &Plan, records: &[Given]) -> Result<(), TestCaseError> {
    let values: Vec<Option<String>> = records.iter().map(Given::value).collect();
    let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
    let (good, bad) = lines(&plan.chain().process(&batch(&values), NOW));
    let (mut expected, mut expected_bad) = (vec![Vec::new(); 3], Vec::new());
    for (number, given) in records.iter().enumerate() {
        let (good, bad) = reference(plan, number, given);
        for line in good {
            let sink: usize = line[..1].parse().map_err(|_| TestCaseError::fail("a sink's number"))?;
            expected[sink].push(line);
        }
        expected_bad.extend(bad);
    }
    expected_bad.sort();
    prop_assert_eq!(good, expected.concat());
    prop_assert_eq!(bad, expected_bad);
    Ok(())
}

/// What parts of a batch became, as if it had been one.
fn shifted(parts: Vec<(usize, Processed)>) -> String {
    let mut sinks: Vec<Vec<SinkBatch>> = vec![Vec::new(); 3];
    let mut bad = Vec::new();
    for (start, part) in parts {
        for sink in part.sinks {
            let rows = sink.rows.unary(|row| row + start as u32);
            sinks[sink.sink].push(SinkBatch { rows, ..sink });
        }
        bad.extend(part.bad.into_iter().map(|bad| BadRecord { row: bad.row + start as u32, ..bad }));
    }
    let mut out = String::new();
    for sink in sinks.into_iter().flatten() {
        out.push_str(&show(&Processed { sinks: vec![sink], bad: Vec::new() }));
    }
    let _ = write!(out, "{}", show(&Processed { sinks: Vec::new(), bad }));
    out
}

fn check_cuts(plan: &Plan, records: &[Given], cuts: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let values: Vec<Option<String>> = records.iter().map(Given::value).collect();
    let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
    let whole = batch(&values);
    let chain = plan.chain();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(records.len() + 1)).collect();
    ends.extend([0, records.len()]);
    ends.sort_unstable();
    let parts = ends.windows(2).map(|pair| (pair[0], chain.process(&whole.slice(pair[0], pair[1] - pair[0]), NOW)));
    prop_assert_eq!(shifted(parts.collect()), shifted(vec![(0, chain.process(&whole, NOW))]));
    Ok(())
}

/// The seeds to run: those that are fixed and a fresh one, or the one that is asked for.
fn seeds() -> Vec<u64> {
    match std::env::var("PROPTEST").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
            vec![1, 2, fresh]
        }
    }
}

fn run<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    for seed in seeds() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new_with_rng(config, rng).run(strategy, &check);
        assert!(outcome.is_ok(), "PROPTEST={seed} shows it again: {}", outcome.unwrap_err());
    }
}

#[test]
fn a_batch_does_what_its_records_do() {
    let strategy = (Plan::strategy(), prop::collection::vec(given(), 0..40));
    run(&strategy, |(plan, records)| check_reference(&plan, &records));
}

#[test]
fn other_batches_change_nothing() {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..6);
    let strategy = (Plan::strategy(), prop::collection::vec(given(), 0..40), cuts);
    run(&strategy, |(plan, records, cuts)| check_cuts(&plan, &records, &cuts));
}
