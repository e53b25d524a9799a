//! What both adapters' commits and queries share: gathering the working set, errors, and telling of commits.

use std::collections::{HashMap, HashSet};

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tokio::sync::broadcast;

use super::batcher::CommitError;
use super::dialect::Dialect;
use super::rows::{EndpointFactsRow, HeadRow, TransactionRow, WaitingRow, event_types};
use super::statement::Statement;
use super::{CommitNotice, Move, StoreError, ledger_sql, news_codec};
use crate::domain::identity::{CallbackId, EndpointId, PartnerId, TransactionId};
use crate::domain::ledger::{CallbackState, Changes, EndpointFacts, Lookups, Waiting, WorkingSet};
use crate::domain::timeline::TimelineKind;
use crate::domain::transaction::Transaction;

/// Commits a slow listener may lag behind before it is told to look for itself.
pub const NOTICES_KEPT: usize = 1_024;

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(kind, information) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Conflict(
                    information
                        .constraint_name()
                        .unwrap_or("a unique value")
                        .to_owned(),
                ),
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::SerializationFailure => Self::Unavailable(error.to_string()),
                _ if cannot_write(information.message()) => Self::Unavailable(error.to_string()),
                _ => Self::Query(error.to_string()),
            },
            DieselError::BrokenTransactionManager => Self::Unavailable(error.to_string()),
            _ => Self::Query(error.to_string()),
        }
    }
}

/// SQLite tells of a full disk, a read-only file or a busy one in words only; PostgreSQL of a stopping server or a
/// full disk likewise.
fn cannot_write(message: &str) -> bool {
    const WORDS: [&str; 15] = [
        "database or disk is full",
        "attempt to write a readonly database",
        "database is locked",
        "disk I/O error",
        "unable to open database file",
        "No space left on device",
        "could not extend file",
        "the database system is",
        "terminating connection",
        "connection closed",
        "cannot execute",
        "too many clients",
        "remaining connection slots",
        "statement timeout",
        "deadlock detected",
    ];
    WORDS.iter().any(|word| message.contains(word))
}

/// No connection to be had: the database is away, or everyone is waiting for it.
pub fn pool_error(error: diesel_async::pooled_connection::deadpool::PoolError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Why a batch was rolled back.
#[derive(Debug)]
pub enum CommitFailure {
    /// The database said so.
    Database(DieselError),
    /// A row could not be read.
    Store(StoreError),
    /// A row was not as it was loaded.
    Guard(String),
}

impl From<DieselError> for CommitFailure {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for CommitFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CommitFailure> for CommitError {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::Database(DieselError::DatabaseError(kind, information)) => {
                let message = information.message().to_owned();
                let lost_race = matches!(
                    kind,
                    DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation
                ) || message.contains("deadlock detected");
                if lost_race {
                    Self::Retry(message)
                } else {
                    Self::Store(DieselError::DatabaseError(kind, information).into())
                }
            }
            CommitFailure::Database(error) => Self::Store(error.into()),
            CommitFailure::Store(error) => Self::Store(error),
            CommitFailure::Guard(reason) => Self::Retry(reason),
        }
    }
}

/// The guard of a write: under the partner's lock it always holds; if not, nothing is written.
pub fn check_touched(must_touch: Option<usize>, touched: usize) -> Result<(), CommitFailure> {
    match must_touch {
        Some(expected) if expected != touched => Err(CommitFailure::Guard(format!(
            "{touched} rows touched instead of {expected}"
        ))),
        _ => Ok(()),
    }
}

/// What a batch's lookups returned.
#[derive(Default)]
pub struct Loaded {
    pub heads: Vec<HeadRow>,
    pub endpoints: Vec<EndpointFactsRow>,
    pub waiting: Vec<WaitingRow>,
    transactions: HashMap<(PartnerId, TransactionId), Transaction>,
    kept: Vec<Waiting>,
    seen: Lookups,
    seen_foreign: HashSet<TransactionId>,
}

/// What the first look showed to be needed too.
pub struct FollowUp {
    pub lookups: Lookups,
    foreign: HashSet<TransactionId>,
}

impl FollowUp {
    /// The statements that find the transactions.
    pub fn transaction_lookups(&self, dialect: Dialect) -> Vec<Statement> {
        let mut statements = transaction_lookups(dialect, &self.lookups);
        statements.extend(ledger_sql::by_ids_of_anyone(dialect, &self.foreign));
        statements
    }
}

/// The first look: by provider ids, by the partners' own ids, by our ids.
pub fn transaction_lookups(dialect: Dialect, lookups: &Lookups) -> Vec<Statement> {
    [
        ledger_sql::by_values(dialect, &lookups.values),
        ledger_sql::by_client_requests(dialect, &lookups.client_requests),
        ledger_sql::by_ids(dialect, &lookups.transactions),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Loaded {
    /// Adds rows; one found twice counts once.
    pub fn add_transactions(&mut self, rows: Vec<TransactionRow>) -> Result<(), CommitFailure> {
        for row in rows {
            let transaction = Transaction::try_from(row)?;
            self.transactions
                .insert((transaction.partner_id, transaction.id), transaction);
        }
        Ok(())
    }

    /// What to look for next, mostly nothing: what kept callbacks and reversals point at (and what waits for the
    /// same ids as those), and ids that a path names but the partner does not have. `None` when all is loaded.
    pub fn follow_up(&mut self, lookups: &Lookups) -> Result<Option<FollowUp>, CommitFailure> {
        self.keep_waiting()?;
        let mut more = Lookups::default();
        for kept in &self.kept {
            more.add_news(Some(kept.partner_id), &kept.news);
        }
        let originals = self.transactions.values().filter_map(|transaction| {
            let original = transaction.original_id?;
            Some((transaction.partner_id, original))
        });
        more.transactions.extend(originals);
        let (transactions, seen) = (&self.transactions, &mut self.seen);
        let foreign: HashSet<TransactionId> = lookups
            .transactions
            .iter()
            .chain(&seen.transactions)
            .filter(|key| !transactions.contains_key(key))
            .map(|(_, id)| *id)
            .filter(|id| self.seen_foreign.insert(*id))
            .collect();
        more.values
            .retain(|value| !lookups.values.contains(value) && seen.values.insert(value.clone()));
        more.transactions.retain(|key| {
            !transactions.contains_key(key)
                && !lookups.transactions.contains(key)
                && seen.transactions.insert(*key)
        });
        if more == Lookups::default() && foreign.is_empty() {
            return Ok(None);
        }
        more.partners.clone_from(&lookups.partners);
        Ok(Some(FollowUp {
            lookups: more,
            foreign,
        }))
    }

    fn keep_waiting(&mut self) -> Result<(), CommitFailure> {
        for row in std::mem::take(&mut self.waiting) {
            let (Some(news), Ok(provider), Ok(kind)) =
                (row.news, row.provider.parse(), row.kind.parse())
            else {
                continue;
            };
            let id = CallbackId(row.id.0);
            if self.kept.iter().any(|kept| kept.id == id) {
                continue;
            }
            self.kept.push(Waiting {
                id,
                partner_id: PartnerId(row.partner_id.0),
                provider,
                kind,
                news: news_codec::decode(&news)?,
            });
        }
        self.kept.sort_by_key(|kept| kept.id);
        Ok(())
    }

    /// The working set for the ledger.
    pub fn into_working_set(self) -> Result<WorkingSet, CommitFailure> {
        Ok(WorkingSet {
            transactions: self.transactions.into_values().collect(),
            waiting: self.kept,
            endpoints: self
                .endpoints
                .into_iter()
                .map(|row| EndpointFacts {
                    id: EndpointId(row.id.0),
                    partner_id: PartnerId(row.partner_id.0),
                    events: event_types(&row.events),
                })
                .collect(),
            last_sequences: self
                .heads
                .into_iter()
                .map(|row| (PartnerId(row.partner_id.0), row.last_sequence))
                .collect(),
        })
    }
}

/// What listeners want to know of a commit; `None` if nothing changed for them.
pub fn notice(changes: &Changes) -> Option<CommitNotice> {
    if changes.lines.is_empty() {
        return None;
    }
    let endpoints: HashSet<EndpointId> = changes
        .deliveries
        .iter()
        .map(|delivery| delivery.endpoint_id)
        .collect();
    let moves: Vec<Move> = changes
        .lines
        .iter()
        .filter_map(|line| line.event.as_ref())
        .map(|event| Move {
            partner_id: event.partner_id,
            transaction_id: event.transaction_id,
            status: event.status,
            sequence: event.sequence,
        })
        .collect();
    Some(CommitNotice {
        endpoints: endpoints.into_iter().collect::<Vec<_>>().into(),
        moves: moves.into(),
    })
}

/// Tells listeners; that nobody listens is no error.
pub fn tell(commits: &broadcast::Sender<CommitNotice>, notice: Option<CommitNotice>) {
    if let Some(notice) = notice {
        let _ = commits.send(notice);
    }
}

/// Counts what a commit did, for `/metrics`.
pub fn count(changes: &Changes) {
    for record in &changes.callbacks {
        let arrival = &record.arrival;
        metrics::counter!("ussd_status_callbacks_total",
            "kind" => arrival.kind.as_str(), "state" => record.state.as_str())
        .increment(1);
        if record.state == CallbackState::Unreadable || record.state == CallbackState::Unmatched {
            tracing::warn!(kind = arrival.kind.as_str(), callback_id = %arrival.id,
                state = record.state.as_str(), "a callback was kept but moved nothing");
        }
    }
    for line in &changes.lines {
        match line.entry.kind {
            TimelineKind::Conflict => {
                metrics::counter!("ussd_status_conflicts_total").increment(1);
            }
            TimelineKind::LateSuccess => {
                metrics::counter!("ussd_status_late_successes_total").increment(1);
            }
            _ => {}
        }
        if let (Some(_), Some(to)) = (&line.event, line.entry.to) {
            metrics::counter!("ussd_status_transitions_total", "to" => to.as_str()).increment(1);
        }
    }
    metrics::counter!("ussd_status_amount_mismatches_total").increment(changes.amount_mismatches);
}
