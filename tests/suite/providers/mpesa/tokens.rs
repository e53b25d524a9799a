//! One token an account, one more when it is refused, and never a loop.

use std::sync::Arc;

use futures_util::future::join_all;
use ussd_status::domain::clock::ManualClock;
use ussd_status::providers::answer::{Outcome, TokenError};
use ussd_status::providers::payment_provider::PaymentProvider as _;

use super::daraja::{Daraja, Say, error};
use super::*;

async fn push(client: &Client) -> bool {
    let outcome = client.collect(&collection()).await.unwrap();
    matches!(outcome, Outcome::Accepted(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_at_once_fetch_one_token_and_one_more_after_it_was_ended() {
    let daraja = Daraja::that_accepts();
    let client = client(&daraja.url);
    for tokens in [1, 2] {
        let pushes = join_all((0..64).map(|_| push(&client))).await;
        assert!(pushes.into_iter().all(|accepted| accepted));
        assert_eq!(daraja.token_calls().len(), tokens);
        daraja.end_token(error("404.001.03", "Invalid Access Token"));
    }
    // Each was sent with the good token once: 64, then 64 after at most as many refusals.
    let with = |token: &str| {
        let calls = daraja.calls();
        let bearer = format!("Bearer {token}");
        calls
            .iter()
            .filter(|call| call.authorization == bearer)
            .count()
    };
    assert_eq!(with("token-2"), 64);
}

#[tokio::test]
async fn every_code_for_a_refused_token_is_followed_by_one_new_token_and_one_repeat() {
    for code in [
        "404.001.03",
        "401.002.01",
        "400.003.01",
        "401.003.01",
        "401.001",
    ] {
        let daraja = Daraja::that_accepts();
        let client = client(&daraja.url);
        assert!(push(&client).await);
        daraja.end_token(error(code, "Invalid Access Token"));
        assert!(push(&client).await, "{code}");
        assert_eq!(daraja.token_calls().len(), 2, "{code}");
        let calls = daraja.calls();
        assert_eq!(calls.len(), 3, "{code}");
        assert_eq!(calls[1].body, calls[2].body);
    }
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_ends_it() {
    let refused = error(
        "401.002.01",
        "Error Occurred - Invalid Access Token - token-2",
    );
    let daraja = Daraja::that_says(Say::Json(401, refused));
    let client = client(&daraja.url);
    let outcome = client.pay_out(&pay_out()).await.unwrap();
    let Outcome::Refused(refusal) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(refusal.code.as_deref(), Some("401.002.01"));
    assert!(refusal.retryable);
    assert!(!format!("{refusal:?}").contains("token-"), "{refusal:?}");
    assert_eq!(daraja.calls().len(), 2);
    assert_eq!(daraja.token_calls().len(), 2);
}

#[tokio::test]
async fn a_token_is_used_until_five_minutes_before_its_end() {
    for life in [json!(3599), json!("3599"), json!(null)] {
        let daraja = Daraja::that_accepts();
        let given = json!({ "expires_in": life });
        daraja.say_of_tokens(Say::Json(200, given));
        let clock = clock_at_start();
        let client = open(&daraja.url, &json!({}), Arc::clone(&clock), PATIENCE).unwrap();
        assert!(push(&client).await);
        advance(&clock, 3_298);
        assert!(push(&client).await);
        assert_eq!(daraja.token_calls().len(), 1, "{life}");
        advance(&clock, 2);
        assert!(push(&client).await);
        assert_eq!(daraja.token_calls().len(), 2, "{life}");
    }
}

#[tokio::test]
async fn a_short_life_is_used_by_half_and_an_absurd_one_is_not_believed() {
    for (life, seconds) in [("60", 30), ("99999999999999999", 86_400 - 300)] {
        let daraja = Daraja::that_accepts();
        daraja.say_of_tokens(Say::Json(200, json!({ "expires_in": life })));
        let clock = clock_at_start();
        let client = open(&daraja.url, &json!({}), Arc::clone(&clock), PATIENCE).unwrap();
        assert!(push(&client).await);
        advance(&clock, seconds - 1);
        assert!(push(&client).await);
        assert_eq!(daraja.token_calls().len(), 1, "{life}");
        advance(&clock, 1);
        assert!(push(&client).await);
        assert_eq!(daraja.token_calls().len(), 2, "{life}");
    }
}

fn advance(clock: &ManualClock, seconds: i64) {
    clock.advance(chrono::Duration::seconds(seconds));
}

#[tokio::test]
async fn a_check_of_the_credentials_fetches_a_token_and_keeps_it() {
    let daraja = Daraja::that_accepts();
    let client = client(&daraja.url);
    for tokens in [1, 2] {
        client.check_credentials().await.unwrap();
        assert_eq!(daraja.token_calls().len(), tokens);
    }
    assert!(push(&client).await);
    assert_eq!(daraja.token_calls().len(), 2);
    assert_eq!(daraja.calls().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_given_is_refused_or_unknown_and_nothing_else_is_sent() {
    for (say, is_refused) in [
        (Say::Text(400, ""), true),
        (Say::Text(401, "<html></html>"), true),
        (Say::Text(429, ""), true),
        (
            Say::Json(400, error("400.008.01", "Invalid Authentication passed")),
            true,
        ),
        (
            Say::Json(500, error("500.003.02", "Spike Arrest Violation")),
            true,
        ),
        (Say::Text(503, "<html></html>"), false),
        (Say::Text(200, ""), false),
        (Say::Json(200, json!({"access_token": ""})), false),
        (Say::Json(200, json!({"access_token": "two words"})), false),
        (
            Say::Json(500, error("500.001.1001", "Internal Server Error")),
            false,
        ),
        (Say::Break, false),
    ] {
        let daraja = Daraja::that_accepts();
        daraja.say_of_tokens(say.clone());
        let client = client(&daraja.url);
        let error = client.check_credentials().await.unwrap_err();
        assert_eq!(
            matches!(error, TokenError::Refused(_)),
            is_refused,
            "{say:?} {error:?}"
        );
        let outcome = client.collect(&collection()).await.unwrap();
        // Without a token nothing was sent, whatever the reason.
        assert!(
            matches!(outcome, Outcome::Refused(_)),
            "{say:?} {outcome:?}"
        );
        assert!(!format!("{error:?} {outcome:?}").contains("consumer-secret"));
        assert!(daraja.calls().is_empty());
    }
}
