//! Endpoints as their partners make, change, rotate, test and remove them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use ussd_status::domain::delivery::{ENDPOINTS_MAX, FAILING_PATIENCE};
use ussd_status::domain::partner::Scope;
use ussd_status::simulator::receiver::Fault;

use super::start;
use super::webhooks::Desk;
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};

on_both_databases!(
    an_endpoint_is_made_found_changed_and_removed,
    nobody_sees_or_touches_another_partners_endpoint,
    a_url_that_webhooks_may_not_go_to_is_refused_with_what_is_accepted,
    a_field_that_is_not_as_it_must_be_is_named,
    a_partner_has_no_more_endpoints_than_it_may,
    both_secrets_sign_for_a_day_after_a_rotation,
    a_test_event_says_what_came_of_it,
    every_change_is_audited_with_its_key,
    an_endpoint_that_fails_for_five_days_is_disabled_and_can_be_enabled,
);

pub const WEBHOOKS: &str = "/api/ussd/webhooks";

/// An endpoint of the receiver's, made over HTTP: its path and its secret.
pub async fn made(
    app: &TestApp,
    partner: &TestPartner,
    desk: &Desk,
    label: &str,
) -> (String, String) {
    let body = json!({"url": desk.receiver.url(label)});
    let answer = app.post(partner, WEBHOOKS, &body).await.expect(201);
    let secret = answer["secret"].as_str().unwrap().to_owned();
    assert!(desk.receiver.set_secrets(label, &[&secret]));
    let id = answer["webhook"]["id"].as_str().unwrap();
    (format!("{WEBHOOKS}/{id}"), secret)
}

async fn an_endpoint_is_made_found_changed_and_removed(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let body = json!({
        "url": "https://203.0.113.7/hooks", "events": ["transaction.failed"], "description": "Orders",
        "concurrency": 3, "rate_per_second": 20,
    });
    let answer = app.post(&partner, WEBHOOKS, &body).await;
    let made = answer.expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let webhook = &made["webhook"];
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&webhook[field], value, "{field}");
    }
    assert_eq!(webhook["enabled"], true);
    assert_eq!(webhook["created_at"], "2026-03-14T15:09:26.535Z");
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let found = app.get(&partner, &path).await;
    assert_eq!(&found.expect(200)["webhook"], webhook);
    assert!(!found.text.contains("whsec_"), "shown once");
    let listed = app.get(&partner, WEBHOOKS).await.expect(200);
    assert_eq!(listed["webhooks"], json!([webhook]));

    let change = json!({"url": "https://203.0.113.8/", "events": [], "rate_per_second": 0, "enabled": false});
    let changed = app.patch(&partner, &path, &change).await.expect(200)["webhook"].clone();
    assert_eq!(changed["url"], "https://203.0.113.8/");
    assert_eq!(
        (&changed["events"], &changed["rate_per_second"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        (&changed["enabled"], &changed["description"]),
        (&json!(false), &json!("Orders"))
    );
    assert_eq!(changed["disabled_at"], "2026-03-14T15:09:26.535Z");
    app.db.advance(chrono::Duration::hours(1));
    let again = app
        .patch(&partner, &path, &json!({"enabled": false}))
        .await
        .expect(200);
    assert_eq!(again["webhook"], changed, "it keeps its first date");
    let enabled = app
        .patch(&partner, &path, &json!({"enabled": true}))
        .await
        .expect(200);
    assert_eq!(
        (
            &enabled["webhook"]["enabled"],
            &enabled["webhook"]["disabled_at"]
        ),
        (&json!(true), &Value::Null)
    );

    app.delete(&partner, &path).await.expect(200);
    app.get(&partner, &path)
        .await
        .refused(404, "NOT_FOUND_1001");
    app.delete(&partner, &path)
        .await
        .refused(404, "NOT_FOUND_1001");
    let listed = app.get(&partner, WEBHOOKS).await.expect(200);
    assert_eq!(listed["webhooks"], json!([]));
}

async fn nobody_sees_or_touches_another_partners_endpoint(db: TestStore) {
    let (app, theirs, _) = start(db).await;
    let mine = app.partner().await;
    let (id, _) = app.endpoint(theirs.id, "http://127.0.0.1:9/").await;
    app.register(&theirs, json!({"conversation_id": "AG1"}))
        .await;
    let rows = app.db.rows(&["id"], "FROM deliveries").await;
    let delivery = rows[0][0].as_str().unwrap();
    let path = format!("{WEBHOOKS}/{id}");
    let before = app.get(&theirs, &path).await.expect(200);
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::PATCH, path.clone(), Some(json!({"enabled": false}))),
        (Method::DELETE, path.clone(), None),
        (Method::POST, format!("{path}/rotate-secret"), None),
        (Method::POST, format!("{path}/test"), None),
        (Method::GET, format!("{path}/deliveries"), None),
        (
            Method::POST,
            format!("{path}/replay"),
            Some(json!({"since": "2026-01-01T00:00:00Z"})),
        ),
        (
            Method::POST,
            format!("{WEBHOOKS}/deliveries/{delivery}/replay"),
            None,
        ),
    ] {
        let headers = [("x-api-key", mine.key.as_str())];
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = app.send(method, &path, &headers, body).await;
        answer.refused(404, "NOT_FOUND_1001");
    }
    assert_eq!(
        app.get(&mine, WEBHOOKS).await.expect(200)["webhooks"],
        json!([])
    );
    let after = app.get(&theirs, &path).await.expect(200);
    for field in ["url", "enabled", "previous_secret_until"] {
        assert_eq!(after["webhook"][field], before["webhook"][field], "{field}");
    }
    let reader = app
        .another_key(theirs.id, &[Scope::StatusRead], |_| {})
        .await;
    let reader = TestPartner {
        id: theirs.id,
        key: reader,
    };
    app.get(&reader, WEBHOOKS).await.refused(403, "AUTH_1003");
}

async fn a_url_that_webhooks_may_not_go_to_is_refused_with_what_is_accepted(db: TestStore) {
    let app = TestApp::start_with(db, &[("WEBHOOK_ALLOW_PRIVATE", "false")]).await;
    let partner = app.partner().await;
    let (id, _) = app.endpoint(partner.id, "https://93.184.216.34/").await;
    let long = format!("https://93.184.216.34/{}", "a".repeat(2_100));
    for (url, accepted) in [
        ("http://93.184.216.34/", "https:"),
        ("https://127.0.0.1/", "a public address"),
        ("https://0x7f.1/", "a public address"),
        ("https://169.254.169.254/latest", "a public address"),
        ("https://[::ffff:10.0.0.1]/", "a public address"),
        ("https://localhost/", "a public host"),
        ("https://me:word@93.184.216.34/", "without"),
        ("nonsense", "https://example.com/webhooks"),
        (&long, "up to 2048"),
    ] {
        let body = json!({"url": url});
        for answer in [
            app.post(&partner, WEBHOOKS, &body).await,
            app.patch(&partner, &format!("{WEBHOOKS}/{id}"), &body)
                .await,
        ] {
            let text = answer.refused(400, "VALIDATION_1002");
            assert!(
                text.starts_with("url ") && text.contains(accepted),
                "{url}: {text}"
            );
        }
    }
    assert_eq!(app.db.count("FROM endpoints").await, 1);
}

async fn a_field_that_is_not_as_it_must_be_is_named(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let url = "https://203.0.113.7/";
    let (id, _) = app.endpoint(partner.id, url).await;
    for (body, code, words) in [
        (json!({}), "VALIDATION_1002", "url is required"),
        (json!({"url": 7}), "VALIDATION_1003", "url must be text"),
        (
            json!({"url": url, "events": ["transaction.lost"]}),
            "VALIDATION_1002",
            "accepted are transaction.registered",
        ),
        (
            json!({"url": url, "events": ["transaction.failed", "transaction.failed"]}),
            "VALIDATION_1002",
            "events[1] was sent more than once",
        ),
        (
            json!({"url": url, "events": "transaction.failed"}),
            "VALIDATION_1003",
            "events must be",
        ),
        (
            json!({"url": url, "concurrency": 0}),
            "VALIDATION_1002",
            "from 1 to 64",
        ),
        (
            json!({"url": url, "concurrency": 65}),
            "VALIDATION_1002",
            "from 1 to 64",
        ),
        (
            json!({"url": url, "rate_per_second": 1001}),
            "VALIDATION_1002",
            "from 0 to 1000",
        ),
        (
            json!({"url": url, "rate_per_second": 1.5}),
            "VALIDATION_1002",
            "a whole number",
        ),
        (
            json!({"url": url, "secret": "whsec_mine"}),
            "VALIDATION_1002",
            "is not a field here",
        ),
    ] {
        let text = app.post(&partner, WEBHOOKS, &body).await.refused(400, code);
        assert!(text.contains(words), "{text}");
    }
    let path = format!("{WEBHOOKS}/{id}");
    for (body, code, words) in [
        (json!({}), "VALIDATION_1002", "at least one of them"),
        (json!({"enabled": "no"}), "VALIDATION_1003", "true or false"),
    ] {
        let text = app.patch(&partner, &path, &body).await.refused(400, code);
        assert!(text.contains(words), "{text}");
    }
    let rotate = format!("{path}/rotate-secret");
    app.post(&partner, &rotate, &json!({"secret": "mine"}))
        .await
        .refused(400, "VALIDATION_1002");
    for query in ["state=lost", "limit=101", "cursor=x", "page=1"] {
        let listed = app
            .get(&partner, &format!("{path}/deliveries?{query}"))
            .await;
        listed.refused(400, "VALIDATION_1002");
    }
}

async fn a_partner_has_no_more_endpoints_than_it_may(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let other = app.partner().await;
    let body = json!({"url": "https://203.0.113.7/"});
    let made = (0..ENDPOINTS_MAX + 5).map(|_| app.post(&partner, WEBHOOKS, &body));
    let made = futures_util::future::join_all(made).await;
    let count = made.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(i64::try_from(count).unwrap(), ENDPOINTS_MAX);
    let refused = made.iter().find(|answer| answer.status != 201).unwrap();
    let text = refused.refused(409, "CONFLICT_1001");
    assert!(text.contains("at most 20"), "{text}");
    app.post(&other, WEBHOOKS, &body).await.expect(201);
    let listed = app.get(&partner, WEBHOOKS).await.expect(200);
    let first = listed["webhooks"][0]["id"].as_str().unwrap();
    app.delete(&partner, &format!("{WEBHOOKS}/{first}"))
        .await
        .expect(200);
    app.post(&partner, WEBHOOKS, &body).await.expect(201);
}

async fn both_secrets_sign_for_a_day_after_a_rotation(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, old) = made(&app, &partner, &desk, "kilimo").await;
    let rotate = format!("{path}/rotate-secret");
    let rotated = app.post(&partner, &rotate, &json!({})).await.expect(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    assert_eq!(
        rotated["webhook"]["previous_secret_until"],
        "2026-03-15T15:09:26.535Z"
    );
    let almost = chrono::Duration::hours(24) - chrono::Duration::milliseconds(1);
    for (wait, secret, is_good) in [
        (chrono::Duration::zero(), &old, true),
        (chrono::Duration::zero(), &new, true),
        (almost, &old, true),
        (chrono::Duration::milliseconds(1), &old, false),
        (chrono::Duration::zero(), &new, true),
    ] {
        app.db.advance(wait);
        assert!(desk.receiver.set_secrets("kilimo", &[secret]));
        let test = app
            .post(&partner, &format!("{path}/test"), &json!({}))
            .await
            .expect(200);
        let arrived = desk.next().await;
        assert_eq!(arrived.verified, is_good, "{arrived:?}");
        assert_eq!(test["test"]["webhook_id"], arrived.webhook_id);
    }
    let found = app.get(&partner, &path).await.expect(200);
    assert_eq!(found["webhook"]["previous_secret_until"], Value::Null);
    // What is delivered is signed in the same way.
    app.register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    assert!(desk.next().await.verified);
}

async fn a_test_event_says_what_came_of_it(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    let test = format!("{path}/test");
    let taken = app.post(&partner, &test, &json!({})).await.expect(200)["test"].clone();
    assert_eq!(
        (&taken["delivered"], &taken["status"], &taken["error"]),
        (&json!(true), &json!(200), &Value::Null)
    );
    let arrived = desk.next().await;
    assert!(
        arrived.verified && arrived.webhook_id.starts_with("tst_"),
        "{arrived:?}"
    );
    assert_eq!(arrived.event_type.as_deref(), Some("webhook.test"));
    assert_eq!((arrived.sequence, arrived.transaction_id), (None, None));
    desk.receiver
        .set_fault("kilimo", Fault::Answer(503), Some(1));
    let refused = app.post(&partner, &test, &json!({})).await.expect(200)["test"].clone();
    assert_eq!(
        (&refused["delivered"], &refused["status"]),
        (&json!(false), &json!(503))
    );
    desk.next().await;
    assert_eq!(
        desk.within(Duration::from_millis(600)).await,
        None,
        "it is tried once"
    );
    assert_eq!(app.db.count("FROM deliveries").await, 0);
    let (nobody, _) = app.endpoint(partner.id, "http://127.0.0.1:9/").await;
    let answer = app
        .post(&partner, &format!("{WEBHOOKS}/{nobody}/test"), &json!({}))
        .await;
    let failed = &answer.expect(200)["test"];
    assert_eq!(
        (&failed["delivered"], &failed["status"]),
        (&json!(false), &Value::Null)
    );
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .starts_with("no connection"),
        "{failed}"
    );
}

async fn every_change_is_audited_with_its_key(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let body = json!({"url": "http://127.0.0.1:9/"});
    let made = app.post(&partner, WEBHOOKS, &body).await.expect(201);
    let id = made["webhook"]["id"].as_str().unwrap();
    let path = format!("{WEBHOOKS}/{id}");
    app.register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    let rows = app.db.rows(&["id"], "FROM deliveries").await;
    let delivery = rows[0][0].as_str().unwrap().to_owned();
    let none = json!({});
    app.patch(&partner, &path, &json!({"description": "Orders"}))
        .await
        .expect(200);
    app.post(&partner, &format!("{path}/rotate-secret"), &none)
        .await
        .expect(200);
    app.post(&partner, &format!("{path}/test"), &none)
        .await
        .expect(200);
    app.post(
        &partner,
        &format!("{WEBHOOKS}/deliveries/{delivery}/replay"),
        &none,
    )
    .await
    .expect(200);
    let range = json!({"since": "2026-01-01T00:00:00Z"});
    app.post(&partner, &format!("{path}/replay"), &range)
        .await
        .expect(200);
    app.patch(&partner, &path, &json!({"enabled": false}))
        .await
        .expect(200);
    app.patch(&partner, &path, &json!({"enabled": true}))
        .await
        .expect(200);
    app.delete(&partner, &path).await.expect(200);
    let from = "FROM audit_log WHERE actor LIKE 'key:%' ORDER BY id";
    let lines = app
        .db
        .rows(&["action", "partner_id", "subject"], from)
        .await;
    let expected = [
        ("webhook.create", id),
        ("webhook.update", id),
        ("webhook.rotate_secret", id),
        ("webhook.test", id),
        ("delivery.replay", delivery.as_str()),
        ("webhook.replay", id),
        ("webhook.disable", id),
        ("webhook.enable", id),
        ("webhook.remove", id),
    ];
    let expected = expected.map(|(action, subject)| {
        vec![json!(action), json!(partner.id.to_string()), json!(subject)]
    });
    assert_eq!(lines, expected);
}

async fn an_endpoint_that_fails_for_five_days_is_disabled_and_can_be_enabled(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (path, _) = made(&app, &partner, &desk, "kilimo").await;
    desk.receiver
        .set_fault("kilimo", Fault::Answer(500), Some(2));
    app.register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    desk.next().await;
    let failing = until(&app, &partner, &path, |webhook| {
        !webhook["failing_since"].is_null()
    })
    .await;
    assert_eq!(
        (&failing["enabled"], &failing["failing_since"]),
        (&json!(true), &json!("2026-03-14T15:09:26.535Z"))
    );
    app.db.advance(FAILING_PATIENCE);
    desk.next().await;
    let disabled = until(&app, &partner, &path, |webhook| webhook["enabled"] == false).await;
    assert_eq!(disabled["disabled_at"], "2026-03-19T15:09:26.535Z");
    let states = app.db.rows(&["state"], "FROM deliveries").await;
    assert_eq!(states, [[json!("dead")]]);
    app.register(&partner, json!({"conversation_id": "AG2"}))
        .await;
    assert_eq!(desk.within(Duration::from_millis(600)).await, None);
    let enabled = app
        .patch(&partner, &path, &json!({"enabled": true}))
        .await
        .expect(200);
    assert_eq!(enabled["webhook"]["failing_since"], Value::Null);
    app.register(&partner, json!({"conversation_id": "AG3"}))
        .await;
    let arrived = desk.next().await;
    assert_eq!((arrived.sequence, arrived.answered), (Some(3), 200));
}

/// The endpoint as soon as it is so.
async fn until(
    app: &TestApp,
    partner: &TestPartner,
    path: &str,
    so: impl Fn(&Value) -> bool,
) -> Value {
    for _ in 0..200 {
        let webhook = app.get(partner, path).await.expect(200)["webhook"].clone();
        if so(&webhook) {
            return webhook;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to that");
}
