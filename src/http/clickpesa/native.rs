//! ClickPesa's own API as its documents have it, with an API key of ours: payments, payouts, balances. The caller's
//! `orderReference` is its idempotency key too. What is asked for is answered from our table, the truth we keep.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::domain::identity::TransactionId;
use crate::domain::money::Amount;
use crate::domain::search::BulkLookup;
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider, Transaction};
use crate::http::State;
use crate::http::authentication::AuthenticatedPartner;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::mpesa::{number, timestamp};
use crate::http::payments::{fields, pay, status};
use crate::http::request::{Fields, Query, json_object, quote};
use crate::http::transactions::unknown;
use crate::payments::{Order, Settled};
use crate::providers::answer::{BalanceAnswer, Reply};

const FIELDS: [&str; 6] = [
    "amount",
    "currency",
    "orderReference",
    "phoneNumber",
    "checksum",
    "account_id",
];
const PREVIEW_FIELDS: [&str; 7] = [
    "amount",
    "currency",
    "orderReference",
    "phoneNumber",
    "fetchSenderDetails",
    "checksum",
    "account_id",
];
/// The longest order reference, characters (PROVIDERS 2.2).
pub const ORDER_REFERENCE_MAX: usize = 20;

/// POST `payments/preview-ussd-push-request`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, PROVIDER_1001; the database's.
pub async fn preview_payment(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    preview(&state, &partner, &body, Kind::UssdPush).await
}

/// POST `payments/initiate-ussd-push-request`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn initiate_payment(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    start(&state, &partner, &body, Kind::UssdPush).await
}

/// POST `payouts/preview-mobile-money-payout`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, PROVIDER_1001; the database's.
pub async fn preview_payout(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    preview(&state, &partner, &body, Kind::Payout).await
}

/// POST `payouts/create-mobile-money-payout`.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001, PROVIDER_1001; the database's.
pub async fn create_payout(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json_object(&request, payload).await?;
    start(&state, &partner, &body, Kind::Payout).await
}

/// GET `payments/{orderReference}`: a list, as ClickPesa has it.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn find_payment(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    find(&state, &partner, &request, &path, Kind::UssdPush).await
}

/// GET `payouts/{orderReference}`: likewise.
///
/// # Errors
/// VALIDATION_1002, NOT_FOUND_1001; the database's.
pub async fn find_payout(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    find(&state, &partner, &request, &path, Kind::Payout).await
}

/// GET `account/balance`: asked for at ClickPesa when it is asked for here.
///
/// # Errors
/// VALIDATION_1002, PROVIDER_1001; the database's.
pub async fn balance(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &["account_id"])?;
    let account_id = query
        .value("account_id")
        .map(fields::parse_account_id)
        .transpose()?;
    let account = (Provider::Clickpesa, account_id);
    let asked_by = partner.actor();
    let (_, answer) = state
        .payments
        .ask_balance(partner.partner.id, account, asked_by)
        .await?;
    match answer {
        BalanceAnswer::Balances(balances) => {
            let told = balances.iter().map(|balance| {
                json!({
                    "currency": balance.currency,
                    "balance": balance.available.or(balance.current).map(number),
                })
            });
            Ok(HttpResponse::Ok().json(told.collect::<Vec<_>>()))
        }
        BalanceAnswer::Refused(refusal) => Err(refusal.into()),
        BalanceAnswer::Unknown(silence) => Err(silence.into()),
        // ClickPesa says it at once.
        BalanceAnswer::Asked(_) => Err(ApiError::server()),
    }
}

async fn preview(
    state: &State,
    partner: &AuthenticatedPartner,
    body: &Fields,
    kind: Kind,
) -> Result<HttpResponse, ApiError> {
    body.only(&PREVIEW_FIELDS)?;
    if let Some(other) = body.value("fetchSenderDetails")
        && !other.is_boolean()
    {
        return Err(crate::http::request::wrong_type(
            "fetchSenderDetails",
            "true or false",
            other,
        ));
    }
    let order = order(state, partner, body, kind)?;
    match state.payments.preview(order).await? {
        Reply::Body(answer) => Ok(HttpResponse::Ok().json(answer)),
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Unknown(silence) => Err(silence.into()),
    }
}

async fn start(
    state: &State,
    partner: &AuthenticatedPartner,
    body: &Fields,
    kind: Kind,
) -> Result<HttpResponse, ApiError> {
    body.only(&FIELDS)?;
    let order = order(state, partner, body, kind)?;
    let reference = order.order_reference.clone().unwrap_or_default();
    let settled = pay(state, order).await.map_err(|error| match error.code {
        ErrorCode::Conflict => error.in_words(format!(
            "Order reference {reference} already used: Create a different reference"
        )),
        _ => error,
    })?;
    Ok(HttpResponse::build(status(&settled, StatusCode::OK)).json(started(settled)))
}

/// What ClickPesa said, over what we know.
fn started(settled: Settled) -> Value {
    let mut told = payment_body(&settled.transaction);
    if let (Value::Object(told), Some(Value::Object(said))) = (&mut told, settled.body) {
        told.extend(said);
        // The reference as the caller wrote it, whatever became of it on the way.
        told.insert(
            "orderReference".to_owned(),
            json!(settled.transaction.ids.order_reference),
        );
    }
    told
}

fn order(
    state: &State,
    partner: &AuthenticatedPartner,
    body: &Fields,
    kind: Kind,
) -> Result<Order, ApiError> {
    let what = (Provider::Clickpesa, kind);
    let reference = order_reference(body)?;
    let msisdn = fields::phone(body, "phoneNumber", what.0)
        .map_err(|error| error.in_words("Invalid / unsupported phone number"))?;
    let amount = fields::amount(body, "amount", what)?;
    let ids = (TransactionId::new(state.clock.now()), partner.partner.id);
    let mut order = Order::new(ids, what, Some(msisdn), amount);
    order.currency = fields::currency(body, what)?;
    order.account_id = fields::account_id(body)?;
    order.client_request_id = Some(reference.clone());
    order.order_reference = Some(reference);
    // Checked by ClickPesa on its side; here the API key says who calls.
    body.text("checksum")?;
    Ok(order)
}

fn order_reference(body: &Fields) -> Result<String, ApiError> {
    const WORDS: &str =
        "Invalid Order Reference, should only contain alphanumeric characters and cannot be blank";
    let text = body
        .required_text("orderReference")
        .map_err(|error| error.in_words(WORDS))?;
    if text.len() <= ORDER_REFERENCE_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(ApiError::field(
        "orderReference",
        format!(
            "is {}; accepted are letters and digits, at most {ORDER_REFERENCE_MAX}",
            quote(text)
        ),
    )
    .in_words(WORDS))
}

async fn find(
    state: &State,
    partner: &AuthenticatedPartner,
    request: &HttpRequest,
    reference: &str,
    kind: Kind,
) -> Result<HttpResponse, ApiError> {
    Query::parse(request.query_string(), &[])?;
    let lookup = BulkLookup {
        conversation_ids: vec![reference.to_owned()],
        ..BulkLookup::default()
    };
    let found = state
        .store
        .find_transactions(partner.partner.id, lookup)
        .await?;
    let told: Vec<Value> = found
        .transactions
        .iter()
        .filter(|row| row.provider == Provider::Clickpesa && row.kind == kind)
        .filter(|row| row.ids.order_reference.as_deref() == Some(reference))
        .map(payment_body)
        .collect();
    if told.is_empty() {
        let what = if kind == Kind::Payout {
            "payout"
        } else {
            "payment"
        };
        let words = format!("Invalid or missing {what}: {}", quote(reference));
        return Err(unknown().in_words(words));
    }
    Ok(HttpResponse::Ok().json(told))
}

/// A payment or payout in ClickPesa's names; what we do not know is null.
fn payment_body(row: &Transaction) -> Value {
    let is_payout = row.kind == Kind::Payout;
    let number = row.msisdn.as_ref().map(|msisdn| msisdn.as_str());
    let mut told = json!({
        "id": row.ids.conversation_id,
        "status": status_word(row),
        "orderReference": row.ids.order_reference,
        "createdAt": timestamp(row.created_at),
        "updatedAt": timestamp(row.updated_at),
        "message": row.result_description,
        "transactionId": row.id.to_string(),
    });
    if let Value::Object(members) = &mut told {
        let more = if is_payout {
            json!({
                "amount": decimal(row.amount),
                "currency": row.currency.as_str(),
                "channel": "MOBILE MONEY",
                "beneficiary": {"accountNumber": number, "amount": decimal(row.amount)},
            })
        } else {
            json!({
                "paymentReference": row.receipt,
                "paymentPhoneNumber": number,
                "collectedAmount": decimal(row.paid.unwrap_or(row.amount)),
                "collectedCurrency": row.currency.as_str(),
                "customer": {"customerPhoneNumber": number},
            })
        };
        if let Value::Object(more) = more {
            members.extend(more);
        }
    }
    told
}

/// ClickPesa's last word; until it said one, what fits ours.
fn status_word(row: &Transaction) -> &str {
    row.provider_status.as_deref().unwrap_or(match row.status {
        Status::Queued | Status::Accepted => "PROCESSING",
        Status::Success => "SUCCESS",
        Status::Failed => "FAILED",
    })
}

/// `10000`, or `10000.50`: amounts are texts in ClickPesa's answers.
fn decimal(amount: Amount) -> String {
    let text = amount.to_string();
    text.strip_suffix(".00").map_or(text.clone(), str::to_owned)
}
