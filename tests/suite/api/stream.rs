//! The stream: the feed as it happens, resumed without a gap, and ended for those who may not listen any more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ussd_status::domain::partner::Scope;
use ussd_status::http::{HEARTBEAT_EVERY, STREAMS_PER_KEY};

use super::{acknowledged, b2c_result, registered, start};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::build::audit;

on_both_databases!(
    events_come_as_they_happen_with_the_bodies_of_the_feed,
    whoever_comes_back_after_a_restart_misses_nothing,
    a_place_that_is_no_longer_kept_is_told_in_the_stream,
    a_wrong_place_is_refused_before_the_stream_begins,
    a_key_has_so_many_streams_and_no_more,
    a_revoked_key_and_a_suspended_partner_lose_their_streams,
    a_stopping_service_ends_its_streams,
    a_listener_far_behind_is_told_all_of_it,
);

const STREAM: &str = "/api/ussd/transaction-status/stream";
/// A hanging test is a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// One who listens.
struct Listener {
    answer: reqwest::Response,
    text: String,
}

/// An event as the listener has it; one without a name is a comment, or a place without an event.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    id: String,
    name: String,
    data: String,
    comment: String,
}

impl Listener {
    async fn open(app: &TestApp, key: &str, query: &str, last: Option<&str>) -> Self {
        let mut headers = vec![("x-api-key", key)];
        headers.extend(last.map(|last| ("last-event-id", last)));
        let answer = app.open(&format!("{STREAM}{query}"), &headers).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// The next block; `None` at a clean end.
    async fn next(&mut self) -> Option<Heard> {
        let hear = async {
            while !self.text.contains("\n\n") {
                let piece = self.answer.chunk().await.unwrap()?;
                self.text.push_str(std::str::from_utf8(&piece).unwrap());
            }
            let (block, rest) = self.text.split_once("\n\n").unwrap();
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            Some(block)
        };
        let block = tokio::time::timeout(PATIENCE, hear).await.unwrap()?;
        let mut heard = Heard::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.trim_start().to_owned();
            match field {
                "id" => heard.id = value,
                "event" => heard.name = value,
                "data" => heard.data = value,
                "" => heard.comment = value,
                "retry" => assert_eq!(value, "5000"),
                other => panic!("{other} in {block}"),
            }
        }
        Some(heard)
    }

    /// Where it says it stands, first of all.
    async fn place(&mut self) -> String {
        let first = self.next().await.unwrap();
        assert_eq!((first.name.as_str(), first.data.as_str()), ("", ""));
        first.id
    }

    async fn event(&mut self) -> (String, Value) {
        let heard = self.next().await.unwrap();
        let body: Value = serde_json::from_str(&heard.data).unwrap();
        assert_eq!(heard.name, body["type"].as_str().unwrap());
        assert_eq!(heard.id, body["sequence"].to_string());
        (heard.data, body)
    }

    /// Reads on to the end; the last comment.
    async fn end(&mut self) -> String {
        let mut last = String::new();
        while let Some(heard) = self.next().await {
            last = heard.comment;
        }
        last
    }
}

async fn events_come_as_they_happen_with_the_bodies_of_the_feed(db: TestStore) {
    let (app, partner, account) = start(db).await;
    app.register(&partner, json!({})).await;
    let mut listener = Listener::open(&app, &partner.key, "", None).await;
    // What was before is not told.
    assert_eq!(listener.place().await, "1");
    let stranger = app.partner().await;
    app.register(&stranger, json!({})).await;
    let begun = Instant::now();
    registered(&app, &partner, "AG1").await;
    let (first, body) = listener.event().await;
    assert_eq!(body["type"], "transaction.registered");
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let (second, body) = listener.event().await;
    assert_eq!(body["type"], "transaction.success");
    assert!(begun.elapsed() < Duration::from_secs(15));
    let feed = app.get(&partner, "/api/ussd/events?after=1").await;
    assert!(feed.text.contains(&format!("[{first},{second}]")));
}

async fn whoever_comes_back_after_a_restart_misses_nothing(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut listener = Listener::open(&app, &partner.key, "", None).await;
    assert_eq!(listener.place().await, "0");
    app.register(&partner, json!({})).await;
    assert_eq!(listener.event().await.1["sequence"], 1);
    app.end().await;
    assert_eq!(listener.end().await, "the service stops; come back");
    let again = app.beside(&[]).await;
    // More than is read at a time.
    for _ in 0..120 {
        again.register(&partner, json!({})).await;
    }
    let mut listener = Listener::open(&again, &partner.key, "?after=77", Some("1")).await;
    // The header is newer than the address.
    assert_eq!(listener.place().await, "1");
    for sequence in 2..=121 {
        assert_eq!(listener.event().await.1["sequence"], sequence);
    }
    let mut listener = Listener::open(&again, &partner.key, "?after=120", None).await;
    assert_eq!(listener.place().await, "120");
    assert_eq!(listener.event().await.1["sequence"], 121);
}

async fn a_place_that_is_no_longer_kept_is_told_in_the_stream(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for _ in 0..3 {
        app.register(&partner, json!({})).await;
    }
    app.db
        .execute("DELETE FROM transaction_events WHERE sequence < 3")
        .await;
    let mut listener = Listener::open(&app, &partner.key, "?after=0", None).await;
    assert_eq!(listener.place().await, "0");
    let gap = listener.next().await.unwrap();
    assert_eq!((gap.name.as_str(), gap.id.as_str()), ("gap", "2"));
    assert_eq!(gap.data, r#"{"oldest":3}"#);
    assert_eq!(listener.event().await.1["sequence"], 3);
}

async fn a_wrong_place_is_refused_before_the_stream_begins(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    for (query, words) in [
        ("?after=-1", "after is \"-1\""),
        ("?after=x", "after is \"x\""),
        ("?msisdn=254712345678", "accepted are after"),
    ] {
        let answer = app.get(&partner, &format!("{STREAM}{query}")).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(text.contains(words), "{text}");
    }
    for last in ["-1", "evt_7", "9223372036854775808", "+7", ""] {
        let headers = [("x-api-key", partner.key.as_str()), ("last-event-id", last)];
        let answer = app.send(reqwest::Method::GET, STREAM, &headers, None).await;
        let text = answer.refused(400, "VALIDATION_1002");
        assert!(
            text.contains(&format!("Last-Event-ID is \"{last}\"")),
            "{text}"
        );
    }
    let headers = [("x-api-key", "nobody's")];
    let answer = app.send(reqwest::Method::GET, STREAM, &headers, None).await;
    answer.refused(401, "AUTH_1002");
    let key = app
        .another_key(partner.id, &[Scope::PaymentsWrite], |_| {})
        .await;
    let headers = [("x-api-key", key.as_str())];
    let answer = app.send(reqwest::Method::GET, STREAM, &headers, None).await;
    answer.refused(403, "AUTH_1003");
}

async fn a_key_has_so_many_streams_and_no_more(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_PER_KEY {
        open.push(Listener::open(&app, &partner.key, "", None).await);
    }
    let refused = app.get(&partner, STREAM).await;
    refused.refused(429, "RATE_1001");
    assert_eq!(refused.header("retry-after"), "30");
    let other = app
        .another_key(partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let mut listener = Listener::open(&app, &other, "", None).await;
    assert_eq!(listener.place().await, "0");
    // Every one of them is told.
    app.register(&partner, json!({})).await;
    open.push(listener);
    for listener in &mut open {
        while listener.next().await.unwrap().name != "transaction.registered" {}
    }
}

async fn revoke(app: &TestApp, partner: &TestPartner) {
    let keys = app.db.store.list_keys(partner.id).await.unwrap();
    let now = app.db.now();
    assert!(
        app.db
            .store
            .revoke_key(keys[0].id, now, audit())
            .await
            .unwrap()
    );
}

async fn a_revoked_key_and_a_suspended_partner_lose_their_streams(db: TestStore) {
    let app = TestApp::start(db).await;
    let (revoked, suspended, innocent) = (
        app.partner().await,
        app.partner().await,
        app.partner().await,
    );
    let mut first = Listener::open(&app, &revoked.key, "", None).await;
    let mut second = Listener::open(&app, &suspended.key, "", None).await;
    let mut third = Listener::open(&app, &innocent.key, "", None).await;
    let now = app.db.now();
    revoke(&app, &revoked).await;
    let store = &app.db.store;
    let done = store.set_partner_suspended(suspended.id, Some(now), audit());
    assert!(done.await.unwrap());
    let refused = "this API key is not accepted any more";
    assert_eq!(first.end().await, refused);
    assert_eq!(second.end().await, refused);
    assert_eq!(third.place().await, "0");
    app.register(&innocent, json!({})).await;
    assert_eq!(third.event().await.1["sequence"], 1);
}

async fn a_stopping_service_ends_its_streams(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut listener = Listener::open(&app, &partner.key, "", None).await;
    assert_eq!(listener.place().await, "0");
    let begun = Instant::now();
    app.end().await;
    assert_eq!(listener.end().await, "the service stops; come back");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_is_not_silent() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let mut listener = Listener::open(&app, &partner.key, "", None).await;
    listener.place().await;
    let begun = Instant::now();
    assert_eq!(listener.next().await.unwrap(), Heard::default());
    assert!(begun.elapsed() < HEARTBEAT_EVERY + Duration::from_secs(10));
}

async fn a_listener_far_behind_is_told_all_of_it(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let mut listener = Listener::open(&app, &partner.key, "?after=0", None).await;
    for _ in 0..300 {
        app.register(&partner, json!({})).await;
    }
    listener.place().await;
    for sequence in 1..=300 {
        assert_eq!(listener.event().await.1["sequence"], sequence);
    }
}
