//! Transactions, read by the statements of `search_sql`, `provider_list_sql` and `story_sql`.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{Adapter, DIALECT};
use crate::domain::clock::Instant;
use crate::domain::completion::Completion;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::search::{BulkLookup, Cursor, Filter, Position, ProviderFilter, Search};
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::Transaction;
use crate::store::page::listing;
use crate::store::rows::IdRow;
use crate::store::rows::events::TimelineRow;
use crate::store::rows::transactions::{TransactionRow, TransactionSql};
use crate::store::story_sql::{CompletionRow, TimelineOfRow};
use crate::store::{
    BulkFound, Listing, StoreError, TransactionStore, provider_list_sql, search_sql, story_sql,
};

#[async_trait]
impl TransactionStore for Adapter {
    async fn list_transactions(
        &self,
        partner: PartnerId,
        search: Search,
        now: Instant,
    ) -> Result<Listing, StoreError> {
        let page = search_sql::list(DIALECT, partner, &search, now);
        // Whoever turns pages reads what was there when the first was asked for, which was read at the primary.
        let may_be_old = (search.position != Position::Offset(0)).then_some(partner);
        let (figures, rows) = self.page(page, may_be_old).await?;
        listing(figures, rows, &search)
    }

    async fn find_newest(
        &self,
        partner: PartnerId,
        filter: Filter,
    ) -> Result<Option<Transaction>, StoreError> {
        let newest = search_sql::newest(DIALECT, partner, &filter);
        let rows = self.rows::<TransactionRow, _>(newest).await?;
        rows.into_iter()
            .next()
            .map(Transaction::try_from)
            .transpose()
    }

    async fn list_oldest_first(
        &self,
        partner: PartnerId,
        filter: Filter,
        after: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Transaction>, StoreError> {
        let statement = search_sql::walk(DIALECT, partner, &filter, after, limit);
        let rows = self
            .rows::<TransactionRow, _>(statement.selecting::<TransactionSql>())
            .await?;
        rows.into_iter().map(Transaction::try_from).collect()
    }

    async fn list_provider_transactions(
        &self,
        partner: PartnerId,
        filter: ProviderFilter,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Transaction>, StoreError> {
        let statement = provider_list_sql::list(partner, &filter, limit, offset);
        let rows = self
            .stale_rows::<TransactionRow, _>(Some(partner), statement.selecting::<TransactionSql>())
            .await?;
        rows.into_iter().map(Transaction::try_from).collect()
    }

    async fn find_transactions(
        &self,
        partner: PartnerId,
        lookup: BulkLookup,
    ) -> Result<BulkFound, StoreError> {
        if lookup == BulkLookup::default() {
            return Ok(BulkFound::default());
        }
        let statement = search_sql::bulk(DIALECT, partner, &lookup);
        let rows = self
            .rows::<TransactionRow, _>(statement.selecting::<TransactionSql>())
            .await?;
        Ok(BulkFound {
            transactions: rows
                .into_iter()
                .map(Transaction::try_from)
                .collect::<Result<_, _>>()?,
        })
    }

    async fn find_transaction(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Result<Option<(Transaction, Vec<TimelineEntry>)>, StoreError> {
        // The timeline first: what is read after it can only be newer.
        let timeline = self
            .rows::<TimelineRow, _>(search_sql::timeline(partner, id))
            .await?;
        let found = self
            .rows::<TransactionRow, _>(search_sql::find(partner, id).selecting::<TransactionSql>())
            .await?;
        let Some(row) = found.into_iter().next() else {
            return Ok(None);
        };
        let timeline = timeline
            .into_iter()
            .map(TimelineEntry::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Some((row.try_into()?, timeline)))
    }

    async fn list_timelines(
        &self,
        partner: PartnerId,
        ids: Vec<TransactionId>,
        lines: i64,
    ) -> Result<HashMap<TransactionId, Vec<TimelineEntry>>, StoreError> {
        let statement = story_sql::timelines(DIALECT, partner, &ids, lines);
        let rows = self.rows::<TimelineOfRow, _>(statement).await?;
        let mut timelines: HashMap<_, Vec<_>> = HashMap::with_capacity(ids.len());
        for TimelineOfRow {
            transaction_id,
            line,
        } in rows
        {
            let timeline = timelines
                .entry(TransactionId(transaction_id.0))
                .or_default();
            timeline.push(line.try_into()?);
        }
        Ok(timelines)
    }

    async fn list_stuck_among(
        &self,
        partner: PartnerId,
        ids: Vec<TransactionId>,
    ) -> Result<Vec<TransactionId>, StoreError> {
        let statement = story_sql::stuck_among(DIALECT, partner, &ids);
        let rows = self.rows::<IdRow, _>(statement).await?;
        Ok(rows
            .into_iter()
            .map(|row| TransactionId(row.id.0))
            .collect())
    }

    async fn list_completions(
        &self,
        partner: PartnerId,
        events: i64,
    ) -> Result<Vec<Completion>, StoreError> {
        let statement = story_sql::completions(partner, events);
        let rows = self.rows::<CompletionRow, _>(statement).await?;
        rows.into_iter().map(Completion::try_from).collect()
    }
}
