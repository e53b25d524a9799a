//! Reads that may go to a replica. It answers only while it is known to have replayed what the primary had written no
//! longer than a limit ago, only for a partner who wrote nothing through this process since, and only if it has every
//! event of that partner's feed that the primary has; in all other cases, and on any trouble, the primary answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Timer};

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use super::error::pool_error;
use super::statement::Statement;
use crate::domain::identity::PartnerId;

/// How often it is asked how far it is.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How far the primary has written.
#[derive(QueryableByName)]
struct PositionRow {
    #[diesel(sql_type = Text)]
    position: String,
}

/// Whether it is a replica, and whether it has replayed that.
#[derive(QueryableByName)]
struct ReachedRow {
    #[diesel(sql_type = Bool)]
    standby: bool,
    #[diesel(sql_type = Bool)]
    reached: bool,
}

/// A replica and what is known of it.
pub struct Replica {
    pub pool: Pool<AsyncPgConnection>,
    max_lag: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// It has everything that was committed before then.
    fresh_at: Option<Timer>,
    /// When partners last wrote through this process.
    written: HashMap<PartnerId, Timer>,
}

impl Known {
    /// A write may be missing there unless it is older than what is known to be there.
    fn may_answer(&self, partner: Option<PartnerId>, max_lag: Duration, now: Timer) -> bool {
        let Some(fresh_at) = self.fresh_at else {
            return false;
        };
        let written = partner.and_then(|partner| self.written.get(&partner));
        now.saturating_duration_since(fresh_at) <= max_lag
            && written.is_none_or(|written| *written < fresh_at)
    }
}

impl Replica {
    /// A replica of which nothing is known yet.
    pub fn new(pool: Pool<AsyncPgConnection>, max_lag: Duration) -> Arc<Self> {
        Arc::new(Self {
            pool,
            max_lag,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may answer a read of this partner's now; of nobody's in particular, if none is named.
    pub fn may_answer(&self, partner: Option<PartnerId>) -> bool {
        self.known().may_answer(partner, self.max_lag, Timer::now())
    }

    /// A partner's write is committed, and its caller not yet told.
    pub fn record_write(&self, partner: PartnerId) {
        self.known().written.insert(partner, Timer::now());
    }

    /// Asks for as long as somebody may read there; `primary` is where the truth is.
    pub async fn watch(self: Arc<Self>, primary: Pool<AsyncPgConnection>, limit: Duration) {
        let mut was_fresh = true;
        // The store that reads here is gone when nobody else holds it.
        while Arc::strong_count(&self) > 1 {
            let probed = tokio::time::timeout(limit, self.probe(&primary)).await;
            let is_fresh = matches!(probed, Ok(Ok(true)));
            if !matches!(probed, Ok(Ok(_))) {
                self.pool.retain(|_, _| false);
            }
            if is_fresh != was_fresh {
                let reason = match probed {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("no answer".to_owned()),
                };
                tracing::info!(is_fresh, reason, "the replica for reading");
            }
            was_fresh = is_fresh;
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    async fn probe(&self, primary: &Pool<AsyncPgConnection>) -> Result<bool, StoreError> {
        let asked_at = Timer::now();
        let mut conn = primary.get().await.map_err(pool_error)?;
        let sql = "SELECT pg_current_wal_lsn()::text AS position";
        let rows: Vec<PositionRow> = Statement::new(sql).load(&mut *conn).await?;
        drop(conn);
        let position = rows.into_iter().next().map(|row| row.position);
        let mut conn = self.pool.get().await.map_err(pool_error)?;
        let sql = "SELECT pg_is_in_recovery() AS standby, \
             COALESCE(pg_last_wal_replay_lsn() >= $1::pg_lsn, false) AS reached";
        let statement = Statement::new(sql).text(position.unwrap_or_default());
        let rows: Vec<ReachedRow> = statement.load(&mut *conn).await?;
        drop(conn);
        let row = rows.into_iter().next();
        if row.as_ref().is_some_and(|row| !row.standby) {
            // It was made the primary: another one is to be found. And an old primary that nobody follows must not answer.
            self.pool.retain(|_, _| false);
            return Ok(false);
        }
        let reached = row.is_some_and(|row| row.reached);
        if reached {
            let mut known = self.known();
            known.fresh_at = Some(asked_at);
            known.written.retain(|_, written| *written >= asked_at);
        }
        Ok(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    const MAX_LAG: Duration = Duration::from_secs(5);

    #[test]
    fn nobody_reads_where_nothing_is_known_or_what_is_known_is_old() {
        let begin = Timer::now();
        let mut known = Known::default();
        assert!(!known.may_answer(None, MAX_LAG, begin));
        known.fresh_at = Some(begin);
        assert!(known.may_answer(None, MAX_LAG, begin + MAX_LAG));
        let late = begin + MAX_LAG + Duration::from_millis(1);
        assert!(!known.may_answer(None, MAX_LAG, late));
    }

    #[test]
    fn who_wrote_reads_at_the_primary_until_the_write_is_known_to_be_there() {
        let begin = Timer::now();
        let (writer, other) = (
            PartnerId::new(SystemClock.now()),
            PartnerId::new(SystemClock.now()),
        );
        let mut known = Known {
            fresh_at: Some(begin),
            ..Known::default()
        };
        let now = begin + Duration::from_secs(1);
        known.written.insert(writer, now);
        assert!(!known.may_answer(Some(writer), MAX_LAG, now));
        assert!(known.may_answer(Some(other), MAX_LAG, now));
        known.fresh_at = Some(now);
        assert!(
            !known.may_answer(Some(writer), MAX_LAG, now),
            "at the same time"
        );
        known.fresh_at = Some(now + Duration::from_millis(1));
        assert!(known.may_answer(Some(writer), MAX_LAG, now));
    }
}
