//! What the tests share: a database each, a clock that stands still, and words to make partners and payments with.

pub mod app;
pub mod browser;
pub mod build;
pub mod gate;
pub mod openapi;
pub mod paying;
pub mod postgres;
pub mod program;
pub mod recount;
pub mod system;
pub mod tls;
pub mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::Value;
use tempfile::TempDir;
use ussd_status::domain::clock::{Clock, Instant, ManualClock};
use ussd_status::store::{self, DatabaseLimits, DatabaseUrl, Store, StoreSettings};

/// Makes of each `async fn name(db: TestStore)` two tests, `sqlite::name` and `postgres::name`. Once a file.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name($crate::support::TestStore::sqlite().await).await; }
        )+ }
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name($crate::support::TestStore::postgres().await).await; }
        )+ }
    };
}

/// Where every test's clock starts: an odd instant, so that no hour or day boundary hides a mistake.
pub fn start() -> Instant {
    "2026-03-14T15:09:26.535Z".parse().unwrap()
}

/// A clock that stands at [`start`].
pub fn clock_at_start() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(start()))
}

/// Settings a test can live with.
pub fn settings(url: DatabaseUrl) -> StoreSettings {
    StoreSettings {
        url,
        pool_size: 4,
        limits: DatabaseLimits::of(Duration::from_secs(60)),
        replica: None,
        reconcile_after: chrono::Duration::seconds(60),
    }
}

enum Database {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

/// A store on a database of its own.
pub struct TestStore {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    database: Database,
}

impl TestStore {
    /// On a SQLite file.
    pub async fn sqlite() -> Self {
        let db = Self::sqlite_unmigrated().await;
        db.store.migrate().await.unwrap();
        db
    }

    /// On a SQLite file in a folder of its own within `folder`.
    pub async fn sqlite_in(folder: &Path) -> Self {
        let db = Self::on(Database::Sqlite(tempfile::tempdir_in(folder).unwrap())).await;
        db.store.migrate().await.unwrap();
        db
    }

    /// On a PostgreSQL database.
    pub async fn postgres() -> Self {
        Self::on(Database::Postgres(postgres::Database::migrated().await)).await
    }

    /// On an empty SQLite file.
    pub async fn sqlite_unmigrated() -> Self {
        Self::on(Database::Sqlite(tempfile::tempdir().unwrap())).await
    }

    /// On an empty PostgreSQL database.
    pub async fn postgres_unmigrated() -> Self {
        Self::on(Database::Postgres(postgres::Database::empty().await)).await
    }

    async fn on(database: Database) -> Self {
        let clock = clock_at_start();
        let store = store::open(settings(url(&database)), clock.clone())
            .await
            .unwrap();
        Self {
            store,
            clock,
            database,
        }
    }

    /// The database's URL, as the program takes it.
    pub fn url(&self) -> DatabaseUrl {
        url(&self.database)
    }

    /// Whether this is the SQLite one.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.database, Database::Sqlite(_))
    }

    /// Another store on the same database, as a second process would open it.
    pub async fn another_store(&self) -> Arc<dyn Store> {
        store::open(settings(self.url()), self.clock.clone())
            .await
            .unwrap()
    }

    /// The clock's now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Moves the clock on.
    pub fn advance(&self, by: chrono::Duration) {
        self.clock.advance(by);
    }

    fn sqlite_connection(&self) -> Option<SqliteConnection> {
        let DatabaseUrl::Sqlite(path) = self.url() else {
            return None;
        };
        let mut conn = SqliteConnection::establish(&path).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        Some(conn)
    }

    /// A connection to the PostgreSQL database for a test's own purposes.
    pub async fn postgres_client(&self) -> tokio_postgres::Client {
        let Database::Postgres(database) = &self.database else {
            panic!("this is SQLite");
        };
        database.client().await
    }

    /// Runs SQL behind the store's back.
    pub async fn execute(&self, sql: &str) {
        match &self.database {
            Database::Sqlite(_) => self
                .sqlite_connection()
                .unwrap()
                .batch_execute(sql)
                .unwrap(),
            Database::Postgres(database) => {
                database.client().await.batch_execute(sql).await.unwrap();
            }
        }
    }

    /// Reads `columns` of what follows (`FROM … WHERE … ORDER BY …`) behind the store's back, a JSON value each.
    pub async fn rows(&self, columns: &[&str], from: &str) -> Vec<Vec<Value>> {
        let columns = columns.join(", ");
        let lines = match &self.database {
            Database::Sqlite(_) => {
                self.lines(&format!("SELECT json_array({columns}) AS line {from}"))
                    .await
            }
            Database::Postgres(_) => {
                self.lines(&format!(
                    "SELECT json_build_array({columns})::text AS line {from}"
                ))
                .await
            }
        };
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Reads the only column of a query, which must be named `line` and be text.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Line {
            #[diesel(sql_type = diesel::sql_types::Text)]
            line: String,
        }
        match &self.database {
            Database::Sqlite(_) => diesel::sql_query(sql)
                .load::<Line>(&mut self.sqlite_connection().unwrap())
                .unwrap()
                .into_iter()
                .map(|row| row.line)
                .collect(),
            Database::Postgres(database) => database
                .client()
                .await
                .query(sql, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect(),
        }
    }

    /// Counts the rows of what follows (`FROM …`).
    pub async fn count(&self, from: &str) -> i64 {
        self.rows(&["COUNT(*)"], from).await[0][0].as_i64().unwrap()
    }

    /// An instant's column as whole microseconds on both databases.
    pub fn micros(&self, column: &str) -> String {
        if self.is_sqlite() {
            column.to_owned()
        } else {
            format!("CAST(extract(epoch FROM {column}) * 1000000 AS BIGINT)")
        }
    }

    /// The plan PostgreSQL chooses by itself for a statement without placeholders, one line a step.
    pub async fn explain(&self, sql: &str) -> Vec<String> {
        let Database::Postgres(database) = &self.database else {
            panic!("SQLite's plans do not depend on values");
        };
        let client = database.client().await;
        let rows = client.query(&format!("EXPLAIN {sql}"), &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The plan of a statement with its placeholders, one line a step. PostgreSQL is told that the tables are large
    /// and to avoid walking them, so that what it still walks has no index.
    pub async fn plan(&self, sql: &str) -> Vec<String> {
        match &self.database {
            Database::Sqlite(_) => {
                #[derive(QueryableByName)]
                struct Step {
                    #[diesel(sql_type = diesel::sql_types::Text)]
                    detail: String,
                }
                diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
                    .load::<Step>(&mut self.sqlite_connection().unwrap())
                    .unwrap()
                    .into_iter()
                    .map(|step| step.detail)
                    .collect()
            }
            Database::Postgres(database) => {
                let client = database.client().await;
                let prepare = format!(
                    "BEGIN; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; \
                     UPDATE pg_class SET reltuples = 10000000, relpages = 1 \
                     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i'); \
                     PREPARE p AS {sql}"
                );
                client.batch_execute(&prepare).await.unwrap();
                let count = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'p'";
                let count: i32 = client.query_one(count, &[]).await.unwrap().get(0);
                let nulls = vec!["NULL"; usize::try_from(count).unwrap()].join(", ");
                let arguments = if count > 0 {
                    format!("({nulls})")
                } else {
                    nulls
                };
                let rows = client
                    .simple_query(&format!("EXPLAIN EXECUTE p{arguments}"))
                    .await
                    .unwrap();
                rows.iter()
                    .filter_map(|row| match row {
                        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                        _ => None,
                    })
                    .map(str::to_owned)
                    .collect()
            }
        }
    }
}

fn url(database: &Database) -> DatabaseUrl {
    match database {
        Database::Sqlite(folder) => {
            DatabaseUrl::Sqlite(folder.path().join("test.db").to_str().unwrap().to_owned())
        }
        Database::Postgres(database) => DatabaseUrl::Postgres(database.url.clone()),
    }
}

/// The migrations of a database: folder and file, text; in order.
pub fn migration_files(database: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(database);
    let mut files = Vec::new();
    for folder in std::fs::read_dir(&root).unwrap().flatten() {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            if file.path().extension().is_none_or(|ending| ending != "sql") {
                continue;
            }
            let name = file.path().strip_prefix(&root).unwrap().to_owned();
            files.push((
                name.to_str().unwrap().to_owned(),
                std::fs::read_to_string(file.path()).unwrap(),
            ));
        }
    }
    files.sort();
    files
}
