//! No manifest, however long, deep or broken, crashes or hangs the compiler.
//!
//! Every text runs in a thread with the stack that threads have by default: what recurses without a bound ends the
//! whole test process here, as it would end `check`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;

use super::{compile, manifest, yaml};

/// The stack of threads by default, in bytes.
const STACK: usize = 2 << 20;
/// The longest that one manifest may take, on a busy machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(20);

const PIPELINE: &str = include_str!("golden/base.txt");

/// Reads and compiles a text; gives the number of diagnostics.
fn check(text: String) -> usize {
    let started = Instant::now();
    let work = move || match manifest::read("fuzz.yaml", &text) {
        Err(problems) => problems.to_string().len(),
        Ok(documents) => documents
            .iter()
            .map(|document| match compile(document) {
                Ok(compiled) => compiled.warnings.iter().map(|warning| warning.to_string().len()).sum(),
                Err(problems) => problems.to_string().len(),
            })
            .sum(),
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap();
    let said = thread.join().expect("the compiler panicked");
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    said
}

/// The base pipeline with another step.
fn with_step(step: &str) -> String {
    PIPELINE.replace("filter: temp BETWEEN -50 AND 2000", step)
}

fn filter(expression: &str) -> String {
    with_step(&format!("filter: {}", serde_json::Value::from(expression)))
}

#[test]
fn survives_deep_and_long_expressions() {
    for repeat in [100, 1_000, 5_000, 100_000] {
        let wrap = |open: &str, inner: &str, close: &str| open.repeat(repeat) + inner + &close.repeat(repeat);
        let expressions = [
            wrap("(", "temp", ")") + " > 1",
            wrap("NOT ", "true", ""),
            wrap("- ", "temp", "") + " > 1",
            wrap("abs(", "temp", ")") + " > 1",
            wrap("CASE WHEN true THEN ", "temp", " END") + " > 1",
            wrap("CAST(", "temp", " AS double)") + " > 1",
            wrap("[", "temp", "]") + " IS NULL",
            wrap("/*", "", "*/") + " true",
            "temp + ".repeat(repeat) + "1 > 0",
            "temp > 1 AND ".repeat(repeat) + "true",
            "temp > 1 OR ".repeat(repeat) + "true",
            "kind || ".repeat(repeat) + "kind = kind",
            format!("temp IN ({}1)", "1, ".repeat(repeat)),
            format!("kind = '{}'", "x".repeat(repeat)),
            format!("concat({}kind) = kind", "kind, ".repeat(repeat)),
            "kind".to_owned() + &".kind".repeat(repeat),
            "kind".to_owned() + &"[0]".repeat(repeat) + " = 1",
            "kind".to_owned() + &"::string".repeat(repeat) + " = 'a'",
            "(SELECT ".repeat(repeat),
            "\u{0}".repeat(repeat),
            "'".repeat(repeat),
            "\"".repeat(repeat),
            "$".repeat(repeat),
        ];
        for expression in expressions {
            check(filter(&expression));
        }
        check(with_step(&format!("sql: SELECT {}temp FROM readings", "temp AS a, ".repeat(repeat))));
        check(with_step(&format!("sql: {}", "SELECT * FROM (".repeat(repeat))));
        check(with_step(&format!("sql: SELECT 1 {}", "UNION SELECT 1 ".repeat(repeat))));
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn survives_deep_and_long_documents() {
    let fields = |count| lines(count, |i| format!("  f{i}: {i}\n"));
    let columns = |count| lines(count, |i| format!("        - {{name: c{i}, type: int}}\n"));
    let nodes = |count| lines(count, |i| format!("    - name: n{i}\n      filter: true\n"));
    let bomb = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        let last = i - 1;
        text + &format!("a{i}: &a{i} [*a{last}, *a{last}]\n")
    });
    let texts = [
        "[".repeat(1_000_000),
        "{a: ".repeat(1_000_000),
        "- ".repeat(1_000_000),
        "? ".repeat(1_000_000),
        "&a ".repeat(100_000),
        "!!str ".repeat(100_000),
        "---\n".repeat(1_000_000),
        "#\n".repeat(1_000_000),
        "a:\n".repeat(500_000),
        (0..3_000).map(|depth| " ".repeat(depth % 1_000) + "a:\n").collect(),
        bomb.clone(),
        PIPELINE.replace("spec:\n", &format!("spec:\n{}", fields(100_000))),
        PIPELINE.replace("        - {name: sensor, type: string}\n", &columns(50_000)),
        PIPELINE.replace("    - name: clean\n", &(nodes(50_000) + "    - name: clean\n")),
        PIPELINE.replace("    - name: clean\n", &(nodes(200) + "    - name: clean\n")),
        PIPELINE.replace("type: double", &format!("type: {}int{}", "list<".repeat(10_000), ">".repeat(10_000))),
        PIPELINE.replace("type: double", &format!("type: {}", "struct<a: ".repeat(1_000))),
        PIPELINE.replace("[sensor_data]", &format!("[{}]", "\"a\", ".repeat(50_000))),
        PIPELINE.replace("{topics: [sensor_data]}", &format!("{{topicPattern: \"{}\"}}", "(a{1000}){1000}")),
        PIPELINE.replace("{topics: [sensor_data]}", &format!("{{topicPattern: \"{}\"}}", "(".repeat(1_000))),
        PIPELINE.replace("sensor_data", &"x".repeat(3_000_000)),
        filter(&"x".repeat(10_000_000)),
        "x".repeat(10_000_000),
        "\"".to_owned() + &"\\n".repeat(2_000_000) + "\"",
        format!("a: |\n{}", "  x\n".repeat(1_000_000)),
        [PIPELINE; 1_000].join("---\n"),
    ];
    for text in texts {
        check(text);
    }
    assert!(yaml::parse(&bomb).is_err());
}

/// A change of a text.
#[derive(Clone, Debug)]
enum Change {
    Remove(usize, usize),
    Repeat(usize, usize, usize),
    Insert(usize, &'static str),
    Swap(usize, usize),
}

const SCRAPS: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "'",
    "\"",
    "&a ",
    "*a",
    "|\n",
    ">\n",
    "#",
    "---\n",
    "null",
    "5",
    "é\u{2028}",
    "(",
    ") ",
    "SELECT ",
    "\u{feff}",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 1_usize..20).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<usize>(), 1_usize..80, 2_usize..20).prop_map(|(at, len, times)| Change::Repeat(at, len, times)),
        (any::<usize>(), select(&SCRAPS[..])).prop_map(|(at, scrap)| Change::Insert(at, scrap)),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

fn apply(text: &mut Vec<char>, change: &Change) {
    let length = text.len().max(1);
    match change {
        Change::Remove(at, len) => {
            let at = at % length;
            text.drain(at.min(text.len())..(at + len).min(text.len()));
        }
        Change::Repeat(at, len, times) => {
            let at = (at % length).min(text.len());
            let part: Vec<char> = text[at..(at + len).min(text.len())].repeat(*times);
            text.splice(at..at, part);
        }
        Change::Insert(at, scrap) => {
            let at = (at % length).min(text.len());
            text.splice(at..at, scrap.chars());
        }
        Change::Swap(one, other) => {
            if !text.is_empty() {
                let (one, other) = (one % length, other % length);
                text.swap(one, other);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn survives_mutations(changes in proptest::collection::vec(change(), 1..12)) {
        let mut text: Vec<char> = PIPELINE.chars().collect();
        for change in &changes {
            apply(&mut text, change);
        }
        check(text.into_iter().collect());
    }

    #[test]
    fn survives_any_expression(expression in "[a-z0-9()+*/<>=' .,:\\[\\]-]{0,60}") {
        check(filter(&expression));
    }

    #[test]
    fn survives_words_of_sql(words in proptest::collection::vec(select(&WORDS[..]), 0..25)) {
        check(filter(&words.join(" ")));
        check(with_step(&format!("sql: {}", serde_json::Value::from(words.join(" ")))));
    }
}

const WORDS: [&str; 40] = [
    "SELECT", "FROM", "readings", "WHERE", "temp", "kind", "at", "sensor", "AND", "OR", "NOT", "(", ")", ",", "+", "-",
    "*", "/", "=", "<", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "AS", "double", "string", "1", "'a'", "NULL",
    "IS", "IN", "BETWEEN", "LIKE", "upper", "concat", "now", "interval",
];
