//! `GET /api/ussd/transaction-status`: a page of transactions with the partner's statistics.

use std::collections::BTreeMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::expand::{self, Expand, Expansion};
use super::request::Query;
use super::status_search::{self, encode_cursor};
use super::wait;
use super::wire::{Decimal, PartnerBody, Timestamp, TransactionBody};
use crate::domain::money::Currency;
use crate::domain::search::{Position, Search};
use crate::domain::statistics::{CurrencyStatistics, Statistics, success_rate};
use crate::store::Listing;

const PARAMETERS: [&str; 14] = [
    "conversation_id",
    "client_request_id",
    "msisdn",
    "transaction_id",
    "status",
    "transaction_receipt",
    "from",
    "to",
    "limit",
    "offset",
    "cursor",
    "stats",
    wait::PARAMETER,
    expand::PARAMETER,
];

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    message: &'static str,
    partner: PartnerBody<'a>,
    query: QueryBody<'a>,
    pagination: Pagination,
    transactions: Vec<TransactionBody<'a>>,
    statistics: Option<StatisticsBody<'a>>,
    status_definitions: StatusDefinitions,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct QueryBody<'a> {
    conversation_id: Option<&'a str>,
    client_request_id: Option<&'a str>,
    msisdn: Option<&'a str>,
    transaction_id: Option<String>,
    status: Option<&'static str>,
    limit: i64,
    offset: i64,
    transaction_receipt: Option<&'a str>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct Pagination {
    total: i64,
    limit: i64,
    offset: i64,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct StatisticsBody<'a> {
    total_transactions: i64,
    successful_transactions: i64,
    pending_transactions: i64,
    failed_transactions: i64,
    success_rate: String,
    total_amount: Decimal,
    successful_amount: Decimal,
    recent_activity_24h: i64,
    by_currency: BTreeMap<&'a str, CurrencyBody>,
}

#[derive(Serialize)]
struct CurrencyBody {
    total_transactions: i64,
    successful_transactions: i64,
    pending_transactions: i64,
    failed_transactions: i64,
    success_rate: String,
    total_amount: Decimal,
    successful_amount: Decimal,
}

impl From<&CurrencyStatistics> for CurrencyBody {
    fn from(one: &CurrencyStatistics) -> Self {
        Self {
            total_transactions: one.total,
            successful_transactions: one.successful,
            pending_transactions: one.pending,
            failed_transactions: one.failed,
            success_rate: success_rate(one.successful, one.total),
            total_amount: Decimal(one.total_amount),
            successful_amount: Decimal(one.successful_amount),
        }
    }
}

impl<'a> StatisticsBody<'a> {
    fn new(statistics: &'a Statistics, currency: &Currency) -> Self {
        let counts = statistics.counts();
        let amounts = statistics
            .by_currency
            .get(currency)
            .cloned()
            .unwrap_or_default();
        Self {
            total_transactions: counts.total,
            successful_transactions: counts.successful,
            pending_transactions: counts.pending,
            failed_transactions: counts.failed,
            success_rate: success_rate(counts.successful, counts.total),
            total_amount: Decimal(amounts.total_amount),
            successful_amount: Decimal(amounts.successful_amount),
            recent_activity_24h: statistics.recent_activity_24h,
            by_currency: statistics
                .by_currency
                .iter()
                .map(|(currency, one)| (currency.as_str(), CurrencyBody::from(one)))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct StatusDefinitions {
    queued: &'static str,
    accepted: &'static str,
    success: &'static str,
    failed: &'static str,
}

const STATUS_DEFINITIONS: StatusDefinitions = StatusDefinitions {
    queued: "Transaction is queued for processing",
    accepted: "Transaction accepted by M-Pesa, processing",
    success: "Transaction completed successfully",
    failed: "Transaction failed",
};

/// The handler.
///
/// # Errors
/// VALIDATION_1002 for a parameter; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let search = status_search::search(&query)?;
    let wait = wait::time(&query, &request)?;
    let expand = Expand::of_query(&query)?;
    status_search::wait_for_news(&state, partner.partner.id, &search.filter, wait).await?;
    let now = state.clock.now();
    let listing = status_search::listing(&state, partner.partner.id, &search, wait, now).await?;
    let id = partner.partner.id;
    let expansion = Expansion::of(&state, id, &listing.transactions, expand, now).await?;
    let offset = match search.position {
        Position::Offset(offset) => offset,
        Position::After(_) => 0,
    };
    let next_cursor = listing.next.map(encode_cursor);
    let answer = Answer {
        success: true,
        message: "Transaction status retrieved successfully",
        partner: PartnerBody::from(&partner.partner),
        query: query_body(&query, &search, offset),
        pagination: Pagination {
            total: listing.total,
            limit: search.limit,
            offset,
            has_more: listing.has_more,
            next_cursor: next_cursor.clone(),
        },
        transactions: listing
            .transactions
            .iter()
            .map(|row| expansion.body(row))
            .collect(),
        statistics: statistics(&listing, &partner),
        status_definitions: STATUS_DEFINITIONS,
        timestamp: Timestamp(now),
    };
    let mut response = HttpResponse::Ok();
    if let Some(applied) = wait::applied(&query, &request) {
        response.insert_header(applied);
    }
    if let Some(cursor) = next_cursor {
        response.insert_header(("Link", next_link(&request, &cursor)));
    }
    Ok(response.json(answer))
}

fn statistics<'a>(
    listing: &'a Listing,
    partner: &AuthenticatedPartner,
) -> Option<StatisticsBody<'a>> {
    listing
        .statistics
        .as_ref()
        .map(|statistics| StatisticsBody::new(statistics, &partner.partner.currency))
}

fn query_body<'a>(query: &'a Query, search: &'a Search, offset: i64) -> QueryBody<'a> {
    let filter = &search.filter;
    QueryBody {
        conversation_id: filter.conversation_id.as_deref(),
        client_request_id: filter.client_request_id.as_deref(),
        // Of a national form the Kenyan reading stands first.
        msisdn: filter.msisdns.first().map(|msisdn| msisdn.as_str()),
        transaction_id: filter.transaction_id.map(|id| id.to_string()),
        status: filter.status.map(|status| status.as_str()),
        limit: search.limit,
        offset,
        transaction_receipt: filter.transaction_receipt.as_deref(),
        from: filter.from.map(Timestamp),
        to: filter.to.map(Timestamp),
        cursor: query.value("cursor"),
    }
}

/// The next page's address: the same query with the cursor in place of an offset.
fn next_link(request: &HttpRequest, cursor: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
        if name != "offset" && name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("cursor", cursor);
    format!("<{}?{}>; rel=\"next\"", request.path(), query.finish())
}
