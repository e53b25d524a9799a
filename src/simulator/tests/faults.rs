use super::clickpesa::{
    initiate, order, query as clickpesa_query, started, token as clickpesa_token,
};
use super::daraja::{b2c, pay, payment_status, push, stk, stk_state, token};
use super::*;

const NUMBER: &str = "254712345678";

/// A simulator that always does this, and somebody who listens.
async fn always(faults: &[Fault]) -> (RunningSimulator, Sink, String) {
    let simulator = Simulator::start(quick()).await.unwrap();
    let token = token(&simulator).await;
    let plan = faults
        .iter()
        .fold(FaultPlan::new(7), |plan, fault| plan.with(*fault, 1.0));
    simulator.set_faults(FaultPlan {
        late_callback_ms: 20,
        slow_answer_ms: 1_500,
        ..plan
    });
    (simulator, Sink::open().await, token)
}

fn only(simulator: &RunningSimulator) -> LedgerPayment {
    let mut payments = simulator.ledger().payments;
    assert_eq!(payments.len(), 1);
    payments.remove(0)
}

/// Sends a push whose answer is broken off; true if not a byte of it came.
async fn is_cut(simulator: &RunningSimulator, token: &str, body: &Value) -> bool {
    let answer = client()
        .post(simulator.url() + "/mpesa/stkpush/v1/processrequest")
        .header("authorization", token)
        .json(body)
        .send()
        .await;
    answer.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_is_not_posted_and_the_query_knows() {
    let (simulator, mut sink, token) = always(&[Fault::LostCallback]).await;
    let (_, accepted) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 0);
    let (_, answer) = stk_state(&simulator, &token, &accepted["CheckoutRequestID"]).await;
    assert_eq!(answer["ResultCode"], "0");
    let payment = only(&simulator);
    assert_eq!(payment.faults, [Fault::LostCallback]);
    assert_eq!(
        (payment.truth, payment.callbacks.len()),
        (Truth::Success, 0)
    );
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_come_twice_late_early_and_out_of_order() {
    for (fault, codes) in [
        (Fault::Doubled, vec![0, 0]),
        (Fault::LateCallback, vec![0]),
        (Fault::Early, vec![0]),
        (Fault::Reordered, vec![0, 1037]),
    ] {
        let (simulator, mut sink, token) = always(&[fault]).await;
        let before = std::time::Instant::now();
        let (_, accepted) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
        if fault == Fault::Early {
            assert_eq!(sink.arrivals.len(), 1, "it should be there already");
        }
        simulator.until_quiet().await;
        if fault == Fault::LateCallback {
            assert!(before.elapsed() >= Duration::from_millis(20));
        }
        let mut told = Vec::new();
        while let Ok(arrival) = sink.arrivals.try_recv() {
            let callback = arrival.json()["Body"]["stkCallback"].clone();
            told.push(callback["ResultCode"].as_i64().unwrap());
        }
        assert_eq!(told, codes, "{fault:?}");
        let (_, answer) = stk_state(&simulator, &token, &accepted["CheckoutRequestID"]).await;
        assert_eq!(answer["ResultCode"], "0", "{fault:?}");
        let payment = only(&simulator);
        assert_eq!(payment.faults, [fault]);
        assert_eq!(payment.callbacks, vec![Some(200); codes.len()]);
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_before_or_after_the_payment_was_made() {
    for (fault, made) in [(Fault::AnswerLost, true), (Fault::CutBefore, false)] {
        let (simulator, mut sink, token) = always(&[fault]).await;
        assert!(is_cut(&simulator, &token, &stk(NUMBER, &sink)).await);
        simulator.until_quiet().await;
        assert_eq!(sink.rest(), usize::from(made));
        let payment = only(&simulator);
        assert_eq!(
            (payment.made, payment.faults.as_slice()),
            (made, &[fault][..])
        );
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_json_before_or_after_the_payment_was_made() {
    for (fault, made) in [(Fault::NonJson, true), (Fault::NonJsonBefore, false)] {
        let (simulator, mut sink, token) = always(&[fault]).await;
        for count in 0..12 {
            let msisdn = format!("2547123400{:02}", count + 20);
            let (status, answer) = push(&simulator, &token, &stk(&msisdn, &sink)).await;
            let text = answer.as_str().expect("it should be no JSON");
            assert!(text.is_empty() || text.starts_with("<html>"));
            assert!(matches!(status, 200 | 500 | 502 | 503 | 504));
        }
        simulator.until_quiet().await;
        assert_eq!(sink.rest(), if made { 12 } else { 0 });
        let payments = simulator.ledger().payments;
        assert!(payments.iter().all(|payment| payment.made == made));
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_slower_than_an_impatient_client() {
    let (simulator, mut sink, token) = always(&[Fault::SlowAnswer]).await;
    let impatient = client()
        .post(simulator.url() + "/mpesa/stkpush/v1/processrequest")
        .header("authorization", &token)
        .timeout(Duration::from_millis(700))
        .json(&stk(NUMBER, &sink))
        .send()
        .await;
    assert!(impatient.unwrap_err().is_timeout());
    let callback = sink.next().await.json();
    assert_eq!(callback["Body"]["stkCallback"]["ResultCode"], 0);
    assert_eq!(push(&simulator, &token, &stk(NUMBER, &sink)).await.0, 200);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_turned_away_in_the_provider_s_words() {
    for (fault, codes) in [
        (Fault::Refused, vec!["500.001.1001"]),
        (Fault::Throttled, vec!["500.003.02", "500.003.03"]),
        (Fault::ServerErrorBefore, vec!["500.003.1001"]),
        (Fault::InvalidatedToken, vec!["404.001.03"]),
    ] {
        let (simulator, sink, token) = always(&[fault]).await;
        let (_, answer) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
        let code = answer["errorCode"].as_str().unwrap();
        assert!(codes.contains(&code), "{code}");
        let payment = only(&simulator);
        assert_eq!((payment.made, payment.truth), (false, Truth::NotMade));
        assert_eq!(payment.faults, [fault]);
        simulator.clear_faults();
        // Only the token that was ended stays so.
        let (status, _) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
        let expected = if fault == Fault::InvalidatedToken {
            404
        } else {
            200
        };
        assert_eq!(status, expected, "{fault:?}");
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_expired_when_it_is_given_out() {
    let simulator = Simulator::start(SimulatorSettings {
        faults: vec![FaultPlan::new(1).with(Fault::ExpiredToken, 1.0)],
        ..quick()
    })
    .await
    .unwrap();
    let sink = Sink::open().await;
    let stale = token(&simulator).await;
    let (status, answer) = push(&simulator, &stale, &stk(NUMBER, &sink)).await;
    assert_eq!((status, &answer["errorCode"]), (404, &json!("404.001.03")));
    let stale = clickpesa_token(&simulator).await;
    assert_eq!(
        clickpesa_query(&simulator, &stale, "payments/A").await.0,
        401
    );
    simulator.clear_faults();
    let good = token(&simulator).await;
    assert_eq!(push(&simulator, &good, &stk(NUMBER, &sink)).await.0, 200);
    assert_eq!(simulator.ledger().token_requests["key"], 2);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_query_denies_a_payment_and_the_second_knows_it() {
    let (simulator, mut sink, token) = always(&[Fault::ContradictingQuery]).await;
    let (_, accepted) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
    simulator.until_quiet().await;
    let id = &accepted["CheckoutRequestID"];
    let (_, answer) = stk_state(&simulator, &token, id).await;
    assert_eq!(answer["errorCode"], "500.001.1001");
    let (_, answer) = stk_state(&simulator, &token, id).await;
    assert_eq!(answer["ResultCode"], "0");
    assert_eq!(only(&simulator).faults, [Fault::ContradictingQuery]);

    pay(&simulator, &token, &b2c("REF1", NUMBER, &sink)).await;
    simulator.until_quiet().await;
    sink.rest();
    for code in [25, 0] {
        let key = "OriginalConversationID";
        let result = payment_status(&simulator, &token, key, &json!("REF1"), &mut sink).await;
        assert_eq!(result["ResultCode"], code);
    }
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_have_faults_of_their_own() {
    let (simulator, sink, token) = always(&[Fault::QueryThrottled]).await;
    let (status, accepted) = push(&simulator, &token, &stk(NUMBER, &sink)).await;
    assert_eq!(status, 200);
    let id = &accepted["CheckoutRequestID"];
    let (_, answer) = stk_state(&simulator, &token, id).await;
    let code = answer["errorCode"].as_str().unwrap();
    assert!(code.starts_with("500.003.0"), "{code}");
    simulator.set_faults(FaultPlan::new(1).with(Fault::LostCallback, 1.0));
    assert_eq!(stk_state(&simulator, &token, id).await.0, 200);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_fails_or_pays_another_amount_on_demand() {
    let (simulator, mut sink, token) = always(&[Fault::WrongAmount]).await;
    push(&simulator, &token, &stk(NUMBER, &sink)).await;
    let callback = sink.next().await.json();
    let items = &callback["Body"]["stkCallback"]["CallbackMetadata"]["Item"];
    assert_eq!(items[0]["Value"].to_string(), "119.00");
    simulator.until_quiet().await;
    assert_eq!(only(&simulator).amount_paid.as_deref(), Some("119"));
    simulator.stop().await;

    let (simulator, mut sink, token) = always(&[Fault::Failed]).await;
    pay(&simulator, &token, &b2c("REF1", NUMBER, &sink)).await;
    assert_ne!(sink.next().await.json()["Result"]["ResultCode"], 0);
    simulator.until_quiet().await;
    let payment = only(&simulator);
    assert_eq!((payment.truth, payment.amount_paid), (Truth::Failed, None));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_shape_still_says_what_happened() {
    let (simulator, mut sink, token) = always(&[Fault::PartialShape]).await;
    let mut odd = 0;
    for count in 20..32 {
        let msisdn = format!("2547123400{count}");
        pay(&simulator, &token, &b2c(&msisdn, &msisdn, &sink)).await;
        let result = sink.next().await.json()["Result"].clone();
        assert_eq!(result["OriginatorConversationID"], msisdn);
        let code = result["ResultCode"].to_string();
        assert_eq!(code.trim_matches('"'), "0");
        let list = &result["ResultParameters"]["ResultParameter"];
        odd += usize::from(!list.is_array() || code == "\"0\"");
    }
    assert!(odd > 0, "no shape was odd");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_timeout_comes_before_the_result() {
    let (simulator, mut sink, token) = always(&[Fault::QueueTimeout]).await;
    pay(&simulator, &token, &b2c("REF1", NUMBER, &sink)).await;
    assert_eq!(sink.next().await.path, "/timeout");
    assert_eq!(sink.next().await.path, "/result");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clickpesa_misbehaves_as_well() {
    let (simulator, mut sink) = started(None).await;
    let token = clickpesa_token(&simulator).await;
    let plan = FaultPlan::new(3)
        .with(Fault::Doubled, 1.0)
        .with(Fault::Reordered, 1.0)
        .with(Fault::ContradictingQuery, 1.0);
    simulator.set_faults(plan.for_account("IDAPP1"));
    let number = "255712345678";
    assert_eq!(
        initiate(&simulator, &token, &order("ORD1", number)).await.0,
        200
    );
    simulator.until_quiet().await;
    let mut told = Vec::new();
    while let Ok(arrival) = sink.arrivals.try_recv() {
        told.push(
            arrival.json()["data"]["status"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(told, ["SETTLED", "SETTLED", "SUCCESS", "SUCCESS"]);
    let (_, denied) = clickpesa_query(&simulator, &token, "payments/ORD1").await;
    assert!(denied == json!([]) || denied["message"].is_string());
    let (_, list) = clickpesa_query(&simulator, &token, "payments/ORD1").await;
    assert_eq!(list[0]["status"], "SETTLED");

    simulator.set_faults(
        FaultPlan::new(3)
            .with(Fault::InvalidatedToken, 1.0)
            .for_account("IDAPP1"),
    );
    let (status, _) = initiate(&simulator, &token, &order("ORD2", number)).await;
    assert_eq!(status, 401);
    let (status, _) = clickpesa_query(&simulator, &token, "payments/ORD1").await;
    assert_eq!(status, 401);
    simulator.stop().await;
}

/// Which of 40 numbers were struck by which faults, asked in this order.
async fn struck(seed: u64, backwards: bool) -> Vec<(String, Vec<Fault>)> {
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let token = token(&simulator).await;
    simulator.set_faults(
        FaultPlan::new(seed)
            .with(Fault::LostCallback, 0.3)
            .with(Fault::Throttled, 0.3),
    );
    let mut numbers: Vec<u32> = (100..140).collect();
    if backwards {
        numbers.reverse();
    }
    for number in numbers {
        let body = stk(&format!("254712340{number}"), &sink);
        push(&simulator, &token, &body).await;
    }
    simulator.until_quiet().await;
    let mut struck: Vec<_> = simulator
        .ledger()
        .payments
        .into_iter()
        .map(|payment| (payment.msisdn, payment.faults))
        .collect();
    struck.sort();
    simulator.stop().await;
    struck
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_alone_decides_which_payments_are_struck() {
    let forwards = struck(7, false).await;
    assert_eq!(struck(7, true).await, forwards);
    assert_ne!(struck(8, false).await, forwards);
    assert!(forwards.iter().any(|(_, faults)| faults.is_empty()));
}
