//! The page for people: what it tells everybody, what it tells nobody, and what it says when the database is away.

use base64::Engine as _;
use chrono::Duration;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{acknowledged, b2c_result, registered, start};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp};

on_both_databases!(
    the_page_tells_how_it_goes_and_nothing_of_a_partner,
    a_reading_is_everybodys_for_a_few_seconds,
    a_database_that_does_not_answer_is_told_plainly,
);

async fn visit(app: &TestApp) -> Answer {
    app.send(Method::GET, "/status", &[], None).await
}

/// The figure beside a name on the page.
fn figure(page: &Answer, name: &str) -> String {
    let (_, after) = page
        .text
        .split_once(&format!("<dt>{name}</dt><dd>"))
        .unwrap_or_else(|| panic!("no {name} in {}", page.text));
    after.split('<').next().unwrap().to_owned()
}

async fn the_page_tells_how_it_goes_and_nothing_of_a_partner(db: TestStore) {
    let (app, partner, account) = start(db).await;
    app.endpoint(partner.id, "http://127.0.0.1:9/hook").await;
    registered(&app, &partner, "AG1").await;
    registered(&app, &partner, "AG2").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    app.db.advance(Duration::minutes(3));
    // Another process took the callback: this one finds it in the database.
    for app in [&app, &app.beside(&[]).await] {
        let page = visit(app).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text.contains("Up and running"), "{}", page.text);
        assert_eq!(figure(&page, "M-Pesa"), "3 minutes ago");
        assert_eq!(figure(&page, "ClickPesa"), "none lately");
        assert_eq!(figure(&page, "Transactions pending"), "1");
        assert_eq!(figure(&page, "Transactions stuck"), "0");
        let waiting: i64 = figure(&page, "Webhooks waiting to be delivered")
            .parse()
            .unwrap();
        assert!(waiting > 0);
        for secret in ["Kilimo", "AG1", "254712", "1200", &partner.id.to_string()] {
            assert!(!page.text.contains(secret), "{secret}");
        }
    }
    let page = visit(&app).await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let (_, style) = page.text.split_once("<style>").unwrap();
    let style = style.split("</style>").next().unwrap();
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    assert!(
        policy.contains(&format!("style-src 'sha256-{digest}'")),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert!(!page.text.contains("<script") && !page.text.contains("style=\""));
    assert!(page.text.contains("http-equiv=\"refresh\""));
}

async fn a_reading_is_everybodys_for_a_few_seconds(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let first = visit(&app).await;
    assert_eq!(figure(&first, "Transactions pending"), "0");
    app.register(&partner, json!({})).await;
    assert_eq!(visit(&app).await.text, first.text);
    app.db.advance(Duration::seconds(5));
    assert_eq!(figure(&visit(&app).await, "Transactions pending"), "1");
}

async fn a_database_that_does_not_answer_is_told_plainly(db: TestStore) {
    let app = TestApp::start(db).await;
    app.db.execute("ALTER TABLE callbacks RENAME TO away").await;
    let page = visit(&app).await;
    assert_eq!(page.status, 503);
    assert_eq!(page.header("retry-after"), "2");
    assert!(page.text.contains("Database away"), "{}", page.text);
    assert!(page.text.contains("Do not pay again"), "{}", page.text);
    assert!(!page.text.contains("<dl>"), "{}", page.text);
    app.db.execute("ALTER TABLE away RENAME TO callbacks").await;
    app.db.advance(Duration::seconds(5));
    assert_eq!(visit(&app).await.status, 200);
}
