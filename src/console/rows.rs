//! A transaction as a line of a list: what a table shows, and what the stream sends when it changes.

use askama::Template;

use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::partner::Partner;
use crate::domain::transaction::Transaction;

/// A line.
#[derive(Template)]
#[template(path = "console/row.html")]
pub struct Row {
    /// The transaction's id.
    pub id: String,
    path: String,
    created_at: Time,
    /// Whose, where several partners' are shown.
    partner: Option<String>,
    what: String,
    msisdn: String,
    amount: String,
    currency: String,
    status: &'static str,
    status_name: &'static str,
    detail: String,
    version: String,
}

/// What changes whenever a transaction does.
pub fn version(transaction: &Transaction) -> String {
    format!(
        "{}-{}",
        transaction.status,
        transaction.updated_at.timestamp_millis()
    )
}

impl Row {
    /// The line of a transaction; its partner is named if `partners` are given.
    pub fn new(transaction: &Transaction, partners: Option<&[Partner]>) -> Self {
        let partner = partners.map(|partners| {
            partners
                .iter()
                .find(|partner| partner.id == transaction.partner_id)
                .map_or_else(
                    || transaction.partner_id.to_string(),
                    |partner| partner.name.clone(),
                )
        });
        Self {
            id: transaction.id.to_string(),
            path: path(transaction),
            created_at: Time(transaction.created_at),
            partner,
            what: format!(
                "{} {}",
                text::provider(transaction.provider),
                text::kind(transaction.kind)
            ),
            msisdn: number(transaction),
            amount: text::amount(transaction.amount),
            currency: transaction.currency.to_string(),
            status: transaction.status.as_str(),
            status_name: text::status(transaction.status),
            detail: detail(transaction),
            version: version(transaction),
        }
    }
}

/// Where a transaction's story is told.
pub fn path(transaction: &Transaction) -> String {
    format!(
        "/console/transactions/{}/{}",
        transaction.partner_id, transaction.id
    )
}

/// The customer's number, masked.
pub fn number(transaction: &Transaction) -> String {
    match (&transaction.msisdn, &transaction.payer_key) {
        (Some(msisdn), _) => msisdn.masked(),
        (None, Some(key)) => key.clone(),
        (None, None) => "–".to_owned(),
    }
}

/// The one thing more worth knowing: the receipt, why it failed, or the partner's own id.
fn detail(transaction: &Transaction) -> String {
    let detail = transaction
        .receipt
        .as_ref()
        .or(transaction.result_description.as_ref())
        .or(transaction.client_request_id.as_ref());
    detail.cloned().unwrap_or_default()
}

/// All partners, for an operator who looks at all; nothing where one partner's things are shown.
pub async fn partners(
    store: &dyn crate::store::Store,
    viewer: &Viewer,
) -> Result<Option<Vec<Partner>>, crate::store::StoreError> {
    match viewer.partner() {
        Some(_) => Ok(None),
        None => store.list_partners().await.map(Some),
    }
}
