//! `/api/ussd/webhooks`: a partner's endpoints. Another partner's are not there.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Value, json};

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::{ApiError, ErrorCode};
use super::request::{Fields, Query, checked_text, json_object, no_body, quote, wrong_type};
use super::wire::Timestamp;
use crate::domain::clock::Instant;
use crate::domain::delivery::{
    ENDPOINT_CONCURRENCY_MAX, ENDPOINT_RATE_MAX, Endpoint, EndpointChange, Pace, SignatureScheme,
};
use crate::domain::identity::EndpointId;
use crate::domain::timeline::EVENT_TYPES;
use crate::webhooks::endpoints::{Actor, EndpointError, NewEndpoint, previous_until};

const CREATE_FIELDS: [&str; 6] = [
    "url",
    "events",
    "description",
    "concurrency",
    "rate_per_second",
    "signature",
];
const CHANGE_FIELDS: [&str; 7] = [
    "url",
    "events",
    "enabled",
    "description",
    "concurrency",
    "rate_per_second",
    "signature",
];

#[derive(Serialize)]
struct WebhookBody<'a> {
    id: String,
    url: &'a str,
    /// Empty means all.
    events: &'a [String],
    description: Option<&'a str>,
    enabled: bool,
    disabled_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    concurrency: u32,
    rate_per_second: Option<u32>,
    signature: &'static str,
    /// Null unless `signature` is v1a.
    public_key: Option<&'a str>,
    previous_secret_until: Option<Timestamp>,
    created_at: Timestamp,
}

impl<'a> WebhookBody<'a> {
    fn new(endpoint: &'a Endpoint, now: Instant) -> Self {
        Self {
            id: endpoint.id.to_string(),
            url: &endpoint.url,
            events: &endpoint.events,
            description: endpoint.description.as_deref(),
            enabled: endpoint.disabled_at.is_none(),
            disabled_at: endpoint.disabled_at.map(Timestamp),
            failing_since: endpoint.failing_since.map(Timestamp),
            concurrency: endpoint.pace.concurrency,
            rate_per_second: endpoint.pace.rate_per_second,
            signature: endpoint.signature().as_str(),
            public_key: endpoint.public_key.as_deref(),
            previous_secret_until: previous_until(endpoint, now).map(Timestamp),
            created_at: Timestamp(endpoint.created_at),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    message: &'static str,
    webhook: WebhookBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

fn answer(
    state: &State,
    mut response: actix_web::HttpResponseBuilder,
    message: &'static str,
    endpoint: &Endpoint,
    secret: Option<&str>,
) -> HttpResponse {
    response.json(Answer {
        success: true,
        message,
        webhook: WebhookBody::new(endpoint, state.clock.now()),
        secret,
    })
}

/// POST: 201 with the secret, this once; with the public key where that verifies.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001 when the partner has as many as it may; the database's.
pub async fn create(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    fields.only(&CREATE_FIELDS)?;
    let new = NewEndpoint {
        url: url(&fields)?.ok_or_else(|| super::request::missing("url"))?,
        events: events(&fields)?.unwrap_or_default(),
        description: description(&fields)?,
        pace: Pace {
            concurrency: concurrency(&fields)?.unwrap_or(Pace::default().concurrency),
            rate_per_second: rate(&fields)?.flatten(),
        },
        signature: signature(&fields)?.unwrap_or_default(),
    };
    let (endpoint, secret) = state
        .endpoints
        .create(partner.partner.id, new, &actor(&partner))
        .await?;
    let message = match secret {
        Some(_) => "Webhook endpoint created; its secret is shown this once",
        None => "Webhook endpoint created; its public key is shown at any time",
    };
    let response = HttpResponse::Created();
    let secret = secret.as_ref().map(|secret| secret.as_str());
    Ok(answer(&state, response, message, &endpoint, secret))
}

/// GET: all of them, oldest first.
///
/// # Errors
/// VALIDATION_1002 for a parameter; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    Query::parse(request.query_string(), &[])?;
    let endpoints = state.store.list_endpoints(partner.partner.id).await?;
    let now = state.clock.now();
    let bodies: Vec<_> = endpoints
        .iter()
        .map(|endpoint| WebhookBody::new(endpoint, now))
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "message": "Webhook endpoints retrieved successfully",
        "webhooks": bodies,
    })))
}

/// GET: one.
///
/// # Errors
/// VALIDATION_1002 for a parameter, NOT_FOUND_1001; the database's.
pub async fn find(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Query::parse(request.query_string(), &[])?;
    let id = endpoint_id(&path)?;
    let endpoint = state.endpoints.find(Some(partner.partner.id), id).await?;
    let message = "Webhook endpoint retrieved successfully";
    Ok(answer(&state, HttpResponse::Ok(), message, &endpoint, None))
}

/// PATCH: what is sent changes, the rest stays. A new secret, after another `signature`, is shown this once.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, NOT_FOUND_1001; the database's.
pub async fn change(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    let id = endpoint_id(&path)?;
    fields.only(&CHANGE_FIELDS)?;
    let change = EndpointChange {
        url: url(&fields)?,
        events: events(&fields)?,
        description: description(&fields)?,
        enabled: fields.flag("enabled")?,
        concurrency: concurrency(&fields)?,
        rate_per_second: rate(&fields)?,
        signature: signature(&fields)?,
        key: None,
    };
    if change == EndpointChange::default() {
        return Err(ApiError::field(
            CHANGE_FIELDS.join(", "),
            "is required: at least one of them",
        ));
    }
    let actor = actor(&partner);
    let changed = state
        .endpoints
        .update(partner.partner.id, id, change, &actor);
    let (endpoint, secret) = changed.await?;
    let message = match secret {
        Some(_) => "Webhook endpoint updated; its new secret is shown this once",
        None => "Webhook endpoint updated",
    };
    let secret = secret.as_ref().map(|secret| secret.as_str());
    Ok(answer(
        &state,
        HttpResponse::Ok(),
        message,
        &endpoint,
        secret,
    ))
}

/// DELETE: it is told nothing more.
///
/// # Errors
/// VALIDATION_1002 for a parameter or a body, NOT_FOUND_1001; the database's.
pub async fn remove(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    no_body(&request, payload).await?;
    let id = endpoint_id(&path)?;
    let partner_id = partner.partner.id;
    state.endpoints.find(Some(partner_id), id).await?;
    let audit = actor(&partner).audit("webhook.remove", partner_id, id);
    let now = state.clock.now();
    if !state.store.remove_endpoint(id, now, audit).await? {
        return Err(unknown());
    }
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "message": "Webhook endpoint removed",
        "id": id.to_string(),
    })))
}

/// POST: a new secret, shown this once, or a new public key.
///
/// # Errors
/// VALIDATION_1002 for a parameter or a field, NOT_FOUND_1001; the database's.
pub async fn rotate_secret(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    no_body(&request, payload).await?;
    let id = endpoint_id(&path)?;
    let (endpoint, secret) = state
        .endpoints
        .rotate_secret(partner.partner.id, id, &actor(&partner))
        .await?;
    let message = match secret {
        Some(_) => {
            "Secret rotated; the new one is shown this once, and the one before signs too until previous_secret_until"
        }
        None => "Key rotated; the one before signs too until previous_secret_until",
    };
    let response = HttpResponse::Ok();
    let secret = secret.as_ref().map(|secret| secret.as_str());
    Ok(answer(&state, response, message, &endpoint, secret))
}

/// POST: sends a test event and says what came of it.
///
/// # Errors
/// VALIDATION_1002 for a parameter or a field, NOT_FOUND_1001, RATE_1001 while too many tests are under way; the
/// database's.
pub async fn send_test(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    no_body(&request, payload).await?;
    let id = endpoint_id(&path)?;
    let sent = state
        .endpoints
        .send_test(partner.partner.id, id, &actor(&partner))
        .await?;
    let result = &sent.result;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "message": "Test event sent",
        "test": {
            "webhook_id": sent.message_id,
            "delivered": matches!(result.status, Some(200..=299)),
            "status": result.status,
            "duration_ms": u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
            "response": result.response,
            "error": result.error,
        },
    })))
}

/// Who does it, for the audit log.
pub fn actor(partner: &AuthenticatedPartner) -> Actor {
    Actor::new(partner.actor())
}

/// An id that is no UUID names no endpoint of ours.
pub fn endpoint_id(path: &str) -> Result<EndpointId, ApiError> {
    path.parse().map_err(|_| unknown())
}

/// There is none of this partner's.
pub fn unknown() -> ApiError {
    ApiError::not_found("No such webhook endpoint")
}

impl From<EndpointError> for ApiError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Url(error) => Self::field("url", format!("is refused: {error}")),
            EndpointError::TooMany => Self::new(ErrorCode::Conflict, error.to_string()),
            EndpointError::Unknown => unknown(),
            EndpointError::Busy => Self::too_many(std::time::Duration::from_secs(1)),
            EndpointError::Vault(error) => Self {
                cause: Some(error.to_string().into()),
                ..Self::server()
            },
            EndpointError::Store(error) => error.into(),
        }
    }
}

/// Judged by the address guard, which has a limit of its own.
fn url(fields: &Fields) -> Result<Option<String>, ApiError> {
    match fields.value("url") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type("url", "text", other)),
    }
}

fn description(fields: &Fields) -> Result<Option<String>, ApiError> {
    let text = fields.text("description")?;
    Ok(text.map(str::to_owned))
}

fn events(fields: &Fields) -> Result<Option<Vec<String>>, ApiError> {
    if fields.value("events").is_none() {
        return Ok(None);
    }
    let mut events: Vec<String> = Vec::new();
    for (index, text) in fields.texts("events")?.into_iter().enumerate() {
        let name = format!("events[{index}]");
        if !EVENT_TYPES.contains(&text) {
            let accepted = EVENT_TYPES.join(", ");
            return Err(ApiError::field(
                name,
                format!("is {}; accepted are {accepted}", quote(text)),
            ));
        }
        if events.iter().any(|known| known == text) {
            return Err(ApiError::field(name, "was sent more than once"));
        }
        events.push(checked_text(&name, text)?.to_owned());
    }
    Ok(Some(events))
}

fn concurrency(fields: &Fields) -> Result<Option<u32>, ApiError> {
    fields.whole_number("concurrency", 1..=ENDPOINT_CONCURRENCY_MAX)
}

fn signature(fields: &Fields) -> Result<Option<SignatureScheme>, ApiError> {
    let Some(text) = fields.text("signature")? else {
        return Ok(None);
    };
    let known = text.parse().map_err(|_| {
        let found = quote(text);
        ApiError::field("signature", format!("is {found}; accepted are v1, v1a"))
    });
    known.map(Some)
}

/// 0 lifts the limit.
fn rate(fields: &Fields) -> Result<Option<Option<u32>>, ApiError> {
    let rate = fields.whole_number("rate_per_second", 0..=ENDPOINT_RATE_MAX)?;
    Ok(rate.map(|rate| (rate > 0).then_some(rate)))
}
