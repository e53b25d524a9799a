//! What happened to a transaction, and on whose word. Lines with a sequence are also the partner's feed.

use std::str::FromStr;

use super::clock::Instant;
use super::identity::{EventId, PartnerId, TransactionId};
use super::money::{Amount, Currency};
use super::msisdn::Msisdn;
use super::status::Status;

/// What kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimelineKind {
    /// The transaction became known.
    Registered,
    /// An ordinary move of the state machine.
    StatusChanged,
    /// A success that overturned an unconfirmed failure.
    LateSuccess,
    /// Money went back.
    Reversed,
    /// Provider ids became known.
    IdsAttached,
    /// News without a move: still pending, or a code nobody knows.
    News,
    /// The receipt, the payer or the provider's word became known after the fact.
    Completed,
    /// The provider gave up waiting; it will be asked.
    Timeout,
    /// The amount paid is not the amount asked for.
    AmountMismatch,
    /// News that contradicts what stands; nothing moved.
    Conflict,
    /// The provider was asked until the time for it was over: a person must look.
    Stuck,
    /// It was brought in with a history, with the status it had there: no news, and no event.
    Imported,
}

impl TimelineKind {
    const ALL: [Self; 12] = [
        Self::Registered,
        Self::StatusChanged,
        Self::LateSuccess,
        Self::Reversed,
        Self::IdsAttached,
        Self::News,
        Self::Completed,
        Self::Timeout,
        Self::AmountMismatch,
        Self::Conflict,
        Self::Stuck,
        Self::Imported,
    ];

    /// Whether a provider may tell the same again and again without anything moving: such a line is written once.
    pub fn may_repeat(self) -> bool {
        matches!(self, Self::News | Self::Conflict)
    }

    /// The word in answers and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::StatusChanged => "status_changed",
            Self::LateSuccess => "late_success",
            Self::Reversed => "reversed",
            Self::IdsAttached => "ids_attached",
            Self::News => "news",
            Self::Completed => "completed",
            Self::Timeout => "timeout",
            Self::AmountMismatch => "amount_mismatch",
            Self::Conflict => "conflict",
            Self::Stuck => "stuck",
            Self::Imported => "imported",
        }
    }
}

impl FromStr for TimelineKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: TimelineKind,
    /// The status before, if it moved.
    pub from: Option<Status>,
    /// The status after, if it moved or began.
    pub to: Option<Status>,
    /// On whose word: `api`, `callback:stk`, `reconciliation`, …
    pub source: String,
    /// The provider's code, if it sent one.
    pub result_code: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// A status event: what a webhook and the feed tell, frozen at the moment of the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// The `webhook-id`.
    pub id: EventId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Its place in the partner's feed: 1, 2, 3, … in commit order, without gaps.
    pub sequence: i64,
    /// The transaction.
    pub transaction_id: TransactionId,
    /// The first event of a transaction is its registration.
    pub is_registration: bool,
    /// The status it now has.
    pub status: Status,
    /// As it stood then.
    pub conversation_id: Option<String>,
    /// The partner's own id.
    pub client_request_id: Option<String>,
    /// As it stood then.
    pub result_code: Option<String>,
    /// As it stood then.
    pub result_description: Option<String>,
    /// As it stood then.
    pub receipt: Option<String>,
    /// The amount asked for.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// The customer's number.
    pub msisdn: Option<Msisdn>,
    /// When the money went back.
    pub reversed_at: Option<Instant>,
    /// When the change happened.
    pub updated_at: Instant,
}

impl StatusEvent {
    /// `transaction.registered`, `.accepted`, `.success` or `.failed`.
    pub fn event_type(&self) -> &'static str {
        if self.is_registration {
            return "transaction.registered";
        }
        match self.status {
            Status::Queued => "transaction.registered",
            Status::Accepted => "transaction.accepted",
            Status::Success => "transaction.success",
            Status::Failed => "transaction.failed",
        }
    }
}

/// All event types, in the order of a payment's life.
pub const EVENT_TYPES: [&str; 4] = [
    "transaction.registered",
    "transaction.accepted",
    "transaction.success",
    "transaction.failed",
];
