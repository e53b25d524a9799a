//! Asking for payments from the console: sent once, on record, and told as it goes.

use serde_json::json;
use ussd_status::domain::partner::Scope;

use super::{Check, audit_lines, each_is_refused};
use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

on_both_databases!(a_payment_is_sent_once_and_told_as_it_goes,);

const PAGE: &str = "/console/pay";
const CHECK: &str = "/console/pay/check";

async fn a_payment_is_sent_once_and_told_as_it_goes(db: TestStore) {
    let paying = Paying::start(db).await;
    let app = &paying.app;
    let browser = Browser::with_key(app, &paying.partner.key).await;
    let account = paying.mpesa.id.to_string();
    let details = [
        ("account", account.as_str()),
        ("msisdn", "0712 345 678"),
        ("amount", "1,200"),
        ("reference", "INV-7"),
    ];
    let shown = ["+254 712 345 678", "1,200.00"];
    let check = Check::of(&browser, PAGE, &details, &shown).await;
    assert!(paying.sent().is_empty());
    let sent = check.send().await;
    assert_eq!(sent.status.as_u16(), 303, "{}", sent.text);
    let again = check.send().await;
    assert_eq!(again.header("location"), sent.header("location"));
    assert_eq!(paying.sent().len(), 1);
    let path = sent.header("location").to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let wait = format!("{path}/wait?known=accepted-{}", updated(&paying, &id).await);
    let told = browser.page(&wait).await;
    assert!(
        told.contains("Paid") && told.contains("data-final"),
        "{told}"
    );
    let page = browser.page(&path).await;
    assert!(
        page.contains("2547*****678") && !page.contains("254712345678"),
        "{page}"
    );
    let lines = audit_lines(app, "payment.start").await;
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert!(line[0].as_str().unwrap().starts_with("key:"));
    assert_eq!(line[1], paying.partner.id.to_string());
    assert_eq!(line[2], id);
    assert_eq!(line[3], "127.0.0.1");
    assert_eq!(line[4], "mpesa stk_push 1200.00 KES");
}

/// When a transaction last changed, milliseconds.
async fn updated(paying: &Paying, id: &str) -> i64 {
    let row = paying.app.transaction(&paying.partner, &json!(id)).await;
    let at = row["updated_at"].as_str().unwrap();
    chrono::DateTime::parse_from_rfc3339(at)
        .unwrap()
        .timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_where_it_was_typed() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let account = paying.mpesa.id.to_string();
    let right = [
        ("account", account.as_str()),
        ("msisdn", "0712345678"),
        ("amount", "1200"),
    ];
    let stranger = "bb8ab64c-e1aa-4f4f-aae3-54d9c84b0c26";
    let wrong = [
        ("msisdn", "0712", "msisdn"),
        ("msisdn", "255712345678", "254"),
        ("amount", "0", "1 to 250000"),
        ("amount", "1200.50", "whole number"),
        ("amount", "", "amount is required"),
        ("reference", "longer than twelve", "1 to 12"),
        ("account", stranger, "none of this partner"),
    ];
    each_is_refused(&browser, &[CHECK, PAGE], &right, &wrong).await;
    assert!(paying.sent().is_empty());
    assert_eq!(paying.app.db.count("FROM transactions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_has_its_own_words() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    for (kind, ending, title) in [
        ("stk_push", "0001", "Not enough money"),
        ("stk_push", "1032", "Cancelled"),
        ("stk_push", "1037", "Timed out"),
        ("stk_push", "0408", "Timed out"),
        ("stk_push", "2001", "Wrong PIN"),
        ("stk_push", "0017", "Failed"),
        ("stk_push", "9999", "Failed, as far as known"),
        ("ussd_push", "0001", "Not enough money"),
        ("ussd_push", "1032", "Cancelled"),
        ("ussd_push", "0408", "Timed out"),
        ("ussd_push", "1037", "Timed out"),
        ("ussd_push", "2001", "Wrong PIN"),
    ] {
        let order = crate::support::paying::order(kind, &format!("{kind}-{ending}"), ending);
        let made = paying.pay(order).await.expect(201)["transaction"].clone();
        paying.settled(&made["transaction_id"]).await;
        let id = made["transaction_id"].as_str().unwrap();
        let page = browser
            .page(&format!("/console/progress/{}/{id}", paying.partner.id))
            .await;
        assert!(
            page.contains(&format!("<h2>{title}</h2>")),
            "{kind} {ending}: {page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_takes_the_scope() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let key = paying
        .app
        .another_key(paying.partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let browser = Browser::with_key(&paying.app, &key).await;
    for path in [PAGE, CHECK] {
        let answer = browser.send_form_of("/console", path, &[]).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}: {}", answer.text);
    }
    assert!(audit_lines(&paying.app, "payment.start").await.is_empty());
}
