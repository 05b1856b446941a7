//! Whole chains over small batches, table by table.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, BinaryBuilder, Int64Array, ListBuilder, StringBuilder, StructBuilder, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::expressions::lit;
use millstream_crds::format as crd;

use super::spec::{ChainSpec, KeyRule, NodeRef, NodeSpec, SinkSpec, SourceSpec, Step};
use super::{Chain, metadata};
use crate::format::Format;
use crate::plan::sql::{Projected, compile_filter, compile_select, compile_value};
use crate::records::{self, Processed, SourceBatch, TopicPartition};

/// 2026-01-02T03:04:05.000006Z.
const NOW: i64 = 1_767_323_045_000_006;

pub(super) fn json() -> Format {
    Format::from_spec(&crd::Format { r#type: crd::FormatType::Json, ..Default::default() }).unwrap()
}

pub(super) fn csv() -> Format {
    Format::from_spec(&crd::Format { r#type: crd::FormatType::Csv, ..Default::default() }).unwrap()
}

pub(super) fn raw(binary: bool) -> Format {
    let raw = Some(crd::RawFormat { binary });
    Format::from_spec(&crd::Format { r#type: crd::FormatType::Raw, raw, ..Default::default() }).unwrap()
}

/// `a bigint, s string, xs list<bigint>`.
pub(super) fn schema() -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("xs", DataType::List(item), true),
    ]))
}

/// `a bigint, s string`.
pub(super) fn flat() -> SchemaRef {
    Arc::new(schema().project(&[0, 1]).unwrap())
}

pub(super) fn source(format: Format, schema: SchemaRef) -> SourceSpec {
    SourceSpec { name: "in".into(), format, schema }
}

/// A chain of nodes and sinks over one source, which is built up by name.
pub(super) struct Build {
    spec: ChainSpec,
}

impl Build {
    pub(super) fn new(format: Format, schema: SchemaRef) -> Self {
        Self { spec: ChainSpec { sources: vec![source(format, schema)], ..Default::default() } }
    }

    pub(super) fn source(&mut self, format: Format, schema: SchemaRef) -> NodeRef {
        self.spec.sources.push(source(format, schema));
        NodeRef::Source(self.spec.sources.len() - 1)
    }

    pub(super) fn schema_of(&self, at: NodeRef) -> SchemaRef {
        match at {
            NodeRef::Source(source) => Arc::clone(&self.spec.sources[source].schema),
            NodeRef::Node(node) => Arc::clone(&self.spec.nodes[node].schema),
        }
    }

    pub(super) fn node(&mut self, name: &str, inputs: &[NodeRef], step: Step, schema: SchemaRef) -> NodeRef {
        self.spec.nodes.push(NodeSpec { name: name.into(), inputs: inputs.to_vec(), step, schema });
        NodeRef::Node(self.spec.nodes.len() - 1)
    }

    pub(super) fn filter(&mut self, name: &str, from: NodeRef, text: &str) -> NodeRef {
        let schema = self.schema_of(from);
        let condition = compile_filter(text, &metadata::table_of(&schema)).unwrap();
        self.node(name, &[from], Step::Filter(condition), schema)
    }

    pub(super) fn unite(&mut self, name: &str, from: &[NodeRef]) -> NodeRef {
        let schema = self.schema_of(from[0]);
        self.node(name, from, Step::Filter(lit(true)), schema)
    }

    pub(super) fn sql(&mut self, name: &str, from: NodeRef, text: &str) -> NodeRef {
        let select = compile_select(text, "t", &metadata::table_of(&self.schema_of(from))).unwrap();
        let schema = Schema::new(select.columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>());
        self.node(name, &[from], Step::Select(select), Arc::new(schema))
    }

    pub(super) fn set(&mut self, name: &str, from: NodeRef, column: &str, text: &str) -> NodeRef {
        let schema = self.schema_of(from);
        let table = metadata::table_of(&schema);
        let columns: Vec<Projected> = schema
            .fields()
            .iter()
            .map(|field| {
                let text = if field.name() == column { text } else { field.name() };
                let value = compile_value(text, &table).unwrap();
                let field = value.field.with_name(field.name());
                Projected { expr: value.expr, field }
            })
            .collect();
        let schema = Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>());
        self.node(name, &[from], Step::Project(columns), Arc::new(schema))
    }

    pub(super) fn unnest(&mut self, name: &str, from: NodeRef, column: &str, keep_empty: bool) -> NodeRef {
        let schema = self.schema_of(from);
        let place = schema.index_of(column).unwrap();
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::List(item) if field.name() == column => Field::new(column, item.data_type().clone(), true),
            _ => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.node(name, &[from], Step::Unnest { column: place, keep_empty }, schema)
    }

    pub(super) fn sink(&mut self, name: &str, from: &[NodeRef], format: Format, key: Option<&str>) {
        let schema = self.schema_of(from[0]);
        let key = key.map_or(KeyRule::Source, |column| KeyRule::Column(schema.index_of(column).unwrap()));
        self.spec.sinks.push(SinkSpec { name: name.into(), inputs: from.to_vec(), format, key });
    }

    pub(super) fn chain(self) -> Chain {
        Chain::new(self.spec).unwrap()
    }
}

pub(super) const IN: NodeRef = NodeRef::Source(0);

/// A batch of values with keys `k0`, `k1`, … in partition 7 of `topic`, from offset 100 on.
pub(super) fn batch(values: &[Option<&str>]) -> SourceBatch {
    let keys: Vec<String> = (0..values.len()).map(|row| format!("k{row}")).collect();
    SourceBatch {
        source: 0,
        partitions: Arc::from(vec![TopicPartition { topic: "topic".into(), partition: 7 }]),
        slots: UInt32Array::from(vec![0; values.len()]),
        offsets: (0..values.len() as i64).map(|row| 100 + row).collect::<Int64Array>(),
        timestamps: (0..values.len() as i64).map(|row| 1000 * row).collect::<Int64Array>(),
        keys: keys.iter().map(|key| Some(key.as_bytes())).collect::<BinaryArray>(),
        values: values.iter().map(|value| value.map(str::as_bytes)).collect::<BinaryArray>(),
        headers: None,
    }
}

/// What became of a batch, a line a record: `sink row key value` and `bad row node reason message [derived]`.
pub(super) fn show(processed: &Processed) -> String {
    let text = |bytes: &BinaryArray, row: usize| match bytes.is_valid(row) {
        true => String::from_utf8_lossy(bytes.value(row)).into_owned(),
        false => "-".into(),
    };
    let mut out = String::new();
    for sink in &processed.sinks {
        assert_eq!(sink.rows.len(), sink.timestamps.len());
        for row in 0..sink.rows.len() {
            assert_eq!(sink.timestamps.value(row), 1000 * i64::from(sink.rows.value(row)), "the record's timestamp");
            let (key, value) = (text(&sink.keys, row), text(&sink.values, row));
            let _ = writeln!(out, "{} {} {key} {value}", sink.sink, sink.rows.value(row));
        }
    }
    for bad in &processed.bad {
        let derived =
            bad.derived.as_ref().map(|json| format!(" {}", String::from_utf8_lossy(json))).unwrap_or_default();
        let _ = writeln!(out, "bad {} {} {} {}{derived}", bad.row, bad.node, bad.reason.as_str(), bad.message);
    }
    out
}

fn given(build: Build, values: &[Option<&str>]) -> String {
    show(&build.chain().process(&batch(values), NOW))
}

#[test]
fn filters_forward_the_bytes() {
    let mut build = Build::new(json(), schema());
    let kept = build.filter("kept", IN, "a > 1");
    build.sink("out", &[kept], json(), None);
    let found = given(
        build,
        &[Some(r#"{"a": 1}"#), Some(r#"{"a": 2,  "undeclared": 3}"#), None, Some("{"), Some(r#"{"a":"x"}"#)],
    );
    insta::assert_snapshot!(found);
}

#[test]
fn a_column_that_nothing_names_is_not_checked() {
    let mut build = Build::new(json(), schema());
    let kept = build.filter("kept", IN, "s IS NOT NULL");
    build.sink("out", &[kept], json(), None);
    assert_eq!(
        given(build, &[Some(r#"{"a": "no number", "s": "x"}"#)]),
        "0 0 k0 {\"a\": \"no number\", \"s\": \"x\"}\n"
    );
}

#[test]
fn pass_through_shares_the_arrays() {
    let column = Schema::new(vec![Field::new("value", DataType::Binary, true)]);
    let mut build = Build::new(raw(true), Arc::new(column));
    build.sink("out", &[IN], raw(true), None);
    let batch = batch(&[Some("a"), Some("b")]);
    let processed = build.chain().process(&batch, NOW);
    assert_eq!(show(&processed), "0 0 k0 a\n0 1 k1 b\n");
    assert_eq!(processed.sinks[0].values.values().as_ptr(), batch.values.values().as_ptr());
    assert_eq!(processed.sinks[0].keys.values().as_ptr(), batch.keys.values().as_ptr());
}

#[test]
fn a_bad_row_is_bad_on_its_way_only() {
    let mut build = Build::new(json(), flat());
    let divided = build.set("divided", IN, "a", "100 / a");
    let upper = build.set("upper", divided, "s", "upper(s)");
    let again = build.set("again", upper, "a", "1000 / (a - 10)");
    build.sink("first", &[again], json(), Some("s"));
    let other = build.filter("other", IN, "a >= 0");
    build.sink("second", &[other], csv(), None);
    let values = [r#"{"a":5,"s":"x","xs":[1]}"#, r#"{"a":0,"s":"y"}"#, r#"{"a":10,"s":"z"}"#, r#"{"a":null}"#];
    let values: Vec<_> = values.iter().map(|value| Some(*value)).chain([None]).collect();
    insta::assert_snapshot!(given(build, &values));
}

#[test]
fn a_condition_guards_what_follows_it() {
    let mut build = Build::new(json(), flat());
    let kept = build.filter("kept", IN, "a <> 0 AND 100 / a > 10");
    let set = build.set("set", kept, "a", "CASE WHEN a > 3 THEN 1 / (a - 4) ELSE a END");
    build.sink("out", &[set], csv(), None);
    let values: Vec<String> = [0, 1, 2, 3, 4, 5, 0, 50].iter().map(|a| format!("{{\"a\":{a}}}")).collect();
    let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
    insta::assert_snapshot!(given(build, &values));
}

#[test]
fn lists_become_rows() {
    for (keep_empty, name) in [(false, "lists_become_rows"), (true, "lists_become_rows_keeping_empty_ones")] {
        let mut build = Build::new(json(), schema());
        let rows = build.unnest("rows", IN, "xs", keep_empty);
        let set = build.set("set", rows, "a", "a / xs");
        build.sink("out", &[set], csv(), None);
        let values =
            [r#"{"a":6,"s":"p","xs":[1,2,0,3]}"#, r#"{"a":7,"xs":[]}"#, r#"{"a":8}"#, r#"{"a":9,"xs":[null,1]}"#];
        insta::assert_snapshot!(name, given(build, &values.map(Some)));
    }
}

#[test]
fn metadata_can_be_named_everywhere() {
    let mut build = Build::new(json(), schema());
    let rows = build.unnest("rows", IN, "xs", false);
    let text = "SELECT xs, _topic AS topic, _partition AS p, _offset AS o, _timestamp AS t, _key AS k, now() AS n, \
                cardinality(_headers) AS h FROM t WHERE _offset > 100";
    let named = build.sql("named", rows, text);
    build.sink("out", &[named], json(), None);
    insta::assert_snapshot!(given(build, &[Some(r#"{"xs":[1]}"#), Some(r#"{"xs":[2,3]}"#)]));
}

#[test]
fn branches_unite_in_the_order_of_records() {
    let mut build = Build::new(json(), flat());
    let even = build.filter("even", IN, "a % 2 = 0");
    let small = build.set("small", IN, "s", "'small'");
    let small = build.filter("small only", small, "a < 3");
    let united = build.unite("united", &[even, small]);
    build.sink("node", &[united], csv(), None);
    build.sink("sink", &[even, small], json(), None);
    let values: Vec<String> = (1..6).map(|a| format!("{{\"a\":{a}, \"more\": 1}}")).collect();
    let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).chain([None]).collect();
    insta::assert_snapshot!(given(build, &values));
}

#[test]
fn what_is_not_needed_is_not_read() {
    let mut build = Build::new(json(), schema());
    let named = build.sql("named", IN, "SELECT s, 1 / a AS unused FROM t WHERE length(s) > 1");
    let only = build.sql("only", named, "SELECT s, _offset AS o FROM t");
    build.sink("out", &[only], json(), Some("s"));
    insta::assert_snapshot!("explain", build.chain().explain());
}

#[test]
fn forwarded_bytes_can_have_a_key_of_their_own() {
    let mut build = Build::new(json(), schema());
    let kept = build.filter("kept", IN, "a > 1");
    build.sink("out", &[kept], json(), Some("s"));
    let found = given(build, &[Some(r#"{"a":2, "s":"x", "t":1}"#), Some(r#"{"a":3}"#), None]);
    let tombstone =
        "bad 2 out tombstone the record has no value (a tombstone), so that its key cannot be taken from a column";
    assert_eq!(found, format!("0 0 x {{\"a\":2, \"s\":\"x\", \"t\":1}}\n0 1 - {{\"a\":3}}\n{tombstone}\n"));
}

#[test]
fn sources_of_several_formats_unite() {
    let mut build = Build::new(json(), flat());
    let other = build.source(csv(), flat());
    let all = build.unite("all", &[IN, other]);
    build.sink("json", &[all], json(), None);
    build.sink("csv", &[all, IN], csv(), None);
    let chain = build.chain();
    let found = show(&chain.process(&batch(&[Some(r#"{"a": 1}"#)]), NOW));
    assert_eq!(found, "0 0 k0 {\"a\": 1}\n1 0 k0 1,\n1 0 k0 1,\n");
    let found = show(&chain.process(&SourceBatch { source: 1, ..batch(&[Some("2,y"), Some("x"), None]) }, NOW));
    let good = "0 0 k0 {\"a\":2,\"s\":\"y\"}\n0 2 k2 -\n1 0 k0 2,y\n1 2 k2 -\n";
    assert!(found.starts_with(&format!("{good}bad 1 in malformed")), "{found}");
}

#[test]
fn headers_go_along_and_can_be_named() {
    let mut headers = ListBuilder::new(StructBuilder::from_fields(records::header_fields(), 2)).with_field(Field::new(
        "item",
        DataType::Struct(records::header_fields()),
        false,
    ));
    for row in 0..3 {
        for header in 0..row {
            let entry = headers.values();
            entry.field_builder::<StringBuilder>(0).unwrap().append_value(format!("h{header}"));
            entry.field_builder::<BinaryBuilder>(1).unwrap().append_value(format!("v{row}"));
            entry.append(true);
        }
        headers.append(true);
    }
    let records = [Some(r#"{"a":0}"#), Some(r#"{"a":1}"#), Some(r#"{"a":2}"#)];
    let batch = SourceBatch { headers: Some(headers.finish()), ..batch(&records) };
    let mut build = Build::new(json(), flat());
    let named =
        build.sql("named", IN, "SELECT cardinality(_headers) AS n, _headers[1]['value'] AS v FROM t WHERE a <> 1");
    build.sink("out", &[named], json(), None);
    let processed = build.chain().process(&batch, NOW);
    assert_eq!(show(&processed), "0 0 k0 {\"n\":0,\"v\":null}\n0 2 k2 {\"n\":2,\"v\":\"djI=\"}\n");
    let kept = processed.sinks[0].headers.as_ref().unwrap();
    assert_eq!((kept.value(0).len(), kept.value(1).len()), (0, 2));
}

#[test]
fn a_function_that_panics_makes_a_record_bad() {
    let mut build = Build::new(json(), flat());
    let padded = build.set("padded", IN, "s", "lpad(s, a)");
    build.sink("out", &[padded], csv(), None);
    let found = given(build, &[Some(r#"{"a":3,"s":"x"}"#), Some(r#"{"a":-1,"s":"x"}"#)]);
    assert_eq!(found, "0 0 k0 3,  x\nbad 1 padded expression column `s`: overflow\n");
}
