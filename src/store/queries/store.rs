//! The store's methods over this adapter: each runs as one task on the store's own runtime, so that it commits or
//! rolls back whole, whatever becomes of its caller.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{Adapter, DIALECT, Statement};
use super::{
    accounts, deliveries, endpoints, feed, housekeeping, instances, notices, partners, payments,
    replay, tokens,
};
use crate::domain::account::Account;
use crate::domain::allowance::{Allowance, Caller, Standing};
use crate::domain::asking::AskLease;
use crate::domain::clock::Instant;
use crate::domain::completion::Completion;
use crate::domain::delivery::{
    Attempt, ClaimedDelivery, DueEndpoint, Endpoint, EndpointChange, EndpointKey,
};
use crate::domain::delivery_record::{
    DeliveryPage, DeliveryRecord, OneReplayed, RangeReplayed, ReplayRange,
};
use crate::domain::identity::{
    AccountId, CallbackId, DeliveryId, EndpointId, InstanceId, KeyId, PartnerId, TransactionId,
};
use crate::domain::ledger::{Command, Outcome, Unclaimed};
use crate::domain::partner::{ApiKey, Partner};
use crate::domain::payment::PaymentRecord;
use crate::domain::search::{BulkLookup, Cursor, Filter, Position, ProviderFilter, Search};
use crate::domain::status_update::Balance;
use crate::domain::timeline::{StatusEvent, TimelineEntry};
use crate::domain::transaction::{IdField, Provider, Transaction};
use crate::store::dialect::Dialect;
use crate::store::ledger::load;
use crate::store::ledger::working_set::kept;
use crate::store::page::listing;
use crate::store::rows::endpoints::DueEndpointRow;
use crate::store::rows::events::{EventRow, HeadRow, TimelineRow};
use crate::store::rows::instances::{OthersRow, StandingRow};
use crate::store::rows::ledger::UnclaimedRow;
use crate::store::rows::transactions::{TransactionRow, TransactionSql};
use crate::store::rows::{BacklogRow, IdRow, InstantRow, PartnerIdRow};
use crate::store::story_sql::{CompletionRow, TimelineOfRow};
use crate::store::{
    Audit, Backlog, BulkFound, Capacity, CommitNotice, EventPage, KeyHolder, Listing, Others,
    Retention, SealedToken, Store, StoreError, provider_list_sql, search_sql, story_sql,
};

impl Adapter {
    /// Runs a unit of work on the store's runtime, and waits for it no longer than the time limit.
    pub(in crate::store) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_within(self.timeout, work).await
    }

    pub(super) async fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = self.runtime.spawn(work);
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(StoreError::Query(error.to_string())),
            Err(_) => Err(StoreError::no_answer_within(limit)),
        }
    }
}

/// A method that is one query on one connection.
macro_rules! on {
    ($adapter:ident . $connection:ident, $($path:ident)::+ ( $($argument:expr),* )) => {{
        let adapter = $adapter.clone();
        $adapter
            .run(async move {
                let mut conn = adapter.$connection().await?;
                let outcome = adapter.within($($path)::+(&mut conn, $($argument),*)).await;
                adapter.settle(conn, outcome.as_ref().err());
                outcome
            })
            .await
    }};
}

pub(super) use on;

#[async_trait]
impl Store for Adapter {
    async fn record(&self, command: Command) -> Result<Outcome, StoreError> {
        let partner = command.partner_id();
        let outcome = match &self.batcher {
            Some(batcher) => batcher.record(command).await,
            None => Err(StoreError::Unavailable("no writer is running".to_owned())),
        };
        if let Some(partner) = partner {
            self.record_write(partner);
        }
        outcome
    }

    async fn list_unclaimed(
        &self,
        before: Instant,
        after: CallbackId,
        limit: i64,
    ) -> Result<Vec<Unclaimed>, StoreError> {
        let rows = self
            .rows::<UnclaimedRow, _>(load::unclaimed(before, after, limit))
            .await?;
        // One row that cannot be read must not hold up the others.
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let account_id = row.account_id.map(|id| AccountId(id.0));
                let kept = kept(row.kept)
                    .inspect_err(|error| tracing::error!(%error, "a kept callback"))
                    .ok()??;
                Some(Unclaimed { kept, account_id })
            })
            .collect())
    }

    fn commits(&self) -> broadcast::Receiver<CommitNotice> {
        self.commits.subscribe()
    }

    async fn list_events(
        &self,
        partner: PartnerId,
        after: i64,
        limit: i64,
    ) -> Result<EventPage, StoreError> {
        // The head first: an event that is missing below it has been removed, it is not one to come.
        let heads = self.list_feed_heads(vec![partner]).await?;
        let head = heads.into_iter().next().map_or(0, |(_, head)| head);
        if head <= after {
            return Ok(EventPage::default());
        }
        let rows = self
            .rows::<EventRow, _>(feed::events(partner, after, limit))
            .await?;
        let events: Result<_, StoreError> = rows.into_iter().map(StatusEvent::try_from).collect();
        Ok(EventPage::new(after, head, events?))
    }

    async fn list_feed_heads(
        &self,
        partners: Vec<PartnerId>,
    ) -> Result<Vec<(PartnerId, i64)>, StoreError> {
        let rows = self.rows::<HeadRow, _>(feed::heads(&partners)).await?;
        let heads = rows.into_iter();
        Ok(heads
            .map(|row| (PartnerId(row.partner_id.0), row.last_sequence))
            .collect())
    }

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

    async fn find_payment(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        on!(self.reader, payments::find(partner, id))
    }

    async fn list_partners_to_ask(&self, now: Instant) -> Result<Vec<PartnerId>, StoreError> {
        let rows = self.rows::<PartnerIdRow, _>(payments::to_ask(now)).await?;
        Ok(rows
            .into_iter()
            .map(|row| PartnerId(row.partner_id.0))
            .collect())
    }

    async fn claim_questions(
        &self,
        partner: PartnerId,
        limit: i64,
        now: Instant,
        until: Instant,
    ) -> Result<Vec<Transaction>, StoreError> {
        on!(
            self.writer,
            payments::claim_questions(partner, limit, now, until)
        )
    }

    async fn renew_questions(
        &self,
        held: Vec<AskLease>,
        until: Instant,
    ) -> Result<Vec<TransactionId>, StoreError> {
        on!(self.writer, payments::renew_questions(&held, until))
    }

    async fn list_stuck(
        &self,
        partner: Option<PartnerId>,
        limit: i64,
    ) -> Result<Vec<(Transaction, Instant)>, StoreError> {
        on!(self.reader, payments::stuck(partner, limit))
    }

    async fn find_account_by_token(&self, token: String) -> Result<Option<Account>, StoreError> {
        on!(self.reader, accounts::find_account_by_token(token))
    }

    async fn list_route_owners(
        &self,
        provider: Provider,
        ids: Vec<(IdField, String)>,
    ) -> Result<Vec<PartnerId>, StoreError> {
        let statement = search_sql::route_owners(DIALECT, provider.as_str(), &ids);
        let rows = self.rows::<IdRow, _>(statement).await?;
        Ok(rows.into_iter().map(|row| PartnerId(row.id.0)).collect())
    }

    async fn list_accounts(&self, partner: Option<PartnerId>) -> Result<Vec<Account>, StoreError> {
        on!(self.reader, accounts::list_accounts(partner))
    }

    async fn list_provider_accounts(
        &self,
        provider: Provider,
        limit: i64,
    ) -> Result<Vec<Account>, StoreError> {
        on!(
            self.reader,
            accounts::list_provider_accounts(provider, limit)
        )
    }

    async fn insert_account(&self, account: Account, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, accounts::insert_account(account, audit))
    }

    async fn update_account(&self, account: Account, audit: Audit) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(self.writer, accounts::update_account(account, now, audit))
    }

    async fn remove_account(&self, id: AccountId, audit: Audit) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(self.writer, accounts::remove_account(id, now, audit))
    }

    async fn find_token(&self, account: AccountId) -> Result<Option<SealedToken>, StoreError> {
        on!(self.reader, tokens::find_token(account))
    }

    async fn claim_token(
        &self,
        account: AccountId,
        now: Instant,
        until: Instant,
    ) -> Result<bool, StoreError> {
        on!(self.writer, tokens::claim_token(account, now, until))
    }

    async fn keep_token(
        &self,
        account: AccountId,
        token: Option<SealedToken>,
    ) -> Result<(), StoreError> {
        on!(self.writer, tokens::keep_token(account, token))
    }

    async fn list_balances(
        &self,
        partner: PartnerId,
        account: AccountId,
    ) -> Result<Vec<(Balance, Instant)>, StoreError> {
        on!(self.reader, accounts::list_balances(partner, account))
    }

    async fn insert_partner(
        &self,
        partner: Partner,
        key: ApiKey,
        audit: Audit,
    ) -> Result<(), StoreError> {
        on!(self.writer, partners::insert_partner(partner, key, audit))
    }

    async fn list_partners(&self) -> Result<Vec<Partner>, StoreError> {
        on!(self.reader, partners::list_partners())
    }

    async fn set_partner_suspended(
        &self,
        id: PartnerId,
        at: Option<Instant>,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(
            self.writer,
            partners::set_partner_suspended(id, at, now, audit)
        )
    }

    async fn insert_key(&self, key: ApiKey, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, partners::insert_key(key, audit))
    }

    async fn list_keys(&self, partner: PartnerId) -> Result<Vec<ApiKey>, StoreError> {
        on!(self.reader, partners::list_keys(partner))
    }

    async fn revoke_key(&self, id: KeyId, at: Instant, audit: Audit) -> Result<bool, StoreError> {
        on!(self.writer, partners::revoke_key(id, at, audit))
    }

    async fn find_key(&self, digest: String) -> Result<Option<KeyHolder>, StoreError> {
        on!(self.reader, partners::find_key(digest))
    }

    async fn insert_endpoint(&self, endpoint: Endpoint, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, accounts::insert_endpoint(endpoint, audit))
    }

    async fn list_endpoints(&self, partner: PartnerId) -> Result<Vec<Endpoint>, StoreError> {
        on!(self.reader, accounts::list_endpoints(partner))
    }

    async fn remove_endpoint(
        &self,
        id: EndpointId,
        at: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        on!(self.writer, accounts::remove_endpoint(id, at, audit))
    }

    async fn insert_endpoint_within(
        &self,
        endpoint: Endpoint,
        max: i64,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        on!(
            self.writer,
            endpoints::insert_endpoint_within(endpoint, max, audit)
        )
    }

    async fn find_endpoint(
        &self,
        partner: Option<PartnerId>,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, StoreError> {
        on!(self.reader, endpoints::find_endpoint(partner, id))
    }

    async fn update_endpoint(
        &self,
        partner: PartnerId,
        id: EndpointId,
        change: EndpointChange,
        now: Instant,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError> {
        on!(
            self.writer,
            endpoints::update_endpoint(partner, id, change, now, audit)
        )
    }

    async fn rotate_endpoint_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        key: EndpointKey,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError> {
        let now = self.clock.now();
        on!(
            self.writer,
            endpoints::rotate_secret(partner, id, key, now, audit)
        )
    }

    async fn record_audit(&self, audit: Audit) -> Result<(), StoreError> {
        let now = self.clock.now();
        on!(self.writer, endpoints::record_audit(audit, now))
    }

    async fn list_deliveries(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        page: DeliveryPage,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        on!(
            self.reader,
            replay::list_deliveries(partner, endpoint, page)
        )
    }

    async fn find_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        on!(self.reader, replay::find_delivery(partner, id))
    }

    async fn requeue_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
        now: Instant,
        audit: Audit,
    ) -> Result<OneReplayed, StoreError> {
        on!(self.writer, replay::requeue_one(partner, id, now, audit))
    }

    async fn requeue_range(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        range: ReplayRange,
        now: Instant,
        audit: Audit,
    ) -> Result<RangeReplayed, StoreError> {
        if range.dry_run {
            return on!(
                self.reader,
                replay::requeue_range(partner, endpoint, range, now, audit)
            );
        }
        on!(
            self.writer,
            replay::requeue_range(partner, endpoint, range, now, audit)
        )
    }

    async fn list_due_endpoints(&self, now: Instant) -> Result<Vec<DueEndpoint>, StoreError> {
        let rows = self
            .rows::<DueEndpointRow, _>(deliveries::due_endpoints(now))
            .await?;
        Ok(rows.into_iter().map(DueEndpoint::from).collect())
    }

    async fn claim_deliveries(
        &self,
        capacities: Vec<Capacity>,
        now: Instant,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        on!(self.writer, deliveries::take(capacities, now))
    }

    async fn record_attempts(&self, attempts: Vec<Attempt>) -> Result<(), StoreError> {
        if attempts
            .iter()
            .any(|attempt| attempt.verdict.ends_endpoint())
        {
            return on!(self.writer, notices::record_ending(attempts));
        }
        let adapter = self.clone();
        self.run(async move {
            adapter.execute_all(deliveries::attempts(&attempts)).await?;
            Ok(())
        })
        .await
    }

    async fn requeue_leased(&self, now: Instant) -> Result<u64, StoreError> {
        self.execute_and_count(vec![deliveries::requeue(now)]).await
    }

    async fn record_alive(&self, id: InstanceId) -> Result<Others, StoreError> {
        let rows = self.rows::<OthersRow, _>(instances::beat(id)).await?;
        rows.into_iter()
            .next()
            .map(Others::from)
            .ok_or_else(|| StoreError::Query("the instances were not counted".to_owned()))
    }

    async fn record_gone(&self, id: InstanceId) -> Result<(), StoreError> {
        self.execute_and_count(vec![instances::leave(id)])
            .await
            .map(drop)
    }

    async fn take_allowance(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<Standing, StoreError> {
        let rows = self
            .rows::<StandingRow, _>(instances::take(caller, bucket, allowance))
            .await?;
        rows.into_iter()
            .next()
            .map(Standing::from)
            .ok_or_else(|| StoreError::Query("the request was not counted".to_owned()))
    }

    async fn give_allowance_back(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<(), StoreError> {
        let statement = instances::give_back(caller, bucket, allowance);
        self.execute_and_count(vec![statement]).await.map(drop)
    }

    async fn remove_expired(&self, retention: Retention) -> Result<u64, StoreError> {
        self.execute_and_count(housekeeping::expired(retention))
            .await
    }

    async fn count_backlog(&self) -> Result<Backlog, StoreError> {
        let rows = self
            .stale_rows::<BacklogRow, _>(None, housekeeping::backlog())
            .await?;
        Ok(rows
            .into_iter()
            .next()
            .map(|row| Backlog {
                open_transactions: row.open_transactions,
                stuck_transactions: row.stuck_transactions,
                pending_deliveries: row.pending_deliveries,
                waiting_callbacks: row.waiting_callbacks,
            })
            .unwrap_or_default())
    }

    async fn read_clock(&self) -> Result<Instant, StoreError> {
        let rows = self.rows::<InstantRow, _>(housekeeping::clock()).await?;
        rows.into_iter()
            .next()
            .map(|row| row.at.0)
            .ok_or_else(|| StoreError::Query("the database told no time".to_owned()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let statement = Statement::new("SELECT id FROM partners LIMIT 1");
        self.rows::<IdRow, _>(statement).await.map(drop)
    }

    async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.run_migrations().await
    }

    async fn list_pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.pending_migrations().await
    }

    fn is_embedded(&self) -> bool {
        DIALECT == Dialect::Sqlite
    }
}

impl Adapter {
    async fn execute_and_count(&self, statements: Vec<Statement>) -> Result<u64, StoreError> {
        let adapter = self.clone();
        self.run(async move {
            let touched = adapter.execute_all(statements).await?;
            Ok(touched
                .into_iter()
                .map(|count| u64::try_from(count).unwrap_or_default())
                .sum())
        })
        .await
    }
}
