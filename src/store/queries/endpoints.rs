//! Webhook endpoints as their partners change them. Whoever changes what the ledger asks about endpoints takes the
//! partner's feed head first, as every commit of the ledger does: so no delivery is made for one that ended meanwhile.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::store::on;
use super::{Adapter, Conn, insert_audit};
use crate::domain::clock::Instant;
use crate::domain::delivery::{Endpoint, EndpointChange, EndpointKey, PreviousSecret};
use crate::domain::identity::{EndpointId, PartnerId};
use crate::store::columns::{At, Id};
use crate::store::rows::deliveries::EndpointChanges;
use crate::store::rows::endpoints::{EndpointRow, limit_column};
use crate::store::schema::{deliveries, endpoints};
use crate::store::statement::{Bind, Statement};
use crate::store::{Audit, EndpointStore, StoreError};

#[async_trait]
impl EndpointStore for Adapter {
    async fn insert_endpoint(&self, endpoint: Endpoint, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, insert_endpoint(endpoint, audit))
    }

    async fn insert_endpoint_within(
        &self,
        endpoint: Endpoint,
        max: i64,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        on!(self.writer, insert_endpoint_within(endpoint, max, audit))
    }

    async fn list_endpoints(&self, partner: PartnerId) -> Result<Vec<Endpoint>, StoreError> {
        on!(self.reader, list_endpoints(partner))
    }

    async fn find_endpoint(
        &self,
        partner: Option<PartnerId>,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, StoreError> {
        on!(self.reader, find_endpoint(partner, id))
    }

    async fn update_endpoint(
        &self,
        partner: PartnerId,
        id: EndpointId,
        change: EndpointChange,
        now: Instant,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError> {
        on!(
            self.writer,
            update_endpoint(partner, id, change, now, audit)
        )
    }

    async fn rotate_endpoint_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        key: EndpointKey,
        audit: Audit,
    ) -> Result<Option<Endpoint>, StoreError> {
        let now = self.clock.now();
        on!(self.writer, rotate_secret(partner, id, key, now, audit))
    }

    async fn remove_endpoint(
        &self,
        id: EndpointId,
        at: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        on!(self.writer, remove_endpoint(id, at, audit))
    }
}

/// Takes the partner's feed head until the commit.
pub async fn lock_ledger(conn: &mut Conn, partner: PartnerId) -> Result<(), StoreError> {
    Statement::new("UPDATE feed_heads SET last_sequence = last_sequence WHERE partner_id = $1")
        .bind(Bind::Id(Id(partner.0)))
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn insert_endpoint_within(
    conn: &mut Conn,
    endpoint: Endpoint,
    max: i64,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        lock_ledger(conn, endpoint.partner_id).await?;
        let count: i64 = endpoints::table
            .filter(endpoints::partner_id.eq(Id(endpoint.partner_id.0)))
            .filter(endpoints::removed_at.is_null())
            .filter(endpoints::transaction_id.is_null())
            .count()
            .get_result(conn)
            .await?;
        if count >= max {
            return Ok(false);
        }
        insert(conn, &endpoint, audit).await?;
        Ok(true)
    })
    .await
}

pub async fn find_endpoint(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    id: EndpointId,
) -> Result<Option<Endpoint>, StoreError> {
    let mut query = endpoints::table
        .filter(endpoints::id.eq(Id(id.0)))
        .filter(endpoints::removed_at.is_null())
        .filter(endpoints::transaction_id.is_null())
        .select(EndpointRow::as_select())
        .into_boxed::<super::super::Db>();
    if let Some(partner) = partner {
        query = query.filter(endpoints::partner_id.eq(Id(partner.0)));
    }
    let row = query.first(conn).await.optional()?;
    Ok(row.map(Endpoint::from))
}

pub async fn update_endpoint(
    conn: &mut Conn,
    partner: PartnerId,
    id: EndpointId,
    change: EndpointChange,
    now: Instant,
    audit: Audit,
) -> Result<Option<Endpoint>, StoreError> {
    conn.transaction(async |conn| {
        lock_ledger(conn, partner).await?;
        let Some(known) = find_endpoint(conn, Some(partner), id).await? else {
            return Ok(None);
        };
        let changes = changes(&known, change, now);
        let ends = matches!(changes.disabled_at, Some(Some(_)));
        if !changes.is_empty() {
            diesel::update(endpoints::table.filter(endpoints::id.eq(Id(id.0))))
                .set(changes)
                .execute(conn)
                .await?;
        }
        if ends {
            end_deliveries(conn, Id(partner.0), id, now).await?;
        }
        insert_audit(conn, audit, now).await?;
        find_endpoint(conn, Some(partner), id).await
    })
    .await
}

/// One that is disabled again keeps its first date; one that is enabled begins anew.
fn changes(known: &Endpoint, change: EndpointChange, now: Instant) -> EndpointChanges {
    let (disabled_at, failing_since) = match (change.enabled, known.disabled_at) {
        (Some(false), None) => (Some(Some(At(now))), None),
        (Some(true), Some(_)) => (Some(None), Some(None)),
        _ => (None, None),
    };
    // Another call may have changed to the same meanwhile: then its key stands.
    let key = change
        .key
        .filter(|key| key.public_key.is_some() != known.public_key.is_some());
    let previous = key.as_ref().map(|key| PreviousSecret {
        sealed: known.sealed_secret.clone(),
        until: key.previous_until,
    });
    let (sealed_secret, public_key) = key.map(|key| (key.sealed_secret, key.public_key)).unzip();
    let (previous_sealed_secret, previous_secret_until) = previous
        .map(|previous| (Some(previous.sealed), Some(At(previous.until))))
        .unzip();
    EndpointChanges {
        url: change.url,
        events: change.events.map(|events| events.join(" ")),
        description: change.description,
        concurrency: change.concurrency.map(limit_column),
        rate_per_second: change.rate_per_second.map(|rate| rate.map(limit_column)),
        sealed_secret,
        public_key,
        previous_sealed_secret,
        previous_secret_until,
        disabled_at,
        failing_since,
    }
}

pub async fn rotate_secret(
    conn: &mut Conn,
    partner: PartnerId,
    id: EndpointId,
    key: EndpointKey,
    now: Instant,
    audit: Audit,
) -> Result<Option<Endpoint>, StoreError> {
    conn.transaction(async |conn| {
        // Both sides are read before either is written: the present secret becomes the previous one.
        let touched = diesel::update(
            endpoints::table
                .filter(endpoints::id.eq(Id(id.0)))
                .filter(endpoints::partner_id.eq(Id(partner.0)))
                .filter(endpoints::removed_at.is_null())
                .filter(endpoints::transaction_id.is_null()),
        )
        .set((
            endpoints::previous_sealed_secret.eq(endpoints::sealed_secret.nullable()),
            endpoints::previous_secret_until.eq(Some(At(key.previous_until))),
            endpoints::sealed_secret.eq(key.sealed_secret),
            endpoints::public_key.eq(key.public_key),
        ))
        .execute(conn)
        .await?;
        if touched == 0 {
            return Ok(None);
        }
        insert_audit(conn, audit, now).await?;
        find_endpoint(conn, Some(partner), id).await
    })
    .await
}

pub async fn insert_endpoint(
    conn: &mut Conn,
    endpoint: Endpoint,
    audit: Audit,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        insert(conn, &endpoint, audit).await?;
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
        end_deliveries(conn, partner_id, id, at).await?;
        insert_audit(conn, audit.of(PartnerId(partner_id.0)), at).await?;
        Ok(true)
    })
    .await
}

async fn insert(conn: &mut Conn, endpoint: &Endpoint, audit: Audit) -> QueryResult<()> {
    diesel::insert_into(endpoints::table)
        .values(EndpointRow::new(endpoint))
        .execute(conn)
        .await?;
    insert_audit(conn, audit, endpoint.created_at).await
}

/// Nobody will be told of what an endpoint is still owed: it must not look as if it waited.
async fn end_deliveries(
    conn: &mut Conn,
    partner_id: Id,
    endpoint: EndpointId,
    at: Instant,
) -> QueryResult<()> {
    diesel::update(
        deliveries::table
            .filter(deliveries::partner_id.eq(partner_id))
            .filter(deliveries::endpoint_id.eq(Id(endpoint.0)))
            .filter(deliveries::state.eq("pending")),
    )
    .set((
        deliveries::state.eq("dead"),
        deliveries::is_leased.eq(false),
        deliveries::finished_at.eq(Some(At(at))),
    ))
    .execute(conn)
    .await?;
    Ok(())
}
