//! Rows of the console's own tables, and what they mean.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::word;
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, CallbackId, KeyId, OperatorId, PartnerId, TransactionId};
use crate::domain::inbox::InboxRecord;
use crate::domain::money::Currency;
use crate::domain::operator::{Operator, Session, SessionOwner};
use crate::domain::overview::Group;
use crate::domain::status::Status;
use crate::domain::transaction::Provider;
use crate::store::columns::{At, Id, IdSql, InstantSql};
use crate::store::{StoreError, schema};

/// An operator.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::operators)]
pub struct OperatorRow {
    pub id: Id,
    pub name: String,
    pub password_hash: String,
    pub created_at: At,
}

impl OperatorRow {
    pub fn new(operator: &Operator) -> Self {
        Self {
            id: Id(operator.id.0),
            name: operator.name.clone(),
            password_hash: operator.password_hash.clone(),
            created_at: At(operator.created_at),
        }
    }
}

impl From<OperatorRow> for Operator {
    fn from(row: OperatorRow) -> Self {
        Self {
            id: OperatorId(row.id.0),
            name: row.name,
            password_hash: row.password_hash,
            created_at: row.created_at.0,
        }
    }
}

/// A session.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::sessions)]
pub struct SessionRow {
    pub digest: String,
    pub operator_id: Option<Id>,
    pub key_id: Option<Id>,
    pub partner_id: Option<Id>,
    pub source: Option<String>,
    pub created_at: At,
    pub seen_at: At,
}

impl SessionRow {
    pub fn new(session: &Session) -> Self {
        let (operator_id, key_id) = match session.owner {
            SessionOwner::Operator(id) => (Some(Id(id.0)), None),
            SessionOwner::Key(id) => (None, Some(Id(id.0))),
        };
        Self {
            digest: session.digest.clone(),
            operator_id,
            key_id,
            partner_id: session.partner_id.map(|id| Id(id.0)),
            source: session.source.clone(),
            created_at: At(session.created_at),
            seen_at: At(session.seen_at),
        }
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let owner = match (row.operator_id, row.key_id) {
            (Some(id), None) => SessionOwner::Operator(OperatorId(id.0)),
            (None, Some(id)) => SessionOwner::Key(KeyId(id.0)),
            _ => return Err(StoreError::Query("a session has no one owner".to_owned())),
        };
        Ok(Self {
            digest: row.digest,
            owner,
            partner_id: row.partner_id.map(|id| PartnerId(id.0)),
            source: row.source,
            created_at: row.created_at.0,
            seen_at: row.seen_at.0,
        })
    }
}

/// A callback in the inbox.
#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::callbacks)]
pub struct InboxRow {
    pub id: Id,
    pub partner_id: Option<Id>,
    pub account_id: Option<Id>,
    pub provider: String,
    pub kind: String,
    pub state: String,
    pub transaction_id: Option<Id>,
    pub received_at: At,
    pub source: Option<String>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    pub note: Option<String>,
}

impl TryFrom<InboxRow> for InboxRecord {
    type Error = StoreError;

    fn try_from(row: InboxRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: CallbackId(row.id.0),
            partner_id: row.partner_id.map(|id| PartnerId(id.0)),
            account_id: row.account_id.map(|id| AccountId(id.0)),
            provider: word("provider", &row.provider)?,
            kind: row.kind,
            state: row.state,
            transaction_id: row.transaction_id.map(|id| TransactionId(id.0)),
            received_at: row.received_at.0,
            source: row.source,
            content_type: row.content_type,
            body: row.body,
            note: row.note,
        })
    }
}

/// What was created in an hour or a day.
#[derive(QueryableByName)]
pub struct CountedRow {
    #[diesel(sql_type = InstantSql)]
    ends_at: At,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = BigInt)]
    amount_minor: i64,
}

/// Its end, currency, status, count and sum.
pub fn counted(row: CountedRow) -> Result<(Instant, Currency, Status, i64, i64), StoreError> {
    Ok((
        row.ends_at.0,
        word("currency", &row.currency)?,
        word("status", &row.status)?,
        row.n,
        row.amount_minor,
    ))
}

/// How many transactions a partner created.
#[derive(QueryableByName)]
pub struct ShareRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = BigInt)]
    pub n: i64,
}

/// Transactions that are alike.
#[derive(QueryableByName)]
pub struct GroupRow {
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    result_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    result_description: Option<String>,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// What they have in common.
pub fn group(row: GroupRow) -> Result<Group, StoreError> {
    Ok(Group {
        provider: word("provider", &row.provider)?,
        status: word("status", &row.status)?,
        result_code: row.result_code,
        result_description: row.result_description,
        count: row.n,
    })
}

/// Open transactions by age.
#[derive(QueryableByName)]
pub struct AgesRow {
    #[diesel(sql_type = BigInt)]
    pub younger_1: i64,
    #[diesel(sql_type = BigInt)]
    pub younger_2: i64,
    #[diesel(sql_type = BigInt)]
    pub younger_3: i64,
    #[diesel(sql_type = BigInt)]
    pub younger_4: i64,
    #[diesel(sql_type = BigInt)]
    pub n: i64,
    #[diesel(sql_type = BigInt)]
    pub stuck: i64,
}

/// What waits to be delivered, and what was given up.
#[derive(QueryableByName)]
pub struct WaitingRow {
    #[diesel(sql_type = BigInt)]
    pub deliveries: i64,
    #[diesel(sql_type = Nullable<InstantSql>)]
    pub oldest_due_at: Option<At>,
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
}

/// When a callback came.
#[derive(QueryableByName)]
pub struct NewestRow {
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = InstantSql)]
    received_at: At,
}

/// From whom, and when.
pub fn newest(row: NewestRow) -> Result<(Provider, Instant), StoreError> {
    Ok((word("provider", &row.provider)?, row.received_at.0))
}
