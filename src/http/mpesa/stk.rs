//! `stk-push`: a prompt on the customer's phone.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{ordered, response_words};
use crate::domain::identity::TransactionId;
use crate::domain::transaction::{Kind, Provider};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::ApiError;
use crate::http::payments::{fields, pay};
use crate::http::request::json_object;
use crate::payments::Order;

const FIELDS: [&str; 8] = [
    "phoneNumber",
    "amount",
    "accountReference",
    "transactionDesc",
    "leaseId",
    "transactionType",
    "client_request_id",
    "account_id",
];

/// POST.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn push(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&FIELDS)?;
    let what = (Provider::Mpesa, Kind::StkPush);
    let msisdn = fields::phone(&body, "phoneNumber", Provider::Mpesa)?;
    let amount = fields::amount(&body, "amount", what)?;
    let ids = (TransactionId::new(state.clock.now()), partner.partner.id);
    let mut order = Order::new(ids, what, Some(msisdn), amount);
    order.account_reference =
        fields::limited(&body, "accountReference", 1..=fields::ACCOUNT_REFERENCE_MAX)?;
    order.description = fields::limited(&body, "transactionDesc", 1..=fields::DESCRIPTION_MAX)?;
    order.transaction_type = fields::one_of(&body, "transactionType", &fields::TRANSACTION_TYPES)?;
    order.customer_id = fields::owned(&body, "leaseId")?;
    order.client_request_id = fields::idempotency_key(&request, &body)?;
    order.account_id = fields::account_id(&body)?;
    let settled = pay(&state, order).await?;
    let transaction = &settled.transaction;
    let (code, description, customer_message) = response_words(settled.answer.as_ref());
    let answer = json!({
        "merchantRequestId": transaction.merchant_request_id,
        "checkoutRequestId": transaction.ids.conversation_id,
        "responseCode": code,
        "responseDescription": description,
        "customerMessage": customer_message,
        "transactionId": transaction.id.to_string(),
    });
    Ok(ordered(&settled, answer))
}
