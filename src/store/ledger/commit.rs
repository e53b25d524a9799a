//! A batch's commit: why it may be rolled back, and who is told of it.

use std::collections::HashSet;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tokio::sync::broadcast;

use crate::domain::identity::EndpointId;
use crate::domain::ledger::{CallbackState, Changes};
use crate::domain::timeline::TimelineKind;
use crate::domain::watch::WatchKey;
use crate::store::batcher::CommitError;
use crate::store::{CommitNotice, Move, StoreError};

/// Commits a slow listener may lag behind before it is told to look for itself.
pub const NOTICES_KEPT: usize = 1_024;

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

/// What listeners want to know of a commit; `None` if nothing changed for them.
fn notice(changes: &Changes) -> Option<CommitNotice> {
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
            keys: WatchKey::of(event),
        })
        .collect();
    Some(CommitNotice {
        endpoints: endpoints.into_iter().collect::<Vec<_>>().into(),
        moves: moves.into(),
    })
}

/// Tells listeners and counts, once it is committed; that nobody listens is no error.
pub fn tell(commits: &broadcast::Sender<CommitNotice>, changes: &Changes) {
    count(changes);
    if let Some(notice) = notice(changes) {
        let _ = commits.send(notice);
    }
}

/// Counts what a commit did, for `/metrics`.
fn count(changes: &Changes) {
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
