//! Migrations of a database that is at work: nobody waits for an index that is being built, and none stays half built.

use tokio_postgres::Client;
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;

use crate::support::TestStore;
use crate::support::build::{registration_with, stk};

const CUSTOMER: &str = "transactions_by_customer";
const CALLBACKS: &str = "callbacks_of_transaction";

/// As before the migrations that build these.
async fn take_away(db: &TestStore, migrations: &[(&str, &str)]) {
    for (version, index) in migrations {
        db.execute(&format!(
            "DROP INDEX {index}; DELETE FROM __diesel_schema_migrations WHERE version = '{version}'"
        ))
        .await;
    }
}

/// A transaction that is open: whoever builds an index CONCURRENTLY waits for it in the end.
async fn long_reader(db: &TestStore) -> Client {
    let reader = db.postgres_client().await;
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM partners")
        .await
        .unwrap();
    reader
}

async fn is_waiting(db: &TestStore) -> bool {
    let waiting = "FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting for old snapshots'";
    db.count(waiting).await == 1
}

async fn until_it_waits(db: &TestStore) {
    while !is_waiting(db).await {
        tokio::task::yield_now().await;
    }
}

async fn is_valid(db: &TestStore, index: &str) -> bool {
    let valid = format!(
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = '{index}' AND i.indisvalid"
    );
    db.count(&valid).await == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_while_an_index_is_built_and_others_wait_to_migrate() {
    let db = TestStore::postgres().await;
    let partner = db.partner().await;
    take_away(&db, &[("0014", CUSTOMER), ("0018", CALLBACKS)]).await;
    let reader = long_reader(&db).await;
    let migrators: Vec<_> = [
        db.another_store().await,
        db.another_store().await,
        db.another_store().await,
    ]
    .into_iter()
    .map(|store| tokio::spawn(async move { store.migrate().await }))
    .collect();
    until_it_waits(&db).await;

    let payment = db.register(registration_with(partner, "R", "C")).await;
    db.receive(stk(partner, "C", ResultClass::Success, db.now()))
        .await;
    assert_eq!(db.find(&payment).await.0.status, Status::Success);
    // Of what the build holds no writer has to wait for anything.
    let in_the_way = "FROM pg_locks WHERE granted AND relation = 'transactions'::regclass \
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                      AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";
    assert_eq!(db.count(in_the_way).await, 0);
    assert!(is_waiting(&db).await, "the writes were made meanwhile");
    assert!(!is_valid(&db, CUSTOMER).await);

    reader.batch_execute("COMMIT").await.unwrap();
    let mut done = Vec::new();
    for migrator in migrators {
        done.extend(migrator.await.unwrap().unwrap());
    }
    assert_eq!(
        done,
        [
            "0014_transactions_by_customer",
            "0018_callbacks_of_transaction"
        ]
    );
    assert!(is_valid(&db, CUSTOMER).await && is_valid(&db, CALLBACKS).await);
}

/// Begins to build the index as a migration would, and ends the session that does.
async fn break_off(db: &TestStore, sql: &'static str) {
    let reader = long_reader(db).await;
    let builder = db.postgres_client().await;
    let build = tokio::spawn(async move { builder.batch_execute(sql).await });
    until_it_waits(db).await;
    db.lines("SELECT pg_terminate_backend(pid)::text FROM pg_stat_progress_create_index WHERE datname = current_database()")
        .await;
    build.await.unwrap().unwrap_err();
    reader.batch_execute("COMMIT").await.unwrap();
}

const BUILD: &str = "CREATE INDEX CONCURRENTLY transactions_by_customer ON transactions \
                     (partner_id, customer_id, created_at DESC, id DESC) WHERE customer_id IS NOT NULL";

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_build_was_broken_off_is_built_by_the_next_migration() {
    let db = TestStore::postgres().await;
    take_away(&db, &[("0014", CUSTOMER)]).await;
    break_off(&db, BUILD).await;
    assert!(!is_valid(&db, CUSTOMER).await);
    let done = db.store.migrate().await.unwrap();
    assert_eq!(done, ["0014_transactions_by_customer"]);
    assert!(is_valid(&db, CUSTOMER).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_mended_also_when_its_migration_is_on_record_and_when_mending_was_broken_off() {
    let db = TestStore::postgres().await;
    db.execute("DROP INDEX transactions_by_customer").await;
    break_off(&db, BUILD).await;
    break_off(&db, "REINDEX INDEX CONCURRENTLY transactions_by_customer").await;
    let left = "FROM pg_class WHERE relname LIKE 'transactions_by_customer%'";
    assert_eq!(db.count(left).await, 2);
    assert!(db.store.migrate().await.unwrap().is_empty());
    assert!(is_valid(&db, CUSTOMER).await);
    assert_eq!(db.count(left).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_has_an_index_already_passes_over_it() {
    let db = TestStore::postgres().await;
    db.execute("DELETE FROM __diesel_schema_migrations WHERE version BETWEEN '0014' AND '0023'")
        .await;
    let done = db.store.migrate().await.unwrap();
    assert_eq!(
        (done.len(), done.first().map(String::as_str)),
        (10, Some("0014_transactions_by_customer"))
    );
    assert!(db.store.migrate().await.unwrap().is_empty());
}
