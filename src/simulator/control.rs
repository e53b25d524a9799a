//! The simulator's own switches over HTTP: fault plans, tokens, registered URLs, and the ledger to read.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::faults::{Fault, FaultPlan};
use super::world::World;

/// How many payments one answer of the ledger has, if not told otherwise.
const PAYMENTS_AT_ONCE: usize = 10_000;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/simulator/faults")
                .route(web::get().to(list_faults))
                .route(web::post().to(set_faults))
                .route(web::delete().to(clear_faults)),
        )
        .route("/simulator/ledger", web::get().to(read_ledger))
        .route("/simulator/tokens/invalidate", web::post().to(invalidate))
        .route("/simulator/c2b/{shortcode}", web::delete().to(forget_urls));
}

/// Counts every request to a provider's path when it comes and when it is answered.
pub(super) async fn count(
    world: web::Data<World>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = request
        .match_pattern()
        .unwrap_or_else(|| "unknown".to_owned());
    if path.starts_with("/simulator") {
        return next.call(request).await;
    }
    let path = format!("{} {path}", request.method());
    world.ledger.arrived(&path);
    let response = next.call(request).await?;
    world.ledger.answered(&path, response.status().as_u16());
    Ok(response)
}

async fn list_faults(world: web::Data<World>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "plans": world.faults.list(),
        "faults": Fault::ALL,
    }))
}

async fn set_faults(world: web::Data<World>, body: String) -> HttpResponse {
    match FaultPlan::read(&body) {
        Ok(plans) => {
            for plan in plans {
                world.faults.set(plan);
            }
            HttpResponse::Ok().json(json!({"plans": world.faults.list()}))
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error),
    }
}

async fn clear_faults(world: web::Data<World>) -> HttpResponse {
    world.faults.clear();
    HttpResponse::Ok().json(json!({"plans": []}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    account: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn read_ledger(world: web::Data<World>, query: web::Query<Wanted>) -> HttpResponse {
    let ledger = world.ledger.read(
        query.account.as_deref(),
        query.after.unwrap_or(0),
        query.limit.unwrap_or(PAYMENTS_AT_ONCE),
    );
    HttpResponse::Ok().json(ledger)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    account: Option<String>,
}

async fn invalidate(world: web::Data<World>, body: web::Bytes) -> HttpResponse {
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    match serde_json::from_slice::<Account>(text) {
        Ok(Account { account }) => {
            let count = invalidate_tokens(&world, account.as_deref());
            HttpResponse::Ok().json(json!({"invalidated": count}))
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// Of one account, or of all; how many were good until now.
pub(super) fn invalidate_tokens(world: &World, account: Option<&str>) -> usize {
    world.daraja.invalidate_tokens(world.now(), account)
        + world.clickpesa.invalidate_tokens(world.now(), account)
}

async fn forget_urls(world: web::Data<World>, shortcode: web::Path<String>) -> HttpResponse {
    if world.daraja.forget_urls(&shortcode) {
        return HttpResponse::Ok().json(json!({"shortcode": *shortcode, "done": true}));
    }
    refused(
        StatusCode::NOT_FOUND,
        &format!("no URLs are registered for {shortcode}"),
    )
}

fn refused(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"message": message}))
}
