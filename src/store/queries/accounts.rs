//! Provider accounts and their balances.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::store::on;
use super::{Adapter, Conn, insert_audit, tokens};
use crate::domain::account::Account;
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::status_update::Balance;
use crate::domain::transaction::Provider;
use crate::store::columns::{At, Id};
use crate::store::rows::accounts::{AccountRow, BalanceRow};
use crate::store::schema::{balances, provider_accounts as accounts};
use crate::store::{AccountStore, Audit, SealedToken, StoreError};

#[async_trait]
impl AccountStore for Adapter {
    async fn find_account_by_token(&self, token: String) -> Result<Option<Account>, StoreError> {
        on!(self.reader, find_account_by_token(token))
    }

    async fn list_accounts(&self, partner: Option<PartnerId>) -> Result<Vec<Account>, StoreError> {
        on!(self.reader, list_accounts(partner))
    }

    async fn list_provider_accounts(
        &self,
        provider: Provider,
        limit: i64,
    ) -> Result<Vec<Account>, StoreError> {
        on!(self.reader, list_provider_accounts(provider, limit))
    }

    async fn insert_account(&self, account: Account, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, insert_account(account, audit))
    }

    async fn update_account(&self, account: Account, audit: Audit) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(self.writer, update_account(account, now, audit))
    }

    async fn remove_account(&self, id: AccountId, audit: Audit) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(self.writer, remove_account(id, now, audit))
    }

    async fn find_token(&self, account: AccountId) -> Result<Option<SealedToken>, StoreError> {
        on!(self.reader, tokens::find_token(account))
    }

    async fn claim_token(
        &self,
        account: AccountId,
        now: Instant,
        until: Instant,
    ) -> Result<bool, StoreError> {
        on!(self.writer, tokens::claim_token(account, now, until))
    }

    async fn keep_token(
        &self,
        account: AccountId,
        token: Option<SealedToken>,
    ) -> Result<(), StoreError> {
        on!(self.writer, tokens::keep_token(account, token))
    }

    async fn list_balances(
        &self,
        partner: PartnerId,
        account: AccountId,
    ) -> Result<Vec<(Balance, Instant)>, StoreError> {
        on!(self.reader, list_balances(partner, account))
    }
}

pub async fn find_account_by_token(
    conn: &mut Conn,
    token: String,
) -> Result<Option<Account>, StoreError> {
    if token.contains('\0') {
        // PostgreSQL refuses to even compare it.
        return Ok(None);
    }
    accounts::table
        .filter(accounts::callback_token.eq(token))
        .filter(accounts::removed_at.is_null())
        .select(AccountRow::as_select())
        .first(conn)
        .await
        .optional()?
        .map(Account::try_from)
        .transpose()
}

pub async fn list_accounts(
    conn: &mut Conn,
    partner: Option<PartnerId>,
) -> Result<Vec<Account>, StoreError> {
    let mut query = accounts::table
        .filter(accounts::removed_at.is_null())
        .order(accounts::id)
        .select(AccountRow::as_select())
        .into_boxed::<super::super::Db>();
    if let Some(partner) = partner {
        query = query.filter(accounts::partner_id.eq(Id(partner.0)));
    }
    query
        .load(conn)
        .await?
        .into_iter()
        .map(Account::try_from)
        .collect()
}

pub async fn list_provider_accounts(
    conn: &mut Conn,
    provider: Provider,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    accounts::table
        .filter(accounts::provider.eq(provider.as_str()))
        .filter(accounts::removed_at.is_null())
        .order(accounts::id)
        .limit(limit)
        .select(AccountRow::as_select())
        .load(conn)
        .await?
        .into_iter()
        .map(Account::try_from)
        .collect()
}

pub async fn insert_account(
    conn: &mut Conn,
    account: Account,
    audit: Audit,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        diesel::insert_into(accounts::table)
            .values(AccountRow::new(&account))
            .execute(conn)
            .await?;
        insert_audit(conn, audit, account.created_at).await?;
        Ok(())
    })
    .await
}

pub async fn update_account(
    conn: &mut Conn,
    account: Account,
    now: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let touched = diesel::update(
            accounts::table
                .filter(accounts::id.eq(Id(account.id.0)))
                .filter(accounts::removed_at.is_null()),
        )
        .set((
            accounts::environment.eq(account.environment.clone()),
            accounts::shortcode.eq(account.shortcode.clone()),
            accounts::till_number.eq(account.till_number.clone()),
            accounts::sealed_credentials.eq(account.sealed_credentials.clone()),
        ))
        .execute(conn)
        .await?;
        if touched > 0 {
            insert_audit(conn, audit, now).await?;
        }
        Ok(touched > 0)
    })
    .await
}

pub async fn remove_account(
    conn: &mut Conn,
    id: AccountId,
    now: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let owner: Option<Id> = diesel::update(
            accounts::table
                .filter(accounts::id.eq(Id(id.0)))
                .filter(accounts::removed_at.is_null()),
        )
        .set(accounts::removed_at.eq(Some(At(now))))
        .returning(accounts::partner_id)
        .get_result(conn)
        .await
        .optional()?;
        if let Some(owner) = owner {
            insert_audit(conn, audit.of(PartnerId(owner.0)), now).await?;
        }
        Ok(owner.is_some())
    })
    .await
}

pub async fn list_balances(
    conn: &mut Conn,
    partner: PartnerId,
    account: AccountId,
) -> Result<Vec<(Balance, Instant)>, StoreError> {
    let rows = balances::table
        .filter(balances::partner_id.eq(Id(partner.0)))
        .filter(balances::account_id.eq(Id(account.0)))
        .order(balances::name)
        .select(BalanceRow::as_select())
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let balance = Balance {
                name: row.name,
                currency: row.currency,
                current: row.current_minor.map(Amount),
                available: row.available_minor.map(Amount),
                reserved: row.reserved_minor.map(Amount),
                uncleared: row.uncleared_minor.map(Amount),
            };
            (balance, row.checked_at.0)
        })
        .collect())
}
