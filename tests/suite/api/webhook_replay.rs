//! Deliveries with their attempts, and sending them again: one, a range, the failed ones, none but counted.

use std::time::Duration;

use serde_json::{Value, json};
use ussd_status::simulator::receiver::Fault;

use super::start;
use super::webhook_management::{WEBHOOKS, made};
use super::webhooks::Desk;
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    deliveries_are_listed_with_what_was_answered,
    one_delivery_is_made_again_under_the_same_id,
    a_range_brings_what_was_missed_and_nothing_from_before_the_endpoint,
    only_what_failed_is_sent_again_when_asked_so,
    a_disabled_endpoint_is_sent_nothing_again,
);

async fn register(app: &TestApp, partner: &TestPartner, count: usize) {
    for _ in 0..count {
        app.register(partner, json!({})).await;
    }
}

/// The endpoint's deliveries as soon as none is pending.
async fn settled(app: &TestApp, partner: &TestPartner, path: &str, query: &str) -> Value {
    for _ in 0..200 {
        if app
            .db
            .count("FROM deliveries WHERE state = 'pending'")
            .await
            == 0
        {
            return app
                .get(partner, &format!("{path}/deliveries{query}"))
                .await
                .expect(200);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("something is still pending");
}

fn sequences(page: &Value) -> Vec<i64> {
    let deliveries = page["deliveries"].as_array().unwrap();
    deliveries
        .iter()
        .map(|one| one["sequence"].as_i64().unwrap())
        .collect()
}

async fn deliveries_are_listed_with_what_was_answered(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    desk.receiver
        .set_fault("kilimo", Fault::Answer(500), Some(1));
    register(&app, &partner, 1).await;
    desk.next().await;
    desk.next_after_a_while(&app, chrono::Duration::seconds(2))
        .await;
    register(&app, &partner, 2).await;
    let page = settled(&app, &partner, &path, "").await;
    assert_eq!(
        (sequences(&page), &page["next_cursor"]),
        (vec![3, 2, 1], &Value::Null)
    );
    let first = &page["deliveries"][2];
    assert_eq!(
        (&first["state"], &first["type"]),
        (&json!("delivered"), &json!("transaction.registered"))
    );
    assert_eq!(first["next_attempt_at"], Value::Null);
    let attempts = first["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts
        .iter()
        .map(|one| (&one["number"], &one["status"]))
        .collect();
    assert_eq!(told, [(&json!(1), &json!(500)), (&json!(2), &json!(200))]);
    assert!(
        attempts[0]["duration_ms"].is_i64() && attempts[0]["response"].is_string(),
        "{first}"
    );

    let page = settled(&app, &partner, &path, "?limit=2").await;
    assert_eq!(
        (sequences(&page), &page["next_cursor"]),
        (vec![3, 2], &json!(2))
    );
    let rest = settled(&app, &partner, &path, "?limit=2&cursor=2").await;
    assert_eq!(
        (sequences(&rest), &rest["next_cursor"]),
        (vec![1], &Value::Null)
    );
    for (state, count) in [("delivered", 3), ("pending", 0), ("dead", 0)] {
        let page = settled(&app, &partner, &path, &format!("?state={state}")).await;
        assert_eq!(sequences(&page).len(), count, "{state}");
    }
}

async fn one_delivery_is_made_again_under_the_same_id(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    register(&app, &partner, 1).await;
    let first = desk.next().await;
    let page = settled(&app, &partner, &path, "").await;
    let id = page["deliveries"][0]["id"].as_str().unwrap();
    let replay = format!("{WEBHOOKS}/deliveries/{id}/replay");
    let asked = app.post(&partner, &replay, &json!({})).await.expect(200);
    assert_eq!(asked["delivery"]["id"], id);
    let again = desk.next().await;
    assert_eq!(
        (&again.webhook_id, &again.body),
        (&first.webhook_id, &first.body)
    );
    assert!(again.verified && again.duplicate);
    let page = settled(&app, &partner, &path, "").await;
    let numbers: Vec<_> = page["deliveries"][0]["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["number"].clone())
        .collect();
    assert_eq!(numbers, [json!(1), json!(2)]);
    assert_eq!(
        page["deliveries"][0]["replayed_at"],
        "2026-03-14T15:09:26.535Z"
    );
}

async fn a_range_brings_what_was_missed_and_nothing_from_before_the_endpoint(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    register(&app, &partner, 2).await;
    app.db.advance(chrono::Duration::seconds(10));
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    let minute = || app.db.advance(chrono::Duration::minutes(1));
    minute();
    register(&app, &partner, 1).await;
    assert_eq!(desk.next().await.sequence, Some(3));
    settled(&app, &partner, &path, "").await;
    // What happens while it is disabled is never delivered to it.
    app.patch(&partner, &path, &json!({"enabled": false}))
        .await
        .expect(200);
    minute();
    register(&app, &partner, 2).await;
    app.patch(&partner, &path, &json!({"enabled": true}))
        .await
        .expect(200);
    minute();
    register(&app, &partner, 1).await;
    assert_eq!(desk.next().await.sequence, Some(6));
    settled(&app, &partner, &path, "").await;

    let replay = format!("{path}/replay");
    let ask = async |body: Value| app.post(&partner, &replay, &body).await.expect(200);
    for (range, count) in [
        (json!({"since": "1970-01-01T00:00:00Z", "dry_run": true}), 4),
        (json!({"since": "2026-03-14T15:11:00Z", "dry_run": true}), 3),
        (
            json!({"since": "1970-01-01T00:00:00Z", "until": "2026-03-14T15:12:00Z", "dry_run": true}),
            3,
        ),
        (json!({"since": "2026-03-14T16:00:00Z", "dry_run": true}), 0),
        (
            json!({"since": "1970-01-01T00:00:00Z", "only_failed": true, "dry_run": true}),
            0,
        ),
    ] {
        let counted = ask(range.clone()).await;
        assert_eq!(
            (&counted["count"], &counted["dry_run"]),
            (&json!(count), &json!(true)),
            "{range}"
        );
    }
    assert_eq!(
        desk.within(Duration::from_millis(600)).await,
        None,
        "a dry run sends nothing"
    );
    let asked =
        ask(json!({"since": "2026-03-14T15:11:00Z", "until": "2026-03-14T15:12:00Z"})).await;
    assert_eq!(
        (&asked["count"], &asked["next_since"]),
        (&json!(2), &Value::Null)
    );
    let mut missed = [desk.next().await.sequence, desk.next().await.sequence];
    missed.sort_unstable();
    assert_eq!(missed, [Some(4), Some(5)]);
    let page = settled(&app, &partner, &path, "").await;
    assert_eq!(sequences(&page), [6, 5, 4, 3]);
    // An endpoint that wants one kind of event is sent no other.
    app.patch(&partner, &path, &json!({"events": ["transaction.failed"]}))
        .await
        .expect(200);
    assert_eq!(
        ask(json!({"since": "1970-01-01T00:00:00Z"})).await["count"],
        0
    );
    let late = json!({"since": "2026-03-14T15:11:00Z", "until": "2026-03-14T15:10:00Z"});
    app.post(&partner, &replay, &late)
        .await
        .refused(400, "VALIDATION_1002");
}

async fn only_what_failed_is_sent_again_when_asked_so(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    app.db.advance(chrono::Duration::seconds(1));
    register(&app, &partner, 3).await;
    for _ in 0..3 {
        desk.next().await;
    }
    settled(&app, &partner, &path, "").await;
    app.db
        .execute("UPDATE deliveries SET state = 'dead' WHERE sequence = 2")
        .await;
    let dead = settled(&app, &partner, &path, "?state=dead").await;
    assert_eq!(sequences(&dead), [2]);
    let body = json!({"since": "2026-01-01T00:00:00Z", "only_failed": true});
    let asked = app
        .post(&partner, &format!("{path}/replay"), &body)
        .await
        .expect(200);
    assert_eq!(asked["count"], 1);
    assert_eq!(desk.next().await.sequence, Some(2));
    assert_eq!(desk.within(Duration::from_millis(600)).await, None);
}

async fn a_disabled_endpoint_is_sent_nothing_again(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    register(&app, &partner, 1).await;
    desk.next().await;
    let page = settled(&app, &partner, &path, "").await;
    app.patch(&partner, &path, &json!({"enabled": false}))
        .await
        .expect(200);
    let id = page["deliveries"][0]["id"].as_str().unwrap();
    let one = format!("{WEBHOOKS}/deliveries/{id}/replay");
    for (path, body) in [
        (one, json!({})),
        (
            format!("{path}/replay"),
            json!({"since": "2026-01-01T00:00:00Z"}),
        ),
    ] {
        let text = app
            .post(&partner, &path, &body)
            .await
            .refused(409, "CONFLICT_1001");
        assert!(text.contains("enable it first"), "{text}");
    }
    assert_eq!(
        app.db
            .count("FROM deliveries WHERE state = 'pending'")
            .await,
        0
    );
}
