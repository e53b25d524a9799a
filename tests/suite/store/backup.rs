//! A backup is one moment of the file, whatever is being written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ussd_status::domain::ledger::Command;
use ussd_status::store::backup::{BackupError, backup};
use ussd_status::store::{self, DatabaseUrl};

use crate::support::build::registration;
use crate::support::program::Place;
use crate::support::{TestStore, clock_at_start, settings};

fn path(db: &TestStore) -> String {
    match db.url() {
        DatabaseUrl::Sqlite(path) => path,
        DatabaseUrl::Postgres(_) => panic!("not a file"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_payments_are_written_is_whole() {
    let db = TestStore::sqlite().await;
    let partner = db.partner().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (store, stop) = (Arc::clone(&db.store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let command =
                    Command::Register(Box::new(registration(partner, &format!("R{written}"))));
                store.record(command).await.unwrap();
                written += 1;
            }
            written
        })
    };
    let folder = tempfile::tempdir().unwrap();
    for number in 0..5 {
        let to = folder.path().join(format!("{number}.db"));
        let (from, into) = (path(&db), to.clone());
        let made = tokio::task::spawn_blocking(move || backup(&from, &into))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(made.bytes, std::fs::metadata(&to).unwrap().len());
        is_one_moment(&to, &made.tables).await;
    }
    stop.store(true, Ordering::Relaxed);
    let written: i64 = writing.await.unwrap();
    assert_eq!(db.count("FROM transactions").await, written);
    let left = std::fs::read_dir(folder.path()).unwrap().flatten();
    let left: Vec<String> = left
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".ussd-status"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is kept twice agrees, and the report is the file's own.
async fn is_one_moment(file: &Path, tables: &[(String, i64)]) {
    let url = DatabaseUrl::Sqlite(file.to_str().unwrap().to_owned());
    let copy = store::open(settings(url), clock_at_start()).await.unwrap();
    assert!(copy.list_pending_migrations().await.unwrap().is_empty());
    let partner = copy.list_partners().await.unwrap()[0].id;
    let count = |name: &str| tables.iter().find(|(table, _)| table == name).unwrap().1;
    let heads = copy.list_feed_heads(vec![partner]).await.unwrap();
    assert_eq!(heads[0].1, count("transaction_events"));
    assert_eq!(heads[0].1, count("transactions"));
    let events = copy.list_events(partner, 0, i64::MAX >> 1).await.unwrap();
    assert_eq!(events.events.len() as i64, count("transactions"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten_and_nothing_half_made_is_left() {
    let db = TestStore::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let refused = backup(&path(&db), &taken).unwrap_err();
    assert!(matches!(refused, BackupError::Exists(_)));
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    // No database at all.
    let other = folder.path().join("other");
    assert!(backup(taken.to_str().unwrap(), &other).is_err());
    assert!(backup(&path(&db), &folder.path().join("no/such/folder")).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_copies_beside_a_running_service() {
    let db = TestStore::sqlite().await;
    let place = Place::new(&db);
    place.json(&["partner", "create", "--name", "Kilimo", "--json"], "");
    let _service = place.serve();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let to = to.to_str().unwrap();
    let made = place.json(&["backup", to, "--json"], "");
    assert_eq!(
        (&made["tables"]["partners"], &made["done"]),
        (&1.into(), &true.into())
    );
    let refused = place.fails(2, &["backup", to], "");
    assert!(refused.contains("is there already"), "{refused}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(to).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_has_tools_of_its_own() {
    let db = TestStore::postgres().await;
    let refused = Place::new(&db).fails(2, &["backup", "copy.db"], "");
    assert!(refused.contains("pg_dump"), "{refused}");
}
