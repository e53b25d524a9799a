//! The M-Pesa guide's routes, as its clients call them: with an API key in place of the JWT.

use reqwest::Method;
use serde_json::{Value, json};

use super::acknowledged;
use crate::support::TestStore;
use crate::support::paying::{Paying, order};

on_both_databases!(
    the_guides_two_requests_run_as_they_are_written,
    money_to_a_customer_and_back_again,
    a_reversal_takes_back_what_was_paid_and_nothing_else,
    balances_are_asked_for_and_told,
    lists_have_mpesas_rows_of_the_partner_by_every_filter,
    outcomes_are_told_in_the_guides_shape,
);

const PUSH: &str = "/api/v1/mpesa/stk-push";

async fn the_guides_two_requests_run_as_they_are_written(db: TestStore) {
    let paying = Paying::start(db).await;
    let bearer = format!("Bearer {}", paying.partner.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = r#"{
    "phoneNumber": "254708374149",
    "amount": 100,
    "accountReference": "TEST123",
    "transactionDesc": "Test Payment"
  }"#;
    let body = Some(body.as_bytes().to_vec());
    let answer = paying.app.send(Method::POST, PUSH, &headers, body).await;
    let answer = answer.expect(200);
    assert_eq!(answer["success"], true);
    let data = &answer["data"];
    for name in ["merchantRequestId", "checkoutRequestId", "customerMessage"] {
        assert!(data[name].is_string(), "{name} of {data}");
    }
    assert_eq!(data["responseCode"], "0");
    let checkout = data["checkoutRequestId"].as_str().unwrap();
    paying.simulator.until_quiet().await;
    let path = format!("/api/v1/mpesa/status/{checkout}");
    let answer = paying
        .app
        .send(Method::GET, &path, &headers[..1], None)
        .await;
    let status = &answer.expect(200)["data"];
    assert_eq!(status["id"], data["transactionId"]);
    assert_eq!(status["checkoutRequestId"], checkout);
    assert_eq!(status["status"], "SUCCESS");
    assert!(status["mpesaReceiptNumber"].is_string());
    assert!(answer.text.contains(r#""amount":100,"#), "{}", answer.text);
    assert_eq!(status["phoneNumber"], "254708374149");
    assert!(status["transactionDate"].as_str().unwrap().ends_with('Z'));

    // The detailed one, by any of its ids.
    for id in [checkout, data["transactionId"].as_str().unwrap()] {
        let path = format!("/api/v1/mpesa/status-detailed/{id}");
        let detailed = &paying.get(&path).await.expect(200)["data"];
        let message = detailed["message"].as_str().unwrap();
        let paid = "Payment of Ksh 100.00 received. Receipt ";
        assert!(message.starts_with(paid), "{message}");
        assert_eq!(detailed["action"], "Payment complete");
        assert_eq!(detailed["final"], true);
        assert_eq!(detailed["resultCode"], "0");
        assert!(detailed["timeline"].as_array().unwrap().len() >= 3);
    }
    let unknown = paying.get("/api/v1/mpesa/status/ws_CO_nobodys").await;
    unknown.refused(404, "NOT_FOUND_1001");
}

async fn money_to_a_customer_and_back_again(db: TestStore) {
    let paying = Paying::start(db).await;
    let b2c = json!({
        "phoneNumber": "0712345678", "amount": 500, "purpose": "refund", "remarks": "Deposit back",
        "occasion": "December", "client_request_id": "REFUND-1",
    });
    let answer = paying.post("/api/v1/mpesa/b2c", b2c.clone()).await;
    let data = &answer.expect(200)["data"];
    for name in [
        "transactionId",
        "conversationId",
        "originatorConversationId",
    ] {
        assert!(data[name].is_string(), "{name} of {data}");
    }
    assert_eq!(data["responseCode"], "0");
    let again = paying.post("/api/v1/mpesa/b2c", b2c.clone()).await;
    assert_eq!(again.expect(200)["data"], *data);
    let mut keyless = b2c;
    keyless.as_object_mut().unwrap().remove("client_request_id");
    let text = paying.post("/api/v1/mpesa/b2c", keyless).await;
    let text = text.refused(400, "VALIDATION_1002");
    assert!(text.contains("client_request_id"), "{text}");
    paying.simulator.until_quiet().await;

    let asked = json!({"transactionId": data["transactionId"]});
    let question = paying.post("/api/v1/mpesa/status-query", asked).await;
    let question = &question.expect(200)["data"];
    assert_eq!(question["responseCode"], "0");
    assert_eq!(question["status"], "SUCCESS");
    assert!(question["conversationId"].is_string(), "{question}");

    let id = data["conversationId"].as_str().unwrap();
    let path = format!("/api/v1/mpesa/status-detailed/{id}");
    let receipt = paying.get(&path).await.expect(200)["data"]["mpesaReceiptNumber"].clone();
    let back = json!({
        "mpesaReceiptNumber": receipt, "amount": 500, "remarks": "Sent twice",
        "client_request_id": "BACK-1",
    });
    let answer = paying.post("/api/v1/mpesa/reverse", back).await;
    assert!(answer.expect(200)["data"]["conversationId"].is_string());
    paying.simulator.until_quiet().await;
    let original = paying.get(&path).await.expect(200)["data"].clone();
    assert_eq!(original["status"], "FAILED");
    assert_eq!(original["action"], "Payment reversed");
}

async fn a_reversal_takes_back_what_was_paid_and_nothing_else(db: TestStore) {
    let paying = Paying::start(db).await;
    let failed = paying.pay(order("b2c", "FAILS", "0001")).await.expect(201);
    let paid = paying.pay(order("b2c", "PAYS", "5678")).await.expect(201);
    paying.simulator.until_quiet().await;
    let id = |made: &Value| made["transaction"]["transaction_id"].clone();
    for (named, amount, key, field) in [
        (
            json!({"transactionId": id(&failed)}),
            1200,
            "A",
            "transactionId",
        ),
        (json!({"transactionId": id(&paid)}), 1199, "B", "amount"),
        (json!({}), 1200, "C", "transactionId"),
        (
            json!({"transactionId": id(&paid), "mpesaReceiptNumber": "X"}),
            1200,
            "D",
            "transactionId",
        ),
    ] {
        let mut body = named;
        body["amount"] = json!(amount);
        body["client_request_id"] = json!(key);
        let text = paying.post("/api/v1/mpesa/reverse", body).await;
        let text = text.refused(400, "VALIDATION_1002");
        assert!(text.starts_with(field), "{text}");
    }
    let unknown = json!({"mpesaReceiptNumber": "NOBODYS", "amount": 1, "client_request_id": "E"});
    let answer = paying.post("/api/v1/mpesa/reverse", unknown).await;
    answer.refused(404, "NOT_FOUND_1001");
    assert_eq!(paying.sent().len(), 2);
}

async fn balances_are_asked_for_and_told(db: TestStore) {
    let paying = Paying::start(db).await;
    let latest = "/api/v1/mpesa/balance/latest";
    let none = paying.get(latest).await.expect(200)["data"].clone();
    assert_eq!(none, json!({"accounts": [], "checkedAt": null}));
    let asked = paying.post("/api/v1/mpesa/balance", json!({})).await;
    assert!(asked.expect(200)["data"]["conversationId"].is_string());
    paying.simulator.until_quiet().await;
    let told = paying.get(latest).await.expect(200)["data"].clone();
    let first = &told["accounts"][0];
    assert!(
        first["name"].is_string() && first["available"].is_number(),
        "{told}"
    );
    assert!(told["checkedAt"].is_string());
    let other = paying.app.partner().await;
    let path = format!("{latest}?account_id={}", paying.mpesa.id);
    let answer = paying.app.get(&other, &path).await;
    answer.refused(400, "VALIDATION_1002");
    let registered = paying.post("/api/v1/mpesa/c2b/register", json!({})).await;
    assert!(registered.expect(200)["data"]["ResponseCode"].is_string());
}

async fn lists_have_mpesas_rows_of_the_partner_by_every_filter(db: TestStore) {
    let paying = Paying::start(db).await;
    let push = |number: &str, reference: &str, lease: &str, key: &str| {
        json!({"phoneNumber": number, "amount": 100, "accountReference": reference,
            "leaseId": lease, "client_request_id": key})
    };
    for (number, reference, lease, key) in [
        ("254712345678", "RENT-1", "lease-1", "1"),
        ("254712340001", "RENT-2", "lease-1", "2"),
        ("254712340404", "RENT-1", "lease-2", "3"),
    ] {
        let answer = paying.post(PUSH, push(number, reference, lease, key)).await;
        answer.expect(200);
    }
    paying
        .pay(order("ussd_push", "4", "5678"))
        .await
        .expect(201);
    paying.simulator.until_quiet().await;
    let other = paying.app.partner().await;
    for (query, keys) in [
        ("", vec!["3", "2", "1"]),
        ("status=PENDING", vec!["3"]),
        ("status=SUCCESS", vec!["1"]),
        ("status=FAILED", vec!["2"]),
        ("leaseId=lease-1", vec!["2", "1"]),
        ("leaseId=lease-1&status=FAILED", vec!["2"]),
        ("leaseId=lease-2&status=PENDING", vec!["3"]),
        ("accountReference=RENT-1", vec!["3", "1"]),
        ("phoneNumber=0712340001", vec!["2"]),
        ("limit=1", vec!["3"]),
        ("limit=1&offset=1", vec!["2"]),
        ("offset=3", vec![]),
        ("leaseId=nobody", vec![]),
    ] {
        let path = format!("/api/v1/mpesa/transactions?{query}");
        let page = paying.get(&path).await.expect(200);
        let found: Vec<&str> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["clientRequestId"].as_str().unwrap())
            .collect();
        assert_eq!(found, keys, "{query}");
        let more = query.starts_with("limit=1");
        assert_eq!(page["pagination"]["hasMore"], more, "{query}");
        let theirs = paying.app.get(&other, &path).await.expect(200);
        assert_eq!(theirs["data"], json!([]), "{query}");
    }
    for wrong in [
        "status=DONE",
        "phoneNumber=255712345678",
        "limit=101",
        "offset=10001",
    ] {
        let path = format!("/api/v1/mpesa/transactions?{wrong}");
        let text = paying.get(&path).await.refused(400, "VALIDATION_1002");
        assert!(text.starts_with(wrong.split('=').next().unwrap()), "{text}");
    }
}

async fn outcomes_are_told_in_the_guides_shape(db: TestStore) {
    let paying = Paying::start(db).await;
    let push = |number: &str| json!({"phoneNumber": number, "amount": 100});
    let lost = paying.post(PUSH, push("254712340500")).await.expect(202)["data"].clone();
    assert_eq!(lost["checkoutRequestId"], Value::Null);
    assert_eq!(lost["responseCode"], Value::Null);
    let status = format!(
        "/api/v1/mpesa/status/{}",
        lost["transactionId"].as_str().unwrap()
    );
    paying.simulator.until_quiet().await;
    assert_eq!(
        paying.get(&status).await.expect(200)["data"]["status"],
        "SUCCESS"
    );
    let refused = paying.post(PUSH, push("254712340007")).await;
    refused.refused(502, "PROVIDER_1001");
    let wrong = json!({"phoneNumber": "0712345678", "amount": 100.5});
    let text = paying
        .post(PUSH, wrong)
        .await
        .refused(400, "VALIDATION_1002");
    assert_eq!(
        text,
        "amount is \"100.5\"; accepted is a whole number from 1 to 250000"
    );
    let long =
        json!({"phoneNumber": "0712345678", "amount": 1000, "accountReference": "Invoice-12345"});
    let text = paying
        .post(PUSH, long)
        .await
        .refused(400, "VALIDATION_1002");
    assert!(text.starts_with("accountReference"), "{text}");
    let pending = paying.post(PUSH, push("254712340404")).await.expect(200)["data"].clone();
    let path = format!(
        "/api/v1/mpesa/status-detailed/{}",
        pending["checkoutRequestId"].as_str().unwrap()
    );
    let detailed = paying.get(&path).await.expect(200)["data"].clone();
    assert_eq!(detailed["status"], "PENDING");
    assert_eq!(detailed["final"], false);
    assert_eq!(detailed["transactionDate"], Value::Null);
    assert_eq!(detailed["action"], "Keep polling");
    // An STK query answers at once, and what it says is applied: it is paid, only nobody was told.
    paying.simulator.until_quiet().await;
    let asked = json!({"transactionId": pending["transactionId"]});
    let answer = paying.post("/api/v1/mpesa/status-query", asked).await;
    assert_eq!(answer.expect(200)["data"]["status"], "SUCCESS");
    // A callback that comes after all changes nothing.
    let late = super::stk_callback(
        pending["checkoutRequestId"].as_str().unwrap(),
        1032,
        "100",
        "LATE",
    );
    acknowledged(&paying.app, &paying.mpesa, "stk", late).await;
    let detailed = paying.get(&path).await.expect(200)["data"].clone();
    assert_eq!(detailed["status"], "SUCCESS");
}
