//! A transaction's whole story for the console: the callbacks that came in and the webhooks that went out.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::replay::{EVENT_TYPE, FOUND, with_attempts};
use super::{Conn, DIALECT};
use crate::domain::delivery_record::DeliveryRecord;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::inbox::InboxRecord;
use crate::store::StoreError;
use crate::store::columns::Id;
use crate::store::rows::console::InboxRow;
use crate::store::rows::deliveries::DeliveryRow;
use crate::store::schema::{callbacks, endpoints, transaction_events};
use crate::store::statement::{Bind, Statement};

pub async fn list_callbacks(
    conn: &mut Conn,
    partner: PartnerId,
    transaction: TransactionId,
    limit: i64,
) -> Result<Vec<InboxRecord>, StoreError> {
    let rows: Vec<InboxRow> = callbacks::table
        .filter(callbacks::partner_id.eq(Id(partner.0)))
        .filter(callbacks::transaction_id.eq(Id(transaction.0)))
        .order(callbacks::id.desc())
        .limit(limit)
        .select(InboxRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(InboxRecord::try_from).collect()
}

/// By endpoint and event, which is how deliveries are found: the partner's endpoints are few, and so are the events.
pub async fn list_deliveries(
    conn: &mut Conn,
    partner: PartnerId,
    transaction: TransactionId,
) -> Result<Vec<(DeliveryRecord, String)>, StoreError> {
    let lasting = endpoints::table
        .filter(endpoints::partner_id.eq(Id(partner.0)))
        .filter(endpoints::transaction_id.is_null())
        .filter(endpoints::removed_at.is_null())
        .select((endpoints::id, endpoints::url))
        .load::<(Id, String)>(conn)
        .await?;
    let own = endpoints::table
        .filter(endpoints::partner_id.eq(Id(partner.0)))
        .filter(endpoints::transaction_id.eq(Id(transaction.0)))
        .select((endpoints::id, endpoints::url))
        .load::<(Id, String)>(conn)
        .await?;
    let sequences: Vec<Option<i64>> = transaction_events::table
        .filter(transaction_events::partner_id.eq(Id(partner.0)))
        .filter(transaction_events::transaction_id.eq(Id(transaction.0)))
        .filter(transaction_events::sequence.is_not_null())
        .order(transaction_events::id)
        .select(transaction_events::sequence)
        .load(conn)
        .await?;
    let urls: HashMap<uuid::Uuid, String> = lasting
        .into_iter()
        .chain(own)
        .map(|(id, url)| (id.0, url))
        .collect();
    let ids: Vec<String> = urls.keys().map(ToString::to_string).collect();
    let sequences: Vec<String> = sequences
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    if ids.is_empty() || sequences.is_empty() {
        return Ok(Vec::new());
    }
    // The sequences are numbers of our own, and stand in the text so that both databases look them up one by one.
    let rows: Vec<DeliveryRow> = Statement::new(format!(
        "SELECT {FOUND}, {EVENT_TYPE} AS event_type FROM deliveries d \
         LEFT JOIN transaction_events v ON v.partner_id = d.partner_id AND v.sequence = d.sequence \
         WHERE d.partner_id = $1 AND d.endpoint_id {} AND d.sequence IN ({}) ORDER BY d.sequence, d.id",
        DIALECT.in_ids("$2"),
        sequences.join(", ")
    ))
    .bind(Bind::Id(Id(partner.0)))
    .text(serde_json::json!(ids).to_string())
    .load(conn)
    .await?;
    let records = with_attempts(conn, partner, rows).await?;
    Ok(records
        .into_iter()
        .map(|record| {
            let url = urls.get(&record.endpoint_id.0).cloned();
            (record, url.unwrap_or_default())
        })
        .collect())
}
