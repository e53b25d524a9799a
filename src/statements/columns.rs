//! The columns of a statement: the fields of a transaction as the API shows them, in the same order.

use std::borrow::Cow;

use chrono::SecondsFormat;

use crate::domain::clock::Instant;
use crate::domain::money::Amount;
use crate::domain::transaction::Transaction;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text that somebody else chose.
    Text,
    /// A word, an id or a time: text that we made.
    Word,
    /// A number or a truth, bare in JSON.
    Bare,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name, in the head of a CSV and in every object.
    pub name: &'static str,
    /// How its values are written.
    pub shape: Shape,
    /// Its value.
    pub value: for<'a> fn(&'a Transaction) -> Option<Cow<'a, str>>,
}

const fn text(
    name: &'static str,
    value: for<'a> fn(&'a Transaction) -> Option<Cow<'a, str>>,
) -> Column {
    Column {
        name,
        shape: Shape::Text,
        value,
    }
}

const fn word(
    name: &'static str,
    value: for<'a> fn(&'a Transaction) -> Option<Cow<'a, str>>,
) -> Column {
    Column {
        name,
        shape: Shape::Word,
        value,
    }
}

const fn bare(
    name: &'static str,
    value: for<'a> fn(&'a Transaction) -> Option<Cow<'a, str>>,
) -> Column {
    Column {
        name,
        shape: Shape::Bare,
        value,
    }
}

fn borrowed(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn printed<'a>(value: impl ToString) -> Option<Cow<'a, str>> {
    Some(Cow::Owned(value.to_string()))
}

fn amount<'a>(amount: Amount) -> Option<Cow<'a, str>> {
    printed(amount)
}

fn time<'a>(at: Instant) -> Option<Cow<'a, str>> {
    Some(Cow::Owned(at.to_rfc3339_opts(SecondsFormat::Millis, true)))
}

/// All of them.
pub const COLUMNS: [Column; 27] = [
    word("transaction_id", |row| printed(row.id)),
    text("conversation_id", |row| borrowed(&row.ids.conversation_id)),
    text("client_request_id", |row| borrowed(&row.client_request_id)),
    text("origin", |row| Some(Cow::Borrowed(&row.origin))),
    text("tenant_id", |row| borrowed(&row.tenant_id)),
    text("customer_id", |row| borrowed(&row.customer_id)),
    word("msisdn", |row| {
        row.msisdn
            .as_ref()
            .map(|msisdn| Cow::Borrowed(msisdn.as_str()))
    }),
    bare("amount", |row| amount(row.amount)),
    word("status", |row| Some(Cow::Borrowed(row.status.as_str()))),
    text("result_code", |row| borrowed(&row.result_code)),
    text("result_description", |row| {
        borrowed(&row.result_description)
    }),
    text("transaction_receipt", |row| borrowed(&row.receipt)),
    word("created_at", |row| time(row.created_at)),
    word("updated_at", |row| time(row.updated_at)),
    word("partner_id", |row| printed(row.partner_id)),
    word("currency", |row| Some(Cow::Borrowed(row.currency.as_str()))),
    word("provider", |row| Some(Cow::Borrowed(row.provider.as_str()))),
    word("kind", |row| Some(Cow::Borrowed(row.kind.as_str()))),
    text("originator_conversation_id", |row| {
        borrowed(&row.ids.originator_conversation_id)
    }),
    text("order_reference", |row| borrowed(&row.ids.order_reference)),
    text("account_reference", |row| borrowed(&row.account_reference)),
    text("payer_key", |row| borrowed(&row.payer_key)),
    bare("paid_amount", |row| row.paid.and_then(amount)),
    text("provider_status", |row| borrowed(&row.provider_status)),
    word("original_transaction_id", |row| {
        row.original_id.and_then(printed)
    }),
    word("reversed_at", |row| row.reversed_at.and_then(time)),
    bare("final", |row| printed(row.status.is_final())),
];
