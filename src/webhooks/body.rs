//! What a webhook and the feed say of an event: the eight documented fields in their order, then the extras. And what a
//! webhook says of an endpoint that was disabled.

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::clock::Instant;
use crate::domain::delivery::Message;
use crate::domain::identity::EventId;
use crate::domain::money::Amount;
use crate::domain::notice::{DISABLED_NOTICE, DisabledNotice};
use crate::domain::timeline::StatusEvent;

/// An event on the wire. What is not known is null, never absent.
#[derive(Serialize)]
pub struct EventBody<'a> {
    transaction_id: String,
    conversation_id: Option<&'a str>,
    client_request_id: Option<&'a str>,
    status: &'static str,
    result_code: Option<&'a str>,
    result_description: Option<&'a str>,
    transaction_receipt: Option<&'a str>,
    updated_at: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    sequence: i64,
    #[serde(serialize_with = "two_decimals")]
    amount: Amount,
    currency: &'a str,
    msisdn: Option<&'a str>,
    reversed_at: Option<String>,
}

impl<'a> From<&'a StatusEvent> for EventBody<'a> {
    fn from(event: &'a StatusEvent) -> Self {
        Self {
            transaction_id: event.transaction_id.to_string(),
            conversation_id: event.conversation_id.as_deref(),
            client_request_id: event.client_request_id.as_deref(),
            status: event.status.as_str(),
            result_code: event.result_code.as_deref(),
            result_description: event.result_description.as_deref(),
            transaction_receipt: event.receipt.as_deref(),
            updated_at: instant(event.updated_at),
            event_type: event.event_type(),
            sequence: event.sequence,
            amount: event.amount,
            currency: event.currency.as_str(),
            msisdn: event.msisdn.as_ref().map(|number| number.as_str()),
            reversed_at: event.reversed_at.map(instant),
        }
    }
}

/// The `webhook-id`: one an event, so that a receiver can tell a repeat.
pub fn message_id(event: EventId) -> String {
    format!("evt_{event}")
}

/// The bytes that are signed and sent; the same bytes for every attempt and every endpoint.
pub fn event_body(event: &StatusEvent) -> Vec<u8> {
    // Text, whole numbers and a decimal we print ourselves: serialising has no way to fail.
    serde_json::to_vec(&EventBody::from(event)).unwrap_or_default()
}

/// A notice on the wire.
#[derive(Serialize)]
struct DisabledBody<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    webhook_id: String,
    url: &'a str,
    reason: &'static str,
    failing_since: Option<String>,
    disabled_at: String,
    message: &'static str,
}

/// The `webhook-id` and the bytes of what a delivery tells.
pub fn message_body(message: &Message) -> (String, Vec<u8>) {
    match message {
        Message::Event(event) => (message_id(event.id), event_body(event)),
        Message::Disabled(notice) => (format!("ntc_{}", notice.id), disabled_body(notice)),
    }
}

fn disabled_body(notice: &DisabledNotice) -> Vec<u8> {
    let body = DisabledBody {
        event_type: DISABLED_NOTICE,
        webhook_id: notice.endpoint_id.to_string(),
        url: &notice.url,
        reason: notice.reason.as_str(),
        failing_since: notice.failing_since.map(instant),
        disabled_at: instant(notice.disabled_at),
        message: "This webhook endpoint was disabled and is told nothing any more, until it is enabled again.",
    };
    // Text: serialising has no way to fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn instant(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A JSON number with its cents (`1200.00`), which a binary float would lose.
fn two_decimals<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(amount.to_string())
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::domain::identity::{EventId, PartnerId, TransactionId};
    use crate::domain::money::Currency;
    use crate::domain::msisdn::Msisdn;
    use crate::domain::status::Status;

    fn event() -> StatusEvent {
        let at = chrono::Utc.with_ymd_and_hms(2026, 1, 30, 9, 15, 2).unwrap();
        StatusEvent {
            id: EventId::new(at),
            partner_id: PartnerId::new(at),
            sequence: 7,
            transaction_id: TransactionId("bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26".parse().unwrap()),
            is_registration: false,
            status: Status::Success,
            conversation_id: Some("AG_20260130_1".to_owned()),
            client_request_id: Some("order \"7\"".to_owned()),
            result_code: Some("0".to_owned()),
            result_description: Some("Imekamilika – ✓".to_owned()),
            receipt: Some("SAU1XYZ".to_owned()),
            amount: Amount(120_000),
            currency: Currency::kes(),
            msisdn: Some(Msisdn::from_international("254712345654").unwrap()),
            reversed_at: None,
            updated_at: at,
        }
    }

    #[test]
    fn the_fields_stand_in_the_documented_order() {
        assert_eq!(
            String::from_utf8(event_body(&event())).unwrap(),
            concat!(
                r#"{"transaction_id":"bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26","conversation_id":"AG_20260130_1","#,
                r#""client_request_id":"order \"7\"","status":"success","result_code":"0","#,
                r#""result_description":"Imekamilika – ✓","transaction_receipt":"SAU1XYZ","#,
                r#""updated_at":"2026-01-30T09:15:02.000Z","type":"transaction.success","sequence":7,"#,
                r#""amount":1200.00,"currency":"KES","msisdn":"254712345654","reversed_at":null}"#,
            )
        );
    }

    #[test]
    fn what_is_unknown_is_null_and_never_absent() {
        let event = StatusEvent {
            is_registration: true,
            status: Status::Queued,
            conversation_id: None,
            client_request_id: None,
            result_code: None,
            result_description: None,
            receipt: None,
            msisdn: None,
            ..event()
        };
        let body = String::from_utf8(event_body(&event)).unwrap();
        for field in [
            "conversation_id",
            "client_request_id",
            "result_code",
            "result_description",
            "transaction_receipt",
            "msisdn",
            "reversed_at",
        ] {
            assert!(body.contains(&format!("\"{field}\":null")), "{field}");
        }
        assert!(body.contains("\"type\":\"transaction.registered\""));
    }

    #[test]
    fn the_largest_amount_keeps_its_last_cent() {
        let event = StatusEvent {
            amount: Amount(crate::domain::money::MAX_AMOUNT_MINOR),
            ..event()
        };
        let body = String::from_utf8(event_body(&event)).unwrap();
        assert!(body.contains("\"amount\":999999999999.99,"), "{body}");
    }
}
