//! The ClickPesa guide's three calls. Its `reference` may hold any characters: ClickPesa gets a generated order reference
//! and the caller its own back. A `callback_url` is an endpoint that is told of this payment only.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::domain::delivery::{Endpoint, Pace};
use crate::domain::identity::{EndpointId, TransactionId};
use crate::domain::search::BulkLookup;
use crate::domain::transaction::{Kind, Provider};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::ApiError;
use crate::http::mpesa::{number, word};
use crate::http::payments::{fields, pay, status};
use crate::http::request::{Fields, Query, json_object, missing};
use crate::http::transactions::unknown;
use crate::payments::{Order, Settled};
use crate::providers::answer::Reply;
use crate::webhooks::{Secret, address_guard};

const FIELDS: [&str; 8] = [
    "reference",
    "amount",
    "currency",
    "msisdn",
    "provider",
    "callback_url",
    "client_request_id",
    "account_id",
];
const WHAT: (Provider, Kind) = (Provider::Clickpesa, Kind::UssdPush);
const PARAMETER: &str = "transaction_id";

/// POST `preview-ussd-push`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, PROVIDER_1001; the database's.
pub async fn preview(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    let order = order(&state, &partner, &request, &body)?;
    let mut told = json!({
        "amount": number(order.amount),
        "currency": order.currency.as_str(),
        "msisdn": order.msisdn.as_ref().map(|msisdn| msisdn.as_str()),
        "provider": order.reference,
        "reference": order.account_reference,
    });
    match state.payments.preview(order).await? {
        Reply::Body(answer) => {
            // What ClickPesa says of it comes on top: the methods that are open, and their fees.
            if let (Value::Object(told), Value::Object(answer)) = (&mut told, answer) {
                for (name, value) in answer {
                    told.entry(name).or_insert(value);
                }
            }
            Ok(HttpResponse::Ok().json(json!({
                "success": true,
                "message": "Payment preview successful",
                "data": told,
            })))
        }
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Unknown(silence) => Err(silence.into()),
    }
}

/// POST `initiate-ussd-push`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn initiate(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    let mut order = order(&state, &partner, &request, &body)?;
    let mut secret = None;
    if let Some(url) = body.text("callback_url")? {
        let (endpoint, shown) = endpoint(&state, &order, url).await?;
        order.endpoint = Some(endpoint);
        secret = Some(shown);
    }
    let settled = pay(&state, order).await?;
    let mut told = transaction_body(&settled);
    if let (Value::Object(members), Some(secret), true) = (&mut told, secret, settled.created) {
        members.insert("webhook_secret".to_owned(), json!(secret));
    }
    let status = status(&settled, StatusCode::OK);
    Ok(HttpResponse::build(status).json(json!({
        "success": true,
        "message": if status == StatusCode::ACCEPTED {
            "Nobody knows yet whether ClickPesa has the payment"
        } else {
            "USSD push initiated"
        },
        "data": told,
    })))
}

/// GET `query-payment-status`: how it stands here, where every callback and question ends up.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn query(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &[PARAMETER])?;
    let id = query.value(PARAMETER).ok_or_else(|| missing(PARAMETER))?;
    let partner = partner.partner.id;
    let lookup = BulkLookup {
        transaction_ids: id.parse().ok().into_iter().collect(),
        conversation_ids: vec![id.to_owned()],
        ..BulkLookup::default()
    };
    let found = state.store.find_transactions(partner, lookup).await?;
    let transaction = found
        .transactions
        .into_iter()
        .find(|row| row.provider == Provider::Clickpesa)
        .ok_or_else(unknown)?;
    let record = state.store.find_payment(partner, transaction.id).await?;
    let settled = Settled {
        transaction,
        created: false,
        answer: None,
        reference: record.and_then(|record| record.reference),
        body: None,
    };
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": transaction_body(&settled)})))
}

fn transaction_body(settled: &Settled) -> Value {
    let row = &settled.transaction;
    json!({
        "transaction_id": row.id.to_string(),
        "status": word(row.status),
        "amount": number(row.amount),
        "currency": row.currency.as_str(),
        "msisdn": row.msisdn.as_ref().map(|msisdn| msisdn.as_str()),
        "provider": settled.reference,
        "reference": row.account_reference,
        "order_reference": row.ids.order_reference,
    })
}

fn order(
    state: &State,
    partner: &AuthenticatedPartner,
    request: &HttpRequest,
    body: &Fields,
) -> Result<Order, ApiError> {
    body.only(&FIELDS)?;
    let reference = body.required_text("reference")?.to_owned();
    let msisdn = fields::phone(body, "msisdn", WHAT.0)?;
    let amount = fields::amount(body, "amount", WHAT)?;
    let ids = (TransactionId::new(state.clock.now()), partner.partner.id);
    let mut order = Order::new(ids, WHAT, Some(msisdn), amount);
    order.currency = fields::currency(body, WHAT)?;
    order.account_reference = Some(reference);
    // The network. ClickPesa finds it by the number; here it is only given back.
    order.reference = fields::owned(body, "provider")?;
    order.client_request_id = fields::idempotency_key(request, body)?;
    order.account_id = fields::account_id(body)?;
    Ok(order)
}

/// A one-off endpoint and its secret, which is shown this once.
async fn endpoint(state: &State, order: &Order, url: &str) -> Result<(Endpoint, String), ApiError> {
    let wrong = |error: address_guard::UrlError| ApiError::field("callback_url", error.to_string());
    let allow_private = state.webhook_allow_private;
    let url = address_guard::check_url(url, allow_private).map_err(wrong)?;
    address_guard::resolve_and_check(&url, allow_private)
        .await
        .map_err(wrong)?;
    let failed = |error: crate::vault::VaultError| ApiError {
        cause: Some(error.to_string().into()),
        ..ApiError::server()
    };
    let secret = Secret::generate().map_err(failed)?;
    let shown = secret.reveal();
    let now = state.clock.now();
    let id = EndpointId::new(now);
    let sealed_secret = state
        .vault
        .seal(&id.seal_owner(), shown.as_bytes())
        .map_err(failed)?;
    let endpoint = Endpoint {
        id,
        partner_id: order.partner_id,
        url: url.to_string(),
        events: Vec::new(),
        description: Some(format!("of transaction {}", order.transaction_id)),
        sealed_secret,
        disabled_at: None,
        created_at: now,
        previous_secret: None,
        failing_since: None,
        pace: Pace::default(),
        public_key: None,
        transaction_id: Some(order.transaction_id),
    };
    Ok((endpoint, shown.to_string()))
}
