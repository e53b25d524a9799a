use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

pub(super) async fn token(simulator: &RunningSimulator) -> String {
    let answer = ask_token(simulator, "client_credentials", Some(("key", "secret"))).await;
    assert_eq!(answer.1["expires_in"], "3599");
    format!("Bearer {}", answer.1["access_token"].as_str().unwrap())
}

async fn ask_token(
    simulator: &RunningSimulator,
    grant: &str,
    basic: Option<(&str, &str)>,
) -> (u16, Value) {
    let url = format!("{}/oauth/v1/generate?grant_type={grant}", simulator.url());
    let mut request = client().get(url);
    if let Some((key, secret)) = basic {
        request = request.basic_auth(key, Some(secret));
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

pub(super) fn stk(msisdn: &str, sink: &Sink) -> Value {
    json!({
        "BusinessShortCode": 174379,
        "Password": STANDARD.encode("174379passkey20260305003005"),
        "Timestamp": "20260305003005",
        "TransactionType": "CustomerPayBillOnline",
        "Amount": "120",
        "PartyA": msisdn,
        "PartyB": "174379",
        "PhoneNumber": msisdn,
        "CallBackURL": format!("{}/stk/abc", sink.url),
        "AccountReference": "INV1",
        "TransactionDesc": "rent",
    })
}

pub(super) fn b2c(id: &str, msisdn: &str, sink: &Sink) -> Value {
    json!({
        "OriginatorConversationID": id,
        "InitiatorName": "testapi",
        "SecurityCredential": "c2VjcmV0",
        "CommandID": "BusinessPayment",
        "Amount": 120,
        "PartyA": "600997",
        "PartyB": msisdn,
        "Remarks": "wages",
        "QueueTimeOutURL": format!("{}/timeout", sink.url),
        "ResultURL": format!("{}/result", sink.url),
        "Occassion": "May",
    })
}

pub(super) async fn push(simulator: &RunningSimulator, token: &str, body: &Value) -> (u16, Value) {
    let url = simulator.url() + "/mpesa/stkpush/v1/processrequest";
    post(url, token, body).await
}

pub(super) async fn pay(simulator: &RunningSimulator, token: &str, body: &Value) -> (u16, Value) {
    let url = simulator.url() + "/mpesa/b2c/v3/paymentrequest";
    post(url, token, body).await
}

pub(super) async fn stk_state(
    simulator: &RunningSimulator,
    token: &str,
    id: &Value,
) -> (u16, Value) {
    let body = json!({
        "BusinessShortCode": "174379",
        "Password": STANDARD.encode("174379passkey20260305003005"),
        "Timestamp": "20260305003005",
        "CheckoutRequestID": id,
    });
    let url = simulator.url() + "/mpesa/stkpushquery/v1/query";
    post(url, token, &body).await
}

pub(super) async fn payment_status(
    simulator: &RunningSimulator,
    token: &str,
    key: &str,
    id: &Value,
    sink: &mut Sink,
) -> Value {
    let mut body = json!({
        "Initiator": "testapi",
        "SecurityCredential": "c2VjcmV0",
        "CommandID": "TransactionStatusQuery",
        "PartyA": "600997",
        "IdentifierType": "4",
        "Remarks": "asking",
        "QueueTimeOutURL": format!("{}/timeout", sink.url),
        "ResultURL": format!("{}/status", sink.url),
    });
    body[key] = id.clone();
    let url = simulator.url() + "/mpesa/transactionstatus/v1/query";
    let (status, _) = post(url, token, &body).await;
    assert_eq!(status, 200);
    sink.next().await.json()["Result"].clone()
}

pub(super) fn parameter(result: &Value, key: &str) -> Value {
    let list = result["ResultParameters"]["ResultParameter"].as_array();
    list.into_iter()
        .flatten()
        .find(|item| item["Key"] == key)
        .map_or(Value::Null, |item| item["Value"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_another_is_asked_for() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let first = token(&simulator).await;
    assert_eq!(first.len(), "Bearer ".len() + 28);
    let second = token(&simulator).await;
    let body = stk("254712345678", &sink);
    let (status, answer) = push(&simulator, &first, &body).await;
    assert_eq!((status, &answer["errorCode"]), (404, &json!("404.001.03")));
    let (status, answer) = pay(&simulator, &first, &b2c("A1", "254712345678", &sink)).await;
    assert_eq!((status, &answer["errorCode"]), (401, &json!("401.002.01")));
    let (status, answer) = push(&simulator, "", &body).await;
    assert_eq!((status, &answer["errorCode"]), (404, &json!("404.001.04")));
    assert_eq!(push(&simulator, &second, &body).await.0, 200);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_by_the_clock() {
    let base = standing_clock()();
    let hours = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let reading = Arc::clone(&hours);
    let now: Now = Arc::new(move || {
        base + chrono::TimeDelta::hours(reading.load(std::sync::atomic::Ordering::SeqCst))
    });
    let simulator = Simulator::start(SimulatorSettings { now, ..quick() })
        .await
        .unwrap();
    let sink = Sink::open().await;
    let token = token(&simulator).await;
    let body = stk("254712345678", &sink);
    assert_eq!(push(&simulator, &token, &body).await.0, 200);
    hours.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(push(&simulator, &token, &body).await.0, 404);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_request_is_refused_as_documented() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let (status, answer) = ask_token(&simulator, "client_credentials", None).await;
    assert_eq!((status, &answer["errorCode"]), (400, &json!("400.008.01")));
    let (status, answer) = ask_token(&simulator, "password", Some(("key", "secret"))).await;
    assert_eq!((status, &answer["errorCode"]), (400, &json!("400.008.02")));
    let (status, answer) =
        ask_token(&simulator, "client_credentials", Some(("key", "wrong"))).await;
    assert_eq!((status, answer), (400, Value::Null));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_stk_push_is_accepted_and_called_back_in_daraja_s_shape() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let (status, accepted) = push(&simulator, &token, &stk("254712345678", &sink)).await;
    assert_eq!(status, 200);
    assert_eq!(accepted["ResponseCode"], "0");
    let id = accepted["CheckoutRequestID"].as_str().unwrap();
    assert!(id.starts_with("ws_CO_05032026003005"), "{id}");
    assert!(id.ends_with("712345678"), "{id}");

    let arrival = sink.next().await;
    assert_eq!(arrival.path, "/stk/abc");
    assert_eq!(arrival.content_type, "application/json;charset=UTF-8");
    let receipt = arrival
        .body
        .split("\"MpesaReceiptNumber\",\"Value\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    assert_eq!(receipt.len(), 10);
    assert!(receipt.starts_with("UC5"), "{receipt}");
    let merchant = accepted["MerchantRequestID"].as_str().unwrap();
    assert_eq!(
        arrival.body,
        format!(
            "{{\"Body\":{{\"stkCallback\":{{\"MerchantRequestID\":\"{merchant}\",\
             \"CheckoutRequestID\":\"{id}\",\"ResultCode\":0,\
             \"ResultDesc\":\"The service request is processed successfully.\",\
             \"CallbackMetadata\":{{\"Item\":[{{\"Name\":\"Amount\",\"Value\":120.00}},\
             {{\"Name\":\"MpesaReceiptNumber\",\"Value\":\"{receipt}\"}},\
             {{\"Name\":\"TransactionDate\",\"Value\":20260305003005}},\
             {{\"Name\":\"PhoneNumber\",\"Value\":254712345678}}]}}}}}}}}"
        )
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_is_named() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    for (field, value) in [
        ("BusinessShortCode", json!("12")),
        ("Timestamp", json!("20261305003005")),
        ("TransactionType", json!("Pay")),
        ("Amount", json!("1.50")),
        ("Amount", json!(0)),
        ("Amount", json!(250_001)),
        ("PartyA", json!("0712345678")),
        ("PhoneNumber", json!("255712345678")),
        ("CallBackURL", json!("ftp://example.com")),
        ("AccountReference", json!("THIRTEEN CHAR")),
        ("TransactionDesc", json!("fourteen chars")),
    ] {
        let mut body = stk("254712345678", &sink);
        body[field] = value;
        let (status, answer) = push(&simulator, &token, &body).await;
        assert_eq!((status, &answer["errorCode"]), (400, &json!("400.002.02")));
        let message = format!("Bad Request - Invalid {field}");
        assert_eq!(answer["errorMessage"], message.as_str());
    }
    let mut body = stk("254712345678", &sink);
    body["Password"] = json!(STANDARD.encode("174379passkey20200101000000"));
    let (status, answer) = push(&simulator, &token, &body).await;
    assert_eq!(
        (status, &answer["errorCode"]),
        (500, &json!("500.001.1001"))
    );
    let (status, answer) = push(&simulator, &token, &json!("text")).await;
    assert_eq!((status, &answer["errorCode"]), (400, &json!("400.002.05")));
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 0);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_s_result_has_daraja_s_shape() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let (_, accepted) = pay(&simulator, &token, &b2c("REF1", "254712340005", &sink)).await;
    assert_eq!(accepted["OriginatorConversationID"], "REF1");
    let conversation = accepted["ConversationID"].as_str().unwrap();
    assert!(conversation.starts_with("AG_20260305_2010"));
    let result = sink.next().await.json()["Result"].clone();
    assert_eq!(result["ConversationID"], conversation);
    assert_eq!(result["OriginatorConversationID"], "REF1");
    assert_eq!(result["ResultType"], 0);
    assert_eq!(parameter(&result, "TransactionAmount"), 119);
    assert_eq!(
        parameter(&result, "TransactionReceipt"),
        result["TransactionID"]
    );
    assert_eq!(
        parameter(&result, "TransactionCompletedDateTime"),
        "05.03.2026 00:30:05"
    );
    assert_eq!(
        parameter(&result, "B2CUtilityAccountAvailableFunds").to_string(),
        "8959150.60"
    );
    assert_eq!(
        result["ReferenceData"]["ReferenceItem"]["Key"],
        "QueueTimeoutURL"
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_asked_for_twice_is_paid_once() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let body = b2c("REF1", "254712345678", &sink);
    assert_eq!(pay(&simulator, &token, &body).await.0, 200);
    let (status, answer) = pay(&simulator, &token, &body).await;
    assert_eq!(
        (status, &answer["errorCode"]),
        (500, &json!("500.002.1001"))
    );
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 1);

    // The first version knows no id of the caller's, and pays every time.
    for _ in 0..2 {
        let url = simulator.url() + "/mpesa/b2c/v1/paymentrequest";
        let (status, answer) = post(url, &token, &body).await;
        assert_eq!(status, 200);
        assert_ne!(answer["OriginatorConversationID"], "REF1");
    }
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 2);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_callback_is_there_before_the_answer() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    push(&simulator, &token, &stk("254712340004", &sink)).await;
    assert_eq!(sink.rest(), 1);
    simulator.stop().await;
}

/// Answers and callbacks of a few payments, one after the other.
async fn run(seed: u64) -> Vec<String> {
    let simulator = Simulator::start(SimulatorSettings { seed, ..quick() })
        .await
        .unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let mut told = vec![token.clone()];
    for msisdn in ["254712345678", "254712340001", "254712340002"] {
        told.push(
            push(&simulator, &token, &stk(msisdn, &sink))
                .await
                .1
                .to_string(),
        );
        simulator.until_quiet().await;
        while let Ok(arrival) = sink.arrivals.try_recv() {
            told.push(arrival.body);
        }
    }
    simulator.stop().await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_and_clock_repeat_a_run() {
    let first = run(7).await;
    assert_eq!(first.len(), 8);
    assert_eq!(run(7).await, first);
    assert_ne!(run(8).await, first);
}
