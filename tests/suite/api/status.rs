//! The status API document, to the letter.

use serde_json::{Value, json};

use crate::support::TestStore;
use crate::support::app::TestApp;

on_both_databases!(an_answer_has_every_documented_field_in_its_type);

async fn an_answer_has_every_documented_field_in_its_type(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    let registered = app
        .register(
            &partner,
            json!({
                "client_request_id": "KULMNA-2025-01-10-000123",
                "conversation_id": "AG_20240706_2010364430d9bbdaf872",
                "tenant_id": "KULMNA_TENANT",
                "customer_id": "CUST456",
            }),
        )
        .await;
    assert_eq!(registered["status"], "accepted");
    let body = std::fs::read("tests/fixtures/mpesa-b2c-success-1.json").unwrap();
    let answer = app.callback(&account, "b2c-result", body).await;
    assert_eq!(answer.text, r#"{"ResultCode":0,"ResultDesc":"Accepted"}"#);

    let answer = app
        .get(
            &partner,
            "/api/ussd/transaction-status?conversation_id=AG_20240706_2010364430d9bbdaf872",
        )
        .await;
    let body = answer.expect(200);
    let row = &body["transactions"][0];
    assert_eq!(row["status"], "success", "{}", answer.text);
    assert_eq!(row["transaction_receipt"], "SG632NMUAB");
    assert_eq!(row["result_code"], "0");
    assert!(
        answer.text.contains(r#""amount":1200.00"#),
        "{}",
        answer.text
    );
    assert_eq!(body["statistics"]["success_rate"], "100.00");
    assert_eq!(body["pagination"]["total"], 1);
    assert_eq!(body["message"], "Transaction status retrieved successfully");
    assert_eq!(body["query"]["client_request_id"], Value::Null);
}
