//! The PostgreSQL that is copied into: what it must not hold before, the rows, and how far the copy has come.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::MigrationHarness;
use serde_json::Value;

use super::super::columns::At;
use super::super::dialect::Dialect;
use super::super::postgres::MIGRATIONS;
use super::super::postgres_connect::Servers;
use super::super::rows::LineRow;
use super::super::statement::{Bind, Statement};
use super::super::{DatabaseLimits, StoreError};
use super::shape::{Kind, Shape};
use super::{COPIED, CopyError, line};
use crate::domain::clock::Instant;
use crate::domain::identity::new_uuid;

/// Of two copies into one database one stays outside. It waits a little: the session of one that was killed ends when
/// the server notices.
const LOCK: [&str; 4] = [
    "SET application_name = 'ussd-status copy'",
    "SET lock_timeout = '10s'",
    "SELECT 1 FROM (SELECT pg_advisory_lock(7305838)) AS l",
    "SET lock_timeout = 0",
];
/// Rows are named by their keys, whatever the planner thinks of tables that have just filled. A commit need not wait for
/// the disk: a row and the note of it are lost together, and the last commit waits for all.
const SESSION: &str = "-c synchronous_commit=off -c enable_hashjoin=off -c enable_mergejoin=off";
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What is done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Copy,
    Verify,
}

/// How far one table is.
#[derive(QueryableByName, Debug, Clone, Default)]
struct Reached {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = BigInt)]
    copied: i64,
    #[diesel(sql_type = Nullable<Text>)]
    copied_to: Option<String>,
    #[diesel(sql_type = BigInt)]
    verified: i64,
    #[diesel(sql_type = Nullable<Text>)]
    verified_to: Option<String>,
    #[diesel(sql_type = Bool)]
    is_finished: bool,
}

pub struct Target {
    conn: AsyncPgConnection,
    reached: BTreeMap<String, Reached>,
}

impl Target {
    /// Connects, with as much time for each statement as `limit`; refuses company; runs pending migrations.
    pub async fn open(url: &str, limit: Duration) -> Result<Self, CopyError> {
        let limits = DatabaseLimits {
            act: limit,
            statement: limit,
            connect: CONNECT_LIMIT,
            pool_wait: CONNECT_LIMIT,
        };
        let conn = Servers::new(url, &limits, SESSION)
            .map_err(|error| CopyError::Store("the target", error))?
            .connect()
            .await
            .map_err(|error| {
                CopyError::Store("the target", StoreError::Unavailable(error.to_string()))
            })?;
        let mut target = Self {
            conn,
            reached: BTreeMap::new(),
        };
        target.refuse_company().await?;
        let mut harness = AsyncMigrationHarness::new(target.conn);
        tokio::task::block_in_place(|| harness.run_pending_migrations(MIGRATIONS).map(drop))
            .map_err(|error| CopyError::Refused(format!("the target: {error}")))?;
        target.conn = harness.into_inner();
        Ok(target)
    }

    /// Refuses a database on which the service runs, or another copy.
    async fn refuse_company(&mut self) -> Result<(), CopyError> {
        let name = Statement::new(
            "SELECT json_build_array(current_setting('application_name'))::text AS line",
        );
        let name = self.value(name).await?;
        for sql in LOCK {
            Statement::new(sql)
                .execute(&mut self.conn)
                .await
                .map_err(|error| {
                    CopyError::Refused(format!("another copy into the target is running ({error})"))
                })?;
        }
        let others = self
            .value(
                Statement::new(
                    "SELECT json_build_array(COUNT(*))::text AS line FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()",
                )
                .text(name.as_ref().and_then(Value::as_str).unwrap_or_default()),
            )
            .await?;
        match others.and_then(|count| count.as_i64()) {
            Some(0) => Ok(()),
            count => Err(CopyError::Refused(format!(
                "the service has {} connections to the target: stop it, and start it when the copy is done",
                count.unwrap_or_default()
            ))),
        }
    }

    /// What the tables to be copied look like.
    pub async fn shapes(&mut self) -> Result<Vec<Shape>, CopyError> {
        let mut shapes = Vec::with_capacity(COPIED.len());
        for name in COPIED {
            let statement = Statement::new(
                "SELECT json_build_array(c.column_name, c.data_type, (k.place IS NOT NULL)::integer)::text AS line \
                 FROM information_schema.columns c LEFT JOIN LATERAL (SELECT array_position(i.indkey::smallint[], \
                 a.attnum) AS place FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
                 WHERE i.indrelid = to_regclass($1) AND i.indisprimary AND a.attname = c.column_name) k ON true \
                 WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY k.place, c.ordinal_position",
            );
            let lines = self.lines(statement.text(name)).await?;
            let mut shape = Shape {
                name,
                columns: Vec::new(),
                key: 0,
            };
            for line in &lines {
                let [Value::String(column), Value::String(data_type), in_key] = line.as_slice()
                else {
                    return Err(unreadable(name));
                };
                let kind = Kind::of(data_type).ok_or_else(|| unreadable(name))?;
                shape.columns.push((column.clone(), kind));
                shape.key += usize::from(in_key.as_i64() == Some(1));
            }
            if shape.key == 0 {
                return Err(unreadable(name));
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Begins a copy from the file with this stamp, or goes on with it: whether an earlier run had begun it.
    pub async fn begin(&mut self, stamp: &str, restart: bool) -> Result<bool, CopyError> {
        self.read_reached().await?;
        let is_begun = !self.reached.is_empty();
        let before = self
            .reached
            .values()
            .find(|reached| reached.source != stamp)
            .map(|reached| reached.source.clone());
        if is_begun && self.is_finished() {
            return match before {
                None => Ok(true),
                Some(before) => Err(CopyError::Refused(format!(
                    "the target holds other data: a finished copy of another file, or of this one before it was \
                     written to ({before}, now {stamp})"
                ))),
            };
        }
        if is_begun && restart {
            Statement::new(format!(
                "TRUNCATE {}, copied_tables CASCADE",
                COPIED.join(", ")
            ))
            .execute(&mut self.conn)
            .await
            .map_err(failed)?;
        } else if is_begun {
            return match before {
                None => Ok(true),
                Some(before) => Err(CopyError::Refused(format!(
                    "the source has changed since the copy began ({before}, now {stamp}). Run the command with \
                     --restart: it empties the target, which holds nothing but that copy, and begins anew"
                ))),
            };
        } else {
            self.refuse_other_data().await?;
        }
        let conn = &mut self.conn;
        conn.transaction(async |conn| {
            for name in COPIED {
                Statement::new(
                    "INSERT INTO copied_tables (name, source, copied, verified) VALUES ($1, $2, 0, 0)",
                )
                .text(name)
                .text(stamp)
                .execute(conn)
                .await?;
            }
            Ok(())
        })
        .await
        .map_err(failed)?;
        self.read_reached().await?;
        Ok(false)
    }

    async fn refuse_other_data(&mut self) -> Result<(), CopyError> {
        let mut filled = Vec::new();
        for name in COPIED {
            let sql = format!(
                "SELECT json_build_array(EXISTS (SELECT 1 FROM {name})::integer)::text AS line"
            );
            if self.value(Statement::new(sql)).await? != Some(Value::from(0)) {
                filled.push(name);
            }
        }
        if filled.is_empty() {
            return Ok(());
        }
        Err(CopyError::Refused(format!(
            "the target holds other data ({}): an empty database is accepted, or one with an unfinished copy",
            filled.join(", ")
        )))
    }

    async fn read_reached(&mut self) -> Result<(), CopyError> {
        let rows: Vec<Reached> = Statement::new(
            "SELECT name, source, copied, copied_to, verified, verified_to, finished_at IS NOT NULL AS is_finished \
             FROM copied_tables",
        )
        .load(&mut self.conn)
        .await
        .map_err(failed)?;
        self.reached = rows
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        Ok(())
    }

    pub fn is_finished(&self) -> bool {
        self.reached.values().all(|reached| reached.is_finished)
    }

    /// Rows copied and rows verified so far.
    pub fn done(&self) -> u64 {
        let done = self.reached.values().map(|row| row.copied + row.verified);
        super::unsigned(done.sum())
    }

    /// Rows of each table.
    pub fn rows_copied(&self) -> Vec<(&'static str, i64)> {
        COPIED
            .into_iter()
            .map(|name| (name, self.reached.get(name).map_or(0, |row| row.copied)))
            .collect()
    }

    /// The key of the last row of a table that was copied or verified.
    pub fn reached(&self, shape: &Shape, stage: Stage) -> Result<Option<Vec<Value>>, CopyError> {
        let reached = self.reached.get(shape.name);
        let key = reached.and_then(|reached| match stage {
            Stage::Copy => reached.copied_to.as_deref(),
            Stage::Verify => reached.verified_to.as_deref(),
        });
        key.map(line).transpose()
    }

    /// Adds rows, and notes in the same transaction how far the copy is now.
    pub async fn insert(&mut self, shape: &Shape, lines: &[Vec<Value>]) -> Result<(), CopyError> {
        let statement = shape.insert(array(lines)?);
        let note = self.note(shape, Stage::Copy, lines)?;
        let (wanted, conn) = (lines.len(), &mut self.conn);
        conn.transaction(async |conn| {
            let added = statement.execute(conn).await?;
            let noted = note.execute(conn).await?;
            if (added, noted) == (wanted, 1) {
                Ok(())
            } else {
                Err(diesel::result::Error::RollbackTransaction)
            }
        })
        .await
        .map_err(failed)
    }

    /// Reads rows back and compares each with its source; notes how far that is.
    pub async fn verify(&mut self, shape: &Shape, lines: &[Vec<Value>]) -> Result<(), CopyError> {
        let keys: Vec<&[Value]> = lines
            .iter()
            .map(|line| line.get(..shape.key).unwrap_or_default())
            .collect();
        let found = self.lines(shape.find(array(&keys)?)).await?;
        let mut found: HashMap<String, Vec<Value>> = found
            .into_iter()
            .map(|line| Ok((array(line.get(..shape.key).unwrap_or_default())?, line)))
            .collect::<Result<_, CopyError>>()?;
        for (line, key) in lines.iter().zip(keys) {
            let key = array(key)?;
            if found.remove(&key).as_ref() != Some(line) {
                return Err(CopyError::Different(format!(
                    "{}: the row {key} is missing in the target or differs there. Run the command with --restart",
                    shape.name
                )));
            }
        }
        let note = self.note(shape, Stage::Verify, lines)?;
        note.execute(&mut self.conn).await.map_err(failed)?;
        Ok(())
    }

    /// Counts a batch as done, here and in the database's own book.
    fn note(
        &mut self,
        shape: &Shape,
        stage: Stage,
        lines: &[Vec<Value>],
    ) -> Result<Statement, CopyError> {
        let last = lines
            .iter()
            .next_back()
            .and_then(|line| line.get(..shape.key));
        let key = array(last.unwrap_or_default())?;
        let reached = self.reached.entry(shape.name.to_owned()).or_default();
        let (done, place, word) = match stage {
            Stage::Copy => (&mut reached.copied, &mut reached.copied_to, "copied"),
            Stage::Verify => (&mut reached.verified, &mut reached.verified_to, "verified"),
        };
        let before = *done;
        *done += i64::try_from(lines.len()).unwrap_or_default();
        *place = Some(key.clone());
        Ok(Statement::new(format!(
            "UPDATE copied_tables SET {word} = $1, {word}_to = $2 WHERE name = $3 AND {word} = $4"
        ))
        .bind(Bind::Number(*done))
        .text(key)
        .text(shape.name)
        .bind(Bind::Number(before)))
    }

    /// How many rows, and the sums.
    pub async fn totals(&mut self, shape: &Shape) -> Result<Vec<Value>, CopyError> {
        let lines = self.lines(shape.sum(Dialect::Postgres)).await?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// Says that the copy is whole, on the disk and in the audit log.
    pub async fn finish(&mut self, now: Instant, rows: i64) -> Result<(), CopyError> {
        let conn = &mut self.conn;
        conn.transaction(async |conn| {
            Statement::new("SET LOCAL synchronous_commit = on")
                .execute(conn)
                .await?;
            Statement::new("UPDATE copied_tables SET finished_at = $1")
                .bind(Bind::At(At(now)))
                .execute(conn)
                .await?;
            Statement::new(
                "INSERT INTO audit_log (id, at, actor, action, subject) VALUES ($1, $2, 'cli', 'database.copy', $3)",
            )
            .bind(Bind::Id(super::super::columns::Id(new_uuid(now))))
            .bind(Bind::At(At(now)))
            .text(format!("{rows} rows"))
            .execute(conn)
            .await?;
            Ok(())
        })
        .await
        .map_err(failed)?;
        for name in COPIED {
            // Of tables that have just filled the planner knows nothing.
            Statement::new(format!("ANALYZE {name}"))
                .execute(&mut self.conn)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// The one value of a statement's one row.
    async fn value(&mut self, statement: Statement) -> Result<Option<Value>, CopyError> {
        let row = self.lines(statement).await?.into_iter().next();
        Ok(row.and_then(|row| row.into_iter().next()))
    }

    async fn lines(&mut self, statement: Statement) -> Result<Vec<Vec<Value>>, CopyError> {
        let rows: Vec<LineRow> = statement.load(&mut self.conn).await.map_err(failed)?;
        rows.iter().map(|row| line(&row.line)).collect()
    }
}

fn array<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, CopyError> {
    serde_json::to_string(value)
        .map_err(|error| CopyError::Different(format!("a row that cannot be written: {error}")))
}

fn failed(error: diesel::result::Error) -> CopyError {
    CopyError::Store("the target", error.into())
}

fn unreadable(table: &str) -> CopyError {
    CopyError::Refused(format!(
        "the target's table {table} is not as this program knows it"
    ))
}
