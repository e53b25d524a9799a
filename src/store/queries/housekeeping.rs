//! Removing what is old, a small batch at a time and oldest rows first, so that no index by age is needed where the
//! database keeps rows in the order they came.

use super::DIALECT;
use crate::domain::clock::Instant;
use crate::store::columns::At;
use crate::store::statement::{Bind, Statement};
use crate::store::{HOUSEKEEPING_BATCH, Retention};

/// One small batch for every table that forgets.
pub fn expired(retention: Retention) -> Vec<Statement> {
    vec![
        // What still waits for its id is not old news.
        oldest(
            "callbacks",
            "received_at",
            retention.callbacks_before,
            "state <> 'waiting'",
        ),
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
            "NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.partner_id = transaction_events.partner_id \
             AND d.sequence = transaction_events.sequence AND d.transaction_id = transaction_events.transaction_id AND d.state = 'pending')",
        ),
        Statement::new("DELETE FROM counters WHERE period = 'hour' AND ends_at <= $1")
            .bind(Bind::At(At(retention.hours_before))),
    ]
}

fn oldest(table: &str, column: &str, before: Instant, condition: &str) -> Statement {
    let address = DIALECT.row_address();
    Statement::new(format!(
        "DELETE FROM {table} WHERE {address} IN (SELECT {address} FROM {table} WHERE {column} < $1 AND {condition} LIMIT $2)"
    ))
    .bind(Bind::At(At(before)))
    .bind(Bind::Number(HOUSEKEEPING_BATCH))
}

/// What is waiting.
pub fn backlog() -> Statement {
    Statement::new(
        "SELECT (SELECT COUNT(*) FROM open_transactions WHERE status <> 'failed') AS open_transactions, \
         (SELECT COUNT(*) FROM deliveries WHERE state = 'pending') AS pending_deliveries, \
         (SELECT COUNT(DISTINCT callback_id) FROM waiting_callbacks) AS waiting_callbacks",
    )
}
