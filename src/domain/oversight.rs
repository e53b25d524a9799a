//! What whoever looks after the service reads afterwards: the audit log's lines, and what waits for an endpoint.

use super::clock::Instant;
use super::identity::{AuditId, EndpointId, PartnerId};

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its id, which orders the log.
    pub id: AuditId,
    /// When.
    pub at: Instant,
    /// Who: `cli`, `key:ID`, `console:NAME` or `payment:ID`.
    pub actor: String,
    /// What: `partner.create`, `key.revoke`, …
    pub action: String,
    /// Whose things were touched.
    pub partner_id: Option<PartnerId>,
    /// The id of what was touched.
    pub subject: String,
    /// The address it was asked from.
    pub source: Option<String>,
    /// What else belongs to it.
    pub detail: Option<String>,
}

/// Which lines of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this partner's things.
    pub partner: Option<PartnerId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// About this thing.
    pub subject: Option<String>,
    /// Then or later.
    pub from: Option<Instant>,
    /// Then or earlier.
    pub to: Option<Instant>,
}

/// What waits for an endpoint, and what was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointBacklog {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Deliveries that are to be made.
    pub pending: i64,
    /// Since when, or when, the first of them is due.
    pub oldest_due_at: Option<Instant>,
    /// Deliveries that were given up.
    pub dead: i64,
    /// When the last attempt that failed had ended, and how: `500`, or why there was no answer.
    pub last_failure: Option<(Instant, String)>,
}
