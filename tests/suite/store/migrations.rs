//! The two migration folders and `schema.rs` say the same.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{TestStore, migration_files};

#[test]
fn both_folders_have_the_same_migrations() {
    let names = |database| -> Vec<String> {
        migration_files(database)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    let sqlite = names("sqlite");
    assert!(sqlite.len() >= 2 && sqlite.len().is_multiple_of(2));
    assert_eq!(sqlite, names("postgres"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_what_the_schema_says() {
    let db = TestStore::sqlite().await;
    assert_eq!(columns(&db).await, schema(sqlite_type));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_what_the_schema_says() {
    let db = TestStore::postgres().await;
    assert_eq!(columns(&db).await, schema(postgres_type));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_goes_down_and_up_again() {
    down_and_up(TestStore::sqlite_unmigrated().await, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_down_and_up_again() {
    down_and_up(TestStore::postgres_unmigrated().await, "postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_start_together_on_sqlite_one_migrates() {
    for _ in 0..5 {
        one_migrates(TestStore::sqlite_unmigrated().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_start_together_on_postgres_one_migrates() {
    one_migrates(TestStore::postgres_unmigrated().await).await;
}

async fn one_migrates(db: TestStore) {
    let (one, two) = (db.another_store().await, db.another_store().await);
    let done = tokio::join!(db.store.migrate(), one.migrate(), two.migrate());
    let done: usize = [done.0, done.1, done.2]
        .into_iter()
        .map(|done| done.unwrap().len())
        .sum();
    assert_eq!(done, migration_files("sqlite").len() / 2);
    db.partner().await;
}

async fn down_and_up(db: TestStore, database: &str) {
    let files = migration_files(database);
    let pending = db.store.list_pending_migrations().await.unwrap();
    assert_eq!(pending.len(), files.len() / 2);
    assert_eq!(db.store.migrate().await.unwrap().len(), pending.len());
    let up = columns(&db).await;
    assert!(db.store.migrate().await.unwrap().is_empty());
    for (name, text) in files.iter().rev() {
        if name.ends_with("down.sql") {
            db.execute(text).await;
        }
    }
    assert!(columns(&db).await.is_empty());
    db.execute("DELETE FROM __diesel_schema_migrations").await;
    assert_eq!(db.store.migrate().await.unwrap().len(), pending.len());
    assert_eq!(columns(&db).await, up);
    db.partner().await;
}

/// Every table's columns in order: name, type, whether it may be null.
pub type Tables = BTreeMap<String, Vec<(String, String, bool)>>;

async fn columns(db: &TestStore) -> Tables {
    let rows = if db.is_sqlite() {
        // A primary key of SQLite may be null by its book, but not by ours.
        db.rows(
            &["m.name", "c.name", "lower(c.type)", "c.\"notnull\" = 0 AND c.pk = 0"],
            "FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' \
             ORDER BY m.name, c.cid",
        )
        .await
    } else {
        db.rows(
            &["table_name", "column_name", "data_type", "CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END"],
            "FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' \
             ORDER BY table_name, ordinal_position",
        )
        .await
    };
    let mut tables = Tables::new();
    for row in rows {
        let text = |place: usize| row[place].as_str().unwrap().to_owned();
        let nullable = row[3].as_i64() == Some(1);
        tables
            .entry(text(0))
            .or_default()
            .push((text(1), text(2), nullable));
    }
    tables
}

/// `schema.rs`, read as text: what a table macro holds is not to be had at run time.
pub fn schema(type_name: fn(&str) -> &'static str) -> Tables {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let mut tables = Tables::new();
    let mut table = None;
    for line in text.lines().map(str::trim) {
        if let Some((name, kind)) = line.trim_end_matches(',').split_once(" -> ") {
            let inner = kind
                .strip_prefix("Nullable<")
                .and_then(|rest| rest.strip_suffix('>'));
            tables.entry(table.clone().unwrap()).or_default().push((
                name.to_owned(),
                type_name(inner.unwrap_or(kind)).to_owned(),
                inner.is_some(),
            ));
        } else if let Some((name, "{")) = line
            .split_once(" (")
            .map(|(name, rest)| (name, rest.rsplit(' ').next().unwrap()))
        {
            table = Some(name.to_owned());
        }
    }
    tables
}

fn sqlite_type(name: &str) -> &'static str {
    match name {
        "IdSql" | "Text" => "text",
        "InstantSql" | "Integer" => "integer",
        "BigInt" => "bigint",
        "Bool" => "boolean",
        "Binary" => "blob",
        other => panic!("{other}"),
    }
}

pub fn postgres_type(name: &str) -> &'static str {
    match name {
        "IdSql" => "uuid",
        "Text" => "text",
        "InstantSql" => "timestamp with time zone",
        "Integer" => "integer",
        "BigInt" => "bigint",
        "Bool" => "boolean",
        "Binary" => "bytea",
        other => panic!("{other}"),
    }
}

/// Tables that may hold so many rows that nobody can wait while an index is built on them.
const BIG: [&str; 8] = [
    "transactions",
    "transaction_events",
    "routes",
    "payments",
    "callbacks",
    "deliveries",
    "delivery_attempts",
    "audit_log",
];

/// The statements of a migration, without its comments.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    lines
        .join(" ")
        .split(';')
        .map(|sql| sql.trim().to_owned())
        .filter(|sql| !sql.is_empty())
        .collect()
}

#[test]
fn an_index_on_a_big_table_is_built_while_others_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut built = 0;
    for (name, text) in migration_files("postgres") {
        if !name.ends_with("up.sql") || name.starts_with("0001") {
            continue;
        }
        let (folder, _) = name.split_once('/').unwrap();
        let statements = statements(&text);
        let metadata = std::fs::read_to_string(root.join(folder).join("metadata.toml"));
        let is_outside = metadata.is_ok_and(|text| text.contains("run_in_transaction = false"));
        for sql in &statements {
            let on_big = BIG
                .iter()
                .any(|table| sql.contains(&format!(" ON {table} ")));
            let is_index =
                sql.starts_with("CREATE INDEX") || sql.starts_with("CREATE UNIQUE INDEX");
            if !(is_index && on_big) {
                continue;
            }
            // The index is found by its migration's name when its build was broken off.
            let (_, index) = folder.split_once('_').unwrap();
            let words = format!("INDEX CONCURRENTLY IF NOT EXISTS {index} ON ");
            assert!(sql.contains(&words), "{name}: {sql}");
            assert!(is_outside, "{name}: it runs in a transaction");
            built += 1;
        }
        assert!(
            !is_outside || statements.len() == 1,
            "{name}: several statements are one transaction"
        );
    }
    assert!(built >= 9, "{built}");
}

/// Migrations run while other instances work: each says in its comment whether that is safe, and for whom it is not.
#[test]
fn every_migration_says_whether_instances_may_run_meanwhile() {
    for (name, text) in migration_files("postgres") {
        if name.ends_with("up.sql") {
            let comment: Vec<&str> = text.lines().filter(|line| line.starts_with("--")).collect();
            let comment = comment.join(" ").to_lowercase().replace("-- ", "");
            assert!(
                [
                    "safe while instances run",
                    "online-safe",
                    "wait while",
                    "waits while"
                ]
                .iter()
                .any(|words| comment.contains(words)),
                "{name}: is it safe while instances run?"
            );
        }
    }
}
