//! What whoever looks after the service asks of the database: the audit log, callbacks that could not be understood, how
//! endpoints stand, when keys were used, and questions about balances.

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::domain::enquiry::{Enquiry, EnquiryAnswer};
use crate::domain::identity::{AccountId, AuditId, CallbackId, EnquiryId, KeyId, PartnerId};
use crate::domain::inbox::InboxRecord;
use crate::domain::oversight::{AuditFilter, AuditRecord, EndpointBacklog};
use crate::domain::status_update::Balance;
use crate::store::StoreError;

/// The part of the database that oversight needs.
#[async_trait]
pub trait OversightStore: Send + Sync + 'static {
    /// Lines of the audit log, the newest first, those before `before` only, at most `limit`.
    async fn list_audit(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, StoreError>;

    /// Callbacks that could not be understood, of one partner or of all, the newest first, those before `before` only, at
    /// most `limit`.
    async fn list_unreadable(
        &self,
        partner: Option<PartnerId>,
        before: Option<CallbackId>,
        limit: i64,
    ) -> Result<Vec<InboxRecord>, StoreError>;
    /// A callback, of one partner or of anybody.
    async fn find_callback(
        &self,
        partner: Option<PartnerId>,
        id: CallbackId,
    ) -> Result<Option<InboxRecord>, StoreError>;

    /// What waits for the partner's endpoints, what was given up, and how the last attempt failed that did.
    async fn list_endpoint_backlogs(
        &self,
        partner: PartnerId,
    ) -> Result<Vec<EndpointBacklog>, StoreError>;

    /// Writes down that a key was used.
    async fn record_key_use(&self, id: KeyId, at: Instant) -> Result<(), StoreError>;
    /// When the partner's keys were last used; one that never was has no line.
    async fn list_key_uses(&self, partner: PartnerId) -> Result<Vec<(KeyId, Instant)>, StoreError>;

    /// Keeps a question about balances, and forgets the partner's oldest: see
    /// [`ENQUIRIES_KEPT`](crate::domain::enquiry::ENQUIRIES_KEPT).
    async fn insert_enquiry(&self, enquiry: Enquiry) -> Result<(), StoreError>;
    /// Keeps what a provider answered at once; balances are those of the account from then on.
    async fn answer_enquiry(
        &self,
        enquiry: Enquiry,
        answer: EnquiryAnswer,
    ) -> Result<(), StoreError>;
    /// One of the partner's questions.
    async fn find_enquiry(
        &self,
        partner: PartnerId,
        id: EnquiryId,
    ) -> Result<Option<Enquiry>, StoreError>;
    /// The partner's questions, the newest first.
    async fn list_enquiries(&self, partner: PartnerId) -> Result<Vec<Enquiry>, StoreError>;
    /// What the partner's accounts last reported, in one look, by account and name.
    async fn list_all_balances(
        &self,
        partner: PartnerId,
    ) -> Result<Vec<(AccountId, Balance, Instant)>, StoreError>;
}
