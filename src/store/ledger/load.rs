//! What a batch of commands looks up, as statements.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::text;
use crate::domain::clock::Instant;
use crate::domain::identity::{CallbackId, PartnerId, TransactionId};
use crate::domain::ledger::Lookups;
use crate::domain::msisdn::Msisdn;
use crate::domain::transaction::Provider;
use crate::store::columns::{At, Id};
use crate::store::dialect::{Dialect, Type};
use crate::store::news_codec;
use crate::store::rows::transactions::transaction_columns;
use crate::store::statement::{Bind, Statement};

/// Locks the partners' heads, in one order for everybody, and reads their last sequences.
pub fn lock_heads(dialect: Dialect, partners: &HashSet<PartnerId>) -> Statement {
    Statement::new(format!(
        "SELECT partner_id, last_sequence FROM feed_heads WHERE partner_id {} ORDER BY partner_id{}",
        dialect.in_ids("$1"),
        dialect.for_update()
    ))
    .text(ids(partners.iter().map(|id| id.0)))
}

/// The transactions that hold any of these values, of any partner.
pub fn by_values(dialect: Dialect, values: &HashSet<String>) -> Option<Statement> {
    (!values.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT {} FROM routes r JOIN transactions t ON t.partner_id = r.partner_id AND t.id = r.transaction_id \
             WHERE r.value {}",
            transaction_columns("t"),
            dialect.in_texts("$1")
        ))
        .text(Value::from(values.iter().map(|value| text(value)).collect::<Vec<_>>()).to_string())
    })
}

/// Transactions by partner and id.
pub fn by_ids(dialect: Dialect, wanted: &HashSet<(PartnerId, TransactionId)>) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows = rows(wanted.iter().map(|(partner, id)| (*partner, json!(id.to_string()))));
        Statement::new(format!(
            "SELECT {} FROM {} k JOIN transactions t ON t.partner_id = k.partner_id AND t.id = k.id",
            transaction_columns("t"),
            dialect.rows("$1", &[("partner_id", Type::Id), ("id", Type::Id)])
        ))
        .text(rows)
    })
}

/// Transactions by id alone: a look at every partner, for the rare callback whose path names another's.
pub fn by_ids_of_anyone(dialect: Dialect, wanted: &HashSet<TransactionId>) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT {} FROM partners p JOIN transactions t ON t.partner_id = p.id AND t.id {}",
            transaction_columns("t"),
            dialect.in_ids("$1")
        ))
        .text(ids(wanted.iter().map(|id| id.0)))
    })
}

/// Transactions by the partner's own id.
pub fn by_client_requests(
    dialect: Dialect,
    wanted: &HashSet<(PartnerId, String)>,
) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows = rows(wanted.iter().map(|(partner, id)| (*partner, text(id))));
        Statement::new(format!(
            "SELECT {} FROM {} k JOIN transactions t ON t.partner_id = k.partner_id AND t.client_request_id = k.client_request_id",
            transaction_columns("t"),
            dialect.rows(
                "$1",
                &[("partner_id", Type::Id), ("client_request_id", Type::Text)]
            )
        ))
        .text(rows)
    })
}

/// Kept callbacks of these partners that wait for any of these values, oldest first.
pub fn waiting(dialect: Dialect, lookups: &Lookups) -> Option<Statement> {
    (!lookups.values.is_empty() && !lookups.partners.is_empty()).then(|| {
        Statement::new(format!(
            "SELECT DISTINCT c.id, c.partner_id, c.provider, c.kind, c.news FROM waiting_callbacks w \
             JOIN callbacks c ON c.id = w.callback_id \
             WHERE w.partner_id {} AND w.value {} ORDER BY c.id",
            dialect.in_ids("$1"),
            dialect.in_texts("$2")
        ))
        .text(ids(lookups.partners.iter().map(|id| id.0)))
        .text(
            Value::from(
                lookups
                    .values
                    .iter()
                    .map(|value| text(value))
                    .collect::<Vec<_>>(),
            )
            .to_string(),
        )
    })
}

/// Which of these partners have a payment queued at the provider, since `since`, whose ids nobody has told us yet.
pub fn unnamed(
    dialect: Dialect,
    wanted: &HashSet<(PartnerId, Provider)>,
    since: Instant,
) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows = rows(wanted.iter().map(|(partner, provider)| (*partner, json!(provider.as_str()))));
        Statement::new(format!(
            "SELECT k.partner_id, k.provider FROM {} k WHERE EXISTS (SELECT 1 FROM open_transactions o \
             JOIN transactions t ON t.partner_id = o.partner_id AND t.id = o.transaction_id \
             WHERE o.partner_id = k.partner_id AND o.status = 'queued' AND o.created_at > $2 AND t.provider = k.provider \
             AND t.conversation_id IS NULL AND t.originator_conversation_id IS NULL AND t.order_reference IS NULL)",
            dialect.rows("$1", &[("partner_id", Type::Id), ("provider", Type::Text)])
        ))
        .text(rows)
        .bind(Bind::At(At(since)))
    })
}

/// Kept callbacks of payments that nobody registered, older than `before`, of which there may be some.
pub fn unclaimed(before: Instant, after: CallbackId, limit: i64) -> Statement {
    Statement::new(
        "SELECT DISTINCT c.id, c.partner_id, c.provider, c.kind, c.news, c.account_id FROM waiting_callbacks w \
         JOIN callbacks c ON c.id = w.callback_id WHERE c.received_at < $1 AND c.news LIKE $2 AND c.id > $4 ORDER BY c.id LIMIT $3",
    )
    .bind(Bind::At(At(before)))
    .text(news_codec::UNREGISTERED_PATTERN)
    .bind(Bind::Number(limit))
    .bind(Bind::Id(Id(after.0)))
}

/// The enabled endpoints of these partners; of those that are for one transaction only, one at most, which tells that
/// there are such.
pub fn endpoints(dialect: Dialect, partners: &HashSet<PartnerId>) -> Statement {
    Statement::new(format!(
        "SELECT id, partner_id, events, transaction_id FROM endpoints WHERE partner_id {wanted} \
         AND disabled_at IS NULL AND removed_at IS NULL AND transaction_id IS NULL UNION ALL SELECT * FROM (\
         SELECT id, partner_id, events, transaction_id FROM endpoints WHERE partner_id {wanted} \
         AND disabled_at IS NULL AND removed_at IS NULL AND transaction_id IS NOT NULL LIMIT 1) AS probe ORDER BY 1",
        wanted = dialect.in_ids("$1")
    ))
    .text(ids(partners.iter().map(|id| id.0)))
}

/// The enabled endpoints that are for these transactions only.
pub fn own_endpoints(dialect: Dialect, wanted: &[(PartnerId, TransactionId)]) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows = rows(
            wanted
                .iter()
                .map(|(partner, id)| (*partner, json!(id.to_string()))),
        );
        Statement::new(format!(
            "SELECT e.id, e.partner_id, e.events, e.transaction_id FROM {} k \
             JOIN endpoints e ON e.partner_id = k.partner_id AND e.transaction_id = k.id \
             WHERE e.disabled_at IS NULL AND e.removed_at IS NULL ORDER BY e.id",
            dialect.rows("$1", &[("partner_id", Type::Id), ("id", Type::Id)])
        ))
        .text(rows)
    })
}

/// The transactions since `since` with these numbers.
pub fn recent(
    dialect: Dialect,
    wanted: &HashSet<(PartnerId, Msisdn)>,
    since: Instant,
) -> Option<Statement> {
    (!wanted.is_empty()).then(|| {
        let rows = rows(wanted.iter().map(|(partner, msisdn)| (*partner, json!(msisdn.as_str()))));
        Statement::new(format!(
            "SELECT {} FROM {} k JOIN transactions t ON t.partner_id = k.partner_id AND t.msisdn = k.msisdn \
             WHERE t.created_at > $2",
            transaction_columns("t"),
            dialect.rows("$1", &[("partner_id", Type::Id), ("msisdn", Type::Text)])
        ))
        .text(rows)
        .bind(Bind::At(At(since)))
    })
}

/// What is looked for under each partner, as the JSON of a statement's rows.
fn rows(wanted: impl Iterator<Item = (PartnerId, Value)>) -> String {
    let rows: Vec<Value> = wanted
        .map(|(partner, key)| json!([partner.to_string(), key]))
        .collect();
    Value::from(rows).to_string()
}

fn ids(all: impl Iterator<Item = uuid::Uuid>) -> String {
    json!(all.map(|id| id.to_string()).collect::<Vec<_>>()).to_string()
}
