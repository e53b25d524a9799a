//! Partners and their keys.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::store::on;
use super::{Adapter, Conn, insert_audit};
use crate::domain::clock::Instant;
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::partner::{ApiKey, Partner};
use crate::store::columns::{At, Id};
use crate::store::rows::partners::{KeyRow, PartnerRow};
use crate::store::schema::{api_keys, feed_heads, partners};
use crate::store::{Audit, KeyHolder, PartnerStore, StoreError};

#[async_trait]
impl PartnerStore for Adapter {
    async fn insert_partner(
        &self,
        partner: Partner,
        key: ApiKey,
        audit: Audit,
    ) -> Result<(), StoreError> {
        on!(self.writer, insert_partner(partner, key, audit))
    }

    async fn list_partners(&self) -> Result<Vec<Partner>, StoreError> {
        on!(self.reader, list_partners())
    }

    async fn set_partner_suspended(
        &self,
        id: PartnerId,
        at: Option<Instant>,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        on!(self.writer, set_partner_suspended(id, at, now, audit))
    }

    async fn insert_key(&self, key: ApiKey, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, insert_key(key, audit))
    }

    async fn list_keys(&self, partner: PartnerId) -> Result<Vec<ApiKey>, StoreError> {
        on!(self.reader, list_keys(partner))
    }

    async fn revoke_key(&self, id: KeyId, at: Instant, audit: Audit) -> Result<bool, StoreError> {
        on!(self.writer, revoke_key(id, at, audit))
    }

    async fn find_key(&self, digest: String) -> Result<Option<KeyHolder>, StoreError> {
        on!(self.reader, find_key(digest))
    }
}

pub async fn insert_partner(
    conn: &mut Conn,
    partner: Partner,
    key: ApiKey,
    audit: Audit,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        diesel::insert_into(partners::table)
            .values(PartnerRow::new(&partner))
            .execute(conn)
            .await?;
        diesel::insert_into(feed_heads::table)
            .values((
                feed_heads::partner_id.eq(Id(partner.id.0)),
                feed_heads::last_sequence.eq(0),
            ))
            .execute(conn)
            .await?;
        diesel::insert_into(api_keys::table)
            .values(KeyRow::new(&key))
            .execute(conn)
            .await?;
        insert_audit(conn, audit, partner.created_at).await?;
        Ok(())
    })
    .await
}

pub async fn list_partners(conn: &mut Conn) -> Result<Vec<Partner>, StoreError> {
    partners::table
        .order(partners::id)
        .select(PartnerRow::as_select())
        .load(conn)
        .await?
        .into_iter()
        .map(Partner::try_from)
        .collect()
}

pub async fn set_partner_suspended(
    conn: &mut Conn,
    id: PartnerId,
    at: Option<Instant>,
    now: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let touched = diesel::update(partners::table.filter(partners::id.eq(Id(id.0))))
            .set(partners::suspended_at.eq(at.map(At)))
            .execute(conn)
            .await?;
        if touched > 0 {
            insert_audit(conn, audit, now).await?;
        }
        Ok(touched > 0)
    })
    .await
}

pub async fn insert_key(conn: &mut Conn, key: ApiKey, audit: Audit) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        diesel::insert_into(api_keys::table)
            .values(KeyRow::new(&key))
            .execute(conn)
            .await?;
        insert_audit(conn, audit, key.created_at).await?;
        Ok(())
    })
    .await
}

pub async fn list_keys(conn: &mut Conn, partner: PartnerId) -> Result<Vec<ApiKey>, StoreError> {
    api_keys::table
        .filter(api_keys::partner_id.eq(Id(partner.0)))
        .order(api_keys::id)
        .select(KeyRow::as_select())
        .load(conn)
        .await?
        .into_iter()
        .map(ApiKey::try_from)
        .collect()
}

pub async fn revoke_key(
    conn: &mut Conn,
    id: KeyId,
    at: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        // A key revoked before keeps its first date.
        let owner: Option<Id> = diesel::update(api_keys::table.filter(api_keys::id.eq(Id(id.0))))
            .set(
                api_keys::revoked_at.eq(diesel::dsl::case_when(
                    api_keys::revoked_at.is_null(),
                    Some(At(at))
                        .into_sql::<diesel::sql_types::Nullable<crate::store::columns::InstantSql>>(
                        ),
                )
                .otherwise(api_keys::revoked_at)),
            )
            .returning(api_keys::partner_id)
            .get_result(conn)
            .await
            .optional()?;
        if let Some(owner) = owner {
            insert_audit(conn, audit.of(PartnerId(owner.0)), at).await?;
        }
        Ok(owner.is_some())
    })
    .await
}

pub async fn find_key(conn: &mut Conn, digest: String) -> Result<Option<KeyHolder>, StoreError> {
    let found = api_keys::table
        .inner_join(partners::table.on(partners::id.eq(api_keys::partner_id)))
        .filter(api_keys::digest.eq(digest))
        .select((KeyRow::as_select(), PartnerRow::as_select()))
        .first::<(KeyRow, PartnerRow)>(conn)
        .await
        .optional()?;
    found
        .map(|(key, partner)| {
            Ok(KeyHolder {
                key: key.try_into()?,
                partner: partner.try_into()?,
            })
        })
        .transpose()
}
