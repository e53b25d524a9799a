//! Rows of webhook endpoints.

use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable};

use crate::domain::delivery::{DueEndpoint, Endpoint, Pace, PreviousSecret};
use crate::domain::identity::{EndpointId, PartnerId, TransactionId};
use crate::store::columns::{At, Id, IdSql};
use crate::store::schema;

/// A webhook endpoint.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::endpoints)]
pub struct EndpointRow {
    pub id: Id,
    pub partner_id: Id,
    pub url: String,
    pub events: String,
    pub description: Option<String>,
    pub sealed_secret: Vec<u8>,
    pub disabled_at: Option<At>,
    pub created_at: At,
    pub transaction_id: Option<Id>,
    pub previous_sealed_secret: Option<Vec<u8>>,
    pub previous_secret_until: Option<At>,
    pub failing_since: Option<At>,
    pub concurrency: i32,
    pub rate_per_second: Option<i32>,
    pub public_key: Option<String>,
}

impl EndpointRow {
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            id: Id(endpoint.id.0),
            partner_id: Id(endpoint.partner_id.0),
            url: endpoint.url.clone(),
            events: endpoint.events.join(" "),
            description: endpoint.description.clone(),
            sealed_secret: endpoint.sealed_secret.clone(),
            disabled_at: endpoint.disabled_at.map(At),
            created_at: At(endpoint.created_at),
            transaction_id: endpoint.transaction_id.map(|id| Id(id.0)),
            previous_sealed_secret: endpoint
                .previous_secret
                .as_ref()
                .map(|secret| secret.sealed.clone()),
            previous_secret_until: endpoint
                .previous_secret
                .as_ref()
                .map(|secret| At(secret.until)),
            failing_since: endpoint.failing_since.map(At),
            concurrency: limit_column(endpoint.pace.concurrency),
            rate_per_second: endpoint.pace.rate_per_second.map(limit_column),
            public_key: endpoint.public_key.clone(),
        }
    }
}

impl From<EndpointRow> for Endpoint {
    fn from(row: EndpointRow) -> Self {
        Self {
            id: EndpointId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            url: row.url,
            events: event_types(&row.events),
            description: row.description,
            sealed_secret: row.sealed_secret,
            disabled_at: row.disabled_at.map(|at| at.0),
            created_at: row.created_at.0,
            transaction_id: row.transaction_id.map(|id| TransactionId(id.0)),
            previous_secret: previous_secret(row.previous_sealed_secret, row.previous_secret_until),
            failing_since: row.failing_since.map(|at| at.0),
            pace: pace(row.concurrency, row.rate_per_second),
            public_key: row.public_key,
        }
    }
}

/// An endpoint with something due.
#[derive(QueryableByName, Debug)]
pub struct DueEndpointRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = IdSql)]
    pub endpoint_id: Id,
    #[diesel(sql_type = Integer)]
    pub concurrency: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    pub rate_per_second: Option<i32>,
}

impl From<DueEndpointRow> for DueEndpoint {
    fn from(row: DueEndpointRow) -> Self {
        Self {
            partner_id: PartnerId(row.partner_id.0),
            endpoint_id: EndpointId(row.endpoint_id.0),
            pace: pace(row.concurrency, row.rate_per_second),
        }
    }
}

/// A limit as its column keeps it.
pub fn limit_column(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// The event types of an endpoint's column.
pub fn event_types(column: &str) -> Vec<String> {
    column.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn pace(concurrency: i32, rate_per_second: Option<i32>) -> Pace {
    Pace {
        concurrency: u32::try_from(concurrency).unwrap_or(1).max(1),
        rate_per_second: rate_per_second.and_then(|rate| u32::try_from(rate).ok()),
    }
}

pub fn previous_secret(sealed: Option<Vec<u8>>, until: Option<At>) -> Option<PreviousSecret> {
    Some(PreviousSecret {
        sealed: sealed?,
        until: until?.0,
    })
}
