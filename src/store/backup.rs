//! A copy of the SQLite file while the service writes to it: SQLite makes it of one snapshot, and it is then examined
//! and its rows are counted against the same snapshot before it gets its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::rows::LineRow;
use super::statement::Statement;

/// How a backup is opened: the service's writer may hold the lock for a moment.
const SET_UP: &str = "PRAGMA busy_timeout = 10000;";
/// How often is looked whether SQLite has begun.
const LOOK: Duration = Duration::from_millis(2);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name is taken.
    #[error("{0} is there already; a path where nothing is yet is accepted")]
    Exists(PathBuf),
    /// The folder cannot be written to.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// SQLite refused.
    #[error("SQLite: {0}")]
    Sqlite(String),
    /// The copy is not what was copied.
    #[error("the backup is not sound and was thrown away: {0}")]
    Unsound(String),
}

impl From<diesel::result::Error> for BackupError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Sqlite(error.to_string())
    }
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Bytes of the file.
    pub bytes: u64,
    /// Rows of every table.
    pub tables: Vec<(String, i64)>,
}

/// Copies the file at `from` to `to`, which only its owner may read: it holds sealed secrets and phone numbers.
///
/// # Errors
/// See [`BackupError`]; then there is no file at `to`.
pub fn backup(from: &str, to: &Path) -> Result<Backup, BackupError> {
    let failed = |error| BackupError::Io(to.to_owned(), error);
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // The empty file is what SQLite writes into; it goes away unless it gets its name.
    let made = tempfile::Builder::new()
        .prefix(".ussd-status-backup-")
        .tempfile_in(folder)
        .map_err(failed)?;
    let counted = snapshot(from, made.path())?;
    let tables = examine(made.path())?;
    if tables != counted {
        return Err(BackupError::Unsound(format!(
            "the rows are {tables:?}, they were {counted:?}"
        )));
    }
    let file = made.as_file();
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    made.persist_noclobber(to).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Exists(to.to_owned())
        } else {
            failed(error.error)
        }
    })?;
    // The name too must outlive a power cut.
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(Backup { bytes, tables })
}

/// Has SQLite write the copy, and counts the rows of the very same snapshot: both reads begin while this holds the
/// writer's lock, which is let go as soon as the copy has begun.
fn snapshot(from: &str, to: &Path) -> Result<Vec<(String, i64)>, BackupError> {
    let mut lock = open(from)?;
    let mut reader = open(from)?;
    lock.batch_execute("BEGIN IMMEDIATE")?;
    reader.batch_execute("BEGIN")?;
    let names = tables(&mut reader)?;
    let (done, outcome) = channel();
    std::thread::scope(|scope| {
        let copying = scope.spawn(move || {
            let copied = open(from).and_then(|mut conn| {
                let path = to.to_string_lossy().into_owned();
                Ok(Statement::new("VACUUM INTO $1")
                    .text(path)
                    .execute(&mut conn)?)
            });
            let _ = done.send(());
            copied
        });
        wait_until_begun(&outcome, to);
        lock.batch_execute("ROLLBACK")?;
        let counted = names
            .into_iter()
            .map(|name| count(&mut reader, name))
            .collect::<Result<_, _>>();
        match copying.join() {
            Ok(copied) => copied.and(counted),
            Err(_) => Err(BackupError::Sqlite("the copy broke off".to_owned())),
        }
    })
}

/// SQLite reads the original's snapshot before it writes the first byte of the copy.
fn wait_until_begun(outcome: &Receiver<()>, to: &Path) {
    while std::fs::metadata(to).is_ok_and(|file| file.len() == 0) {
        if !matches!(outcome.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// Whether the copy is sound, by SQLite's own examination; the rows of every table.
fn examine(path: &Path) -> Result<Vec<(String, i64)>, BackupError> {
    let mut conn = open(&path.to_string_lossy())?;
    for (check, sound) in [("integrity_check", "ok"), ("foreign_key_check", "")] {
        let column = if sound.is_empty() { "\"table\"" } else { check };
        let sql = format!("SELECT {column} AS line FROM pragma_{check}");
        let found: Vec<LineRow> = Statement::new(sql).load(&mut conn)?;
        let problems: Vec<&str> = found
            .iter()
            .map(|row| row.line.as_str())
            .filter(|line| *line != sound)
            .collect();
        if !problems.is_empty() {
            return Err(BackupError::Unsound(format!(
                "{check}: {}",
                problems.join("; ")
            )));
        }
    }
    let names = tables(&mut conn)?;
    names
        .into_iter()
        .map(|name| count(&mut conn, name))
        .collect()
}

fn open(path: &str) -> Result<SqliteConnection, BackupError> {
    let mut conn = SqliteConnection::establish(path)
        .map_err(|error| BackupError::Sqlite(error.to_string()))?;
    conn.batch_execute(SET_UP)?;
    Ok(conn)
}

fn tables(conn: &mut SqliteConnection) -> Result<Vec<String>, BackupError> {
    let names: Vec<LineRow> = Statement::new(
        "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .load(conn)?;
    Ok(names.into_iter().map(|row| row.line).collect())
}

fn count(conn: &mut SqliteConnection, table: String) -> Result<(String, i64), BackupError> {
    let sql = format!("SELECT CAST(COUNT(*) AS TEXT) AS line FROM \"{table}\"");
    let rows: Vec<LineRow> = Statement::new(sql).load(conn)?;
    let count = rows.first().and_then(|row| row.line.parse().ok());
    Ok((table, count.unwrap_or_default()))
}
