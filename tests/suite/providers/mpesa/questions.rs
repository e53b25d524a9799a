//! What the answers to questions say of a payment.

use ussd_status::domain::status_update::{Api, ResultClass, StatusUpdate};
use ussd_status::providers::answer::{Answer, BalanceAnswer};
use ussd_status::providers::payment_provider::PaymentProvider as _;

use super::daraja::{Daraja, Say, error};
use super::*;

async fn asked(say: Say) -> Answer {
    let daraja = Daraja::that_says(say);
    let push = question(Kind::StkPush, checkout("ws_CO_1"), None);
    client(&daraja.url).query(&push).await.unwrap()
}

fn state(code: &str) -> Say {
    let body = json!({
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": "22205-34066-1",
        "CheckoutRequestID": "ws_CO_1",
        "ResultCode": code,
        "ResultDesc": "a sentence",
    });
    Say::Json(200, body)
}

fn news(answer: Answer) -> StatusUpdate {
    match answer {
        Answer::News(update) => *update,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_result_code_has_the_class_of_the_push_and_no_receipt() {
    for (code, class) in [
        ("0", ResultClass::Success),
        ("1032", ResultClass::Failed),
        ("1037", ResultClass::Unconfirmed),
        ("4999", ResultClass::Pending),
        ("100000100", ResultClass::Unknown),
    ] {
        let update = news(asked(state(code)).await);
        assert_eq!((update.api, update.class), (Api::Stk, class), "{code}");
        assert_eq!(update.result_code.as_deref(), Some(code));
        assert_eq!(update.result_description.as_deref(), Some("a sentence"));
        assert_eq!((update.receipt, update.paid), (None, None));
        assert_eq!(update.correlation.transaction_id, Some(transaction_id()));
        assert_eq!(
            update.correlation.conversation_id.as_deref(),
            Some("ws_CO_1")
        );
        let merchant = update.correlation.merchant_request_id.as_deref();
        assert_eq!(merchant, Some("22205-34066-1"));
    }
}

#[tokio::test]
async fn an_answer_about_another_push_keeps_the_other_id() {
    let other = json!({"ResultCode": "0", "CheckoutRequestID": "ws_CO_2"});
    let update = news(asked(Say::Json(200, other)).await);
    assert_eq!(
        update.correlation.conversation_id.as_deref(),
        Some("ws_CO_2")
    );
}

#[tokio::test]
async fn still_open_is_said_in_an_error_too() {
    for status in [200, 500] {
        let open = error("500.001.1001", "The transaction is being processed");
        let update = news(asked(Say::Json(status, open)).await);
        assert_eq!((update.api, update.class), (Api::Stk, ResultClass::Pending));
        assert_eq!(update.result_code, None);
        assert_eq!(
            update.correlation.conversation_id.as_deref(),
            Some("ws_CO_1")
        );
    }
}

#[tokio::test]
async fn an_error_about_the_question_says_nothing_of_the_payment() {
    for (status, code, text, throttled) in [
        (200, "500.001.1001", "", false),
        (500, "500.001.1001", "The transaction does not Exist", false),
        (
            400,
            "400.002.02",
            "Bad Request - Invalid CheckoutRequestID",
            false,
        ),
        (500, "500.003.02", "Spike Arrest Violation", true),
    ] {
        let answer = asked(Say::Json(status, error(code, text))).await;
        let Answer::Nothing(refusal) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(refusal.throttled, throttled, "{text}");
    }
    let wordless = asked(Say::Json(200, json!({"ResponseCode": "0"}))).await;
    assert!(matches!(wordless, Answer::Nothing(_)), "{wordless:?}");
}

#[tokio::test]
async fn no_answer_to_a_question_is_counted_as_the_provider_being_down() {
    for say in [
        Say::Text(503, "<html></html>"),
        Say::Json(500, error("500.001.1001", "Internal Server Error")),
        Say::Break,
    ] {
        let answer = asked(say.clone()).await;
        assert!(
            matches!(&answer, Answer::Unknown(silence) if silence.is_down),
            "{say:?} {answer:?}"
        );
        let daraja = Daraja::that_says(say);
        let balance = client(&daraja.url)
            .balance(&callbacks(), enquiry_id())
            .await
            .unwrap();
        assert!(matches!(balance, BalanceAnswer::Unknown(_)), "{balance:?}");
    }
}
