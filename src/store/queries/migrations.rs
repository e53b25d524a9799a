//! Running migrations: of many processes one does, the others wait, and nobody else's work stands still.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::Object;
use diesel::migration::{Migration, MigrationSource};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::MigrationHarness;

use super::super::Db;
use super::{Adapter, Conn, DIALECT, MIGRATIONS, Statement};
use crate::store::StoreError;
use crate::store::dialect::Dialect;
use crate::store::rows::LineRow;

/// How often a process looks again when another one was quicker with a migration on the embedded database.
const TRIES: usize = 20;
/// How long migrations may take, waiting for another instance's included.
const LIMIT: Duration = Duration::from_secs(3600);
/// How often a process that waits for another one's migrations looks whether they are done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Writer = Object<AsyncDieselConnectionManager<Conn>>;
type Harness = AsyncMigrationHarness<Writer>;

impl Adapter {
    /// Runs what is pending; the names.
    pub(super) async fn run_migrations(&self) -> Result<Vec<String>, StoreError> {
        let applied = Arc::new(Mutex::new(Vec::new()));
        // SQLite has no lock to wait at while migrating: who loses a migration to another process looks again.
        let tries = match DIALECT {
            Dialect::Sqlite => TRIES,
            Dialect::Postgres => 1,
        };
        for _ in 1..tries {
            if self.migrate_once(Arc::clone(&applied)).await.is_ok() {
                return Ok(taken(&applied));
            }
        }
        self.migrate_once(Arc::clone(&applied)).await?;
        Ok(taken(&applied))
    }

    /// What is pending; the names.
    pub(super) async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.while_nobody_migrates(false, |harness| {
            Ok(harness
                .pending_migrations(MIGRATIONS)?
                .iter()
                .map(|migration| migration.name().to_string())
                .collect())
        })
        .await
    }

    /// Adds what it applied to `applied`, one by one: what is done stays done if a later one fails.
    async fn migrate_once(&self, applied: Arc<Mutex<Vec<String>>>) -> Result<(), StoreError> {
        self.while_nobody_migrates(true, move |harness| {
            for migration in &harness.pending_migrations(MIGRATIONS)? {
                harness.run_migration(migration)?;
                let name = migration.name().to_string();
                applied
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(name);
            }
            Ok(())
        })
        .await
    }

    async fn while_nobody_migrates<T: Send + 'static>(
        &self,
        is_to_mend: bool,
        act: impl FnOnce(&mut Harness) -> diesel::migration::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let adapter = self.clone();
        self.run_within(LIMIT, async move {
            let mut writer = adapter.writer().await?;
            let is_shared = DIALECT == Dialect::Postgres;
            let mut mended = Ok(());
            if is_shared {
                lock(&mut writer).await?;
                if is_to_mend {
                    mended = mend(&mut writer).await;
                }
            }
            let mut harness = AsyncMigrationHarness::new(writer);
            let done = mended.and_then(|()| {
                tokio::task::block_in_place(|| act(&mut harness))
                    .map_err(|error| StoreError::Unavailable(error.to_string()))
            });
            let mut freed = Ok(());
            if is_shared {
                freed = unlock(&mut harness.into_inner()).await;
            }
            // Why it was not done says more than that its connection is gone.
            let done = done?;
            freed.map(|()| done)
        })
        .await
    }
}

/// Waits until nobody migrates, as long as it takes. It asks again and again and does not wait within a statement: such a
/// session has a snapshot, and whoever builds an index CONCURRENTLY under the lock waits for every snapshot to end.
async fn lock(writer: &mut Writer) -> Result<(), StoreError> {
    let try_lock = Statement::new(
        "SELECT 1 FROM (SELECT pg_try_advisory_lock(7305837) AS is_ours) AS l WHERE is_ours",
    );
    let wait = async {
        Statement::new("SET statement_timeout = 0")
            .execute(&mut **writer)
            .await?;
        while try_lock.clone().execute(&mut **writer).await? == 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    match tokio::time::timeout(LIMIT, wait).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::no_answer_within(LIMIT)),
    }
}

async fn unlock(writer: &mut Writer) -> Result<(), StoreError> {
    for sql in [
        "SELECT 1 FROM (SELECT pg_advisory_unlock(7305837)) AS l",
        "RESET statement_timeout",
    ] {
        Statement::new(sql).execute(&mut **writer).await?;
    }
    Ok(())
}

/// Builds anew what a build CONCURRENTLY that was broken off left behind: an index that is kept up but never used, and that
/// `IF NOT EXISTS` takes for the real one. One that somebody is building just now is left alone.
async fn mend(writer: &mut Writer) -> Result<(), StoreError> {
    let invalid = Statement::new(
        "SELECT c.relname::text AS line FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace \
         AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)",
    );
    let invalid: Vec<LineRow> = invalid.load(&mut **writer).await?;
    let ours = built_concurrently()?;
    for index in invalid.into_iter().map(|row| row.line) {
        // What the mending itself leaves behind when it is broken off has the name with an ending.
        let (name, is_whole) = match index.split_once("_cc") {
            Some((name, _)) => (name, false),
            None => (index.as_str(), true),
        };
        if !ours.iter().any(|known| known == name) {
            continue;
        }
        let sql = if is_whole {
            format!("REINDEX INDEX CONCURRENTLY {index}")
        } else {
            format!("DROP INDEX CONCURRENTLY {index}")
        };
        tracing::warn!(%index, "an index is built anew: its build was broken off");
        Statement::new(sql).execute(&mut **writer).await?;
    }
    Ok(())
}

/// The indexes that migrations build outside a transaction: each has a migration of its own, which has its name.
fn built_concurrently() -> Result<Vec<String>, StoreError> {
    let all: Vec<Box<dyn Migration<Db>>> = MigrationSource::<Db>::migrations(&MIGRATIONS)
        .map_err(|error| StoreError::Query(error.to_string()))?;
    let names = all
        .iter()
        .filter(|migration| !migration.metadata().run_in_transaction())
        .map(|migration| migration.name().to_string());
    Ok(names
        .filter_map(|name| Some(name.split_once('_')?.1.to_owned()))
        .collect())
}

fn taken(applied: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut applied.lock().unwrap_or_else(PoisonError::into_inner))
}
