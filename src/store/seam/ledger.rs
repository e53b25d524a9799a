//! The ledger: commands in, commits and feeds out.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::domain::clock::Instant;
use crate::domain::identity::{CallbackId, EndpointId, PartnerId, TransactionId};
use crate::domain::ledger::{Command, Outcome, Unclaimed};
use crate::domain::status::Status;
use crate::domain::transaction::{IdField, Provider};
use crate::domain::watch::{KEYS_OF_AN_EVENT, WatchKey};
use crate::store::{EventPage, StoreError};

/// A commit that changed transactions.
#[derive(Debug, Clone, Default)]
pub struct CommitNotice {
    /// Endpoints that have something new to be told.
    pub endpoints: Arc<[EndpointId]>,
    /// The status events, in order.
    pub moves: Arc<[Move]>,
}

/// A status event, as short as a listener needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Whose.
    pub partner_id: PartnerId,
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// The status it now has.
    pub status: Status,
    /// Its place in the partner's feed.
    pub sequence: i64,
    /// Who wants to know.
    pub keys: [WatchKey; KEYS_OF_AN_EVENT],
}

/// Every change of a transaction, and the news of it.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Carries out one command; concurrent ones share a commit. Returns after the commit.
    async fn record(&self, command: Command) -> Result<Outcome, StoreError>;
    /// Kept callbacks of payments that nobody registered before `before`, oldest first, those after `after` only.
    async fn list_unclaimed(
        &self,
        before: Instant,
        after: CallbackId,
        limit: i64,
    ) -> Result<Vec<Unclaimed>, StoreError>;
    /// Tells of every commit that changed transactions.
    fn commits(&self) -> broadcast::Receiver<CommitNotice>;
    /// A partner's status events after a place in its feed, in commit order, at most `limit`.
    async fn list_events(
        &self,
        partner: PartnerId,
        after: i64,
        limit: i64,
    ) -> Result<EventPage, StoreError>;
    /// The last sequence of each partner's feed; 0 before the first event.
    async fn list_feed_heads(
        &self,
        partners: Vec<PartnerId>,
    ) -> Result<Vec<(PartnerId, i64)>, StoreError>;
    /// The partners that hold any of these provider ids in its own field, for callbacks without a token.
    async fn list_route_owners(
        &self,
        provider: Provider,
        ids: Vec<(IdField, String)>,
    ) -> Result<Vec<PartnerId>, StoreError>;
}
