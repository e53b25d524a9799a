//! Rows that oversight reads and writes.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::domain::identity::{AccountId, AuditId, EndpointId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::oversight::{AuditRecord, EndpointBacklog};
use crate::domain::status_update::Balance;
use crate::store::columns::{At, Id, IdSql, InstantSql};
use crate::store::schema;

/// A line of the audit log, as it is read.
#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::audit_log)]
pub struct AuditLine {
    pub id: Id,
    pub at: At,
    pub actor: String,
    pub action: String,
    pub partner_id: Option<Id>,
    pub subject: String,
    pub source: Option<String>,
    pub detail: Option<String>,
}

impl From<AuditLine> for AuditRecord {
    fn from(row: AuditLine) -> Self {
        Self {
            id: AuditId(row.id.0),
            at: row.at.0,
            actor: row.actor,
            action: row.action,
            partner_id: row.partner_id.map(|id| PartnerId(id.0)),
            subject: row.subject,
            source: row.source,
            detail: row.detail,
        }
    }
}

/// What waits for an endpoint.
#[derive(QueryableByName)]
pub struct BacklogRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub oldest_due_at: Option<At>,
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub last_failure_at: Option<At>,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_failure: Option<String>,
}

impl From<BacklogRow> for EndpointBacklog {
    fn from(row: BacklogRow) -> Self {
        Self {
            endpoint_id: EndpointId(row.id.0),
            pending: row.pending,
            oldest_due_at: row.oldest_due_at.map(|at| at.0),
            dead: row.dead,
            last_failure: row.last_failure_at.map(|at| at.0).zip(row.last_failure),
        }
    }
}

/// A balance with its account.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::balances)]
pub struct AccountBalanceRow {
    pub partner_id: Id,
    pub account_id: Id,
    pub name: String,
    pub currency: String,
    pub current_minor: Option<i64>,
    pub available_minor: Option<i64>,
    pub reserved_minor: Option<i64>,
    pub uncleared_minor: Option<i64>,
    pub checked_at: At,
}

impl AccountBalanceRow {
    pub fn new((partner, account): (PartnerId, AccountId), balance: Balance, at: At) -> Self {
        Self {
            partner_id: Id(partner.0),
            account_id: Id(account.0),
            name: balance.name,
            currency: balance.currency,
            current_minor: balance.current.map(Amount::minor),
            available_minor: balance.available.map(Amount::minor),
            reserved_minor: balance.reserved.map(Amount::minor),
            uncleared_minor: balance.uncleared.map(Amount::minor),
            checked_at: at,
        }
    }
}

/// Of which account, what, and when.
pub fn account_balance(
    row: AccountBalanceRow,
) -> (AccountId, Balance, crate::domain::clock::Instant) {
    let balance = Balance {
        name: row.name,
        currency: row.currency,
        current: row.current_minor.map(Amount),
        available: row.available_minor.map(Amount),
        reserved: row.reserved_minor.map(Amount),
        uncleared: row.uncleared_minor.map(Amount),
    };
    (AccountId(row.account_id.0), balance, row.checked_at.0)
}
