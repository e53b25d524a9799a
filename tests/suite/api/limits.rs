//! The three quotas of a key, and the one for wrong keys.

use reqwest::Method;
use serde_json::json;
use ussd_status::domain::partner::Scope;

use super::{STATUS, TRANSACTIONS};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};

/// `(remaining, seconds)` of a `RateLimit` header of this bucket.
fn standing(answer: &Answer, bucket: &str) -> (u32, u32) {
    let text = answer.header("ratelimit").to_owned();
    let rest = text
        .strip_prefix(&format!("\"{bucket}\";r="))
        .unwrap_or_else(|| panic!("{text}"));
    let (remaining, seconds) = rest.split_once(";t=").unwrap();
    (remaining.parse().unwrap(), seconds.parse().unwrap())
}

fn refused(answer: &Answer, bucket: &str) {
    answer.refused(429, "RATE_1001");
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let (remaining, seconds) = standing(answer, bucket);
    assert_eq!(remaining, 0);
    assert!(seconds >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reads_pass_and_the_next_is_told_to_wait() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let path = format!("{STATUS}?stats=none&limit=1");
    let first = app.get(&partner, &path).await;
    first.expect(200);
    assert_eq!(first.header("ratelimit-policy"), "\"get\";q=100;w=60");
    assert_eq!(standing(&first, "get"), (99, 1));
    let mut passed = 1;
    let last = loop {
        let answer = app.get(&partner, &path).await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect(200);
        passed += 1;
        assert!(passed < 200);
    };
    // A place comes back every 0.6 s while the test runs.
    assert!(passed >= 100, "{passed}");
    refused(&last, "get");
    assert_eq!(last.header("ratelimit-policy"), "\"get\";q=100;w=60");
    // Another key of the same partner, and the same key's other quotas, are whole.
    let key = app.another_key(partner.id, &Scope::DEFAULT, |_| {}).await;
    let other = TestPartner {
        id: partner.id,
        key,
    };
    assert_eq!(standing(&app.get(&other, &path).await, "get"), (99, 1));
    let bulk = app
        .post(&partner, STATUS, &json!({"client_request_ids": ["C"]}))
        .await;
    bulk.expect(200);
    assert_eq!(bulk.header("ratelimit-policy"), "\"post\";q=50;w=60");
    assert_eq!(standing(&bulk, "post").0, 49);
    let one = app.get(&partner, &format!("{TRANSACTIONS}/x")).await;
    one.refused(404, "NOT_FOUND_1001");
    assert_eq!(one.header("ratelimit-policy"), "\"write\";q=600;w=60");
    assert_eq!(standing(&one, "write").0, 599);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_bulk_reads_pass() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let body = json!({"client_request_ids": ["C"]});
    for left in (0..50).rev() {
        let answer = app.post(&partner, STATUS, &body).await;
        answer.expect(200);
        assert!(standing(&answer, "post").0 >= left);
    }
    // What is wrong in itself counts too, and the quota is checked before the body is.
    let mut answer = app.post(&partner, STATUS, &json!({})).await;
    for _ in 0..3 {
        if answer.status == 429 {
            break;
        }
        answer.refused(400, "VALIDATION_1001");
        answer = app.post(&partner, STATUS, &json!({})).await;
    }
    refused(&answer, "post");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_set_the_quotas_and_everything_else_shares_one() {
    let settings = [
        ("RATE_LIMIT_GET", "1"),
        ("RATE_LIMIT_POST", "2"),
        ("RATE_LIMIT_WRITE", "3"),
    ];
    let app = TestApp::start_with(TestStore::sqlite().await, &settings).await;
    let partner = app.partner().await;
    app.get(&partner, STATUS).await.expect(200);
    let answer = app.get(&partner, STATUS).await;
    refused(&answer, "get");
    assert_eq!(answer.header("ratelimit-policy"), "\"get\";q=1;w=60");
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
    app.register(&partner, json!({})).await;
    app.get(&partner, &format!("{TRANSACTIONS}/x"))
        .await
        .refused(404, "NOT_FOUND_1001");
    app.patch(
        &partner,
        &format!("{TRANSACTIONS}/x"),
        &json!({"order_reference": "O"}),
    )
    .await
    .refused(404, "NOT_FOUND_1001");
    refused(&app.post(&partner, TRANSACTIONS, &json!({})).await, "write");
    for _ in 0..2 {
        app.post(&partner, STATUS, &json!({"client_request_ids": ["C"]}))
            .await
            .expect(200);
    }
    refused(
        &app.post(&partner, STATUS, &json!({"client_request_ids": ["C"]}))
            .await,
        "post",
    );
    // What nobody is billed for: wrong methods, callbacks, health.
    app.send(Method::PUT, STATUS, &[("x-api-key", &partner.key)], None)
        .await
        .refused(405, "METHOD_1001");
    for _ in 0..10 {
        assert_eq!(app.send(Method::GET, "/livez", &[], None).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_wrong_keys_from_an_address_and_no_more() {
    let proxies = [("TRUSTED_PROXIES", "127.0.0.1")];
    let app = TestApp::start_with(TestStore::sqlite().await, &proxies).await;
    let (accepted, unseen) = (app.partner().await, app.partner().await);
    let get = async |key: &str, source: &str| {
        let headers = [("x-api-key", key), ("x-forwarded-for", source)];
        app.send(Method::GET, STATUS, &headers, None).await
    };
    get(&accepted.key, "192.0.2.1").await.expect(200);
    let mut wrong = 0;
    let last = loop {
        let answer = get(&format!("us_wrong{wrong}"), "192.0.2.1").await;
        if answer.status == 429 {
            break answer;
        }
        answer.refused(401, "AUTH_1002");
        wrong += 1;
        assert!(wrong < 60);
    };
    assert!((20..=25).contains(&wrong), "{wrong}");
    last.refused(429, "RATE_1001");
    assert!(last.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(last.header("ratelimit"), "", "nobody's quota");
    // A key this process knows works on; one it has not seen waits like a wrong one, from this address only.
    get(&accepted.key, "192.0.2.1").await.expect(200);
    get(&unseen.key, "192.0.2.1")
        .await
        .refused(429, "RATE_1001");
    get(&unseen.key, "192.0.2.2").await.expect(200);
    get(&unseen.key, "192.0.2.1").await.expect(200);
    // No key at all is not a guess.
    app.send(
        Method::GET,
        STATUS,
        &[("x-forwarded-for", "192.0.2.1")],
        None,
    )
    .await
    .refused(401, "AUTH_1001");
}
