//! The queries, written once; compiled once for each adapter, which is `super` here and offers `Adapter` (the pools),
//! `Conn` (the connection), `Db` (the backend) and `DIALECT`.

mod accounts;
mod console;
mod deliveries;
mod endpoints;
mod enquiries;
mod erasure;
mod erasure_place;
mod feed;
mod housekeeping;
mod instances;
mod ledger;
mod migrations;
mod notices;
mod outbox;
mod oversight;
mod overview;
mod partners;
mod payments;
mod replay;
mod store;
mod story;
mod tokens;
mod transactions;
mod upkeep;

use diesel::result::QueryResult;
use diesel_async::RunQueryDsl;

use super::{Adapter, Conn, DIALECT, MIGRATIONS};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, new_uuid};
use crate::store::Audit;
use crate::store::columns::{At, Id};
use crate::store::rows::partners::AuditRow;
use crate::store::schema::audit_log;
use crate::store::statement::Statement;

/// The last sequence of partners' feeds.
#[allow(dead_code, reason = "asked by the adapter that has a replica")]
pub fn feed_heads(partners: &[PartnerId]) -> Statement {
    feed::heads(partners)
}

/// Adds a line to the audit log, in the transaction of what it tells of.
async fn insert_audit(conn: &mut Conn, audit: Audit, at: Instant) -> QueryResult<()> {
    let row = AuditRow {
        id: Id(new_uuid(at)),
        at: At(at),
        actor: audit.actor,
        action: audit.action.to_owned(),
        partner_id: audit.partner_id.map(|id| Id(id.0)),
        subject: audit.subject,
        source: audit.source,
        detail: audit.detail,
    };
    diesel::insert_into(audit_log::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}
