//! Payments that are started through us, and the questions that silent ones cause.

use std::collections::HashMap;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::store::on;
use super::{Adapter, Conn, DIALECT};
use crate::domain::asking::AskLease;
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::payment::PaymentRecord;
use crate::domain::transaction::Transaction;
use crate::store::columns::{At, Id};
use crate::store::dialect::{Dialect, Type};
use crate::store::ledger::load;
use crate::store::rows::payments::PaymentRow;
use crate::store::rows::transactions::{StuckRow, TransactionRow, TransactionSql};
use crate::store::rows::{IdRow, PartnerIdRow};
use crate::store::schema::payments;
use crate::store::statement::{Bind, Statement};
use crate::store::{PaymentStore, StoreError};

#[async_trait]
impl PaymentStore for Adapter {
    async fn find_payment(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        on!(self.reader, find(partner, id))
    }

    async fn list_partners_to_ask(&self, now: Instant) -> Result<Vec<PartnerId>, StoreError> {
        let rows = self.rows::<PartnerIdRow, _>(to_ask(now)).await?;
        Ok(rows
            .into_iter()
            .map(|row| PartnerId(row.partner_id.0))
            .collect())
    }

    async fn claim_questions(
        &self,
        partner: PartnerId,
        limit: i64,
        now: Instant,
        until: Instant,
    ) -> Result<Vec<Transaction>, StoreError> {
        on!(self.writer, claim_questions(partner, limit, now, until))
    }

    async fn renew_questions(
        &self,
        held: Vec<AskLease>,
        until: Instant,
    ) -> Result<Vec<TransactionId>, StoreError> {
        on!(self.writer, renew_questions(&held, until))
    }

    async fn list_stuck(
        &self,
        partner: Option<PartnerId>,
        limit: i64,
    ) -> Result<Vec<(Transaction, Instant)>, StoreError> {
        on!(self.reader, stuck(partner, limit))
    }
}

pub async fn find(
    conn: &mut Conn,
    partner: PartnerId,
    id: TransactionId,
) -> Result<Option<PaymentRecord>, StoreError> {
    let row = payments::table
        .filter(payments::partner_id.eq(Id(partner.0)))
        .filter(payments::transaction_id.eq(Id(id.0)))
        .select(PaymentRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.map(PaymentRecord::from))
}

/// One look at the index a partner, however much is open: the earliest of each. PostgreSQL may turn an `EXISTS` into a
/// walk over all that is open; this it cannot.
pub fn to_ask(now: Instant) -> Statement {
    Statement::new(
        "SELECT h.partner_id FROM feed_heads h WHERE (SELECT o.ask_at FROM open_transactions o \
         WHERE o.partner_id = h.partner_id AND o.stuck_at IS NULL ORDER BY o.ask_at LIMIT 1) <= $1",
    )
    .bind(Bind::At(At(now)))
}

/// Takes what is due. The predicate stands again outside the subselect, so that two claimers never take the same row;
/// the subselect is materialised, or PostgreSQL may run it again for every row and take more than `limit`.
pub fn claim(partner: PartnerId, limit: i64, now: Instant, until: Instant) -> Statement {
    let skip_locked = match DIALECT {
        Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
        Dialect::Sqlite => "",
    };
    Statement::new(format!(
        "WITH due AS MATERIALIZED (\
           SELECT partner_id, status, created_at, transaction_id FROM open_transactions \
           WHERE partner_id = $1 AND ask_at <= $2 AND stuck_at IS NULL ORDER BY ask_at LIMIT $4{skip_locked}) \
         UPDATE open_transactions SET ask_at = $3 WHERE ask_at <= $2 AND stuck_at IS NULL \
         AND (partner_id, status, created_at, transaction_id) IN (\
           SELECT partner_id, status, created_at, transaction_id FROM due) \
         RETURNING transaction_id AS id"
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::At(At(now)))
    .bind(Bind::At(At(until)))
    .bind(Bind::Number(limit))
}

pub async fn claim_questions(
    conn: &mut Conn,
    partner: PartnerId,
    limit: i64,
    now: Instant,
    until: Instant,
) -> Result<Vec<Transaction>, StoreError> {
    let claimed: Vec<IdRow> = claim(partner, limit, now, until).load(conn).await?;
    let wanted = claimed
        .into_iter()
        .map(|row| (partner, TransactionId(row.id.0)));
    find_all(conn, wanted.collect()).await
}

/// Prolongs leases that are as they were taken. A row that is locked is just being changed, and nobody waits for it: so this
/// can lock rows of many partners without ever meeting the ledger, which does too. Found by when they are due, as written:
/// SQLite would rather skip through the primary key for the id.
pub fn renew(held: &[AskLease], until: Instant) -> Statement {
    let skip_locked = match DIALECT {
        Dialect::Postgres => " FOR UPDATE OF o SKIP LOCKED",
        Dialect::Sqlite => "",
    };
    let leases: Vec<Value> = held
        .iter()
        .map(|lease| {
            json!([
                lease.partner_id.to_string(),
                lease.transaction_id.to_string(),
                DIALECT.instant(lease.until)
            ])
        })
        .collect();
    let columns = [
        ("owner", Type::Id),
        ("id", Type::Id),
        ("leased_to", Type::Instant),
    ];
    Statement::new(format!(
        "WITH held AS MATERIALIZED (\
           SELECT o.partner_id, o.status, o.created_at, o.transaction_id FROM {} h CROSS JOIN open_transactions o \
           WHERE o.partner_id = h.owner AND o.ask_at = h.leased_to AND o.stuck_at IS NULL \
           AND CASE WHEN o.transaction_id = h.id THEN 1 ELSE 0 END = 1{skip_locked}) \
         UPDATE open_transactions SET ask_at = $2 WHERE (partner_id, status, created_at, transaction_id) IN (\
           SELECT partner_id, status, created_at, transaction_id FROM held) \
         RETURNING transaction_id AS id",
        DIALECT.rows("$1", &columns)
    ))
    .text(Value::from(leases).to_string())
    .bind(Bind::At(At(until)))
}

pub async fn renew_questions(
    conn: &mut Conn,
    held: &[AskLease],
    until: Instant,
) -> Result<Vec<TransactionId>, StoreError> {
    let renewed: Vec<IdRow> = renew(held, until).load(conn).await?;
    Ok(renewed
        .into_iter()
        .map(|row| TransactionId(row.id.0))
        .collect())
}

/// The newest transactions that are asked about no more.
pub fn stuck_ids(partner: Option<PartnerId>, limit: i64) -> Statement {
    let of_partner = if partner.is_some() {
        "partner_id = $2 AND "
    } else {
        ""
    };
    let statement = Statement::new(format!(
        "SELECT partner_id, transaction_id, stuck_at FROM open_transactions \
         WHERE {of_partner}stuck_at IS NOT NULL ORDER BY stuck_at DESC, transaction_id DESC LIMIT $1"
    ))
    .bind(Bind::Number(limit));
    match partner {
        Some(partner) => statement.bind(Bind::Id(Id(partner.0))),
        None => statement,
    }
}

pub async fn stuck(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    limit: i64,
) -> Result<Vec<(Transaction, Instant)>, StoreError> {
    let rows: Vec<StuckRow> = stuck_ids(partner, limit).load(conn).await?;
    let since: HashMap<_, Instant> = rows
        .into_iter()
        .map(|row| {
            let key = (
                PartnerId(row.partner_id.0),
                TransactionId(row.transaction_id.0),
            );
            (key, row.stuck_at.0)
        })
        .collect();
    let mut found: Vec<(Transaction, Instant)> = find_all(conn, since.keys().copied().collect())
        .await?
        .into_iter()
        .filter_map(|transaction| {
            let at = since.get(&(transaction.partner_id, transaction.id))?;
            Some((transaction, *at))
        })
        .collect();
    found.sort_by_key(|(transaction, at)| std::cmp::Reverse((*at, transaction.id)));
    Ok(found)
}

async fn find_all(
    conn: &mut Conn,
    wanted: std::collections::HashSet<(PartnerId, TransactionId)>,
) -> Result<Vec<Transaction>, StoreError> {
    let Some(statement) = load::by_ids(DIALECT, &wanted) else {
        return Ok(Vec::new());
    };
    let rows: Vec<TransactionRow> = statement.selecting::<TransactionSql>().load(conn).await?;
    rows.into_iter().map(Transaction::try_from).collect()
}
