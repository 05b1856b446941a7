//! The types of columns, as `schema[].type` writes them: `bigint`, `decimal(10,2)`, `list<struct<a: int>>`.
//!
//! A hand-written parser over bounded text and depth, so that no manifest can exhaust the stack, and every problem knows
//! its place within the text. All columns, elements and struct fields are nullable: a record may leave out anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit};

use super::names;

/// The longest type that is read.
pub const MAX_LENGTH: usize = 16 * 1024;
/// How deep types nest at most.
pub const MAX_DEPTH: usize = 16;
/// The metadata key that tells a column of JSON text from other text.
pub const TYPE_KEY: &str = "millstream.type";
/// Its value for `json`.
pub const JSON: &str = "json";

const NAMES: [&str; 13] = [
    "string",
    "binary",
    "boolean",
    "int",
    "bigint",
    "float",
    "double",
    "decimal",
    "date",
    "timestamp",
    "list",
    "struct",
    "json",
];

/// What other systems call our types.
const ALIASES: [(&str, &str); 31] = [
    ("array", "list<…>"),
    ("bigdecimal", "decimal(p,s)"),
    ("blob", "binary"),
    ("bool", "boolean"),
    ("bytea", "binary"),
    ("byte", "int"),
    ("bytes", "binary"),
    ("char", "string"),
    ("datetime", "timestamp"),
    ("float32", "float"),
    ("float64", "double"),
    ("float4", "float"),
    ("float8", "double"),
    ("int16", "int"),
    ("int32", "int"),
    ("int4", "int"),
    ("int64", "bigint"),
    ("int8", "bigint"),
    ("integer", "int"),
    ("long", "bigint"),
    ("map", "json"),
    ("number", "double"),
    ("numeric", "decimal(p,s)"),
    ("object", "struct<…>"),
    ("real", "float"),
    ("row", "struct<…>"),
    ("short", "int"),
    ("smallint", "int"),
    ("str", "string"),
    ("text", "string"),
    ("varchar", "string"),
];

/// Why a text is no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeProblem {
    /// The character that it is about, from 0.
    pub position: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Reads a type as the type of a column; `json` is text with a mark in the field's metadata.
pub fn parse_field(name: &str, text: &str) -> Result<Field, TypeProblem> {
    if text.len() > MAX_LENGTH {
        let message = format!("the type is {} bytes long; at most {MAX_LENGTH} are read", text.len());
        return Err(TypeProblem { position: 0, message, help: None });
    }
    let mut parser = Parser { text: text.chars().collect(), position: 0 };
    let parsed = parser.any(0)?;
    parser.skip_space();
    if parser.position < parser.text.len() {
        return Err(parser.problem("the type ends before this", None));
    }
    Ok(parsed.field(name))
}

/// Reads a type; see [`parse_field`] for the mark of `json`.
pub fn parse_type(text: &str) -> Result<DataType, TypeProblem> {
    parse_field("", text).map(|field| field.data_type().clone())
}

/// Whether a column holds JSON text.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(TYPE_KEY).is_some_and(|kind| kind == JSON)
}

/// A field's type as a manifest writes it.
pub fn describe(field: &Field) -> String {
    Described(field).to_string()
}

struct Described<'a>(&'a Field);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0.data_type() {
            _ if is_json(self.0) => JSON,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
            DataType::Boolean => "boolean",
            DataType::Int32 => "int",
            DataType::Int64 => "bigint",
            DataType::Float32 => "float",
            DataType::Float64 => "double",
            DataType::Date32 => "date",
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => "timestamp",
            DataType::Decimal128(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            DataType::List(item) => return write!(f, "list<{}>", Described(item)),
            DataType::Struct(fields) => return describe_struct(f, fields),
            other => return write!(f, "{other}"),
        };
        f.write_str(name)
    }
}

fn describe_struct(f: &mut fmt::Formatter<'_>, fields: &Fields) -> fmt::Result {
    f.write_str("struct<")?;
    for (place, field) in fields.iter().enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        if field.name().chars().all(is_name_char) && !field.name().is_empty() {
            write!(f, "{separator}{}: {}", field.name(), Described(field))?;
        } else {
            write!(f, "{separator}\"{}\": {}", field.name().replace('"', "\"\""), Described(field))?;
        }
    }
    f.write_str(">")
}

/// A type, with the mark that Arrow keeps beside it.
struct Parsed {
    data_type: DataType,
    json: bool,
}

impl Parsed {
    fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.data_type, true);
        if self.json { field.with_metadata(HashMap::from([(TYPE_KEY.into(), JSON.into())])) } else { field }
    }
}

struct Parser {
    text: Vec<char>,
    position: usize,
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Parsed, TypeProblem> {
        self.skip_space();
        if depth > MAX_DEPTH {
            return Err(
                self.problem(&format!("types nest at most {MAX_DEPTH} deep"), Some("`json` keeps a part as text"))
            );
        }
        let start = self.position;
        let name = self.name();
        let data_type = match name.to_ascii_lowercase().as_str() {
            "string" | "json" => DataType::Utf8,
            "binary" => DataType::Binary,
            "boolean" => DataType::Boolean,
            "int" => DataType::Int32,
            "bigint" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "decimal" => self.decimal()?,
            "list" => self.list(depth)?,
            "struct" => self.structure(depth)?,
            _ => return Err(self.unknown(start, &name)),
        };
        Ok(Parsed { data_type, json: name.eq_ignore_ascii_case(JSON) })
    }

    fn decimal(&mut self) -> Result<DataType, TypeProblem> {
        const HELP: &str = "write `decimal(p,s)`: p digits in all, s of them after the point, such as `decimal(10,2)`";
        let start = self.position;
        self.expect('(', HELP)?;
        let precision = self.number(HELP)?;
        // The comma ends the value in `{name: a, type: decimal(10,2)}`.
        let cut = self.position == self.text.len();
        self.expect(',', if cut { "inside of `{…}` it needs quotes, such as \"decimal(10,2)\"" } else { HELP })?;
        let scale = self.number(HELP)?;
        self.expect(')', HELP)?;
        let wrong = |message: String| TypeProblem { position: start, message, help: Some(HELP.into()) };
        if !(1..=u32::from(DECIMAL128_MAX_PRECISION)).contains(&precision) {
            return Err(wrong(format!("a decimal has 1 to {DECIMAL128_MAX_PRECISION} digits, not {precision}")));
        }
        if scale > precision {
            return Err(wrong(format!("{scale} digits after the point are more than the {precision} in all")));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    fn list(&mut self, depth: usize) -> Result<DataType, TypeProblem> {
        const HELP: &str = "write `list<T>`, such as `list<string>`";
        self.expect('<', HELP)?;
        let item = self.any(depth + 1)?;
        self.expect('>', HELP)?;
        Ok(DataType::List(Arc::new(item.field("item"))))
    }

    fn structure(&mut self, depth: usize) -> Result<DataType, TypeProblem> {
        const HELP: &str = "write `struct<name: T, …>`, such as `struct<id: int, tags: list<string>>`";
        self.expect('<', HELP)?;
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut names = std::collections::HashSet::new();
        loop {
            self.skip_space();
            let start = self.position;
            let name = self.field_name(HELP)?;
            if !names.insert(name.clone()) {
                let message = format!("the struct has two fields `{}`", names::excerpt(&name));
                return Err(TypeProblem { position: start, message, help: None });
            }
            self.expect(':', HELP)?;
            fields.push(Arc::new(self.any(depth + 1)?.field(&name)));
            if !self.accept(',') {
                break;
            }
        }
        self.expect('>', HELP)?;
        Ok(DataType::Struct(fields.into()))
    }

    /// A struct field's name: letters, digits and `_`, or anything in double quotes (which are doubled inside).
    fn field_name(&mut self, help: &str) -> Result<String, TypeProblem> {
        let mut name = String::new();
        if self.accept('"') {
            loop {
                match self.text.get(self.position) {
                    Some('"') if self.text.get(self.position + 1) == Some(&'"') => self.position += 1,
                    Some('"') => break,
                    Some(_) => {}
                    None => return Err(self.problem("the quoted name has no end", Some(help))),
                }
                name.push(self.text[self.position]);
                self.position += 1;
            }
            self.position += 1;
        } else {
            name = self.name();
        }
        if name.is_empty() { Err(self.problem("expected the name of a field", Some(help))) } else { Ok(name) }
    }

    fn name(&mut self) -> String {
        let name: String = self.text[self.position..].iter().take_while(|c| is_name_char(**c)).collect();
        self.position += name.chars().count();
        name
    }

    fn number(&mut self, help: &str) -> Result<u32, TypeProblem> {
        self.skip_space();
        let digits: String = self.text[self.position..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let number = digits.parse().map_err(|_| self.problem("expected a small whole number", Some(help)))?;
        self.position += digits.len();
        Ok(number)
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.text.get(self.position) == Some(&wanted);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char, help: &str) -> Result<(), TypeProblem> {
        if self.accept(wanted) {
            return Ok(());
        }
        let found = self.text.get(self.position).map_or("the end".to_owned(), |c| format!("`{}`", c.escape_default()));
        Err(self.problem(&format!("expected `{wanted}`, found {found}"), Some(help)))
    }

    fn skip_space(&mut self) {
        self.position += self.text[self.position..].iter().take_while(|c| c.is_whitespace()).count();
    }

    fn problem(&self, message: &str, help: Option<&str>) -> TypeProblem {
        TypeProblem { position: self.position, message: message.to_owned(), help: help.map(str::to_owned) }
    }

    fn unknown(&self, start: usize, name: &str) -> TypeProblem {
        if name.is_empty() {
            return self.problem("expected a type", Some(&format!("types: {}", names::listed(&NAMES))));
        }
        let lower = name.to_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, ours)| *ours);
        let help = match alias {
            Some(ours) => Some(format!("did you mean `{ours}`?")),
            None => names::suggestion(name, NAMES, "types"),
        };
        TypeProblem { position: start, message: format!("unknown type `{}`", names::excerpt(name)), help }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_type() {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let cases = [
            ("string", DataType::Utf8),
            ("binary", DataType::Binary),
            ("boolean", DataType::Boolean),
            ("int", DataType::Int32),
            (" bigint ", DataType::Int64),
            ("float", DataType::Float32),
            ("DOUBLE", DataType::Float64),
            ("decimal(10,2)", DataType::Decimal128(10, 2)),
            ("decimal( 38 , 0 )", DataType::Decimal128(38, 0)),
            ("date", DataType::Date32),
            ("timestamp", timestamp),
            ("list<int>", DataType::new_list(DataType::Int32, true)),
            ("json", DataType::Utf8),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_type(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn nests() {
        let text = "list<struct<a: int, \"b \"\"c\": decimal(10,2), d: list<json>>>";
        let field = parse_field("x", text).unwrap();
        assert_eq!(describe(&field), text);
        let DataType::List(item) = field.data_type() else { unreachable!() };
        let DataType::Struct(fields) = item.data_type() else { unreachable!() };
        let DataType::List(json) = fields[2].data_type() else { unreachable!() };
        assert!(is_json(json) && !is_json(&field));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let cases = [
            ("integer", 0, "unknown type `integer`", "did you mean `int`?"),
            ("list<strng>", 5, "unknown type `strng`", "did you mean `string`?"),
            ("list<string", 11, "expected `>`, found the end", "write `list<T>`, such as `list<string>`"),
            ("decimal", 7, "expected `(`, found the end", "write `decimal(p,s)`"),
            ("decimal(10", 10, "expected `,`, found the end", "inside of `{…}` it needs quotes"),
            ("decimal(40,2)", 7, "a decimal has 1 to 38 digits, not 40", ""),
            ("decimal(4,5)", 7, "5 digits after the point are more than the 4 in all", ""),
            ("decimal(99999999999,5)", 8, "expected a small whole number", ""),
            ("struct<a int>", 9, "expected `:`, found `i`", ""),
            ("struct<a: int, a: int>", 15, "the struct has two fields `a`", ""),
            ("struct<>", 7, "expected the name of a field", ""),
            ("", 0, "expected a type", "types: `string`"),
            ("int int", 4, "the type ends before this", ""),
            ("struct<\"a: int>", 15, "the quoted name has no end", ""),
        ];
        for (text, position, message, help) in cases {
            let problem = parse_type(text).unwrap_err();
            assert_eq!((problem.position, problem.message.as_str()), (position, message), "{text}");
            assert!(problem.help.unwrap_or_default().starts_with(help), "{text}");
        }
    }

    #[test]
    fn bounds_depth_and_length() {
        for repeat in [MAX_DEPTH + 1, 2_000, 1_000_000] {
            let text = "list<".repeat(repeat) + "int" + &">".repeat(repeat);
            assert!(parse_type(&text).is_err());
        }
        assert!(parse_type(&("list<".repeat(MAX_DEPTH) + "int" + &">".repeat(MAX_DEPTH))).is_ok());
    }

    fn any_type() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            proptest::sample::select(vec!["string", "int", "json", "timestamp", "binary"]).prop_map(str::to_owned),
            (1_u8..=38).prop_map(|p| format!("decimal({p},{})", p / 2)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| format!("list<{item}>")),
                proptest::collection::vec(inner, 1..4).prop_map(|fields| {
                    let fields: Vec<_> = fields.iter().enumerate().map(|(i, f)| format!("f{i}: {f}")).collect();
                    format!("struct<{}>", fields.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn describes_what_it_reads(text in any_type()) {
            prop_assert_eq!(describe(&parse_field("x", &text).unwrap()), text);
        }

        #[test]
        fn takes_any_text(text in "[a-z<>(),:\" 0-9é]{0,60}") {
            let _ = parse_type(&text);
        }
    }
}
