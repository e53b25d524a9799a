//! Moving a SQLite file to PostgreSQL: everything arrives as it was, once, whatever happens on the way.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::Value;
use tempfile::TempDir;
use ussd_status::store::DatabaseUrl;
use ussd_status::store::backup::backup;
use ussd_status::store::copy::{
    BATCH_ROWS, COPIED, CopyError, CopyOrder, CopyProgress, CopyReport, SKIPPED, copy,
};

use super::migrations::{Tables, postgres_type, schema};
use crate::support::TestStore;
use crate::support::program::Place;

/// Rows of every table, where a test does not need more.
const FEW: usize = 7;

/// Columns of text in which not every text is allowed.
const WORDS: [(&str, &str, &str); 9] = [
    ("partners", "currency", "KES"),
    ("provider_accounts", "provider", "clickpesa"),
    ("provider_accounts", "environment", "production"),
    ("transactions", "provider", "mpesa"),
    ("transactions", "kind", "b2c"),
    ("transactions", "status", "accepted"),
    ("payments", "outcome", "unknown"),
    ("counters", "period", "day"),
    ("deliveries", "state", "dead"),
];

fn tables() -> Tables {
    schema(postgres_type)
}

#[test]
fn every_table_of_the_schema_is_copied_or_left_for_a_reason() {
    let listed: Vec<&str> = COPIED
        .into_iter()
        .chain(SKIPPED.iter().map(|(name, _)| *name))
        .collect();
    for name in tables().keys() {
        let times = listed.iter().filter(|listed| *listed == name).count();
        assert_eq!(times, 1, "{name}: name it in src/store/copy/tables.rs");
    }
    for name in COPIED {
        assert!(tables().contains_key(name), "{name} is no table");
    }
    assert!(SKIPPED.iter().all(|(_, reason)| reason.len() > 10));
}

/// A value that is as odd as its type allows.
fn value(table: &str, column: &str, data_type: &str, row: usize) -> String {
    let word = WORDS
        .iter()
        .find(|(of, name, _)| (*of, *name) == (table, column));
    match data_type {
        "text" => word.map_or_else(
            || format!("'{column} {row} «é» ''q'' \"d\" \\ {{}}\n\t🙂'"),
            |(_, _, word)| format!("'{word}'"),
        ),
        "uuid" => format!("'0199{row:04x}-0000-7000-8000-0000000000ff'"),
        "timestamp with time zone" => match row {
            0 => "0".to_owned(),
            1 => "-86400000001".to_owned(),
            _ => (1_700_000_000_123_456 + row).to_string(),
        },
        "integer" => row.to_string(),
        // More than a double can hold.
        "bigint" if row == 2 => "-9223372036854775807".to_owned(),
        "bigint" => (9_007_199_254_740_993 + row).to_string(),
        "boolean" => (row % 2).to_string(),
        "bytea" => format!("x'00ff{row:04x}22275c'"),
        other => panic!("{other}"),
    }
}

/// A file with rows in every table that is copied; in `large` ones so many.
struct Installation {
    db: TestStore,
    folder: TempDir,
}

impl Installation {
    async fn with(large: &[&str], many: usize) -> Self {
        let db = TestStore::sqlite().await;
        let tables = tables();
        for table in COPIED {
            let columns = &tables[table];
            let count = if large.contains(&table) { many } else { FEW };
            let rows: Vec<String> = (0..count)
                .map(|row| {
                    let values: Vec<String> = columns
                        .iter()
                        .enumerate()
                        .map(|(place, (name, data_type, is_nullable))| {
                            if *is_nullable && (row + place) % 3 == 0 {
                                "NULL".to_owned()
                            } else {
                                value(table, name, data_type, row)
                            }
                        })
                        .collect();
                    format!("({})", values.join(", "))
                })
                .collect();
            let names: Vec<&str> = columns.iter().map(|(name, _, _)| name.as_str()).collect();
            let names = names.join(", ");
            for rows in rows.chunks(500) {
                let rows = rows.join(", ");
                db.execute(&format!("INSERT INTO {table} ({names}) VALUES {rows}"))
                    .await;
            }
        }
        let this = Self {
            db,
            folder: tempfile::tempdir().unwrap(),
        };
        let DatabaseUrl::Sqlite(path) = this.db.url() else {
            panic!("not a file");
        };
        // A file of its own, which nobody has open.
        backup(&path, &this.file()).unwrap();
        this
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("source.db")
    }
}

fn order(from: &Path, to: &TestStore) -> CopyOrder {
    let DatabaseUrl::Postgres(to) = to.url() else {
        panic!("not a server");
    };
    CopyOrder {
        from: from.to_str().unwrap().to_owned(),
        to,
        restart: false,
    }
}

async fn run(from: &Path, to: &TestStore) -> Result<CopyReport, CopyError> {
    copy(&order(from, to), to.now(), &mut |_| {}).await
}

async fn refusal(from: &Path, to: &TestStore) -> String {
    run(from, to).await.unwrap_err().to_string()
}

/// Every row of a table, sorted, each value as text that both databases agree on.
async fn rows(db: &TestStore, table: &str) -> Vec<String> {
    let tables = tables();
    let columns: Vec<String> = tables[table]
        .iter()
        .map(|(name, data_type, _)| match data_type.as_str() {
            "timestamp with time zone" => db.micros(name),
            "boolean" => format!("CASE WHEN {name} THEN 1 ELSE 0 END"),
            "bytea" if db.is_sqlite() => {
                format!("CASE WHEN {name} IS NOT NULL THEN lower(hex({name})) END")
            }
            "bytea" => format!("encode({name}, 'hex')"),
            "bigint" => format!("CAST({name} AS TEXT)"),
            _ => name.clone(),
        })
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut rows: Vec<String> = db
        .rows(&columns, &format!("FROM {table}"))
        .await
        .into_iter()
        .map(|row| Value::from(row).to_string())
        .collect();
    rows.sort();
    rows
}

async fn is_the_same(source: &TestStore, target: &TestStore) {
    for table in COPIED {
        let mut theirs = rows(target, table).await;
        // The one line the copy adds.
        theirs.retain(|row| !row.contains("\"database.copy\""));
        assert_eq!(rows(source, table).await, theirs, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_arrives_as_it_was() {
    let source = Installation::with(&["transactions"], BATCH_ROWS + 5).await;
    let target = TestStore::postgres().await;
    let before = std::fs::read(source.file()).unwrap();
    let mut seen: Vec<CopyProgress> = Vec::new();
    let done = copy(
        &order(&source.file(), &target),
        target.now(),
        &mut |progress| {
            seen.push(progress);
        },
    )
    .await
    .unwrap();
    is_the_same(&source.db, &target).await;
    assert!(!done.resumed && !done.was_finished);
    let nothing = "FROM endpoints WHERE previous_sealed_secret IS NULL";
    let count = source.db.count(nothing).await;
    assert!(count > 0);
    assert_eq!(target.count(nothing).await, count);
    let rows: i64 = done.tables.iter().map(|(_, rows)| rows).sum();
    assert_eq!(rows as usize, (COPIED.len() - 1) * FEW + BATCH_ROWS + 5);
    let last = seen.last().unwrap();
    assert_eq!(
        (last.done, last.of, last.verifies),
        (2 * rows as u64, 2 * rows as u64, true)
    );
    assert!(seen.windows(2).all(|pair| pair[0].done < pair[1].done));
    // Seven numbers, one of them the smallest there is but one.
    let sum: i128 = [0, 1, 3, 4, 5, 6]
        .iter()
        .map(|row| 9_007_199_254_740_993 + row)
        .sum::<i128>()
        - 9_223_372_036_854_775_807;
    let sums = |name: &str| {
        let found = done.sums.iter().find(|(of, _)| of == name);
        found.unwrap().1.clone()
    };
    assert_eq!(sums("counters.amount_minor"), sum.to_string());
    assert_eq!(sums("feed_heads.last_sequence"), sum.to_string());
    let after = std::fs::read(source.file()).unwrap();
    assert!(after == before, "the source was written to");
    let lines = target
        .count("FROM audit_log WHERE action = 'database.copy'")
        .await;
    assert_eq!(lines, 1);
    let again = run(&source.file(), &target).await.unwrap();
    assert!(again.was_finished);
    assert_eq!(again.tables, done.tables);
    is_the_same(&source.db, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_goes_on_and_doubles_nothing() {
    let large = ["transactions", "transaction_events", "deliveries"];
    let source = Installation::with(&large, 3 * BATCH_ROWS).await;
    let target = TestStore::postgres().await;
    let place = Place::new(&target);
    let from = format!("sqlite://{}", source.file().display());
    let arguments = ["copy", "--from", &from, "--json"];
    let progress =
        "SELECT CAST(COALESCE(SUM(copied + verified), 0) AS TEXT) AS line FROM copied_tables";
    let done = async || target.lines(progress).await[0].parse::<usize>().unwrap();
    let mut reached = 0;
    for share in 1..=5 {
        // Batches end where they may: each kill finds another moment of one.
        let goal = share * 2 * BATCH_ROWS;
        let mut command = place.command(&arguments);
        let mut child: Child = command.stderr(Stdio::piped()).spawn().unwrap();
        while done().await < goal {
            if let Some(status) = child.try_wait().unwrap() {
                let said = child.wait_with_output().unwrap().stderr;
                let said = String::from_utf8_lossy(&said);
                panic!("it ended before it was killed: {status}: {said}");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = done().await;
        assert!(now > reached);
        reached = now;
        let refused = place.fails(2, &["partner", "list"], "");
        assert!(refused.contains("unfinished copy"), "{refused}");
    }
    let answer = place.json(&arguments, "");
    assert_eq!(answer["resumed"], true);
    assert_eq!(answer["tables"]["transactions"], 3 * BATCH_ROWS);
    is_the_same(&source.db, &target).await;
    // And now it is an installation like any other.
    assert_eq!(
        place.json(&["partner", "list", "--json"], "")["partners"]
            .as_array()
            .unwrap()
            .len(),
        FEW
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_use_is_refused() {
    let source = Installation::with(&[], 0).await;
    let target = TestStore::postgres().await;
    let DatabaseUrl::Sqlite(open) = source.db.url() else {
        panic!("not a file");
    };
    let refused = refusal(Path::new(&open), &target).await;
    assert!(refused.contains("is in use"), "{refused}");
    let refused = refusal(&source.folder.path().join("none.db"), &target).await;
    assert!(refused.contains("there is no file"), "{refused}");
    // And nobody can begin to use one while it is being copied.
    let path = source.file();
    let mut second = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    copy(&order(&path, &target), target.now(), &mut |_| {
        let refused = second
            .batch_execute("SELECT COUNT(*) FROM partners")
            .unwrap_err();
        assert!(refused.to_string().contains("locked"), "{refused}");
    })
    .await
    .unwrap();
    second
        .batch_execute("SELECT COUNT(*) FROM partners")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_other_data_or_a_service_is_refused() {
    let source = Installation::with(&[], 0).await;
    let target = TestStore::postgres().await;
    target.store.ping().await.unwrap();
    let refused = refusal(&source.file(), &target).await;
    assert!(
        refused.contains("the service has 1 connections"),
        "{refused}"
    );
    let target = TestStore::postgres().await;
    target
        .execute(
            "INSERT INTO partners (id, name, currency, created_at) \
             VALUES ('0199aaaa-0000-7000-8000-0000000000ff', 'x', 'KES', now())",
        )
        .await;
    let refused = refusal(&source.file(), &target).await;
    assert!(refused.contains("holds other data (partners)"), "{refused}");
    let mut restart = order(&source.file(), &target);
    restart.restart = true;
    let refused = copy(&restart, target.now(), &mut |_| {}).await.unwrap_err();
    assert!(
        refused.to_string().contains("holds other data"),
        "{refused}"
    );
    assert_eq!(target.count("FROM partners").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_is_copied_anew_only_when_told() {
    let source = Installation::with(&[], 0).await;
    let target = TestStore::postgres().await;
    run(&source.file(), &target).await.unwrap();
    // One row fewer in the file, as a service would leave it.
    source
        .db
        .execute("DELETE FROM balances WHERE rowid = 1")
        .await;
    std::fs::remove_file(source.file()).unwrap();
    let DatabaseUrl::Sqlite(path) = source.db.url() else {
        panic!("not a file");
    };
    backup(&path, &source.file()).unwrap();
    let mut anew = order(&source.file(), &target);
    anew.restart = true;
    // A finished copy is an installation, and no command empties one.
    let refused = copy(&anew, target.now(), &mut |_| {}).await.unwrap_err();
    assert!(
        refused.to_string().contains("holds other data"),
        "{refused}"
    );
    target
        .execute("UPDATE copied_tables SET finished_at = NULL")
        .await;
    let refused = refusal(&source.file(), &target).await;
    assert!(refused.contains("--restart"), "{refused}");
    let done = copy(&anew, target.now(), &mut |_| {}).await.unwrap();
    assert!(!done.resumed);
    is_the_same(&source.db, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_differs_or_is_one_too_many_is_found() {
    for (harm, complaint) in [
        (
            "UPDATE balances SET current_minor = 5 WHERE name LIKE 'name 4%'",
            "differs there",
        ),
        (
            "DELETE FROM audit_log WHERE actor LIKE 'actor 3%'",
            "is missing in the target",
        ),
        (
            "INSERT INTO feed_heads VALUES ('0199bbbb-0000-7000-8000-0000000000ff', 0)",
            "the totals of the source",
        ),
    ] {
        let source = Installation::with(&[], 0).await;
        let target = TestStore::postgres().await;
        let mut is_harmed = false;
        let failed = copy(
            &order(&source.file(), &target),
            target.now(),
            &mut |progress| {
                if progress.verifies && !is_harmed {
                    is_harmed = true;
                    let harm = target.execute(harm);
                    tokio::task::block_in_place(|| {
                        tokio::runtime::Handle::current().block_on(harm)
                    });
                }
            },
        )
        .await
        .unwrap_err();
        assert!(failed.to_string().contains(complaint), "{failed}");
        assert!(target.store.is_half_copied().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_from_sqlite_to_postgres() {
    let db = TestStore::postgres().await;
    let place = Place::new(&db);
    let DatabaseUrl::Postgres(url) = db.url() else {
        panic!("not a server");
    };
    for (from, to) in [
        (url.as_str(), "sqlite://other.db"),
        ("sqlite://a.db", "sqlite://b.db"),
    ] {
        let refused = place.fails(2, &["copy", "--from", from, "--to", to], "");
        assert!(
            refused.contains("from sqlite://PATH") && !refused.contains(&url),
            "{refused}"
        );
    }
}
