//! Rows of accounts at providers and of their balances.

use diesel::prelude::*;

use super::word;
use crate::domain::account::Account;
use crate::domain::identity::{AccountId, PartnerId};
use crate::store::columns::{At, Id};
use crate::store::{StoreError, schema};

/// A provider account.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::provider_accounts)]
pub struct AccountRow {
    pub id: Id,
    pub partner_id: Id,
    pub provider: String,
    pub environment: String,
    pub shortcode: Option<String>,
    pub till_number: Option<String>,
    pub callback_token: String,
    pub sealed_credentials: Vec<u8>,
    pub created_at: At,
}

impl AccountRow {
    pub fn new(account: &Account) -> Self {
        Self {
            id: Id(account.id.0),
            partner_id: Id(account.partner_id.0),
            provider: account.provider.to_string(),
            environment: account.environment.clone(),
            shortcode: account.shortcode.clone(),
            till_number: account.till_number.clone(),
            callback_token: account.callback_token.clone(),
            sealed_credentials: account.sealed_credentials.clone(),
            created_at: At(account.created_at),
        }
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AccountId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            provider: word("provider", &row.provider)?,
            environment: row.environment,
            shortcode: row.shortcode,
            till_number: row.till_number,
            callback_token: row.callback_token,
            sealed_credentials: row.sealed_credentials,
            created_at: row.created_at.0,
        })
    }
}

/// A balance line.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = schema::balances)]
pub struct BalanceRow {
    pub name: String,
    pub currency: String,
    pub current_minor: Option<i64>,
    pub available_minor: Option<i64>,
    pub reserved_minor: Option<i64>,
    pub uncleared_minor: Option<i64>,
    pub checked_at: At,
}
