use super::*;
use crate::simulator::receiver::{Fault, ReceivedWebhook, Receiver, Rejection};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &str =
    r#"{"type":"transaction.success","transaction_id":"t1","status":"success","sequence":4}"#;

struct Partner {
    receiver: Receiver,
    arrivals: mpsc::UnboundedReceiver<ReceivedWebhook>,
}

impl Partner {
    async fn open() -> Self {
        let (receiver, arrivals) = Receiver::start(loopback(), standing_clock()).await.unwrap();
        assert!(receiver.set_secrets("acme", &[SECRET]));
        Self { receiver, arrivals }
    }

    /// Sends with these headers; the answer's status and what was forwarded.
    async fn send(
        &mut self,
        id: &str,
        at: i64,
        signature: &str,
        body: &str,
    ) -> (u16, ReceivedWebhook) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let answer = client
            .post(self.receiver.url("acme"))
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            self.arrivals.try_recv().expect("nothing was forwarded"),
        )
    }

    async fn send_valid(&mut self, id: &str) -> (u16, ReceivedWebhook) {
        let at = now();
        self.send(id, at, &sign(SECRET, id, at, BODY), BODY).await
    }
}

fn now() -> i64 {
    standing_clock()().timestamp()
}

/// Signed by the official library.
fn sign(secret: &str, id: &str, at: i64, body: &str) -> String {
    standardwebhooks::Webhook::new(secret)
        .unwrap()
        .sign(id, at, body.as_bytes())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_webhook_is_believed() {
    let mut partner = Partner::open().await;
    let (status, webhook) = partner.send_valid("m1").await;
    assert_eq!(status, 200);
    assert!(webhook.verified);
    assert_eq!(webhook.label, "acme");
    assert_eq!(webhook.event_type.as_deref(), Some("transaction.success"));
    assert_eq!(webhook.transaction_id.as_deref(), Some("t1"));
    assert_eq!(webhook.status.as_deref(), Some("success"));
    assert_eq!(webhook.sequence, Some(4));
    assert_eq!((webhook.attempt, webhook.duplicate), (1, false));
    assert_eq!(webhook.body, BODY);
    partner.receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signature_of_several_is_enough() {
    let mut partner = Partner::open().await;
    let at = now();
    let signatures = format!(
        "v1a,xyz {} {}",
        sign(OTHER, "m1", at, BODY),
        sign(SECRET, "m1", at, BODY)
    );
    assert_eq!(partner.send("m1", at, &signatures, BODY).await.0, 200);
    let only_other = sign(OTHER, "m2", at, BODY);
    let (status, webhook) = partner.send("m2", at, &only_other, BODY).await;
    assert_eq!(
        (status, webhook.rejection),
        (401, Some(Rejection::Signature))
    );
    partner.receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_old_and_unsigned_webhooks_are_refused() {
    let mut partner = Partner::open().await;
    let at = now();
    let signature = sign(SECRET, "m1", at, BODY);
    let tampered = BODY.replace("success", "failed");
    let (status, webhook) = partner.send("m1", at, &signature, &tampered).await;
    assert_eq!(
        (status, webhook.rejection),
        (401, Some(Rejection::Signature))
    );
    let (status, webhook) = partner.send("m2", at, &signature, BODY).await;
    assert_eq!(
        (status, webhook.rejection),
        (401, Some(Rejection::Signature))
    );
    for at in [at - 301, at + 301] {
        let signature = sign(SECRET, "m3", at, BODY);
        let (status, webhook) = partner.send("m3", at, &signature, BODY).await;
        assert_eq!(
            (status, webhook.rejection),
            (401, Some(Rejection::Timestamp))
        );
    }
    let (status, webhook) = partner.send("m4", at, "v1,", BODY).await;
    assert_eq!(
        (status, webhook.rejection),
        (401, Some(Rejection::Signature))
    );
    assert!(!webhook.verified);
    assert!(!partner.receiver.set_secrets("acme", &["whsec_!"]));
    partner.receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_webhook_is_a_duplicate_once_it_was_accepted() {
    let mut partner = Partner::open().await;
    partner
        .receiver
        .set_fault("acme", Fault::Answer(503), Some(1));
    let (status, first) = partner.send_valid("m1").await;
    assert_eq!((status, first.attempt, first.duplicate), (503, 1, false));
    let (status, second) = partner.send_valid("m1").await;
    assert_eq!((status, second.attempt, second.duplicate), (200, 2, false));
    let (status, third) = partner.send_valid("m1").await;
    assert_eq!((status, third.attempt, third.duplicate), (200, 3, true));
    partner.receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_last_until_they_are_cleared() {
    let mut partner = Partner::open().await;
    partner.receiver.set_fault("acme", Fault::Answer(410), None);
    assert_eq!(partner.send_valid("m1").await.0, 410);
    assert_eq!(partner.send_valid("m2").await.0, 410);
    let elsewhere = Fault::Redirect("http://127.0.0.1:9/".to_owned());
    partner.receiver.set_fault("acme", elsewhere, None);
    assert_eq!(partner.send_valid("m3").await.0, 307);
    let hang = Fault::Hang(Duration::from_millis(20));
    partner.receiver.set_fault("acme", hang, None);
    assert_eq!(partner.send_valid("m4").await.0, 200);
    partner.receiver.clear_fault("acme");
    assert_eq!(partner.send_valid("m5").await.0, 200);
    partner.receiver.stop().await;
}
