//! The embedded database: one file, one writer connection, a few readers, each on a thread of its own. A batch of the
//! ledger is one act of the writer: `BEGIN IMMEDIATE`, load, judge, write, commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::query_dsl::methods::LoadQuery;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use super::batcher::{Batcher, Commit, CommitError};
use super::dialect::Dialect;
use super::error::pool_error;
use super::ledger::commit::{self, CommitFailure};
use super::ledger::working_set::{Loaded, transaction_lookups};
use super::ledger::{load as lookup, write};
use super::page::Page;
use super::rows::transactions::{FiguresRow, TransactionRow};
use super::sqlite_threads::{Place, Readers, run_on_own_thread};
use super::statement::Statement;
use super::{CommitNotice, StoreError, StoreSettings};
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
pub type Conn = SyncConnectionWrapper<SqliteConnection, Place>;

/// The words of this database.
pub const DIALECT: Dialect = Dialect::Sqlite;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// An acknowledged commit survives a power cut (`synchronous = FULL`); readers never wait for the writer (WAL).
const SET_UP: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000;";

/// How SQLite tells that it may not write.
const READ_ONLY: &str = "readonly database";

/// The SQLite store.
#[derive(Clone)]
pub struct Adapter {
    readers: Readers,
    seldom: Pool<Conn>,
    writer: Pool<Conn>,
    runtime: Handle,
    timeout: Duration,
    batcher: Option<Batcher>,
    commits: broadcast::Sender<CommitNotice>,
    clock: Arc<dyn Clock>,
    reconcile_after: chrono::Duration,
}

impl Adapter {
    /// Opens the file, creating it where there is none.
    pub async fn open(
        path: &str,
        settings: &StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let mut adapter = Self {
            readers: Readers::start(settings.pool_size.min(useful_readers()), path, SET_UP)?,
            seldom: pool(path, 1, settings.limits.act)?,
            writer: pool(path, 1, settings.limits.act)?,
            runtime: Handle::current(),
            timeout: settings.limits.act,
            batcher: None,
            commits: broadcast::channel(commit::NOTICES_KEPT).0,
            clock,
            reconcile_after: settings.reconcile_after,
        };
        // The first connection creates the file and switches it to WAL; readers come after.
        drop(adapter.writer().await?);
        let commit: Arc<dyn Commit> = Arc::new(adapter.clone());
        adapter.batcher = Some(Batcher::start(1, &commit, |writer| {
            run_on_own_thread("sqlite-writer", writer)
        })?);
        Ok(adapter)
    }

    /// For the shared queries, which are asked seldom: what they find is remembered.
    async fn reader(&self) -> Result<Object<Conn>, StoreError> {
        self.seldom.get().await.map_err(pool_error)
    }

    async fn writer(&self) -> Result<Object<Conn>, StoreError> {
        self.writer.get().await.map_err(pool_error)
    }

    /// The shared queries' time is limited by their callers, and by `busy_timeout`: an act here is never cut off.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        answer.await
    }

    /// After an act of the shared queries the connection goes back.
    fn settle(&self, conn: Object<Conn>, _error: Option<&StoreError>) {
        drop(conn);
    }

    /// Reads rows, decoded where they are read.
    async fn rows<R, S>(&self, statement: S) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: RunQueryDsl<SqliteConnection>
            + for<'q> LoadQuery<'q, SqliteConnection, R>
            + Send
            + 'static,
    {
        self.readers
            .read(self.timeout, move |conn| statement.load(conn))
            .await
    }

    /// There is no replica: all is read here.
    async fn stale_rows<R, S>(
        &self,
        _partner: Option<PartnerId>,
        statement: S,
    ) -> Result<Vec<R>, StoreError>
    where
        R: Send + 'static,
        S: RunQueryDsl<SqliteConnection>
            + for<'q> LoadQuery<'q, SqliteConnection, R>
            + Send
            + 'static,
    {
        self.rows(statement).await
    }

    /// Nobody needs to know.
    fn record_write(&self, _partner: PartnerId) {}

    /// A page's figures and rows, of one snapshot.
    async fn page(
        &self,
        page: Page,
        _may_be_old: Option<PartnerId>,
    ) -> Result<(Option<FiguresRow>, Vec<TransactionRow>), StoreError> {
        let (figures, rows) = page.in_two();
        self.readers
            .read(self.timeout, move |conn| {
                let run = |conn: &mut SqliteConnection, sql| Statement::new(sql).execute(conn);
                run(conn, "BEGIN")?;
                let figures = figures.load(conn);
                let rows = figures.and_then(|figures| {
                    let rows = rows.load(conn)?;
                    Ok((figures.into_iter().next(), rows))
                });
                run(conn, "END")?;
                rows
            })
            .await
    }

    /// Runs statements in one transaction; how many rows each touched.
    async fn execute_all(&self, statements: Vec<Statement>) -> Result<Vec<usize>, StoreError> {
        let mut writer = self.writer().await?;
        let touched = writer
            .spawn_blocking(move |conn| {
                conn.immediate_transaction(|conn| {
                    statements
                        .into_iter()
                        .map(|statement| statement.execute(conn))
                        .collect()
                })
            })
            .await
            .map_err(StoreError::from);
        if let Err(error) = &touched {
            self.reopen_if_read_only(writer, error);
        }
        touched
    }

    /// A connection that found the file read-only stays so for good, and so does every other one that shares its
    /// memory with it: all are closed, and the next caller opens the file again.
    fn reopen_if_read_only(&self, writer: Object<Conn>, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(text) if text.contains(READ_ONLY)) {
            drop(Object::take(writer));
            self.seldom.retain(|_, _| false);
            self.readers.reopen();
        }
    }
}

/// Readers work on this machine's own cores and share SQLite's locks: more of them than cores only wait for each
/// other. Two at least, so that a long read does not hold up everybody.
fn useful_readers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

fn pool(path: &str, size: usize, timeout: Duration) -> Result<Pool<Conn>, StoreError> {
    let mut config = ManagerConfig::<Conn>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        async move {
            let mut conn = Conn::establish(url).await?;
            conn.batch_execute(SET_UP)
                .await
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(conn)
        }
        .boxed()
    });
    Pool::builder(AsyncDieselConnectionManager::<Conn>::new_with_config(
        path, config,
    ))
    .max_size(size)
    // While another process locks the file, each that has the writer waits `busy_timeout` in vain; nobody may wait
    // for all who came before.
    .runtime(deadpool::Runtime::Tokio1)
    .wait_timeout(Some(timeout))
    .build()
    .map_err(|error| StoreError::Unavailable(error.to_string()))
}

#[async_trait]
impl Commit for Adapter {
    async fn commit(&self, commands: Arc<[Command]>) -> Result<Vec<Outcome>, CommitError> {
        let (clock, ask_after) = (Arc::clone(&self.clock), self.reconcile_after);
        let mut writer = self.writer().await.map_err(CommitError::Store)?;
        let committed = writer
            .spawn_blocking(move |conn| {
                Ok(conn.immediate_transaction(|conn| {
                    let early_since = clock.now() - EARLY_SPAN;
                    let loaded = load(conn, &Lookups::of(commands.iter()), early_since)?;
                    // Read under the lock, so that times and ids follow commit order whoever writes.
                    let now = clock.now();
                    let mut ledger = Ledger::new(now, ask_after, loaded);
                    let outcomes: Vec<Outcome> = commands
                        .iter()
                        .map(|command| ledger.carry_out(command.clone()))
                        .collect();
                    let changes = ledger.into_changes();
                    for write in write::writes(DIALECT, now, &changes) {
                        let touched = write.statement.execute(conn)?;
                        commit::check_touched(write.must_touch, touched)?;
                    }
                    Ok::<_, CommitFailure>((outcomes, changes))
                }))
            })
            .await
            .map_err(|error| CommitError::Store(error.into()))
            .and_then(|committed| committed.map_err(CommitError::from));
        if let Err(CommitError::Store(error)) = &committed {
            self.reopen_if_read_only(writer, error);
        }
        let (outcomes, changes) = committed?;
        commit::tell(&self.commits, &changes);
        Ok(outcomes)
    }
}

fn load(
    conn: &mut SqliteConnection,
    lookups: &Lookups,
    early_since: Instant,
) -> Result<WorkingSet, CommitFailure> {
    let mut loaded = Loaded::default();
    loaded.heads = lookup::lock_heads(DIALECT, &lookups.partners).load(conn)?;
    loaded.endpoints = lookup::endpoints(DIALECT, &lookups.partners).load(conn)?;
    if let Some(statement) = lookup::waiting(DIALECT, lookups) {
        loaded.waiting = statement.load(conn)?;
    }
    if let Some(statement) = lookup::unnamed(DIALECT, &lookups.unnamed, early_since) {
        loaded.unnamed = statement.load(conn)?;
    }
    for statement in transaction_lookups(DIALECT, lookups, early_since) {
        loaded.add_transactions(statement.load(conn)?)?;
    }
    while let Some(more) = loaded.follow_up(lookups)? {
        if let Some(statement) = lookup::waiting(DIALECT, &more.lookups) {
            loaded.waiting = statement.load(conn)?;
        }
        for statement in more.transaction_lookups(DIALECT) {
            loaded.add_transactions(statement.load(conn)?)?;
        }
    }
    if let Some(statement) = loaded.own_endpoints(DIALECT, lookups) {
        let rows = statement.load(conn)?;
        loaded.add_endpoints(rows);
    }
    loaded.into_working_set()
}

/// Named by the shared queries where a type depends on the database.
pub type Db = Sqlite;
