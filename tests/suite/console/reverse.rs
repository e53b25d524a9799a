//! Taking a payment back from the console: found by its receipt, confirmed by typing it, taken back once.

use super::{audit_lines, hidden};
use crate::support::TestStore;
use crate::support::browser::{Browser, token};
use crate::support::paying::{Paying, order};

on_both_databases!(a_payment_is_taken_back_once_after_its_receipt_was_typed,);

const PAGE: &str = "/console/reverse";

/// A payment that ended so: its id and its receipt.
async fn paid(paying: &Paying, ending: &str) -> (String, String) {
    let made = paying.pay(order("stk_push", ending, ending)).await;
    let id = made.expect(201)["transaction"]["transaction_id"].clone();
    let settled = paying.settled(&id).await;
    let receipt = settled["transaction_receipt"].as_str().unwrap_or_default();
    (id.as_str().unwrap().to_owned(), receipt.to_owned())
}

async fn a_payment_is_taken_back_once_after_its_receipt_was_typed(db: TestStore) {
    let paying = Paying::start(db).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let (id, receipt) = paid(&paying, "5678").await;
    for sought in [&receipt, &id] {
        let page = browser.page(&format!("{PAGE}?payment={sought}")).await;
        assert!(
            page.contains("1,200.00") && page.contains(&receipt),
            "{page}"
        );
        assert!(page.contains("2547*****678") && !page.contains("254712345678"));
    }
    let page = browser.page(&format!("{PAGE}?payment={receipt}")).await;
    let (token, key) = (token(&page), hidden(&page, "key"));
    let form = |receipt: &str, remarks: &str| {
        [
            ("token", token.clone()),
            ("key", key.clone()),
            ("payment", id.clone()),
            ("remarks", remarks.to_owned()),
            ("receipt", receipt.to_owned()),
        ]
    };
    let send = async |fields: [(&'static str, String); 5]| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        browser.post(PAGE, &fields).await
    };
    for (typed, remarks, problem) in [
        ("", "Wrong amount", "receipt is required"),
        (
            "RKT0000000",
            "Wrong amount",
            "not the receipt of this payment",
        ),
        (receipt.as_str(), "", "remarks is required"),
        (receipt.as_str(), "x", "2 to 100"),
    ] {
        let refused = send(form(typed, remarks)).await;
        assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);
        assert!(
            refused.text.contains(problem),
            "{problem}: {}",
            refused.text
        );
        // What was typed and the key stay.
        assert_eq!(hidden(&refused.text, "key"), key);
    }
    assert_eq!(paying.sent().len(), 1);

    let sent = send(form(&receipt, "Wrong <amount>")).await;
    assert_eq!(sent.status.as_u16(), 303, "{}", sent.text);
    let again = send(form(&receipt, "Wrong <amount>")).await;
    assert_eq!(again.header("location"), sent.header("location"));
    assert_eq!(paying.sent().len(), 2);
    let taken_back = paying.settled(&id.clone().into()).await;
    assert!(taken_back["reversed_at"].is_string(), "{taken_back}");
    let after = send(form(&receipt, "Wrong <amount>")).await;
    assert_eq!(after.header("location"), sent.header("location"));
    assert_eq!(paying.sent().len(), 2);

    let lines = audit_lines(&paying.app, "payment.start").await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0][4], "mpesa reversal 1200.00 KES");
    let gone = browser.get(&format!("{PAGE}?payment={receipt}")).await;
    assert_eq!(gone.status.as_u16(), 409, "{}", gone.text);
    assert!(gone.text.contains("went back already"), "{}", gone.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_said_so() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let (failed, _) = paid(&paying, "1032").await;
    for (sought, status, problem) in [
        (failed.as_str(), 409, "has not succeeded"),
        ("RKT0000000", 404, "no M-Pesa payment"),
        (
            "01a00000-0000-7000-8000-000000000000",
            404,
            "no M-Pesa payment",
        ),
    ] {
        let answer = browser.get(&format!("{PAGE}?payment={sought}")).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert!(answer.text.contains(problem), "{}", answer.text);
    }
    let hostile = browser
        .get(&format!("{PAGE}?payment=%22%3E%3Cscript%3E"))
        .await;
    assert!(!hostile.text.contains("\"><script>"), "{}", hostile.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partners_payment_is_not_there() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let (id, receipt) = paid(&paying, "5678").await;
    let stranger = paying.app.partner().await;
    let browser = Browser::with_key(&paying.app, &stranger.key).await;
    for sought in [&receipt, &id] {
        let answer = browser.get(&format!("{PAGE}?payment={sought}")).await;
        assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    }
    let form = [
        ("key", "console-1"),
        ("payment", id.as_str()),
        ("remarks", "Mine now"),
        ("receipt", receipt.as_str()),
    ];
    let answer = browser.send_form_of(PAGE, PAGE, &form).await;
    assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    assert_eq!(paying.sent().len(), 1);
    assert!(audit_lines(&paying.app, "payment.start").await.is_empty());
}
