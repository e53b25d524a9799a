//! What became of an endpoint's deliveries, and sending them again: one, or a range.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::{ApiError, ErrorCode};
use super::request::{Query, json_object, missing, no_body, quote};
use super::webhooks::{actor, endpoint_id, unknown};
use super::wire::Timestamp;
use crate::domain::clock::Instant;
use crate::domain::delivery_record::{
    AttemptRecord, DELIVERIES_DEFAULT_LIMIT, DELIVERIES_MAX_LIMIT, DeliveryPage, DeliveryRecord,
    DeliveryState, OneReplayed, RangeReplayed, ReplayRange,
};
use crate::domain::identity::DeliveryId;

const LIST_PARAMETERS: [&str; 3] = ["state", "limit", "cursor"];
const RANGE_FIELDS: [&str; 4] = ["since", "until", "only_failed", "dry_run"];

#[derive(Serialize)]
struct DeliveryBody<'a> {
    id: String,
    /// Null of a notice, as is `sequence`.
    transaction_id: Option<String>,
    sequence: Option<i64>,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    state: &'static str,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
    replayed_at: Option<Timestamp>,
    attempts: Vec<AttemptBody<'a>>,
}

#[derive(Serialize)]
struct AttemptBody<'a> {
    number: u32,
    at: Timestamp,
    duration_ms: i64,
    status: Option<u16>,
    response: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> From<&'a DeliveryRecord> for DeliveryBody<'a> {
    fn from(delivery: &'a DeliveryRecord) -> Self {
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            id: delivery.id.to_string(),
            transaction_id: delivery.transaction_id.map(|id| id.to_string()),
            sequence: delivery.place_in_feed(),
            event_type: delivery.event_type.as_deref(),
            state: delivery.state.as_str(),
            next_attempt_at: is_pending.then_some(Timestamp(delivery.due_at)),
            created_at: Timestamp(delivery.created_at),
            finished_at: delivery.finished_at.map(Timestamp),
            replayed_at: delivery.replayed_at.map(Timestamp),
            attempts: delivery.attempts.iter().map(AttemptBody::from).collect(),
        }
    }
}

impl<'a> From<&'a AttemptRecord> for AttemptBody<'a> {
    fn from(attempt: &'a AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            at: Timestamp(attempt.at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            response: attempt.response.as_deref(),
            error: attempt.error.as_deref(),
        }
    }
}

/// GET: a page of an endpoint's deliveries with their attempts, the latest event first.
///
/// # Errors
/// VALIDATION_1002 for a parameter, NOT_FOUND_1001; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &LIST_PARAMETERS)?;
    let page = DeliveryPage {
        state: query.parsed("state", "pending, delivered or dead", |text| {
            text.parse().ok()
        })?,
        before: query.parsed("cursor", "a next_cursor of an earlier answer", |text| {
            // Below zero are notices, which come after all events.
            text.parse().ok().filter(|_| !text.starts_with('+'))
        })?,
        limit: query
            .whole_number("limit", 1..=DELIVERIES_MAX_LIMIT)?
            .unwrap_or(DELIVERIES_DEFAULT_LIMIT),
    };
    let id = endpoint_id(&path)?;
    let partner = partner.partner.id;
    state.endpoints.find(Some(partner), id).await?;
    let deliveries = state.store.list_deliveries(partner, id, page).await?;
    let is_full = i64::try_from(deliveries.len()).is_ok_and(|count| count == page.limit);
    let next_cursor = deliveries
        .last()
        .filter(|_| is_full)
        .map(|last| last.sequence);
    let bodies: Vec<_> = deliveries.iter().map(DeliveryBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "message": "Deliveries retrieved successfully",
        "deliveries": bodies,
        "next_cursor": next_cursor,
    })))
}

/// POST: one delivery again, whatever became of it; its attempts count on.
///
/// # Errors
/// VALIDATION_1002 for a parameter or a field, NOT_FOUND_1001, CONFLICT_1001 for a disabled endpoint; the database's.
pub async fn replay_one(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let no_delivery = || ApiError::not_found("No such delivery");
    no_body(&request, payload).await?;
    let id: DeliveryId = path.parse().map_err(|_| no_delivery())?;
    let partner_id = partner.partner.id;
    let audit = actor(&partner).audit("delivery.replay", partner_id, id);
    let now = state.clock.now();
    let asked = state.store.requeue_delivery(partner_id, id, now, audit);
    match asked.await? {
        OneReplayed::Unknown => return Err(no_delivery()),
        OneReplayed::Disabled => return Err(disabled()),
        OneReplayed::Done => {}
    }
    let found = state.store.find_delivery(partner_id, id).await?;
    let delivery = found.ok_or_else(no_delivery)?;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "message": "The delivery will be made again",
        "delivery": DeliveryBody::from(&delivery),
    })))
}

/// POST: a range of events again, those too that the endpoint never had although it was there.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, NOT_FOUND_1001, CONFLICT_1001 for a disabled endpoint; the database's.
pub async fn replay_range(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    let id = endpoint_id(&path)?;
    fields.only(&RANGE_FIELDS)?;
    let now = state.clock.now();
    let instant = |name: &str| {
        let text = fields.text(name)?;
        text.map(|text| parsed_instant(name, text)).transpose()
    };
    let since = instant("since")?.ok_or_else(|| missing("since"))?;
    let until = instant("until")?;
    if until.is_some_and(|until| until < since) {
        return Err(ApiError::field("until", "is before since"));
    }
    let range = ReplayRange {
        since,
        until: until.unwrap_or(now),
        only_failed: fields.flag("only_failed")?.unwrap_or(false),
        dry_run: fields.flag("dry_run")?.unwrap_or(false),
    };
    let partner_id = partner.partner.id;
    let audit = actor(&partner).audit("webhook.replay", partner_id, id);
    let asked = state.store.requeue_range(partner_id, id, range, now, audit);
    match asked.await? {
        RangeReplayed::Unknown => Err(unknown()),
        RangeReplayed::Disabled => Err(disabled()),
        RangeReplayed::Done { count, next_since } => Ok(HttpResponse::Ok().json(json!({
            "success": true,
            "message": if range.dry_run { "So many would be sent again" } else { "So many will be sent again" },
            "count": count,
            "dry_run": range.dry_run,
            "next_since": next_since.map(full),
        }))),
    }
}

fn disabled() -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        "The webhook endpoint is disabled; enable it first",
    )
}

/// To the microsecond, as the database keeps it: the next call begins there.
fn full(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn parsed_instant(name: &str, text: &str) -> Result<Instant, ApiError> {
    super::request::instant(text).ok_or_else(|| {
        ApiError::field(
            name,
            format!(
                "is {}; accepted is a time in RFC 3339 such as 2025-01-10T12:34:56Z",
                quote(text)
            ),
        )
    })
}
