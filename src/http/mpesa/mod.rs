//! `/api/v1/mpesa/`: the guide's routes. Answers are `{"success":true,"data":{…}}` in its names; statuses are PENDING,
//! SUCCESS and FAILED; amounts are JSON numbers.

mod payouts;
mod questions;
mod stk;
mod transactions;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{State, keyed, resource};
use crate::domain::clock::Instant;
use crate::domain::money::Amount;
use crate::domain::partner::Scope;
use crate::domain::payment::CallAnswer;
use crate::domain::status::Status;
use crate::payments::Settled;

/// Every route of the guide but its callback paths.
pub fn routes(config: &mut ServiceConfig, state: &Data<State>) {
    let write = &state.quotas.write;
    let reads = |route| keyed(route, write, Scope::StatusRead);
    let pays = |route| keyed(route, write, Scope::PaymentsWrite);
    config
        .service(resource("/api/v1/mpesa/stk-push", "POST").route(pays(web::post().to(stk::push))))
        .service(
            resource("/api/v1/mpesa/status/{id}", "GET")
                .route(reads(web::get().to(transactions::status))),
        )
        .service(
            resource("/api/v1/mpesa/status-detailed/{id}", "GET")
                .route(reads(web::get().to(transactions::status_detailed))),
        )
        .service(resource("/api/v1/mpesa/b2c", "POST").route(pays(web::post().to(payouts::b2c))))
        .service(
            resource("/api/v1/mpesa/reverse", "POST").route(pays(web::post().to(payouts::reverse))),
        )
        .service(
            resource("/api/v1/mpesa/balance", "POST")
                .route(pays(web::post().to(questions::balance))),
        )
        .service(
            resource("/api/v1/mpesa/balance/latest", "GET")
                .route(reads(web::get().to(questions::latest_balance))),
        )
        .service(
            resource("/api/v1/mpesa/status-query", "POST")
                .route(pays(web::post().to(questions::status_query))),
        )
        .service(
            resource("/api/v1/mpesa/c2b/register", "POST")
                .route(pays(web::post().to(questions::register_c2b))),
        )
        .service(
            resource("/api/v1/mpesa/transactions", "GET")
                .route(reads(web::get().to(transactions::list))),
        )
        .service(
            resource("/api/v1/mpesa/transactions/{id}", "GET")
                .route(reads(web::get().to(transactions::find))),
        );
}

/// A success as the guide has it.
fn data(mut response: HttpResponseBuilder, data: Value) -> HttpResponse {
    response.json(json!({"success": true, "data": data}))
}

/// A payment that was ordered: 200, or 202 while nobody knows whether M-Pesa has it.
fn ordered(settled: &Settled, body: Value) -> HttpResponse {
    let status = super::payments::status(settled, StatusCode::OK);
    data(HttpResponse::build(status), body)
}

/// M-Pesa's code and sentence for taking a payment; null if it gave none.
fn response_words(answer: Option<&CallAnswer>) -> (Option<&str>, Option<&str>, Option<&str>) {
    match answer {
        Some(CallAnswer::Accepted {
            code,
            description,
            customer_message,
        }) => (
            code.as_deref(),
            description.as_deref(),
            customer_message.as_deref(),
        ),
        _ => (None, None, None),
    }
}

/// The guide's word for a status.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Queued | Status::Accepted => "PENDING",
        Status::Success => "SUCCESS",
        Status::Failed => "FAILED",
    }
}

/// An amount as a JSON number, whole where it is, made without floating point.
pub fn number(amount: Amount) -> Value {
    let text = amount.to_string();
    let shortest = text.strip_suffix(".00").unwrap_or(&text);
    serde_json::from_str(shortest).unwrap_or(Value::Null)
}

/// `2025-01-10T12:34:56.789Z`.
pub fn timestamp(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
