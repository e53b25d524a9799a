//! `POST /api/ussd/transaction-status`: up to a hundred ids at once. Reading is all it does.

use std::collections::HashSet;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::{ApiError, ErrorCode};
use super::expand::{self, Expand, Expansion};
use super::request::{Fields, checked_text, json_object, quote};
use super::wire::{PartnerBody, Timestamp, TransactionBody};
use crate::domain::identity::TransactionId;
use crate::domain::search::{BulkLookup, MAX_BULK_IDS};
use crate::domain::transaction::Transaction;

const LISTS: [&str; 3] = ["transaction_ids", "conversation_ids", "client_request_ids"];
const FIELDS: [&str; 4] = [
    "transaction_ids",
    "conversation_ids",
    "client_request_ids",
    expand::PARAMETER,
];

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    message: &'static str,
    partner: PartnerBody<'a>,
    query: Lists,
    count: usize,
    transactions: Vec<TransactionBody<'a>>,
    not_found: Lists,
    timestamp: Timestamp,
}

#[derive(Serialize, Default)]
struct Lists {
    transaction_ids: Vec<String>,
    conversation_ids: Vec<String>,
    client_request_ids: Vec<String>,
}

/// The handler.
///
/// # Errors
/// VALIDATION_1001 to 1004, PAYLOAD_1001, MEDIA_1001; the database's.
pub async fn find(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    let lookup = lookup(&fields)?;
    let expand = Expand::of_fields(&fields)?;
    let found = state
        .store
        .find_transactions(partner.partner.id, lookup.clone())
        .await?;
    let now = state.clock.now();
    let expansion =
        Expansion::of(&state, partner.partner.id, &found.transactions, expand, now).await?;
    let (ordered, not_found) = arrange(&found.transactions, &lookup);
    let answer = Answer {
        success: true,
        message: "Bulk transaction status retrieved successfully",
        partner: PartnerBody::from(&partner.partner),
        query: Lists {
            transaction_ids: lookup
                .transaction_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            conversation_ids: lookup.conversation_ids,
            client_request_ids: lookup.client_request_ids,
        },
        count: ordered.len(),
        transactions: ordered.into_iter().map(|row| expansion.body(row)).collect(),
        not_found,
        timestamp: Timestamp(now),
    };
    Ok(HttpResponse::Ok().json(answer))
}

/// The ids that a body asks for.
///
/// # Errors
/// VALIDATION_1001 to 1004.
pub fn lookup(fields: &Fields) -> Result<BulkLookup, ApiError> {
    fields.only(&FIELDS)?;
    let [ids, conversations, clients] = LISTS.map(|name| fields.texts(name));
    let (ids, conversations, clients) = (ids?, conversations?, clients?);
    let count = ids.len() + conversations.len() + clients.len();
    if count == 0 {
        return Err(ApiError::new(
            ErrorCode::NoIds,
            "At least one of transaction_ids, conversation_ids, or client_request_ids is required",
        ));
    }
    if count > MAX_BULK_IDS {
        return Err(ApiError::new(
            ErrorCode::TooManyIds,
            format!(
                "{count} ids were sent; accepted are at most {MAX_BULK_IDS} in all three lists together"
            ),
        ));
    }
    let texts = |name: &str, list: Vec<&str>| {
        list.into_iter()
            .enumerate()
            .map(|(index, text)| checked_text(&format!("{name}[{index}]"), text).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
    };
    let transaction_ids = ids
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            text.parse::<TransactionId>().map_err(|_| {
                ApiError::field(
                    format!("transaction_ids[{index}]"),
                    format!("is {}; accepted is a UUID", quote(text)),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(BulkLookup {
        transaction_ids,
        conversation_ids: texts("conversation_ids", conversations)?,
        client_request_ids: texts("client_request_ids", clients)?,
        transaction_receipts: Vec::new(),
    })
}

/// The rows in the order they were asked for, each once, and the ids that found none.
fn arrange<'a>(found: &'a [Transaction], lookup: &BulkLookup) -> (Vec<&'a Transaction>, Lists) {
    let mut newest_first: Vec<&Transaction> = found.iter().collect();
    newest_first.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
    let mut ordered = Vec::with_capacity(found.len());
    let mut placed: HashSet<TransactionId> = HashSet::new();
    let mut place = |matches: &dyn Fn(&Transaction) -> bool| {
        let mut any = false;
        for row in newest_first.iter().filter(|row| matches(row)) {
            any = true;
            if placed.insert(row.id) {
                ordered.push(*row);
            }
        }
        any
    };
    let mut not_found = Lists::default();
    for id in &lookup.transaction_ids {
        if !place(&|row| row.id == *id) {
            not_found.transaction_ids.push(id.to_string());
        }
    }
    for id in &lookup.conversation_ids {
        if !place(&|row| row.ids.known().any(|(_, value)| value == id)) {
            not_found.conversation_ids.push(id.clone());
        }
    }
    for id in &lookup.client_request_ids {
        if !place(&|row| row.client_request_id.as_ref() == Some(id)) {
            not_found.client_request_ids.push(id.clone());
        }
    }
    (ordered, not_found)
}
