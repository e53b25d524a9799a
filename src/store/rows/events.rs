//! Rows of what happened: lines of a timeline, events of the feed, and how far a feed is.

use std::fmt;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::{number, required, word};
use crate::domain::identity::{EventId, PartnerId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::status::Status;
use crate::domain::timeline::{StatusEvent, TimelineEntry, TimelineKind};
use crate::store::StoreError;
use crate::store::columns::{At, Id, IdSql, InstantSql};

/// A timeline line.
#[derive(QueryableByName, Debug)]
pub struct TimelineRow {
    #[diesel(sql_type = InstantSql)]
    pub at: At,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub from_status: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub to_status: Option<String>,
    #[diesel(sql_type = Text)]
    pub source: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub result_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub note: Option<String>,
}

impl TryFrom<TimelineRow> for TimelineEntry {
    type Error = StoreError;

    fn try_from(row: TimelineRow) -> Result<Self, StoreError> {
        let status =
            |text: Option<String>| text.map(|text| word::<Status>("status", &text)).transpose();
        Ok(Self {
            at: row.at.0,
            kind: word::<TimelineKind>("kind", &row.kind)?,
            from: status(row.from_status)?,
            to: status(row.to_status)?,
            source: row.source,
            result_code: row.result_code,
            note: row.note,
        })
    }
}

/// A status event, of the feed or of a delivery.
#[derive(QueryableByName)]
pub struct EventRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = IdSql)]
    pub event_id: Id,
    #[diesel(sql_type = BigInt)]
    pub sequence: i64,
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub to_status: Option<String>,
    #[diesel(sql_type = InstantSql)]
    pub at: At,
    #[diesel(sql_type = Nullable<Text>)]
    pub conversation_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub client_request_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub result_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub result_description: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub receipt: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub amount_minor: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub currency: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub msisdn: Option<String>,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub reversed_at: Option<At>,
}

/// Shows no phone number.
impl fmt::Debug for EventRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRow")
            .field("event_id", &self.event_id)
            .finish_non_exhaustive()
    }
}

impl TryFrom<EventRow> for StatusEvent {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: EventId(row.event_id.0),
            partner_id: PartnerId(row.partner_id.0),
            sequence: row.sequence,
            transaction_id: TransactionId(row.transaction_id.0),
            is_registration: word::<TimelineKind>("kind", &row.kind)? == TimelineKind::Registered,
            status: word::<Status>("to_status", &required("to_status", row.to_status)?)?,
            conversation_id: row.conversation_id,
            client_request_id: row.client_request_id,
            result_code: row.result_code,
            result_description: row.result_description,
            receipt: row.receipt,
            amount: Amount(required("amount_minor", row.amount_minor)?),
            currency: word::<Currency>("currency", &required("currency", row.currency)?)?,
            msisdn: number(row.msisdn),
            reversed_at: row.reversed_at.map(|at| at.0),
            updated_at: row.at.0,
        })
    }
}

/// A partner's feed head.
#[derive(QueryableByName, Debug)]
pub struct HeadRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = BigInt)]
    pub last_sequence: i64,
}
