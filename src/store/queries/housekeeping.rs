//! Removing what is old, a small batch at a time and oldest rows first, so that no index by age is needed where the
//! database keeps rows in the order they came.

use super::deliveries::IS_TO_SEND;
use super::{DIALECT, instances};
use crate::domain::clock::Instant;
use crate::store::columns::At;
use crate::store::dialect::Dialect;
use crate::store::statement::{Bind, Statement};
use crate::store::{HOUSEKEEPING_BATCH, Retention};

/// How many of a table's oldest rows one step looks at on SQLite, which keeps rows in the order they came: when none of
/// these is old enough, none is.
const WINDOW: i64 = 4 * HOUSEKEEPING_BATCH;

const WAITS: &str = "EXISTS (SELECT 1 FROM waiting_callbacks w WHERE w.callback_id = old.id)";

/// One small batch for every table that forgets.
pub fn expired(retention: Retention) -> Vec<Statement> {
    let callbacks = retention.callbacks_before;
    let mut statements = vec![
        // A callback that waited this long for its id will not be asked for any more. It stays until nothing waits for
        // it: each statement chooses its own rows, and no row that waits may be left without its callback.
        Statement::new(format!(
            "DELETE FROM waiting_callbacks WHERE callback_id IN (SELECT id FROM {} AS old WHERE received_at < $1 AND {WAITS} LIMIT $2)",
            oldest_rows("callbacks")
        ))
        .bind(Bind::At(At(callbacks)))
        .bind(Bind::Number(HOUSEKEEPING_BATCH)),
        oldest("callbacks", "received_at", callbacks, &format!("NOT {WAITS}")),
        oldest(
            "delivery_attempts",
            "at",
            retention.deliveries_before,
            "true",
        ),
        oldest(
            "deliveries",
            "created_at",
            retention.deliveries_before,
            "state <> 'pending'",
        ),
        oldest(
            "transaction_events",
            "at",
            retention.events_before,
            "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.partner_id = old.partner_id \
             AND d.sequence = old.sequence AND d.transaction_id = old.transaction_id AND d.state = 'pending')",
        ),
        Statement::new("DELETE FROM counters WHERE period = 'hour' AND ends_at <= $1")
            .bind(Bind::At(At(retention.hours_before))),
        Statement::new("DELETE FROM created_by_minute WHERE ends_at <= $1")
            .bind(Bind::At(At(retention.minutes_before))),
    ];
    // An embedded database counts no quotas.
    if DIALECT == Dialect::Postgres {
        statements.push(instances::idle_allowances());
    }
    statements
}

fn oldest(table: &str, column: &str, before: Instant, condition: &str) -> Statement {
    Statement::new(format!(
        "DELETE FROM {table} WHERE {address} IN (SELECT address FROM {rows} AS old WHERE {column} < $1 AND {condition} LIMIT $2)",
        address = DIALECT.row_address(),
        rows = oldest_rows(table),
    ))
    .bind(Bind::At(At(before)))
    .bind(Bind::Number(HOUSEKEEPING_BATCH))
}

/// The rows to look at. PostgreSQL finds old ones by its index of block ranges.
fn oldest_rows(table: &str) -> String {
    let address = DIALECT.row_address();
    match DIALECT {
        Dialect::Postgres => format!("(SELECT {address} AS address, * FROM {table})"),
        Dialect::Sqlite => format!(
            "(SELECT {address} AS address, * FROM {table} ORDER BY {address} LIMIT {WINDOW})"
        ),
    }
}

/// The database's own clock; the embedded one's is this machine's.
pub fn clock() -> Statement {
    Statement::new(match DIALECT {
        Dialect::Postgres => "SELECT clock_timestamp() AS at",
        Dialect::Sqlite => "SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) AS at",
    })
}

/// What is waiting.
pub fn backlog() -> Statement {
    Statement::new(format!(
        "SELECT (SELECT COUNT(*) FROM open_transactions WHERE status <> 'failed') AS open_transactions, \
         (SELECT COUNT(*) FROM deliveries d WHERE {IS_TO_SEND}) AS pending_deliveries, \
         (SELECT COUNT(DISTINCT callback_id) FROM waiting_callbacks) AS waiting_callbacks, \
         (SELECT COUNT(*) FROM open_transactions WHERE stuck_at IS NOT NULL) AS stuck_transactions"
    ))
}
