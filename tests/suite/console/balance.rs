//! Balances on the console: asked for, waited for, shown with when they were last told.

use ussd_status::domain::enquiry::{ENQUIRIES_KEPT, Enquiry, Told};
use ussd_status::domain::identity::EnquiryId;

use super::audit_lines;
use crate::api::{acknowledged, fixture};
use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

on_both_databases!(
    mpesas_balance_is_asked_for_and_waited_for,
    clickpesas_balance_is_there_at_once_and_kept,
    a_failure_is_told_and_balances_that_come_later_take_its_place,
    the_newest_questions_are_kept,
);

const PAGE: &str = "/console/balance";

async fn mpesas_balance_is_asked_for_and_waited_for(db: TestStore) {
    let paying = Paying::start(db).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let page = browser.page(PAGE).await;
    assert!(page.contains("never checked"), "{page}");
    let account = paying.mpesa.id.to_string();
    let asked = browser
        .send_form_of(PAGE, PAGE, &[("account", &account)])
        .await;
    assert_eq!(asked.status.as_u16(), 303, "{}", asked.text);
    let path = asked.header("location").to_owned();
    let card = browser.page(&format!("{path}/wait")).await;
    assert!(card.contains("data-final"), "{card}");
    assert!(card.contains("Utility Account"), "{card}");
    let page = browser.page(&path).await;
    assert!(page.contains("The provider answered."), "{page}");
    let page = browser.page(PAGE).await;
    assert!(page.contains("last checked"), "{page}");
    let told = page.split_once("Asked before").unwrap().1;
    assert!(
        told.contains("Utility Account") && told.contains("<code>key:"),
        "{told}"
    );
    let line = &audit_lines(&paying.app, "balance.ask").await[0];
    assert!(line[0].as_str().unwrap().starts_with("key:"));
    assert_eq!(line[1], paying.partner.id.to_string());
    assert_eq!(line[2], account);
    assert_eq!(line[3], "127.0.0.1");
}

async fn clickpesas_balance_is_there_at_once_and_kept(db: TestStore) {
    let paying = Paying::start(db).await;
    let browser = Browser::with_key(&paying.app, &paying.partner.key).await;
    let accounts = paying
        .app
        .db
        .store
        .list_accounts(Some(paying.partner.id))
        .await
        .unwrap();
    let clickpesa = accounts
        .iter()
        .find(|account| account.id != paying.mpesa.id)
        .unwrap();
    let form = [("account", clickpesa.id.to_string())];
    let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
    for _ in 0..2 {
        let asked = browser.send_form_of(PAGE, PAGE, &form).await;
        assert_eq!(asked.status.as_u16(), 303, "{}", asked.text);
        assert_eq!(asked.header("location"), PAGE);
    }
    // What the API asks for is kept too, with the key that asked.
    let api = paying.get("/api/v1/clickpesa/account/balance").await;
    api.expect(200);
    let store = &paying.app.db.store;
    let asked = store.list_enquiries(paying.partner.id).await.unwrap();
    assert_eq!(asked.len(), 3);
    for enquiry in &asked {
        assert_eq!(enquiry.account_id, clickpesa.id);
        assert!(enquiry.asked_by.starts_with("key:"));
        let answer = enquiry.answer.as_ref().unwrap();
        assert!(matches!(&answer.told, Told::Balances(told) if !told.is_empty()));
    }
    let kept = paying
        .app
        .db
        .store
        .list_balances(paying.partner.id, clickpesa.id)
        .await
        .unwrap();
    assert!(!kept.is_empty());
    let page = browser.page(PAGE).await;
    assert!(
        page.contains("TZS") && page.contains("last checked"),
        "{page}"
    );
}

async fn a_failure_is_told_and_balances_that_come_later_take_its_place(db: TestStore) {
    let paying = Paying::start(db).await;
    let browser = Browser::of_operator(&paying.app, "asha").await;
    browser.look_at(paying.partner.id).await;
    let (partner, now) = (paying.partner.id, paying.app.db.now());
    let store = &paying.app.db.store;
    let asked = Enquiry {
        id: EnquiryId::new(now),
        partner_id: partner,
        account_id: paying.mpesa.id,
        asked_by: "console:asha".to_owned(),
        asked_at: now,
        answer: None,
    };
    store.insert_enquiry(asked.clone()).await.unwrap();
    let enquiry = asked.id.to_string();
    let path = format!("{PAGE}/{}/{enquiry}", paying.mpesa.id);
    let page = browser.page(&path).await;
    assert!(!page.contains("data-final"), "{page}");
    assert!(page.contains("No answer yet"), "{page}");
    for (kind, name, words) in [
        (
            "balance-timeout",
            "mpesa-balance-queuetimeout-1",
            "gave up waiting",
        ),
        (
            "balance-result",
            "mpesa-balance-failed-1",
            "The initiator information is invalid. (2001)",
        ),
        ("balance-result", "mpesa-balance-success-1", "228,037.00"),
        // Nothing takes the place of balances.
        ("balance-result", "mpesa-balance-failed-1", "228,037.00"),
    ] {
        let (app, kind) = (&paying.app, format!("{kind}/{enquiry}"));
        acknowledged(app, &paying.mpesa, &kind, fixture(name)).await;
        let card = browser.page(&format!("{path}/wait")).await;
        assert!(
            card.contains("data-final") && card.contains(words),
            "{words}: {card}"
        );
        assert!(card.contains("<code>console:asha</code>"), "{card}");
    }
    // The address of another account's question answers nothing.
    let other = paying.app.mpesa_account(paying.partner.id).await;
    let before = store.list_enquiries(paying.partner.id).await.unwrap();
    let kind = format!("balance-result/{enquiry}");
    acknowledged(&paying.app, &other, &kind, fixture("mpesa-balance-map-1")).await;
    let after = store.list_enquiries(paying.partner.id).await.unwrap();
    assert_eq!(after, before);
}

async fn the_newest_questions_are_kept(db: TestStore) {
    let paying = Paying::start(db).await;
    let store = &paying.app.db.store;
    let (partner, now) = (paying.partner.id, paying.app.db.now());
    let mut ids = Vec::new();
    for index in 0..ENQUIRIES_KEPT + 3 {
        let enquiry = Enquiry {
            id: EnquiryId::new(now),
            partner_id: partner,
            account_id: paying.mpesa.id,
            asked_by: format!("key:{index}"),
            asked_at: now,
            answer: None,
        };
        ids.insert(0, enquiry.id);
        store.insert_enquiry(enquiry).await.unwrap();
    }
    let kept = store.list_enquiries(partner).await.unwrap();
    let kept: Vec<EnquiryId> = kept.iter().map(|enquiry| enquiry.id).collect();
    let many = usize::try_from(ENQUIRIES_KEPT).unwrap();
    assert_eq!(kept, ids[..many]);
    let count = paying.app.db.count("FROM balance_enquiries").await;
    assert_eq!(count, ENQUIRIES_KEPT);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partners_account_is_not_there() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let stranger = paying.app.partner().await;
    let browser = Browser::with_key(&paying.app, &stranger.key).await;
    let account = paying.mpesa.id.to_string();
    let page = browser.page(PAGE).await;
    assert!(!page.contains(&account), "{page}");
    let asked = browser
        .send_form_of(PAGE, PAGE, &[("account", &account)])
        .await;
    assert_eq!(asked.status.as_u16(), 400, "{}", asked.text);
    let path = format!("{PAGE}/{account}/1-0/wait");
    assert_eq!(browser.get(&path).await.status.as_u16(), 404);
    for path in ["x/1-0", "x/1-0/wait"] {
        let answer = browser.get(&format!("{PAGE}/{path}")).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
    }
    assert!(audit_lines(&paying.app, "balance.ask").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_answer_is_told() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let app = &paying.app;
    let account = app
        .account(
            paying.partner.id,
            ussd_status::domain::transaction::Provider::Mpesa,
            serde_json::json!({
                "environment": "sandbox", "shortcode": "600967", "consumer_key": "other",
                "consumer_secret": "secret", "base_url": "http://127.0.0.1:9",
                "initiator_name": "api", "initiator_password": "password",
                "certificate": std::fs::read_to_string("tests/fixtures/keys/mpesa-test-certificate.pem").unwrap(),
            }),
        )
        .await;
    let browser = Browser::with_key(app, &paying.partner.key).await;
    let asked = browser
        .send_form_of(PAGE, PAGE, &[("account", &account.id.to_string())])
        .await;
    assert_eq!(asked.status.as_u16(), 502, "{}", asked.text);
    assert!(asked.text.contains("role=\"alert\""), "{}", asked.text);
}
