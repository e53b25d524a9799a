//! PostgreSQL: a pool of connections, two writers. A batch of the ledger locks the partners' heads, loads, judges,
//! and sends all its writes in one flight.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::pg::Pg;
use diesel_async::methods::LoadQuery;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use super::batcher::{Batcher, Commit, CommitError};
use super::dialect::Dialect;
use super::error::pool_error;
use super::ledger::commit::{self, CommitFailure};
use super::ledger::working_set::{Loaded, transaction_lookups};
use super::ledger::{load as lookup, write};
use super::page::{Page, halves};
use super::postgres_connect::Servers;
use super::replica::Replica;
use super::rows::events::HeadRow;
use super::rows::transactions::{FiguresRow, ListingRow, TransactionRow};
use super::statement::Statement;
use super::{CommitNotice, DatabaseLimits, DatabaseUrl, StoreError, StoreSettings};
use crate::domain::clock::{Clock, Instant};
use crate::domain::identity::PartnerId;
use crate::domain::ledger::{Command, EARLY_SPAN, Ledger, Lookups, Outcome, WorkingSet};

#[allow(
    clippy::duplicate_mod,
    reason = "ordinary Diesel, written once and compiled once per database"
)]
#[path = "queries/mod.rs"]
mod queries;

/// The connection the shared queries run on.
pub type Conn = AsyncPgConnection;

/// Named by the shared queries where a type depends on the database.
pub type Db = Pg;

/// The words of this database.
pub const DIALECT: Dialect = Dialect::Postgres;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Two writers keep the disk busy while the other judges; more were slower.
const WRITERS: usize = 2;

/// A writer names every row by its key. Of a table that has just filled the planner knows nothing, and would rather
/// read all of it.
const BY_KEY: &str = "-c enable_hashjoin=off -c enable_mergejoin=off";

/// The PostgreSQL store.
#[derive(Clone)]
pub struct Adapter {
    readers: Pool<Conn>,
    writer: Pool<Conn>,
    replica: Option<Arc<Replica>>,
    runtime: Handle,
    timeout: Duration,
    batcher: Option<Batcher>,
    commits: broadcast::Sender<CommitNotice>,
    clock: Arc<dyn Clock>,
    reconcile_after: chrono::Duration,
}

impl Adapter {
    /// Prepares the pools; connections are made when they are first needed.
    pub fn open(
        url: &str,
        settings: &StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let limits = &settings.limits;
        let mut adapter = Self {
            readers: pool(url, settings.pool_size, limits, "")?,
            writer: pool(url, WRITERS + 2, limits, BY_KEY)?,
            replica: None,
            runtime: Handle::current(),
            timeout: limits.act,
            batcher: None,
            commits: broadcast::channel(commit::NOTICES_KEPT).0,
            clock,
            reconcile_after: settings.reconcile_after,
        };
        if let Some(replica) = &settings.replica
            && let DatabaseUrl::Postgres(url) = &replica.url
        {
            let readers = pool(url, settings.pool_size, limits, "")?;
            let replica = Replica::new(readers, replica.max_lag);
            let watch = Arc::clone(&replica).watch(adapter.readers.clone(), limits.act);
            tokio::spawn(watch);
            adapter.replica = Some(replica);
        }
        let commit: Arc<dyn Commit> = Arc::new(adapter.clone());
        adapter.batcher = Some(Batcher::start(WRITERS, &commit, |writer| {
            tokio::spawn(writer);
            Ok(())
        })?);
        Ok(adapter)
    }

    async fn reader(&self) -> Result<Object<Conn>, StoreError> {
        self.readers.get().await.map_err(pool_error)
    }

    async fn writer(&self) -> Result<Object<Conn>, StoreError> {
        self.writer.get().await.map_err(pool_error)
    }

    /// Waits for a server's answer no longer than the time limit: a frozen one would keep its connection, and in the end
    /// every connection, for good.
    async fn within<T, E: From<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::no_answer_within(self.timeout).into()),
        }
    }

    /// After an act. A connection whose server fell silent, went away or is no primary any more is closed, and so is
    /// every other one that leads there: what they would answer may be old.
    fn settle(&self, conn: Object<Conn>, error: Option<&StoreError>) {
        if error.is_some_and(StoreError::is_lost) {
            drop(Object::take(conn));
            self.readers.retain(|_, _| false);
            self.writer.retain(|_, _| false);
        }
    }

    /// Reads rows; a connection that turns out to be lost is replaced once.
    async fn rows<R, S>(&self, statement: S) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: Clone + Send + 'static + for<'q> LoadQuery<'q, Conn, R>,
    {
        let adapter = self.clone();
        self.run(async move {
            match adapter.rows_once(statement.clone()).await {
                Err(error) if error.is_lost() => adapter.rows_once(statement).await,
                outcome => outcome,
            }
        })
        .await
    }

    async fn rows_once<R, S>(&self, statement: S) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: Send + 'static + for<'q> LoadQuery<'q, Conn, R>,
    {
        let mut conn = self.reader().await?;
        let read = async { Ok(statement.load(&mut *conn).await?) };
        let outcome = self.within(read).await;
        self.settle(conn, outcome.as_ref().err());
        outcome
    }

    /// Reads rows that may be a little old, at the replica if it may answer; of one partner, if one is named.
    async fn stale_rows<R, S>(
        &self,
        partner: Option<PartnerId>,
        statement: S,
    ) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: Clone + Send + 'static + for<'q> LoadQuery<'q, Conn, R>,
    {
        let replica = self.replica.as_ref();
        if let Some(replica) = replica.filter(|replica| replica.may_answer(partner)) {
            let (adapter, replica) = (self.clone(), Arc::clone(replica));
            let copy = statement.clone();
            let read = self.run(async move { adapter.rows_at(&replica, partner, copy).await });
            match read.await {
                Ok(rows) => {
                    metrics::counter!("ussd_status_replica_reads_total").increment(1);
                    return Ok(rows);
                }
                Err(reason) => tracing::debug!(%reason, "the primary reads instead of the replica"),
            }
        }
        self.rows(statement).await
    }

    async fn rows_at<R, S>(
        &self,
        replica: &Replica,
        partner: Option<PartnerId>,
        statement: S,
    ) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: Send + 'static + for<'q> LoadQuery<'q, Conn, R>,
    {
        let mut conn = replica.pool.get().await.map_err(pool_error)?;
        let read = async {
            if let Some(partner) = partner {
                let head = queries::feed_heads(&[partner]);
                let here = self.rows_once::<HeadRow, _>(head.clone());
                let there = async { Ok(head.load::<HeadRow>(&mut *conn).await?) };
                let (here, there) = tokio::try_join!(here, there)?;
                let last =
                    |rows: Vec<HeadRow>| rows.into_iter().next().map(|row| row.last_sequence);
                if last(there) < last(here) {
                    let behind = "the replica lacks an event of this partner's".to_owned();
                    return Err(StoreError::Unavailable(behind));
                }
            }
            Ok(statement.load(&mut *conn).await?)
        };
        let outcome = self.within(read).await;
        if outcome.is_err() {
            drop(Object::take(conn));
        }
        outcome
    }

    /// A partner's write is committed.
    fn record_write(&self, partner: PartnerId) {
        if let Some(replica) = &self.replica {
            replica.record_write(partner);
        }
    }

    /// A page's figures and rows, of one snapshot; of a partner for whom it may be a little old, if one is named.
    async fn page(
        &self,
        page: Page,
        may_be_old: Option<PartnerId>,
    ) -> Result<(Option<FiguresRow>, Vec<TransactionRow>), StoreError> {
        let statement = page.in_one();
        let lines: Vec<ListingRow> = match may_be_old {
            Some(_) => self.stale_rows(may_be_old, statement).await?,
            None => self.rows(statement).await?,
        };
        Ok(halves(lines))
    }

    /// Runs statements in one transaction; how many rows each touched.
    async fn execute_all(&self, statements: Vec<Statement>) -> Result<Vec<usize>, StoreError> {
        let mut writer = self.writer().await?;
        let work = writer.transaction(async |conn| {
            let mut touched = Vec::with_capacity(statements.len());
            for statement in statements {
                touched.push(statement.execute(conn).await?);
            }
            Ok::<_, StoreError>(touched)
        });
        let outcome = self.within(work).await;
        self.settle(writer, outcome.as_ref().err());
        outcome
    }
}

fn pool(
    url: &str,
    size: usize,
    limits: &DatabaseLimits,
    options: &str,
) -> Result<Pool<Conn>, StoreError> {
    let servers = Arc::new(Servers::new(url, limits, options)?);
    let mut config = ManagerConfig::<Conn>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let servers = Arc::clone(&servers);
        async move { servers.connect().await }.boxed()
    });
    Pool::builder(AsyncDieselConnectionManager::<Conn>::new_with_config(
        url, config,
    ))
    .max_size(size)
    .wait_timeout(Some(limits.pool_wait))
    .create_timeout(Some(limits.act))
    .runtime(deadpool::Runtime::Tokio1)
    .build()
    .map_err(|error| StoreError::Unavailable(error.to_string()))
}

#[async_trait]
impl Commit for Adapter {
    async fn commit(&self, commands: Arc<[Command]>) -> Result<Vec<Outcome>, CommitError> {
        let (clock, ask_after) = (&self.clock, self.reconcile_after);
        let mut writer = self.writer().await.map_err(CommitError::Store)?;
        let work = writer.transaction(async |conn| {
            let early_since = clock.now() - EARLY_SPAN;
            let loaded = load(conn, &Lookups::of(commands.iter()), early_since).await?;
            // Read under the lock, so that times and ids follow commit order whoever writes.
            let now = clock.now();
            let mut ledger = Ledger::new(now, ask_after, loaded);
            let outcomes: Vec<Outcome> = commands
                .iter()
                .map(|command| ledger.carry_out(command.clone()))
                .collect();
            let changes = ledger.into_changes();
            let writes = write::writes(DIALECT, now, &changes);
            // A shared reference to the connection pipelines: all writes leave in one flight.
            let conn: &AsyncPgConnection = conn;
            try_join_all(writes.into_iter().map(async |write| {
                let mut conn = conn;
                let touched = write.statement.execute(&mut conn).await?;
                commit::check_touched(write.must_touch, touched)
            }))
            .await?;
            Ok::<_, CommitFailure>((outcomes, changes))
        });
        let outcome = self.within(work).await.map_err(CommitError::from);
        let error = match &outcome {
            Err(CommitError::Store(error)) => Some(error),
            _ => None,
        };
        self.settle(writer, error);
        let (outcomes, changes) = outcome?;
        commit::tell(&self.commits, &changes);
        Ok(outcomes)
    }
}

async fn load(
    conn: &mut AsyncPgConnection,
    lookups: &Lookups,
    early_since: Instant,
) -> Result<WorkingSet, CommitFailure> {
    let mut loaded = Loaded::default();
    // The lock comes first and alone: what is read after it cannot be changed by another writer any more.
    loaded.heads = lookup::lock_heads(DIALECT, &lookups.partners)
        .load(conn)
        .await?;
    let conn: &AsyncPgConnection = conn;
    let endpoints = async {
        let mut conn = conn;
        lookup::endpoints(DIALECT, &lookups.partners)
            .load(&mut conn)
            .await
    };
    let waiting = async {
        let mut conn = conn;
        match lookup::waiting(DIALECT, lookups) {
            Some(statement) => statement.load(&mut conn).await,
            None => Ok(Vec::new()),
        }
    };
    let unnamed = async {
        let mut conn = conn;
        match lookup::unnamed(DIALECT, &lookups.unnamed, early_since) {
            Some(statement) => statement.load(&mut conn).await,
            None => Ok(Vec::new()),
        }
    };
    let transactions = try_join_all(
        transaction_lookups(DIALECT, lookups, early_since)
            .into_iter()
            .map(async |statement| {
                let mut conn = conn;
                statement.load(&mut conn).await
            }),
    );
    let (endpoints, waiting, unnamed, transactions) =
        tokio::try_join!(endpoints, waiting, unnamed, transactions)?;
    loaded.endpoints = endpoints;
    loaded.unnamed = unnamed;
    loaded.waiting = waiting;
    for rows in transactions {
        loaded.add_transactions(rows)?;
    }
    while let Some(more) = loaded.follow_up(lookups)? {
        let mut conn = conn;
        if let Some(statement) = lookup::waiting(DIALECT, &more.lookups) {
            loaded.waiting = statement.load(&mut conn).await?;
        }
        for statement in more.transaction_lookups(DIALECT) {
            loaded.add_transactions(statement.load(&mut conn).await?)?;
        }
    }
    if let Some(statement) = loaded.own_endpoints(DIALECT, lookups) {
        let mut conn = conn;
        let rows = statement.load(&mut conn).await?;
        loaded.add_endpoints(rows);
    }
    loaded.into_working_set()
}
