//! Moving a grown SQLite file to PostgreSQL: every table, row by row, in batches that commit together with how far they
//! came, so that a copy that was killed goes on where it was. Every row is then read back and compared with its source.

mod shape;
mod source;
mod tables;
mod target;

use std::time::Duration;

use serde_json::Value;

pub use tables::{COPIED, SKIPPED};

use super::StoreError;
use crate::domain::clock::Instant;
use shape::Shape;
use source::Source;
use target::{Stage, Target};

/// Rows of one batch at most: one transaction of the target.
pub const BATCH_ROWS: usize = 2_000;
/// Bytes of one batch at most, as JSON, unless one row alone is longer.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long one statement on the target may take: counting the largest table takes longest.
const STATEMENT_LIMIT: Duration = Duration::from_secs(600);

/// Why a copy did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two databases is not as it must be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// A row arrived differently, or the totals do not agree.
    #[error("{0}")]
    Different(String),
    /// A database failed.
    #[error("{0}: {1}")]
    Store(&'static str, StoreError),
}

/// What a copy is asked for.
#[derive(Debug, Clone)]
pub struct CopyOrder {
    /// The SQLite file.
    pub from: String,
    /// The PostgreSQL URL.
    pub to: String,
    /// Empties the target first, if what it holds is an unfinished copy.
    pub restart: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// The table at work.
    pub table: &'static str,
    /// Whether its rows are being read back and compared.
    pub verifies: bool,
    /// Rows copied and rows verified, of all tables.
    pub done: u64,
    /// Rows to copy and to verify.
    pub of: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// Rows of each table, on both sides.
    pub tables: Vec<(&'static str, i64)>,
    /// Sums of the numbers of each table, equal on both sides: `table.column` and the sum.
    pub sums: Vec<(String, String)>,
    /// Whether an earlier run had begun it.
    pub resumed: bool,
    /// Whether an earlier run had finished it, so that this one only looked.
    pub was_finished: bool,
}

/// Copies everything. `report` hears after every batch.
///
/// # Errors
/// See [`CopyError`]. Whatever was committed stays; the next run goes on from there.
pub async fn copy(
    order: &CopyOrder,
    now: Instant,
    report: &mut (dyn FnMut(CopyProgress) + Send),
) -> Result<CopyReport, CopyError> {
    let mut source = tokio::task::block_in_place(|| Source::open(&order.from))?;
    let mut target = Target::open(&order.to, STATEMENT_LIMIT).await?;
    let shapes = target.shapes().await?;
    tokio::task::block_in_place(|| source.check_shapes(&shapes))?;
    let resumed = target.begin(source.stamp(), order.restart).await?;
    if target.is_finished() {
        return Ok(CopyReport {
            tables: target.rows_copied(),
            sums: Vec::new(),
            resumed,
            was_finished: true,
        });
    }
    let mut counts = Vec::with_capacity(shapes.len());
    for shape in &shapes {
        counts.push(tokio::task::block_in_place(|| source.count(shape))?);
    }
    let whole: i64 = counts.iter().sum();
    let mut run = Run {
        done: target.done(),
        of: unsigned(whole) * 2,
        report,
    };
    for stage in [Stage::Copy, Stage::Verify] {
        for shape in &shapes {
            run.table(&mut source, &mut target, shape, stage).await?;
        }
    }
    let sums = agree(&mut source, &mut target, &shapes).await?;
    target.finish(now, whole).await?;
    Ok(CopyReport {
        tables: target.rows_copied(),
        sums,
        resumed,
        was_finished: false,
    })
}

struct Run<'a> {
    done: u64,
    of: u64,
    report: &'a mut (dyn FnMut(CopyProgress) + Send),
}

impl Run<'_> {
    async fn table(
        &mut self,
        source: &mut Source,
        target: &mut Target,
        shape: &Shape,
        stage: Stage,
    ) -> Result<(), CopyError> {
        loop {
            let after = target.reached(shape, stage)?;
            let lines = tokio::task::block_in_place(|| source.batch(shape, after.as_deref()))?;
            if lines.is_empty() {
                return Ok(());
            }
            match stage {
                Stage::Copy => target.insert(shape, &lines).await?,
                Stage::Verify => target.verify(shape, &lines).await?,
            }
            self.done += u64::try_from(lines.len()).unwrap_or_default();
            (self.report)(CopyProgress {
                table: shape.name,
                verifies: stage == Stage::Verify,
                done: self.done,
                of: self.of,
            });
        }
    }
}

/// Counts and sums of both sides, read from the tables themselves: nothing is missing, nothing is there twice, and
/// nobody else has written.
async fn agree(
    source: &mut Source,
    target: &mut Target,
    shapes: &[Shape],
) -> Result<Vec<(String, String)>, CopyError> {
    let mut sums = Vec::new();
    for shape in shapes {
        let theirs = tokio::task::block_in_place(|| source.totals(shape))?;
        let ours = target.totals(shape).await?;
        if theirs != ours {
            return Err(CopyError::Different(format!(
                "{}: the totals of the source are {theirs:?}, those of the target {ours:?}; something else writes to \
                 one of them. Stop it and run the same command with --restart",
                shape.name
            )));
        }
        sums.extend(shape.named_sums(&theirs));
    }
    Ok(sums)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A row as both databases write it: a JSON array of its columns, in which ids are text, instants microseconds since
/// 1970, truths 0 or 1 and bytes hex.
fn line(text: &str) -> Result<Vec<Value>, CopyError> {
    serde_json::from_str(text)
        .map_err(|error| CopyError::Different(format!("a row that cannot be read: {error}")))
}
