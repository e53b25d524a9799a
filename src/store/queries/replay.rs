//! Deliveries as partners look at them afterwards, and sending them again: one, or a range of the feed.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};

use super::endpoints::{find_endpoint, lock_ledger};
use super::{Conn, DIALECT, insert_audit};
use crate::domain::clock::Instant;
use crate::domain::delivery::Endpoint;
use crate::domain::delivery_record::{
    AttemptRecord, DeliveryPage, DeliveryRecord, OneReplayed, REPLAY_COUNT_MAX, REPLAY_MAX,
    RangeReplayed, ReplayRange,
};
use crate::domain::identity::{DeliveryId, EndpointId, PartnerId};
use crate::domain::notice::DISABLED_NOTICE;
use crate::domain::timeline::EVENT_TYPES;
use crate::store::columns::{At, Id};
use crate::store::dialect::Type;
use crate::store::rows::deliveries::{AskedRow, AttemptRow, DeliveryRow, ReplayRow};
use crate::store::schema::{delivery_attempts, feed_heads, transaction_events};
use crate::store::statement::{Bind, Statement};
use crate::store::{Audit, StoreError};

/// Instances' clocks differ a little, so that instants do not rise with every single sequence: so many places before
/// and after the ends of a range are looked at too.
const SEQUENCE_SLACK: i64 = 1_000;

/// `StatusEvent::event_type`, of a row of `transaction_events` called v; none where there is no row.
pub const EVENT_TYPE: &str = "CASE WHEN v.kind = 'registered' OR v.to_status = 'queued' \
     THEN 'transaction.registered' ELSE 'transaction.' || v.to_status END";

/// What a delivery called d tells.
fn told() -> String {
    format!("COALESCE({EVENT_TYPE}, CASE WHEN d.notice IS NOT NULL THEN '{DISABLED_NOTICE}' END)")
}

pub const FOUND: &str = "d.id, d.endpoint_id, d.transaction_id, d.sequence, d.state, d.due_at, d.created_at, \
     d.finished_at, d.replayed_at";

pub async fn list_deliveries(
    conn: &mut Conn,
    partner: PartnerId,
    endpoint: EndpointId,
    page: DeliveryPage,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    // The state is a word of the text, so that the partial indexes fit.
    let state = page
        .state
        .map(|state| format!("AND d.state = '{state}'"))
        .unwrap_or_default();
    let rows: Vec<DeliveryRow> = Statement::new(format!(
        "SELECT {FOUND}, {told} AS event_type FROM deliveries d \
         LEFT JOIN transaction_events v ON v.partner_id = d.partner_id AND v.sequence = d.sequence \
         WHERE d.partner_id = $1 AND d.endpoint_id = $2 AND d.sequence < $3 {state} \
         ORDER BY d.sequence DESC LIMIT $4",
        told = told()
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(endpoint.0)))
    .bind(Bind::Number(page.before.unwrap_or(i64::MAX)))
    .bind(Bind::Number(page.limit))
    .load(conn)
    .await?;
    with_attempts(conn, partner, rows).await
}

pub async fn find_delivery(
    conn: &mut Conn,
    partner: PartnerId,
    id: DeliveryId,
) -> Result<Option<DeliveryRecord>, StoreError> {
    let rows: Vec<DeliveryRow> = Statement::new(format!(
        "SELECT {FOUND}, {told} AS event_type FROM deliveries d \
         LEFT JOIN transaction_events v ON v.partner_id = d.partner_id AND v.sequence = d.sequence \
         WHERE d.partner_id = $1 AND d.id = $2",
        told = told()
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(id.0)))
    .load(conn)
    .await?;
    Ok(with_attempts(conn, partner, rows).await?.pop())
}

pub async fn with_attempts(
    conn: &mut Conn,
    partner: PartnerId,
    rows: Vec<DeliveryRow>,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let ids: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let mut attempts: HashMap<DeliveryId, Vec<AttemptRecord>> = HashMap::new();
    let found = delivery_attempts::table
        .filter(delivery_attempts::partner_id.eq(Id(partner.0)))
        .filter(delivery_attempts::delivery_id.eq_any(ids))
        .order(delivery_attempts::number)
        .select(AttemptRow::as_select())
        .load(conn)
        .await?;
    for row in found {
        let of = attempts.entry(DeliveryId(row.delivery_id.0)).or_default();
        of.push(row.into());
    }
    rows.into_iter()
        .map(|row| {
            let mut record = DeliveryRecord::try_from(row)?;
            record.attempts = attempts.remove(&record.id).unwrap_or_default();
            Ok(record)
        })
        .collect()
}

pub async fn requeue_one(
    conn: &mut Conn,
    partner: PartnerId,
    id: DeliveryId,
    now: Instant,
    audit: Audit,
) -> Result<OneReplayed, StoreError> {
    conn.transaction(async |conn| {
        lock_ledger(conn, partner).await?;
        let asked: Vec<AskedRow> = Statement::new(
            "SELECT e.disabled_at IS NOT NULL AS is_disabled FROM deliveries d \
             JOIN endpoints e ON e.id = d.endpoint_id AND e.removed_at IS NULL \
             LEFT JOIN transaction_events v ON v.partner_id = d.partner_id AND v.sequence = d.sequence \
             WHERE d.partner_id = $1 AND d.id = $2 AND (v.id IS NOT NULL OR d.notice IS NOT NULL)",
        )
        .bind(Bind::Id(Id(partner.0)))
        .bind(Bind::Id(Id(id.0)))
        .load(conn)
        .await?;
        match asked.as_slice().first() {
            None => return Ok(OneReplayed::Unknown),
            Some(row) if row.is_disabled => return Ok(OneReplayed::Disabled),
            Some(_) => {}
        }
        // What a worker is sending just now is left to it.
        Statement::new(
            "UPDATE deliveries SET state = 'pending', due_at = $3, is_leased = false, finished_at = NULL, replayed_at = $3 \
             WHERE partner_id = $1 AND id = $2 AND NOT (state = 'pending' AND is_leased AND due_at > $3)",
        )
        .bind(Bind::Id(Id(partner.0)))
        .bind(Bind::Id(Id(id.0)))
        .bind(Bind::At(At(now)))
        .execute(conn)
        .await?;
        insert_audit(conn, audit, now).await?;
        Ok(OneReplayed::Done)
    })
    .await
}

pub async fn requeue_range(
    conn: &mut Conn,
    partner: PartnerId,
    endpoint: EndpointId,
    range: ReplayRange,
    now: Instant,
    audit: Audit,
) -> Result<RangeReplayed, StoreError> {
    conn.transaction(async |conn| {
        if !range.dry_run {
            lock_ledger(conn, partner).await?;
        }
        let Some(endpoint) = find_endpoint(conn, Some(partner), endpoint).await? else {
            return Ok(RangeReplayed::Unknown);
        };
        if endpoint.disabled_at.is_some() && !range.dry_run {
            return Ok(RangeReplayed::Disabled);
        }
        let max = if range.dry_run {
            REPLAY_COUNT_MAX
        } else {
            REPLAY_MAX
        };
        let mut rows = load_range(conn, &endpoint, range, max + 1).await?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let next_since = rows.get(max).map(|row| row.at.0);
        rows.truncate(max);
        if !range.dry_run {
            for statement in again(&endpoint, &rows, now) {
                statement.execute(conn).await?;
            }
            insert_audit(conn, audit, now).await?;
        }
        Ok(RangeReplayed::Done {
            count: i64::try_from(rows.len()).unwrap_or(i64::MAX),
            next_since,
        })
    })
    .await
}

/// The events of the range that the endpoint wants and does not wait for already, in the order of the feed.
async fn load_range(
    conn: &mut Conn,
    endpoint: &Endpoint,
    range: ReplayRange,
    limit: i64,
) -> Result<Vec<ReplayRow>, StoreError> {
    let partner = endpoint.partner_id;
    let since = range.since.max(endpoint.created_at);
    let last = feed_heads::table
        .filter(feed_heads::partner_id.eq(Id(partner.0)))
        .select(feed_heads::last_sequence)
        .first::<i64>(conn)
        .await
        .optional()?
        .unwrap_or_default();
    let from = first_sequence(conn, partner, last, |at| at >= since).await? - SEQUENCE_SLACK;
    let to = first_sequence(conn, partner, last, |at| at > range.until).await? + SEQUENCE_SLACK;
    let wanted = if endpoint.events.is_empty() {
        json!(EVENT_TYPES)
    } else {
        json!(endpoint.events)
    };
    let which = if range.only_failed {
        "d.state = 'dead'"
    } else {
        // Of the very instant of the endpoint's birth, what was before it has no delivery.
        "(d.state <> 'pending' OR (d.id IS NULL AND v.at > $8))"
    };
    let mut statement = Statement::new(format!(
        "SELECT v.sequence, v.transaction_id, v.at, d.id AS delivery_id FROM transaction_events v \
         LEFT JOIN deliveries d ON d.partner_id = $1 AND d.endpoint_id = $2 AND d.sequence = v.sequence \
         WHERE v.partner_id = $1 AND v.sequence >= $3 AND v.sequence <= $4 AND v.at >= $5 AND v.at <= $6 \
         AND {which} AND {EVENT_TYPE} {} ORDER BY v.sequence LIMIT $9",
        DIALECT.in_texts("$7")
    ));
    for bind in [
        Bind::Id(Id(partner.0)),
        Bind::Id(Id(endpoint.id.0)),
        Bind::Number(from),
        Bind::Number(to),
        Bind::At(At(since)),
        Bind::At(At(range.until)),
        Bind::Text(wanted.to_string()),
        Bind::At(At(endpoint.created_at)),
        Bind::Number(limit),
    ] {
        statement = statement.bind(bind);
    }
    Ok(statement.load(conn).await?)
}

/// The first sequence whose instant fits, by halving: instants rise with sequences, and what is kept no more is old.
async fn first_sequence(
    conn: &mut Conn,
    partner: PartnerId,
    last: i64,
    fits: impl Fn(Instant) -> bool,
) -> Result<i64, StoreError> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = transaction_events::table
            .filter(transaction_events::partner_id.eq(Id(partner.0)))
            .filter(transaction_events::sequence.eq(Some(middle)))
            .select(transaction_events::at)
            .first::<At>(conn)
            .await
            .optional()?;
        if at.is_some_and(|at| fits(at.0)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Makes deliveries pending that there are, and those that there never were.
fn again(endpoint: &Endpoint, rows: &[ReplayRow], now: Instant) -> Vec<Statement> {
    let mut known = Vec::new();
    let mut missing: Vec<Value> = Vec::new();
    for row in rows {
        match row.delivery_id {
            Some(id) => known.push(id.0.to_string()),
            None => missing.push(json!([
                DeliveryId::new(now).to_string(),
                row.transaction_id.0.to_string(),
                row.sequence,
            ])),
        }
    }
    let mut statements = Vec::new();
    if !known.is_empty() {
        statements.push(
            Statement::new(format!(
                "UPDATE deliveries SET state = 'pending', due_at = $3, is_leased = false, finished_at = NULL, \
                 replayed_at = $3 WHERE partner_id = $1 AND id {} AND state <> 'pending'",
                DIALECT.in_ids("$2")
            ))
            .bind(Bind::Id(Id(endpoint.partner_id.0)))
            .text(json!(known).to_string())
            .bind(Bind::At(At(now))),
        );
    }
    if !missing.is_empty() {
        statements.push(
            Statement::new(format!(
                "INSERT INTO deliveries (partner_id, id, endpoint_id, transaction_id, sequence, state, attempts, due_at, \
                 is_leased, created_at, replayed_at) \
                 SELECT $1, r.id, $2, r.transaction_id, r.sequence, 'pending', 0, $4, false, $4, $4 FROM {} AS r WHERE true \
                 ON CONFLICT (partner_id, endpoint_id, sequence) DO NOTHING",
                DIALECT.rows(
                    "$3",
                    &[
                        ("id", Type::Id),
                        ("transaction_id", Type::Id),
                        ("sequence", Type::Number)
                    ]
                )
            ))
            .bind(Bind::Id(Id(endpoint.partner_id.0)))
            .bind(Bind::Id(Id(endpoint.id.0)))
            .text(Value::from(missing).to_string())
            .bind(Bind::At(At(now))),
        );
    }
    statements
}
