//! What may go wrong at the database, and which of its own errors mean what.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// What may go wrong at the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, cannot write, or did not answer in time: try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A unique name is taken.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Something is wrong with a query or a row: a bug.
    #[error("query failed: {0}")]
    Query(String),
}

/// What a server says that went away or may not write any more, and what we say of one that says nothing.
const LOST: [&str; 7] = [
    "no answer within",
    "terminating connection",
    "connection closed",
    "the database system is",
    "read-only transaction",
    "error communicating with the server",
    "broken transaction manager",
];

impl StoreError {
    /// A server that let an act's time pass.
    pub fn no_answer_within(limit: std::time::Duration) -> Self {
        Self::Unavailable(format!("no answer within {limit:?}"))
    }

    /// Whether the server behind the connection fell silent, went away or is no primary any more, as opposed to one that
    /// is there and has too much to do.
    pub fn is_lost(&self) -> bool {
        let is_lost = |text: &str| LOST.iter().any(|words| text.contains(words));
        matches!(self, Self::Unavailable(text) if is_lost(text))
    }
}

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
