//! Telling a partner: endpoints, deliveries, attempts and when to try again.

use std::str::FromStr;

use chrono::Duration;

use super::clock::Instant;
use super::identity::{DeliveryId, EndpointId, PartnerId, TransactionId};
use super::notice::DisabledNotice;
use super::timeline::StatusEvent;
use super::transaction::WordError;

/// Where a partner wants to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub partner_id: PartnerId,
    /// The URL we post to.
    pub url: String,
    /// The event types it wants; empty means all.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// The signing secret, encrypted under the master key.
    pub sealed_secret: Vec<u8>,
    /// Set when it gets nothing any more.
    pub disabled_at: Option<Instant>,
    /// Since when; only later events are sent.
    pub created_at: Instant,
    /// Set if it is told of this one transaction only.
    pub transaction_id: Option<TransactionId>,
    /// The secret before the last rotation, and until when it signs too.
    pub previous_secret: Option<PreviousSecret>,
    /// The first failed attempt after which none succeeded.
    pub failing_since: Option<Instant>,
    /// How it wants to be sent to.
    pub pace: Pace,
    /// The public half of the present key, `whpk_…`, where it chose [`SignatureScheme::V1a`].
    pub public_key: Option<String>,
}

impl Endpoint {
    /// How its messages are signed.
    pub fn signature(&self) -> SignatureScheme {
        match self.public_key {
            None => SignatureScheme::V1,
            Some(_) => SignatureScheme::V1a,
        }
    }
}

/// How messages are signed, of the two ways that Standard Webhooks 1.0 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureScheme {
    /// With a secret that both sides have.
    #[default]
    V1,
    /// With a private key that we have; the public one is no secret.
    V1a,
}

impl SignatureScheme {
    /// Its name, as signatures begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

impl FromStr for SignatureScheme {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        [Self::V1, Self::V1a]
            .into_iter()
            .find(|scheme| scheme.as_str() == text)
            .ok_or(WordError("v1, v1a"))
    }
}

/// A secret that was rotated away.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Encrypted as the present one is.
    pub sealed: Vec<u8>,
    /// It signs before this.
    pub until: Instant,
}

/// How fast an endpoint wants to be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests at the same time, 1 to [`ENDPOINT_CONCURRENCY_MAX`].
    pub concurrency: u32,
    /// Deliveries begun in any one second by one instance of the service, 1 to [`ENDPOINT_RATE_MAX`]; none: no limit.
    pub rate_per_second: Option<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: ENDPOINT_CONCURRENCY,
            rate_per_second: None,
        }
    }
}

/// What is to change of an endpoint; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Where to.
    pub url: Option<String>,
    /// Which event types; empty means all.
    pub events: Option<Vec<String>>,
    /// For people.
    pub description: Option<String>,
    /// Whether it gets anything.
    pub enabled: Option<bool>,
    /// Requests at the same time.
    pub concurrency: Option<u32>,
    /// Deliveries a second; `Some(None)` lifts the limit.
    pub rate_per_second: Option<Option<u32>>,
    /// How its messages are signed.
    pub signature: Option<SignatureScheme>,
    /// What they are signed with where that changes.
    pub key: Option<EndpointKey>,
}

/// What an endpoint's messages are signed with from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointKey {
    /// The secret or the private key, encrypted under the master key.
    pub sealed_secret: Vec<u8>,
    /// The public half, if there is one.
    pub public_key: Option<String>,
    /// The key before signs too, before this.
    pub previous_until: Instant,
}

/// An endpoint with something due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueEndpoint {
    /// Its partner.
    pub partner_id: PartnerId,
    /// Its id.
    pub endpoint_id: EndpointId,
    /// How fast it wants it.
    pub pace: Pace,
}

/// Endpoints a partner may have.
pub const ENDPOINTS_MAX: i64 = 20;
/// Requests to one endpoint at the same time, unless it asks for something else.
pub const ENDPOINT_CONCURRENCY: u32 = 8;
/// The most it may ask for.
pub const ENDPOINT_CONCURRENCY_MAX: u32 = 64;
/// The most deliveries a second that an endpoint may name as its limit.
pub const ENDPOINT_RATE_MAX: u32 = 1_000;
/// How long the secret before a rotation goes on signing.
pub const ROTATION_OVERLAP: Duration = Duration::hours(24);
/// An endpoint that fails for so long without one success is disabled.
pub const FAILING_PATIENCE: Duration = Duration::days(5);

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("partner_id", &self.partner_id)
            .finish_non_exhaustive()
    }
}

/// A delivery that a worker holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub endpoint: Endpoint,
    /// What.
    pub message: Message,
    /// The number of attempts already made.
    pub attempts: u32,
    /// When it was first due.
    pub created_at: Instant,
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An event of the feed.
    Event(Box<StatusEvent>),
    /// Another endpoint of the partner's was disabled.
    Disabled(Box<DisabledNotice>),
}

impl Message {
    /// When it happened.
    pub fn at(&self) -> Instant {
        match self {
            Self::Event(event) => event.updated_at,
            Self::Disabled(notice) => notice.disabled_at,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which delivery.
    pub delivery_id: DeliveryId,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// Whose.
    pub partner_id: PartnerId,
    /// 1, 2, 3, …
    pub number: u32,
    /// When it began.
    pub at: Instant,
    /// How long it took, milliseconds.
    pub duration_ms: i64,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// The first KiB of the answer.
    pub response: Option<String>,
    /// What follows from it.
    pub verdict: AttemptVerdict,
    /// Since when the endpoint was failing when the delivery was claimed.
    pub failing_since: Option<Instant>,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptVerdict {
    /// Delivered: nothing more to do.
    Delivered,
    /// To be tried again then.
    RetryAt(Instant),
    /// Given up: a dead letter.
    Dead,
    /// The endpoint said 410 Gone: given up, and the endpoint is disabled.
    Gone,
    /// The endpoint has failed for [`FAILING_PATIENCE`] without one success: given up, and the endpoint is disabled.
    GivenUp,
}

impl AttemptVerdict {
    /// Whether the endpoint is told nothing any more.
    pub fn ends_endpoint(self) -> bool {
        matches!(self, Self::Gone | Self::GivenUp)
    }
}

/// How long a worker may hold a delivery: a killed process delays it no longer.
pub const LEASE: Duration = Duration::seconds(30);
/// A later delivery of a transaction overtakes an earlier one that is older than this.
pub const ORDER_PATIENCE: Duration = Duration::minutes(5);
/// The pauses before the second, third, … attempt, seconds.
pub const RETRY_PAUSES_SECONDS: [i64; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 3600,
    5 * 3600,
    10 * 3600,
    14 * 3600,
    20 * 3600,
    24 * 3600,
];
/// Up to this share of a pause is added by chance, per cent, so that a recovered endpoint is not hit by everyone at once.
pub const RETRY_JITTER_PERCENT: i64 = 20;
/// The longest `Retry-After` we follow.
pub const RETRY_AFTER_MAX: Duration = Duration::hours(24);

/// When to try again after `attempts` attempts, the last at `now`; `None` when the schedule is used up.
///
/// `chance` is a number from 0 to 1 (exclusive) per million, which picks the jitter; `retry_after` is what the
/// endpoint asked for, and is honoured where it is longer than our own pause.
pub fn next_attempt_at(
    attempts: u32,
    now: Instant,
    retry_after: Option<Duration>,
    chance: i64,
) -> Option<Instant> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let pause = RETRY_PAUSES_SECONDS.get(index)?;
    let milliseconds = pause * 1_000;
    let jitter = milliseconds * RETRY_JITTER_PERCENT / 100 * chance.clamp(0, 999_999) / 1_000_000;
    let ours = Duration::milliseconds(milliseconds + jitter);
    let theirs = retry_after
        .unwrap_or_else(Duration::zero)
        .min(RETRY_AFTER_MAX);
    Some(now + ours.max(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    #[test]
    fn the_schedule_is_the_contracts() {
        let now = SystemClock.now();
        let pauses: Vec<i64> = (1..=9)
            .map(|n| (next_attempt_at(n, now, None, 0).unwrap() - now).num_seconds())
            .collect();
        assert_eq!(
            pauses,
            [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
        );
        assert_eq!(next_attempt_at(10, now, None, 0), None);
    }

    #[test]
    fn jitter_adds_at_most_a_fifth() {
        let now = SystemClock.now();
        let most = next_attempt_at(2, now, None, 999_999).unwrap() - now;
        assert!(most > Duration::seconds(359) && most < Duration::seconds(360));
    }

    #[test]
    fn a_longer_retry_after_is_honoured_up_to_a_day() {
        let now = SystemClock.now();
        let wait =
            |seconds| next_attempt_at(1, now, Some(Duration::seconds(seconds)), 0).unwrap() - now;
        assert_eq!(wait(60), Duration::seconds(60));
        assert_eq!(wait(1), Duration::seconds(5));
        assert_eq!(wait(1_000_000), RETRY_AFTER_MAX);
    }
}
