//! Texts that are long or deep: refused with a message, on a small stack, in little time.

use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{compile_filter, compile_select, compile_value, select_source};
use crate::operators::metadata;

fn table() -> SchemaRef {
    metadata::table_of(&Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Boolean, true),
    ]))
}

/// What a text gives on a stack of 2 MiB: `ok`, or the first problem; it has to come within seconds.
fn compile(text: String) -> String {
    let start = Instant::now();
    let work = move || {
        let problem = |problems: Vec<super::SqlProblem>| problems[0].message.clone();
        if text.starts_with("SELECT") {
            return select_source(&text)
                .and_then(|_| compile_select(&text, "t", &table()).map(drop))
                .map_or_else(problem, |()| "ok".into());
        }
        let value = compile_value(&text, &table()).map(|value| {
            let empty = arrow::array::RecordBatch::new_empty(std::sync::Arc::new(Schema::new(
                table()
                    .fields()
                    .iter()
                    .cloned()
                    .chain([std::sync::Arc::new(super::clock::field())])
                    .collect::<Vec<_>>(),
            )));
            let _ = value.expr.evaluate(&empty);
        });
        value.map_or_else(problem, |()| "ok".into())
    };
    let found = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}: {found}", start.elapsed());
    found
}

#[test]
fn long_and_deep_texts_are_refused() {
    let many = |part: &str, count: usize| part.repeat(count);
    let nested = |open: &str, middle: &str, close: &str, depth: usize| many(open, depth) + middle + &many(close, depth);
    let cases: Vec<(&str, String, &str)> = vec![
        ("a long sum", "1".to_owned() + &many("+1", 100_000), "the text is 200001 bytes long"),
        ("a sum of many terms", "1".to_owned() + &many("+1", 3000), "more than 4096 words"),
        ("a sum of some terms", "a".to_owned() + &many("+1", 1500), "nested more than 128 deep"),
        ("a short sum", "a".to_owned() + &many("+1", 100), "ok"),
        ("parentheses", nested("(", "1", ")", 100_000), "bytes long"),
        ("deep parentheses", nested("(", "1", ")", 2000), "nested more than 32 deep"),
        ("as deep as allowed", nested("(", "a", ")", 30), "ok"),
        ("functions", nested("abs(", "a", ")", 30), "ok"),
        ("deep functions", nested("abs(", "a", ")", 33), "nested more than 32 deep"),
        ("lists", nested("[", "a", "]", 30), "ok"),
        ("unfinished lists", many("[", 32), "expected"),
        ("unfinished parentheses", many("(", 32), "expected"),
        ("unfinished functions", many("abs(", 32), "expected"),
        ("not", many("NOT ", 500) + "b", "NOT"),
        ("minus", many("- ", 500) + "a", "nested too deep"),
        ("many conditions", "b".to_owned() + &many(" AND b", 1500), "ok"),
        ("many alternatives", "a = 0".to_owned() + &many(" OR a = 1", 900), "ok"),
        ("mixed conditions", "b".to_owned() + &many(" AND b OR b", 300), "ok"),
        ("texts joined", "'x'".to_owned() + &many(" || 'x'", 1000), "nested more than 128 deep"),
        ("cases", many("CASE WHEN b THEN 1 ELSE ", 200) + "1" + &many(" END", 200), "nested more than 32 deep"),
        ("unfinished cases", many("CASE ", 500), "nested more than 32 deep"),
        ("casts", "a".to_owned() + &many("::bigint", 500), "nested more than 128 deep"),
        ("a long list", format!("a IN (0{})", many(",1", 2000)), "ok"),
        ("types", format!("CAST(a AS {}int{})", many("ARRAY<", 500), many(">", 500)), "at most 16 deep"),
        ("brackets of types", format!("CAST(a AS int{})", many("[]", 500)), "at most 16 deep"),
        ("indices", "a".to_owned() + &many("[1]", 500), ""),
        ("dots", "a".to_owned() + &many(".a", 1000), ""),
        ("comments", nested("/*", "", "*/", 10_000) + "a", ""),
        ("hints", many("/*!", 10_000) + "a", ""),
        ("quotes", many("'", 60_001), "unterminated"),
        ("spaces", many(" ", 60_000) + "a", "ok"),
        ("subqueries", format!("SELECT a FROM {}t{}", many("(SELECT a FROM ", 31), many(")", 31)), "subquery"),
        ("tables in parentheses", format!("SELECT a FROM {}t{}", many("(", 31), many(")", 31)), ""),
        ("unfinished tables", format!("SELECT a FROM {}", many("(", 32)), ""),
        ("unions", "SELECT a FROM t".to_owned() + &many(" UNION SELECT a FROM t", 700), ""),
        ("joins", "SELECT a FROM t".to_owned() + &many(" JOIN t ON b", 900), "JOIN"),
        (
            "columns",
            format!("SELECT a{} FROM t", (0..900).map(|n| format!(", a AS c{n}")).collect::<Vec<_>>().concat()),
            "ok",
        ),
        ("lambdas", format!("{}1", many("x -> ", 500)), ""),
        ("structs", nested("{'a': ", "a", "}", 30), ""),
        ("intervals", many("INTERVAL ", 500) + "'1 day'", ""),
        ("betweens", "a".to_owned() + &many(" BETWEEN 1 AND 2", 500), ""),
        ("is null", "a".to_owned() + &many(" IS NULL", 1000), "deep"),
    ];
    let mut wrong = Vec::new();
    for (name, text, expected) in cases {
        let found = compile(text);
        if !found.contains(expected) || (expected == "ok" && found != "ok") {
            wrong.push(format!("{name}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conditions_in_any_order_of_parentheses_mean_the_same() {
    let table = table();
    for text in ["b AND b AND b AND a > 0", "b OR b OR (b AND b AND b) OR a > 0"] {
        assert!(compile_filter(text, &table).is_ok(), "{text}");
    }
}
