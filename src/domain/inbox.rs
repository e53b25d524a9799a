//! A callback as it came, and what became of it, for people who look at it afterwards.

use super::clock::Instant;
use super::identity::{AccountId, CallbackId, PartnerId, TransactionId};
use super::transaction::Provider;

/// A callback in the inbox.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxRecord {
    /// Its id.
    pub id: CallbackId,
    /// Whose, if known.
    pub partner_id: Option<PartnerId>,
    /// For which account, if known.
    pub account_id: Option<AccountId>,
    /// From which provider.
    pub provider: Provider,
    /// The word of its kind: `stk`, `b2c-result`, …
    pub kind: String,
    /// What became of it: the word of a `CallbackState`.
    pub state: String,
    /// The transaction it concerns.
    pub transaction_id: Option<TransactionId>,
    /// When it came.
    pub received_at: Instant,
    /// The address it came from.
    pub source: Option<String>,
    /// What its sender said it is.
    pub content_type: Option<String>,
    /// Its body as it is kept.
    pub body: Vec<u8>,
    /// What became of it, for people.
    pub note: Option<String>,
}

/// Shows no body: it carries phone numbers.
impl std::fmt::Debug for InboxRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboxRecord")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
