//! A partner's back end that orders payments, hangs up, and repeats itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::orders::{Manner, Order};
use super::stage::Stage;

/// A client that has no answer by then has found a bug.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause of a client whose connection was refused.
const PAUSE: Duration = Duration::from_millis(30);

/// Sends an order the way its client does, until there is an answer.
pub async fn send(stage: &Arc<Stage>, order: &Order) {
    let mut told = BTreeSet::new();
    match order.manner {
        Manner::Once => told.extend(until_answered(stage, order).await),
        Manner::Again => {
            told.extend(until_answered(stage, order).await);
            told.extend(until_answered(stage, order).await);
        }
        Manner::Impatient(milliseconds) => {
            let limit = Duration::from_millis(milliseconds);
            let _ = tokio::time::timeout(limit, once(stage, order)).await;
            told.extend(until_answered(stage, order).await);
        }
        Manner::Twice => {
            let (one, other) =
                tokio::join!(until_answered(stage, order), until_answered(stage, order));
            told.extend(one);
            told.extend(other);
        }
    }
    if order.has_key {
        assert_eq!(told.len(), 1, "one key, one transaction: {order:?}");
    }
    stage.answered.fetch_add(1, Ordering::Relaxed);
    stage.progress.notify_one();
}

/// The transaction that the answer names.
async fn until_answered(stage: &Stage, order: &Order) -> Option<String> {
    let begun = Instant::now();
    loop {
        if let Some((status, text)) = once(stage, order).await {
            return named(stage, order, status, &text);
        }
        assert!(begun.elapsed() < PATIENCE, "no answer to {order:?}");
        // Nobody tells when a killed service listens again.
        tokio::time::sleep(PAUSE).await;
    }
}

/// None if the connection broke.
async fn once(stage: &Stage, order: &Order) -> Option<(u16, String)> {
    let mut request = stage
        .client
        .post(format!("{}{}", stage.gate.url(), order.path))
        .header("x-api-key", &stage.partner.key)
        .header("content-type", "application/json")
        .body(order.body.to_string());
    if let Some(key) = &order.header {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let text = answer.text().await.ok()?;
    if status >= 400 {
        stage.told(&text);
    }
    Some((status, text))
}

fn named(stage: &Stage, order: &Order, status: u16, text: &str) -> Option<String> {
    let body: Value = serde_json::from_str(text).unwrap();
    let id = find(&body);
    match status {
        200..=202 => Some(id.unwrap_or_else(|| panic!("{text}"))),
        // A refusal names the transaction, in ClickPesa's own shape only its words.
        502 => id.or_else(|| order.body.get("orderReference").map(Value::to_string)),
        // An identical prompt without a key.
        409 if !order.has_key => None,
        _ => panic!("STORM_SEED={}: {status} {text} to {order:?}", stage.seed),
    }
}

/// The first transaction id anywhere in a body.
fn find(body: &Value) -> Option<String> {
    match body {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value {
            Value::String(id) if ["transaction_id", "transactionId"].contains(&name.as_str()) => {
                Some(id.clone())
            }
            other => find(other),
        }),
        Value::Array(items) => items.iter().find_map(find),
        _ => None,
    }
}
