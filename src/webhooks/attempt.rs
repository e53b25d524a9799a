//! One attempt at one delivery: open the secret, sign, send, judge the answer.

use std::sync::Arc;

use tracing::{debug, warn};

use super::body::{event_body, message_id};
use super::sender::{SendResult, Sender};
use super::signature::{self, Secret};
use crate::domain::clock::{Clock, Instant};
use crate::domain::delivery::{Attempt, AttemptVerdict, ClaimedDelivery, next_attempt_at};
use crate::vault::Vault;

const GONE: u16 = 410;

/// What an attempt needs besides the delivery.
#[derive(Clone)]
pub struct Means {
    pub vault: Option<Arc<Vault>>,
    pub clock: Arc<dyn Clock>,
    pub sender: Sender,
}

impl Means {
    /// Makes the attempt; whatever goes wrong is an outcome too.
    pub async fn attempt(self, delivery: ClaimedDelivery) -> Attempt {
        let at = self.clock.now();
        let result = match self.secret(&delivery) {
            Some(secret) => self.send(&secret, &delivery, at).await,
            None => SendResult::not_sent("no signing key".to_owned()),
        };
        let number = delivery.attempts.saturating_add(1);
        let verdict = judge(&result, number, self.clock.now());
        let attempt = Attempt {
            delivery_id: delivery.id,
            endpoint_id: delivery.endpoint.id,
            partner_id: delivery.endpoint.partner_id,
            number,
            at,
            duration_ms: i64::try_from(result.duration.as_millis()).unwrap_or(i64::MAX),
            status: result.status,
            error: result.error.clone(),
            response: result.response.clone(),
            verdict,
        };
        self.report(&attempt, &result, &delivery);
        attempt
    }

    async fn send(&self, secret: &Secret, delivery: &ClaimedDelivery, at: Instant) -> SendResult {
        let body = event_body(&delivery.event);
        let id = message_id(delivery.event.id);
        let seconds = at.timestamp();
        let headers = [
            (
                signature::SIGNATURE_HEADER,
                signature::sign(secret, &id, seconds, &body),
            ),
            (signature::TIMESTAMP_HEADER, seconds.to_string()),
            (signature::ID_HEADER, id),
        ];
        self.sender
            .send(&delivery.endpoint.url, &headers, body, at)
            .await
    }

    /// The endpoint's secret; an unsigned webhook is never sent.
    fn secret(&self, delivery: &ClaimedDelivery) -> Option<Secret> {
        let endpoint = &delivery.endpoint;
        let owner = format!("endpoint:{}", endpoint.id);
        let opened = self
            .vault
            .as_ref()?
            .open(&owner, &endpoint.sealed_secret)
            .ok()?;
        std::str::from_utf8(&opened).ok()?.parse().ok()
    }

    /// Figures and a line in the log; never the body, the number or the URL.
    fn report(&self, attempt: &Attempt, result: &SendResult, delivery: &ClaimedDelivery) {
        let outcome = match attempt.verdict {
            AttemptVerdict::Delivered => "delivered",
            AttemptVerdict::RetryAt(_) => "retry",
            AttemptVerdict::Dead => "dead",
            AttemptVerdict::Gone => "gone",
        };
        metrics::counter!("ussd_status_webhook_attempts_total", "outcome" => outcome).increment(1);
        metrics::histogram!("ussd_status_webhook_duration_seconds")
            .record(result.duration.as_secs_f64());
        if attempt.verdict == AttemptVerdict::Delivered {
            let delay = self.clock.now() - delivery.event.updated_at;
            metrics::histogram!("ussd_status_webhook_delay_seconds")
                .record(delay.to_std().unwrap_or_default().as_secs_f64());
            debug!(delivery = %attempt.delivery_id, endpoint = %attempt.endpoint_id, number = attempt.number, status = attempt.status, milliseconds = attempt.duration_ms, "webhook delivered");
        } else {
            warn!(delivery = %attempt.delivery_id, endpoint = %attempt.endpoint_id, number = attempt.number, status = attempt.status, milliseconds = attempt.duration_ms, error = attempt.error.as_deref(), outcome, "webhook not delivered");
        }
    }
}

fn judge(result: &SendResult, number: u32, now: Instant) -> AttemptVerdict {
    match result.status {
        Some(200..=299) => AttemptVerdict::Delivered,
        Some(GONE) => AttemptVerdict::Gone,
        _ => {
            let chance = rand::random_range(0..1_000_000);
            next_attempt_at(number, now, result.retry_after, chance)
                .map_or(AttemptVerdict::Dead, AttemptVerdict::RetryAt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;

    fn verdict(status: Option<u16>, number: u32) -> AttemptVerdict {
        let result = SendResult {
            status,
            ..SendResult::not_sent(String::new())
        };
        judge(&result, number, SystemClock.now())
    }

    #[test]
    fn any_2xx_is_delivered_and_410_is_gone() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(Some(status), 1), AttemptVerdict::Delivered);
        }
        assert_eq!(verdict(Some(410), 1), AttemptVerdict::Gone);
    }

    #[test]
    fn everything_else_is_tried_again_until_the_tenth_attempt() {
        for status in [
            None,
            Some(100),
            Some(301),
            Some(302),
            Some(307),
            Some(400),
            Some(404),
            Some(429),
            Some(500),
            Some(503),
        ] {
            for number in 1..=9 {
                assert!(matches!(
                    verdict(status, number),
                    AttemptVerdict::RetryAt(_)
                ));
            }
            assert_eq!(verdict(status, 10), AttemptVerdict::Dead);
        }
    }
}
