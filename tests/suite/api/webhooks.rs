//! From a registration over a provider's callback to the partner's receiver, signed and in order.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use ussd_status::simulator::receiver::{Fault, ReceivedWebhook, Receiver};

use super::webhook_management::{WEBHOOKS, made};
use super::{acknowledged, assert_order, b2c_result, start};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};
use crate::support::openapi::Document;

on_both_databases!(
    a_payments_life_arrives_signed_and_in_order,
    a_failing_endpoint_is_tried_again_and_delays_nobody_else,
    a_kept_callback_and_a_reversal_are_told_like_any_other,
    an_endpoint_that_is_gone_is_left_alone,
    the_other_endpoints_are_told_of_one_that_is_gone_until_they_have_it,
    an_endpoint_gets_no_more_in_a_second_than_it_named,
);

/// The partner's end.
pub struct Desk {
    pub receiver: Receiver,
    arrivals: UnboundedReceiver<ReceivedWebhook>,
}

impl Desk {
    pub async fn open(app: &TestApp) -> Self {
        let clock = app.db.clock.clone();
        let now = std::sync::Arc::new(move || ussd_status::domain::clock::Clock::now(&*clock));
        let (receiver, arrivals) = Receiver::start(([127, 0, 0, 1], 0).into(), now)
            .await
            .unwrap();
        Self { receiver, arrivals }
    }

    async fn endpoint(&self, app: &TestApp, partner: &TestPartner, label: &str) {
        let (_, secret) = app.endpoint(partner.id, &self.receiver.url(label)).await;
        assert!(self.receiver.set_secrets(label, &[&secret]));
    }

    /// What arrives within the time.
    pub async fn within(&mut self, time: Duration) -> Option<ReceivedWebhook> {
        tokio::time::timeout(time, self.arrivals.recv())
            .await
            .ok()
            .flatten()
    }

    pub async fn next(&mut self) -> ReceivedWebhook {
        self.within(Duration::from_secs(20))
            .await
            .expect("a webhook")
    }

    /// What arrives when the clock is moved on until something does.
    pub async fn next_after_a_while(
        &mut self,
        app: &TestApp,
        step: chrono::Duration,
    ) -> ReceivedWebhook {
        for _ in 0..40 {
            if let Some(webhook) = self.within(Duration::from_millis(700)).await {
                return webhook;
            }
            app.db.advance(step);
        }
        panic!("nothing came");
    }
}

fn body(webhook: &ReceivedWebhook) -> Value {
    serde_json::from_str(&webhook.body).unwrap()
}

async fn a_payments_life_arrives_signed_and_in_order(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let mut desk = Desk::open(&app).await;
    app.register(
        &partner,
        json!({"client_request_id": "before the endpoint"}),
    )
    .await;
    desk.endpoint(&app, &partner, "kilimo").await;
    let queued = app
        .register(
            &partner,
            json!({"client_request_id": "C1", "amount": "1200.5"}),
        )
        .await;
    let path = format!(
        "/api/ussd/transactions/{}",
        queued["transaction_id"].as_str().unwrap()
    );
    app.db.advance(chrono::Duration::milliseconds(250));
    app.patch(&partner, &path, &json!({"conversation_id": "AG1"}))
        .await
        .expect(200);
    app.db.advance(chrono::Duration::milliseconds(250));
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let mut ids = Vec::new();
    for (number, (kind, status)) in [
        ("transaction.registered", "queued"),
        ("transaction.accepted", "accepted"),
        ("transaction.success", "success"),
    ]
    .into_iter()
    .enumerate()
    {
        let webhook = desk.next().await;
        assert!(
            webhook.verified && !webhook.duplicate && webhook.attempt == 1,
            "{webhook:?}"
        );
        assert_eq!(webhook.event_type.as_deref(), Some(kind));
        assert_eq!(webhook.status.as_deref(), Some(status));
        assert_eq!(
            webhook.sequence,
            Some(number as u64 + 2),
            "the feed's number, without a gap"
        );
        ids.push(webhook.webhook_id.clone());
        let answer = Answer {
            status: reqwest::StatusCode::OK,
            headers: Default::default(),
            text: webhook.body.clone(),
        };
        assert_order(
            &answer,
            &[
                "transaction_id",
                "conversation_id",
                "client_request_id",
                "status",
                "result_code",
                "result_description",
                "transaction_receipt",
                "updated_at",
                "type",
                "sequence",
                "amount",
                "msisdn",
                "reversed_at",
            ],
        );
        assert!(webhook.body.contains(r#""amount":1200.50,"#));
        let told = body(&webhook);
        let is_success = status == "success";
        for (name, value) in [
            ("transaction_id", queued["transaction_id"].clone()),
            ("client_request_id", json!("C1")),
            (
                "conversation_id",
                if number > 0 {
                    json!("AG1")
                } else {
                    Value::Null
                },
            ),
            (
                "result_code",
                if is_success { json!("0") } else { Value::Null },
            ),
            (
                "result_description",
                if is_success {
                    json!("B2C ended with 0.")
                } else {
                    Value::Null
                },
            ),
            (
                "transaction_receipt",
                if is_success {
                    json!("RAG1")
                } else {
                    Value::Null
                },
            ),
            ("msisdn", json!("254712345678")),
            ("reversed_at", Value::Null),
        ] {
            assert_eq!(told[name], value, "{kind} {name}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(
        desk.within(Duration::from_millis(600)).await,
        None,
        "duplicates are no event"
    );
    let last = app.transaction(&partner, &queued["transaction_id"]).await;
    assert_eq!(last["updated_at"], "2026-03-14T15:09:27.035Z");
}

async fn a_failing_endpoint_is_tried_again_and_delays_nobody_else(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let mut desk = Desk::open(&app).await;
    desk.endpoint(&app, &partner, "failing").await;
    desk.endpoint(&app, &partner, "well").await;
    desk.receiver
        .set_fault("failing", Fault::Answer(500), Some(1));
    app.register(&partner, json!({"conversation_id": "AG1"}))
        .await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    // The other endpoint hears of both at once; the failing one hears of the second after the first.
    let mut first = vec![desk.next().await, desk.next().await, desk.next().await];
    first.sort_by(|one, other| (&one.label, one.sequence).cmp(&(&other.label, other.sequence)));
    let [failed, one, two] = first.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(
        (failed.label.as_str(), failed.answered, failed.sequence),
        ("failing", 500, Some(1))
    );
    assert_eq!(
        (one.label.as_str(), one.sequence, two.sequence),
        ("well", Some(1), Some(2))
    );
    assert_eq!(desk.within(Duration::from_millis(600)).await, None);
    let again = desk
        .next_after_a_while(&app, chrono::Duration::seconds(2))
        .await;
    assert_eq!(
        (
            again.attempt,
            again.answered,
            &again.webhook_id,
            &again.body
        ),
        (2, 200, &failed.webhook_id, &failed.body)
    );
    assert!(again.verified, "signed afresh for its own time");
    let later = desk.next().await;
    assert_eq!(
        (later.sequence, later.attempt, later.verified),
        (Some(2), 1, true)
    );
    assert_eq!(desk.within(Duration::from_millis(600)).await, None);
    // One that fails for five minutes is overtaken, and comes after all.
    desk.receiver
        .set_fault("failing", Fault::Answer(503), Some(2));
    app.register(&partner, json!({"conversation_id": "AG2"}))
        .await;
    assert_eq!(
        [desk.next().await.sequence, desk.next().await.sequence],
        [Some(3); 2]
    );
    acknowledged(&app, &account, "b2c-result", b2c_result("AG2", 0)).await;
    assert_eq!(desk.next().await.sequence, Some(4));
    let second = desk
        .next_after_a_while(&app, chrono::Duration::seconds(2))
        .await;
    assert_eq!(
        (second.sequence, second.answered, second.attempt),
        (Some(3), 503, 2)
    );
    let minutes = chrono::Duration::minutes(7);
    let mut last = Vec::new();
    for _ in 0..2 {
        let webhook = desk.next_after_a_while(&app, minutes).await;
        last.push((webhook.sequence, webhook.answered));
    }
    last.sort_unstable();
    assert_eq!(last, [(Some(3), 200), (Some(4), 200)]);
}

async fn a_kept_callback_and_a_reversal_are_told_like_any_other(db: TestStore) {
    let (app, partner, account) = start(db).await;
    let mut desk = Desk::open(&app).await;
    desk.endpoint(&app, &partner, "kilimo").await;
    acknowledged(&app, &account, "b2c-result", b2c_result("AG1", 0)).await;
    let original = app
        .register(&partner, json!({"conversation_id": "AG1"}))
        .await["transaction_id"]
        .clone();
    let reversal = app
        .register(&partner, json!({"kind": "reversal", "conversation_id": "AG2", "original_transaction_id": original}))
        .await["transaction_id"]
        .clone();
    app.db.advance(chrono::Duration::seconds(9));
    // A suspended partner is told nevertheless.
    let audit = crate::support::build::audit();
    app.db
        .store
        .set_partner_suspended(partner.id, Some(app.db.now()), audit)
        .await
        .unwrap();
    acknowledged(&app, &account, "reversal-result", b2c_result("AG2", 0)).await;
    let mut told = Vec::new();
    for _ in 0..5 {
        let webhook = desk.next().await;
        assert!(webhook.verified);
        told.push(webhook);
    }
    told.sort_by_key(|webhook| webhook.sequence);
    let words: Vec<_> = told
        .iter()
        .map(|webhook| {
            (
                body(webhook)["transaction_id"].clone(),
                webhook.event_type.clone().unwrap(),
            )
        })
        .collect();
    let of = |id: &Value, kind: &str| (id.clone(), format!("transaction.{kind}"));
    assert_eq!(
        words[..3],
        [
            of(&original, "registered"),
            of(&original, "success"),
            of(&reversal, "registered")
        ]
    );
    assert_eq!(told[0].status.as_deref(), Some("accepted"));
    assert!(
        words[3..].contains(&of(&reversal, "success"))
            && words[3..].contains(&of(&original, "failed")),
        "{words:?}"
    );
    let failed = told
        .iter()
        .find(|webhook| webhook.status.as_deref() == Some("failed"))
        .unwrap();
    assert_eq!(body(failed)["reversed_at"], "2026-03-14T15:09:35.535Z");
}

async fn an_endpoint_that_is_gone_is_left_alone(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    desk.endpoint(&app, &partner, "gone").await;
    // Another partner's: it is not told of the one that is gone.
    let other = app.partner().await;
    desk.endpoint(&app, &other, "moved").await;
    desk.receiver.set_fault("gone", Fault::Answer(410), None);
    desk.receiver.set_fault(
        "moved",
        Fault::Redirect(desk.receiver.url("elsewhere")),
        Some(1),
    );
    for partner in [&partner, &other] {
        app.register(partner, json!({})).await;
    }
    let mut answers =
        [desk.next().await, desk.next().await].map(|webhook| (webhook.label, webhook.answered));
    answers.sort();
    assert_eq!(
        answers,
        [("gone".to_owned(), 410), ("moved".to_owned(), 307)]
    );
    // A redirect is a failure that is tried again at the same place; 410 is the end.
    let again = desk
        .next_after_a_while(&app, chrono::Duration::seconds(6))
        .await;
    assert_eq!(
        (again.label.as_str(), again.answered, again.attempt),
        ("moved", 200, 2)
    );
    for partner in [&partner, &other] {
        app.register(partner, json!({})).await;
    }
    assert_eq!(desk.next().await.label, "moved");
    app.db.advance(chrono::Duration::hours(1));
    assert_eq!(desk.within(Duration::from_millis(700)).await, None);
    let metrics = app.send(Method::GET, "/metrics", &[], None).await.text;
    assert!(metrics.contains("ussd_status_webhook_attempts_total"));
    assert!(metrics.contains("ussd_status_webhook_endpoints_paused 0"));
}

async fn the_other_endpoints_are_told_of_one_that_is_gone_until_they_have_it(db: TestStore) {
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let (gone, _) = made(&app, &partner, &desk, "gone").await;
    let choosy = json!({"url": desk.receiver.url("choosy"), "events": ["transaction.failed"]});
    let answer = app.post(&partner, WEBHOOKS, &choosy).await.expect(201);
    let secret = answer["secret"].as_str().unwrap();
    assert!(desk.receiver.set_secrets("choosy", &[secret]));
    desk.receiver.set_fault("gone", Fault::Answer(410), None);
    desk.receiver
        .set_fault("choosy", Fault::Answer(503), Some(1));
    app.register(&partner, json!({})).await;
    let told = desk.next().await;
    assert_eq!((told.label.as_str(), told.answered), ("gone", 410));
    let first = desk.next().await;
    let second = desk
        .next_after_a_while(&app, chrono::Duration::seconds(2))
        .await;
    assert_eq!(first.answered, 503);
    assert_eq!((second.attempt, second.answered), (2, 200));
    assert_eq!(
        (&first.webhook_id, &first.body),
        (&second.webhook_id, &second.body)
    );
    assert!(second.webhook_id.starts_with("ntc_"));
    for notice in [&first, &second] {
        assert_eq!(notice.label, "choosy");
        assert!(notice.verified, "{:?}", notice.rejection);
    }
    let notice = body(&second);
    let schema = json!({"$ref": "#/components/schemas/WebhookDisabled"});
    Document::read().expect_valid(&schema, &notice, "webhook.disabled");
    assert_eq!(
        format!("{WEBHOOKS}/{}", notice["webhook_id"].as_str().unwrap()),
        gone
    );
    assert_eq!(
        (&notice["reason"], &notice["disabled_at"]),
        (&json!("gone"), &json!("2026-03-14T15:09:26.535Z"))
    );
    let feed = app.get(&partner, "/api/ussd/events").await.expect(200);
    assert_eq!(feed["events"].as_array().unwrap().len(), 1);
}

async fn an_endpoint_gets_no_more_in_a_second_than_it_named(db: TestStore) {
    const RATE: usize = 2;
    const SECONDS: usize = 4;
    let (app, partner, _) = start(db).await;
    let mut desk = Desk::open(&app).await;
    let slow = json!({"url": desk.receiver.url("slow"), "rate_per_second": RATE});
    let made = app.post(&partner, WEBHOOKS, &slow).await.expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(desk.receiver.set_secrets("slow", &[secret]));
    desk.endpoint(&app, &partner, "quick").await;
    let mut registered = 0;
    let mut register = async || {
        app.register(&partner, json!({})).await;
        registered += 1;
        registered
    };
    for _ in 0..RATE * SECONDS {
        register().await;
    }
    let mut seen = [0, 0];
    for second in 1..=SECONDS {
        // The clock stands still. That the endpoint without a limit has this event too shows that the dispatcher has
        // looked again at what is due, and still the other has no more than it named.
        let wanted = [RATE * second, register().await];
        while seen != wanted {
            let webhook = desk.next().await;
            assert!(webhook.verified, "{:?}", webhook.rejection);
            seen[usize::from(webhook.label == "quick")] += 1;
            assert!(seen[0] <= wanted[0], "{seen:?} in second {second}");
        }
        app.db.advance(chrono::Duration::milliseconds(999));
        register().await;
        assert_eq!(desk.next().await.label, "quick", "the second is not over");
        seen[1] += 1;
        app.db.advance(chrono::Duration::milliseconds(1));
    }
}
