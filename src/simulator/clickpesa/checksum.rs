//! ClickPesa's checksum: HMAC-SHA256 over the payload as JavaScript would print it with sorted keys.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

/// The checksum in lower-case hex. The payload's own checksum fields do not count.
pub(in crate::simulator) fn checksum(payload: &Map<String, Value>, key: &str) -> String {
    let mut bare = payload.clone();
    bare.remove("checksum");
    bare.remove("checksumMethod");
    let mut text = String::new();
    print_object(&bare, &mut text);
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new(); // HMAC takes keys of any length.
    };
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn print(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => print_object(object, text),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                print(item, text);
            }
            text.push(']');
        }
        Value::Number(number) => text.push_str(&as_javascript_prints(&number.to_string())),
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn print_object(object: &Map<String, Value>, text: &mut String) {
    let mut entries: Vec<(&String, &Value)> = object.iter().collect();
    entries.sort_by(|one, other| one.0.encode_utf16().cmp(other.0.encode_utf16()));
    text.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        print(value, text);
    }
    text.push('}');
}

/// `10.50` is printed as `10.5`, and `1.0` as `1`. Exponents do not occur in payments.
fn as_javascript_prints(number: &str) -> String {
    if number.contains('.') && !number.contains(['e', 'E']) {
        number
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    } else {
        number.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, key: &str) -> String {
        checksum(&serde_json::from_str(text).unwrap(), key)
    }

    #[test]
    fn a_flat_payload_has_the_published_checksum() {
        let expected = "17c51f37dad20682e08cd556446c7f8e99840f4040b6719712f41f7549287f33";
        assert_eq!(
            of(
                r#"{"reference":"TX123","amount":100.00,"currency":"USD","checksum":"x"}"#,
                "secret-key"
            ),
            expected
        );
    }

    #[test]
    fn a_nested_payload_has_the_published_checksum() {
        let payload = r#"{"amount":100,"currency":"USD","reference":"TX123",
            "exchange":{"fromCurrency":"TZS","toCurrency":"TZS","rate":"1","amount":"1000"},
            "customer":{"name":"John Doe","email":"john@example.com","phone":"+255123456789"}}"#;
        assert_eq!(
            of(payload, "secret-key"),
            "d777a80827f17cf7882f9ac5efa68416ec680e2d1ab72ad415228d00e4ac4957"
        );
    }

    #[test]
    fn a_webhook_has_the_published_checksum() {
        let payload = r#"{"event":"PAYMENT RECEIVED","data":{"id":"ORD123456LCP7890",
            "status":"SUCCESS","paymentReference":"abc123def456ghi789",
            "orderReference":"ORD123456","collectedAmount":"10000","collectedCurrency":"TZS",
            "message":"success","channel":"CRDB DIRECT DEBIT MANDATE",
            "customer":{"customerName":"John Doe","customerEmail":"john@example.com",
            "customerPhoneNumber":"255700000000"}},"checksumMethod":"canonical"}"#;
        assert_eq!(
            of(payload, "test_webhook_secret"),
            "7204d81dc0422ffccc376e57cfdbe80a02c60b5bebe88bd0f5cce931a9ccd7bf"
        );
    }
}
