//! What answers to money calls come to. None of them is ever sent twice.

use std::time::Duration;

use ussd_status::providers::answer::{NoAnswer, Outcome, Refusal, Reply};
use ussd_status::providers::payment_provider::PaymentProvider as _;

use super::daraja::{Daraja, Say, accepted, error};
use super::*;

async fn collected(say: Say) -> Outcome {
    let daraja = Daraja::that_says(say);
    let outcome = client(&daraja.url).collect(&collection()).await.unwrap();
    assert_eq!(daraja.calls().len(), 1);
    outcome
}

fn unknown(outcome: Outcome) -> NoAnswer {
    match outcome {
        Outcome::Unknown(silence) => silence,
        other => panic!("{other:?}"),
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_accepted_push_brings_its_ids_and_sentences() {
    let say = json!({
        "MerchantRequestID": "2654-4b64-97ff-b827b542881d3130",
        "CheckoutRequestID": "ws_CO_1007202409152617172396192",
        "ResponseCode": "0",
        "ResponseDescription": "Success. Request accepted for processing",
        "CustomerMessage": "Success. Request accepted",
    });
    let Outcome::Accepted(acceptance) = collected(Say::Json(200, say)).await else {
        panic!("not accepted");
    };
    assert_eq!(acceptance.ids, checkout("ws_CO_1007202409152617172396192"));
    let merchant = acceptance.merchant_request_id.as_deref();
    assert_eq!(merchant, Some("2654-4b64-97ff-b827b542881d3130"));
    assert_eq!(acceptance.code.as_deref(), Some("0"));
    assert_eq!(
        acceptance.customer_message.as_deref(),
        Some("Success. Request accepted")
    );
}

#[tokio::test]
async fn an_accepted_payout_keeps_the_id_we_committed_and_the_old_version_takes_theirs() {
    for (changes, id) in [
        (json!({}), transaction_id().to_string()),
        (json!({"b2c_version": "v1"}), "29115-34620561-1".to_owned()),
    ] {
        let daraja = Daraja::that_accepts();
        let client = client_with(&daraja.url, &changes);
        let outcome = client.pay_out(&pay_out()).await.unwrap();
        let Outcome::Accepted(acceptance) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(acceptance.ids.originator_conversation_id, Some(id));
        let conversation_id = acceptance.ids.conversation_id.as_deref();
        assert_eq!(conversation_id, Some("AG_20240706_20106e9209f64bebd05b"));
    }
}

#[tokio::test]
async fn a_duplicate_payout_was_submitted_before() {
    let duplicate = error("500.002.1001", "Duplicate OriginatorConversationID.");
    let daraja = Daraja::that_says(Say::Json(500, duplicate));
    let outcome = client(&daraja.url).pay_out(&pay_out()).await.unwrap();
    let Outcome::Accepted(acceptance) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(acceptance.ids, pay_out().ids);
    assert_eq!(acceptance.code.as_deref(), Some("500.002.1001"));
}

#[tokio::test]
async fn a_refusal_says_whether_to_try_again_whatever_its_http_status() {
    let busy = "Unable to lock subscriber, a transaction is already in process";
    for (code, text, retryable, throttled) in [
        ("400.002.02", "Bad Request - Invalid Amount", false, false),
        ("404.001.01", "Resource not found", false, false),
        ("500.001.1001", "Merchant does not exist", false, false),
        ("500.001.1001", busy, true, false),
        (
            "500.003.02",
            "System is busy. Please try again in few minutes.",
            true,
            true,
        ),
        ("500.003.03", "Quota Violation", true, true),
    ] {
        for status in [200, 400, 500] {
            let refusal = refusal(collected(Say::Json(status, error(code, text))).await);
            assert_eq!(refusal.code.as_deref(), Some(code));
            assert_eq!(refusal.message, text);
            assert_eq!(refusal.http_status, Some(status));
            assert_eq!(refusal.retryable, retryable, "{code} {text}");
            assert_eq!(refusal.throttled, throttled, "{code} {text}");
        }
    }
    let many = refusal(collected(Say::Text(429, "slow down")).await);
    assert!(many.throttled && many.retryable);
}

#[tokio::test]
async fn whatever_is_no_clear_word_is_unknown() {
    for (say, is_down) in [
        (Say::Text(504, "<html>504 Gateway Time-out</html>"), true),
        (Say::Text(200, "<html>Welcome</html>"), false),
        (Say::Text(200, ""), false),
        (Say::Text(403, "Forbidden"), false),
        (Say::Json(503, json!({"status": "down"})), true),
        (Say::Json(500, accepted()), true),
        (Say::Json(200, json!({})), false),
        (Say::Json(200, json!({"ResponseCode": "1"})), false),
        (Say::Json(200, json!([accepted()])), false),
        (
            Say::Json(500, error("500.001.1001", "Internal Server Error")),
            true,
        ),
        (Say::Json(200, error("500.001.1001", "")), false),
        (
            Say::Json(500, error("500.003.1001", "Internal Server Error")),
            true,
        ),
        (Say::Json(400, error("400.009.99", "never heard of")), false),
        (Say::Break, true),
    ] {
        let silence = unknown(collected(say.clone()).await);
        assert_eq!(silence.is_down, is_down, "{say:?} {silence:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_unknown() {
    let daraja = Daraja::that_accepts();
    let brief = Duration::from_secs(1);
    let client = open(&daraja.url, &json!({}), clock_at_start(), brief).unwrap();
    client.check_credentials().await.unwrap();
    daraja.say(Say::Nothing);
    let silence = unknown(client.pay_out(&pay_out()).await.unwrap());
    assert!(
        silence.is_down && silence.http_status.is_none(),
        "{silence:?}"
    );
    assert_eq!(daraja.calls().len(), 1);
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent_for_want_of_a_token() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let refusal = refusal(client(&url).collect(&collection()).await.unwrap());
    assert!(refusal.retryable);
    assert!(
        refusal.message.starts_with("no access token"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_second_registration_of_callbacks_is_refused_for_good() {
    let taken = error("500.003.1001", "Urls are already registered");
    let daraja = Daraja::that_says(Say::Json(500, taken));
    let reply = client(&daraja.url).register_callbacks(&callbacks()).await;
    let Ok(Reply::Refused(refusal)) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(refusal.message, "Urls are already registered");
    assert!(!refusal.retryable);
}
