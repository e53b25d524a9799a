//! Signing in and out: what it takes, how long it lasts, and what is refused.

use chrono::Duration;
use reqwest::Method;
use ussd_status::console::{PAGES_AT_ONCE, WRONG_PASSWORDS};
use ussd_status::domain::identity::KeyId;
use ussd_status::domain::operator::{SESSION_ABSOLUTE, SESSION_IDLE};
use ussd_status::domain::partner::Scope;
use ussd_status::http::FAILED_KEYS_PER_MINUTE;
use ussd_status::store::Actor;

use super::audit_lines;
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::browser::{Browser, PASSWORD, token};

on_both_databases!(
    an_operator_signs_in_looks_and_signs_out,
    a_partner_signs_in_with_its_key,
    a_session_ends_by_itself,
    a_session_ends_with_what_it_stands_on,
    ended_sessions_are_removed,
);

const SESSION: &str = "console_session";

async fn an_operator_signs_in_looks_and_signs_out(db: TestStore) {
    let app = TestApp::start(db).await;
    let browser = Browser::new(&app);
    for path in ["/console", "/console/partners", "/console/nowhere"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status.as_u16(), 303, "{path}");
        assert_eq!(answer.header("location"), "/console/sign-in");
    }
    let id = app.operator("asha").await;
    let page = browser.page("/console/sign-in").await;
    let before = browser.cookie(SESSION).unwrap();
    let fields = [
        ("token", token(&page)),
        ("name", " Asha ".to_owned()),
        ("password", PASSWORD.to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = browser.post("/console/sign-in", &fields).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
    assert_eq!(answer.header("location"), "/console");
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert_ne!(browser.cookie(SESSION).unwrap(), before);
    // What the database keeps opens nothing.
    let kept = app.db.rows(&["digest"], "FROM sessions").await;
    assert_ne!(kept[0][0].as_str(), browser.cookie(SESSION).as_deref());

    let page = browser.page("/console").await;
    assert!(page.contains("asha"), "{page}");
    let signed_in = audit_lines(&app, "console.sign_in").await;
    assert_eq!(signed_in[0][0], "console:asha");
    assert_eq!(signed_in[0][2], id.to_string());
    assert_eq!(signed_in[0][3], "127.0.0.1");

    let stolen = browser.cookie(SESSION).unwrap();
    let answer = browser
        .send_form_of("/console", "/console/sign-out", &[])
        .await;
    assert_eq!(answer.header("location"), "/console/sign-in");
    assert_eq!(browser.cookie(SESSION), None);
    browser.set_cookie(SESSION, &stolen);
    assert_eq!(browser.get("/console").await.status.as_u16(), 303);
    assert_eq!(audit_lines(&app, "console.sign_out").await.len(), 1);
}

async fn a_partner_signs_in_with_its_key(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let page = browser.page("/console").await;
    assert!(
        page.contains("Kilimo") && !page.contains(&partner.key),
        "{page}"
    );
    let refused = browser.get("/console/partners").await;
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.text);
    assert!(
        refused.text.contains("for operators only"),
        "{}",
        refused.text
    );
    let line = &audit_lines(&app, "console.sign_in").await[0];
    assert!(line[0].as_str().unwrap().starts_with("key:"));
    assert_eq!(line[1], partner.id.to_string());
    assert_eq!(line[3], "127.0.0.1");
}

async fn a_session_ends_by_itself(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let idle = Browser::with_key(&app, &partner.key).await;
    let busy = Browser::with_key(&app, &partner.key).await;
    app.db.clock.advance(SESSION_IDLE - Duration::minutes(2));
    assert_eq!(busy.get("/console").await.status.as_u16(), 200);
    app.db.clock.advance(Duration::minutes(2));
    assert_eq!(idle.get("/console").await.status.as_u16(), 303);
    let mut spent = SESSION_IDLE;
    while spent < SESSION_ABSOLUTE {
        assert_eq!(busy.get("/console").await.status.as_u16(), 200, "{spent}");
        app.db.clock.advance(SESSION_IDLE / 2);
        spent += SESSION_IDLE / 2;
    }
    assert_eq!(busy.get("/console").await.status.as_u16(), 303);
}

async fn a_session_ends_with_what_it_stands_on(db: TestStore) {
    let app = TestApp::start(db).await;
    let now = app.db.now();
    let actor = Actor::new("test");
    let (revoked, suspended) = (app.partner().await, app.partner().await);
    let operator = Browser::of_operator(&app, "asha").await;
    let of_revoked = Browser::with_key(&app, &revoked.key).await;
    let of_suspended = Browser::with_key(&app, &suspended.key).await;
    let store = &app.db.store;
    store
        .revoke_key(key_id(&revoked), now, actor.audit("test", None, ""))
        .await
        .unwrap();
    store
        .set_partner_suspended(suspended.id, Some(now), actor.audit("test", None, ""))
        .await
        .unwrap();
    store
        .remove_operator("asha".to_owned(), now, actor.audit("test", None, ""))
        .await
        .unwrap();
    for browser in [operator, of_revoked, of_suspended] {
        assert_eq!(browser.get("/console").await.status.as_u16(), 303);
    }
    // A suspended partner's key, still valid, opens no new session either.
    let another = app
        .another_key(suspended.id, &[Scope::StatusRead], |_| {})
        .await;
    let refused = Browser::new(&app).sign_in(&[("key", &another)]).await;
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.text);
}

fn key_id(partner: &TestPartner) -> KeyId {
    partner.key.trim_start_matches("us_").parse().unwrap()
}

async fn ended_sessions_are_removed(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let _idle = Browser::with_key(&app, &partner.key).await;
    app.db.clock.advance(SESSION_IDLE);
    let _fresh = Browser::with_key(&app, &partner.key).await;
    let removed = app.db.store.remove_ended_sessions(app.db.now()).await;
    // The service's own housekeeping may have been quicker.
    assert!(removed.unwrap() <= 1);
    assert_eq!(app.db.count("FROM sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_its_sessions_token_is_refused() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let other = Browser::with_key(&app, &partner.key).await;
    let own = token(&browser.page("/console").await);
    let foreign = token(&other.page("/console").await);
    let visitors = token(&Browser::new(&app).page("/console/sign-in").await);
    for wrong in [
        vec![],
        vec![("token", foreign.as_str())],
        vec![("token", &visitors)],
    ] {
        let answer = browser.post("/console/sign-out", &wrong).await;
        assert_eq!(answer.status.as_u16(), 403, "{}", answer.text);
    }
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ] {
        let answer = browser
            .post_with("/console/sign-out", &[header], &[("token", &own)])
            .await;
        assert_eq!(answer.status.as_u16(), 403, "{header:?}");
    }
    let json = app
        .send(
            Method::POST,
            "/console/sign-out",
            &[
                (
                    "cookie",
                    &format!("{SESSION}={}", browser.cookie(SESSION).unwrap()),
                ),
                ("content-type", "application/json"),
            ],
            Some(b"{}".to_vec()),
        )
        .await;
    assert_eq!(json.status.as_u16(), 415);
    assert_eq!(browser.get("/console").await.status.as_u16(), 200);
    // Signing in needs the visitor's own token too: nobody is signed in by somebody else's page.
    let stranger = Browser::new(&app);
    let answer = stranger
        .post(
            "/console/sign-in",
            &[("token", &visitors), ("key", &partner.key)],
        )
        .await;
    assert_eq!(answer.status.as_u16(), 403);
    assert_eq!(app.db.count("FROM sessions").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_ends_the_session_before() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let before = browser.cookie(SESSION).unwrap();
    assert_eq!(
        browser
            .sign_in(&[("key", &partner.key)])
            .await
            .status
            .as_u16(),
        303
    );
    assert_ne!(browser.cookie(SESSION).unwrap(), before);
    let left = Browser::new(&app);
    left.set_cookie(SESSION, &before);
    assert_eq!(left.get("/console").await.status.as_u16(), 303);
    assert_eq!(app.db.count("FROM sessions").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_asks_for_so_many_pages_at_once() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let other = Browser::with_key(&app, &partner.key).await;
    for page in 0..PAGES_AT_ONCE {
        let answer = browser.get("/console/nowhere").await;
        assert_eq!(answer.status.as_u16(), 404, "{page}");
    }
    // Some were refilled meanwhile; not as many as are asked for.
    let mut answer = browser.get("/console/nowhere").await;
    while answer.status.as_u16() == 404 {
        answer = browser.get("/console/nowhere").await;
    }
    assert_eq!(answer.status.as_u16(), 429);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(other.get("/console").await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_was_planted_never_becomes_a_session() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::new(&app);
    browser.set_cookie(SESSION, "planted-by-somebody-else");
    let answer = browser.sign_in(&[("key", &partner.key)]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
    let thief = Browser::new(&app);
    thief.set_cookie(SESSION, "planted-by-somebody-else");
    assert_eq!(thief.get("/console").await.status.as_u16(), 303);
    assert_eq!(browser.get("/console").await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_limited_by_name_and_by_address() {
    let app = TestApp::start_with(
        TestStore::sqlite().await,
        &[("TRUSTED_PROXIES", "127.0.0.1")],
    )
    .await;
    app.operator("asha").await;
    app.operator("juma").await;
    let browser = Browser::new(&app);
    let page = browser.page("/console/sign-in").await;
    let token = token(&page);
    let try_as = async |address: &str, name: &str, password: &str| {
        let fields = [
            ("token", token.as_str()),
            ("name", name),
            ("password", password),
        ];
        let headers = [("x-forwarded-for", address)];
        browser
            .post_with("/console/sign-in", &headers, &fields)
            .await
    };
    for guess in 0..WRONG_PASSWORDS {
        let address = format!("192.0.2.{guess}");
        let answer = try_as(&address, "asha", "not the password").await;
        assert_eq!(answer.status.as_u16(), 401, "{}", answer.text);
        assert!(answer.text.contains("The name or the password is wrong"));
    }
    // Now even the right one waits, from wherever; nobody else does.
    let answer = try_as("192.0.2.99", "asha", PASSWORD).await;
    assert_eq!(answer.status.as_u16(), 429);
    for guess in 0..WRONG_PASSWORDS {
        let answer = try_as("198.51.100.1", &format!("nobody-{guess}"), PASSWORD).await;
        assert_eq!(answer.status.as_u16(), 401);
    }
    let answer = try_as("198.51.100.1", "juma", PASSWORD).await;
    assert_eq!(answer.status.as_u16(), 429);
    let answer = try_as("198.51.100.2", "juma", PASSWORD).await;
    assert_eq!(answer.status.as_u16(), 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_limited_as_the_apis_are() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let browser = Browser::new(&app);
    for _ in 0..FAILED_KEYS_PER_MINUTE {
        let answer = browser.sign_in(&[("key", "us_wrong")]).await;
        assert_eq!(answer.status.as_u16(), 401);
        assert!(answer.text.contains("Invalid API key"));
    }
    let answer = browser.sign_in(&[("key", "us_wrong")]).await;
    assert_eq!(answer.status.as_u16(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_forbids_what_a_page_does_not_need() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let browser = Browser::with_key(&app, &partner.key).await;
    let page = browser.page("/console").await;
    let style = asset(&page, "stylesheet\" href=\"");
    for (path, status) in [
        ("/console", 200),
        ("/console/sign-in", 200),
        ("/console/nowhere", 404),
        (style.as_str(), 200),
        ("/console/assets/console-0000000000000000.css", 404),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';")
                && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        let is_asset = path == style;
        assert_eq!(
            answer.header("cache-control").contains("immutable"),
            is_asset,
            "{path}"
        );
        assert!(
            !answer.text.contains("<style") && !answer.text.contains(" style="),
            "{path}"
        );
        assert!(!answer.text.contains(" onclick="), "{path}");
    }
    let elsewhere = browser.get("/console/nowhere").await;
    assert!(elsewhere.text.contains(elsewhere.header("x-request-id")));
}

/// The path of a file that a page names.
fn asset(page: &str, before: &str) -> String {
    let (_, rest) = page.split_once(before).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_https_the_cookie_is_secure() {
    let app = TestApp::start_with(
        TestStore::sqlite().await,
        &[("PUBLIC_URL", "https://pay.example.com")],
    )
    .await;
    let partner = app
        .another_key(app.partner().await.id, &[Scope::StatusRead], |_| {})
        .await;
    let browser = Browser::new(&app);
    let answer = browser.sign_in(&[("key", &partner)]).await;
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-console_session=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
}
