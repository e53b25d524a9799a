//! The database. What the house may ask of it are the traits of `seam`; no transaction crosses it. Two adapters (SQLite,
//! PostgreSQL) share every query.

pub mod backup;
mod batcher;
pub mod columns;
pub mod copy;
mod dialect;
mod error;
mod ledger;
mod news_codec;
mod notice_codec;
mod page;
mod postgres;
mod postgres_connect;
mod provider_list_sql;
mod replica;
mod rows;
pub mod schema;
mod seam;
mod search_sql;
mod settings;
mod sqlite;
mod sqlite_threads;
mod statement;
mod story_sql;

pub use error::StoreError;
pub use ledger::write::{HOUR_COUNTER_SPAN, MINUTE_COUNT_SPAN};
pub use seam::*;
pub use settings::{CONNECT_TIMEOUT, DatabaseLimits, DatabaseUrl, ReplicaSettings, StoreSettings};

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Clock;

/// Commands that may wait for a writer; one more is answered with [`StoreError::Unavailable`].
pub const QUEUE_CAPACITY: usize = 4_096;
/// Commands that share one commit at most.
pub const BATCH_MAX: usize = 200;
/// How long an instance counts as living after it last said so.
pub const LIVE_FOR: Duration = Duration::from_secs(10);
/// Rows that one step of housekeeping removes at most, so that nobody waits behind it.
pub const HOUSEKEEPING_BATCH: i64 = 500;

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
