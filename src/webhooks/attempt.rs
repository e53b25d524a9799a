//! One attempt at one delivery: open the secret, sign, send, judge the answer.

use std::sync::Arc;

use tracing::{debug, warn};

use super::body::message_body;
use super::sender::{SendResult, Sender};
use super::signature::{self, SigningKey};
use crate::domain::clock::{Clock, Instant};
use crate::domain::delivery::{
    Attempt, AttemptVerdict, ClaimedDelivery, Endpoint, FAILING_PATIENCE, next_attempt_at,
};
use crate::vault::Vault;

const GONE: u16 = 410;

/// What an attempt needs besides the delivery.
#[derive(Clone)]
pub struct Means {
    pub vault: Option<Arc<Vault>>,
    pub clock: Arc<dyn Clock>,
    pub sender: Sender,
}

/// An attempt that was made.
#[derive(Debug)]
pub struct Attempted {
    /// For the record.
    pub attempt: Attempt,
    /// How long the endpoint asked to be left alone.
    pub retry_after: Option<chrono::Duration>,
}

impl Means {
    /// Makes the attempt; whatever goes wrong is an outcome too.
    pub async fn attempt(self, delivery: ClaimedDelivery) -> Attempted {
        let at = self.clock.now();
        let (id, body) = message_body(&delivery.message);
        let result = self.send(&delivery.endpoint, id, body, at).await;
        let number = delivery.attempts.saturating_add(1);
        let failing_since = delivery.endpoint.failing_since;
        let verdict = judge(&result, number, failing_since, self.clock.now());
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
            failing_since,
        };
        self.report(&attempt, &result, &delivery);
        Attempted {
            attempt,
            retry_after: result.retry_after,
        }
    }

    /// Signs a message with every key that is good at `at`, and posts it; an unsigned one is never sent.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        id: String,
        body: Vec<u8>,
        at: Instant,
    ) -> SendResult {
        let Some(keys) = self.keys(endpoint, at) else {
            return SendResult::not_sent("no signing key".to_owned());
        };
        let seconds = at.timestamp();
        let headers = [
            (
                signature::SIGNATURE_HEADER,
                signature::sign_with_all(&keys, &id, seconds, &body),
            ),
            (signature::TIMESTAMP_HEADER, seconds.to_string()),
            (signature::ID_HEADER, id),
        ];
        self.sender.send(&endpoint.url, &headers, body, at).await
    }

    /// The endpoint's key and, for a while after a rotation, the one before. `None` without the former.
    fn keys(&self, endpoint: &Endpoint, at: Instant) -> Option<Vec<SigningKey>> {
        let mut keys = vec![self.open(endpoint, &endpoint.sealed_secret)?];
        let previous = endpoint.previous_secret.as_ref();
        if let Some(previous) = previous.filter(|previous| at < previous.until) {
            keys.extend(self.open(endpoint, &previous.sealed));
        }
        Some(keys)
    }

    fn open(&self, endpoint: &Endpoint, sealed: &[u8]) -> Option<SigningKey> {
        let owner = endpoint.id.seal_owner();
        let opened = self.vault.as_ref()?.open(&owner, sealed).ok()?;
        SigningKey::parse(std::str::from_utf8(&opened).ok()?)
    }

    /// Figures and a line in the log; never the body, the number or the URL.
    fn report(&self, attempt: &Attempt, result: &SendResult, delivery: &ClaimedDelivery) {
        let outcome = match attempt.verdict {
            AttemptVerdict::Delivered => "delivered",
            AttemptVerdict::RetryAt(_) => "retry",
            AttemptVerdict::Dead => "dead",
            AttemptVerdict::Gone => "gone",
            AttemptVerdict::GivenUp => "given_up",
        };
        metrics::counter!("ussd_status_webhook_attempts_total", "outcome" => outcome).increment(1);
        metrics::histogram!("ussd_status_webhook_duration_seconds")
            .record(result.duration.as_secs_f64());
        if attempt.verdict == AttemptVerdict::Delivered {
            let delay = self.clock.now() - delivery.message.at();
            metrics::histogram!("ussd_status_webhook_delay_seconds")
                .record(delay.to_std().unwrap_or_default().as_secs_f64());
            debug!(delivery = %attempt.delivery_id, endpoint = %attempt.endpoint_id, number = attempt.number, status = attempt.status, milliseconds = attempt.duration_ms, "webhook delivered");
        } else {
            warn!(delivery = %attempt.delivery_id, endpoint = %attempt.endpoint_id, number = attempt.number, status = attempt.status, milliseconds = attempt.duration_ms, error = attempt.error.as_deref(), outcome, "webhook not delivered");
        }
    }
}

fn judge(
    result: &SendResult,
    number: u32,
    failing_since: Option<Instant>,
    now: Instant,
) -> AttemptVerdict {
    match result.status {
        Some(200..=299) => AttemptVerdict::Delivered,
        Some(GONE) => AttemptVerdict::Gone,
        _ if failing_since.is_some_and(|since| now - since >= FAILING_PATIENCE) => {
            AttemptVerdict::GivenUp
        }
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
        judge(&result, number, None, SystemClock.now())
    }

    #[test]
    fn an_endpoint_that_failed_for_five_days_is_given_up_unless_it_answers_now() {
        let now = SystemClock.now();
        let after = |failing: chrono::Duration, status| {
            let result = SendResult {
                status: Some(status),
                ..SendResult::not_sent(String::new())
            };
            judge(&result, 1, Some(now - failing), now)
        };
        let almost = FAILING_PATIENCE - chrono::Duration::seconds(1);
        assert!(matches!(after(almost, 500), AttemptVerdict::RetryAt(_)));
        assert_eq!(after(FAILING_PATIENCE, 500), AttemptVerdict::GivenUp);
        assert_eq!(after(FAILING_PATIENCE, 200), AttemptVerdict::Delivered);
        assert_eq!(after(FAILING_PATIENCE, 410), AttemptVerdict::Gone);
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
