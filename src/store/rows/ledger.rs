//! Rows that the ledger loads besides the transactions.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use crate::store::columns::{Id, IdSql};

/// An endpoint as the ledger needs it.
#[derive(QueryableByName, Debug)]
pub struct EndpointFactsRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub events: String,
    #[diesel(sql_type = diesel::sql_types::Nullable<IdSql>)]
    pub transaction_id: Option<Id>,
}

/// A kept callback.
#[derive(QueryableByName, Debug)]
pub struct WaitingRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub provider: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub news: Option<String>,
}

/// A kept callback that nobody claimed.
#[derive(QueryableByName, Debug)]
pub struct UnclaimedRow {
    #[diesel(embed)]
    pub kept: WaitingRow,
    #[diesel(sql_type = Nullable<IdSql>)]
    pub account_id: Option<Id>,
}

/// A partner that has an unnamed payment at a provider.
#[derive(QueryableByName, Debug)]
pub struct UnnamedRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub provider: String,
}
