//! `GET /api/ussd/transaction-status`: a page of transactions with the partner's statistics.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, ContentType, ETAG, LINK};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tokio::time::{Instant as Moment, sleep_until};

use super::State;
use super::authentication::AuthenticatedPartner;
use super::conditional::{Known, entity_tag};
use super::deadline::{Deadline, end_of_wait, in_time};
use super::error::ApiError;
use super::expand::{self, Expand, Expansion};
use super::rendered::Rendered;
use super::request::Query;
use super::status_search::{self, News, Until, encode_cursor};
use super::wait;
use super::wire::{Decimal, PartnerBody, Timestamp, TransactionBody};
use crate::domain::money::Currency;
use crate::domain::partner::Partner;
use crate::domain::search::{Position, Search};
use crate::domain::statistics::{CurrencyStatistics, Statistics, success_rate};

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
    /// Set if the time was too short for all that was asked for.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    status_definitions: StatusDefinitions,
}

fn is_false(flag: &bool) -> bool {
    !flag
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
/// VALIDATION_1002 for a parameter or a header; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let search = status_search::search(&query)?;
    let wait = wait::time(&query, &request)?;
    let deadline = Deadline::of(&request)?;
    let known = Known::of(&request);
    let expand = Expand::of_query(&query)?;
    let question = Asked {
        state: &state,
        partner: &partner.partner,
        request: &request,
        query: &query,
        search: &search,
        expand,
        deadline,
    };
    let answer = question.answer(wait, &known).await?;
    let has_it = known.has(&answer.entity_tag);
    let mut response = if has_it {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.insert_header((ETAG, answer.entity_tag.as_str()));
    response.insert_header((CACHE_CONTROL, "private, no-cache"));
    if let Some(applied) = wait::applied(&query, &request) {
        response.insert_header(applied);
    }
    if let Some(link) = &answer.link {
        response.insert_header((LINK, link.as_str()));
    }
    if has_it {
        return Ok(response.finish());
    }
    response.content_type(ContentType::json());
    Ok(response.body(answer.body.clone()))
}

/// A question, read and found well-formed.
struct Asked<'a> {
    state: &'a State,
    partner: &'a Partner,
    request: &'a HttpRequest,
    query: &'a Query,
    search: &'a Search,
    expand: Expand,
    deadline: Option<Deadline>,
}

impl Asked<'_> {
    /// The answer, once there is one worth giving or the time is over. Whoever has it already waits for another.
    async fn answer(&self, wait: Duration, known: &Known) -> Result<Arc<Rendered>, ApiError> {
        if wait.is_zero() {
            return self.best(false).await;
        }
        let end = end_of_wait(wait, self.deadline.as_ref());
        let text = self.request.query_string();
        let news = News::new(self.state, self.partner.id, text, &self.search.filter);
        let mut until = Until::Settled;
        // Without statistics a tag tells whether anything has happened since the answer that the caller has.
        if !self.search.with_statistics && matches!(known, Known::Tags(_)) {
            in_time(self.deadline.as_ref(), news.begin()).await?;
            let answer = self.best(false).await?;
            if !known.has(&answer.entity_tag) {
                return Ok(answer);
            }
            until = Until::Moved;
        }
        loop {
            in_time(self.deadline.as_ref(), news.wait(end, until)).await?;
            let answer = self.best(true).await?;
            let is_over = Moment::now() >= end || self.state.feed.is_released();
            if is_over || !known.has(&answer.entity_tag) {
                return Ok(answer);
            }
            until = Until::Moved;
        }
    }

    /// The whole answer if it is ready in time, else one without statistics.
    async fn best(&self, has_waited: bool) -> Result<Arc<Rendered>, ApiError> {
        let Some(deadline) = &self.deadline else {
            return self.read(true, has_waited).await;
        };
        let whole = pin!(self.read(true, has_waited));
        if !self.search.with_statistics {
            return deadline.within(whole).await;
        }
        let mut whole = whole;
        tokio::select! {
            biased;
            answer = &mut whole => return answer,
            () = sleep_until(deadline.halfway()) => {}
        }
        let lean = self.read(false, has_waited);
        let either = async {
            tokio::select! {
                biased;
                answer = whole => answer,
                answer = lean => answer,
            }
        };
        deadline.within(either).await
    }

    /// Reads the answer; for callers that have waited, once for all who ask the same, and a few at a time.
    async fn read(&self, whole: bool, has_waited: bool) -> Result<Arc<Rendered>, ApiError> {
        let read = async || self.render(whole).await.map(Arc::new);
        if !has_waited {
            return read().await;
        }
        let text = self.request.query_string().to_owned();
        let question = ((self.partner.id, text), whole);
        let (turn, answers) = (self.state.feed.turn(), &self.state.shared.answers);
        answers.read(&question, turn, read).await
    }

    async fn render(&self, whole: bool) -> Result<Rendered, ApiError> {
        let (state, search) = (self.state, self.search);
        let asked = Search {
            with_statistics: search.with_statistics && whole,
            ..search.clone()
        };
        let now = state.clock.now();
        let listing = state
            .store
            .list_transactions(self.partner.id, asked, now)
            .await?;
        let (rows, expand) = (&listing.transactions, self.expand);
        let expansion = Expansion::of(state, self.partner.id, rows, expand, now).await?;
        let offset = match search.position {
            Position::Offset(offset) => offset,
            Position::After(_) => 0,
        };
        let next_cursor = listing.next.map(encode_cursor);
        let link = next_cursor
            .as_ref()
            .map(|cursor| next_link(self.request, cursor));
        let mut answer = Answer {
            success: true,
            message: "Transaction status retrieved successfully",
            partner: PartnerBody::from(self.partner),
            query: query_body(self.query, search, offset),
            pagination: Pagination {
                total: listing.total,
                limit: search.limit,
                offset,
                has_more: listing.has_more,
                next_cursor,
            },
            transactions: rows
                .iter()
                .map(|row| expansion.timeless_body(row))
                .collect(),
            statistics: listing
                .statistics
                .as_ref()
                .map(|statistics| StatisticsBody::new(statistics, &self.partner.currency)),
            stale: search.with_statistics && !whole,
            status_definitions: STATUS_DEFINITIONS,
        };
        let failed = |error: serde_json::Error| ApiError {
            cause: Some(error.to_string().into()),
            ..ApiError::server()
        };
        let timeless = serde_json::to_vec(&answer).map_err(failed)?;
        let entity_tag = entity_tag(&timeless);
        // Without the texts' hint of when to ask again, the two are the same.
        let body = if expand.display {
            answer.transactions = rows.iter().map(|row| expansion.body(row)).collect();
            serde_json::to_vec(&answer).map_err(failed)?
        } else {
            timeless
        };
        Rendered::new(body, entity_tag, now, link).map_err(failed)
    }
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
