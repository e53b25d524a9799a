//! A partner's feed, read in the order of its commits.
//!
//! Why it has no gap: an event's number is not taken from a sequence of the database, which would hand 8 to a writer
//! that commits before the one that was handed 7. It is counted on from the partner's row of `feed_heads`, which a
//! writer locks before it reads it and holds until it has committed (`SELECT … FOR UPDATE` on PostgreSQL; SQLite has
//! one writer anyway). So 8 is given out only after 7 is committed, a snapshot that has 8 has 7, and what was rolled
//! back gives its numbers back. Locks are let go after the commit is visible to others, so this holds for every reader
//! of the primary.

use serde_json::json;

use super::DIALECT;
use crate::domain::identity::PartnerId;
use crate::store::columns::Id;
use crate::store::statement::{Bind, Statement};

/// The last number given out, of each partner.
pub fn heads(partners: &[PartnerId]) -> Statement {
    let partners: Vec<String> = partners.iter().map(ToString::to_string).collect();
    Statement::new(format!(
        "SELECT partner_id, last_sequence FROM feed_heads WHERE partner_id {}",
        DIALECT.in_ids("$1")
    ))
    .text(json!(partners).to_string())
}

/// Events after a place, in order.
pub fn events(partner: PartnerId, after: i64, limit: i64) -> Statement {
    Statement::new(
        "SELECT partner_id, id AS event_id, sequence, transaction_id, kind, to_status, at, conversation_id, \
         client_request_id, result_code, result_description, receipt, amount_minor, currency, msisdn, reversed_at \
         FROM transaction_events WHERE partner_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
    )
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Number(after))
    .bind(Bind::Number(limit))
}
