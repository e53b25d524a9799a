//! Work that several instances share: each webhook is sent once and in order, at the provider they are one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use ussd_status::domain::clock::Clock;
use ussd_status::domain::transaction::Provider;
use ussd_status::simulator::receiver::{Fault, ReceivedWebhook, Receiver};

use super::several;
use crate::api::b2c_result;
use crate::support::app::TestApp;
use crate::support::paying::{PAYMENTS, mpesa_credentials, order, simulator};

/// The partner's end.
struct Desk {
    receiver: Receiver,
    arrivals: tokio::sync::mpsc::UnboundedReceiver<ReceivedWebhook>,
}

impl Desk {
    async fn open(app: &TestApp) -> Self {
        let clock = app.db.clock.clone();
        let now = Arc::new(move || Clock::now(&*clock));
        let (receiver, arrivals) = Receiver::start(([127, 0, 0, 1], 0).into(), now)
            .await
            .unwrap();
        Self { receiver, arrivals }
    }

    /// The next one; what still waits is told if none comes.
    async fn next_of(&mut self, app: &TestApp) -> ReceivedWebhook {
        let next = tokio::time::timeout(Duration::from_secs(30), self.arrivals.recv());
        if let Ok(Some(webhook)) = next.await {
            return webhook;
        }
        let waits = app.db.rows(
            &[
                "endpoint_id",
                "sequence",
                "state",
                "attempts",
                "is_leased",
                "due_at",
            ],
            "FROM deliveries WHERE state <> 'delivered'",
        );
        let failed = "FROM delivery_attempts WHERE status IS DISTINCT FROM 200";
        let failed = app.db.rows(&["status", "error", "duration_ms"], failed);
        panic!("no webhook: {:?} {:?}", waits.await, failed.await);
    }

    async fn next(&mut self) -> ReceivedWebhook {
        let next = tokio::time::timeout(Duration::from_secs(30), self.arrivals.recv());
        next.await.expect("a webhook").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_sent_once_and_a_payments_events_in_order() {
    let all = several(3, &[]).await;
    let partner = all[0].partner().await;
    let account = all[0].mpesa_account(partner.id).await;
    let mut desk = Desk::open(&all[0]).await;
    for label in ["one", "two"] {
        let (_, secret) = all[0].endpoint(partner.id, &desk.receiver.url(label)).await;
        assert!(desk.receiver.set_secrets(label, &[&secret]));
    }
    const COUNT: usize = 30;
    let lives = (0..COUNT).map(async |number| {
        let name = format!("AG{number}");
        let fields = json!({"conversation_id": name, "client_request_id": name});
        all[number % 3].register(&partner, fields).await;
        // Told to two instances at once.
        let told = [1, 2].map(|next| {
            all[(number + next) % 3].callback(&account, "b2c-result", b2c_result(&name, 0))
        });
        for answer in join_all(told).await {
            assert_eq!(answer.status, 200);
        }
    });
    join_all(lives).await;
    let mut last = HashMap::new();
    let mut seen = HashSet::new();
    for _ in 0..2 * 2 * COUNT {
        let webhook = desk.next_of(&all[0]).await;
        assert!(
            seen.insert((webhook.label.clone(), webhook.webhook_id.clone())),
            "{webhook:?} came before"
        );
        let place = (webhook.label, webhook.transaction_id.unwrap());
        let before = last.insert(place, webhook.sequence);
        assert!(before < Some(webhook.sequence), "out of order");
    }
    for app in &all {
        app.end().await;
    }
    assert!(desk.arrivals.try_recv().is_err(), "one too many");
    assert_eq!(
        all[0]
            .db
            .count("FROM deliveries WHERE state <> 'delivered'")
            .await,
        0
    );
}

/// An endpoint that wants one request at a time gets one at a time, whoever sends it.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoints_limits_hold_over_all_instances() {
    let all = several(3, &[]).await;
    let partner = all[0].partner().await;
    let mut desk = Desk::open(&all[0]).await;
    let (endpoint, _) = all[0]
        .endpoint(partner.id, &desk.receiver.url("slow"))
        .await;
    all[0]
        .db
        .execute(&format!(
            "UPDATE endpoints SET concurrency = 2 WHERE id = '{endpoint}'"
        ))
        .await;
    let slow = Fault::Hang(Duration::from_millis(400));
    desk.receiver.set_fault("slow", slow, None);
    for (number, app) in all.iter().cycle().take(9).enumerate() {
        app.register(&partner, json!({"client_request_id": number.to_string()}))
            .await;
    }
    // While none has been answered yet no more are under way than may be.
    desk.next().await;
    let leased = "FROM deliveries WHERE state = 'pending' AND is_leased";
    let mut most = all[0].db.count(leased).await;
    for _ in 1..9 {
        desk.next().await;
        most = most.max(all[0].db.count(leased).await);
    }
    assert!((1..=2).contains(&most), "{most} at a time");
}

/// Daraja ends a token when it gives another for the same application: each instance with a token of its own would end
/// the others'.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_provider_all_instances_use_one_token() {
    let simulator = simulator().await;
    let url = simulator.url();
    let all = several(3, &[("MPESA_BASE_URL", url.as_str())]).await;
    let partner = all[0].partner().await;
    all[0]
        .account(partner.id, Provider::Mpesa, mpesa_credentials("shared"))
        .await;
    for round in 0..2 {
        let pays = (0..24).map(async |number: usize| {
            let order = order("b2c", &format!("P{round}.{number}"), "0999");
            let answer = all[number % 3].post(&partner, PAYMENTS, &order).await;
            answer.expect(201);
        });
        join_all(pays).await;
        assert_eq!(simulator.issued_tokens().len(), round + 1);
        assert_eq!(simulator.invalidate_tokens(None), 1);
    }
    let kept = all[0]
        .db
        .count("FROM account_tokens WHERE sealed_token IS NOT NULL");
    assert_eq!(kept.await, 1);
}
