//! What partners are told that is no event of the feed: an endpoint of theirs is told nothing any more.

use std::str::FromStr;

use super::clock::Instant;
use super::identity::{EndpointId, NoticeId};
use super::transaction::WordError;

/// Why an endpoint was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// It answered 410 Gone.
    Gone,
    /// It failed for [`FAILING_PATIENCE`](super::delivery::FAILING_PATIENCE) without one success.
    Failing,
}

impl DisabledReason {
    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

impl FromStr for DisabledReason {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        [Self::Gone, Self::Failing]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(WordError("gone, failing"))
    }
}

/// That an endpoint was disabled, for the other endpoints of its partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisabledNotice {
    /// The `webhook-id`: one for all who are told.
    pub id: NoticeId,
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// Where it was, without its query, which may hold a token that is nobody else's business.
    pub url: String,
    /// Why.
    pub reason: DisabledReason,
    /// The first failed attempt after which none succeeded.
    pub failing_since: Option<Instant>,
    /// Since when it is told nothing.
    pub disabled_at: Instant,
}

/// The type of such a notice.
pub const DISABLED_NOTICE: &str = "webhook.disabled";
