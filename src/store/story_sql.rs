//! What stands beside the rows of a page when a caller asks for more: their timelines, which of them are asked about no
//! more, and how long the partner's payments lately took.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::StoreError;
use super::columns::{At, Id, IdSql, InstantSql};
use super::dialect::Dialect;
use super::rows::events::TimelineRow;
use super::rows::word;
use super::search_sql::json_list;
use super::statement::{Bind, Statement};
use crate::domain::completion::Completion;
use crate::domain::identity::{AccountId, PartnerId, TransactionId};

/// The latest `lines` lines of each transaction, oldest first.
pub fn timelines(
    dialect: Dialect,
    partner: PartnerId,
    ids: &[TransactionId],
    lines: i64,
) -> Statement {
    const COLUMNS: &str = "at, kind, from_status, to_status, source, result_code, note";
    Statement::new(format!(
        "SELECT transaction_id, {COLUMNS} FROM (\
           SELECT transaction_id, id, {COLUMNS}, \
           ROW_NUMBER() OVER (PARTITION BY transaction_id ORDER BY id DESC) AS place \
           FROM transaction_events WHERE partner_id = $1 AND transaction_id {}) AS e \
         WHERE place <= $3 ORDER BY transaction_id, id",
        dialect.in_ids("$2")
    ))
    .bind(Bind::Id(Id(partner.0)))
    .text(json_list(ids.iter()))
    .bind(Bind::Number(lines))
}

/// Those of the transactions that are asked about no more though they are not final.
pub fn stuck_among(dialect: Dialect, partner: PartnerId, ids: &[TransactionId]) -> Statement {
    Statement::new(format!(
        "SELECT transaction_id AS id FROM open_transactions \
         WHERE partner_id = $1 AND stuck_at IS NOT NULL AND transaction_id {}",
        dialect.in_ids("$2")
    ))
    .bind(Bind::Id(Id(partner.0)))
    .text(json_list(ids.iter()))
}

/// The endings among the last `events` events of a partner's feed. By the feed and not by the newest transactions: of
/// those only the quick ones have ended.
pub fn completions(partner: PartnerId, events: i64) -> Statement {
    Statement::new(
        "SELECT t.account_id, t.kind, t.created_at, e.at AS ended_at FROM (\
           SELECT transaction_id, at, kind, to_status FROM transaction_events \
           WHERE partner_id = $1 AND sequence IS NOT NULL ORDER BY sequence DESC LIMIT $2) AS e \
         JOIN transactions t ON t.partner_id = $1 AND t.id = e.transaction_id \
         WHERE e.kind = 'status_changed' AND e.to_status IN ('success', 'failed')",
    )
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Number(events))
}

/// A line of one of several timelines.
#[derive(QueryableByName, Debug)]
pub struct TimelineOfRow {
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(embed)]
    pub line: TimelineRow,
}

/// A payment that ended.
#[derive(QueryableByName, Debug)]
pub struct CompletionRow {
    #[diesel(sql_type = Nullable<IdSql>)]
    pub account_id: Option<Id>,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = InstantSql)]
    pub created_at: At,
    #[diesel(sql_type = InstantSql)]
    pub ended_at: At,
}

impl TryFrom<CompletionRow> for Completion {
    type Error = StoreError;

    fn try_from(row: CompletionRow) -> Result<Self, StoreError> {
        Ok(Self {
            account_id: row.account_id.map(|id| AccountId(id.0)),
            kind: word("kind", &row.kind)?,
            took: row.ended_at.0 - row.created_at.0,
        })
    }
}
