//! `/api/ussd/payments`: one call over all providers; and what every route that starts payments shares.

pub mod fields;
pub mod refusal;
pub mod reversal;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::request::{Fields, TEXT_MAX, json_object, missing};
use super::transactions::{answer, word};
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider};
use crate::payments::{Order, PayError, Settled};
use crate::providers::answer::Unsupported;
use crate::providers::payment_provider::Purpose;

const FIELDS: [&str; 19] = [
    "provider",
    "kind",
    "msisdn",
    "amount",
    "client_request_id",
    "account_id",
    "currency",
    "account_reference",
    "reference",
    "description",
    "transaction_type",
    "purpose",
    "remarks",
    "occasion",
    "origin",
    "tenant_id",
    "customer_id",
    "original_transaction_id",
    "transaction_receipt",
];
/// Fields that some kinds have.
const OF_KINDS: [(&str, &[Kind]); 8] = [
    (
        "msisdn",
        &[Kind::StkPush, Kind::B2c, Kind::UssdPush, Kind::Payout],
    ),
    ("description", &[Kind::StkPush, Kind::UssdPush]),
    ("transaction_type", &[Kind::StkPush]),
    ("purpose", &[Kind::B2c, Kind::Payout]),
    ("occasion", &[Kind::B2c, Kind::Payout]),
    ("remarks", &[Kind::B2c, Kind::Payout, Kind::Reversal]),
    ("original_transaction_id", &[Kind::Reversal]),
    ("transaction_receipt", &[Kind::Reversal]),
];

/// POST: 201 when it was started, 200 when it was ordered before, 202 when nobody knows yet whether the provider has it.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn create(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    body.only(&FIELDS)?;
    let key = fields::idempotency_key(&request, &body)?;
    let order = order(&state, partner.partner.id, key, &body).await?;
    let settled = pay(&state, order).await?;
    let message = match (status(&settled, StatusCode::CREATED), settled.created) {
        (StatusCode::ACCEPTED, _) => "Nobody knows yet whether the provider has the payment",
        (_, true) => "Payment started",
        (_, false) => "Payment was ordered before",
    };
    let response = HttpResponse::build(status(&settled, StatusCode::CREATED));
    Ok(answer(response, message, &settled.transaction))
}

/// Starts a payment; refusals are errors.
///
/// # Errors
/// VALIDATION_1002 without a key where one is wanted; see [`refusal`].
pub async fn pay(state: &State, order: Order) -> Result<Settled, ApiError> {
    if order.client_request_id.is_none() && !order.kind.is_prompt() {
        return Err(ApiError::field(
            "client_request_id",
            format!(
                "is required of a {} (or the header Idempotency-Key): it keeps a repeat from paying twice",
                order.kind
            ),
        ));
    }
    refusal::unless_refused(state.payments.pay(order).await?)
}

/// 202 while nobody knows whether the provider has it; `created` when it was started, 200 when it was ordered before.
pub fn status(settled: &Settled, created: StatusCode) -> StatusCode {
    match settled.transaction.status {
        Status::Queued => StatusCode::ACCEPTED,
        _ if settled.created => created,
        _ => StatusCode::OK,
    }
}

/// The order that fields describe, under an idempotency key.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003; the database's.
pub async fn order(
    state: &State,
    partner: PartnerId,
    key: Option<String>,
    body: &Fields,
) -> Result<Order, ApiError> {
    let provider: Provider = word(body, "provider")?.unwrap_or(Provider::Mpesa);
    let kind: Kind = word(body, "kind")?.ok_or_else(|| missing("kind"))?;
    if !provider.kinds().contains(&kind) {
        return Err(PayError::Unsupported(Unsupported(kind.name())).into());
    }
    for (name, kinds) in OF_KINDS {
        if body.value(name).is_some() && !kinds.contains(&kind) {
            return Err(ApiError::field(name, format!("is not a field of a {kind}")));
        }
    }
    let msisdn = match kind {
        Kind::Reversal => None,
        _ => Some(fields::phone(body, "msisdn", provider)?),
    };
    let amount = fields::amount(body, "amount", (provider, kind))?;
    let ids = (TransactionId::new(state.clock.now()), partner);
    let mut order = Order::new(ids, (provider, kind), msisdn, amount);
    order.account_id = fields::account_id(body)?;
    order.client_request_id = key;
    order.currency = fields::currency(body, (provider, kind))?;
    order.account_reference = reference(body, kind)?;
    order.description = fields::limited(body, "description", 1..=fields::DESCRIPTION_MAX)?;
    order.transaction_type = fields::one_of(body, "transaction_type", &fields::TRANSACTION_TYPES)?;
    order.purpose = word(body, "purpose")?.unwrap_or(Purpose::Payout);
    order.remarks = fields::limited(body, "remarks", fields::REMARKS)?;
    order.occasion = fields::limited(body, "occasion", 1..=fields::OCCASION_MAX)?;
    order.tenant_id = fields::owned(body, "tenant_id")?;
    order.customer_id = fields::owned(body, "customer_id")?;
    if let Some(origin) = fields::owned(body, "origin")? {
        order.origin = origin;
    }
    if kind == Kind::Reversal {
        let names = ("original_transaction_id", "transaction_receipt");
        reversal::aim(state, &mut order, body, names).await?;
    }
    Ok(order)
}

/// `account_reference`, or `reference`, which is the same.
fn reference(body: &Fields, kind: Kind) -> Result<Option<String>, ApiError> {
    let longest = match kind {
        Kind::StkPush => fields::ACCOUNT_REFERENCE_MAX,
        _ => TEXT_MAX,
    };
    let long = fields::limited(body, "account_reference", 1..=longest)?;
    let short = fields::limited(body, "reference", 1..=longest)?;
    match (long, short) {
        (Some(_), Some(_)) => Err(ApiError::field(
            "reference",
            "was sent beside account_reference; accepted is one of them",
        )),
        (long, short) => Ok(long.or(short)),
    }
}
