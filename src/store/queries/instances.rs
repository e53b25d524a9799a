//! Who lives on this database, and the quotas that instances count together. All time is the database's own, so that no
//! instance's clock decides for the others.

use crate::domain::allowance::Allowance;
use crate::domain::identity::{InstanceId, KeyId};
use crate::store::LIVE_FOR;
use crate::store::columns::Id;
use crate::store::statement::{Bind, Statement};

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

/// Counts one request of a key, if its quota is not used up: GCRA in one row. A refused request changes nothing but says
/// so in the row, which is how one statement answers both.
pub fn take(key: KeyId, bucket: &str, allowance: Allowance) -> Statement {
    const PASSES: &str = "r.full_at <= now() + $4 * interval '1 microsecond'";
    let micros = |span: std::time::Duration| {
        Bind::Number(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
    };
    Statement::new(format!(
        "INSERT INTO rate_limits AS r (key_id, bucket, full_at, passed) \
         VALUES ($1, $2, now() + $3 * interval '1 microsecond', true) \
         ON CONFLICT (key_id, bucket) DO UPDATE SET passed = {PASSES}, \
         full_at = CASE WHEN {PASSES} THEN GREATEST(r.full_at, now()) + $3 * interval '1 microsecond' ELSE r.full_at END \
         RETURNING passed, CAST(EXTRACT(EPOCH FROM full_at - now()) * 1000000 AS BIGINT) AS whole_in"
    ))
    .bind(Bind::Id(Id(key.0)))
    .text(bucket)
    .bind(micros(allowance.interval()))
    .bind(micros(allowance.tolerance()))
}
