//! Balances on the console: asked for, waited for, shown with when they were last told.

use super::audit_lines;
use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

on_both_databases!(
    mpesas_balance_is_asked_for_and_waited_for,
    clickpesas_balance_is_there_at_once_and_kept,
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
