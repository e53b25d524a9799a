//! The status API's long polls: held while there is nothing to say, answered by the commit that says it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::watch::WatchKey;

use super::{STATUS, acknowledged, b2c_result, ids, registered, start, waiting};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    the_commit_that_settles_it_answers_whoever_waits,
    a_match_that_appears_is_an_answer_though_it_is_not_final,
    any_filter_can_be_waited_with,
    news_of_another_number_or_partner_are_no_answer,
    nobody_waits_for_what_is_final,
    the_answer_at_the_end_of_the_time_is_the_ordinary_one,
    a_stopping_service_gives_the_ordinary_answer,
    a_wait_is_one_request_and_within_its_range,
);

/// Well below the wait, well above what a commit takes: on SQLite nobody looks every now and then.
const SOON: Duration = Duration::from_secs(15);

fn newest(page: &Value) -> &Value {
    &page["transactions"][0]
}

/// Until so many have looked once and wait for this.
async fn looked(app: &TestApp, key: WatchKey, count: usize) {
    while app.feed.waiting_for(key) < count {
        tokio::task::yield_now().await;
    }
}

fn number(partner: &TestPartner, msisdn: &str) -> WatchKey {
    WatchKey::msisdn(partner.id, &Msisdn::from_international(msisdn).unwrap())
}

async fn the_commit_that_settles_it_answers_whoever_waits(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    let path = format!("{STATUS}?conversation_id=AG1&wait=25");
    let answer = waiting(&app, &partner, &path, "respond-async").await;
    let begun = Instant::now();
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let answer = answer.await;
    assert!(begun.elapsed() < SOON);
    assert_eq!(answer.header("preference-applied"), "");
    let page = answer.expect(200);
    assert_eq!(newest(&page)["status"], "success");
    // The whole answer, of one moment.
    assert_eq!(page["statistics"]["successful_transactions"], 1);
    assert_eq!(app.feed.waiting(), 0);
}

async fn a_match_that_appears_is_an_answer_though_it_is_not_final(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let path = format!("{STATUS}?msisdn=0712345678");
    let answer = waiting(&app, &partner, &path, "wait=25").await;
    looked(&app, number(&partner, "254712345678"), 1).await;
    let begun = Instant::now();
    let first = app.register(&partner, json!({})).await;
    let answer = answer.await;
    assert!(begun.elapsed() < SOON);
    assert_eq!(answer.header("preference-applied"), "wait=25");
    let page = answer.expect(200);
    assert_eq!(newest(&page)["transaction_id"], first["transaction_id"]);
    assert_eq!(newest(&page)["status"], "queued");
    // One that is newer than the one that is waited for is news as well.
    let answer = waiting(&app, &partner, &path, "wait=25").await;
    looked(&app, number(&partner, "254712345678"), 1).await;
    let second = app.register(&partner, json!({})).await;
    let page = answer.await.expect(200);
    assert_eq!(newest(&page)["transaction_id"], second["transaction_id"]);
    assert!(begun.elapsed() < SOON);
}

async fn any_filter_can_be_waited_with(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let fields = json!({"conversation_id": "AG1", "originator_conversation_id": "O-AG1", "client_request_id": "C1"});
    let row = app.register(&partner, fields).await;
    let id = row["transaction_id"].as_str().unwrap();
    let queries = [
        "stats=none".to_owned(),
        format!("transaction_id={id}"),
        "client_request_id=C1".to_owned(),
        "conversation_id=AG1".to_owned(),
        "conversation_id=O-AG1".to_owned(),
        "msisdn=254712345678&from=2020-01-01T00:00:00Z".to_owned(),
        "status=accepted&client_request_id=C1".to_owned(),
        "status=success".to_owned(),
        "transaction_receipt=RAG1".to_owned(),
        "client_request_id=C1&msisdn=254712345678".to_owned(),
    ];
    let mut answers = Vec::new();
    for query in &queries {
        let path = format!("{STATUS}?{query}&wait=25");
        answers.push(waiting(&app, &partner, &path, "foo").await);
    }
    looked(&app, WatchKey::client_request(partner.id, "C1"), 3).await;
    let begun = Instant::now();
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    for (query, answer) in queries.iter().zip(answers) {
        let page = answer.await.expect(200);
        let found = ids(&page["transactions"]);
        // What was accepted is not any more: that the match is gone is news.
        let expected = if query.starts_with("status=accepted") {
            vec![]
        } else {
            vec![id.to_owned()]
        };
        assert_eq!(found, expected, "{query}");
        assert!(begun.elapsed() < SOON, "{query}");
    }
}

async fn news_of_another_number_or_partner_are_no_answer(db: TestStore) {
    let app = TestApp::start(db).await;
    let (partner, stranger) = (app.partner().await, app.partner().await);
    let path = format!("{STATUS}?msisdn=254712345678&wait=25");
    let answer = waiting(&app, &partner, &path, "foo").await;
    looked(&app, number(&partner, "254712345678"), 1).await;
    app.register(&partner, json!({"msisdn": "254712345679"}))
        .await;
    app.register(&stranger, json!({})).await;
    assert_eq!(app.feed.waiting(), 1);
    let mine = app.register(&partner, json!({})).await;
    let page = answer.await.expect(200);
    assert_eq!(newest(&page)["transaction_id"], mine["transaction_id"]);
    assert_eq!(page["pagination"]["total"], 1);
}

async fn nobody_waits_for_what_is_final(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 2001)).await;
    let begun = Instant::now();
    let path = format!("{STATUS}?conversation_id=AG1&wait=25");
    let page = app.get(&partner, &path).await.expect(200);
    assert_eq!(newest(&page)["status"], "failed");
    assert!(begun.elapsed() < SOON);
}

async fn the_answer_at_the_end_of_the_time_is_the_ordinary_one(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for fields in [None, Some(json!({}))] {
        if let Some(fields) = fields {
            app.register(&partner, fields).await;
        }
        let begun = Instant::now();
        let waited = app
            .get(&partner, &format!("{STATUS}?wait=1"))
            .await
            .expect(200);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(waited, app.get(&partner, STATUS).await.expect(200));
        let at_once = app
            .get(&partner, &format!("{STATUS}?wait=0"))
            .await
            .expect(200);
        assert_eq!(at_once, waited);
    }
}

async fn a_stopping_service_gives_the_ordinary_answer(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let row = app.register(&partner, json!({})).await;
    let ordinary = app.get(&partner, STATUS).await.expect(200);
    let answer = waiting(&app, &partner, &format!("{STATUS}?wait=25"), "foo").await;
    let begun = Instant::now();
    app.stop();
    let page = answer.await.expect(200);
    assert!(begun.elapsed() < SOON);
    assert_eq!(newest(&page)["transaction_id"], row["transaction_id"]);
    assert_eq!(page, ordinary);
}

async fn a_wait_is_one_request_and_within_its_range(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let answer = app.get(&partner, &format!("{STATUS}?wait=1")).await;
    assert_eq!(answer.header("ratelimit"), "\"get\";r=99;t=1");
    for wait in ["26", "-1", "1.5", "x"] {
        let answer = app.get(&partner, &format!("{STATUS}?wait={wait}")).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.contains("from 0 to 25"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_one_instance_answers_those_who_wait_at_another() {
    let (app, partner, account) = start(TestStore::postgres().await).await;
    let other = app.elsewhere().await;
    for turn in 0..3 {
        let conversation = format!("AG{turn}");
        registered(&app, &partner, &conversation).await;
        let path = format!("{STATUS}?conversation_id={conversation}&wait=25");
        let answer = waiting(&other, &partner, &path, "foo").await;
        let begun = Instant::now();
        let result = b2c_result(&conversation, 0);
        acknowledged(&app, &account, "b2c-result", result).await;
        let page = answer.await.expect(200);
        assert_eq!(newest(&page)["status"], "success");
        assert!(begun.elapsed() < SOON, "{turn}");
    }
}
