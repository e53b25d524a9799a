//! Entity tags and deadlines of the status API: nothing is sent twice, and nothing too late.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{STATUS, acknowledged, b2c_result, page, registered, start};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};

on_both_databases!(
    an_answer_the_caller_has_is_not_sent_again,
    the_tag_covers_everything_but_the_time,
    not_modified_comes_only_at_the_end_of_a_wait,
    whoever_has_the_newest_answer_waits_for_another,
    whoever_has_an_older_answer_does_not_wait,
    a_deadline_cuts_the_wait,
    a_deadline_that_is_none_is_named,
);

async fn ask(app: &TestApp, partner: &TestPartner, query: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("x-api-key", partner.key.as_str())];
    headers.extend_from_slice(more);
    let path = format!("{STATUS}?{query}");
    app.send(Method::GET, &path, &headers, None).await
}

async fn an_answer_the_caller_has_is_not_sent_again(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    app.register(&partner, json!({})).await;
    app.register(&partner, json!({})).await;
    let whole = ask(&app, &partner, "limit=1", &[]).await;
    whole.expect(200);
    assert_eq!(whole.header("cache-control"), "private, no-cache");
    assert_eq!(whole.header("content-type"), "application/json");
    let tag = whole.header("etag");
    for known in [
        tag.to_owned(),
        format!("W/{tag}"),
        format!("\"other, one\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = ask(&app, &partner, "limit=1", &[("if-none-match", &known)]).await;
        assert_eq!(answer.status, 304, "{known}");
        assert_eq!(answer.text, "");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert_eq!(answer.header("link"), whole.header("link"));
        assert!(answer.header("ratelimit").starts_with("\"get\";r="));
    }
    for known in ["\"other\"", "other", "\""] {
        let answer = ask(&app, &partner, "limit=1", &[("if-none-match", known)]).await;
        assert_eq!(answer.expect(200), whole.json(), "{known}");
    }
    // An error is no answer that anybody has, and keeps to itself.
    let wrong = ask(&app, &partner, "limit=0", &[("if-none-match", "*")]).await;
    wrong.refused(400, "VALIDATION_1002");
    assert_eq!(wrong.header("cache-control"), "no-store");
    assert_eq!(wrong.header("etag"), "");
}

async fn the_tag_covers_everything_but_the_time(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    let query = "conversation_id=AG1";
    let first = ask(&app, &partner, query, &[]).await;
    app.db.advance(chrono::Duration::seconds(1));
    let later = ask(&app, &partner, query, &[]).await;
    assert_ne!(first.json()["timestamp"], later.json()["timestamp"]);
    assert_eq!(first.header("etag"), later.header("etag"));
    let lean = format!("{query}&stats=none");
    let without = ask(&app, &partner, &lean, &[]).await;
    assert_ne!(without.header("etag"), later.header("etag"));
    // The statistics are part of the answer; without them another transaction is none of its business.
    app.register(&partner, json!({})).await;
    let changed = ask(&app, &partner, query, &[]).await;
    assert_ne!(changed.header("etag"), later.header("etag"));
    let same = ask(&app, &partner, &lean, &[]).await;
    assert_eq!(same.header("etag"), without.header("etag"));
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let paid = ask(&app, &partner, &lean, &[]).await;
    assert_ne!(paid.header("etag"), without.header("etag"));
    assert_eq!(paid.text.matches("\"timestamp\":").count(), 1);
    assert!(paid.text.ends_with("Z\"}"), "{}", paid.text);
}

async fn not_modified_comes_only_at_the_end_of_a_wait(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    for code in [None, Some(0)] {
        if let Some(code) = code {
            acknowledged(&app, &account, "b2c-result", b2c_result("AG1", code)).await;
        }
        let tag = ask(&app, &partner, "conversation_id=AG1", &[]).await;
        let known = [("if-none-match", tag.header("etag"))];
        let begun = Instant::now();
        let answer = ask(&app, &partner, "conversation_id=AG1&wait=1", &known).await;
        // The same search, asked for with a wait, is the same answer.
        assert_eq!(answer.status, 304, "{code:?}");
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}

async fn whoever_has_the_newest_answer_waits_for_another(db: TestStore) {
    let (app, partner, account) = start(db).await;
    registered(&app, &partner, "AG1").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let have = ask(&app, &partner, "msisdn=254712345678&stats=none", &[]).await;
    let known = [("if-none-match", have.header("etag"))];
    let begun = Instant::now();
    let asking = ask(
        &app,
        &partner,
        "msisdn=254712345678&stats=none&wait=25",
        &known,
    );
    let mut asking = Box::pin(asking);
    tokio::select! {
        answer = &mut asking => panic!("answered at once: {}", answer.text),
        () = async { while app.feed.waiting() == 0 { tokio::task::yield_now().await; } } => {}
    }
    let next = app.register(&partner, json!({})).await;
    let found = asking.await.expect(200);
    assert_eq!(
        found["transactions"][0]["transaction_id"],
        next["transaction_id"]
    );
    assert!(begun.elapsed() < Duration::from_secs(15));
}

async fn whoever_has_an_older_answer_does_not_wait(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let nothing = ask(&app, &partner, "stats=none&wait=0", &[]).await;
    let row = app.register(&partner, json!({})).await;
    // It is not final, but what the caller has is older.
    let known = [("if-none-match", nothing.header("etag"))];
    let begun = Instant::now();
    let answer = ask(&app, &partner, "stats=none&wait=25", &known).await;
    assert_eq!(
        answer.expect(200)["transactions"][0]["transaction_id"],
        row["transaction_id"]
    );
    assert!(begun.elapsed() < Duration::from_secs(15));
}

async fn a_deadline_cuts_the_wait(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    app.register(&partner, json!({})).await;
    let ordinary = page(&app, &partner, "").await;
    let begun = Instant::now();
    let answer = ask(&app, &partner, "wait=25", &[("x-deadline-ms", "3000")]).await;
    assert_eq!(answer.expect(200), ordinary);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(begun.elapsed() > Duration::from_secs(2));
    // A long one changes nothing.
    let answer = ask(&app, &partner, "", &[("x-deadline-ms", "3600000")]).await;
    assert_eq!(answer.expect(200), ordinary);
}

async fn a_deadline_that_is_none_is_named(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for wrong in ["0", "soon", "-5", "3600001", "1.5"] {
        let answer = ask(&app, &partner, "", &[("x-deadline-ms", wrong)]).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(
            text.contains(&format!("X-Deadline-Ms is \"{wrong}\"")),
            "{text}"
        );
    }
    // Who asks comes first.
    let headers = [("x-deadline-ms", "soon")];
    let answer = app.send(Method::GET, STATUS, &headers, None).await;
    answer.refused(401, "AUTH_1001");
}

/// Holds a table of PostgreSQL so that nobody reads it, until it is dropped.
async fn held(db: &TestStore, table: &str) -> tokio_postgres::Client {
    let client = db.postgres_client().await;
    let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    client.batch_execute(&lock).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_that_take_too_long_are_left_out_in_time() {
    let app = TestApp::start(TestStore::postgres().await).await;
    let partner = app.partner().await;
    let row = app.register(&partner, json!({})).await;
    let held = held(&app.db, "counters").await;
    let begun = Instant::now();
    let deadline = [("x-deadline-ms", "20000")];
    let answer = ask(&app, &partner, "msisdn=254712345678", &deadline).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    let late = answer.expect(200);
    assert_eq!(late["statistics"], json!(null));
    assert_eq!(late["stale"], true);
    assert_eq!(
        late["transactions"][0]["transaction_id"],
        row["transaction_id"]
    );
    assert_ne!(answer.header("etag"), "");
    drop(held);
    let whole = ask(&app, &partner, "msisdn=254712345678", &deadline).await;
    assert_eq!(whole.json()["statistics"]["total_transactions"], 1);
    assert!(!whole.text.contains("stale"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_time_is_better_than_silence() {
    let app = TestApp::start(TestStore::postgres().await).await;
    let partner = app.partner().await;
    app.register(&partner, json!({})).await;
    for (table, query) in [
        ("transactions", "msisdn=254712345678"),
        ("transactions", "stats=none"),
        ("transactions", "msisdn=254712345678&wait=1"),
    ] {
        let held = held(&app.db, table).await;
        let begun = Instant::now();
        let answer = ask(&app, &partner, query, &[("x-deadline-ms", "5000")]).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{query}");
        answer.refused(503, "DB_1001");
        assert_eq!(answer.header("retry-after"), "2");
        assert_ne!(answer.header("ratelimit"), "");
        drop(held);
    }
    // Not even the key can be looked up.
    let stranger = app.partner().await;
    let held = held(&app.db, "api_keys").await;
    let begun = Instant::now();
    let answer = ask(&app, &stranger, "", &[("x-deadline-ms", "3000")]).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    answer.refused(503, "DB_1001");
    drop(held);
}
