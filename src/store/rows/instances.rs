//! Rows of what instances of one database tell each other.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use crate::domain::allowance::Standing;
use crate::store::Others;

/// The other instances.
#[derive(QueryableByName, Debug)]
pub struct OthersRow {
    #[diesel(sql_type = BigInt)]
    pub others: i64,
    #[diesel(sql_type = BigInt)]
    pub before: i64,
}

impl From<OthersRow> for Others {
    fn from(row: OthersRow) -> Self {
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            live: count(row.others),
            before: count(row.before),
        }
    }
}

/// Where a key stands; microseconds until its quota is whole.
#[derive(QueryableByName, Debug)]
pub struct StandingRow {
    #[diesel(sql_type = Bool)]
    pub passed: bool,
    #[diesel(sql_type = BigInt)]
    pub whole_in: i64,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        Self {
            passed: row.passed,
            whole_in: Duration::from_micros(u64::try_from(row.whole_in).unwrap_or_default()),
        }
    }
}
