//! The feed over HTTP: the webhooks' bodies, in order, and waited for.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::partner::Scope;
use ussd_status::simulator::receiver::Receiver;

use super::{acknowledged, assert_order, b2c_result, registered, start, waiting};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    the_feed_has_the_bodies_of_the_webhooks,
    a_feed_is_read_page_by_page,
    an_answer_comes_the_instant_something_happens,
    a_stopping_service_answers_those_who_wait,
    what_was_removed_is_told,
    a_wrong_parameter_is_named,
    the_feed_counts_as_a_read,
);

const EVENTS: &str = "/api/ussd/events";

async fn events(app: &TestApp, partner: &TestPartner, query: &str) -> Value {
    app.get(partner, &format!("{EVENTS}?{query}"))
        .await
        .expect(200)
}

fn sequences(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["sequence"].as_i64().unwrap())
        .collect()
}

async fn the_feed_has_the_bodies_of_the_webhooks(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let clock = app.db.clock.clone();
    let now = std::sync::Arc::new(move || ussd_status::domain::clock::Clock::now(&*clock));
    let (receiver, mut arrivals) = Receiver::start(([127, 0, 0, 1], 0).into(), now)
        .await
        .unwrap();
    let (_, secret) = app.endpoint(partner.id, &receiver.url("k")).await;
    assert!(receiver.set_secrets("k", &[&secret]));
    registered(&app, &partner, "AG1").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let answer = app.get(&partner, EVENTS).await;
    let page = answer.expect(200);
    assert_order(&answer, &["success", "events", "next_after", "oldest"]);
    assert_eq!(
        (&page["next_after"], &page["oldest"]),
        (&json!(2), &Value::Null)
    );
    for place in 0..2 {
        let arrival = tokio::time::timeout(Duration::from_secs(30), arrivals.recv());
        let webhook = arrival.await.unwrap().unwrap();
        assert!(webhook.verified);
        // To the byte: the texts of both, not what they parse to.
        assert!(answer.text.contains(&webhook.body), "{place}");
        assert_eq!(
            page["events"][place],
            serde_json::from_str::<Value>(&webhook.body).unwrap()
        );
    }
    let other = app.partner().await;
    assert_eq!(events(&app, &other, "after=0").await["events"], json!([]));
}

async fn a_feed_is_read_page_by_page(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for _ in 0..5 {
        app.register(&partner, json!({})).await;
    }
    let mut after = json!(0);
    for (wanted, next) in [(vec![1, 2], 2), (vec![3, 4], 4), (vec![5], 5), (vec![], 5)] {
        let page = events(&app, &partner, &format!("after={after}&limit=2")).await;
        assert_eq!(sequences(&page), wanted);
        assert_eq!(page["next_after"], next);
        after = page["next_after"].clone();
    }
    // Nothing is waited for where there is something.
    let page = events(&app, &partner, "after=2&wait=25").await;
    assert_eq!(sequences(&page), [3, 4, 5]);
    for _ in 0..50 {
        app.register(&partner, json!({})).await;
    }
    assert_eq!(events(&app, &partner, "").await["next_after"], 50);
    let page = events(&app, &partner, "limit=100").await;
    assert_eq!(page["next_after"], 55);
}

async fn an_answer_comes_the_instant_something_happens(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let stranger = app.partner().await;
    for (number, (query, prefer)) in [
        ("after=0&wait=25", "foo"),
        ("after=1", "respond-async, wait=25"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = waiting(&app, &partner, &format!("{EVENTS}?{query}"), prefer).await;
        app.register(&stranger, json!({})).await;
        let begun = Instant::now();
        app.register(&partner, json!({})).await;
        let page = answer.await.expect(200);
        assert_eq!(sequences(&page), [i64::try_from(number).unwrap() + 1]);
        // On SQLite nobody looks every now and then: only the commit can have told.
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
    assert_eq!(app.feed.waiting(), 0);
    // Without events the time passes, and the answer is the ordinary one.
    let begun = Instant::now();
    let page = events(&app, &partner, "after=2&wait=1").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        page,
        json!({"success": true, "events": [], "next_after": 2, "oldest": null})
    );
}

async fn a_stopping_service_answers_those_who_wait(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let answer = waiting(&app, &partner, &format!("{EVENTS}?wait=25"), "foo").await;
    let begun = Instant::now();
    app.stop();
    assert_eq!(
        answer.await.expect(200),
        json!({"success": true, "events": [], "next_after": 0, "oldest": null})
    );
    assert!(begun.elapsed() < Duration::from_secs(15));
}

async fn what_was_removed_is_told(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for _ in 0..3 {
        app.register(&partner, json!({})).await;
    }
    app.db
        .execute("DELETE FROM transaction_events WHERE sequence < 3")
        .await;
    let page = events(&app, &partner, "after=1").await;
    assert_eq!(sequences(&page), [3]);
    assert_eq!(
        (&page["oldest"], &page["next_after"]),
        (&json!(3), &json!(3))
    );
    app.db
        .execute("DELETE FROM transaction_events WHERE sequence = 3")
        .await;
    // That all is gone is news as well: nobody waits for it to change.
    let page = events(&app, &partner, "after=1&wait=25").await;
    assert_eq!(
        page,
        json!({"success": true, "events": [], "next_after": 3, "oldest": 4})
    );
}

async fn a_wrong_parameter_is_named(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (query, words) in [
        ("after=-1", "after is \"-1\""),
        ("after=x", "after is \"x\""),
        ("after=9223372036854775808", "after is"),
        ("limit=0", "from 1 to 100"),
        ("limit=101", "from 1 to 100"),
        ("wait=26", "from 0 to 25"),
        ("wait=2.5", "from 0 to 25"),
        ("since=1", "accepted are after, limit, wait"),
        ("after=1&after=2", "more than once"),
    ] {
        let answer = app.get(&partner, &format!("{EVENTS}?{query}")).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.contains(words), "{query}: {text}");
    }
    let headers = [("x-api-key", partner.key.as_str()), ("prefer", "wait=60")];
    let answer = app.send(Method::GET, EVENTS, &headers, None).await;
    let text = answer.refused(400, "VALIDATION_1002");
    assert!(text.contains("Prefer has wait=\"60\""), "{text}");
    let last = events(&app, &partner, "after=9223372036854775807").await;
    assert_eq!(last["next_after"], json!(i64::MAX));
}

async fn the_feed_counts_as_a_read(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let answer = app.get(&partner, EVENTS).await;
    assert_eq!(answer.header("ratelimit"), "\"get\";r=99;t=1");
    let change = |_: &mut _| {};
    let key = app
        .another_key(partner.id, &[Scope::PaymentsWrite], change)
        .await;
    let answer = app
        .send(Method::GET, EVENTS, &[("x-api-key", &key)], None)
        .await;
    answer.refused(403, "AUTH_1003");
}
