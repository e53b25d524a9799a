//! Paying out from the console: paid once, on record, and nothing sent for what is wrong.

use ussd_status::domain::partner::Scope;

use super::{Check, audit_lines, each_is_refused};
use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

on_both_databases!(a_payout_is_paid_once_and_told_as_it_goes,);

const PAGE: &str = "/console/pay-out";
const CHECK: &str = "/console/pay-out/check";

async fn a_payout_is_paid_once_and_told_as_it_goes(db: TestStore) {
    let paying = Paying::start(db).await;
    let app = &paying.app;
    let browser = Browser::with_key(app, &paying.partner.key).await;
    let account = paying.mpesa.id.to_string();
    let details = [
        ("account", account.as_str()),
        ("purpose", "salary"),
        ("msisdn", "0712 345 678"),
        ("amount", "1,200"),
        ("remarks", "November <b>wages</b>"),
        ("occasion", "Payday"),
    ];
    let shown = ["+254 712 345 678", "1,200.00", "Salary", "Payday"];
    let check = Check::of(&browser, PAGE, &details, &shown).await;
    assert!(paying.sent().is_empty());
    let (sent, again) = tokio::join!(check.send(), check.send());
    assert_eq!(sent.status.as_u16(), 303, "{}", sent.text);
    assert_eq!(again.header("location"), sent.header("location"));
    assert_eq!(paying.sent().len(), 1);
    let path = sent.header("location").to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let settled = paying.settled(&id.clone().into()).await;
    assert_eq!(settled["kind"], "b2c");
    assert_eq!(settled["origin"], "console");
    let page = browser.page(&path).await;
    assert!(page.contains("<h2>Done</h2>"), "{page}");
    assert!(page.contains("2547*****678") && !page.contains("254712345678"));

    let lines = audit_lines(app, "payment.start").await;
    let line = lines.first().unwrap();
    assert!(line[0].as_str().unwrap().starts_with("key:"));
    assert_eq!(line[1], paying.partner.id.to_string());
    assert_eq!(line[3], "127.0.0.1");
    assert_eq!(line[4], "mpesa b2c 1200.00 KES");

    // The same form with another amount under its key pays nothing.
    let refused = check.send_with("amount", "1300").await;
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.text);
    assert_eq!(paying.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_where_it_was_typed() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let stranger = paying.app.partner().await;
    let strange = paying.app.mpesa_account(stranger.id).await.id.to_string();
    let account = paying.mpesa.id.to_string();
    let long = "x".repeat(101);
    let right = [
        ("account", account.as_str()),
        ("purpose", "payout"),
        ("msisdn", "0712345678"),
        ("amount", "1200"),
    ];
    let wrong = [
        ("msisdn", "255712345678", "254"),
        ("amount", "9", "10 to 250000"),
        ("amount", "", "amount is required"),
        ("purpose", "gift", "refund, payout, salary, bonus"),
        ("purpose", "", "purpose is required"),
        ("remarks", "x", "2 to 100"),
        ("occasion", long.as_str(), "1 to 100"),
        ("account", strange.as_str(), "none of this partner"),
    ];
    each_is_refused(&browser, &[CHECK, PAGE], &right, &wrong).await;
    assert!(paying.sent().is_empty());
    assert_eq!(paying.app.db.count("FROM transactions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clickpesa_tells_who_gets_it_and_what_it_costs() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let page = browser.page(PAGE).await;
    let (_, account) = page.split_once("data-provider=\"clickpesa\"").map_or_else(
        || panic!("no account in {page}"),
        |(before, _)| before.rsplit_once("value=\"").unwrap(),
    );
    let details = [
        ("account", account.trim_end_matches("\" ")),
        ("purpose", "refund"),
        ("msisdn", "0712345678"),
        ("amount", "15000"),
    ];
    let shown = ["NEEMA MUSHI", "<dt>Fee</dt>", "15,000.00", "TZS"];
    let check = Check::of(&browser, PAGE, &details, &shown).await;
    let sent = check.send().await;
    assert_eq!(sent.status.as_u16(), 303, "{}", sent.text);
    assert_eq!(paying.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pays_for_the_partner_it_chose_and_is_named() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::of_operator(&paying.app, "asha").await;
    let account = paying.mpesa.id.to_string();
    let details = [
        ("account", account.as_str()),
        ("purpose", "payout"),
        ("msisdn", "0712345678"),
        ("amount", "1200"),
        ("key", "console-1"),
    ];
    let nobody = browser.send_form_of("/console", PAGE, &details).await;
    assert_eq!(nobody.status.as_u16(), 409, "{}", nobody.text);
    browser.look_at(paying.partner.id).await;
    let sent = browser.send_form_of(PAGE, PAGE, &details).await;
    assert_eq!(sent.status.as_u16(), 303, "{}", sent.text);
    let line = &audit_lines(&paying.app, "payment.start").await[0];
    assert_eq!(line[0], "console:asha");
    assert_eq!(line[1], paying.partner.id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_money_takes_the_scope() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let key = paying
        .app
        .another_key(paying.partner.id, &[Scope::StatusRead], |_| {})
        .await;
    let browser = Browser::with_key(&paying.app, &key).await;
    for path in [PAGE, CHECK, "/console/reverse", "/console/balance"] {
        let answer = browser.send_form_of("/console", path, &[]).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}: {}", answer.text);
    }
    assert!(paying.sent().is_empty());
    assert!(audit_lines(&paying.app, "payment.start").await.is_empty());
}
