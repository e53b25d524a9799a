//! Bringing a history in: its lines go through the ledger like every other command, many of them in one commit, and
//! one that is refused holds up no other.

use std::io::{self, Read};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{Either, ready};
use futures_util::stream;

use super::past::{REQUIRED, history};
use super::source::{Line, Problem, Source};
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::ledger::{Command, History, Ledger, Outcome, Refusal, WorkingSet};
use crate::domain::search::BulkLookup;
use crate::store::{BATCH_MAX, Store, StoreError};

/// Lines that are on their way at once: one commit's, and the next one's while it is written.
pub const BATCH: usize = 2 * BATCH_MAX;

/// What is to be done.
#[derive(Clone)]
pub struct Import {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Whose history it is.
    pub partner_id: PartnerId,
    /// The present: a history has nothing of the future.
    pub now: Instant,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Lines that are transactions now, and were not before.
    pub imported: u64,
    /// Lines that were known already, just so.
    pub unchanged: u64,
    /// Lines that were refused.
    pub refused: u64,
}

/// Why an import ended before its end. What was imported until then stays, and is known again the next time.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("the file cannot be read: {0}")]
    File(#[from] io::Error),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Imports everything that `file` has; `refused` is told of every line that was refused, `done` after every line.
///
/// # Errors
/// If the file's head is not as it must be, or the file or the database fails underway.
pub async fn import(
    import: &Import,
    file: impl Read,
    mut refused: impl FnMut(&Problem),
    mut done: impl FnMut(&Summary),
) -> Result<Summary, ImportError> {
    let mut source = Source::open(file, &REQUIRED)?;
    let mut summary = Summary::default();
    let mut above = 0_u64;
    let mut is_over = false;
    while !is_over {
        let mut lines: Vec<Result<(u64, History), Problem>> = Vec::with_capacity(BATCH);
        while lines.len() < BATCH {
            match source.read()? {
                None => {
                    is_over = true;
                    break;
                }
                Some(Ok(Line::Transaction { line, fields })) => {
                    above += 1;
                    let read = history(import.partner_id, line, &fields, import.now);
                    lines.push(read.map(|history| (line, history)));
                }
                Some(Ok(Line::End { line, count })) => {
                    if count != above.to_string() {
                        let accepted =
                            format!("{above} transactions stand above; the file is not whole");
                        lines.push(Err(Problem::new(line, "count", Some(&count), accepted)));
                    }
                    above = 0;
                }
                Some(Err(problem)) => {
                    above += 1;
                    lines.push(Err(problem));
                }
            }
        }
        let outcomes = if import.dry_run {
            judge(import, lines).await?
        } else {
            record(import, lines).await?
        };
        for outcome in outcomes {
            match outcome {
                Ok(true) => summary.imported += 1,
                Ok(false) => summary.unchanged += 1,
                Err(problem) => {
                    summary.refused += 1;
                    refused(&problem);
                }
            }
            done(&summary);
        }
    }
    Ok(summary)
}

type Lines = Vec<Result<(u64, History), Problem>>;
type Outcomes = Vec<Result<bool, Problem>>;

/// Records the lines; those that are recorded together share a commit.
async fn record(import: &Import, lines: Lines) -> Result<Outcomes, StoreError> {
    let recorded = lines.into_iter().map(|line| match line {
        Err(problem) => Either::Left(ready(Ok(Err(problem)))),
        Ok((line, history)) => {
            let store = Arc::clone(&import.store);
            Either::Right(async move {
                let command = Command::Import(Box::new(history.clone()));
                match store.record(command).await {
                    Ok(outcome) => Ok(told(line, &history, outcome)),
                    // The database is there and refuses this one.
                    Err(StoreError::Query(reason) | StoreError::Conflict(reason)) => {
                        Ok(Err(Problem::new(
                            line,
                            "line",
                            None,
                            format!("the database refuses it: {reason}"),
                        )))
                    }
                    Err(error) => Err(error),
                }
            })
        }
    });
    let outcomes: Vec<Result<_, StoreError>> =
        stream::iter(recorded).buffered(BATCH).collect().await;
    outcomes.into_iter().collect()
}

/// What would be recorded: the same rules over the same rows, and nothing is written.
async fn judge(import: &Import, lines: Lines) -> Result<Outcomes, StoreError> {
    let mut lookup = BulkLookup::default();
    for (_, history) in lines.iter().flatten() {
        let past = &history.transaction;
        if history.is_id_given {
            lookup.transaction_ids.push(past.id);
        }
        lookup
            .client_request_ids
            .extend(past.client_request_id.clone());
        let ids = past.ids.known().map(|(_, value)| value.to_owned());
        lookup.conversation_ids.extend(ids);
        lookup.transaction_receipts.extend(past.receipt.clone());
    }
    let found = import
        .store
        .find_transactions(import.partner_id, lookup)
        .await?;
    let known = WorkingSet {
        transactions: found.transactions,
        ..WorkingSet::default()
    };
    let mut ledger = Ledger::new(import.now, chrono::Duration::zero(), known);
    Ok(lines
        .into_iter()
        .map(|line| {
            let (line, history) = line?;
            let outcome = ledger.carry_out(Command::Import(Box::new(history.clone())));
            told(line, &history, outcome)
        })
        .collect())
}

/// Whether it is new, or why it is refused.
fn told(line: u64, history: &History, outcome: Outcome) -> Result<bool, Problem> {
    match outcome {
        Outcome::Registered { created, .. } => Ok(created),
        Outcome::Refused(refusal) => Err(because(line, history, refusal)),
        Outcome::Attached(_) | Outcome::Answered(_) | Outcome::Recorded(_) => Err(Problem::new(
            line,
            "line",
            None,
            "the ledger took it for something else",
        )),
    }
}

fn because(line: u64, history: &History, refusal: Refusal) -> Problem {
    let said = |field: &str| {
        let column = super::COLUMNS.iter().find(|column| column.name == field);
        column.and_then(|column| (column.value)(&history.transaction))
    };
    match refusal {
        Refusal::Reused {
            field,
            transaction_id,
        } => Problem::new(
            line,
            field,
            said(field).as_deref(),
            format!(
                "transaction {transaction_id}, which stands here already, has another; what stands is kept"
            ),
        ),
        Refusal::Held {
            field,
            transaction_id,
        } => Problem::new(
            line,
            field.as_str(),
            said(field.as_str()).as_deref(),
            format!(
                "it is held by transaction {transaction_id}, and the line names another by its other ids"
            ),
        ),
        other => Problem::new(
            line,
            "line",
            None,
            format!("the ledger refuses it: {other:?}"),
        ),
    }
}
