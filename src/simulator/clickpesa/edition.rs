//! The shapes that webhooks come in: those documented now, those of the edition of 2025-03, which are still
//! on the road, and odd ones.

use serde_json::{Map, Value, json};

/// Which of the provider's own documents a webhook is written after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
pub enum WebhookEdition {
    /// The current one.
    #[default]
    #[serde(rename = "current")]
    Current,
    /// That of 2025-03.
    #[serde(rename = "2025-03")]
    March2025,
}

impl WebhookEdition {
    /// The whole body, without a checksum.
    pub(super) fn payload(self, event: &str, data: Value) -> Map<String, Value> {
        let (key, data) = match (self, event) {
            (Self::Current, _) => ("event", data),
            (Self::March2025, "PAYMENT RECEIVED") => ("event", received(&data)),
            (Self::March2025, "PAYMENT FAILED") => {
                let kept = ["id", "status", "orderReference", "message"];
                ("eventType", only(&data, &kept))
            }
            (Self::March2025, _) => ("event", with_settlement_type(data)),
        };
        let mut payload = Map::new();
        payload.insert(key.to_owned(), Value::from(event));
        payload.insert("data".to_owned(), data);
        payload
    }
}

fn received(data: &Value) -> Value {
    let from = |path: &str| data.pointer(path).cloned().unwrap_or_default();
    json!({
        "paymentId": from("/id"),
        "status": from("/status"),
        "orderReference": from("/orderReference"),
        "amount": from("/collectedAmount"),
        "currency": from("/collectedCurrency"),
        "customer": {
            "name": from("/customer/customerName"),
            "email": from("/customer/customerEmail"),
            "phone": from("/customer/customerPhoneNumber"),
        },
    })
}

fn only(data: &Value, names: &[&str]) -> Value {
    let members = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), data.get(name)?.clone())));
    Value::Object(members.collect())
}

fn with_settlement_type(mut data: Value) -> Value {
    if let Some(members) = data.as_object_mut() {
        members.remove("transferType");
        members.insert("settlementType".to_owned(), Value::from("ACH"));
    }
    data
}

/// Makes an odd shape of a webhook: amounts as numbers, or no customer and no channel.
pub(super) fn mutilate(payload: &mut Map<String, Value>, variant: u64) {
    let Some(data) = payload.get_mut("data").and_then(Value::as_object_mut) else {
        return;
    };
    if variant.is_multiple_of(2) {
        for name in ["collectedAmount", "amount", "fee"] {
            if let Some(amount) = data.get_mut(name) {
                as_number(amount);
            }
        }
    } else {
        for name in ["customer", "channel", "clientId", "message", "beneficiary"] {
            data.remove(name);
        }
    }
}

fn as_number(amount: &mut Value) {
    let number = amount
        .as_str()
        .and_then(|text| serde_json::from_str::<serde_json::Number>(text).ok());
    if let Some(number) = number {
        *amount = Value::Number(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Value {
        json!({"id": "A1LCP1", "status": "SUCCESS", "orderReference": "A1", "collectedAmount": "10000",
            "collectedCurrency": "TZS", "message": "success", "channel": "M-PESA", "customer":
            {"customerName": "N", "customerEmail": "e", "customerPhoneNumber": "255712345678"}})
    }

    #[test]
    fn the_edition_of_2025_03_has_other_names() {
        let payload = WebhookEdition::March2025.payload("PAYMENT RECEIVED", data());
        assert_eq!(payload["data"]["paymentId"], "A1LCP1");
        assert_eq!(payload["data"]["amount"], "10000");
        assert_eq!(payload["data"]["customer"]["phone"], "255712345678");
        let payload = WebhookEdition::March2025.payload("PAYMENT FAILED", data());
        assert_eq!(payload["eventType"], "PAYMENT FAILED");
        assert_eq!(payload.get("event"), None);
        assert_eq!(payload["data"].get("channel"), None);
        let payload = WebhookEdition::March2025.payload("PAYOUT INITIATED", data());
        assert_eq!(payload["data"]["settlementType"], "ACH");
    }

    #[test]
    fn a_webhook_has_two_odd_shapes() {
        let shape = |variant| {
            let mut payload = WebhookEdition::Current.payload("PAYMENT RECEIVED", data());
            mutilate(&mut payload, variant);
            payload
        };
        assert_eq!(shape(0)["data"]["collectedAmount"], 10000);
        assert_eq!(shape(1)["data"].get("customer"), None);
    }
}
