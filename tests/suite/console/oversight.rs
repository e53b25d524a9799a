//! Keys, accounts, callbacks that could not be understood, and the audit log, on the console.

use serde_json::{Value, json};
use ussd_status::console::AUDIT_PAGE;
use ussd_status::domain::account::Account;
use ussd_status::domain::partner::Scope;
use ussd_status::store::Actor;

use super::audit_lines;
use crate::api::{acknowledged, b2c_result};
use crate::support::TestStore;
use crate::support::app::{TestApp, TestPartner};
use crate::support::browser::Browser;
use crate::support::paying::Paying;

on_both_databases!(
    a_key_is_made_used_and_revoked,
    a_callback_that_is_understood_now_takes_effect_once,
    the_audit_log_is_paged_and_filtered,
);

/// The key that a page shows this once.
fn shown_key(page: &str) -> String {
    let (_, rest) = page
        .split_once("<code>us_")
        .unwrap_or_else(|| panic!("no key in {page}"));
    format!("us_{}", rest.split_once('<').unwrap().0)
}

async fn a_key_is_made_used_and_revoked(db: TestStore) {
    let app = TestApp::start(db).await;
    let partner = app.partner().await;
    let browser = Browser::of_operator(&app, "asha").await;
    browser.look_at(partner.id).await;
    let form = [
        ("scopes", "status:read"),
        ("scopes", "webhooks:write"),
        ("days", "30"),
    ];
    let page = "/console/keys";
    let made = browser.send_form_of(page, page, &form).await;
    assert_eq!(made.status.as_u16(), 200, "{}", made.text);
    let key = TestPartner {
        id: partner.id,
        key: shown_key(&made.text),
    };
    let keys = app.db.store.list_keys(partner.id).await.unwrap();
    let kept = keys.last().unwrap();
    assert_eq!(kept.scopes, [Scope::StatusRead, Scope::WebhooksWrite]);
    assert_eq!(
        kept.expires_at,
        Some(app.db.now() + chrono::Duration::days(30))
    );
    let listed = browser.page(page).await;
    assert!(
        listed.contains(&kept.prefix) && !listed.contains(&key.key),
        "{listed}"
    );
    assert_eq!(listed.matches(">never</span>").count(), 2, "{listed}");

    for _ in 0..3 {
        app.get(&key, "/api/ussd/webhooks").await.expect(200);
    }
    // Nobody waits for it to be written down.
    let used = "FROM api_keys WHERE last_used_at IS NOT NULL";
    for _ in 0..200 {
        if app.db.count(used).await > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let uses = app.db.store.list_key_uses(partner.id).await.unwrap();
    assert_eq!(uses, [(kept.id, app.db.now())]);
    let listed = browser.page(page).await;
    assert_eq!(listed.matches(">never</span>").count(), 1, "{listed}");

    let revoke = format!("{page}/{}/revoke", kept.id);
    let revoked = browser.send_form_of(page, &revoke, &[]).await;
    assert_eq!(revoked.header("location"), page, "{}", revoked.text);
    let keys = app.db.store.list_keys(partner.id).await.unwrap();
    assert!(keys.last().unwrap().revoked_at.is_some());
    let listed = browser.page(page).await;
    assert!(
        listed.contains("is revoked") && listed.contains(">revoked<"),
        "{listed}"
    );
    for action in ["key.create", "key.revoke"] {
        let lines = audit_lines(&app, action).await;
        let line = lines.last().unwrap();
        assert_eq!(line[0], "console:asha", "{action}");
        assert_eq!(line[1], partner.id.to_string(), "{action}");
        assert_eq!(line[2], kept.id.to_string(), "{action}");
        assert_eq!(line[3], "127.0.0.1", "{action}");
    }
    for (form, problem) in [
        (vec![], "scopes is required"),
        (vec![("scopes", "<all>")], "status:read, payments:write"),
        (vec![("scopes", "status:read"), ("days", "0")], "1 to 3650"),
        (
            vec![("scopes", "status:read"), ("days", "soon")],
            "1 to 3650",
        ),
    ] {
        let refused = browser.send_form_of(page, page, &form).await;
        assert_eq!(refused.status.as_u16(), 400, "{}", refused.text);
        assert!(
            refused.text.contains(problem),
            "{problem}: {}",
            refused.text
        );
        assert!(!refused.text.contains("<all>"), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_its_own_keys_and_changes_none() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let (partner, stranger) = (app.partner().await, app.partner().await);
    let browser = Browser::with_key(&app, &partner.key).await;
    let page = browser.page("/console/keys").await;
    let keys = app.db.store.list_keys(stranger.id).await.unwrap();
    let id = keys[0].id.to_string();
    assert!(
        page.contains("yours") && !page.contains("Another key"),
        "{page}"
    );
    assert!(!page.contains(&id), "{page}");
    let own = app.db.store.list_keys(partner.id).await.unwrap()[0].id;
    for path in [
        "/console/keys".to_owned(),
        format!("/console/keys/{id}/revoke"),
        format!("/console/keys/{own}/revoke"),
    ] {
        let form = [("scopes", "msisdn:reveal")];
        let answer = browser.send_form_of("/console", &path, &form).await;
        assert_eq!(answer.status.as_u16(), 403, "{path}: {}", answer.text);
    }
    // Nor does an operator revoke a key of a partner it does not look at.
    let operator = Browser::of_operator(&app, "asha").await;
    operator.look_at(partner.id).await;
    let path = format!("/console/keys/{id}/revoke");
    let answer = operator.send_form_of("/console", &path, &[]).await;
    assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    let revoked = "FROM api_keys WHERE revoked_at IS NOT NULL";
    assert_eq!(app.db.count(revoked).await, 0);
    assert_eq!(app.db.count("FROM api_keys").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_health_is_what_doctor_says() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let app = &paying.app;
    let browser = Browser::with_key(app, &paying.partner.key).await;
    let check = |account: &Account| {
        let (partner, id) = (account.partner_id, account.id);
        format!("/console/accounts/{partner}/{id}/check")
    };
    let page = "/console/accounts";
    let checked = browser.send_form_of(page, &check(&paying.mpesa), &[]).await;
    assert_eq!(checked.status.as_u16(), 200, "{}", checked.text);
    assert!(
        checked.text.contains("the provider gave a token"),
        "{}",
        checked.text
    );
    let bare = app.mpesa_account(paying.partner.id).await;
    let checked = browser.send_form_of(page, &check(&bare), &[]).await;
    assert!(checked.text.contains(">failing<"), "{}", checked.text);
    let line = &audit_lines(app, "account.check").await[0];
    assert_eq!(line[2], paying.mpesa.id.to_string());
    assert_eq!(line[3], "127.0.0.1");

    let stranger = app.partner().await;
    let foreign = Browser::with_key(app, &stranger.key).await;
    assert!(!foreign.page(page).await.contains(&bare.id.to_string()));
    let own = app.mpesa_account(stranger.id).await;
    for path in [
        check(&bare),
        format!("{page}/{}/{}/check", stranger.id, bare.id),
        format!("{page}/{}/x/check", own.partner_id),
    ] {
        let answer = foreign.send_form_of(page, &path, &[]).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}: {}", answer.text);
    }
    assert_eq!(audit_lines(app, "account.check").await.len(), 2);
    // An operator who has chosen nobody sees everybody's.
    let operator = Browser::of_operator(app, "asha").await;
    let all = operator.page(page).await;
    for account in [&bare, &own, &paying.mpesa] {
        assert!(all.contains(&account.id.to_string()), "{all}");
    }
}

/// Puts a body into the only unreadable callback, as if a newer version understood the one it has.
async fn understand(app: &TestApp, body: &str) {
    let hex: String = body.bytes().map(|byte| format!("{byte:02x}")).collect();
    let literal = if app.db.is_sqlite() {
        format!("X'{hex}'")
    } else {
        format!("'\\x{hex}'::bytea")
    };
    app.db
        .execute(&format!(
            "UPDATE callbacks SET body = {literal} WHERE state = 'unreadable'"
        ))
        .await;
}

async fn a_callback_that_is_understood_now_takes_effect_once(db: TestStore) {
    let app = TestApp::start(db).await;
    let (partner, stranger) = (app.partner().await, app.partner().await);
    let account = app.mpesa_account(partner.id).await;
    let made = app
        .register(&partner, json!({"conversation_id": "AG_1"}))
        .await;
    acknowledged(&app, &account, "b2c-result", "<script>254712345678").await;
    let page = "/console/callbacks";
    let browser = Browser::with_key(&app, &partner.key).await;
    let listed = browser.page(page).await;
    assert!(listed.contains("&#60;script&#62;2547*****678"), "{listed}");
    let foreign = Browser::with_key(&app, &stranger.key).await;
    assert!(!foreign.page(page).await.contains("b2c-result"));
    let id = app.db.rows(&["id"], "FROM callbacks").await[0][0]
        .as_str()
        .unwrap()
        .to_owned();
    let again = format!("{page}/{id}/read-again");
    let answer = foreign.send_form_of(page, &again, &[]).await;
    assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    let status =
        async || app.transaction(&partner, &made["transaction_id"]).await["status"].clone();

    browser.send_form_of(page, &again, &[]).await;
    let listed = browser.page(page).await;
    assert!(listed.contains("still cannot be understood"), "{listed}");
    assert_eq!(status().await, "accepted");

    understand(&app, &b2c_result("AG_1", 0)).await;
    // Of two that come at once, one is first.
    let (one, two) = tokio::join!(
        browser.send_form_of(page, &again, &[]),
        browser.send_form_of(page, &again, &[]),
    );
    assert_eq!(one.status.as_u16(), 303, "{}", one.text);
    assert_eq!(two.status.as_u16(), 303, "{}", two.text);
    assert_eq!(status().await, "success");
    let success = "FROM transaction_events WHERE to_status = 'success'";
    assert_eq!(app.db.count(success).await, 1);
    let kept = app
        .db
        .rows(&["state", "transaction_id"], "FROM callbacks")
        .await;
    assert_eq!(kept, [[json!("applied"), made["transaction_id"].clone()]]);
    browser.send_form_of(page, &again, &[]).await;
    let listed = browser.page(page).await;
    assert!(listed.contains("It was read before"), "{listed}");
    assert!(listed.contains("There is none"), "{listed}");
    let line = &audit_lines(&app, "callback.read_again").await[0];
    assert!(line[0].as_str().unwrap().starts_with("key:"));
    assert_eq!(line[1], partner.id.to_string());
    assert_eq!(line[2], id);
    assert_eq!(line[3], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_callbacks_is_read_again_and_what_has_no_transaction_yet_waits() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    let partner = app.partner().await;
    let account = app.mpesa_account(partner.id).await;
    acknowledged(&app, &account, "b2c-result", "rubbish").await;
    understand(&app, &b2c_result("AG_2", 0)).await;
    acknowledged(&app, &account, "b2c-result", "more rubbish").await;
    let page = "/console/callbacks";
    let operator = Browser::of_operator(&app, "asha").await;
    operator.send_form_of(page, page, &[]).await;
    let listed = operator.page(page).await;
    assert!(
        listed.contains("1 understood now, 1 still not."),
        "{listed}"
    );
    let states = app.db.rows(&["state"], "FROM callbacks ORDER BY id").await;
    assert_eq!(states, [[json!("waiting")], [json!("unreadable")]]);
    // The payment that it tells of is registered later.
    let made = app
        .register(&partner, json!({"conversation_id": "AG_2"}))
        .await;
    let told: Value = app.transaction(&partner, &made["transaction_id"]).await;
    assert_eq!(told["status"], "success");
    let waiting = "FROM waiting_callbacks";
    assert_eq!(app.db.count(waiting).await, 0);
    for query in ["cursor=x", "page=2"] {
        let answer = operator.get(&format!("{page}?{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}");
    }
}

async fn the_audit_log_is_paged_and_filtered(db: TestStore) {
    let app = TestApp::start(db).await;
    let (partner, stranger) = (app.partner().await, app.partner().await);
    let of_stranger = Actor::new("cli").audit("test.foreign", stranger.id, "S-1");
    app.db.store.record_audit(of_stranger).await.unwrap();
    for number in 0..=AUDIT_PAGE {
        app.db.clock.advance(chrono::Duration::seconds(1));
        let line = Actor::new("console:asha")
            .from_address(Some([203, 0, 113, 7].into()))
            .audit("test.act", partner.id, format!("T-{number}"))
            .with("<u>more</u>");
        app.db.store.record_audit(line).await.unwrap();
    }
    let page = "/console/audit";
    let browser = Browser::with_key(&app, &partner.key).await;
    let first = browser.page(&format!("{page}?action=test.act")).await;
    let newest = format!(">T-{AUDIT_PAGE}<");
    assert!(
        first.contains(&newest) && !first.contains(">T-0<"),
        "{first}"
    );
    assert!(
        !first.contains("<u>") && !first.contains("203.0.113.7"),
        "{first}"
    );
    let (_, next) = first.split_once("rel=\"next\" href=\"").unwrap();
    let next = next.split_once('"').unwrap().0.replace("&#38;", "&");
    let second = browser.page(&next).await;
    assert!(
        second.contains(">T-0<") && !second.contains(&newest),
        "{second}"
    );
    assert!(!second.contains("rel=\"next\""), "{second}");
    let all = browser.page(page).await;
    assert!(
        all.contains("console.sign_in") && all.contains("127.0.0.1"),
        "{all}"
    );
    for found in ["actor=cli", "action=test.foreign", "subject=S-1"] {
        let none = browser.page(&format!("{page}?{found}")).await;
        assert!(none.contains("Nothing found"), "{found}: {none}");
    }

    let operator = Browser::of_operator(&app, "juma").await;
    for (query, has, has_not) in [
        ("actor=cli", ">S-1<", ">T-1<"),
        ("subject=T-1", "203.0.113.7", ">S-1<"),
        ("from=2026-03-14T15:10", ">T-40<", ">T-1<"),
        (
            "to=2026-03-14T15:09&action=test.act",
            "Nothing found",
            ">T-1<",
        ),
    ] {
        let shown = operator.page(&format!("{page}?{query}")).await;
        assert!(shown.contains(has), "{query}: {shown}");
        assert!(!shown.contains(has_not), "{query}: {shown}");
    }
    for (query, problem) in [
        ("from=yesterday", "from"),
        ("cursor=1", "cursor"),
        ("who=asha", "accepted are actor, action"),
    ] {
        let answer = operator.get(&format!("{page}?{query}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{query}");
        assert!(answer.text.contains(problem), "{query}: {}", answer.text);
    }
}
