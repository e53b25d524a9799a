//! Webhook endpoints on the console: each act works, is on record, and another partner's endpoint is not there.

use chrono::Duration;
use serde_json::json;
use ussd_status::domain::delivery::{Attempt, AttemptVerdict};
use ussd_status::domain::identity::DeliveryId;
use ussd_status::domain::partner::Scope;

use super::audit_lines;
use crate::support::TestStore;
use crate::support::app::TestApp;
use crate::support::browser::Browser;

on_both_databases!(
    an_endpoint_is_made_changed_and_removed,
    dead_letters_are_counted_and_sent_again,
    a_failing_endpoint_says_how_its_last_attempt_failed_whoever_made_it,
);

const PAGE: &str = "/console/webhooks";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/hook";

/// The secret that a page shows.
fn secret(page: &str) -> String {
    let (_, rest) = page
        .split_once("whsec_")
        .unwrap_or_else(|| panic!("no secret in {page}"));
    rest.split_once('<').unwrap().0.to_owned()
}

async fn an_endpoint_is_made_changed_and_removed(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let browser = Browser::of_operator(&app, "asha").await;
    assert_eq!(browser.get(PAGE).await.status.as_u16(), 409);
    browser.look_at(partner.id).await;
    let form = [
        ("url", NOWHERE),
        ("description", "<i>Till</i> 7"),
        ("events", "transaction.success"),
        ("events", "transaction.failed"),
        ("signature", "v1"),
    ];
    let made = browser.send_form_of(PAGE, PAGE, &form).await;
    assert_eq!(made.status.as_u16(), 200, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let first = secret(&made.text);
    let endpoints = app.db.store.list_endpoints(partner.id).await.unwrap();
    let endpoint = endpoints.first().unwrap();
    assert_eq!(
        endpoint.events,
        ["transaction.success", "transaction.failed"]
    );
    let own = format!("{PAGE}/{}", endpoint.id);
    for path in [PAGE, own.as_str()] {
        let page = browser.page(path).await;
        assert!(page.contains(NOWHERE) && page.contains("healthy"), "{page}");
        assert!(!page.contains("whsec_") && !page.contains("<i>"), "{page}");
    }

    let act = async |act: &str, fields: &[(&str, &str)]| {
        let path = format!("{own}/{act}");
        browser.send_form_of(PAGE, &path, fields).await
    };
    let rotated = act("rotate-secret", &[]).await;
    assert_ne!(secret(&rotated.text), first);
    assert!(rotated.text.contains("24 hours"), "{}", rotated.text);
    let tested = act("test", &[]).await;
    assert_eq!(tested.header("location"), own);
    let page = browser.page(&own).await;
    assert!(page.contains("did not arrive"), "{page}");
    act("state", &[("state", "disabled")]).await;
    let page = browser.page(&own).await;
    assert!(page.contains(">disabled<"), "{page}");
    let wrong = act("state", &[("state", "asleep")]).await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert!(wrong.text.contains("enabled, disabled"), "{}", wrong.text);
    act("state", &[("state", "enabled")]).await;
    let removed = act("remove", &[]).await;
    assert_eq!(removed.header("location"), PAGE);
    assert_eq!(browser.get(&own).await.status.as_u16(), 404);
    for action in [
        "webhook.create",
        "webhook.rotate_secret",
        "webhook.test",
        "webhook.disable",
        "webhook.enable",
        "webhook.remove",
    ] {
        let lines = audit_lines(&app, action).await;
        assert_eq!(lines.len(), 1, "{action}");
        assert_eq!(lines[0][0], "console:asha", "{action}");
        assert_eq!(lines[0][1], partner.id.to_string(), "{action}");
        assert_eq!(lines[0][2], endpoint.id.to_string(), "{action}");
        assert_eq!(lines[0][3], "127.0.0.1", "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_signed_with_a_private_key_shows_the_public_one_at_any_time() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let form = [("url", NOWHERE), ("signature", "v1a")];
    let made = browser.send_form_of(PAGE, PAGE, &form).await;
    assert!(made.text.contains("whpk_") && !made.text.contains("whsec_"));
    let endpoints = app.db.store.list_endpoints(partner.id).await.unwrap();
    let page = browser.page(&format!("{PAGE}/{}", endpoints[0].id)).await;
    assert!(page.contains("whpk_"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_new_endpoint_is_told() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    for (form, problem) in [
        (vec![("description", "x")], "url is required"),
        (vec![("url", "ftp://\"><b>example.com")], "url is refused"),
        (
            vec![("url", NOWHERE), ("events", "transaction.lost")],
            "accepted are transaction.registered",
        ),
        (vec![("url", NOWHERE), ("signature", "v9")], "v1, v1a"),
    ] {
        let answer = browser.send_form_of(PAGE, PAGE, &form).await;
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
        assert!(answer.text.contains(problem), "{problem}: {}", answer.text);
        assert!(!answer.text.contains("\"><b>"), "{}", answer.text);
    }
    assert_eq!(app.db.count("FROM endpoints").await, 0);
}

async fn dead_letters_are_counted_and_sent_again(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let (id, _) = app.endpoint(partner.id, NOWHERE).await;
    let browser = Browser::with_key(&app, &partner.key).await;
    for _ in 0..2 {
        app.register(&partner, json!({})).await;
    }
    let own = format!("{PAGE}/{id}");
    let act = async |act: &str, fields: &[(&str, &str)]| {
        let path = format!("{own}/{act}");
        browser.send_form_of(PAGE, &path, fields).await
    };
    // What an endpoint is owed when it is disabled is given up.
    act("state", &[("state", "disabled")]).await;
    let refused = act("replay", &[("dead", "yes")]).await;
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.text);
    assert!(refused.text.contains("enable it first"), "{}", refused.text);
    act("state", &[("state", "enabled")]).await;
    assert_eq!(audit_lines(&app, "webhook.replay").await.len(), 0);
    let page = browser.page(&format!("{own}?state=dead")).await;
    assert_eq!(page.matches("dead letter</span>").count(), 2, "{page}");
    assert!(page.contains("transaction.registered"), "{page}");

    act("replay", &[("dead", "yes"), ("dry_run", "yes")]).await;
    let page = browser.page(&own).await;
    assert!(page.contains("2 events would be sent again."), "{page}");
    assert_eq!(audit_lines(&app, "webhook.replay").await.len(), 0);

    let dead = "FROM deliveries WHERE state = 'dead'";
    let one = app
        .db
        .rows(&["id"], &format!("{dead} ORDER BY sequence"))
        .await;
    let path = format!("deliveries/{}/replay", one[0][0].as_str().unwrap());
    let again = act(&path, &[]).await;
    assert_eq!(again.header("location"), own, "{}", again.text);
    assert_eq!(app.db.count(dead).await, 1);
    act("replay", &[("dead", "yes")]).await;
    let page = browser.page(&own).await;
    assert!(page.contains("1 event is sent again."), "{page}");
    assert_eq!(app.db.count(dead).await, 0);

    act(
        "replay",
        &[("since", "2026-03-14T00:00"), ("dry_run", "yes")],
    )
    .await;
    let page = browser.page(&own).await;
    assert!(page.contains("would be sent again."), "{page}");
    for (fields, problem) in [
        (vec![], "since is required"),
        (vec![("since", "yesterday")], "yesterday"),
        (
            vec![("since", "2026-03-14T10:00"), ("until", "2026-03-14T09:00")],
            "until is before since",
        ),
    ] {
        let refused = act("replay", &fields).await;
        assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);
        assert!(
            refused.text.contains(problem),
            "{problem}: {}",
            refused.text
        );
    }
    for (action, subject) in [
        ("delivery.replay", one[0][0].as_str().unwrap().to_owned()),
        ("webhook.replay", id.to_string()),
    ] {
        let lines = audit_lines(&app, action).await;
        assert_eq!(lines.len(), 1, "{action}");
        assert_eq!(lines[0][2], subject, "{action}");
        assert_eq!(lines[0][3], "127.0.0.1", "{action}");
    }
    for query in ["state=lost", "cursor=x", "page=2"] {
        let answer = browser.get(&format!("{own}?{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}");
    }
}

async fn a_failing_endpoint_says_how_its_last_attempt_failed_whoever_made_it(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let (endpoint_id, _) = app.endpoint(partner.id, NOWHERE).await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let begin = app.db.now();
    let attempt = |seconds: i64, status: Option<u16>, error: Option<&str>| Attempt {
        delivery_id: DeliveryId::new(begin),
        endpoint_id,
        partner_id: partner.id,
        number: 1,
        at: begin + Duration::seconds(seconds),
        duration_ms: 2_000,
        status,
        error: error.map(str::to_owned),
        response: None,
        verdict: AttemptVerdict::RetryAt(begin + Duration::minutes(1)),
        failing_since: None,
    };
    let own = format!("{PAGE}/{endpoint_id}");
    for (written, seconds, shown) in [
        (attempt(1, Some(503), None), 3, "503"),
        (
            attempt(10, None, Some("timed <out>")),
            12,
            "timed &#60;out&#62;",
        ),
        // Another instance is later with what it heard earlier.
        (attempt(4, Some(500), None), 12, "timed &#60;out&#62;"),
    ] {
        let store = &app.db.store;
        store.record_attempts(vec![written]).await.unwrap();
        let page = browser.page(&own).await;
        let at = begin + Duration::seconds(seconds);
        let last = format!("Last failure {}: {shown}.", at.format("%-d %b %H:%M:%S"));
        assert!(
            page.contains(">failing<") && page.contains(&last),
            "{last}: {page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partners_endpoint_is_not_there() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let (owner, stranger) = (app.partner().await, app.partner().await);
    let (id, _) = app.endpoint(owner.id, NOWHERE).await;
    app.register(&owner, json!({})).await;
    let delivery = app.db.rows(&["id"], "FROM deliveries").await;
    let delivery = delivery[0][0].as_str().unwrap();
    let own = app.endpoint(stranger.id, NOWHERE).await.0;
    let browser = Browser::with_key(&app, &stranger.key).await;
    assert!(!browser.page(PAGE).await.contains(&id.to_string()));
    let path = format!("{PAGE}/{id}");
    assert_eq!(browser.get(&path).await.status.as_u16(), 404);
    let lines = "FROM audit_log WHERE action NOT LIKE 'console.%'";
    let before = app.db.count(lines).await;
    for act in [
        format!("{id}/state"),
        format!("{id}/remove"),
        format!("{id}/rotate-secret"),
        format!("{id}/test"),
        format!("{id}/replay"),
        format!("{id}/deliveries/{delivery}/replay"),
        // Through an endpoint of its own.
        format!("{own}/deliveries/{delivery}/replay"),
        "x/remove".to_owned(),
    ] {
        let fields = [("state", "disabled"), ("dead", "yes")];
        let answer = browser
            .send_form_of(PAGE, &format!("{PAGE}/{act}"), &fields)
            .await;
        assert_eq!(answer.status.as_u16(), 404, "{act}: {}", answer.text);
    }
    assert_eq!(app.db.count(lines).await, before);
    let endpoint = app
        .db
        .store
        .find_endpoint(Some(owner.id), id)
        .await
        .unwrap();
    assert!(endpoint.unwrap().disabled_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_take_the_scope() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let (id, _) = app.endpoint(partner.id, NOWHERE).await;
    let key = app
        .another_key(partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let browser = Browser::with_key(&app, &key).await;
    for path in [PAGE.to_owned(), format!("{PAGE}/{id}")] {
        assert_eq!(browser.get(&path).await.status.as_u16(), 403, "{path}");
    }
    for act in ["state", "remove", "rotate-secret", "test", "replay"] {
        let answer = browser
            .send_form_of("/console", &format!("{PAGE}/{id}/{act}"), &[])
            .await;
        assert_eq!(answer.status.as_u16(), 403, "{act}");
    }
}
