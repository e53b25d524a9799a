//! `status`, `status-detailed`, `transactions`: M-Pesa's rows of the partner in the guide's names.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::{data, number, timestamp, word};
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::search::{
    BulkLookup, DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT, ProviderFilter, Standing,
};
use crate::domain::status::Status;
use crate::domain::timeline::TimelineEntry;
use crate::domain::transaction::{Provider, Transaction};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::ApiError;
use crate::http::expand;
use crate::http::payments::fields::parse_phone;
use crate::http::request::{Query, checked_text};
use crate::http::transactions::unknown;
use crate::http::wire::TimelineBody;

const PARAMETERS: [&str; 6] = [
    "status",
    "leaseId",
    "phoneNumber",
    "accountReference",
    "limit",
    "offset",
];
/// Rows that may be skipped at most: who wants more narrows the filter.
pub const OFFSET_MAX: i64 = 10_000;

/// GET `status/{checkoutRequestId}`.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn status(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::parse(request.query_string(), &[])?;
    let (transaction, timeline) = named(&state, partner.partner.id, &path).await?;
    Ok(data(
        HttpResponse::Ok(),
        body(&transaction, paid_at(&timeline)),
    ))
}

/// GET `status-detailed/{id}`: the same with what it means.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn status_detailed(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::parse(request.query_string(), &[])?;
    let (transaction, timeline) = named(&state, partner.partner.id, &path).await?;
    let line = expand::line(&state, partner.partner.id, &transaction, state.clock.now()).await?;
    let timeline_lines: Vec<TimelineBody<'_>> = timeline.iter().map(TimelineBody::from).collect();
    let mut detailed = body(&transaction, paid_at(&timeline));
    if let Value::Object(members) = &mut detailed {
        members.insert("message".to_owned(), json!(line.en));
        members.insert("action".to_owned(), json!(line.action.as_str()));
        members.insert("timeline".to_owned(), json!(timeline_lines));
    }
    Ok(data(HttpResponse::Ok(), detailed))
}

/// GET `transactions/{id}`: by the same names as `status`.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn find(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    status(state, partner, request, path).await
}

/// GET `transactions`, newest first.
///
/// # Errors
/// VALIDATION_1002; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let standing = query.parsed("status", "PENDING, SUCCESS or FAILED", |text| match text {
        "PENDING" => Some(Standing::Pending),
        "SUCCESS" => Some(Standing::Success),
        "FAILED" => Some(Standing::Failed),
        _ => None,
    })?;
    let owned = |name: &str| query.value(name).map(str::to_owned);
    let filter = ProviderFilter {
        provider: Provider::Mpesa,
        standing,
        customer_id: owned("leaseId"),
        msisdn: query
            .value("phoneNumber")
            .map(|text| parse_phone("phoneNumber", text, Provider::Mpesa))
            .transpose()?,
        account_reference: owned("accountReference"),
    };
    let limit = query
        .whole_number("limit", 1..=MAX_PAGE_LIMIT)?
        .unwrap_or(DEFAULT_PAGE_LIMIT);
    let offset = query
        .whole_number("offset", 0..=OFFSET_MAX)?
        .unwrap_or_default();
    // One row more than asked for tells whether there is another page.
    let mut rows = state
        .store
        .list_provider_transactions(partner.partner.id, filter, limit + 1, offset)
        .await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > wanted;
    rows.truncate(wanted);
    let listed: Vec<Value> = rows
        .iter()
        .map(|row| {
            body(
                row,
                (row.status == Status::Success).then_some(row.updated_at),
            )
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "data": listed,
        "pagination": {"limit": limit, "offset": offset, "hasMore": has_more},
    })))
}

/// The M-Pesa transaction that any id names: ours, the checkout request's, the conversation's.
async fn named(
    state: &State,
    partner: PartnerId,
    id: &str,
) -> Result<(Transaction, Vec<TimelineEntry>), ApiError> {
    checked_text("id", id)?;
    let lookup = BulkLookup {
        transaction_ids: id.parse().ok().into_iter().collect(),
        conversation_ids: vec![id.to_owned()],
        ..BulkLookup::default()
    };
    let found = state.store.find_transactions(partner, lookup).await?;
    let named: TransactionId = found
        .transactions
        .into_iter()
        .find(|row| row.provider == Provider::Mpesa)
        .map(|row| row.id)
        .ok_or_else(unknown)?;
    state
        .store
        .find_transaction(partner, named)
        .await?
        .ok_or_else(unknown)
}

/// When it succeeded.
fn paid_at(timeline: &[TimelineEntry]) -> Option<Instant> {
    timeline
        .iter()
        .filter(|line| line.to == Some(Status::Success))
        .map(|line| line.at)
        .next_back()
}

fn body(row: &Transaction, paid_at: Option<Instant>) -> Value {
    json!({
        "id": row.id.to_string(),
        "checkoutRequestId": row.ids.conversation_id,
        "merchantRequestId": row.merchant_request_id,
        "originatorConversationId": row.ids.originator_conversation_id,
        "kind": row.kind.as_str(),
        "status": word(row.status),
        "mpesaReceiptNumber": row.receipt,
        "amount": number(row.amount),
        "phoneNumber": row.msisdn.as_ref().map(|msisdn| msisdn.as_str()),
        "accountReference": row.account_reference,
        "leaseId": row.customer_id,
        "clientRequestId": row.client_request_id,
        "resultCode": row.result_code,
        "resultDescription": row.result_description,
        "transactionDate": paid_at.map(timestamp),
        "final": row.status.is_final(),
        "createdAt": timestamp(row.created_at),
        "completedAt": row.status.is_final().then(|| timestamp(row.updated_at)),
        "updatedAt": timestamp(row.updated_at),
    })
}
