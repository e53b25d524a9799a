use super::clickpesa::{initiate, order, started, token as clickpesa_token};
use super::daraja::{b2c, pay, push, stk, token};
use super::*;

async fn read<T: serde::de::DeserializeOwned>(url: String) -> T {
    client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_tells_over_http_what_was_made_and_what_was_asked_again() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let token = token(&simulator).await;
    let (_, accepted) = push(&simulator, &token, &stk("254712345678", &sink)).await;
    push(&simulator, &token, &stk("254712340007", &sink)).await;
    for _ in 0..3 {
        pay(&simulator, &token, &b2c("REF1", "254712340001", &sink)).await;
    }
    simulator.until_quiet().await;

    let ledger: Ledger = read(simulator.url() + "/simulator/ledger").await;
    let [prompt, refused, payout] = ledger.payments.as_slice() else {
        panic!("{ledger:?}");
    };
    assert_eq!(
        (prompt.kind.as_ref(), prompt.account.as_str()),
        ("stk_push", "key")
    );
    assert_eq!(
        prompt.ids.checkout_request_id.as_deref(),
        accepted["CheckoutRequestID"].as_str()
    );
    assert!(prompt.ids.receipt.is_some());
    assert_eq!(
        (prompt.truth, prompt.amount_paid.as_deref()),
        (Truth::Success, Some("120"))
    );
    assert_eq!(prompt.callback_path.as_deref(), Some("/stk/abc"));
    assert_eq!(prompt.received_with_same_callback_path, 2);
    assert_eq!(prompt.callbacks, [Some(200)]);
    assert_eq!((refused.made, refused.truth), (false, Truth::NotMade));
    assert_eq!(payout.received_with_same_id, 3);
    assert_eq!(
        payout.ids.originator_conversation_id.as_deref(),
        Some("REF1")
    );
    assert_eq!((payout.truth, &payout.amount_paid), (Truth::Failed, &None));
    assert_eq!(ledger.made_more_than_once(), [""; 0]);
    let requests = &ledger.requests["POST /mpesa/b2c/v3/paymentrequest"];
    assert_eq!((requests.received, requests.answered[&500]), (3, 2));
    assert_eq!(ledger.token_requests["key"], 1);

    let url = simulator.url() + "/simulator/ledger?after=1&limit=1";
    let page: Ledger = read(url).await;
    assert_eq!(page.payments.len(), 1);
    assert_eq!(page.payments[0].number, 2);
    let url = simulator.url() + "/simulator/ledger?account=nobody";
    assert_eq!(read::<Ledger>(url).await.payments.len(), 0);

    // Somebody who pushes again to the same path asks for the money twice.
    push(&simulator, &token, &stk("254712345678", &sink)).await;
    assert_eq!(
        simulator.ledger().made_more_than_once(),
        ["key stk_push /stk/abc"]
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickpesa_reference_that_is_used_again_is_counted() {
    let (simulator, _sink) = started(None).await;
    let token = clickpesa_token(&simulator).await;
    for status in [200, 409] {
        let body = order("ORD1", "255712340009");
        assert_eq!(initiate(&simulator, &token, &body).await.0, status);
    }
    simulator.until_quiet().await;
    let ledger = simulator.ledger();
    assert_eq!(ledger.payments.len(), 1);
    let payment = &ledger.payments[0];
    assert_eq!(payment.received_with_same_id, 2);
    assert_eq!(payment.truth, Truth::Reversed);
    assert_eq!(payment.callbacks, [Some(200), Some(200)]);
    assert_eq!(payment.ids.order_reference.as_deref(), Some("ORD1"));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_set_listed_and_ended_over_http() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let url = simulator.url() + "/simulator/faults";
    let plan = json!({"seed": 7, "rates": {"throttled": 1.0}, "account": "key"});
    assert_eq!(post(url.clone(), "", &plan).await.0, 200);
    let listed: Value = read(url.clone()).await;
    assert_eq!(listed["plans"][0]["rates"]["throttled"].to_string(), "1.0");
    assert_eq!(listed["faults"].as_array().unwrap().len(), Fault::ALL.len());
    let bearer = token(&simulator).await;
    let body = stk("254712345678", &sink);
    assert_eq!(push(&simulator, &bearer, &body).await.0, 500);

    let (status, answer) = post(url.clone(), "", &json!({"rates": {"lost": 1}})).await;
    assert_eq!(status, 400);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("`lost_callback`")
    );

    client().delete(&url).send().await.unwrap();
    assert_eq!(push(&simulator, &bearer, &body).await.0, 200);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_an_account_are_ended_over_http() {
    let (simulator, sink) = started(None).await;
    let mpesa = token(&simulator).await;
    let clickpesa = clickpesa_token(&simulator).await;
    let url = simulator.url() + "/simulator/tokens/invalidate";
    let (status, answer) = post(url.clone(), "", &json!({"account": "key"})).await;
    assert_eq!((status, answer), (200, json!({"invalidated": 1})));
    let body = stk("254712345678", &sink);
    assert_eq!(push(&simulator, &mpesa, &body).await.0, 404);
    let order = order("ORD1", "255712345678");
    assert_eq!(initiate(&simulator, &clickpesa, &order).await.0, 200);
    assert_eq!(post(url.clone(), "", &json!({})).await.1["invalidated"], 1);
    assert_eq!(initiate(&simulator, &clickpesa, &order).await.0, 401);
    assert_eq!(post(url, "", &json!({"client": "x"})).await.0, 400);
    simulator.stop().await;
}
