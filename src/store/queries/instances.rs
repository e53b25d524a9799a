//! Who lives on this database, and the quotas that instances count together. All time is the database's own, so that no
//! instance's clock decides for the others.

use std::time::Duration;

use async_trait::async_trait;

use super::Adapter;
use crate::domain::allowance::{Allowance, Caller, Standing};
use crate::domain::identity::InstanceId;
use crate::store::columns::Id;
use crate::store::rows::instances::{OthersRow, StandingRow};
use crate::store::statement::{Bind, Statement};
use crate::store::{HOUSEKEEPING_BATCH, InstanceStore, LIVE_FOR, Others, StoreError};

#[async_trait]
impl InstanceStore for Adapter {
    async fn record_alive(&self, id: InstanceId) -> Result<Others, StoreError> {
        let rows = self.rows::<OthersRow, _>(beat(id)).await?;
        rows.into_iter()
            .next()
            .map(Others::from)
            .ok_or_else(|| StoreError::Query("the instances were not counted".to_owned()))
    }

    async fn record_gone(&self, id: InstanceId) -> Result<(), StoreError> {
        self.execute_and_count(vec![leave(id)]).await.map(drop)
    }

    async fn take_allowance(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<Standing, StoreError> {
        let rows = self
            .rows::<StandingRow, _>(take(caller, bucket, allowance))
            .await?;
        rows.into_iter()
            .next()
            .map(Standing::from)
            .ok_or_else(|| StoreError::Query("the request was not counted".to_owned()))
    }

    async fn give_allowance_back(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<(), StoreError> {
        let statement = give_back(caller, bucket, allowance);
        self.execute_and_count(vec![statement]).await.map(drop)
    }
}

/// Says that one lives; how many others do, and how many of those began before it. Those long gone are removed.
pub fn beat(id: InstanceId) -> Statement {
    Statement::new(format!(
        "WITH own AS (INSERT INTO instances (id, seen_at) VALUES ($1, now()) \
           ON CONFLICT (id) DO UPDATE SET seen_at = now()), \
         gone AS (DELETE FROM instances WHERE id IN (SELECT id FROM instances \
           WHERE id <> $1 AND seen_at < now() - interval '{span} s' FOR UPDATE SKIP LOCKED)) \
         SELECT COUNT(*) AS others, COUNT(*) FILTER (WHERE id < $1) AS before \
         FROM instances WHERE id <> $1 AND seen_at >= now() - interval '{span} s'",
        span = LIVE_FOR.as_secs()
    ))
    .bind(Bind::Id(Id(id.0)))
}

/// Says that one lives no more.
pub fn leave(id: InstanceId) -> Statement {
    Statement::new("DELETE FROM instances WHERE id = $1").bind(Bind::Id(Id(id.0)))
}

/// Counts one request of a caller, who stands in the place of a key, if its quota is not used up: GCRA in one row. A refused request changes nothing but says
/// so in the row, which is how one statement answers both.
pub fn take(caller: Caller, bucket: &str, allowance: Allowance) -> Statement {
    const PASSES: &str = "r.full_at <= now() + $4 * interval '1 microsecond'";
    Statement::new(format!(
        "INSERT INTO rate_limits AS r (key_id, bucket, full_at, passed) \
         VALUES ($1, $2, now() + $3 * interval '1 microsecond', true) \
         ON CONFLICT (key_id, bucket) DO UPDATE SET passed = {PASSES}, \
         full_at = CASE WHEN {PASSES} THEN GREATEST(r.full_at, now()) + $3 * interval '1 microsecond' ELSE r.full_at END \
         RETURNING passed, CAST(EXTRACT(EPOCH FROM full_at - now()) * 1000000 AS BIGINT) AS whole_in"
    ))
    .bind(Bind::Id(Id(caller.id())))
    .text(bucket)
    .bind(micros(allowance.interval()))
    .bind(micros(allowance.tolerance()))
}

/// Takes one request that passed off the count.
pub fn give_back(caller: Caller, bucket: &str, allowance: Allowance) -> Statement {
    Statement::new(
        "UPDATE rate_limits SET full_at = full_at - $3 * interval '1 microsecond' WHERE key_id = $1 AND bucket = $2",
    )
    .bind(Bind::Id(Id(caller.id())))
    .text(bucket)
    .bind(micros(allowance.interval()))
}

fn micros(span: Duration) -> Bind {
    Bind::Number(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

/// Removes the rows of callers who asked for nothing lately: without a row a quota is whole. There are as many as addresses
/// that tried a wrong key, and they are nobody's business later.
pub fn idle_allowances() -> Statement {
    Statement::new(
        "DELETE FROM rate_limits WHERE ctid IN (SELECT ctid FROM rate_limits \
         WHERE full_at < now() - interval '1 hour' LIMIT $1) AND full_at < now() - interval '1 hour'",
    )
    .bind(Bind::Number(HOUSEKEEPING_BATCH))
}
