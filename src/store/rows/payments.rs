//! Rows of payments started through us.

use diesel::prelude::*;

use crate::domain::identity::{AccountId, PartnerId, TransactionId};
use crate::domain::payment::{CallAnswer, PaymentRecord};
use crate::store::columns::{At, Id};
use crate::store::schema;

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
