//! The access tokens of accounts, sealed, and who may fetch the next one.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::Conn;
use crate::domain::clock::Instant;
use crate::domain::identity::AccountId;
use crate::store::columns::{At, Id};
use crate::store::schema::account_tokens as tokens;
use crate::store::statement::{Bind, Statement};
use crate::store::{SealedToken, StoreError};

pub async fn find_token(
    conn: &mut Conn,
    account: AccountId,
) -> Result<Option<SealedToken>, StoreError> {
    let row: Option<(Option<Vec<u8>>, Option<At>)> = tokens::table
        .find(Id(account.0))
        .select((tokens::sealed_token, tokens::good_until))
        .first(conn)
        .await
        .optional()?;
    Ok(row.and_then(|(sealed, until)| {
        Some(SealedToken {
            sealed: sealed?,
            good_until: until?.0,
        })
    }))
}

/// Takes the right to fetch until `until`; false while somebody else has it.
pub async fn claim_token(
    conn: &mut Conn,
    account: AccountId,
    now: Instant,
    until: Instant,
) -> Result<bool, StoreError> {
    let claimed = Statement::new(
        "INSERT INTO account_tokens AS t (account_id, fetching_until) VALUES ($1, $3) \
         ON CONFLICT (account_id) DO UPDATE SET fetching_until = $3 \
         WHERE t.fetching_until IS NULL OR t.fetching_until <= $2",
    )
    .bind(Bind::Id(Id(account.0)))
    .bind(Bind::At(At(now)))
    .bind(Bind::At(At(until)))
    .execute(conn)
    .await?;
    Ok(claimed > 0)
}

/// Gives the right to fetch back, with the token if there is one.
pub async fn keep_token(
    conn: &mut Conn,
    account: AccountId,
    token: Option<SealedToken>,
) -> Result<(), StoreError> {
    let row = tokens::table.find(Id(account.0));
    let nobody = tokens::fetching_until.eq(None::<At>);
    match token {
        Some(token) => {
            diesel::update(row)
                .set((
                    nobody,
                    tokens::sealed_token.eq(token.sealed),
                    tokens::good_until.eq(At(token.good_until)),
                ))
                .execute(conn)
                .await?
        }
        None => diesel::update(row).set(nobody).execute(conn).await?,
    };
    Ok(())
}
