//! The file that is copied from. It is opened so that nobody else has it open, before and meanwhile: a service that
//! runs on it, or is started on it, is found out by SQLite's own lock.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::MigrationHarness;
use serde_json::Value;

use super::super::dialect::Dialect;
use super::super::rows::LineRow;
use super::super::sqlite::MIGRATIONS;
use super::super::statement::Statement;
use super::shape::Shape;
use super::{BATCH_BYTES, BATCH_ROWS, COPIED, CopyError, SKIPPED, line};

/// Of a file with a log beside it, as the service keeps it, no memory is shared then: it cannot be had while another
/// connection is open, and no other can be opened.
const ALONE: &str = "PRAGMA busy_timeout = 500; PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA cache_size = -64000; BEGIN EXCLUSIVE; COMMIT";

pub struct Source {
    conn: SqliteConnection,
    path: String,
    stamp: String,
}

impl Source {
    /// Takes the file for this process alone and runs pending migrations on it.
    pub fn open(path: &str) -> Result<Self, CopyError> {
        if !Path::new(path).is_file() {
            return Err(CopyError::Refused(format!("there is no file {path}")));
        }
        let mut conn = SqliteConnection::establish(path)
            .map_err(|error| CopyError::Refused(format!("{path}: {error}")))?;
        conn.batch_execute(ALONE)
            .map_err(|error| in_use(path, &error))?;
        conn.run_pending_migrations(MIGRATIONS)
            .map_err(|error| CopyError::Refused(format!("{path}: {error}")))?;
        // What is still in the log beside the file goes into it, so that the file alone tells whether it changed.
        conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
            .map_err(failed)?;
        let mut source = Self {
            conn,
            path: path.to_owned(),
            stamp: String::new(),
        };
        source.stamp = source.read_stamp()?;
        source.refuse_half_a_copy()?;
        Ok(source)
    }

    /// Changes with whatever is written to the file.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    fn read_stamp(&self) -> Result<String, CopyError> {
        let file = std::fs::metadata(&self.path)
            .map_err(|error| CopyError::Refused(format!("{}: {error}", self.path)))?;
        Ok(format!(
            "{} bytes, written at {}.{:09}",
            file.len(),
            file.mtime(),
            file.mtime_nsec()
        ))
    }

    fn refuse_half_a_copy(&mut self) -> Result<(), CopyError> {
        let unfinished = self.lines(Statement::new(
            "SELECT json_array(name) AS line FROM copied_tables WHERE finished_at IS NULL LIMIT 1",
        ))?;
        if unfinished.is_empty() {
            return Ok(());
        }
        Err(CopyError::Refused(format!(
            "{} is itself an unfinished copy",
            self.path
        )))
    }

    /// Refuses a file whose tables are not those of the target.
    pub fn check_shapes(&mut self, shapes: &[Shape]) -> Result<(), CopyError> {
        let tables = self.lines(Statement::new(
            "SELECT json_array(name) AS line FROM sqlite_master WHERE type = 'table' \
             AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\'",
        ))?;
        for table in tables.iter().flatten().filter_map(Value::as_str) {
            if !COPIED.contains(&table) && !SKIPPED.iter().any(|(name, _)| *name == table) {
                return Err(CopyError::Refused(format!(
                    "{}: this program does not know the table {table}",
                    self.path
                )));
            }
        }
        for shape in shapes {
            let statement = "SELECT json_array(name) AS line FROM pragma_table_info($1)";
            let found = self.lines(Statement::new(statement).text(shape.name))?;
            let mut found: Vec<&str> = found.iter().flatten().filter_map(Value::as_str).collect();
            let mut wanted: Vec<&str> = shape
                .columns
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            found.sort_unstable();
            wanted.sort_unstable();
            if found != wanted {
                return Err(CopyError::Refused(format!(
                    "{}: the columns of {} are {found:?}; the target's are {wanted:?}",
                    self.path, shape.name
                )));
            }
        }
        Ok(())
    }

    /// How many rows a table has.
    pub fn count(&mut self, shape: &Shape) -> Result<i64, CopyError> {
        let sql = format!("SELECT json_array(COUNT(*)) AS line FROM {}", shape.name);
        let lines = self.lines(Statement::new(sql))?;
        let count = lines.first().and_then(|line| line.first());
        Ok(count.and_then(Value::as_i64).unwrap_or_default())
    }

    /// The next rows in the order of the key, as few as the limits of a batch ask for.
    pub fn batch(
        &mut self,
        shape: &Shape,
        after: Option<&[Value]>,
    ) -> Result<Vec<Vec<Value>>, CopyError> {
        let statement = shape.select(after, BATCH_ROWS)?;
        let rows = statement
            .load_iter::<LineRow, diesel::connection::DefaultLoadingMode>(&mut self.conn)
            .map_err(failed)?;
        let mut bytes = 0;
        let mut lines = Vec::new();
        for row in rows {
            let text = row.map_err(failed)?.line;
            bytes += text.len();
            lines.push(line(&text)?);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(lines)
    }

    /// How many rows, and the sums.
    pub fn totals(&mut self, shape: &Shape) -> Result<Vec<Value>, CopyError> {
        let lines = self.lines(shape.sum(Dialect::Sqlite))?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    fn lines(&mut self, statement: Statement) -> Result<Vec<Vec<Value>>, CopyError> {
        let rows: Vec<LineRow> = statement.load(&mut self.conn).map_err(failed)?;
        rows.iter().map(|row| line(&row.line)).collect()
    }
}

fn failed(error: diesel::result::Error) -> CopyError {
    CopyError::Store("the source", error.into())
}

fn in_use(path: &str, error: &diesel::result::Error) -> CopyError {
    CopyError::Refused(format!(
        "{path} is in use ({error}): stop the service and whatever else has it open, and run the command again"
    ))
}
