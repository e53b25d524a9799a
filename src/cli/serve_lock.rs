//! One `serve` a SQLite file. A second one would take the first one's leases for those of a process that died and send what
//! the first is sending, count quotas for itself, and wake nobody who waits at the first.

use std::fs::{File, OpenOptions, TryLockError};

use super::CliError;
use crate::store::DatabaseUrl;

/// What the lock's file is called, after the database's name. It is left behind: who took it away could let two in.
const SUFFIX: &str = "-serve";

/// Holds the file's place until it is dropped, or the process ends in whatever way; `None` beside a server.
///
/// # Errors
/// If another process holds it.
pub fn take(url: &DatabaseUrl) -> Result<Option<File>, CliError> {
    let DatabaseUrl::Sqlite(path) = url else {
        return Ok(None);
    };
    let failed = |error: std::io::Error| CliError::Failed(format!("{path}{SUFFIX}: {error}"));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(format!("{path}{SUFFIX}"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(CliError::Failed(format!(
            "another serve works on {path}: a SQLite file has one; several share a PostgreSQL (docs/growing.md)"
        ))),
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            tracing::warn!(%path, "no file is locked here: see to it that no second serve works on it");
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db").display().to_string();
        let url = DatabaseUrl::Sqlite(path.clone());
        let first = take(&url).unwrap();
        let refused = take(&url).unwrap_err().to_string();
        assert!(refused.contains(&path), "{refused}");
        let other = DatabaseUrl::Sqlite(format!("{path}2"));
        assert!(take(&other).unwrap().is_some());
        drop(first);
        assert!(take(&url).unwrap().is_some());
        let server = DatabaseUrl::Postgres("postgres://localhost/a".to_owned());
        assert!(take(&server).unwrap().is_none());
    }
}
