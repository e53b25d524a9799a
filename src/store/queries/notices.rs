//! Attempts after which an endpoint is told nothing any more. Its partner's other endpoints are owed a notice of that, in
//! the commit that disables it: whatever is killed then, they are told, or it happens again.

use chrono::Duration;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Value, json};

use super::endpoints::lock_ledger;
use super::{Conn, DIALECT, deliveries};
use crate::domain::clock::Instant;
use crate::domain::delivery::{Attempt, AttemptVerdict, FAILING_PATIENCE, next_attempt_at};
use crate::domain::identity::{DeliveryId, EndpointId, NoticeId, PartnerId};
use crate::domain::notice::{DisabledNotice, DisabledReason};
use crate::store::StoreError;
use crate::store::columns::{At, Id};
use crate::store::dialect::Type;
use crate::store::notice_codec;
use crate::store::schema::endpoints;
use crate::store::statement::{Bind, Statement};

/// Records attempts of which some end their endpoint.
pub async fn record_ending(conn: &mut Conn, mut attempts: Vec<Attempt>) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        // The partners' ledgers first, as every commit of them does: one that still saw the endpoint is over, and the
        // next one will not. In one order, so that nobody waits in a circle.
        let mut partners: Vec<PartnerId> = ends(&attempts)
            .iter()
            .map(|(attempt, _)| attempt.partner_id)
            .collect();
        partners.sort_unstable();
        partners.dedup();
        for partner in partners {
            lock_ledger(conn, partner).await?;
        }
        spare_recovered(conn, &mut attempts).await?;
        let ends = ends(&attempts);
        let mut notices = Vec::new();
        for (attempt, reason) in ends {
            if let Some(notice) = notice(conn, attempt, reason).await? {
                notices.push((attempt.partner_id, notice));
            }
        }
        for statement in deliveries::attempts(&attempts) {
            statement.execute(conn).await?;
        }
        for (partner, notice) in notices {
            owe(conn, partner, &notice).await?;
        }
        Ok(())
    })
    .await
}

/// An attempt judged its endpoint by what was known when it began. If that has answered since, or its partner has enabled it
/// again, it has not failed for days without one success: the attempt is one that failed, and no more.
async fn spare_recovered(conn: &mut Conn, attempts: &mut [Attempt]) -> Result<(), StoreError> {
    let given_up = |attempt: &Attempt| attempt.verdict == AttemptVerdict::GivenUp;
    let mut endpoints: Vec<EndpointId> = attempts
        .iter()
        .filter(|attempt| given_up(attempt))
        .map(|attempt| attempt.endpoint_id)
        .collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    for endpoint in endpoints {
        let failing_since = lock_failing_since(conn, endpoint).await?;
        let has_answered = attempts.iter().any(|attempt| {
            attempt.endpoint_id == endpoint && attempt.verdict == AttemptVerdict::Delivered
        });
        for attempt in attempts
            .iter_mut()
            .filter(|attempt| attempt.endpoint_id == endpoint && given_up(attempt))
        {
            let ended_at = attempt.at + Duration::milliseconds(attempt.duration_ms);
            let is_failing =
                failing_since.is_some_and(|since| ended_at - since >= FAILING_PATIENCE);
            if has_answered || !is_failing {
                let chance = rand::random_range(0..1_000_000);
                attempt.failing_since = failing_since;
                attempt.verdict = next_attempt_at(attempt.number, ended_at, None, chance)
                    .map_or(AttemptVerdict::Dead, AttemptVerdict::RetryAt);
            }
        }
    }
    Ok(())
}

/// Since when an endpoint fails, which stays so until the commit.
async fn lock_failing_since(
    conn: &mut Conn,
    endpoint: EndpointId,
) -> Result<Option<Instant>, StoreError> {
    Statement::new("UPDATE endpoints SET failing_since = failing_since WHERE id = $1")
        .bind(Bind::Id(Id(endpoint.0)))
        .execute(conn)
        .await?;
    let found = endpoints::table
        .filter(endpoints::id.eq(Id(endpoint.0)))
        .select(endpoints::failing_since)
        .first::<Option<At>>(conn)
        .await
        .optional()?;
    Ok(found.flatten().map(|at| at.0))
}

/// The first attempt that ends each endpoint, and why.
fn ends(attempts: &[Attempt]) -> Vec<(&Attempt, DisabledReason)> {
    let mut ends: Vec<(&Attempt, DisabledReason)> = Vec::new();
    for attempt in attempts {
        let reason = match attempt.verdict {
            AttemptVerdict::Gone => DisabledReason::Gone,
            AttemptVerdict::GivenUp => DisabledReason::Failing,
            AttemptVerdict::Delivered | AttemptVerdict::RetryAt(_) | AttemptVerdict::Dead => {
                continue;
            }
        };
        if ends
            .iter()
            .all(|(known, _)| known.endpoint_id != attempt.endpoint_id)
        {
            ends.push((attempt, reason));
        }
    }
    ends
}

/// What there is to tell: nothing of an endpoint that is disabled already, or that its partner never made.
async fn notice(
    conn: &mut Conn,
    attempt: &Attempt,
    reason: DisabledReason,
) -> Result<Option<DisabledNotice>, StoreError> {
    let found = endpoints::table
        .filter(endpoints::id.eq(Id(attempt.endpoint_id.0)))
        .filter(endpoints::partner_id.eq(Id(attempt.partner_id.0)))
        .filter(endpoints::disabled_at.is_null())
        .filter(endpoints::removed_at.is_null())
        .filter(endpoints::transaction_id.is_null())
        .select((endpoints::url, endpoints::failing_since))
        .first::<(String, Option<At>)>(conn)
        .await
        .optional()?;
    Ok(found.map(|(url, failing_since)| DisabledNotice {
        id: NoticeId::new(attempt.at),
        endpoint_id: attempt.endpoint_id,
        url: url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        reason,
        failing_since: Some(failing_since.map_or(attempt.at, |at| at.0)),
        disabled_at: attempt.at,
    }))
}

/// All endpoints that the partner made and that are told anything, whichever events they chose: this is about none.
async fn owe(
    conn: &mut Conn,
    partner: PartnerId,
    notice: &DisabledNotice,
) -> Result<(), StoreError> {
    let told: Vec<EndpointId> = endpoints::table
        .filter(endpoints::partner_id.eq(Id(partner.0)))
        .filter(endpoints::disabled_at.is_null())
        .filter(endpoints::removed_at.is_null())
        .filter(endpoints::transaction_id.is_null())
        .select(endpoints::id)
        .load::<Id>(conn)
        .await?
        .into_iter()
        .map(|id| EndpointId(id.0))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = told
        .iter()
        .map(|endpoint| {
            let id = DeliveryId::new(notice.disabled_at);
            json!([id.to_string(), endpoint.to_string()])
        })
        .collect();
    Statement::new(format!(
        "INSERT INTO deliveries (partner_id, id, endpoint_id, transaction_id, sequence, state, attempts, due_at, is_leased, \
         created_at, notice) SELECT $1, r.id, r.endpoint_id, $2, (SELECT COALESCE(MIN(d.sequence), 0) FROM deliveries d \
         WHERE d.partner_id = $1 AND d.endpoint_id = r.endpoint_id AND d.sequence < 0) - 1, \
         'pending', 0, $3, false, $3, $4 FROM {} AS r WHERE true",
        DIALECT.rows("$5", &[("id", Type::Id), ("endpoint_id", Type::Id)])
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(notice.id.0)))
    .bind(Bind::At(At(notice.disabled_at)))
    .text(notice_codec::encode(notice)?)
    .text(Value::from(rows).to_string())
    .execute(conn)
    .await?;
    Ok(())
}
