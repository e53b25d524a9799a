//! Both ClickPesa documents on our side: the guide's shapes and the API's own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ussd_status::domain::clock::Clock;
use ussd_status::simulator::receiver::Receiver;

use crate::support::TestStore;
use crate::support::paying::Paying;

on_both_databases!(
    the_guides_payment_runs_from_preview_to_query,
    a_callback_url_is_told_of_its_payment_only_and_signed,
    the_apis_own_payment_runs_in_its_own_shape,
    the_apis_own_payout_runs_in_its_own_shape,
    refusals_carry_clickpesas_words,
);

const INITIATE: &str = "/api/v1/clickpesa/initiate-ussd-push";
const NATIVE: &str = "/api/v1/clickpesa/payments/initiate-ussd-push-request";
const PAYOUT: &str = "/api/v1/clickpesa/payouts/create-mobile-money-payout";

fn guides() -> Value {
    json!({"reference": "ORD-2025-001", "amount": 10000, "currency": "TZS",
        "msisdn": "255714123456", "provider": "AIRTEL"})
}

async fn the_guides_payment_runs_from_preview_to_query(db: TestStore) {
    let paying = Paying::start(db).await;
    let preview = paying
        .post("/api/v1/clickpesa/preview-ussd-push", guides())
        .await
        .expect(200);
    assert_eq!(preview["message"], "Payment preview successful");
    for (name, value) in [("amount", json!(10000)), ("provider", json!("AIRTEL"))] {
        assert_eq!(preview["data"][name], value);
    }
    assert!(paying.sent().is_empty());
    let made = paying.post(INITIATE, guides()).await.expect(200);
    assert_eq!(made["message"], "USSD push initiated");
    assert_eq!(made["data"]["status"], "PENDING");
    assert_eq!(made["data"]["reference"], "ORD-2025-001");
    let reference = made["data"]["order_reference"].as_str().unwrap();
    assert!(reference.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    paying.simulator.until_quiet().await;
    for id in [made["data"]["transaction_id"].as_str().unwrap(), reference] {
        let path = format!("/api/v1/clickpesa/query-payment-status?transaction_id={id}");
        let answer = paying.get(&path).await;
        let told = answer.expect(200);
        assert_eq!(told["success"], true);
        let data = &told["data"];
        assert_eq!(data["transaction_id"], made["data"]["transaction_id"]);
        assert_eq!(data["status"], "SUCCESS");
        assert!(
            answer.text.contains(r#""amount":10000,"#),
            "{}",
            answer.text
        );
        assert_eq!(data["currency"], "TZS");
        assert_eq!(data["msisdn"], "255714123456");
        assert_eq!(data["provider"], "AIRTEL");
    }
    let other = paying.app.partner().await;
    let path = format!("/api/v1/clickpesa/query-payment-status?transaction_id={reference}");
    let answer = paying.app.get(&other, &path).await;
    answer.refused(404, "NOT_FOUND_1001");
    assert!(answer.json()["message"].is_string());
}

async fn a_callback_url_is_told_of_its_payment_only_and_signed(db: TestStore) {
    let paying = Paying::start(db).await;
    let clock = paying.app.db.clock.clone();
    let now = Arc::new(move || clock.now());
    let (receiver, mut arrivals) = Receiver::start(([127, 0, 0, 1], 0).into(), now)
        .await
        .unwrap();
    let mut body = guides();
    body["callback_url"] = json!(receiver.url("own"));
    body["client_request_id"] = json!("KEY");
    let made = paying.post(INITIATE, body.clone()).await.expect(200);
    let secret = made["data"]["webhook_secret"].as_str().unwrap();
    assert!(receiver.set_secrets("own", &[secret]));
    // Shown once, and made once.
    let again = paying.post(INITIATE, body.clone()).await.expect(200);
    assert_eq!(again["data"].get("webhook_secret"), None);
    let own = "FROM endpoints WHERE transaction_id IS NOT NULL";
    assert_eq!(paying.app.db.count(own).await, 1);
    // Another payment is none of its business.
    let mut other = guides();
    other["reference"] = json!("another / one");
    paying.post(INITIATE, other).await.expect(200);
    // The first event may be there before its secret is, and comes again after a pause.
    let mut statuses: Vec<Value> = Vec::new();
    for _ in 0..60 {
        let arrived = tokio::time::timeout(Duration::from_millis(700), arrivals.recv()).await;
        let Ok(arrived) = arrived else {
            paying.app.db.advance(chrono::Duration::seconds(6));
            continue;
        };
        let event: Value = serde_json::from_str(&arrived.unwrap().body).unwrap();
        assert_eq!(event["transaction_id"], made["data"]["transaction_id"]);
        if statuses.last() != Some(&event["status"]) {
            statuses.push(event["status"].clone());
        }
        if statuses.len() == 3 {
            break;
        }
    }
    assert_eq!(statuses, ["queued", "accepted", "success"]);
    let mut wrong = guides();
    wrong["callback_url"] = json!("ftp://example.com/x");
    let text = paying.post(INITIATE, wrong).await;
    let text = text.refused(400, "VALIDATION_1002");
    assert!(text.starts_with("callback_url"), "{text}");
}

async fn the_apis_own_payment_runs_in_its_own_shape(db: TestStore) {
    let paying = Paying::start(db).await;
    let body = json!({"amount": "10000", "currency": "TZS", "orderReference": "06H1AB",
        "phoneNumber": "255712345678"});
    let preview = paying
        .post(
            "/api/v1/clickpesa/payments/preview-ussd-push-request",
            body.clone(),
        )
        .await
        .expect(200);
    assert!(preview["activeMethods"].is_array(), "{preview}");
    let made = paying.post(NATIVE, body.clone()).await.expect(200);
    assert_eq!(made["orderReference"], "06H1AB");
    assert_eq!(made["status"], "PROCESSING");
    assert!(
        made["id"].is_string() && made["channel"].is_string(),
        "{made}"
    );
    assert_eq!(made["collectedCurrency"], "TZS");
    paying.simulator.until_quiet().await;
    // The same again is the same; another under the same reference is a conflict.
    let again = paying.post(NATIVE, body.clone()).await.expect(200);
    assert_eq!(again["id"], made["id"]);
    let mut other = body;
    other["amount"] = json!("10001");
    let answer = paying.post(NATIVE, other).await;
    answer.refused(409, "CONFLICT_1001");
    assert_eq!(
        answer.json()["message"],
        "Order reference 06H1AB already used: Create a different reference"
    );
    let listed = paying
        .get("/api/v1/clickpesa/payments/06H1AB")
        .await
        .expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["status"], "SUCCESS");
    assert_eq!(listed[0]["collectedAmount"], "10000");
    let stranger = paying.app.partner().await;
    let answer = paying
        .app
        .get(&stranger, "/api/v1/clickpesa/payments/06H1AB")
        .await;
    answer.refused(404, "NOT_FOUND_1001");
    assert_eq!(paying.sent().len(), 1);
}

async fn the_apis_own_payout_runs_in_its_own_shape(db: TestStore) {
    let paying = Paying::start(db).await;
    let body = json!({"amount": 5000, "currency": "TZS", "orderReference": "PO1",
        "phoneNumber": "255712345678"});
    let preview = paying
        .post(
            "/api/v1/clickpesa/payouts/preview-mobile-money-payout",
            body.clone(),
        )
        .await
        .expect(200);
    assert!(preview["fee"].is_number(), "{preview}");
    let made = paying.post(PAYOUT, body.clone()).await.expect(200);
    assert_eq!(made["orderReference"], "PO1");
    paying.simulator.until_quiet().await;
    let listed = paying
        .get("/api/v1/clickpesa/payouts/PO1")
        .await
        .expect(200);
    assert_eq!(listed[0]["status"], "SUCCESS", "{listed}");
    paying
        .get("/api/v1/clickpesa/payments/PO1")
        .await
        .refused(404, "NOT_FOUND_1001");
    let balance = paying
        .get("/api/v1/clickpesa/account/balance")
        .await
        .expect(200);
    assert!(balance[0]["balance"].is_number(), "{balance}");
    assert_eq!(paying.sent().len(), 1);
}

async fn refusals_carry_clickpesas_words(db: TestStore) {
    let paying = Paying::start(db).await;
    let order = |reference: &str, number: &str| {
        json!({"amount": "10000", "currency": "TZS", "orderReference": reference,
            "phoneNumber": number})
    };
    for reference in ["ORD-2025-001", "ABCDEFGHIJKLMNOPQRSTU", " "] {
        let answer = paying.post(NATIVE, order(reference, "255712345678")).await;
        answer.refused(400, "VALIDATION_1002");
        assert_eq!(
            answer.json()["message"],
            "Invalid Order Reference, should only contain alphanumeric characters and cannot be blank"
        );
    }
    let answer = paying.post(NATIVE, order("A1", "254712345678")).await;
    answer.refused(400, "VALIDATION_1002");
    assert_eq!(
        answer.json()["message"],
        "Invalid / unsupported phone number"
    );
    let answer = paying.post(NATIVE, order("A2", "255712340007")).await;
    answer.refused(502, "PROVIDER_1001");
    assert_eq!(
        answer.json()["message"],
        answer.json()["details"][0]["message"]
    );
    // Nobody knows: the ids that ClickPesa would have given are null.
    let lost = paying
        .post(NATIVE, order("A3", "255712340500"))
        .await
        .expect(202);
    assert_eq!(lost["id"], Value::Null);
    assert_eq!(lost["orderReference"], "A3");
    // Twenty characters are not too many.
    let longest = "ABCDEFGHIJKLMNOPQRST";
    paying
        .post(NATIVE, order(longest, "255712345678"))
        .await
        .expect(200);
}
