//! What is written to ClickPesa and what is read from it.

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

fn said(body: &Value) -> Said {
    Said {
        status: 200,
        body: body.clone(),
    }
}

fn told(answer: &Value) -> StatusUpdate {
    match news(Api::ClickpesaPayment, id(), REFERENCE, &said(answer)) {
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
    match news(Api::ClickpesaPayout, id(), REFERENCE, &said(&answer)) {
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
        let answer = news(Api::ClickpesaPayment, id(), REFERENCE, &said(&empty));
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
        let answer = news(Api::ClickpesaPayment, id(), REFERENCE, &said(&strange));
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
