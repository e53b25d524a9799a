//! What the console asks of the database besides what everybody does: its operators and who is signed in.

use async_trait::async_trait;

use super::{Audit, KeyHolder};
use crate::domain::clock::Instant;
use crate::domain::delivery_record::DeliveryRecord;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::inbox::InboxRecord;
use crate::domain::operator::{Operator, Session};
use crate::domain::overview::{Figures, Span, Waiting};
use crate::store::StoreError;

/// Whose a session is, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionHolder {
    /// An operator.
    Operator(Operator),
    /// A key and its partner, valid or not.
    Key(KeyHolder),
}

/// The console's part of the database.
#[async_trait]
pub trait ConsoleStore: Send + Sync + 'static {
    /// Keeps a new operator; false if the name is taken.
    async fn insert_operator(&self, operator: Operator, audit: Audit) -> Result<bool, StoreError>;
    /// The operator of this name.
    async fn find_operator(&self, name: String) -> Result<Option<Operator>, StoreError>;
    /// All operators, oldest first.
    async fn list_operators(&self) -> Result<Vec<Operator>, StoreError>;
    /// Removes an operator and ends its sessions; false if there is none of this name.
    async fn remove_operator(
        &self,
        name: String,
        now: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError>;

    /// Keeps a new session.
    async fn insert_session(&self, session: Session, audit: Audit) -> Result<(), StoreError>;
    /// The session with this digest, over or not, and whose it is.
    async fn find_session(
        &self,
        digest: String,
    ) -> Result<Option<(Session, SessionHolder)>, StoreError>;
    /// Writes down that the holder is still there.
    async fn touch_session(&self, digest: String, now: Instant) -> Result<(), StoreError>;
    /// Chooses the one partner whose things an operator looks at; none means all.
    async fn set_session_partner(
        &self,
        digest: String,
        partner: Option<PartnerId>,
    ) -> Result<(), StoreError>;
    /// Ends a session.
    async fn remove_session(
        &self,
        digest: String,
        now: Instant,
        audit: Audit,
    ) -> Result<(), StoreError>;
    /// Removes a small batch of sessions that are over; how many.
    async fn remove_ended_sessions(&self, now: Instant) -> Result<u64, StoreError>;

    /// A transaction's callbacks, the newest first, at most `limit`.
    async fn list_callbacks_of(
        &self,
        partner: PartnerId,
        transaction: TransactionId,
        limit: i64,
    ) -> Result<Vec<InboxRecord>, StoreError>;
    /// A transaction's deliveries to the endpoints there are, in the order of its events, each with the endpoint's URL.
    async fn list_deliveries_of(
        &self,
        partner: PartnerId,
        transaction: TransactionId,
    ) -> Result<Vec<(DeliveryRecord, String)>, StoreError>;

    /// What was created in a span that ends with the hour or day of `now`, of one partner or of all.
    async fn read_figures(
        &self,
        partner: Option<PartnerId>,
        span: Span,
        now: Instant,
    ) -> Result<Figures, StoreError>;
    /// What is open and what waits, of one partner or of all.
    async fn read_waiting(
        &self,
        partner: Option<PartnerId>,
        now: Instant,
    ) -> Result<Waiting, StoreError>;
}
