//! ClickPesa's checksum over requests and webhooks. The documentation says that webhooks are signed like requests,
//! in the body; it does not say whether the whole body or its `data` is covered, and public integrations read a
//! header. All of that is accepted, for whoever can make any of them has the key.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::providers::json;

/// Never covered by the checksum they carry.
const UNSIGNED: [&str; 2] = ["checksum", "checksumMethod"];

/// How numbers are written. ClickPesa's reference code is JavaScript, which turns `1.0` into `1`; whether what we
/// receive went through that is not known.
#[derive(Clone, Copy)]
enum Numbers {
    AsReceived,
    JavaScript,
}

/// The checksum of a request: HMAC-SHA256 of its canonical form, lower-case hex.
pub fn sign(value: &Value, key: &str) -> String {
    let text = match value {
        Value::Object(members) => canonical_object(members, Numbers::AsReceived),
        other => canonical(other, Numbers::AsReceived),
    };
    hex_hmac(&text, key)
}

/// Whether any signature, in the body or in a header, is the checksum of the body or of its `data` by the current
/// or the old method. Without a key nothing is.
pub fn verify(body: &[u8], header_signatures: &[&str], key: &str) -> bool {
    let Some(Value::Object(body)) = json::parse(body) else {
        return false;
    };
    if key.is_empty() {
        return false;
    }
    let data = body.get("data").and_then(Value::as_object);
    let in_body = [Some(&body), data]
        .into_iter()
        .flatten()
        .filter_map(|object| object.get("checksum")?.as_str());
    let signatures: Vec<String> = in_body
        .chain(header_signatures.iter().copied())
        .map(bare_hex)
        .filter(|signature| signature.len() == 64)
        .collect();
    if signatures.is_empty() {
        return false;
    }
    [Some(&body), data].into_iter().flatten().any(|object| {
        candidates(object).iter().any(|text| {
            let expected = hex_hmac(text, key);
            signatures
                .iter()
                .any(|given| bool::from(expected.as_bytes().ct_eq(given.as_bytes())))
        })
    })
}

/// The texts a sender may have signed.
fn candidates(object: &Map<String, Value>) -> [String; 4] {
    [
        canonical_object(object, Numbers::AsReceived),
        canonical_object(object, Numbers::JavaScript),
        old_form(object, Numbers::AsReceived),
        old_form(object, Numbers::JavaScript),
    ]
}

/// `sha256=ABC…` as `abc…`.
fn bare_hex(signature: &str) -> String {
    let lower = signature.trim().to_ascii_lowercase();
    match lower.strip_prefix("sha256=") {
        Some(rest) => rest.trim().to_owned(),
        None => lower,
    }
}

fn hex_hmac(text: &str, key: &str) -> String {
    let mut hex = String::with_capacity(64);
    // A key of any length is accepted, so there is always a code.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) {
        mac.update(text.as_bytes());
        for byte in mac.finalize().into_bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
    }
    hex
}

/// Keys in order, as JavaScript sorts them: by UTF-16 units.
fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    members
}

/// The members a checksum covers, in order.
fn signed(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    sorted(object)
        .into_iter()
        .filter(|(key, _)| !UNSIGNED.contains(&key.as_str()))
}

fn canonical_object(object: &Map<String, Value>, numbers: Numbers) -> String {
    let mut text = String::new();
    write_members(signed(object), numbers, &mut text);
    text
}

fn canonical(value: &Value, numbers: Numbers) -> String {
    let mut text = String::new();
    write_canonical(value, numbers, &mut text);
    text
}

/// The method until 2025: the values of the sorted top-level keys, one after the other.
fn old_form(object: &Map<String, Value>, numbers: Numbers) -> String {
    signed(object)
        .map(|(_, value)| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => canonical(other, numbers),
        })
        .collect()
}

fn write_members<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    numbers: Numbers,
    text: &mut String,
) {
    text.push('{');
    for (position, (key, value)) in members.enumerate() {
        if position > 0 {
            text.push(',');
        }
        write_string(key, text);
        text.push(':');
        write_canonical(value, numbers, text);
    }
    text.push('}');
}

/// Parsed values nest 128 levels at most, so recursion is safe.
fn write_canonical(value: &Value, numbers: Numbers, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&match numbers {
            Numbers::AsReceived => number.to_string(),
            Numbers::JavaScript => javascript_number(number.as_str()),
        }),
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_canonical(item, numbers, text);
            }
            text.push(']');
        }
        Value::Object(members) => write_members(sorted(members).into_iter(), numbers, text),
    }
}

/// `serde_json` escapes what `JSON.stringify` escapes: no slash, nothing outside ASCII.
fn write_string(string: &str, text: &mut String) {
    text.push_str(&serde_json::to_string(string).unwrap_or_default());
}

/// A number as `JSON.stringify(JSON.parse(…))` writes it. This is the one place where a binary float is right:
/// it is what the sender's JavaScript had.
fn javascript_number(number: &str) -> String {
    let Ok(float) = number.parse::<f64>() else {
        return number.to_owned();
    };
    if !float.is_finite() {
        return "null".to_owned();
    }
    if float == 0.0 {
        return "0".to_owned();
    }
    if (1e-6..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    let exponential = format!("{float:e}");
    match exponential.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => exponential,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "secret-key";
    const RECEIVED: &str =
        include_str!("../../../tests/fixtures/clickpesa-webhook-payment-received-2.json");

    fn with_checksum(body: &str, at: &str, checksum: &str) -> Vec<u8> {
        let mut value: Value = serde_json::from_str(body).unwrap();
        value.pointer_mut(at).unwrap()["checksum"] = checksum.into();
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn the_known_vectors_hold() {
        let flat = json!({"reference": "TX123", "currency": "USD", "amount": 100});
        let current = "17c51f37dad20682e08cd556446c7f8e99840f4040b6719712f41f7549287f33";
        assert_eq!(sign(&flat, KEY), current);
        let old = "85b65bf2670dcdcb8ebb8d19939e4fd59b02d5218741be2eaf9f575273b101d1";
        assert_eq!(hex_hmac("100USDTX123", KEY), old);
        let text = serde_json::to_string(&flat).unwrap();
        assert!(verify(text.as_bytes(), &[old], KEY));

        let nested = json!({
            "reference": "TX123", "currency": "USD", "amount": 100,
            "exchange": {"fromCurrency": "TZS", "toCurrency": "TZS", "rate": "1", "amount": "1000"},
            "customer": {"name": "John Doe", "email": "john@example.com", "phone": "+255123456789"},
        });
        assert_eq!(
            sign(&nested, KEY),
            "d777a80827f17cf7882f9ac5efa68416ec680e2d1ab72ad415228d00e4ac4957"
        );

        let webhook: Value = serde_json::from_str(RECEIVED).unwrap();
        assert_eq!(
            sign(&webhook, "test_webhook_secret"),
            "7204d81dc0422ffccc376e57cfdbe80a02c60b5bebe88bd0f5cce931a9ccd7bf"
        );
    }

    #[test]
    fn a_signature_is_found_wherever_it_stands() {
        let body: Value = serde_json::from_str(RECEIVED).unwrap();
        let (whole, data) = (sign(&body, KEY), sign(&body["data"], KEY));
        for checksum in [&whole, &data] {
            assert!(verify(&with_checksum(RECEIVED, "", checksum), &[], KEY));
            let header = format!(" SHA256={} ", checksum.to_uppercase());
            assert!(verify(RECEIVED.as_bytes(), &["other", &header], KEY));
        }
        assert!(verify(&with_checksum(RECEIVED, "/data", &data), &[], KEY));
    }

    #[test]
    fn nothing_else_is_believed() {
        let body: Value = serde_json::from_str(RECEIVED).unwrap();
        let checksum = sign(&body, KEY);
        let tampered = RECEIVED.replace("10000", "10001");
        assert!(!verify(tampered.as_bytes(), &[&checksum], KEY));
        assert!(!verify(RECEIVED.as_bytes(), &[&checksum], "another key"));
        assert!(!verify(RECEIVED.as_bytes(), &[], KEY));
        assert!(!verify(
            RECEIVED.as_bytes(),
            &["", "sha256=", &checksum[..63]],
            KEY
        ));
        assert!(!verify(RECEIVED.as_bytes(), &[&sign(&body, "")], ""));
        for garbage in ["", "[]", "7", "{"] {
            assert!(!verify(garbage.as_bytes(), &[&checksum], KEY));
        }
    }

    #[test]
    fn the_canonical_form_is_javascripts() {
        let value: Value = serde_json::from_str(
            r#"{"b":"a/b é \u2028 \u0001\"","a":[{"d":1,"c":null}],"checksumMethod":"x","B":true}"#,
        )
        .unwrap();
        let Value::Object(members) = &value else {
            panic!("an object")
        };
        assert_eq!(
            canonical_object(members, Numbers::AsReceived),
            "{\"B\":true,\"a\":[{\"c\":null,\"d\":1}],\"b\":\"a/b é \u{2028} \\u0001\\\"\"}"
        );
    }

    #[test]
    fn numbers_have_a_javascript_form() {
        for (received, normal) in [
            ("1.0", "1"),
            ("10000.00", "10000"),
            ("1047.10", "1047.1"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("12345678901234567890", "12345678901234567000"),
            ("1e999", "null"),
        ] {
            assert_eq!(javascript_number(received), normal, "{received}");
        }
    }

    #[test]
    fn a_sender_that_reformats_numbers_is_believed() {
        let sent = json!({"amount": 1, "id": "x"});
        let checksum = sign(&sent, KEY);
        assert!(verify(br#"{"id":"x","amount":1.0}"#, &[&checksum], KEY));
    }
}
