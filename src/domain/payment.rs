//! A payment that is started through us: what was asked for, and what the provider said to the one call that was made.

use super::clock::Instant;
use super::identity::{AccountId, PartnerId, TransactionId};
use super::transaction::ProviderIds;

/// What is committed before a provider is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The transaction's id, chosen by the caller: callback paths and our own provider ids are made of it.
    pub transaction_id: TransactionId,
    /// The account it goes through.
    pub account_id: AccountId,
    /// Provider ids we choose ourselves (M-Pesa's OriginatorConversationID, ClickPesa's order reference).
    pub own_ids: ProviderIds,
    /// SHA-256 of the normalised request, lower-case hex: the same idempotency key with another is refused.
    pub digest: String,
    /// A word of the caller's that answers give back as written and no column of the transaction holds.
    pub reference: Option<String>,
}

/// What the provider said to the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// It has the payment.
    Accepted {
        /// Its code.
        code: Option<String>,
        /// Its sentence.
        description: Option<String>,
        /// Its sentence for the customer.
        customer_message: Option<String>,
    },
    /// It refused; nothing was sent.
    Refused {
        /// Its code, where it has codes.
        code: Option<String>,
        /// Its sentence.
        message: String,
        /// Whether the same may succeed later, as a new payment.
        is_retryable: bool,
    },
    /// There was no answer: nobody knows.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

impl CallAnswer {
    /// The word in the table.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// What is remembered of a payment started through us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRecord {
    /// Whose.
    pub partner_id: PartnerId,
    /// Which.
    pub transaction_id: TransactionId,
    /// The account it went through.
    pub account_id: AccountId,
    /// See [`Intent::digest`].
    pub digest: String,
    /// See [`Intent::reference`].
    pub reference: Option<String>,
    /// What the provider said; `None` while the call is under way, or if we were killed before we could write it.
    pub answer: Option<CallAnswer>,
    /// When it was committed.
    pub created_at: Instant,
}
