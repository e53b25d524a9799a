use super::daraja::{b2c, parameter, pay, payment_status, push, stk, stk_state, token};
use super::*;

/// The result codes posted for an STK push to a number, and the query's last word.
async fn stk_story(ending: &str) -> (u16, Vec<Value>, Option<Value>) {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let msisdn = format!("25471234{ending}");
    let (status, accepted) = push(&simulator, &token, &stk(&msisdn, &sink)).await;
    simulator.until_quiet().await;
    let mut codes = Vec::new();
    while let Ok(arrival) = sink.arrivals.try_recv() {
        let callback = arrival.json()["Body"]["stkCallback"].clone();
        assert_eq!(
            callback["CallbackMetadata"].is_object(),
            callback["ResultCode"] == 0
        );
        codes.push(callback["ResultCode"].clone());
    }
    let id = &accepted["CheckoutRequestID"];
    let last = if id.is_string() {
        let (_, answer) = stk_state(&simulator, &token, id).await;
        Some(answer["ResultCode"].clone())
    } else {
        None
    };
    simulator.stop().await;
    (status, codes, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_of_an_stk_push_behaves_as_the_table_says() {
    let said = |codes: &[i64], last: &str| {
        (
            200,
            codes.iter().map(|code| json!(code)).collect(),
            Some(json!(last)),
        )
    };
    for ending in ENDINGS {
        let expected = match ending.code {
            "0001" => said(&[1], "1"),
            "0002" => said(&[0, 0], "0"),
            "0003" => said(&[1037, 0], "0"),
            "0004" | "0005" | "0008" | "0009" => said(&[0], "0"),
            "0006" => said(&[100_000_100], "100000100"),
            "0007" | "0503" => (500, vec![], None),
            "0017" => said(&[17], "17"),
            "0404" => said(&[], "0"),
            "0408" => said(&[1019], "1019"),
            "0500" => (504, vec![json!(0)], None),
            "1032" => said(&[1032], "1032"),
            "1037" => said(&[1037], "1037"),
            "2001" => said(&[2001], "2001"),
            "9999" => said(&[9999], "9999"),
            other => panic!("no expectation for {other}"),
        };
        assert_eq!(stk_story(ending.code).await, expected, "{}", ending.code);
    }
}

/// What is posted for a B2C payment (`timeout` for the queue), and its TransactionStatus in the end.
async fn b2c_story(ending: &str) -> (u16, Vec<String>, Value) {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let request = b2c("REF1", &format!("25471234{ending}"), &sink);
    let (status, _) = pay(&simulator, &token, &request).await;
    simulator.until_quiet().await;
    let mut words = Vec::new();
    while let Ok(arrival) = sink.arrivals.try_recv() {
        if arrival.path == "/timeout" {
            assert_eq!(arrival.json(), request);
            words.push("timeout".to_owned());
        } else {
            let code = &arrival.json()["Result"]["ResultCode"];
            words.push(code.as_str().map_or(code.to_string(), str::to_owned));
        }
    }
    let result = payment_status(
        &simulator,
        &token,
        "OriginalConversationID",
        &json!("REF1"),
        &mut sink,
    )
    .await;
    simulator.stop().await;
    (status, words, parameter(&result, "TransactionStatus"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_of_a_payout_behaves_as_the_table_says() {
    for ending in ENDINGS {
        let (status, words, last): (u16, &[&str], Option<&str>) = match ending.code {
            "0001" => (200, &["1"], Some("Failed")),
            "0002" => (200, &["0", "0"], Some("Completed")),
            "0003" => (200, &["timeout", "0"], Some("Completed")),
            "0004" | "0005" | "0008" | "0009" => (200, &["0"], Some("Completed")),
            "0006" => (200, &["100000100"], Some("Under Review")),
            "0007" => (400, &[], None),
            "0017" => (200, &["17"], Some("Failed")),
            "0404" => (200, &[], Some("Completed")),
            "0408" => (200, &["timeout"], Some("Failed")),
            "0500" => (504, &["0"], Some("Completed")),
            "0503" => (500, &[], None),
            "1032" => (200, &["2040"], Some("Failed")),
            "1037" => (200, &["SFC_IC0003"], Some("Failed")),
            "2001" => (200, &["2001"], Some("Failed")),
            "9999" => (200, &["8006"], Some("Failed")),
            other => panic!("no expectation for {other}"),
        };
        let story = b2c_story(ending.code).await;
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        assert_eq!(story, (status, words, json!(last)), "{}", ending.code);
    }
}
