//! The words of our requests to ClickPesa, and what its answers say. Amounts are strings where money comes in and
//! numbers where it goes out; neither passes through a binary float.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Number, Value, json};

use super::error::Said;
use super::{callback, checksum};
use crate::domain::clock::Instant;
use crate::domain::identity::TransactionId;
use crate::domain::money::Amount;
use crate::domain::status_update::{Api, Balance, ResultClass, StatusUpdate};
use crate::domain::transaction::ProviderIds;
use crate::providers::answer::{Acceptance, Answer, Refusal};
use crate::providers::json as read;
use crate::providers::payment_provider::{Collection, PayOut};

/// A request for a prompt on the customer's phone.
pub(super) fn collection(request: &Collection, reference: &str) -> Value {
    json!({
        "amount": decimal(request.amount),
        "currency": request.currency.as_str(),
        "orderReference": reference,
        "phoneNumber": request.msisdn.as_str(),
    })
}

/// The same as a question. The sender's name is not asked for: nobody here needs it.
pub(super) fn collection_preview(request: &Collection, reference: &str) -> Value {
    let mut body = collection(request, reference);
    if let Value::Object(members) = &mut body {
        members.insert("fetchSenderDetails".to_owned(), Value::Bool(false));
    }
    body
}

/// A payout to a mobile wallet, and the question what it would cost.
pub(super) fn pay_out(request: &PayOut, reference: &str) -> Value {
    json!({
        "amount": number(request.amount),
        "currency": request.currency.as_str(),
        "orderReference": reference,
        "phoneNumber": request.msisdn.as_str(),
    })
}

/// The request with its checksum, if the account has a key.
pub(super) fn signed(mut body: Value, key: Option<&SecretString>) -> Value {
    if let Some(key) = key {
        let checksum = checksum::sign(&body, key.expose_secret());
        if let Value::Object(members) = &mut body {
            members.insert("checksum".to_owned(), Value::from(checksum));
        }
    }
    body
}

/// `10000`, or `10000.50`.
fn decimal(amount: Amount) -> String {
    let text = amount.to_string();
    match text.strip_suffix(".00") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// `10000`, or `10000.5`: as JavaScript writes it, for the receiver counts the checksum over its own writing.
fn number(amount: Amount) -> Value {
    let text = amount.to_string();
    let shortest = text.trim_end_matches('0').trim_end_matches('.');
    serde_json::from_str::<Number>(shortest).map_or(Value::Null, Value::Number)
}

/// The token as it is to be sent: the value begins with `Bearer ` already.
pub(super) fn token(answer: &Value) -> Option<SecretString> {
    read::field(answer, "token").map(SecretString::from)
}

/// What the answer to a payment or payout says, if it is about `reference`.
pub(super) fn acceptance(
    api: Api,
    transaction_id: TransactionId,
    reference: &str,
    answer: Value,
) -> Option<Acceptance> {
    let payment = inner(&answer);
    let correlation = callback::correlation(None, payment);
    let named = correlation.order_reference.as_deref();
    if !names(named, reference) || (named.is_none() && correlation.conversation_id.is_none()) {
        return None;
    }
    Some(Acceptance {
        ids: ProviderIds {
            conversation_id: correlation.conversation_id,
            originator_conversation_id: None,
            order_reference: Some(reference.to_owned()),
        },
        description: read::field(payment, "message").map(read::sentence),
        update: standing(api, transaction_id, reference, payment),
        body: Some(answer),
        ..Acceptance::default()
    })
}

/// What a query's answer says of the payment under `reference`.
pub(super) fn news(
    api: Api,
    transaction_id: TransactionId,
    reference: &str,
    said: &Said,
) -> Answer {
    let attempts = match inner(&said.body) {
        Value::Array(attempts) if attempts.is_empty() => {
            return Answer::Nothing(Refusal {
                code: None,
                message: "no payment is visible under this order reference yet".to_owned(),
                http_status: Some(said.status),
                retryable: true,
                throttled: false,
            });
        }
        Value::Array(attempts) => attempts.as_slice(),
        attempt => std::slice::from_ref(attempt),
    };
    let updates = attempts.iter().filter_map(|attempt| {
        let update = standing(api, transaction_id, reference, attempt)?;
        Some((created_at(attempt), update))
    });
    match choose(updates.collect()) {
        Some(update) => Answer::News(Box::new(update)),
        None => Answer::Unknown(said.without("news of the payment")),
    }
}

/// One reference may have several attempts: the payment is paid if one of them is; else the newest tells. Of equals
/// the first, for ClickPesa lists the newest first.
fn choose(mut attempts: Vec<(Option<Instant>, StatusUpdate)>) -> Option<StatusUpdate> {
    attempts.reverse();
    attempts
        .into_iter()
        .max_by_key(|(created_at, update)| (update.class == ResultClass::Success, *created_at))
        .map(|(_, update)| update)
}

/// Where one attempt stands, unless it is somebody else's or says no status.
fn standing(
    api: Api,
    transaction_id: TransactionId,
    reference: &str,
    payment: &Value,
) -> Option<StatusUpdate> {
    let status = read::field(payment, "status").and_then(read::id)?;
    let mut correlation = callback::correlation(Some(transaction_id), payment);
    if !names(correlation.order_reference.as_deref(), reference) {
        return None;
    }
    correlation.order_reference = Some(reference.to_owned());
    let mut update = callback::update(api, "", Some(status), payment, correlation);
    // We asked about a payment that we know.
    update.unregistered = None;
    Some(update)
}

fn names(said: Option<&str>, reference: &str) -> bool {
    said.is_none_or(|said| said.eq_ignore_ascii_case(reference))
}

fn created_at(attempt: &Value) -> Option<Instant> {
    let text = read::field(attempt, "createdAt")?;
    let instant = DateTime::parse_from_rfc3339(&text).ok()?;
    Some(instant.with_timezone(&Utc))
}

/// The answer itself, or what it wraps in `data`.
fn inner(answer: &Value) -> &Value {
    read::member(answer, "data")
        .filter(|data| data.is_object() || data.is_array())
        .unwrap_or(answer)
}

/// The balances by currency, which is all the name they have. One figure is told; it is what can be spent.
pub(super) fn balances(answer: &Value) -> Option<Vec<Balance>> {
    let listed = match inner(answer) {
        Value::Array(listed) => listed.as_slice(),
        one => std::slice::from_ref(one),
    };
    let balance = |entry: &Value| {
        let currency = read::field(entry, "currency")?.to_ascii_uppercase();
        let text = read::field(entry, "balance")?;
        Some(Balance {
            name: currency.clone(),
            currency,
            current: None,
            available: Some(Amount::parse_lenient(&text).ok()?),
            reserved: None,
            uncleared: None,
        })
    };
    // A figure that cannot be read must not look like a currency that is not there.
    listed.iter().map(balance).collect()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
