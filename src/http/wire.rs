//! A transaction as every answer shows it: the fifteen documented fields in their order, then our own.

use std::fmt;

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::clock::Instant;
use crate::domain::money::Amount;
use crate::domain::partner::Partner;
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::Transaction;

/// An amount as a JSON number with exactly two decimals, made without floating point.
#[derive(Debug, Clone, Copy)]
pub struct Decimal(pub Amount);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// An instant as `2025-01-10T12:34:56.789Z`.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp(pub Instant);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The partner of an answer.
#[derive(Debug, Serialize)]
pub struct PartnerBody<'a> {
    id: String,
    name: &'a str,
}

impl<'a> From<&'a Partner> for PartnerBody<'a> {
    fn from(partner: &'a Partner) -> Self {
        Self {
            id: partner.id.to_string(),
            name: &partner.name,
        }
    }
}

/// A transaction.
#[derive(Serialize)]
pub struct TransactionBody<'a> {
    transaction_id: String,
    conversation_id: Option<&'a str>,
    client_request_id: Option<&'a str>,
    origin: &'a str,
    tenant_id: Option<&'a str>,
    customer_id: Option<&'a str>,
    msisdn: Option<&'a str>,
    amount: Decimal,
    status: &'static str,
    result_code: Option<&'a str>,
    result_description: Option<&'a str>,
    transaction_receipt: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    partner_id: String,
    currency: &'a str,
    provider: &'static str,
    kind: &'static str,
    originator_conversation_id: Option<&'a str>,
    order_reference: Option<&'a str>,
    account_reference: Option<&'a str>,
    payer_key: Option<&'a str>,
    paid_amount: Option<Decimal>,
    provider_status: Option<&'a str>,
    original_transaction_id: Option<String>,
    reversed_at: Option<Timestamp>,
    r#final: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<DisplayBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<TimelineBody<'a>>>,
}

/// The texts of one transaction.
#[derive(Debug, Serialize)]
pub struct DisplayBody<'a> {
    pub en: &'a str,
    pub sw: &'a str,
    pub r#final: bool,
    pub safe_to_retry: bool,
    pub next_poll_after_ms: Option<u64>,
}

/// Shows no phone number.
impl fmt::Debug for TransactionBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionBody")
            .field("transaction_id", &self.transaction_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl<'a> From<&'a Transaction> for TransactionBody<'a> {
    fn from(row: &'a Transaction) -> Self {
        Self {
            transaction_id: row.id.to_string(),
            conversation_id: row.ids.conversation_id.as_deref(),
            client_request_id: row.client_request_id.as_deref(),
            origin: &row.origin,
            tenant_id: row.tenant_id.as_deref(),
            customer_id: row.customer_id.as_deref(),
            msisdn: row.msisdn.as_ref().map(|msisdn| msisdn.as_str()),
            amount: Decimal(row.amount),
            status: row.status.as_str(),
            result_code: row.result_code.as_deref(),
            result_description: row.result_description.as_deref(),
            transaction_receipt: row.receipt.as_deref(),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            partner_id: row.partner_id.to_string(),
            currency: row.currency.as_str(),
            provider: row.provider.as_str(),
            kind: row.kind.as_str(),
            originator_conversation_id: row.ids.originator_conversation_id.as_deref(),
            order_reference: row.ids.order_reference.as_deref(),
            account_reference: row.account_reference.as_deref(),
            payer_key: row.payer_key.as_deref(),
            paid_amount: row.paid.map(Decimal),
            provider_status: row.provider_status.as_deref(),
            original_transaction_id: row.original_id.map(|id| id.to_string()),
            reversed_at: row.reversed_at.map(Timestamp),
            r#final: row.status.is_final(),
            display: None,
            timeline: None,
        }
    }
}

impl<'a> TransactionBody<'a> {
    /// The transaction with its texts for the screen.
    pub fn with_display(mut self, display: DisplayBody<'a>) -> Self {
        self.display = Some(display);
        self
    }

    /// The transaction with what happened to it, oldest first.
    pub fn with_timeline(mut self, timeline: &'a [TimelineEntry]) -> Self {
        self.timeline = Some(timeline.iter().map(TimelineBody::from).collect());
        self
    }
}

/// A line of a timeline.
#[derive(Debug, Serialize)]
pub struct TimelineBody<'a> {
    at: Timestamp,
    kind: &'static str,
    from: Option<&'static str>,
    to: Option<&'static str>,
    source: &'a str,
    result_code: Option<&'a str>,
    note: Option<&'a str>,
}

impl<'a> From<&'a TimelineEntry> for TimelineBody<'a> {
    fn from(entry: &'a TimelineEntry) -> Self {
        Self {
            at: Timestamp(entry.at),
            kind: entry.kind.as_str(),
            from: entry.from.map(|status| status.as_str()),
            to: entry.to.map(|status| status.as_str()),
            source: &entry.source,
            result_code: entry.result_code.as_deref(),
            note: entry.note.as_deref(),
        }
    }
}
