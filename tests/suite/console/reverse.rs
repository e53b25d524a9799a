//! Taking a payment back from the console: found by its receipt, confirmed by typing it, taken back once.

use serde_json::json;
use ussd_status::domain::transaction::Provider;

use super::{audit_lines, hidden};
use crate::api::{acknowledged, fixture};
use crate::support::TestStore;
use crate::support::app::Answer;
use crate::support::browser::{Browser, token};
use crate::support::paying::{Paying, mpesa_credentials, order};

on_both_databases!(
    a_payment_is_taken_back_once_after_its_receipt_was_typed,
    a_payment_goes_back_through_its_own_account_or_through_the_one_that_is_chosen,
);

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

async fn a_payment_goes_back_through_its_own_account_or_through_the_one_that_is_chosen(
    db: TestStore,
) {
    let paying = Paying::start(db).await;
    let app = &paying.app;
    let (own, receipt) = paid(&paying, "5678").await;
    let second = mpesa_credentials("second");
    let second = app
        .account(paying.partner.id, Provider::Mpesa, second)
        .await;
    let browser = Browser::with_key(app, &paying.partner.key).await;
    let send = async |id: &str, receipt: &str, account: Option<&str>| {
        let page = browser.page(&format!("{PAGE}?payment={id}")).await;
        let (token, key) = (token(&page), hidden(&page, "key"));
        let mut fields = vec![
            ("token", token.as_str()),
            ("key", &key),
            ("payment", id),
            ("remarks", "Wrong amount"),
            ("receipt", receipt),
        ];
        fields.extend(account.map(|account| ("account", account)));
        (page, browser.post(PAGE, &fields).await)
    };
    let through = async |answer: Answer| {
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.text);
        let id = answer.header("location").rsplit_once('/').unwrap().1;
        let id = id.parse().unwrap();
        let found = app.db.store.find_transaction(paying.partner.id, id).await;
        found.unwrap().unwrap().0.account_id
    };
    // A payment of ours knows its account, whatever a form says.
    let (page, sent) = send(&own, &receipt, Some(&second.id.to_string())).await;
    assert!(page.contains("Goes back through"), "{page}");
    assert!(!page.contains("name=\"account\""), "{page}");
    assert_eq!(through(sent).await, Some(paying.mpesa.id));

    // One that another system started does not: the person does.
    let foreign = json!({"kind": "stk_push", "conversation_id": "ws_CO_191220191020363925"});
    let foreign = app.register(&paying.partner, foreign).await["transaction_id"].clone();
    let kind = format!("stk/{}", foreign.as_str().unwrap());
    let told = fixture("mpesa-stk-success-1");
    acknowledged(app, &second, &kind, told).await;
    let foreign = app.transaction(&paying.partner, &foreign).await;
    let id = foreign["transaction_id"].as_str().unwrap();
    let receipt = foreign["transaction_receipt"].as_str().unwrap();
    let (page, refused) = send(id, receipt, None).await;
    assert_eq!(page.matches("name=\"account\"").count(), 2, "{page}");
    assert!(!page.contains(" checked"), "nothing is chosen for anybody");
    assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);
    assert!(
        refused.text.contains("account is required"),
        "{}",
        refused.text
    );
    let stranger = app.partner().await;
    let strange = app.mpesa_account(stranger.id).await.id.to_string();
    let (_, refused) = send(id, receipt, Some(&strange)).await;
    assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);
    let (_, sent) = send(id, receipt, Some(&second.id.to_string())).await;
    assert_eq!(through(sent).await, Some(second.id));
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
