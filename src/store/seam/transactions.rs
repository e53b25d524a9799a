//! Transactions as they are looked for, read and told.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::domain::clock::Instant;
use crate::domain::completion::Completion;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::search::{BulkLookup, Cursor, Filter, ProviderFilter, Search};
use crate::domain::statistics::Statistics;
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::Transaction;
use crate::store::StoreError;

/// A page of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The rows, newest first.
    pub transactions: Vec<Transaction>,
    /// How many rows match in all.
    pub total: i64,
    /// Whether rows follow this page.
    pub has_more: bool,
    /// The last row of this page, if rows follow.
    pub next: Option<Cursor>,
    /// The partner's statistics, if asked for.
    pub statistics: Option<Statistics>,
}

/// Which ids a bulk lookup found, with the row each found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkFound {
    /// Every row once, in no particular order.
    pub transactions: Vec<Transaction>,
}

/// Transactions and what happened to them, read; they are changed by [`LedgerStore`](super::LedgerStore) only.
#[async_trait]
pub trait TransactionStore: Send + Sync + 'static {
    /// A page, its total and the statistics, of one snapshot.
    async fn list_transactions(
        &self,
        partner: PartnerId,
        search: Search,
        now: Instant,
    ) -> Result<Listing, StoreError>;
    /// The newest transaction that matches.
    async fn find_newest(
        &self,
        partner: PartnerId,
        filter: Filter,
    ) -> Result<Option<Transaction>, StoreError>;
    /// At most `limit` of the transactions that match, oldest first, after a place.
    async fn list_oldest_first(
        &self,
        partner: PartnerId,
        filter: Filter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Transaction>, StoreError>;
    /// A page of the transactions at one provider, newest first, after `offset` of them, without a count of all.
    async fn list_provider_transactions(
        &self,
        partner: PartnerId,
        filter: ProviderFilter,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Transaction>, StoreError>;
    /// The rows that any of the ids names.
    async fn find_transactions(
        &self,
        partner: PartnerId,
        lookup: BulkLookup,
    ) -> Result<BulkFound, StoreError>;
    /// One transaction with its timeline.
    async fn find_transaction(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Result<Option<(Transaction, Vec<TimelineEntry>)>, StoreError>;
    /// The latest `lines` lines of each transaction's timeline, in order.
    async fn list_timelines(
        &self,
        partner: PartnerId,
        ids: Vec<TransactionId>,
        lines: i64,
    ) -> Result<HashMap<TransactionId, Vec<TimelineEntry>>, StoreError>;
    /// Those of the transactions that are asked about no more though they are not final.
    async fn list_stuck_among(
        &self,
        partner: PartnerId,
        ids: Vec<TransactionId>,
    ) -> Result<Vec<TransactionId>, StoreError>;
    /// The payments that ended among the last `events` events of the partner's feed.
    async fn list_completions(
        &self,
        partner: PartnerId,
        events: i64,
    ) -> Result<Vec<Completion>, StoreError>;
}
