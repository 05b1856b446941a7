//! JSON written one way: what is equal has equal bytes, in every build.
//!
//! Fields are sorted, whatever order the maps of this build keep; strings have no character unescaped that YAML does
//! not print. So the text can be hashed, and is YAML as well as JSON.

use std::fmt::Write as _;

use serde_json::Value;

/// A value in several lines, the last one ended.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|one, other| one.0.cmp(other.0));
            items('{', '}', fields, depth, text, |(name, value), text| {
                string(name, text);
                text.push_str(": ");
                write(value, depth + 1, text);
            });
        }
        Value::Array(values) if !values.is_empty() => {
            items('[', ']', values, depth, text, |value, text| write(value, depth + 1, text));
        }
        Value::String(value) => string(value, text),
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

/// One item a line, between brackets.
fn items<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    depth: usize,
    text: &mut String,
    mut item: impl FnMut(T, &mut String),
) {
    text.push(open);
    for (place, value) in items.into_iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        indent(depth + 1, text);
        item(value, text);
    }
    text.push('\n');
    indent(depth, text);
    text.push(close);
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            _ if is_printed(character) => text.push(character),
            _ => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
        }
    }
    text.push('"');
}

/// Whether YAML takes the character as it is, and nothing takes it for the end of a line or for a mark of byte order.
/// What it does not take has at most 16 bits, so that one escape is enough.
fn is_printed(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_sorted_and_empty_values_are_short() {
        let value = json!({"b": [1, {"d": null, "c": true}], "a": {}, "e": [], "f": "x"});
        let expected = "\
{
  \"a\": {},
  \"b\": [
    1,
    {
      \"c\": true,
      \"d\": null
    }
  ],
  \"e\": [],
  \"f\": \"x\"
}
";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn what_is_not_printed_is_escaped() {
        let cases = [
            ("a\"b\\c", r#""a\"b\\c""#),
            ("1\n2\t3\r", r#""1\n2\t3\u000d""#),
            ("\u{0}\u{7f}\u{85}\u{2028}\u{feff}", r#""\u0000\u007f\u0085\u2028\ufeff""#),
            ("Grüße 🚀", r#""Grüße 🚀""#),
        ];
        for (value, expected) in cases {
            assert_eq!(text(&json!(value)).trim_end(), expected);
        }
    }

    proptest! {
        #[test]
        fn json_reads_it_back(fields in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)) {
            let written: Value = fields.into_iter().map(|(name, value)| (name, json!([value]))).collect();
            prop_assert_eq!(serde_json::from_str::<Value>(&text(&written)).unwrap(), written);
        }
    }
}
