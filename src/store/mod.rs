//! The seam to the database. Each method of [`Store`] is one atomic act; no transaction crosses the seam; time is
//! always a parameter; absence is an `Option`. Two adapters (SQLite, PostgreSQL) share every query.

mod audit;
pub mod backup;
mod batcher;
pub mod columns;
mod console;
pub mod copy;
mod dialect;
mod error;
mod event_page;
mod ledger;
mod news_codec;
mod notice_codec;
mod oversight;
mod page;
mod postgres;
mod postgres_connect;
mod provider_list_sql;
mod replica;
mod rows;
pub mod schema;
mod search_sql;
mod sqlite;
mod sqlite_threads;
mod statement;
mod story_sql;
mod upkeep;

pub use audit::{Actor, Audit};
pub use console::{ConsoleStore, SessionHolder};
pub use error::StoreError;
pub use event_page::EventPage;
pub use ledger::write::{HOUR_COUNTER_SPAN, MINUTE_COUNT_SPAN};
pub use oversight::OversightStore;
pub use upkeep::{ERASURE_BATCH, ErasedTable, ErasureStep, Sealed, SealedColumn, Upkeep};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::domain::account::Account;
use crate::domain::allowance::{Allowance, Caller, Standing};
use crate::domain::asking::AskLease;
use crate::domain::clock::{Clock, Instant};
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
use crate::domain::search::{BulkLookup, Cursor, Filter, ProviderFilter, Search};
use crate::domain::statistics::Statistics;
use crate::domain::status::Status;
use crate::domain::status_update::Balance;
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::{IdField, Provider, Transaction};
use crate::domain::watch::{KEYS_OF_AN_EVENT, WatchKey};

/// Commands that may wait for a writer; one more is answered with [`StoreError::Unavailable`].
pub const QUEUE_CAPACITY: usize = 4_096;
/// Commands that share one commit at most.
pub const BATCH_MAX: usize = 200;
/// How long a host is waited for that does not let one in, unless the settings say otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an instance counts as living after it last said so.
pub const LIVE_FOR: Duration = Duration::from_secs(10);
/// Rows that one step of housekeeping removes at most, so that nobody waits behind it.
pub const HOUSEKEEPING_BATCH: i64 = 500;

/// How to reach a database and how long to wait for it.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite://PATH` or `postgres://…`.
    pub url: DatabaseUrl,
    /// Connections (PostgreSQL), readers (SQLite).
    pub pool_size: usize,
    /// How long it is waited for.
    pub limits: DatabaseLimits,
    /// A replica for reads that may be a little old (PostgreSQL).
    pub replica: Option<ReplicaSettings>,
    /// How long a provider may be silent before it is asked.
    pub reconcile_after: chrono::Duration,
}

/// A replica for reading.
#[derive(Debug, Clone)]
pub struct ReplicaSettings {
    /// Where.
    pub url: DatabaseUrl,
    /// How old at most.
    pub max_lag: Duration,
}

/// How long a database is waited for.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseLimits {
    /// Any one act, all waiting included.
    pub act: Duration,
    /// One statement, by the server's own watch (PostgreSQL).
    pub statement: Duration,
    /// A new connection to one host (PostgreSQL).
    pub connect: Duration,
    /// A free connection of the pool (PostgreSQL).
    pub pool_wait: Duration,
}

impl DatabaseLimits {
    /// Five seconds or whatever it is for everything, and two at most for a connection.
    pub fn of(act: Duration) -> Self {
        Self {
            act,
            statement: act,
            connect: act.min(CONNECT_TIMEOUT),
            pool_wait: act,
        }
    }
}

/// Which database, by the URL's scheme.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(String),
    /// A server, or several of which one accepts writes.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseUrl {
    /// Without the password a PostgreSQL URL may carry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let plain = path.split('?').next().unwrap_or_default();
            if plain.is_empty() || plain == ":memory:" || plain != path {
                return Err(
                    "the path of a SQLite file must follow sqlite://, without parameters"
                        .to_owned(),
                );
            }
            return Ok(Self::Sqlite(path.to_owned()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err("accepted are sqlite://PATH and postgres://…".to_owned())
    }
}

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

/// A key together with its partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub key: ApiKey,
    /// Whose.
    pub partner: Partner,
}

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

/// How many due deliveries an endpoint may take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its partner.
    pub partner_id: PartnerId,
    /// How many.
    pub free: i64,
}

/// What is older than these is removed.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Inbox rows received before.
    pub callbacks_before: Instant,
    /// Finished deliveries and their attempts created before.
    pub deliveries_before: Instant,
    /// Timeline lines and feed events before.
    pub events_before: Instant,
    /// Hour counters that ended before.
    pub hours_before: Instant,
    /// Counts of minutes that ended before.
    pub minutes_before: Instant,
}

/// An account's access token as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken {
    /// The token, sealed.
    pub sealed: Vec<u8>,
    /// Not to be used from then on.
    pub good_until: Instant,
}

/// The other instances on a shared database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// How many live.
    pub live: u32,
    /// How many of them began earlier.
    pub before: u32,
}

/// Figures for `/metrics` and `/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Transactions that are not final.
    pub open_transactions: i64,
    /// Deliveries not yet made.
    pub pending_deliveries: i64,
    /// Kept callbacks whose id nobody knows yet.
    pub waiting_callbacks: i64,
    /// Transactions that are asked about no more, though nobody knows what became of them.
    pub stuck_transactions: i64,
}

/// Everything the rest of the house asks of the database.
#[async_trait]
pub trait Store: ConsoleStore + OversightStore + Upkeep + Send + Sync + 'static {
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
    /// The account a callback token names.
    async fn find_account_by_token(&self, token: String) -> Result<Option<Account>, StoreError>;
    /// The partners that hold any of these provider ids in its own field, for callbacks without a token.
    async fn list_route_owners(
        &self,
        provider: Provider,
        ids: Vec<(IdField, String)>,
    ) -> Result<Vec<PartnerId>, StoreError>;
    /// All accounts, or those of one partner.
    async fn list_accounts(&self, partner: Option<PartnerId>) -> Result<Vec<Account>, StoreError>;
    /// The accounts of a provider, at most `limit`.
    async fn list_provider_accounts(
        &self,
        provider: Provider,
        limit: i64,
    ) -> Result<Vec<Account>, StoreError>;
    /// Keeps a new account.
    async fn insert_account(&self, account: Account, audit: Audit) -> Result<(), StoreError>;
    /// Replaces an account's credentials; false if there is none.
    async fn update_account(&self, account: Account, audit: Audit) -> Result<bool, StoreError>;
    /// Removes an account; false if there is none.
    async fn remove_account(&self, id: AccountId, audit: Audit) -> Result<bool, StoreError>;
    /// The access token kept for an account.
    async fn find_token(&self, account: AccountId) -> Result<Option<SealedToken>, StoreError>;
    /// Takes the right to fetch an account's next token until `until`; false while another process has it.
    async fn claim_token(
        &self,
        account: AccountId,
        now: Instant,
        until: Instant,
    ) -> Result<bool, StoreError>;
    /// Gives that right back, and keeps the token that was fetched.
    async fn keep_token(
        &self,
        account: AccountId,
        token: Option<SealedToken>,
    ) -> Result<(), StoreError>;
    /// The balances an account last reported.
    async fn list_balances(
        &self,
        partner: PartnerId,
        account: AccountId,
    ) -> Result<Vec<(Balance, Instant)>, StoreError>;

    /// Keeps a new partner and its first key.
    async fn insert_partner(
        &self,
        partner: Partner,
        key: ApiKey,
        audit: Audit,
    ) -> Result<(), StoreError>;
    /// All partners, oldest first.
    async fn list_partners(&self) -> Result<Vec<Partner>, StoreError>;
    /// Suspends a partner at an instant, or resumes it; false if there is none.
    async fn set_partner_suspended(
        &self,
        id: PartnerId,
        at: Option<Instant>,
        audit: Audit,
    ) -> Result<bool, StoreError>;
    /// Keeps a new key.
    async fn insert_key(&self, key: ApiKey, audit: Audit) -> Result<(), StoreError>;
    /// A partner's keys, oldest first.
    async fn list_keys(&self, partner: PartnerId) -> Result<Vec<ApiKey>, StoreError>;
    /// Revokes a key; false if there is none.
    async fn revoke_key(&self, id: KeyId, at: Instant, audit: Audit) -> Result<bool, StoreError>;
    /// The key with this digest, valid or not, and its partner.
    async fn find_key(&self, digest: String) -> Result<Option<KeyHolder>, StoreError>;

    /// Keeps a new webhook endpoint.
    async fn insert_endpoint(&self, endpoint: Endpoint, audit: Audit) -> Result<(), StoreError>;
    /// A partner's endpoints, oldest first.
    async fn list_endpoints(&self, partner: PartnerId) -> Result<Vec<Endpoint>, StoreError>;
    /// Keeps a new webhook endpoint unless its partner has `max` already; whether it did.
    async fn insert_endpoint_within(
        &self,
        endpoint: Endpoint,
        max: i64,
        audit: Audit,
    ) -> Result<bool, StoreError>;
    /// One endpoint, of this partner if one is named. Those for one transaction only are not found.
    async fn find_endpoint(
        &self,
        partner: Option<PartnerId>,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Changes an endpoint; how it then stands. One that is disabled is owed nothing any more.
    async fn update_endpoint(
        &self,
        partner: PartnerId,
        id: EndpointId,
        change: EndpointChange,
        now: Instant,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Puts a new key in the place of the present one, which goes on signing for a while.
    async fn rotate_endpoint_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        key: EndpointKey,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError>;
    /// Removes an endpoint; false if there is none.
    async fn remove_endpoint(
        &self,
        id: EndpointId,
        at: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError>;
    /// Keeps a line of the audit log for what changes nothing here.
    async fn record_audit(&self, audit: Audit) -> Result<(), StoreError>;

    /// An endpoint's deliveries with their attempts, the latest event first.
    async fn list_deliveries(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        page: DeliveryPage,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;
    /// One delivery with its attempts.
    async fn find_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, StoreError>;
    /// Makes a delivery pending again; its attempts count on.
    async fn requeue_delivery(
        &self,
        partner: PartnerId,
        id: DeliveryId,
        now: Instant,
        audit: Audit,
    ) -> Result<OneReplayed, StoreError>;
    /// Makes an endpoint's deliveries of a range of events pending again, and makes those it never had, in the order of
    /// the feed; what is pending already stays as it is.
    async fn requeue_range(
        &self,
        partner: PartnerId,
        endpoint: EndpointId,
        range: ReplayRange,
        now: Instant,
        audit: Audit,
    ) -> Result<RangeReplayed, StoreError>;

    /// The endpoints that have a delivery due.
    async fn list_due_endpoints(&self, now: Instant) -> Result<Vec<DueEndpoint>, StoreError>;
    /// Takes a lease on due deliveries, up to each endpoint's capacity, in order within a transaction.
    async fn claim_deliveries(
        &self,
        capacities: Vec<Capacity>,
        now: Instant,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;
    /// Records how attempts ended and what follows.
    async fn record_attempts(&self, attempts: Vec<Attempt>) -> Result<(), StoreError>;
    /// Gives back every lease: on SQLite, at start, where no other process can hold one.
    async fn requeue_leased(&self, now: Instant) -> Result<u64, StoreError>;

    /// On a shared database: says that an instance lives, and learns who else does.
    async fn record_alive(&self, id: InstanceId) -> Result<Others, StoreError>;
    /// On a shared database: says that an instance lives no more.
    async fn record_gone(&self, id: InstanceId) -> Result<(), StoreError>;
    /// On a shared database: counts one request over all instances; where its caller then stands.
    async fn take_allowance(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<Standing, StoreError>;
    /// On a shared database: a request that passed is not to count.
    async fn give_allowance_back(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<(), StoreError>;

    /// Removes a small batch of what is old; the number of rows removed.
    async fn remove_expired(&self, retention: Retention) -> Result<u64, StoreError>;
    /// Counts what is waiting.
    async fn count_backlog(&self) -> Result<Backlog, StoreError>;
    /// The database's own clock.
    async fn read_clock(&self) -> Result<Instant, StoreError>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Runs pending migrations; their names.
    async fn migrate(&self) -> Result<Vec<String>, StoreError>;
    /// The names of migrations that have not run.
    async fn list_pending_migrations(&self) -> Result<Vec<String>, StoreError>;
    /// Whether this is the embedded database, which no other machine shares.
    fn is_embedded(&self) -> bool;
}

/// Opens the database that the URL names; its pools and writers live on the runtime of the caller, which must be a
/// multi-threaded one.
///
/// # Errors
/// If the URL's database cannot be opened.
pub async fn open(
    settings: StoreSettings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings.url.clone() {
        DatabaseUrl::Sqlite(path) => {
            Arc::new(sqlite::Adapter::open(&path, &settings, clock).await?)
        }
        DatabaseUrl::Postgres(url) => Arc::new(postgres::Adapter::open(&url, &settings, clock)?),
    })
}
