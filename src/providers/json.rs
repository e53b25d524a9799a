//! Reading JSON that others wrote: scalars of any type as text, absence in all its forms as `None`, and nothing
//! that a database column or index could choke on. Numbers keep the text they came with.

use serde_json::Value;

/// Larger bodies are refused before they come here; this holds for every other way in.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The longest ids seen have 50 characters; an index refuses entries of a few kilobytes.
const MAX_ID_CHARS: usize = 200;
const MAX_SENTENCE_CHARS: usize = 500;

/// The body as JSON. A byte order mark is skipped and broken UTF-8 replaced: a name in another encoding must not
/// cost us a payment. Nesting is limited by `serde_json` itself.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
}

/// The member `name` of an object: as spelled, else in any case and with spaces in it. `null` is absent.
pub(super) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let members = object.as_object()?;
    members
        .get(name)
        .or_else(|| {
            let name = squeezed(name);
            let same = members.iter().find(|(key, _)| squeezed(key) == name);
            same.map(|(_, value)| value)
        })
        .filter(|value| !value.is_null())
}

/// A key without what documents and releases disagree about: case and spaces.
pub(super) fn squeezed(key: &str) -> String {
    key.chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// A scalar as trimmed text; empty text, `null`, arrays and objects are absent.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    // PostgreSQL has no NUL in text; no field of ours has a use for the others.
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let trimmed = printable.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The scalar `name` of an object, as text.
pub(super) fn field(object: &Value, name: &str) -> Option<String> {
    member(object, name).and_then(text)
}

/// The first of `names` that is there.
pub(super) fn first_field(object: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| field(object, name))
}

/// An id, unless it is too long to be one.
pub(super) fn id(text: String) -> Option<String> {
    (text.chars().count() <= MAX_ID_CHARS).then_some(text)
}

/// A sentence for people, cut where it gets too long to be one.
pub(super) fn sentence(text: String) -> String {
    match text.char_indices().nth(MAX_SENTENCE_CHARS) {
        Some((end, _)) => text.get(..end).map(str::to_owned).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_keep_their_text() {
        let object = value(
            r#"{"a":1.00,"b":254708374149,"c":8959269.60,"d":-1980.00,"e":123456789012345678901}"#,
        );
        for (name, expected) in [
            ("a", "1.00"),
            ("b", "254708374149"),
            ("c", "8959269.60"),
            ("d", "-1980.00"),
            ("e", "123456789012345678901"),
        ] {
            assert_eq!(field(&object, name).as_deref(), Some(expected));
        }
    }

    #[test]
    fn absence_has_many_forms() {
        let object = value(r#"{"a":null,"b":"","c":"  ","d":[],"e":{},"f":"\u0000"}"#);
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            assert_eq!(field(&object, name), None, "{name}");
        }
    }

    #[test]
    fn keys_are_found_in_any_case_and_with_spaces() {
        let object = value(r#"{"Result Code":0,"resultdesc":"x"}"#);
        assert_eq!(field(&object, "ResultCode").as_deref(), Some("0"));
        assert_eq!(field(&object, "ResultDesc").as_deref(), Some("x"));
    }

    #[test]
    fn a_byte_order_mark_and_broken_utf8_are_tolerated() {
        assert!(parse(b"\xef\xbb\xbf{\"a\":1}").is_some());
        assert_eq!(
            field(&parse(b"{\"a\":\"Jos\xe9\"}").unwrap(), "a").as_deref(),
            Some("Jos\u{fffd}")
        );
    }

    #[test]
    fn bottomless_nesting_and_giants_are_refused() {
        assert_eq!(parse("[".repeat(100_000).as_bytes()), None);
        assert_eq!(
            parse(format!("\"{}\"", "x".repeat(MAX_BODY_BYTES)).as_bytes()),
            None
        );
    }

    #[test]
    fn what_is_too_long_is_no_id_and_a_cut_sentence() {
        assert_eq!(id("x".repeat(201)), None);
        assert_eq!(sentence("é".repeat(600)).chars().count(), 500);
    }
}
