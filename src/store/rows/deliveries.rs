//! Rows of deliveries: as a worker claims them, and with their attempts as partners look at them afterwards.

use std::fmt;
use std::str::FromStr;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};

use super::endpoints::previous_secret;
use super::events::EventRow;
use crate::domain::delivery::{ClaimedDelivery, Endpoint, Message, Pace};
use crate::domain::delivery_record::{AttemptRecord, DeliveryRecord, DeliveryState};
use crate::domain::identity::{DeliveryId, EndpointId, NoticeId, PartnerId, TransactionId};
use crate::domain::timeline::StatusEvent;
use crate::store::columns::{At, Id, IdSql, InstantSql};
use crate::store::{StoreError, notice_codec, schema};

/// A delivery that a lease was just taken on.
#[derive(QueryableByName, Debug)]
pub struct LeasedRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = IdSql)]
    pub endpoint_id: Id,
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = InstantSql)]
    pub created_at: At,
    #[diesel(sql_type = Nullable<Text>)]
    pub notice: Option<String>,
}

/// A claimed delivery with its endpoint, whatever it tells.
#[derive(QueryableByName)]
pub struct ClaimedRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = InstantSql)]
    pub delivery_created_at: At,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = IdSql)]
    pub endpoint_id: Id,
    #[diesel(sql_type = Text)]
    pub url: String,
    #[diesel(sql_type = Binary)]
    pub sealed_secret: Vec<u8>,
    #[diesel(sql_type = Nullable<Binary>)]
    pub previous_sealed_secret: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub previous_secret_until: Option<At>,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub failing_since: Option<At>,
    #[diesel(sql_type = InstantSql)]
    pub endpoint_created_at: At,
}

impl fmt::Debug for ClaimedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedRow")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl ClaimedRow {
    fn telling(self, message: Message) -> ClaimedDelivery {
        ClaimedDelivery {
            id: DeliveryId(self.id.0),
            endpoint: Endpoint {
                id: EndpointId(self.endpoint_id.0),
                partner_id: PartnerId(self.partner_id.0),
                url: self.url,
                events: Vec::new(),
                description: None,
                sealed_secret: self.sealed_secret,
                disabled_at: None,
                created_at: self.endpoint_created_at.0,
                transaction_id: None,
                previous_secret: previous_secret(
                    self.previous_sealed_secret,
                    self.previous_secret_until,
                ),
                failing_since: self.failing_since.map(|at| at.0),
                pace: Pace::default(),
                public_key: None,
            },
            message,
            attempts: u32::try_from(self.attempts).unwrap_or_default(),
            created_at: self.delivery_created_at.0,
        }
    }
}

/// A claimed delivery of an event. Shows no phone number.
#[derive(QueryableByName, Debug)]
pub struct ClaimedEventRow {
    #[diesel(embed)]
    pub claimed: ClaimedRow,
    #[diesel(embed)]
    pub event: EventRow,
}

impl TryFrom<ClaimedEventRow> for ClaimedDelivery {
    type Error = StoreError;

    fn try_from(row: ClaimedEventRow) -> Result<Self, StoreError> {
        let event = StatusEvent::try_from(row.event)?;
        Ok(row.claimed.telling(Message::Event(Box::new(event))))
    }
}

/// A claimed delivery of a notice.
#[derive(QueryableByName, Debug)]
pub struct ClaimedNoticeRow {
    #[diesel(embed)]
    pub claimed: ClaimedRow,
    #[diesel(sql_type = IdSql)]
    pub notice_id: Id,
    #[diesel(sql_type = Text)]
    pub notice: String,
}

impl TryFrom<ClaimedNoticeRow> for ClaimedDelivery {
    type Error = StoreError;

    fn try_from(row: ClaimedNoticeRow) -> Result<Self, StoreError> {
        let notice = notice_codec::decode(NoticeId(row.notice_id.0), &row.notice)?;
        Ok(row.claimed.telling(Message::Disabled(Box::new(notice))))
    }
}

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
            // Below zero is no place in the feed: a notice, which is of no transaction.
            transaction_id: (row.sequence > 0).then_some(TransactionId(row.transaction_id.0)),
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
    pub sealed_secret: Option<Vec<u8>>,
    pub public_key: Option<Option<String>>,
    pub previous_sealed_secret: Option<Option<Vec<u8>>>,
    pub previous_secret_until: Option<Option<At>>,
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
            && self.sealed_secret.is_none()
            && self.disabled_at.is_none()
            && self.failing_since.is_none()
    }
}
