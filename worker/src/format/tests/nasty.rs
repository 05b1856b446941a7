//! Records that break parsers, in every format, and what is said about them: golden, as users read it.

use std::fmt::Write;

use super::*;

fn report(format: &Format, schema: &SchemaRef, records: &[(&str, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (name, record) in records {
        writeln!(text, "{name}\n    {}", outcome(format, schema, record)).unwrap();
    }
    text
}

fn nasty(name: &'static str, record: impl AsRef<[u8]>) -> (&'static str, Vec<u8>) {
    (name, record.as_ref().to_vec())
}

#[test]
fn json() {
    let schema =
        schema(&[("id", "bigint"), ("temp", "double"), ("name", "string"), ("tags", "list<string>"), ("raw", "json")]);
    let deep = |levels: usize| format!("{{\"raw\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let records = [
        nasty("good", r#"{"id":1,"temp":21.5,"name":"a","tags":["x"],"raw":{"k":[1, 2]}}"#),
        nasty("empty object", "{}"),
        nasty("nothing", ""),
        nasty("only spaces", " \n\t"),
        nasty("truncated in a name", r#"{"id":1,"te"#),
        nasty("truncated in a number", r#"{"id":1,"temp":2."#),
        nasty("truncated in a string", r#"{"name":"a"#),
        nasty("truncated in an escape", r#"{"name":"\u00"#),
        nasty("truncated after a value", r#"{"id":1,"#),
        nasty("two records", r#"{"id":1}{"id":2}"#),
        nasty("garbage after the end", r#"{"id":1} x"#),
        nasty("comma at the end", r#"{"id":1,}"#),
        nasty("comment", r#"{"id":1/*one*/}"#),
        nasty("single quotes", "{'id':1}"),
        nasty("name without quotes", "{id:1}"),
        nasty("list instead of an object", r#"[{"id":1}]"#),
        nasty("text instead of an object", r#""id""#),
        nasty("null instead of an object", "null"),
        nasty("byte order mark", "\u{feff}{\"id\":1}"),
        nasty("invalid UTF-8 in a value", b"{\"name\":\"a\xff\"}"),
        nasty("invalid UTF-8 in an unknown field", b"{\"other\":\"\xc3\x28\"}"),
        nasty("overlong UTF-8", b"{\"name\":\"\xc0\xaf\"}"),
        nasty("surrogate in UTF-8", b"{\"name\":\"\xed\xa0\x80\"}"),
        nasty("UTF-16", b"\xff\xfe{\0}\0"),
        nasty("control character", b"{\"name\":\"a\0b\"}"),
        nasty("lone surrogate", r#"{"name":"\udc00"}"#),
        nasty("lone surrogate in an unknown field", r#"{"other":"\udc00"}"#),
        nasty("NaN", r#"{"temp":NaN}"#),
        nasty("-Infinity", r#"{"temp":-Infinity}"#),
        nasty("NaN as text", r#"{"temp":"NaN"}"#),
        nasty("1e400", r#"{"temp":1e400}"#),
        nasty("1e400 in an unknown field", r#"{"other":1e400}"#),
        nasty("number of 1000 digits for a double", format!("{{\"temp\":{}}}", "9".repeat(1000))),
        nasty("number of 100 digits for a bigint", format!("{{\"id\":{}}}", "9".repeat(100))),
        nasty("bigint plus one", r#"{"id":9223372036854775808}"#),
        nasty("fraction for a bigint", r#"{"id":1.5}"#),
        nasty("exponent for a bigint", r#"{"id":1e3}"#),
        nasty("leading zero", r#"{"id":007}"#),
        nasty("leading plus", r#"{"id":+7}"#),
        nasty("hexadecimal", r#"{"id":0x7}"#),
        nasty("point without digits", r#"{"temp":1.}"#),
        nasty("text for a number", r#"{"temp":"abc"}"#),
        nasty("number for text", r#"{"name":5}"#),
        nasty("object for text", r#"{"name":{}}"#),
        nasty("text for a list", r#"{"tags":"x"}"#),
        nasty("number in a list of text", r#"{"tags":["x",2]}"#),
        nasty("true with a capital", r#"{"raw":True}"#),
        nasty("name twice", r#"{"id":1,"id":2}"#),
        nasty("unknown name twice", r#"{"x":1,"x":2}"#),
        nasty("128 levels", deep(128)),
        nasty("129 levels", deep(129)),
        nasty("129 levels in an unknown field", deep(129).replace("raw", "other")),
        nasty("100,000 levels, never closed", "{\"x\":".repeat(100_000)),
        nasty("brackets in a text", format!("{{\"name\":\"{}\"}}", "[\\\"{".repeat(50))),
        nasty("a megabyte of text for a number", format!("{{\"temp\":\"{}\"}}", "x".repeat(1 << 20))),
    ];
    insta::assert_snapshot!(report(&json_format(), &schema, &records));
}

#[test]
fn csv() {
    let schema = schema(&[("sensor", "string"), ("kind", "string"), ("value", "double"), ("ts", "timestamp")]);
    let records = [
        nasty("good", "s1,Temp,21.5,2026-11-22T21:00:00Z"),
        nasty("good, quoted", "\"s,1\",\"Te\"\"mp\",\"21.5\",\"2026-11-22T21:00:00Z\"\r\n"),
        nasty("nothing", ""),
        nasty("only a line break", "\n"),
        nasty("truncated", "s1,Temp,21"),
        nasty("truncated in quotes", "s1,\"Te"),
        nasty("a field too many", "s1,Temp,21.5,2026-11-22T21:00:00Z,"),
        nasty("another delimiter", "s1;Temp;21.5;2026-11-22T21:00:00Z"),
        nasty("two lines", "s1,Temp,21.5,2026-11-22T21:00:00Z\ns2,Temp,1,2026-11-22T21:00:00Z\n"),
        nasty("quote within a field", "s1,Te\"mp,21.5,2026-11-22T21:00:00Z"),
        nasty("text after a quote", "s1,\"Temp\"x,21.5,2026-11-22T21:00:00Z"),
        nasty("invalid UTF-8", b"s1,T\xe4mp,21.5,2026-11-22T21:00:00Z"),
        nasty("UTF-16", b"s\x001\x00"),
        nasty("byte order mark is text", "\u{feff}s1,Temp,21.5,2026-11-22T21:00:00Z"),
        nasty("no number", "s1,Temp,warm,2026-11-22T21:00:00Z"),
        nasty("decimal comma", "s1,Temp,\"21,5\",2026-11-22T21:00:00Z"),
        nasty("NaN", "s1,Temp,NaN,2026-11-22T21:00:00Z"),
        nasty("infinite", "s1,Temp,inf,2026-11-22T21:00:00Z"),
        nasty("1e400", "s1,Temp,1e400,2026-11-22T21:00:00Z"),
        nasty("number with spaces", "s1,Temp, 21.5 ,2026-11-22T21:00:00Z"),
        nasty("no such day", "s1,Temp,21.5,2026-02-30T21:00:00Z"),
        nasty("no time", "s1,Temp,21.5,yesterday"),
        nasty("a megabyte for a number", format!("s1,Temp,{},x", "9".repeat(1 << 20))),
        nasty("100,000 fields", ",".repeat(100_000)),
        nasty("zero bytes", b"\0\0\0\0"),
    ];
    insta::assert_snapshot!(report(&csv_format(), &schema, &records));
}

#[test]
fn raw() {
    let records = [
        nasty("nothing", ""),
        nasty("zero byte", b"\0"),
        nasty("invalid byte", b"abc\xffdef"),
        nasty("truncated character", b"abc\xf0\x9f\x98"),
        nasty("overlong", b"\xc0\x80"),
        nasty("surrogate", b"\xed\xbf\xbf"),
        nasty("beyond Unicode", b"\xf4\x90\x80\x80"),
    ];
    let format = Format::Raw(RawSettings { binary: false });
    insta::assert_snapshot!(report(&format, &schema(&[("value", "string")]), &records));
}
