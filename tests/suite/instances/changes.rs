//! What is revoked, suspended or changed through one instance holds on every other within five seconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use ussd_status::domain::partner::Scope;
use ussd_status::domain::transaction::Provider;

use super::several;
use crate::api::{STATUS, TRANSACTIONS};
use crate::support::app::{TestApp, TestPartner};
use crate::support::build::audit;
use crate::support::paying::{PAYMENTS, mpesa_credentials, order, simulator};

/// The promise.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks again and again until the answer is this one; no longer than promised.
async fn comes(wanted: u16, ask: impl AsyncFn() -> StatusCode) {
    let begun = Instant::now();
    loop {
        let asked_at = begun.elapsed();
        let answer = ask().await;
        if answer == wanted {
            return;
        }
        assert!(asked_at < WITHIN, "{answer}, and not {wanted}");
    }
}

/// The same of a partner's GET.
async fn until(app: &TestApp, partner: &TestPartner, path: &str, status: u16) {
    comes(status, async || app.get(partner, path).await.status).await;
}

const UNLIMITED: [(&str, &str); 2] = [
    ("RATE_LIMIT_GET", "1000000"),
    ("RATE_LIMIT_WRITE", "1000000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_suspended_partner_are_refused_everywhere() {
    let all = several(2, &UNLIMITED).await;
    let partner = all[0].partner().await;
    let key = all[0]
        .another_key(partner.id, &Scope::DEFAULT, |_| {})
        .await;
    let spare = TestPartner {
        id: partner.id,
        key,
    };
    let path = format!("{TRANSACTIONS}/01a1fc70-195b-701c-8f3e-e7aeb0c42b29");
    for app in &all {
        app.get(&partner, &path).await.expect(404);
        app.get(&spare, &path).await.expect(404);
    }
    let store = &all[0].db.store;
    let keys = store.list_keys(partner.id).await.unwrap();
    let revoked = keys.last().unwrap();
    assert!(
        store
            .revoke_key(revoked.id, all[0].db.now(), audit())
            .await
            .unwrap()
    );
    for app in &all {
        until(app, &spare, &path, 401).await;
        app.get(&partner, &path).await.expect(404);
    }
    let now = Some(all[0].db.now());
    assert!(
        store
            .set_partner_suspended(partner.id, now, audit())
            .await
            .unwrap()
    );
    for app in &all {
        until(app, &partner, &path, 403).await;
    }
    assert!(
        store
            .set_partner_suspended(partner.id, None, audit())
            .await
            .unwrap()
    );
    for app in &all {
        until(app, &partner, &path, 404).await;
    }
}

/// Webhook endpoints are looked up when they are needed: a change holds at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_endpoint_holds_at_once_and_a_removed_account_takes_no_callback() {
    let all = several(2, &UNLIMITED).await;
    let partner = all[0].partner().await;
    let account = all[0].mpesa_account(partner.id).await;
    let (endpoint, _) = all[0]
        .endpoint(partner.id, "http://127.0.0.1:9/hooks")
        .await;
    let path = format!("/api/ussd/webhooks/{endpoint}");
    for (enabled, owed) in [(true, 1), (false, 0), (true, 1)] {
        all[0]
            .patch(&partner, &path, &json!({"enabled": enabled}))
            .await
            .expect(200);
        let shown = all[1].get(&partner, &path).await.expect(200);
        assert_eq!(shown["webhook"]["enabled"], enabled, "{shown}");
        let made = all[1].register(&partner, json!({})).await;
        let id = made["transaction_id"].as_str().unwrap();
        let deliveries = format!("FROM deliveries WHERE transaction_id = '{id}'");
        assert_eq!(all[0].db.count(&deliveries).await, owed);
    }
    assert_eq!(
        all[1].callback(&account, "b2c-result", "{}").await.status,
        200
    );
    assert!(
        all[0]
            .db
            .store
            .remove_account(account.id, audit())
            .await
            .unwrap()
    );
    comes(404, async || {
        all[1].callback(&account, "b2c-result", "{}").await.status
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_account_pays_no_more_anywhere() {
    let simulator = simulator().await;
    let url = simulator.url();
    let settings = [UNLIMITED[0], UNLIMITED[1], ("MPESA_BASE_URL", url.as_str())];
    let all = several(2, &settings).await;
    let partner = all[0].partner().await;
    let account = all[0]
        .account(partner.id, Provider::Mpesa, mpesa_credentials("mine"))
        .await;
    let pay = async |app: &TestApp, key: &str| {
        let mut order = order("b2c", key, "0999");
        order["account_id"] = json!(account.id.to_string());
        app.post(&partner, PAYMENTS, &order).await.status
    };
    for (number, app) in all.iter().enumerate() {
        assert_eq!(pay(app, &format!("before {number}")).await, 201);
    }
    assert!(
        all[0]
            .db
            .store
            .remove_account(account.id, audit())
            .await
            .unwrap()
    );
    let number = AtomicUsize::new(0);
    for app in &all {
        comes(400, async || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            pay(app, &format!("after {number}")).await
        })
        .await;
    }
    all[1].get(&partner, STATUS).await.expect(200);
}
