//! The words of our requests to ClickPesa, and what its answers say. Amounts are strings where money comes in and
//! numbers where it goes out; neither passes through a binary float.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Number, Value, json};

use super::{callback, checksum};
use crate::domain::clock::Instant;
use crate::domain::identity::TransactionId;
use crate::domain::money::Amount;
use crate::domain::status_update::{Api, Balance, ResultClass, StatusUpdate};
use crate::domain::transaction::ProviderIds;
use crate::providers::json as read;
use crate::providers::payment_provider::{
    Acceptance, Answer, Collection, NoAnswer, PayOut, Refusal,
};

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
    answer: &Value,
) -> Answer {
    let attempts = match inner(answer) {
        Value::Array(attempts) if attempts.is_empty() => {
            return Answer::Nothing(Refusal {
                code: None,
                message: "no payment is visible under this order reference yet".to_owned(),
                http_status: Some(200),
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
        None => Answer::Unknown(NoAnswer {
            reason: "an answer that says nothing about the payment".to_owned(),
            http_status: Some(200),
            is_down: false,
        }),
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
mod tests {
    use chrono::{TimeZone, Utc};
    use serde_json::json;

    use super::*;
    use crate::domain::money::Currency;
    use crate::domain::msisdn::Msisdn;
    use crate::domain::status_update::Payer;
    use crate::providers::payment_provider::{CallbackBase, Purpose};

    const REFERENCE: &str = "06H1AB";

    fn id() -> TransactionId {
        "0198f0c4-5a5b-7c3d-8e9f-0a1b2c3d4e5f".parse().unwrap()
    }

    fn callbacks() -> CallbackBase {
        CallbackBase::new("http://localhost".parse().unwrap(), "token")
    }

    fn payer() -> Msisdn {
        Msisdn::from_international("255712345678").unwrap()
    }

    fn asked(amount: &str) -> Collection {
        Collection {
            transaction_id: id(),
            msisdn: payer(),
            amount: amount.parse().unwrap(),
            currency: Currency::tzs(),
            reference: None,
            description: None,
            transaction_type: None,
            ids: ProviderIds::default(),
            callbacks: callbacks(),
        }
    }

    fn paid_out(amount: &str) -> PayOut {
        PayOut {
            transaction_id: id(),
            msisdn: payer(),
            amount: amount.parse().unwrap(),
            currency: Currency::tzs(),
            purpose: Purpose::Payout,
            remarks: None,
            occasion: None,
            ids: ProviderIds::default(),
            callbacks: callbacks(),
        }
    }

    #[test]
    fn a_collection_has_its_amount_as_text_and_a_payout_as_a_number() {
        for (amount, text, number) in [
            ("10000", "\"10000\"", "10000"),
            ("10000.50", "\"10000.50\"", "10000.5"),
            ("0.01", "\"0.01\"", "0.01"),
            ("999999999999.99", "\"999999999999.99\"", "999999999999.99"),
        ] {
            let collection = collection(&asked(amount), REFERENCE);
            assert_eq!(
                collection.to_string(),
                format!(
                    r#"{{"amount":{text},"currency":"TZS","orderReference":"06H1AB","phoneNumber":"255712345678"}}"#
                )
            );
            let payout = pay_out(&paid_out(amount), REFERENCE);
            assert_eq!(payout["amount"].to_string(), number);
        }
        let preview = collection_preview(&asked("10000"), REFERENCE);
        assert_eq!(preview["fetchSenderDetails"], json!(false));
    }

    #[test]
    fn a_request_carries_its_checksum_if_the_account_has_a_key() {
        let body = json!({"amount": 100, "currency": "USD", "reference": "TX123"});
        let key = SecretString::from("secret-key");
        assert_eq!(
            signed(body.clone(), Some(&key))["checksum"],
            "17c51f37dad20682e08cd556446c7f8e99840f4040b6719712f41f7549287f33"
        );
        assert_eq!(signed(body.clone(), None), body);
    }

    fn attempt(id: &str, status: &str, created_at: &str) -> Value {
        json!({"id": id, "status": status, "createdAt": created_at, "orderReference": REFERENCE})
    }

    fn told(answer: &Value) -> StatusUpdate {
        match news(Api::ClickpesaPayment, id(), REFERENCE, answer) {
            Answer::News(update) => *update,
            other => panic!("{answer}: {other:?}"),
        }
    }

    #[test]
    fn of_several_attempts_the_paid_one_tells_else_the_newest() {
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-01T03:00:00+02:00");
        for (attempts, chosen) in [
            (
                vec![attempt("a", "SUCCESS", old), attempt("b", "FAILED", new)],
                "a",
            ),
            (
                vec![attempt("a", "FAILED", new), attempt("b", "SETTLED", old)],
                "b",
            ),
            (
                vec![attempt("a", "FAILED", old), attempt("b", "PROCESSING", new)],
                "b",
            ),
            (
                vec![attempt("a", "PROCESSING", new), attempt("b", "FAILED", old)],
                "a",
            ),
            (
                vec![attempt("a", "SUCCESS", old), attempt("b", "SUCCESS", new)],
                "b",
            ),
            (
                vec![attempt("a", "FAILED", old), attempt("b", "REVERSED", new)],
                "b",
            ),
            (
                vec![attempt("a", "FAILED", "?"), attempt("b", "PENDING", old)],
                "b",
            ),
            (
                vec![attempt("a", "FAILED", old), attempt("b", "PENDING", old)],
                "a",
            ),
        ] {
            let update = told(&Value::from(attempts.clone()));
            assert_eq!(
                update.correlation.conversation_id.as_deref(),
                Some(chosen),
                "{attempts:?}"
            );
            assert_eq!(
                update.returned,
                update.provider_status.as_deref() == Some("REVERSED")
            );
        }
    }

    #[test]
    fn the_documented_query_answer_tells_all_there_is_to_tell() {
        let answer = r#"[{"id":"txn_1","status":"SETTLED","paymentReference":"PAY-XYZ-789",
            "orderReference":"06H1AB","collectedAmount":10000.50,"collectedCurrency":"TZS",
            "message":"Payment completed successfully","updatedAt":"2023-11-07T05:31:56Z",
            "createdAt":"2023-11-07T05:31:00Z",
            "customer":{"customerName":"John Doe","customerPhoneNumber":"255712345678"}}]"#;
        let answer: Value = serde_json::from_str(answer).unwrap();
        for answer in [
            &answer,
            &answer[0],
            &json!({"data": answer}),
            &json!({"data": answer[0]}),
        ] {
            let update = told(answer);
            assert_eq!(update.class, ResultClass::Success);
            assert_eq!(update.paid, Some(Amount(1_000_050)));
            assert_eq!(update.receipt.as_deref(), Some("PAY-XYZ-789"));
            assert_eq!(update.payer, Some(Payer::Msisdn(payer())));
            assert_eq!(update.provider_status.as_deref(), Some("SETTLED"));
            assert_eq!(
                update.occurred_at,
                Some(Utc.with_ymd_and_hms(2023, 11, 7, 5, 31, 56).unwrap())
            );
            assert_eq!(update.correlation.transaction_id, Some(id()));
            assert_eq!(
                update.correlation.order_reference.as_deref(),
                Some(REFERENCE)
            );
            assert_eq!(update.unregistered, None);
        }
    }

    #[test]
    fn a_payout_is_read_as_one_even_where_it_looks_like_a_payment() {
        let answer = json!([{"id": "PAY1", "status": "AUTHORIZED", "orderReference": "06h1ab"}]);
        match news(Api::ClickpesaPayout, id(), REFERENCE, &answer) {
            Answer::News(update) => {
                assert_eq!(update.api, Api::ClickpesaPayout);
                assert_eq!(update.class, ResultClass::Pending);
                assert_eq!(
                    update.correlation.order_reference.as_deref(),
                    Some(REFERENCE)
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_payment_yet_is_not_an_answer_about_another() {
        for empty in [json!([]), json!({"data": []})] {
            let answer = news(Api::ClickpesaPayment, id(), REFERENCE, &empty);
            assert!(matches!(
                answer,
                Answer::Nothing(Refusal {
                    retryable: true,
                    ..
                })
            ));
        }
        for strange in [
            json!({}),
            json!([{}]),
            json!([7, null]),
            json!({"message": "ok"}),
            json!([{"id": "x", "status": "SUCCESS", "orderReference": "ANOTHER"}]),
            json!([{"id": "x", "orderReference": REFERENCE}]),
        ] {
            let answer = news(Api::ClickpesaPayment, id(), REFERENCE, &strange);
            assert!(
                matches!(answer, Answer::Unknown(_)),
                "{strange}: {answer:?}"
            );
        }
    }

    #[test]
    fn an_answer_to_a_payment_says_where_it_stands_and_is_passed_on() {
        for (status, class) in [
            ("PROCESSING", ResultClass::Pending),
            ("SUCCESS", ResultClass::Success),
            ("SETTLED", ResultClass::Success),
            ("FAILED", ResultClass::Failed),
            ("BRAND NEW", ResultClass::Unknown),
        ] {
            let answer = json!({"id": "LCP1", "status": status, "orderReference": REFERENCE,
                "collectedAmount": "10000", "collectedCurrency": "TZS"});
            let taken = acceptance(Api::ClickpesaPayment, id(), REFERENCE, answer.clone()).unwrap();
            assert_eq!(taken.ids.conversation_id.as_deref(), Some("LCP1"));
            assert_eq!(taken.ids.order_reference.as_deref(), Some(REFERENCE));
            assert_eq!(taken.body, Some(answer));
            let update = taken.update.unwrap();
            assert_eq!(update.class, class);
            assert_eq!(update.paid.is_some(), class == ResultClass::Success);
        }
        let bare = json!({"id": "LCP1"});
        let taken = acceptance(Api::ClickpesaPayment, id(), REFERENCE, bare).unwrap();
        assert_eq!(taken.update, None);
        for strange in [
            json!({}),
            json!([]),
            json!({"success": true}),
            json!({"status": "SUCCESS"}),
            json!({"id": "LCP1", "status": "SUCCESS", "orderReference": "ANOTHER"}),
        ] {
            let taken = acceptance(Api::ClickpesaPayment, id(), REFERENCE, strange.clone());
            assert_eq!(taken, None, "{strange}");
        }
    }

    #[test]
    fn balances_are_read_exactly_or_not_at_all() {
        let answer: Value = serde_json::from_str(
            r#"[{"currency":"TZS","balance":9007199254740993.10},{"currency":"usd","balance":"0"}]"#,
        )
        .unwrap();
        let read = balances(&answer).unwrap();
        let figures: Vec<_> = read
            .iter()
            .map(|balance| {
                (
                    balance.name.as_str(),
                    balance.available.unwrap().to_string(),
                )
            })
            .collect();
        assert_eq!(
            figures,
            [
                ("TZS", "9007199254740993.10".to_owned()),
                ("USD", "0.00".to_owned())
            ]
        );
        assert_eq!(balances(&json!([])), Some(Vec::new()));
        for strange in [
            json!({}),
            json!([{"currency": "TZS"}]),
            json!([{"currency": "TZS", "balance": "x"}]),
        ] {
            assert_eq!(balances(&strange), None, "{strange}");
        }
    }

    #[test]
    fn a_token_is_taken_as_it_comes() {
        for (answer, expected) in [
            (
                json!({"success": true, "token": "Bearer x.y"}),
                Some("Bearer x.y"),
            ),
            (json!({"success": true, "token": ""}), None),
            (json!({"success": false}), None),
            (json!([]), None),
        ] {
            let read = token(&answer);
            assert_eq!(read.as_ref().map(ExposeSecret::expose_secret), expected);
        }
    }
}
