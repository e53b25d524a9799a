//! `webhook check`: sends a receiver five made-up webhooks, good and bad, and judges how it takes them.

use std::time::Duration;

use super::body::{event_body, message_id};
use super::sender::{SendResult, Sender};
use super::signature::{Secret, signed_headers};
use crate::domain::clock::{Clock, Instant};
use crate::domain::identity::{EventId, PartnerId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::status::Status;
use crate::domain::timeline::StatusEvent;

/// How long ago the old one was signed; receivers should refuse what is more than five minutes off.
pub const OLD_BY: Duration = Duration::from_secs(600);
/// A type that no event of ours has.
pub const UNKNOWN_TYPE: &str = "transaction.unheard_of";

/// What is tried, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Everything is right.
    Valid,
    /// The amount was changed after signing.
    Tampered,
    /// Signed rightly, [`OLD_BY`] ago.
    Old,
    /// The valid one again, under the same `webhook-id`.
    Repeated,
    /// Signed rightly, of a type that came later than the receiver.
    UnknownType,
}

impl Trial {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Valid,
        Self::Tampered,
        Self::Old,
        Self::Repeated,
        Self::UnknownType,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Tampered => "tampered",
            Self::Old => "old",
            Self::Repeated => "repeated",
            Self::UnknownType => "unknown_type",
        }
    }

    /// The answer of a receiver that does well.
    pub fn expected(self) -> &'static str {
        if self.is_to_be_taken() { "2xx" } else { "4xx" }
    }

    /// What to do about a receiver that does otherwise.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Valid => {
                "verify webhook-signature with this secret, over webhook-id.webhook-timestamp.body, on the bytes as they came"
            }
            Self::Tampered => "verify webhook-signature before anything else, and answer 401",
            Self::Old => {
                "refuse a webhook-timestamp that is more than five minutes off, and answer 401"
            }
            Self::Repeated => "remember webhook-id; a known one is answered 200 and does nothing",
            Self::UnknownType => "answer 200 to a type you do not know, and do nothing",
        }
    }

    fn is_to_be_taken(self) -> bool {
        !matches!(self, Self::Tampered | Self::Old)
    }
}

/// How a receiver took one of them.
#[derive(Debug)]
pub struct Finding {
    /// What was tried.
    pub trial: Trial,
    /// How it answered.
    pub result: SendResult,
}

impl Finding {
    /// Whether it did well. A refusal is a 4xx: after a 5xx or silence it would be sent again.
    pub fn is_passed(&self) -> bool {
        if self.trial.is_to_be_taken() {
            self.result.is_success()
        } else {
            self.result
                .status
                .is_some_and(|status| (400..500).contains(&status))
        }
    }
}

/// Sends all five, one after the other.
pub async fn examine(
    sender: &Sender,
    url: &str,
    secret: &Secret,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let valid = sample(clock.now());
    let mut findings = Vec::with_capacity(Trial::ALL.len());
    for trial in Trial::ALL {
        let now = clock.now();
        let own = sample(now);
        let event = match trial {
            Trial::Valid | Trial::Repeated => &valid,
            _ => &own,
        };
        let signed_at = match trial {
            Trial::Old => now - OLD_BY,
            _ => now,
        };
        let mut body = event_body(event);
        if trial == Trial::UnknownType {
            body = replaced(&body, event.event_type(), UNKNOWN_TYPE);
        }
        let headers = signed_headers(secret, message_id(event.id), signed_at.timestamp(), &body);
        if trial == Trial::Tampered {
            body = replaced(&body, "\"amount\":1200.00", "\"amount\":91200.00");
        }
        let result = sender.send(url, &headers, body, now).await;
        findings.push(Finding { trial, result });
    }
    findings
}

fn replaced(body: &[u8], what: &str, by: &str) -> Vec<u8> {
    String::from_utf8_lossy(body).replace(what, by).into_bytes()
}

/// A success that nobody ever paid.
fn sample(now: Instant) -> StatusEvent {
    StatusEvent {
        id: EventId::new(now),
        partner_id: PartnerId::new(now),
        sequence: 1,
        transaction_id: TransactionId::new(now),
        is_registration: false,
        status: Status::Success,
        conversation_id: Some("AG_20250110_webhook_check".to_owned()),
        client_request_id: Some("webhook-check".to_owned()),
        result_code: Some("0".to_owned()),
        result_description: Some("A webhook of ussd-status webhook check".to_owned()),
        receipt: Some("WEBHOOKCHK".to_owned()),
        amount: Amount(120_000),
        currency: Currency::kes(),
        msisdn: None,
        reversed_at: None,
        updated_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::webhooks::sender::Limits;
    use crate::webhooks::test_support::Receiver;

    /// What a receiver gets that answers everything with `status`, and how it did.
    async fn receive(status: u16) -> (Vec<(String, String, String, String)>, Vec<bool>) {
        let mut receiver = Receiver::start().await;
        let url = receiver.url().to_owned();
        let secret = Secret::generate().unwrap();
        let sender = Sender::new(true, Limits::default()).unwrap();
        let sending = async { examine(&sender, &url, &secret, &SystemClock).await };
        let receiving = async {
            let mut got = Vec::new();
            for _ in Trial::ALL {
                let request = receiver.next().await;
                let header = |name: &str| request.header(name).unwrap().to_owned();
                got.push((
                    header("webhook-id"),
                    header("webhook-timestamp"),
                    header("webhook-signature"),
                    String::from_utf8(request.body.clone()).unwrap(),
                ));
                request.answer(status);
            }
            got
        };
        let (findings, got) = tokio::join!(sending, receiving);
        for (place, (id, timestamp, signature, body)) in got.iter().enumerate() {
            let signed = signed_headers(
                &secret,
                id.clone(),
                timestamp.parse().unwrap(),
                body.as_bytes(),
            );
            let fits = signed.iter().any(|(_, value)| value == signature);
            assert_eq!(fits, place != 1, "only the tampered one does not fit");
        }
        (got, findings.iter().map(Finding::is_passed).collect())
    }

    #[tokio::test]
    async fn each_of_the_five_is_what_its_name_says() {
        let (got, passed) = receive(200).await;
        assert_eq!(got[0].0, got[3].0, "the repeat has the same id");
        assert_eq!(got[0].3, got[3].3, "and the same body");
        let ids: std::collections::HashSet<_> = got.iter().map(|one| &one.0).collect();
        assert_eq!(ids.len(), 4);
        let age = SystemClock.now().timestamp() - got[2].1.parse::<i64>().unwrap();
        assert!((600..660).contains(&age), "{age}");
        assert!(got[4].3.contains(UNKNOWN_TYPE));
        assert!(got[1].3.contains("91200.00") && !got[0].3.contains("91200.00"));
        assert_eq!(passed, [true, false, false, true, true]);
    }

    #[tokio::test]
    async fn a_receiver_that_refuses_all_fails_what_it_should_take() {
        assert_eq!(receive(401).await.1, [false, true, true, false, false]);
        assert_eq!(
            receive(500).await.1,
            [false; 5],
            "an accident is no refusal"
        );
    }
}
