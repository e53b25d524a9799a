//! The settings of the database, which belong together: a replica to its primary, limits within limits.

use std::time::Duration;

use super::values::at_least;
use super::{SettingsError, Sources};
use crate::store::{CONNECT_TIMEOUT, DatabaseLimits, DatabaseUrl, ReplicaSettings};

/// Below this the database could not answer in time on any machine.
const DATABASE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// How far a replica is gets asked twice a second.
const READ_MAX_LAG_MIN: Duration = Duration::from_secs(1);

pub(super) fn database_url(sources: &Sources) -> Result<DatabaseUrl, SettingsError> {
    let text = sources
        .value("DATABASE_URL")
        .unwrap_or("sqlite://ussd-status.db");
    text.parse().map_err(|accepted| SettingsError {
        name: "DATABASE_URL".to_owned(),
        // The rest may carry a password.
        found: text.split_once("://").map_or_else(
            || "a text without a scheme".to_owned(),
            |(scheme, _)| format!("\"{scheme}://…\""),
        ),
        accepted,
    })
}

/// A replica of PostgreSQL's, beside a primary of PostgreSQL's.
pub(super) fn database_replica(
    sources: &Sources,
) -> Result<Option<ReplicaSettings>, SettingsError> {
    let accepted = "a number with its unit is, at least 1s, such as 5s";
    let max_lag = sources.parsed("DATABASE_READ_MAX_LAG", "5s", accepted, |text| {
        at_least(text, READ_MAX_LAG_MIN)
    })?;
    let Some(text) = sources.value("DATABASE_READ_URL") else {
        return Ok(None);
    };
    let refused = |found: &str, accepted: &str| SettingsError {
        name: "DATABASE_READ_URL".to_owned(),
        found: found.to_owned(),
        accepted: accepted.to_owned(),
    };
    match (text.parse(), database_url(sources)?) {
        (Ok(url @ DatabaseUrl::Postgres(_)), DatabaseUrl::Postgres(_)) => {
            Ok(Some(ReplicaSettings { url, max_lag }))
        }
        (Ok(DatabaseUrl::Postgres(_)), _) => Err(refused(
            "a replica beside an embedded database",
            "it is beside a DATABASE_URL that is postgres://…",
        )),
        // It may carry a password.
        _ => Err(refused("another URL", "postgres://… is")),
    }
}

/// What is not set is limited by `DATABASE_TIMEOUT` alone; a longer limit within it would never be reached.
pub(super) fn database_limits(sources: &Sources) -> Result<DatabaseLimits, SettingsError> {
    let accepted = "a number with its unit is, at least 100ms, such as 5s";
    let act = sources.parsed("DATABASE_TIMEOUT", "5s", accepted, |text| {
        at_least(text, DATABASE_TIMEOUT_MIN)
    })?;
    let within = |name, default: Duration| {
        let accepted = "a number with its unit is, at least 100ms and at most DATABASE_TIMEOUT";
        let limit = sources.optional(name, accepted, |text| {
            at_least(text, DATABASE_TIMEOUT_MIN).filter(|limit| *limit <= act)
        })?;
        Ok(limit.unwrap_or(default.min(act)))
    };
    Ok(DatabaseLimits {
        act,
        statement: within("DATABASE_STATEMENT_TIMEOUT", act)?,
        connect: within("DATABASE_CONNECT_TIMEOUT", CONNECT_TIMEOUT)?,
        pool_wait: within("DATABASE_POOL_WAIT", act)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn limits_of_the_database_follow_the_one_of_an_act() {
        let limits = |pairs: &[(&str, &str)]| {
            Settings::read(&Sources::from_pairs(pairs))
                .unwrap()
                .database_limits
        };
        let seconds = |limits: DatabaseLimits| {
            [
                limits.act,
                limits.statement,
                limits.connect,
                limits.pool_wait,
            ]
            .map(|limit| limit.as_secs())
        };
        assert_eq!(seconds(limits(&[])), [5, 5, 2, 5]);
        assert_eq!(seconds(limits(&[("DATABASE_TIMEOUT", "1s")])), [1, 1, 1, 1]);
        let all = [
            ("DATABASE_TIMEOUT", "60s"),
            ("DATABASE_STATEMENT_TIMEOUT", "50s"),
            ("DATABASE_CONNECT_TIMEOUT", "4s"),
            ("DATABASE_POOL_WAIT", "3s"),
        ];
        assert_eq!(seconds(limits(&all)), [60, 50, 4, 3]);
    }
}
