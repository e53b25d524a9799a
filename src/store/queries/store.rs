//! How the store's methods run over this adapter: each is one task on the store's own runtime, so that it commits or rolls
//! back whole, whatever becomes of its caller. The methods themselves stand beside their queries; here are those of
//! [`Store`] itself.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;

use super::{Adapter, Conn, DIALECT, housekeeping, insert_audit};
use crate::domain::clock::Instant;
use crate::store::dialect::Dialect;
use crate::store::rows::{BacklogRow, IdRow, InstantRow};
use crate::store::statement::Statement;
use crate::store::{Audit, Backlog, Retention, Store, StoreError};

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
    async fn record_audit(&self, audit: Audit) -> Result<(), StoreError> {
        let now = self.clock.now();
        on!(self.writer, record_audit(audit, now))
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
    pub(super) async fn execute_and_count(
        &self,
        statements: Vec<Statement>,
    ) -> Result<u64, StoreError> {
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

async fn record_audit(conn: &mut Conn, audit: Audit, now: Instant) -> Result<(), StoreError> {
    insert_audit(conn, audit, now).await?;
    Ok(())
}
