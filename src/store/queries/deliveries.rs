//! The outbox: who has something due, taking a lease on it, and what came of the attempts.

use std::collections::BTreeMap;

use chrono::Duration;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::{Conn, DIALECT};
use crate::domain::clock::Instant;
use crate::domain::delivery::{Attempt, AttemptVerdict, ClaimedDelivery, LEASE, ORDER_PATIENCE};
use crate::domain::identity::EndpointId;
use crate::store::columns::At;
use crate::store::dialect::{Dialect, Type};
use crate::store::rows::deliveries::{ClaimedEventRow, ClaimedNoticeRow, LeasedRow};
use crate::store::statement::{Bind, Statement};
use crate::store::{Capacity, StoreError};

/// That a row found by its key is pending. Said plainly it would lead PostgreSQL to the index of pending rows instead,
/// through all of a partner's.
const IS_PENDING: &str = "deliveries.state || '' = 'pending'";

/// That a delivery `d` is pending, as the index of what is to be sent has it: PostgreSQL, knowing nothing yet of a table
/// that has just filled, would take the other index of pending rows as well and sort them all.
pub(super) const IS_TO_SEND: &str = "d.state = 'pending' AND d.due_at IS NOT NULL";

/// Endpoints with a delivery due. Endpoints and pending rows may be many, endpoints with a pending row are few: the index
/// of pending rows is read by leaps, from the earliest due of one endpoint to that of the next.
pub fn due_endpoints(now: Instant) -> Statement {
    let first = format!(
        "SELECT d.partner_id, d.endpoint_id, d.due_at FROM deliveries d WHERE {IS_TO_SEND} \
         ORDER BY d.partner_id, d.endpoint_id, d.due_at LIMIT 1"
    );
    // SQLite has no LATERAL, and compares pairs by their first part only when it looks for the place to go on.
    let next = match DIALECT {
        Dialect::Postgres => format!(
            "CROSS JOIN LATERAL (\
             SELECT d.partner_id, d.endpoint_id, d.due_at FROM deliveries d WHERE {IS_TO_SEND} \
             AND (d.partner_id, d.endpoint_id) > (p.partner_id, p.endpoint_id) \
             ORDER BY d.partner_id, d.endpoint_id, d.due_at LIMIT 1) n"
        ),
        Dialect::Sqlite => format!(
            "CROSS JOIN deliveries n ON n.rowid = COALESCE(\
             (SELECT d.rowid FROM deliveries d WHERE {IS_TO_SEND} AND d.partner_id = p.partner_id \
             AND d.endpoint_id > p.endpoint_id ORDER BY d.endpoint_id, d.due_at LIMIT 1), \
             (SELECT d.rowid FROM deliveries d WHERE {IS_TO_SEND} AND d.partner_id > p.partner_id \
             ORDER BY d.partner_id, d.endpoint_id, d.due_at LIMIT 1))"
        ),
    };
    Statement::new(format!(
        "WITH RECURSIVE pending (partner_id, endpoint_id, due_at) AS (SELECT * FROM ({first}) AS f \
         UNION ALL SELECT n.partner_id, n.endpoint_id, n.due_at FROM pending p {next}) \
         SELECT e.partner_id, e.id AS endpoint_id, e.concurrency, e.rate_per_second \
         FROM pending p JOIN endpoints e ON e.id = p.endpoint_id \
         WHERE p.due_at <= $1 AND e.disabled_at IS NULL AND e.removed_at IS NULL"
    ))
    .bind(Bind::At(At(now)))
}

/// Due deliveries of each endpoint up to its capacity: a delivery waits while an earlier one of its transaction is
/// pending and not yet too old. `deliveries` moves their due time to the lease's end, so that a worker that dies
/// gives them back by itself.
pub fn claim(capacities: &[Capacity], now: Instant) -> Statement {
    let rows: Vec<Value> = capacities
        .iter()
        .map(|capacity| {
            json!([
                capacity.partner_id.to_string(),
                capacity.endpoint_id.to_string(),
                capacity.free
            ])
        })
        .collect();
    let wanted = DIALECT.rows(
        "$1",
        &[
            ("partner_id", Type::Id),
            ("endpoint_id", Type::Id),
            ("free", Type::Number),
        ],
    );
    // Asked for the first of its transaction and not whether there is an earlier one: PostgreSQL, knowing nothing yet of
    // a table that has just filled, would look for the latter among all that is pending, once for each.
    let due = "d.partner_id = w.partner_id AND d.endpoint_id = w.endpoint_id AND d.state = 'pending' AND d.due_at <= $2 \
         AND COALESCE(d.sequence <= (\
           SELECT head.sequence FROM deliveries head WHERE head.partner_id = d.partner_id \
           AND head.endpoint_id = d.endpoint_id AND head.transaction_id = d.transaction_id \
           AND head.state = 'pending' AND head.sequence IS NOT NULL AND COALESCE(head.replayed_at, head.created_at) > $4 ORDER BY head.sequence LIMIT 1), true) \
         ORDER BY d.due_at, d.sequence";
    // A lease that is lost with the server only means that the delivery is taken again, so this commit need not wait for a
    // disk or a standby.
    let quick = match DIALECT {
        Dialect::Postgres => " AND set_config('synchronous_commit', 'off', true) = 'off'",
        Dialect::Sqlite => "",
    };
    let enabled = format!(
        "{wanted} w JOIN endpoints e ON e.id = w.endpoint_id AND e.disabled_at IS NULL AND e.removed_at IS NULL{quick}"
    );
    // PostgreSQL gets their places: it takes the limits for thousands, and would look for their keys among all that was ever
    // delivered. SQLite has no LATERAL, and no outer column in a LIMIT: each endpoint gives as many as any may take, and of
    // those stay as many as it may take.
    let is_chosen = match DIALECT {
        Dialect::Postgres => format!(
            "ctid = ANY (ARRAY(SELECT o.place FROM {enabled} CROSS JOIN LATERAL (\
             SELECT d.ctid AS place FROM deliveries d WHERE {due} LIMIT w.free) o))"
        ),
        Dialect::Sqlite => format!(
            "(partner_id, id) IN (SELECT partner_id, id FROM (SELECT o.partner_id, o.id, w.free, \
             ROW_NUMBER() OVER (PARTITION BY o.endpoint_id ORDER BY o.due_at, o.sequence) AS place \
             FROM {enabled} CROSS JOIN deliveries o WHERE o.rowid IN (\
             SELECT d.rowid FROM deliveries d WHERE {due} LIMIT $5)) ranked WHERE place <= free)"
        ),
    };
    let most = capacities.iter().map(|capacity| capacity.free).max();
    // The row's own predicate stands again outside the subselect, so that two claimers never take the same row.
    Statement::new(format!(
        "UPDATE deliveries SET due_at = $3, is_leased = true WHERE {IS_PENDING} AND due_at <= $2 \
         AND {is_chosen} \
         RETURNING id, partner_id, endpoint_id, transaction_id, sequence, attempts, created_at, notice"
    ))
    .text(Value::from(rows).to_string())
    .bind(Bind::At(At(now)))
    .bind(Bind::At(At(now + LEASE)))
    .bind(Bind::At(At(now - ORDER_PATIENCE)))
    .bind(Bind::Number(most.unwrap_or_default()))
}

/// Takes a lease on due deliveries, and reads them with all a sender needs.
pub async fn take(
    conn: &mut Conn,
    capacities: Vec<Capacity>,
    now: Instant,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let leased: Vec<LeasedRow> = claim(&capacities, now).load(conn).await?;
    let mut claimed = Vec::with_capacity(leased.len());
    // Below zero is no place in the feed.
    let (events, notices): (Vec<_>, Vec<_>) = leased.iter().partition(|row| row.sequence > 0);
    if !events.is_empty() {
        let rows: Vec<ClaimedEventRow> = claimed_events(&events).load(conn).await?;
        if rows.len() < events.len() {
            end_without_event(&events, now).execute(conn).await?;
        }
        claimed.extend(readable(rows));
    }
    if !notices.is_empty() {
        let rows: Vec<ClaimedNoticeRow> = claimed_notices(&notices).load(conn).await?;
        claimed.extend(readable(rows));
    }
    Ok(claimed)
}

/// Ends those of which there is nothing to tell: the event was old and removed at the moment when its delivery was to be
/// made again. (Others are missing because their endpoint was removed meanwhile.)
fn end_without_event(leased: &[&LeasedRow], now: Instant) -> Statement {
    Statement::new(format!(
        "UPDATE deliveries SET state = 'dead', is_leased = false, finished_at = $2 FROM {} AS r \
         WHERE deliveries.partner_id = r.partner_id AND deliveries.id = r.id AND {IS_PENDING} \
         AND NOT EXISTS (SELECT 1 FROM transaction_events v WHERE v.partner_id = r.partner_id AND v.sequence = r.sequence)",
        leased_rows()
    ))
    .text(as_rows(leased))
    .bind(Bind::At(At(now)))
}

/// One row that cannot be read must not hold up the others; its lease runs out and it is tried again.
fn readable<R>(rows: Vec<R>) -> impl Iterator<Item = ClaimedDelivery>
where
    ClaimedDelivery: TryFrom<R, Error = StoreError>,
{
    rows.into_iter().filter_map(|row| {
        ClaimedDelivery::try_from(row)
            .inspect_err(|error| tracing::error!(%error, "a claimed delivery"))
            .ok()
    })
}

/// A claimed delivery and its endpoint.
const CLAIMED: &str = "d.id, d.attempts, d.created_at AS delivery_created_at, d.partner_id, d.endpoint_id, \
     e.url, e.sealed_secret, e.previous_sealed_secret, e.previous_secret_until, e.failing_since, \
     e.created_at AS endpoint_created_at";

/// Claimed deliveries of events, with their endpoints.
fn claimed_events(leased: &[&LeasedRow]) -> Statement {
    Statement::new(format!(
        "SELECT {CLAIMED}, \
         v.id AS event_id, v.sequence, v.transaction_id, v.kind, v.to_status, v.at, v.conversation_id, v.client_request_id, \
         v.result_code, v.result_description, v.receipt, v.amount_minor, v.currency, v.msisdn, v.reversed_at \
         FROM {} d JOIN endpoints e ON e.id = d.endpoint_id \
         JOIN transaction_events v ON v.partner_id = d.partner_id AND v.sequence = d.sequence \
         WHERE e.removed_at IS NULL ORDER BY v.sequence",
        leased_rows()
    ))
    .text(as_rows(leased))
}

/// Claimed deliveries of notices, with their endpoints.
fn claimed_notices(leased: &[&LeasedRow]) -> Statement {
    Statement::new(format!(
        "SELECT {CLAIMED}, d.transaction_id AS notice_id, d.notice \
         FROM {} d JOIN endpoints e ON e.id = d.endpoint_id \
         WHERE d.notice IS NOT NULL AND e.removed_at IS NULL ORDER BY d.sequence DESC",
        leased_rows()
    ))
    .text(as_rows(leased))
}

/// The rows that the claim returned. They are not looked up again: PostgreSQL, knowing nothing yet of a table that has just
/// filled, would go through all that was ever delivered to find them.
fn leased_rows() -> String {
    DIALECT.rows(
        "$1",
        &[
            ("id", Type::Id),
            ("partner_id", Type::Id),
            ("endpoint_id", Type::Id),
            ("transaction_id", Type::Id),
            ("sequence", Type::Number),
            ("attempts", Type::Integer),
            ("created_at", Type::Instant),
            ("notice", Type::Text),
        ],
    )
}

fn as_rows(leased: &[&LeasedRow]) -> String {
    let row = |row: &&LeasedRow| {
        json!([
            row.id.0.to_string(),
            row.partner_id.0.to_string(),
            row.endpoint_id.0.to_string(),
            row.transaction_id.0.to_string(),
            row.sequence,
            row.attempts,
            DIALECT.instant(row.created_at.0),
            row.notice,
        ])
    };
    Value::from(leased.iter().map(row).collect::<Vec<_>>()).to_string()
}

/// The attempts, and what follows for their deliveries. Where an endpoint ends, `notices` has locked the ledgers before.
pub fn attempts(attempts: &[Attempt]) -> Vec<Statement> {
    let mut records = Vec::new();
    let mut verdicts = Vec::new();
    let mut gone = Vec::new();
    for attempt in attempts {
        records.push(json!([
            attempt.partner_id.to_string(),
            attempt.delivery_id.to_string(),
            attempt.number,
            DIALECT.instant(attempt.at),
            attempt.duration_ms,
            attempt.status,
            attempt.error,
            attempt
                .response
                .as_ref()
                .map(|text| text.replace('\0', "\u{fffd}")),
        ]));
        let (state, due_at, finished) = match attempt.verdict {
            AttemptVerdict::Delivered => ("delivered", attempt.at, true),
            AttemptVerdict::RetryAt(at) => ("pending", at, false),
            AttemptVerdict::Dead => ("dead", attempt.at, true),
            AttemptVerdict::Gone | AttemptVerdict::GivenUp => {
                gone.push(json!([
                    attempt.endpoint_id.to_string(),
                    DIALECT.instant(attempt.at),
                    attempt.partner_id.to_string()
                ]));
                ("dead", attempt.at, true)
            }
        };
        verdicts.push(json!([
            attempt.partner_id.to_string(),
            attempt.delivery_id.to_string(),
            state,
            attempt.number,
            DIALECT.instant(due_at),
            finished.then(|| DIALECT.instant(attempt.at)),
        ]));
    }
    // Endpoints, then deliveries: whoever changes both takes them in this order, so that nobody waits in a circle.
    let mut statements = failing_since(attempts);
    statements.extend(last_failure(attempts));
    if !gone.is_empty() {
        statements.push(
            Statement::new(format!(
                "UPDATE endpoints SET disabled_at = r.at FROM {} AS r WHERE endpoints.id = r.id AND endpoints.disabled_at IS NULL",
                DIALECT.rows("$1", &[("id", Type::Id), ("at", Type::Instant)])
            ))
            .text(Value::from(gone.clone()).to_string()),
        );
    }
    statements.extend([
        Statement::new(format!(
            "UPDATE deliveries SET state = r.state, attempts = r.attempts, due_at = r.due_at, is_leased = false, \
             finished_at = r.finished_at FROM {} AS r \
             WHERE deliveries.partner_id = r.partner_id AND deliveries.id = r.id AND {IS_PENDING}",
            DIALECT.rows(
                "$1",
                &[
                    ("partner_id", Type::Id),
                    ("id", Type::Id),
                    ("state", Type::Text),
                    ("attempts", Type::Integer),
                    ("due_at", Type::Instant),
                    ("finished_at", Type::Instant),
                ]
            )
        ))
        .text(Value::from(verdicts).to_string()),
        // A lease that ran out may let two workers make the same attempt: the first record stands.
        Statement::new(format!(
            "INSERT INTO delivery_attempts (partner_id, delivery_id, number, at, duration_ms, status, error, response) \
             SELECT partner_id, delivery_id, number, at, duration_ms, status, error, response FROM {} AS r WHERE true \
             ON CONFLICT (partner_id, delivery_id, number) DO NOTHING",
            DIALECT.rows(
                "$1",
                &[
                    ("partner_id", Type::Id),
                    ("delivery_id", Type::Id),
                    ("number", Type::Integer),
                    ("at", Type::Instant),
                    ("duration_ms", Type::Number),
                    ("status", Type::Integer),
                    ("error", Type::Text),
                    ("response", Type::Text),
                ]
            )
        ))
        .text(Value::from(records).to_string()),
    ]);
    if !gone.is_empty() {
        // Nobody will be told of what is still pending there: it must not look as if it waited.
        statements.push(
            Statement::new(format!(
                "UPDATE deliveries SET state = 'dead', is_leased = false, finished_at = r.at FROM {} AS r \
                 WHERE deliveries.partner_id = r.partner_id AND deliveries.endpoint_id = r.id AND deliveries.state = 'pending' AND deliveries.due_at IS NOT NULL",
                DIALECT.rows(
                    "$1",
                    &[("id", Type::Id), ("at", Type::Instant), ("partner_id", Type::Id)]
                )
            ))
            .text(Value::from(gone).to_string()),
        );
    }
    statements
}

/// Since when endpoints fail, for those of which it changes: a success ends it, the first failure begins it.
fn failing_since(attempts: &[Attempt]) -> Vec<Statement> {
    let of = |is_wanted: &dyn Fn(&&Attempt) -> bool| -> Vec<Value> {
        attempts
            .iter()
            .filter(is_wanted)
            .map(|attempt| json!([attempt.endpoint_id.to_string(), DIALECT.instant(attempt.at)]))
            .collect()
    };
    let is_delivered = |attempt: &&Attempt| attempt.verdict == AttemptVerdict::Delivered;
    let recovered = of(&|attempt| is_delivered(attempt) && attempt.failing_since.is_some());
    let failed = of(&|attempt| !is_delivered(attempt) && attempt.failing_since.is_none());
    let rows = DIALECT.rows("$1", &[("id", Type::Id), ("at", Type::Instant)]);
    let mut statements = Vec::new();
    if !failed.is_empty() {
        statements.push(
            Statement::new(format!(
                "UPDATE endpoints SET failing_since = r.at FROM {rows} AS r \
                 WHERE endpoints.id = r.id AND endpoints.failing_since IS NULL"
            ))
            .text(Value::from(failed).to_string()),
        );
    }
    if !recovered.is_empty() {
        statements.push(
            Statement::new(format!(
                "UPDATE endpoints SET failing_since = NULL FROM {rows} AS r \
                 WHERE endpoints.id = r.id AND endpoints.failing_since IS NOT NULL"
            ))
            .text(Value::from(recovered).to_string()),
        );
    }
    statements
}

/// How the last attempt failed, by endpoint and in the order of their ids: several instances may write at once.
fn last_failure(attempts: &[Attempt]) -> Option<Statement> {
    let mut last: BTreeMap<EndpointId, (Instant, String)> = BTreeMap::new();
    let failed = attempts
        .iter()
        .filter(|attempt| attempt.verdict != AttemptVerdict::Delivered);
    for attempt in failed {
        let ended_at = attempt.at + Duration::milliseconds(attempt.duration_ms);
        let known = last.entry(attempt.endpoint_id).or_default();
        if ended_at > known.0 {
            *known = (ended_at, failure(attempt));
        }
    }
    if last.is_empty() {
        return None;
    }
    let rows: Vec<Value> = last
        .iter()
        .map(|(id, (at, how))| json!([id.to_string(), DIALECT.instant(*at), how]))
        .collect();
    let columns = [("id", Type::Id), ("at", Type::Instant), ("how", Type::Text)];
    let statement = Statement::new(format!(
        "UPDATE endpoints SET last_failure_at = r.at, last_failure = r.how FROM {} AS r \
         WHERE endpoints.id = r.id AND (endpoints.last_failure_at IS NULL OR endpoints.last_failure_at < r.at)",
        DIALECT.rows("$1", &columns)
    ));
    Some(statement.text(Value::from(rows).to_string()))
}

fn failure(attempt: &Attempt) -> String {
    match (attempt.status, &attempt.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.replace('\0', "\u{fffd}"),
        (None, None) => "no answer".to_owned(),
    }
}

/// Gives every lease back at once.
pub fn requeue(now: Instant) -> Statement {
    Statement::new(
        "UPDATE deliveries SET due_at = $1, is_leased = false WHERE state = 'pending' AND is_leased",
    )
    .bind(Bind::At(At(now)))
}
