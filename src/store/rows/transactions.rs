//! Rows of transactions and of a page of them.

use std::fmt;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use super::{number, required, word};
use crate::domain::identity::{AccountId, PartnerId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider, ProviderIds, RegisteredIds, Transaction};
use crate::store::StoreError;
use crate::store::columns::{At, Id, IdSql, InstantSql};

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

/// The same behind a table's alias.
pub fn transaction_columns(alias: &str) -> String {
    TRANSACTION_COLUMNS
        .map(|column| format!("{alias}.{column}"))
        .join(", ")
}

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
