//! Rows as the database gives them, and what they mean.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use super::columns::{At, Id, IdSql, InstantSql};
use super::schema;
use super::{Others, StoreError};
use crate::domain::account::Account;
use crate::domain::allowance::Standing;
use crate::domain::clock::Instant;
use crate::domain::delivery::{DueEndpoint, Endpoint, Pace, PreviousSecret};
use crate::domain::identity::{AccountId, EndpointId, EventId, KeyId, PartnerId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Msisdn;
use crate::domain::partner::{ApiKey, Partner};
use crate::domain::payment::{CallAnswer, PaymentRecord};
use crate::domain::status::Status;
use crate::domain::timeline::{StatusEvent, TimelineEntry, TimelineKind};
use crate::domain::transaction::{Kind, Provider, ProviderIds, RegisteredIds, Transaction};

/// A word in the table that our code does not know: the table is newer than the code, or was edited by hand.
pub(super) fn word<T: FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Query(format!("{column} holds an unknown word")))
}

fn number(msisdn: Option<String>) -> Option<Msisdn> {
    msisdn.and_then(|text| Msisdn::from_international(&text).ok())
}

fn required<T>(column: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Query(format!("{column} is null")))
}

/// The columns of a transaction, in the order every statement selects them.
pub const TRANSACTION_COLUMNS: [&str; 30] = [
    "partner_id",
    "id",
    "account_id",
    "provider",
    "kind",
    "origin",
    "client_request_id",
    "conversation_id",
    "originator_conversation_id",
    "order_reference",
    "registered_ids",
    "merchant_request_id",
    "msisdn",
    "payer_key",
    "currency",
    "amount_minor",
    "paid_minor",
    "account_reference",
    "tenant_id",
    "customer_id",
    "original_id",
    "status",
    "unconfirmed",
    "result_code",
    "result_description",
    "provider_status",
    "receipt",
    "reversed_at",
    "created_at",
    "updated_at",
];

/// Their types, all nullable because the listing joins them to figures that stand even for an empty page.
pub type TransactionSql = (
    Nullable<IdSql>,
    Nullable<IdSql>,
    Nullable<IdSql>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Integer>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<IdSql>,
    Nullable<Text>,
    Nullable<Bool>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<InstantSql>,
    Nullable<InstantSql>,
    Nullable<InstantSql>,
);

/// A transaction.
#[derive(Queryable)]
pub struct TransactionRow {
    pub partner_id: Option<Id>,
    pub id: Option<Id>,
    pub account_id: Option<Id>,
    pub provider: Option<String>,
    pub kind: Option<String>,
    pub origin: Option<String>,
    pub client_request_id: Option<String>,
    pub conversation_id: Option<String>,
    pub originator_conversation_id: Option<String>,
    pub order_reference: Option<String>,
    pub registered_ids: Option<i32>,
    pub merchant_request_id: Option<String>,
    pub msisdn: Option<String>,
    pub payer_key: Option<String>,
    pub currency: Option<String>,
    pub amount_minor: Option<i64>,
    pub paid_minor: Option<i64>,
    pub account_reference: Option<String>,
    pub tenant_id: Option<String>,
    pub customer_id: Option<String>,
    pub original_id: Option<Id>,
    pub status: Option<String>,
    pub unconfirmed: Option<bool>,
    pub result_code: Option<String>,
    pub result_description: Option<String>,
    pub provider_status: Option<String>,
    pub receipt: Option<String>,
    pub reversed_at: Option<At>,
    pub created_at: Option<At>,
    pub updated_at: Option<At>,
}

/// Shows no phone number.
impl fmt::Debug for TransactionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionRow")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl TryFrom<TransactionRow> for Transaction {
    type Error = StoreError;

    fn try_from(row: TransactionRow) -> Result<Self, StoreError> {
        Ok(Self {
            partner_id: PartnerId(required("partner_id", row.partner_id)?.0),
            id: TransactionId(required("id", row.id)?.0),
            account_id: row.account_id.map(|id| AccountId(id.0)),
            provider: word::<Provider>("provider", &required("provider", row.provider)?)?,
            kind: word::<Kind>("kind", &required("kind", row.kind)?)?,
            origin: required("origin", row.origin)?,
            client_request_id: row.client_request_id,
            ids: ProviderIds {
                conversation_id: row.conversation_id,
                originator_conversation_id: row.originator_conversation_id,
                order_reference: row.order_reference,
            },
            registered_ids: RegisteredIds(required("registered_ids", row.registered_ids)?),
            merchant_request_id: row.merchant_request_id,
            msisdn: number(row.msisdn),
            payer_key: row.payer_key,
            currency: word::<Currency>("currency", &required("currency", row.currency)?)?,
            amount: Amount(required("amount_minor", row.amount_minor)?),
            paid: row.paid_minor.map(Amount),
            account_reference: row.account_reference,
            tenant_id: row.tenant_id,
            customer_id: row.customer_id,
            original_id: row.original_id.map(|id| TransactionId(id.0)),
            status: word::<Status>("status", &required("status", row.status)?)?,
            unconfirmed: required("unconfirmed", row.unconfirmed)?,
            result_code: row.result_code,
            result_description: row.result_description,
            provider_status: row.provider_status,
            receipt: row.receipt,
            reversed_at: row.reversed_at.map(|at| at.0),
            created_at: required("created_at", row.created_at)?.0,
            updated_at: required("updated_at", row.updated_at)?.0,
        })
    }
}

/// The types of a page's figures.
pub type FiguresSql = (BigInt, Nullable<Text>, Nullable<BigInt>);

/// A page's figures.
#[derive(Queryable, Debug)]
pub struct FiguresRow {
    pub total: i64,
    pub counters: Option<String>,
    pub recent: Option<i64>,
}

/// The types of a line of a page: the page's figures, and a row unless the page is empty.
pub type ListingSql = (BigInt, Nullable<Text>, Nullable<BigInt>, TransactionSql);

/// A line of a page.
#[derive(Queryable, Debug)]
pub struct ListingRow {
    pub total: i64,
    pub counters: Option<String>,
    pub recent: Option<i64>,
    pub row: TransactionRow,
}

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

/// A row of any table as one JSON array. Not for printing: it may hold a phone number.
#[derive(QueryableByName)]
pub struct LineRow {
    #[diesel(sql_type = Text)]
    pub line: String,
}

/// One id.
#[derive(QueryableByName, Debug)]
pub struct IdRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
}

/// An instant.
#[derive(QueryableByName, Debug)]
pub struct InstantRow {
    #[diesel(sql_type = InstantSql)]
    pub at: At,
}

/// The other instances.
#[derive(QueryableByName, Debug)]
pub struct OthersRow {
    #[diesel(sql_type = BigInt)]
    pub others: i64,
    #[diesel(sql_type = BigInt)]
    pub before: i64,
}

impl From<OthersRow> for Others {
    fn from(row: OthersRow) -> Self {
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            live: count(row.others),
            before: count(row.before),
        }
    }
}

/// Where a key stands; microseconds until its quota is whole.
#[derive(QueryableByName, Debug)]
pub struct StandingRow {
    #[diesel(sql_type = Bool)]
    pub passed: bool,
    #[diesel(sql_type = BigInt)]
    pub whole_in: i64,
}

impl From<StandingRow> for Standing {
    fn from(row: StandingRow) -> Self {
        Self {
            passed: row.passed,
            whole_in: Duration::from_micros(u64::try_from(row.whole_in).unwrap_or_default()),
        }
    }
}

/// One partner.
#[derive(QueryableByName, Debug)]
pub struct PartnerIdRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
}

/// A transaction that is asked about no more.
#[derive(QueryableByName, Debug)]
pub struct StuckRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = IdSql)]
    pub transaction_id: Id,
    #[diesel(sql_type = InstantSql)]
    pub stuck_at: At,
}

/// A partner's feed head.
#[derive(QueryableByName, Debug)]
pub struct HeadRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = BigInt)]
    pub last_sequence: i64,
}

/// An endpoint as the ledger needs it.
#[derive(QueryableByName, Debug)]
pub struct EndpointFactsRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub events: String,
    #[diesel(sql_type = diesel::sql_types::Nullable<IdSql>)]
    pub transaction_id: Option<Id>,
}

/// A kept callback.
#[derive(QueryableByName, Debug)]
pub struct WaitingRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub provider: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub news: Option<String>,
}

/// A kept callback that nobody claimed.
#[derive(QueryableByName, Debug)]
pub struct UnclaimedRow {
    #[diesel(embed)]
    pub kept: WaitingRow,
    #[diesel(sql_type = Nullable<IdSql>)]
    pub account_id: Option<Id>,
}

/// A partner that has an unnamed payment at a provider.
#[derive(QueryableByName, Debug)]
pub struct UnnamedRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
    #[diesel(sql_type = Text)]
    pub provider: String,
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

fn pace(concurrency: i32, rate_per_second: Option<i32>) -> Pace {
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

/// What is waiting.
#[derive(QueryableByName, Debug)]
pub struct BacklogRow {
    #[diesel(sql_type = BigInt)]
    pub open_transactions: i64,
    #[diesel(sql_type = BigInt)]
    pub pending_deliveries: i64,
    #[diesel(sql_type = BigInt)]
    pub waiting_callbacks: i64,
    #[diesel(sql_type = BigInt)]
    pub stuck_transactions: i64,
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

/// A partner.
#[derive(Queryable, Selectable, Insertable, Debug)]
#[diesel(table_name = schema::partners)]
pub struct PartnerRow {
    pub id: Id,
    pub name: String,
    pub currency: String,
    pub suspended_at: Option<At>,
    pub created_at: At,
}

impl PartnerRow {
    pub fn new(partner: &Partner) -> Self {
        Self {
            id: Id(partner.id.0),
            name: partner.name.clone(),
            currency: partner.currency.to_string(),
            suspended_at: None,
            created_at: At(partner.created_at),
        }
    }
}

impl TryFrom<PartnerRow> for Partner {
    type Error = StoreError;

    fn try_from(row: PartnerRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: PartnerId(row.id.0),
            name: row.name,
            currency: word::<Currency>("currency", &row.currency)?,
            suspended: row.suspended_at.is_some(),
            created_at: row.created_at.0,
        })
    }
}

/// An API key.
#[derive(Queryable, Selectable, Insertable, Debug)]
#[diesel(table_name = schema::api_keys)]
pub struct KeyRow {
    pub id: Id,
    pub partner_id: Id,
    pub prefix: String,
    pub digest: String,
    pub scopes: String,
    pub expires_at: Option<At>,
    pub revoked_at: Option<At>,
    pub created_at: At,
}

impl KeyRow {
    pub fn new(key: &ApiKey) -> Self {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        Self {
            id: Id(key.id.0),
            partner_id: Id(key.partner_id.0),
            prefix: key.prefix.clone(),
            digest: key.digest.clone(),
            scopes: scopes.join(" "),
            expires_at: key.expires_at.map(At),
            revoked_at: key.revoked_at.map(At),
            created_at: At(key.created_at),
        }
    }
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let scopes = row
            .scopes
            .split_whitespace()
            .map(|scope| word("scopes", scope))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: KeyId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            prefix: row.prefix,
            digest: row.digest,
            scopes,
            expires_at: row.expires_at.map(|at| at.0),
            revoked_at: row.revoked_at.map(|at| at.0),
            created_at: row.created_at.0,
        })
    }
}

/// A provider account.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::provider_accounts)]
pub struct AccountRow {
    pub id: Id,
    pub partner_id: Id,
    pub provider: String,
    pub environment: String,
    pub shortcode: Option<String>,
    pub till_number: Option<String>,
    pub callback_token: String,
    pub sealed_credentials: Vec<u8>,
    pub created_at: At,
}

impl AccountRow {
    pub fn new(account: &Account) -> Self {
        Self {
            id: Id(account.id.0),
            partner_id: Id(account.partner_id.0),
            provider: account.provider.to_string(),
            environment: account.environment.clone(),
            shortcode: account.shortcode.clone(),
            till_number: account.till_number.clone(),
            callback_token: account.callback_token.clone(),
            sealed_credentials: account.sealed_credentials.clone(),
            created_at: At(account.created_at),
        }
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AccountId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            provider: word("provider", &row.provider)?,
            environment: row.environment,
            shortcode: row.shortcode,
            till_number: row.till_number,
            callback_token: row.callback_token,
            sealed_credentials: row.sealed_credentials,
            created_at: row.created_at.0,
        })
    }
}

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

/// A limit as its column keeps it.
pub fn limit_column(limit: u32) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
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

/// The event types of an endpoint's column.
pub fn event_types(column: &str) -> Vec<String> {
    column.split_whitespace().map(str::to_owned).collect()
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

/// A payment started through us.
#[derive(Queryable, Selectable)]
#[diesel(table_name = schema::payments)]
pub struct PaymentRow {
    pub partner_id: Id,
    pub transaction_id: Id,
    pub account_id: Id,
    pub digest: String,
    pub reference: Option<String>,
    pub outcome: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub customer_message: Option<String>,
    pub is_retryable: bool,
    pub created_at: At,
}

impl From<PaymentRow> for PaymentRecord {
    fn from(row: PaymentRow) -> Self {
        let answer = match row.outcome.as_deref() {
            Some("accepted") => Some(CallAnswer::Accepted {
                code: row.code,
                description: row.message,
                customer_message: row.customer_message,
            }),
            Some("refused") => Some(CallAnswer::Refused {
                code: row.code,
                message: row.message.unwrap_or_default(),
                is_retryable: row.is_retryable,
            }),
            Some(_) => Some(CallAnswer::Unknown {
                reason: row.message.unwrap_or_default(),
            }),
            None => None,
        };
        Self {
            partner_id: PartnerId(row.partner_id.0),
            transaction_id: TransactionId(row.transaction_id.0),
            account_id: AccountId(row.account_id.0),
            digest: row.digest,
            reference: row.reference,
            answer,
            created_at: row.created_at.0,
        }
    }
}

/// A balance line.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = schema::balances)]
pub struct BalanceRow {
    pub name: String,
    pub currency: String,
    pub current_minor: Option<i64>,
    pub available_minor: Option<i64>,
    pub reserved_minor: Option<i64>,
    pub uncleared_minor: Option<i64>,
    pub checked_at: At,
}

/// An audit line.
#[derive(Insertable)]
#[diesel(table_name = schema::audit_log)]
pub struct AuditRow {
    pub id: Id,
    pub at: At,
    pub actor: String,
    pub action: String,
    pub partner_id: Option<Id>,
    pub subject: String,
    pub source: Option<String>,
    pub detail: Option<String>,
}

/// An instant from microseconds since 1970, as JSON carries it.
pub fn instant_from_micros(micros: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(micros)
}
