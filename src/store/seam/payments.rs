//! Payments started through us, and who is to be asked about silent transactions.

use async_trait::async_trait;

use crate::domain::asking::AskLease;
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::payment::PaymentRecord;
use crate::domain::transaction::Transaction;
use crate::store::StoreError;

/// What is remembered of payments and questions.
#[async_trait]
pub trait PaymentStore: Send + Sync + 'static {
    /// What is remembered of a payment started through us.
    async fn find_payment(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Result<Option<PaymentRecord>, StoreError>;
    /// The partners with a transaction whose provider is due to be asked.
    async fn list_partners_to_ask(&self, now: Instant) -> Result<Vec<PartnerId>, StoreError>;
    /// Takes up to `limit` of a partner's transactions that are due to be asked about, those that waited longest first;
    /// nobody else gets them before `until`.
    async fn claim_questions(
        &self,
        partner: PartnerId,
        limit: i64,
        now: Instant,
        until: Instant,
    ) -> Result<Vec<Transaction>, StoreError>;
    /// Prolongs these leases to `until`; which of them. What has changed since it was taken, by news or by somebody else's
    /// lease, stays as it is.
    async fn renew_questions(
        &self,
        held: Vec<AskLease>,
        until: Instant,
    ) -> Result<Vec<TransactionId>, StoreError>;
    /// The transactions that are asked about no more, of one partner or of all, newest first, and since when.
    async fn list_stuck(
        &self,
        partner: Option<PartnerId>,
        limit: i64,
    ) -> Result<Vec<(Transaction, Instant)>, StoreError>;
}
