//! Sealed values by column, and whether a copy is unfinished.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Adapter, Conn, erasure};
use crate::domain::erasure::Erasure;
use crate::domain::identity::PartnerId;
use crate::store::StoreError;
use crate::store::columns::Id;
use crate::store::schema::{copied_tables, endpoints, provider_accounts as accounts};
use crate::store::{ErasedTable, ErasureStep, Sealed, SealedColumn, Upkeep};

#[async_trait]
impl Upkeep for Adapter {
    async fn is_half_copied(&self) -> Result<bool, StoreError> {
        let adapter = self.clone();
        self.run(async move {
            let mut conn = adapter.reader().await?;
            let unfinished: i64 = copied_tables::table
                .filter(copied_tables::finished_at.is_null())
                .count()
                .get_result(&mut *conn)
                .await?;
            Ok(unfinished > 0)
        })
        .await
    }

    async fn list_sealed(
        &self,
        column: SealedColumn,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Sealed>, StoreError> {
        let adapter = self.clone();
        self.run(async move {
            let mut conn = adapter.reader().await?;
            let rows = list(&mut conn, column, Id(after), limit).await?;
            let sealed = rows.into_iter().map(|(row, bytes)| Sealed {
                column,
                row: row.0,
                bytes,
            });
            Ok(sealed.collect())
        })
        .await
    }

    async fn replace_sealed(&self, sealed: Sealed, by: Vec<u8>) -> Result<bool, StoreError> {
        let adapter = self.clone();
        self.run(async move {
            let mut conn = adapter.writer().await?;
            Ok(replace(&mut conn, sealed, by).await? > 0)
        })
        .await
    }

    async fn erase_msisdn(
        &self,
        partner: PartnerId,
        erasure: Erasure,
        table: ErasedTable,
        from: Option<String>,
    ) -> Result<ErasureStep, StoreError> {
        let adapter = self.clone();
        self.run(async move {
            let mut conn = adapter.writer().await?;
            erasure::step(&mut conn, partner, &erasure, table, from).await
        })
        .await
    }
}

async fn list(
    conn: &mut Conn,
    column: SealedColumn,
    after: Id,
    limit: i64,
) -> QueryResult<Vec<(Id, Vec<u8>)>> {
    match column {
        SealedColumn::Credentials => {
            accounts::table
                .filter(accounts::id.gt(after))
                .order(accounts::id)
                .limit(limit)
                .select((accounts::id, accounts::sealed_credentials))
                .load(conn)
                .await
        }
        SealedColumn::Secret => {
            endpoints::table
                .filter(endpoints::id.gt(after))
                .order(endpoints::id)
                .limit(limit)
                .select((endpoints::id, endpoints::sealed_secret))
                .load(conn)
                .await
        }
        SealedColumn::PreviousSecret => {
            endpoints::table
                .filter(endpoints::id.gt(after))
                .filter(endpoints::previous_sealed_secret.is_not_null())
                .order(endpoints::id)
                .limit(limit)
                .select((
                    endpoints::id,
                    endpoints::previous_sealed_secret.assume_not_null(),
                ))
                .load(conn)
                .await
        }
    }
}

/// The old value is named again: one that was changed or rotated meanwhile is sealed under the current key already.
async fn replace(conn: &mut Conn, sealed: Sealed, by: Vec<u8>) -> QueryResult<usize> {
    let Sealed { column, row, bytes } = sealed;
    match column {
        SealedColumn::Credentials => {
            let row = accounts::table
                .filter(accounts::id.eq(Id(row)))
                .filter(accounts::sealed_credentials.eq(bytes));
            diesel::update(row)
                .set(accounts::sealed_credentials.eq(by))
                .execute(conn)
                .await
        }
        SealedColumn::Secret => {
            let row = endpoints::table
                .filter(endpoints::id.eq(Id(row)))
                .filter(endpoints::sealed_secret.eq(bytes));
            diesel::update(row)
                .set(endpoints::sealed_secret.eq(by))
                .execute(conn)
                .await
        }
        SealedColumn::PreviousSecret => {
            let row = endpoints::table
                .filter(endpoints::id.eq(Id(row)))
                .filter(endpoints::previous_sealed_secret.eq(Some(bytes)));
            diesel::update(row)
                .set(endpoints::previous_sealed_secret.eq(Some(by)))
                .execute(conn)
                .await
        }
    }
}
