//! What became of deliveries, as partners look at it afterwards, and asking for them again.

use std::fmt;
use std::str::FromStr;

use super::clock::Instant;
use super::identity::{DeliveryId, EndpointId, TransactionId};
use super::transaction::WordError;

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be made, or made again.
    Pending,
    /// Made.
    Delivered,
    /// Given up: a dead letter.
    Dead,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for DeliveryState {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(WordError("pending, delivered, dead"))
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A delivery with all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub endpoint_id: EndpointId,
    /// Of which transaction; a notice is of none.
    pub transaction_id: Option<TransactionId>,
    /// The event's place in the feed; of a notice, which has none, a number below zero.
    pub sequence: i64,
    /// What is told; for events none when the event itself is too old to be kept.
    pub event_type: Option<String>,
    /// How it stands.
    pub state: DeliveryState,
    /// When it is tried next, if it is pending.
    pub due_at: Instant,
    /// Since when.
    pub created_at: Instant,
    /// When it was made or given up.
    pub finished_at: Option<Instant>,
    /// When it was last asked for again.
    pub replayed_at: Option<Instant>,
    /// The attempts, the first first.
    pub attempts: Vec<AttemptRecord>,
}

impl DeliveryRecord {
    /// The event's place in the feed; a notice has none.
    pub fn place_in_feed(&self) -> Option<i64> {
        (self.sequence > 0).then_some(self.sequence)
    }
}

/// An attempt, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
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
}

/// Which of an endpoint's deliveries: the latest event first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Only those that stand so.
    pub state: Option<DeliveryState>,
    /// Only those of events before this place in the feed.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

/// Which events to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRange {
    /// Events that happened then or later.
    pub since: Instant,
    /// Events that happened then or earlier.
    pub until: Instant,
    /// Only those whose delivery was given up.
    pub only_failed: bool,
    /// Only count.
    pub dry_run: bool,
}

/// What came of asking for a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeReplayed {
    /// No such endpoint.
    Unknown,
    /// It is disabled and would be told nothing.
    Disabled,
    /// So many will be sent, or would be; if more follow, those since that instant.
    Done {
        /// How many.
        count: i64,
        /// Where the next call has to begin.
        next_since: Option<Instant>,
    },
}

/// What came of asking for one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneReplayed {
    /// No such delivery, or its event is too old to be kept.
    Unknown,
    /// Its endpoint is disabled and would be told nothing.
    Disabled,
    /// It is pending.
    Done,
}

/// Events that one call sends again at most, so that nobody waits behind it.
pub const REPLAY_MAX: i64 = 1_000;
/// Events that a dry run counts at most.
pub const REPLAY_COUNT_MAX: i64 = 100_000;
/// Deliveries on a page unless told otherwise.
pub const DELIVERIES_DEFAULT_LIMIT: i64 = 50;
/// Deliveries on a page at most.
pub const DELIVERIES_MAX_LIMIT: i64 = 100;
