//! Rows of deliveries and attempts as partners look at them afterwards.

use std::str::FromStr;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::StoreError;
use super::columns::{At, Id, IdSql, InstantSql};
use super::schema;
use crate::domain::delivery_record::{AttemptRecord, DeliveryRecord, DeliveryState};
use crate::domain::identity::{DeliveryId, EndpointId, TransactionId};

/// A delivery without its attempts.
#[derive(QueryableByName, Debug)]
pub struct DeliveryRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub endpoint_id: Id,
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub event_type: Option<String>,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = InstantSql)]
    pub due_at: At,
    #[diesel(sql_type = InstantSql)]
    pub created_at: At,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub finished_at: Option<At>,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub replayed_at: Option<At>,
}

impl TryFrom<DeliveryRow> for DeliveryRecord {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: DeliveryId(row.id.0),
            endpoint_id: EndpointId(row.endpoint_id.0),
            transaction_id: TransactionId(row.transaction_id.0),
            sequence: row.sequence,
            event_type: row.event_type,
            state: DeliveryState::from_str(&row.state)
                .map_err(|_| StoreError::Query("state holds an unknown word".to_owned()))?,
            due_at: row.due_at.0,
            created_at: row.created_at.0,
            finished_at: row.finished_at.map(|at| at.0),
            replayed_at: row.replayed_at.map(|at| at.0),
            attempts: Vec::new(),
        })
    }
}

/// An attempt.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = schema::delivery_attempts)]
pub struct AttemptRow {
    pub delivery_id: Id,
    pub number: i32,
    pub at: At,
    pub duration_ms: i64,
    pub status: Option<i32>,
    pub error: Option<String>,
    pub response: Option<String>,
}

impl From<AttemptRow> for AttemptRecord {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: u32::try_from(row.number).unwrap_or_default(),
            at: row.at.0,
            duration_ms: row.duration_ms,
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            error: row.error,
            response: row.response,
        }
    }
}

/// Of a delivery that is asked for again: whether its endpoint is told anything.
#[derive(QueryableByName, Debug)]
pub struct AskedRow {
    #[diesel(sql_type = Bool)]
    pub is_disabled: bool,
}

/// An event that is to be sent again, and the delivery there is of it.
#[derive(QueryableByName, Debug)]
pub struct ReplayRow {
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(sql_type = InstantSql)]
    pub at: At,
    #[diesel(sql_type = Nullable<IdSql>)]
    pub delivery_id: Option<Id>,
}

/// What changes of an endpoint; what is `None` stays.
#[derive(AsChangeset, Default)]
#[diesel(table_name = schema::endpoints)]
pub struct EndpointChanges {
    pub url: Option<String>,
    pub events: Option<String>,
    pub description: Option<String>,
    pub concurrency: Option<i32>,
    pub rate_per_second: Option<Option<i32>>,
    pub disabled_at: Option<Option<At>>,
    pub failing_since: Option<Option<At>>,
}

impl EndpointChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.url.is_none()
            && self.events.is_none()
            && self.description.is_none()
            && self.concurrency.is_none()
            && self.rate_per_second.is_none()
            && self.disabled_at.is_none()
            && self.failing_since.is_none()
    }
}
