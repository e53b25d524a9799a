//! ClickPesa's webhooks: the current `{event, data}`, its editions of 2024 and 2025 with other field names, and
//! the flat body of the informal guide.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use super::status_word::{Verdict, canonical, classify, word_of_event};
use crate::domain::clock::Instant;
use crate::domain::identity::TransactionId;
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Country;
use crate::domain::status_update::{
    Api, Correlation, News, Payer, ResultClass, StatusUpdate, Unregistered,
};
use crate::domain::transaction::Kind;
use crate::providers::amount::paid_amount;
use crate::providers::json;
use crate::providers::payer::payer;

/// Webhooks carry none that we know of; these are what a mistaken echo of ours would carry.
pub(crate) const SECRET_FIELDS: &[&str] = &[
    "SecurityCredential",
    "InitiatorPassword",
    "Password",
    "api-key",
    "apiKey",
];

/// What a webhook says.
pub(crate) fn parse(path_transaction_id: Option<TransactionId>, body: &[u8]) -> News {
    let Some(body) = json::parse(body).filter(Value::is_object) else {
        return News::Unreadable("not a JSON object".to_owned());
    };
    let data = json::member(&body, "data")
        .filter(|data| data.is_object())
        .unwrap_or(&body);
    let event = json::first_field(&body, &["event", "eventType"]).map(|event| canonical(&event));
    let event = event.as_deref().unwrap_or_default();
    let status = json::field(data, "status").and_then(json::id);
    if event == "DEPOSIT-RECEIVED" {
        return News::Information("a deposit was received".to_owned());
    }
    if !event.is_empty() && !event.starts_with("PAY") && status.is_none() {
        return News::Information("an event that is about no payment".to_owned());
    }
    let correlation = correlation(path_transaction_id, data);
    if correlation.transaction_id.is_none() && correlation.ids().next().is_none() {
        return News::Unreadable("a webhook without an order reference or a payment id".to_owned());
    }
    if event.is_empty() && status.is_none() {
        return News::Unreadable("a webhook without event and status".to_owned());
    }
    let api = api_of(event, data);
    News::Payment(Box::new(update(api, event, status, data, correlation)))
}

/// The ids that a payment or payout carries, in a webhook as in an answer.
pub(super) fn correlation(transaction_id: Option<TransactionId>, data: &Value) -> Correlation {
    let id = |names: &[&str]| json::first_field(data, names).and_then(json::id);
    Correlation {
        transaction_id,
        order_reference: id(&["orderReference", "reference"]),
        conversation_id: id(&["id", "paymentId", "transaction_id"]),
        ..Correlation::default()
    }
}

/// What a payment or payout of `api` says in a webhook, or with an empty `event` in an answer.
pub(super) fn update(
    api: Api,
    event: &str,
    status: Option<String>,
    data: &Value,
    correlation: Correlation,
) -> StatusUpdate {
    let (verdict, word) = verdict(api, event, status.as_deref());
    let amount = amount(api, data);
    let mut update = StatusUpdate {
        returned: verdict.returned,
        provider_status: status,
        payer: payer_in(api, data),
        occurred_at: occurred_at(data),
        ..StatusUpdate::new(api, verdict.class, correlation)
    };
    update.result_description = message(data);
    if matches!(verdict.class, ResultClass::Success | ResultClass::Failed) {
        update.result_code = Some(word);
        update.result_description = update
            .result_description
            .or_else(|| Some(plain_sentence(api, verdict).to_owned()));
    }
    if verdict.class == ResultClass::Success {
        update.receipt = json::field(data, "paymentReference").and_then(json::id);
        update.paid = amount;
    }
    // Only a collection can be news of money nobody told us of; payouts begin with us.
    if api == Api::ClickpesaPayment {
        update.unregistered = amount.map(|amount| Unregistered {
            kind: Kind::UssdPush,
            amount,
            currency: currency(data),
            shortcode: None,
        });
    }
    update
}

fn api_of(event: &str, data: &Value) -> Api {
    let payout_fields = [
        "transferType",
        "settlementType",
        "beneficiary",
        "channelProvider",
    ];
    let is_payout = match event {
        event if event.starts_with("PAYOUT") => true,
        event if event.starts_with("PAYMENT") => false,
        _ => payout_fields
            .iter()
            .any(|name| json::member(data, name).is_some()),
    };
    if is_payout {
        Api::ClickpesaPayout
    } else {
        Api::ClickpesaPayment
    }
}

/// The status word rules and the event stands in for it; but an event that says the money did not arrive, or
/// went back, keeps a status of success from being believed.
fn verdict(api: Api, event: &str, status: Option<&str>) -> (Verdict, String) {
    let from_event = word_of_event(event).unwrap_or_default();
    let event_verdict = classify(api, from_event);
    let Some(status) = status else {
        return (event_verdict, from_event.to_owned());
    };
    let mut verdict = classify(api, status);
    if event_verdict.class == ResultClass::Failed {
        match verdict.class {
            ResultClass::Success => verdict.class = ResultClass::Unknown,
            ResultClass::Failed => verdict.returned |= event_verdict.returned,
            ResultClass::Unconfirmed | ResultClass::Pending | ResultClass::Unknown => {}
        }
    }
    (verdict, canonical(status))
}

/// A payout's own `amount` includes the fee where the merchant bears it; `order.amount` is what was asked for.
fn amount(api: Api, data: &Value) -> Option<Amount> {
    let nested = |name| json::member(data, name).and_then(|inner| json::field(inner, "amount"));
    let text = if api == Api::ClickpesaPayout {
        nested("order")
            .or_else(|| nested("beneficiary"))
            .or_else(|| json::field(data, "amount"))
    } else {
        json::first_field(data, &["collectedAmount", "amount"])
    };
    paid_amount(text)
}

fn currency(data: &Value) -> Currency {
    json::first_field(data, &["collectedCurrency", "currency"])
        .and_then(|code| code.to_ascii_uppercase().parse().ok())
        .unwrap_or_else(Currency::tzs)
}

fn payer_in(api: Api, data: &Value) -> Option<Payer> {
    let read = |text: String| payer(&text, Country::Tanzania);
    if api == Api::ClickpesaPayout {
        let beneficiary = json::member(data, "beneficiary")?;
        // An account number may be a bank's: only a whole international number is a phone's.
        let account = json::field(beneficiary, "accountNumber").filter(|text| text.len() >= 12);
        return account
            .and_then(read)
            .or_else(|| json::field(beneficiary, "beneficiaryMobileNumber").and_then(read));
    }
    json::member(data, "customer")
        .and_then(|customer| json::first_field(customer, &["customerPhoneNumber", "phone"]))
        .or_else(|| json::first_field(data, &["paymentPhoneNumber", "msisdn"]))
        .and_then(read)
}

/// The part of a payout that tells of its return.
fn return_details(data: &Value) -> Option<&Value> {
    ["reverse", "refund"]
        .iter()
        .find_map(|name| json::member(data, name))
}

fn message(data: &Value) -> Option<String> {
    json::field(data, "message")
        .or_else(|| json::field(return_details(data)?, "message"))
        .map(json::sentence)
}

/// When the money went back, else when ClickPesa last touched it.
fn occurred_at(data: &Value) -> Option<Instant> {
    let text = return_details(data)
        .and_then(|details| json::first_field(details, &["reversedAt", "refundedAt"]))
        .or_else(|| json::first_field(data, &["updatedAt", "createdAt"]))?;
    let instant = DateTime::parse_from_rfc3339(&text).ok()?;
    Some(instant.with_timezone(&Utc).trunc_subsecs(3))
}

fn plain_sentence(api: Api, verdict: Verdict) -> &'static str {
    let success = verdict.class == ResultClass::Success;
    match (api == Api::ClickpesaPayout, success, verdict.returned) {
        (false, true, _) => "The payment was received.",
        (false, false, false) => "The payment failed.",
        (false, false, true) => "The payment was given back.",
        (true, true, _) => "The payout was sent.",
        (true, false, false) => "The payout failed.",
        (true, false, true) => "The payout failed and the money came back.",
    }
}
