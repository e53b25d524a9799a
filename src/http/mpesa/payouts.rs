//! `b2c` and `reverse`: money to a customer, and a payment taken back. Both want an idempotency key.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::{ordered, response_words};
use crate::domain::identity::TransactionId;
use crate::domain::transaction::{Kind, Provider};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::ApiError;
use crate::http::payments::{fields, pay, reversal};
use crate::http::request::json_object;
use crate::http::transactions::word;
use crate::payments::{Order, Settled};
use crate::providers::payment_provider::Purpose;

const B2C_FIELDS: [&str; 7] = [
    "phoneNumber",
    "amount",
    "purpose",
    "remarks",
    "occasion",
    "client_request_id",
    "account_id",
];
const REVERSE_FIELDS: [&str; 6] = [
    "transactionId",
    "mpesaReceiptNumber",
    "amount",
    "remarks",
    "client_request_id",
    "account_id",
];

/// POST `b2c`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn b2c(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&B2C_FIELDS)?;
    let what = (Provider::Mpesa, Kind::B2c);
    let msisdn = fields::phone(&body, "phoneNumber", Provider::Mpesa)?;
    let amount = fields::amount(&body, "amount", what)?;
    let ids = (TransactionId::new(state.clock.now()), partner.partner.id);
    let mut order = Order::new(ids, what, Some(msisdn), amount);
    order.purpose = word(&body, "purpose")?.unwrap_or(Purpose::Payout);
    order.remarks = fields::limited(&body, "remarks", fields::REMARKS)?;
    order.occasion = fields::limited(&body, "occasion", 1..=fields::OCCASION_MAX)?;
    order.client_request_id = fields::idempotency_key(&request, &body)?;
    order.account_id = fields::account_id(&body)?;
    let settled = pay(&state, order).await?;
    Ok(ordered(&settled, ids_of(&settled)))
}

/// POST `reverse`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, NOT_FOUND_1001, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn reverse(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&REVERSE_FIELDS)?;
    let what = (Provider::Mpesa, Kind::Reversal);
    let amount = fields::amount(&body, "amount", what)?;
    let ids = (TransactionId::new(state.clock.now()), partner.partner.id);
    let mut order = Order::new(ids, what, None, amount);
    order.remarks = fields::limited(&body, "remarks", fields::REMARKS)?;
    order.client_request_id = fields::idempotency_key(&request, &body)?;
    order.account_id = fields::account_id(&body)?;
    let names = ("transactionId", "mpesaReceiptNumber");
    reversal::aim(&state, &mut order, &body, names).await?;
    let settled = pay(&state, order).await?;
    Ok(ordered(&settled, ids_of(&settled)))
}

fn ids_of(settled: &Settled) -> Value {
    let (code, description, _) = response_words(settled.answer.as_ref());
    let transaction = &settled.transaction;
    json!({
        "transactionId": transaction.id.to_string(),
        "conversationId": transaction.ids.conversation_id,
        "originatorConversationId": transaction.ids.originator_conversation_id,
        "responseCode": code,
        "responseDescription": description,
    })
}
