use super::*;
use crate::simulator::clickpesa::checksum;

pub(super) async fn token(simulator: &RunningSimulator) -> String {
    let answer = client()
        .post(simulator.url() + "/third-parties/generate-token")
        .header("client-id", "IDAPP1")
        .header("api-key", "SKabc")
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["success"], true);
    answer["token"].as_str().unwrap().to_owned()
}

pub(super) fn order(reference: &str, number: &str) -> Value {
    json!({
        "amount": "10000",
        "currency": "TZS",
        "orderReference": reference,
        "phoneNumber": number,
    })
}

pub(super) async fn initiate(
    simulator: &RunningSimulator,
    token: &str,
    body: &Value,
) -> (u16, Value) {
    let url = simulator.url() + "/third-parties/payments/initiate-ussd-push-request";
    post(url, token, body).await
}

pub(super) async fn query(simulator: &RunningSimulator, token: &str, path: &str) -> (u16, Value) {
    let answer = client()
        .get(format!("{}/third-parties/{path}", simulator.url()))
        .header("authorization", token)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A simulator whose application has a webhook.
pub(super) async fn started(checksum_key: Option<&str>) -> (RunningSimulator, Sink) {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    simulator.set_clickpesa_application(
        "IDAPP1",
        Application {
            webhook_url: format!("{}/webhook", sink.url),
            checksum_key: checksum_key.map(str::to_owned),
        },
    );
    (simulator, sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_processed_and_told_by_webhook() {
    let (simulator, mut sink) = started(None).await;
    let token = token(&simulator).await;
    assert!(token.starts_with("Bearer ey"));
    let (status, accepted) = initiate(&simulator, &token, &order("ORD1", "255712345678")).await;
    assert_eq!(status, 200);
    assert_eq!(accepted["status"], "PROCESSING");
    assert_eq!(accepted["collectedAmount"], "10000");
    assert_eq!(accepted["channel"], "TIGO-PESA");
    assert_eq!(accepted["clientId"], "IDAPP1");
    let webhook = sink.next().await.json();
    assert_eq!(webhook["event"], "PAYMENT RECEIVED");
    assert_eq!(webhook["data"]["id"], accepted["id"]);
    assert_eq!(webhook["data"]["status"], "SUCCESS");
    assert_eq!(webhook["data"]["orderReference"], "ORD1");
    assert_eq!(webhook["data"]["collectedAmount"], "10000");
    assert_eq!(
        webhook["data"]["customer"]["customerPhoneNumber"],
        "255712345678"
    );
    assert_eq!(webhook.get("checksum"), None);
    let (_, list) = query(&simulator, &token, "payments/ORD1").await;
    assert_eq!(list[0]["status"], "SUCCESS");
    assert_eq!(list[0]["collectedAmount"], 10000);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_a_checksum_key_signs_both_ways() {
    let (simulator, mut sink) = started(Some("CHKkey")).await;
    let token = token(&simulator).await;
    let mut body = order("ORD1", "255712345678");
    let (status, answer) = initiate(&simulator, &token, &body).await;
    assert_eq!(
        (status, answer),
        (400, json!({"message": "Invalid checksum"}))
    );
    let sum = checksum(body.as_object().unwrap(), "CHKkey");
    body["checksum"] = json!(sum);
    assert_eq!(initiate(&simulator, &token, &body).await.0, 200);
    let webhook = sink.next().await.json();
    assert_eq!(webhook["checksumMethod"], "canonical");
    assert_eq!(
        webhook["checksum"],
        checksum(webhook.as_object().unwrap(), "CHKkey").as_str()
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_reachable_over_http_and_a_new_checksum_key_ends_tokens() {
    let (simulator, mut sink) = started(None).await;
    let before = token(&simulator).await;
    let url = simulator.url() + "/simulator/clickpesa/webhook";
    let setting = json!({
        "client_id": "IDAPP1",
        "url": format!("{}/elsewhere", sink.url),
        "checksum_key": "CHKkey",
    });
    assert_eq!(post(url.clone(), "", &setting).await.0, 200);
    assert_eq!(post(url, "", &json!({"client_id": "IDAPP1"})).await.0, 400);
    assert_eq!(query(&simulator, &before, "payments/X").await.0, 401);
    let after = token(&simulator).await;
    let mut body = order("ORD1", "255712345678");
    body["checksum"] = json!(checksum(body.as_object().unwrap(), "CHKkey"));
    initiate(&simulator, &after, &body).await;
    assert_eq!(sink.next().await.path, "/elsewhere");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said_in_a_message() {
    let (simulator, mut sink) = started(None).await;
    let token = token(&simulator).await;
    for (field, value, message) in [
        (
            "phoneNumber",
            json!("254712345678"),
            "Invalid / unsupported",
        ),
        (
            "phoneNumber",
            json!("+255712345678"),
            "Invalid / unsupported",
        ),
        ("orderReference", json!("ORD-1"), "Invalid Order Reference"),
        ("orderReference", json!(""), "Invalid Order Reference"),
        ("amount", json!(10000), "amount must be a string"),
        ("amount", json!("-1"), "amount must be a string"),
        ("amount", json!("+1"), "amount must be a string"),
        ("amount", json!("0"), "amount must be a string"),
        ("currency", json!("KES"), "currency must be TZS"),
    ] {
        let mut body = order("ORD1", "255712345678");
        body[field] = value;
        let (status, answer) = initiate(&simulator, &token, &body).await;
        assert_eq!(status, 400);
        let said = answer["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
    }
    let body = order("ORD1", "255712345678");
    let (status, answer) = initiate(&simulator, "Bearer eyold", &body).await;
    assert_eq!((status, answer), (401, json!({"message": "Unauthorized"})));
    let (status, answer) = query(&simulator, &token, "payments/ORD1").await;
    assert_eq!(status, 404);
    assert_eq!(answer["message"], "Invalid or missing payment: ORD1");
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 0);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_good_for_one_payment() {
    let (simulator, mut sink) = started(None).await;
    let token = token(&simulator).await;
    let body = order("ORD1", "255712345678");
    let url = simulator.url() + "/third-parties/payments/preview-ussd-push-request";
    let (status, preview) = post(url.clone(), &token, &body).await;
    assert_eq!(status, 200);
    assert_eq!(preview["activeMethods"][0]["status"], "AVAILABLE");
    assert_eq!(initiate(&simulator, &token, &body).await.0, 200);
    let used = json!({
        "message": "Order reference ORD1 already used: Create a different reference",
    });
    assert_eq!(
        initiate(&simulator, &token, &body).await,
        (409, used.clone())
    );
    assert_eq!(post(url, &token, &body).await, (409, used));
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 1);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_of_a_push_behaves_as_the_table_says() {
    for ending in ENDINGS {
        let (status, told, last): (u16, &[&str], Option<&str>) = match ending.code {
            "0002" => (200, &["SUCCESS", "SUCCESS"], Some("SUCCESS")),
            "0003" | "0004" | "0005" => (200, &["SUCCESS"], Some("SUCCESS")),
            "0006" => (200, &["UNDER REVIEW"], Some("UNDER REVIEW")),
            "0007" => (400, &[], None),
            "0008" => (200, &["SUCCESS", "SETTLED"], Some("SETTLED")),
            "0009" => (200, &["SUCCESS", "REVERSED"], Some("REVERSED")),
            "0404" => (200, &[], Some("SUCCESS")),
            "0500" => (504, &["SUCCESS"], Some("SUCCESS")),
            "0503" => (429, &[], None),
            _ => (200, &["FAILED"], Some("FAILED")),
        };
        let (simulator, mut sink) = started(None).await;
        let token = token(&simulator).await;
        let number = format!("25571234{}", ending.code);
        let answer = initiate(&simulator, &token, &order("ORD1", &number)).await;
        if ending.code == "0004" {
            assert_eq!(sink.arrivals.len(), 1, "it should be there already");
        }
        simulator.until_quiet().await;
        let mut statuses = Vec::new();
        while let Ok(arrival) = sink.arrivals.try_recv() {
            let data = arrival.json()["data"].clone();
            if data["status"] == "SUCCESS" {
                let collected = if ending.code == "0005" {
                    "9999"
                } else {
                    "10000"
                };
                assert_eq!(data["collectedAmount"], collected);
            }
            if data["status"] == "FAILED" {
                let message = data["message"].as_str().unwrap();
                assert!(ending.clickpesa.ends_with(message), "{message}");
            }
            statuses.push(data["status"].as_str().unwrap().to_owned());
        }
        let (_, list) = query(&simulator, &token, "payments/ORD1").await;
        let found = list
            .get(0)
            .map_or(Value::Null, |first| first["status"].clone());
        assert_eq!(answer.0, status, "{}", ending.code);
        assert_eq!(statuses, told, "{}", ending.code);
        assert_eq!(found, json!(last), "{}", ending.code);
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_authorized_then_told() {
    let (simulator, mut sink) = started(None).await;
    let token = token(&simulator).await;
    let url = simulator.url() + "/third-parties/payouts/create-mobile-money-payout";
    for (reference, ending, told) in [
        ("OUT1", "5678", "SUCCESS"),
        ("OUT2", "0001", "REFUNDED"),
        ("OUT3", "0009", "SUCCESS"),
    ] {
        let mut body = order(reference, &format!("25571234{ending}"));
        body["amount"] = json!(1000);
        let (status, accepted) = post(url.clone(), &token, &body).await;
        assert_eq!(status, 200);
        assert_eq!(accepted["status"], "AUTHORIZED");
        assert_eq!(accepted["amount"], "1047.00");
        let webhook = sink.next().await.json();
        assert_eq!(webhook["data"]["status"], told);
        assert_eq!(webhook["data"]["orderReference"], reference);
        assert_eq!(post(url.clone(), &token, &body).await.0, 409);
    }
    let reversed = sink.next().await.json();
    assert_eq!(reversed["event"], "PAYOUT REVERSED");
    assert_eq!(reversed["data"]["reverse"]["reversedWithFee"], true);
    let (_, list) = query(&simulator, &token, "payouts/OUT3").await;
    assert_eq!(list[0]["status"], "REVERSED");
    let (_, balances) = query(&simulator, &token, "account/balance").await;
    assert_eq!(balances[0]["currency"], "TZS");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_payments_are_listed_filtered_and_paged() {
    let (simulator, _sink) = started(None).await;
    let token = token(&simulator).await;
    for (reference, ending) in [("ORD1", "5678"), ("ORD2", "0001"), ("ORD3", "5678")] {
        let body = order(reference, &format!("25571234{ending}"));
        initiate(&simulator, &token, &body).await;
    }
    simulator.until_quiet().await;
    let references = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap();
        let named = data.iter().map(|one| one["orderReference"].as_str());
        named.map(|name| name.unwrap().to_owned()).collect()
    };
    for (filter, expected, total) in [
        ("", &["ORD3", "ORD2", "ORD1"][..], 3),
        ("?orderBy=ASC&skip=1&limit=1", &["ORD2"], 3),
        ("?status=FAILED", &["ORD2"], 1),
        ("?orderReference=ORD3", &["ORD3"], 1),
        ("?startDate=2026-03-05", &[], 0),
        (
            "?startDate=2026-03-04&endDate=04-03-2026&limit=1",
            &["ORD3"],
            3,
        ),
    ] {
        let path = format!("payments/all{filter}");
        let (_, page) = query(&simulator, &token, &path).await;
        assert_eq!(references(&page), expected, "{filter}");
        assert_eq!(page["totalCount"], total, "{filter}");
    }
    let (status, _) = query(&simulator, &token, "payments/all?startDate=today").await;
    assert_eq!(status, 400);
    let (_, page) = query(&simulator, &token, "payouts/all").await;
    assert_eq!(page, json!({"data": [], "totalCount": 0}));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_come_in_the_edition_that_was_chosen() {
    let (simulator, mut sink) = started(None).await;
    let token = token(&simulator).await;
    let setting = json!({
        "client_id": "IDAPP1",
        "url": format!("{}/webhook", sink.url),
        "edition": "2025-03",
    });
    let url = simulator.url() + "/simulator/clickpesa/webhook";
    assert_eq!(post(url, "", &setting).await.0, 200);
    initiate(&simulator, &token, &order("ORD1", "255712345678")).await;
    let webhook = sink.next().await.json();
    assert_eq!(webhook["data"]["amount"], "10000");
    assert_eq!(webhook["data"]["customer"]["phone"], "255712345678");
    initiate(&simulator, &token, &order("ORD2", "255712340001")).await;
    let webhook = sink.next().await.json();
    assert_eq!(webhook["eventType"], "PAYMENT FAILED");
    assert_eq!(webhook.get("event"), None);
    simulator.stop().await;
}
