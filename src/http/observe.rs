//! Around every request: its id, the headers of every answer, errors written out, one log line, and the time it took.
//! Query strings and bodies are never logged: they carry phone numbers.

use std::time::Instant as Timer;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};

use super::State;
use super::error::{ApiError, ErrorCode};
use crate::domain::identity::new_uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;

/// A request's id, for handlers whose answer tells it.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The outermost middleware.
///
/// # Errors
/// Only what the framework itself could not route.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Timer::now();
    let id = request_id(&request);
    let trace = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    if request.path().starts_with("/console") {
        // Pages tell it to people who ask for help.
        request.extensions_mut().insert(RequestId(id.clone()));
    }
    // The request must not be held while it is routed; every inner failure comes back as an answer that has it.
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = write_error(response, &id);
    let http_request = response.request().clone();
    decorate(&http_request, &mut response, &id);
    let route = http_request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status();
    let elapsed = started.elapsed();
    metrics::counter!("ussd_status_http_requests_total",
        "method" => method(&http_request), "route" => route.clone(), "status" => status.as_str().to_owned())
    .increment(1);
    metrics::histogram!("ussd_status_http_request_duration_seconds", "route" => route.clone())
        .record(elapsed.as_secs_f64());
    tracing::info!(
        request_id = id,
        traceparent = trace,
        method = method(&http_request),
        route,
        status = status.as_u16(),
        milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    Ok(response)
}

/// A method by its name: labels stay few, whatever is sent.
fn method(request: &HttpRequest) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The caller's own id if it is 1 to 128 visible ASCII characters, else a new one.
fn request_id(request: &ServiceRequest) -> String {
    request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=REQUEST_ID_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(
            || {
                let now = request
                    .app_data::<Data<State>>()
                    .map(|state| state.clock.now());
                now.map(|now| new_uuid(now).to_string()).unwrap_or_default()
            },
            str::to_owned,
        )
}

/// Writes out an error that a handler or a middleware left behind.
fn write_error(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let left = response.response().extensions().get::<ApiError>().cloned();
    let error = match left {
        Some(error) => error,
        // Errors of the framework itself (a malformed path, say) get our shape too.
        None if response.response().error().is_some() => match response.status() {
            StatusCode::NOT_FOUND => ApiError::not_found("No such route"),
            status if status.is_client_error() => {
                ApiError::new(ErrorCode::InvalidBody, "The request could not be read")
            }
            _ => ApiError::server(),
        },
        None => return response,
    };
    if let Some(cause) = &error.cause {
        tracing::error!(request_id = id, cause, "a request failed");
    }
    let as_problem = response
        .request()
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/problem+json"));
    let has_clickpesa_shape = response.request().path().starts_with("/api/v1/clickpesa/");
    let mut written = error.respond(id, as_problem, has_clickpesa_shape);
    for (name, value) in response.headers() {
        written.headers_mut().append(name.clone(), value.clone());
    }
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, written)
}

fn decorate(request: &HttpRequest, response: &mut ServiceResponse<BoxBody>, id: &str) {
    let path_is_api = request.path().starts_with("/api/");
    let is_public_https = request
        .app_data::<Data<State>>()
        .is_some_and(|state| state.is_public_https);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path_is_api && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_public_https {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
}
