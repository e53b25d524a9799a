use super::daraja::{parameter, payment_status, token};
use super::*;

fn urls(sink: &Sink) -> Value {
    json!({
        "ShortCode": "600984",
        "ResponseType": "Completed",
        "ConfirmationURL": format!("{}/c2b-confirmation", sink.url),
        "ValidationURL": format!("{}/c2b-validation", sink.url),
    })
}

fn payment(msisdn: &str) -> Value {
    json!({
        "ShortCode": "600984",
        "CommandID": "CustomerPayBillOnline",
        "Amount": 25,
        "Msisdn": msisdn,
        "BillRefNumber": "INV 7",
    })
}

async fn call(simulator: &RunningSimulator, token: &str, path: &str, body: &Value) -> (u16, Value) {
    post(format!("{}/mpesa/c2b/{path}", simulator.url()), token, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_registered_once() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let token = token(&simulator).await;
    for (field, value) in [
        ("ResponseType", json!("completed")),
        ("ShortCode", json!("x")),
        ("ConfirmationURL", json!("https://example.com/mpesa")),
        ("ValidationURL", json!("")),
    ] {
        let mut body = urls(&sink);
        body[field] = value;
        let (status, answer) = call(&simulator, &token, "v2/registerurl", &body).await;
        assert_eq!(status, 400);
        let message = answer["errorMessage"].as_str().unwrap();
        assert!(message.ends_with(field), "{message}");
    }
    let (status, answer) = call(&simulator, &token, "v2/registerurl", &urls(&sink)).await;
    assert_eq!((status, &answer["ResponseCode"]), (200, &json!("0")));
    assert!(answer["OriginatorCoversationID"].is_string());
    let (_, answer) = call(&simulator, &token, "v1/registerurl", &urls(&sink)).await;
    assert_eq!(answer["errorCode"], "500.003.1001");
    assert_eq!(answer["errorMessage"], "Urls are already registered");
    let (_, answer) = call(&simulator, "Bearer old", "v2/registerurl", &urls(&sink)).await;
    assert_eq!(answer["errorCode"], "400.003.01");

    let forget = || {
        client()
            .delete(simulator.url() + "/simulator/c2b/600984")
            .send()
    };
    assert_eq!(forget().await.unwrap().status(), 200);
    assert_eq!(forget().await.unwrap().status(), 404);
    assert_eq!(
        call(&simulator, &token, "v2/registerurl", &urls(&sink))
            .await
            .0,
        200
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_s_payment_is_validated_then_confirmed() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let (_, answer) = call(&simulator, &token, "v2/simulate", &payment("254712345678")).await;
    assert_eq!(answer["errorCode"], "400.003.02");
    call(&simulator, &token, "v2/registerurl", &urls(&sink)).await;
    let (status, _) = call(&simulator, &token, "v2/simulate", &payment("254712345678")).await;
    assert_eq!(status, 200);
    let asked = sink.next().await;
    let told = sink.next().await;
    assert_eq!(asked.path, "/c2b-validation");
    assert_eq!(told.path, "/c2b-confirmation");
    let (asked, told) = (asked.json(), told.json());
    assert!(told.as_object().unwrap().values().all(Value::is_string));
    assert_eq!(asked["TransID"], told["TransID"]);
    assert_eq!(asked["OrgAccountBalance"], "");
    assert_eq!(told["TransAmount"], "25.00");
    assert_eq!(told["MSISDN"], "2547 ***** 678");
    assert_eq!(told["BillRefNumber"], "INV 7");
    assert_eq!(told["TransTime"], "20260305003005");

    simulator.until_quiet().await;
    let ledger = simulator.ledger();
    let kept = &ledger.payments[0];
    assert_eq!((kept.kind.as_ref(), kept.truth), ("c2b", Truth::Success));
    assert_eq!(kept.ids.receipt.as_deref(), told["TransID"].as_str());
    assert_eq!(kept.callbacks, [Some(200), Some(200)]);
    let receipt = told["TransID"].clone();
    let result = payment_status(&simulator, &token, "TransactionID", &receipt, &mut sink).await;
    assert_eq!(parameter(&result, "TransactionStatus"), "Completed");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_shows_the_number_in_its_own_way_and_endings_count() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    call(&simulator, &token, "v1/registerurl", &urls(&sink)).await;
    for (path, msisdn, shown) in [
        ("v1/simulate", "254712345678", "254712345678"),
        (
            "v2/simulate",
            "254712345679",
            "913edc14d8a1bf421c4245562c1fdae72ee57605bae3ca05f2cd01a3bd6b9071",
        ),
    ] {
        call(&simulator, &token, path, &payment(msisdn)).await;
        sink.next().await;
        let told = sink.next().await.json();
        assert_eq!(told["MSISDN"], shown);
    }
    for (ending, notices) in [("0404", 1), ("0002", 3), ("0001", 0), ("0007", 0)] {
        let body = payment(&format!("25471234{ending}"));
        call(&simulator, &token, "v2/simulate", &body).await;
        simulator.until_quiet().await;
        assert_eq!(sink.rest(), notices, "{ending}");
    }
    simulator.stop().await;
}

/// What is posted and what becomes of a payment whose validation is answered so.
async fn validated(response_type: &str, status: u16, said: Value) -> (Vec<Value>, Truth) {
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let http = HttpServer::new(move || {
        let (sender, said) = (sender.clone(), said.clone());
        App::new().default_service(web::to(move |body: web::Bytes| {
            let body: Value = serde_json::from_slice(&body).unwrap();
            sender.send(body).unwrap();
            let status = actix_web::http::StatusCode::from_u16(status).unwrap();
            let answer = HttpResponse::build(status).json(&said);
            async { answer }
        }))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .unwrap();
    let url = format!("http://{}", http.addrs()[0]);
    tokio::spawn(http.run());
    let simulator = Simulator::start(quick()).await.unwrap();
    let token = token(&simulator).await;
    let body = json!({
        "ShortCode": "600984",
        "ResponseType": response_type,
        "ConfirmationURL": url,
        "ValidationURL": url,
    });
    call(&simulator, &token, "v2/registerurl", &body).await;
    call(&simulator, &token, "v2/simulate", &payment("254712345678")).await;
    simulator.until_quiet().await;
    let truth = simulator.ledger().payments[0].truth;
    simulator.stop().await;
    let posted = std::iter::from_fn(|| arrivals.try_recv().ok()).collect();
    (posted, truth)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_validation_decides_and_the_response_type_if_it_does_not() {
    let yes = json!({"ResultCode": "0", "ThirdPartyTransID": "OURS"});
    let (posted, truth) = validated("Cancelled", 200, yes).await;
    assert_eq!(truth, Truth::Success);
    assert_eq!(posted[1]["ThirdPartyTransID"], "OURS");
    let no = json!({"ResultCode": "C2B00012", "ResultDesc": "Rejected"});
    let (posted, truth) = validated("Completed", 200, no).await;
    assert_eq!((posted.len(), truth), (1, Truth::Failed));
    let (posted, truth) = validated("Cancelled", 500, json!({})).await;
    assert_eq!((posted.len(), truth), (1, Truth::Failed));
    let (posted, truth) = validated("Completed", 500, json!({})).await;
    assert_eq!((posted.len(), truth), (2, Truth::Success));
}
