//! For the operator: is it alive, is it ready, how is it doing; and the API's own description.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::State;
use super::error::{ApiError, ErrorCode};

/// The API's description, as it stands in the repository.
pub const OPENAPI: &str = include_str!("../../openapi.yaml");

/// `/livez`: the process answers.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `/readyz`: the database answers.
///
/// # Errors
/// DB_1001 with 503.
pub async fn readyz(state: Data<State>) -> Result<HttpResponse, ApiError> {
    state.store.ping().await.map_err(|error| {
        let mut away = ApiError::from(error);
        away.code = ErrorCode::DatabaseAway;
        away.retry_after = Some(super::error::DATABASE_RETRY_AFTER_SECONDS);
        away
    })?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// `/metrics` on the public address: for callers on this machine only.
///
/// # Errors
/// NOT_FOUND_1001 for everybody else, and everywhere when another address serves it.
pub async fn metrics(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let is_local = state
        .proxies
        .source(&request)
        .is_some_and(|source| source.is_loopback());
    if state.metrics_elsewhere || !is_local {
        return Err(ApiError::not_found("No such route"));
    }
    Ok(render(&state))
}

/// `/metrics` on the operator's own address.
pub async fn admin_metrics(state: Data<State>) -> HttpResponse {
    render(&state)
}

fn render(state: &State) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(state.metrics.render())
}

/// `/openapi.yaml`.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/yaml; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(OPENAPI)
}
