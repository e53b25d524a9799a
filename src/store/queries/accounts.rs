//! Provider accounts, balances and webhook endpoints.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::{Conn, insert_audit};
use crate::domain::account::Account;
use crate::domain::clock::Instant;
use crate::domain::delivery::Endpoint;
use crate::domain::identity::{AccountId, EndpointId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::status_update::Balance;
use crate::domain::transaction::Provider;
use crate::store::columns::{At, Id};
use crate::store::rows::accounts::{AccountRow, BalanceRow};
use crate::store::rows::endpoints::EndpointRow;
use crate::store::schema::{balances, deliveries, endpoints, provider_accounts as accounts};
use crate::store::statement::{Bind, Statement};
use crate::store::{Audit, StoreError};

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

pub async fn insert_endpoint(
    conn: &mut Conn,
    endpoint: Endpoint,
    audit: Audit,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        diesel::insert_into(endpoints::table)
            .values(EndpointRow::new(&endpoint))
            .execute(conn)
            .await?;
        insert_audit(conn, audit, endpoint.created_at).await?;
        Ok(())
    })
    .await
}

pub async fn list_endpoints(
    conn: &mut Conn,
    partner: PartnerId,
) -> Result<Vec<Endpoint>, StoreError> {
    let rows = endpoints::table
        .filter(endpoints::partner_id.eq(Id(partner.0)))
        .filter(endpoints::removed_at.is_null())
        .filter(endpoints::transaction_id.is_null())
        .order(endpoints::id)
        .select(EndpointRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Endpoint::from).collect())
}

pub async fn remove_endpoint(
    conn: &mut Conn,
    id: EndpointId,
    at: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        // The partner's ledger first, as every commit of it does: one that still saw the endpoint is over, and the next
        // one will not.
        Statement::new(
            "UPDATE feed_heads SET last_sequence = last_sequence \
             WHERE partner_id IN (SELECT partner_id FROM endpoints WHERE id = $1)",
        )
        .bind(Bind::Id(Id(id.0)))
        .execute(conn)
        .await?;
        let owner: Option<Id> = diesel::update(
            endpoints::table
                .filter(endpoints::id.eq(Id(id.0)))
                .filter(endpoints::removed_at.is_null()),
        )
        .set(endpoints::removed_at.eq(Some(At(at))))
        .returning(endpoints::partner_id)
        .get_result(conn)
        .await
        .optional()?;
        let Some(partner_id) = owner else {
            return Ok(false);
        };
        // Nobody will ever be told of these: they must not look as if they waited.
        diesel::update(
            deliveries::table
                .filter(deliveries::partner_id.eq(partner_id))
                .filter(deliveries::endpoint_id.eq(Id(id.0)))
                .filter(deliveries::state.eq("pending")),
        )
        .set((
            deliveries::state.eq("dead"),
            deliveries::is_leased.eq(false),
            deliveries::finished_at.eq(Some(At(at))),
        ))
        .execute(conn)
        .await?;
        insert_audit(conn, audit.of(PartnerId(partner_id.0)), at).await?;
        Ok(true)
    })
    .await
}
