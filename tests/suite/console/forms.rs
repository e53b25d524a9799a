//! Every form of the console that changes something takes the session's own token.

use serde_json::json;

use crate::support::TestStore;
use crate::support::browser::Browser;
use crate::support::paying::Paying;

#[tokio::test(flavor = "multi_thread")]
async fn no_form_is_taken_without_the_sessions_token() {
    let paying = Paying::start(TestStore::sqlite().await).await;
    let app = &paying.app;
    let (endpoint, _) = app.endpoint(paying.partner.id, "http://127.0.0.1:9/").await;
    app.register(&paying.partner, json!({})).await;
    let delivery = app.db.rows(&["id"], "FROM deliveries").await;
    let delivery = delivery[0][0].as_str().unwrap();
    app.callback(&paying.mpesa, "stk", "no JSON").await;
    let callback = app.db.rows(&["id"], "FROM callbacks").await;
    let callback = callback[0][0].as_str().unwrap();
    let key = app.db.rows(&["id"], "FROM api_keys").await;
    let key = key[0][0].as_str().unwrap();
    let browser = Browser::of_operator(app, "asha").await;
    browser.look_at(paying.partner.id).await;
    let (partner, account) = (paying.partner.id, paying.mpesa.id);
    let account_text = account.to_string();
    let before = app.db.count("FROM audit_log").await;
    for path in [
        "pay-out".to_owned(),
        "pay-out/check".to_owned(),
        "reverse".to_owned(),
        "balance".to_owned(),
        "webhooks".to_owned(),
        format!("webhooks/{endpoint}/state"),
        format!("webhooks/{endpoint}/remove"),
        format!("webhooks/{endpoint}/rotate-secret"),
        format!("webhooks/{endpoint}/test"),
        format!("webhooks/{endpoint}/replay"),
        format!("webhooks/{endpoint}/deliveries/{delivery}/replay"),
        "keys".to_owned(),
        format!("keys/{key}/revoke"),
        format!("accounts/{partner}/{account}/check"),
        "callbacks".to_owned(),
        format!("callbacks/{callback}/read-again"),
    ] {
        let path = format!("/console/{path}");
        for token in ["", "0123456789abcdef"] {
            let form = [
                ("token", token),
                ("account", account_text.as_str()),
                ("purpose", "payout"),
                ("msisdn", "0712345678"),
                ("amount", "1200"),
                ("key", "console-1"),
                ("url", "http://127.0.0.1:9/"),
                ("scopes", "status:read"),
                ("state", "disabled"),
                ("dead", "yes"),
            ];
            let answer = browser.post(&path, &form).await;
            assert_eq!(answer.status.as_u16(), 403, "{path}: {}", answer.text);
            assert!(answer.text.contains("not from this session"), "{path}");
        }
        // Nor with another method, nor without a session.
        let stranger = Browser::new(app);
        let answer = stranger.post(&path, &[("token", "x")]).await;
        assert_eq!(answer.status.as_u16(), 303, "{path}");
        assert_eq!(answer.header("location"), "/console/sign-in");
    }
    assert!(paying.sent().is_empty());
    assert_eq!(app.db.count("FROM audit_log").await, before);
}
