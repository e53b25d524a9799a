//! `/api/ussd/transactions`: register what another system started, attach the provider's ids, one transaction with its
//! whole story.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::{ApiError, ErrorCode};
use super::expand::{self, Expand, Expansion};
use super::request::{Fields, Query, json_object, missing, quote, wrong_type};
use super::wire::TransactionBody;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::ledger::{Attachment, Command, Outcome, Refusal, Registration, TWIN_SPAN};
use crate::domain::money::{Amount, MAX_AMOUNT_MINOR};
use crate::domain::msisdn::{Msisdn, MsisdnInput};
use crate::domain::transaction::{IdField, Kind, Provider, ProviderIds, Transaction};

const REGISTER_FIELDS: [&str; 14] = [
    "client_request_id",
    "msisdn",
    "amount",
    "provider",
    "kind",
    "currency",
    "origin",
    "tenant_id",
    "customer_id",
    "account_reference",
    "conversation_id",
    "originator_conversation_id",
    "order_reference",
    "original_transaction_id",
];
const ATTACH_FIELDS: [&str; 3] = [
    "conversation_id",
    "originator_conversation_id",
    "order_reference",
];
const DEFAULT_ORIGIN: &str = "ussd";

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    message: &'static str,
    transaction: TransactionBody<'a>,
}

pub(super) fn answer(
    mut response: actix_web::HttpResponseBuilder,
    message: &'static str,
    transaction: &Transaction,
) -> HttpResponse {
    response.json(Answer {
        success: true,
        message,
        transaction: TransactionBody::from(transaction),
    })
}

/// POST: 201 when it is new, 200 when the same was registered before.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, CONFLICT_1001; the database's.
pub async fn register(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    let registration = registration(partner.partner.id, &fields)?;
    let command = Command::Register(Box::new(registration));
    match state.store.record(command).await? {
        Outcome::Registered {
            transaction,
            created: true,
        } => Ok(answer(
            HttpResponse::Created(),
            "Transaction registered",
            &transaction,
        )),
        Outcome::Registered { transaction, .. } => Ok(answer(
            HttpResponse::Ok(),
            "Transaction was registered before",
            &transaction,
        )),
        Outcome::Refused(refusal) => Err(refused(refusal)),
        Outcome::Attached(_) | Outcome::Answered(_) | Outcome::Recorded(_) => {
            Err(ApiError::server())
        }
    }
}

/// GET: one transaction with its timeline.
///
/// # Errors
/// NOT_FOUND_1001; the database's.
pub async fn find(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &[expand::PARAMETER])?;
    // The timeline is there in any case, and whole.
    let expand = Expand {
        timeline: false,
        ..Expand::of_query(&query)?
    };
    let id = transaction_id(&path)?;
    let partner = partner.partner.id;
    let (transaction, timeline) = state
        .store
        .find_transaction(partner, id)
        .await?
        .ok_or_else(unknown)?;
    let rows = std::slice::from_ref(&transaction);
    let expansion = Expansion::of(&state, partner, rows, expand, state.clock.now()).await?;
    Ok(HttpResponse::Ok().json(Answer {
        success: true,
        message: "Transaction retrieved successfully",
        transaction: expansion.body(&transaction).with_timeline(&timeline),
    }))
}

/// PATCH: the provider's ids, once they are known.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003, NOT_FOUND_1001, CONFLICT_1001; the database's.
pub async fn attach(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let fields = json_object(&request, payload).await?;
    let id = transaction_id(&path)?;
    fields.only(&ATTACH_FIELDS)?;
    let ids = provider_ids(&fields)?;
    if ids.is_empty() {
        return Err(ApiError::field(
            ATTACH_FIELDS.join(", "),
            "is required: at least one of them",
        ));
    }
    let command = Command::Attach(Attachment {
        partner_id: partner.partner.id,
        transaction_id: id,
        ids,
    });
    match state.store.record(command).await? {
        Outcome::Attached(transaction) => Ok(answer(
            HttpResponse::Ok(),
            "Transaction updated",
            &transaction,
        )),
        Outcome::Refused(refusal) => Err(refused(refusal)),
        Outcome::Registered { .. } | Outcome::Answered(_) | Outcome::Recorded(_) => {
            Err(ApiError::server())
        }
    }
}

/// An id that is no UUID names no transaction of ours.
pub(super) fn transaction_id(path: &str) -> Result<TransactionId, ApiError> {
    path.parse().map_err(|_| unknown())
}

pub(super) fn unknown() -> ApiError {
    ApiError::not_found("No such transaction")
}

fn registration(partner_id: PartnerId, fields: &Fields) -> Result<Registration, ApiError> {
    fields.only(&REGISTER_FIELDS)?;
    let provider: Provider = word(fields, "provider")?.unwrap_or(Provider::Mpesa);
    let kind: Kind = word(fields, "kind")?.unwrap_or_else(|| provider.default_kind());
    let original_id = fields
        .text("original_transaction_id")?
        .map(|text| {
            text.parse::<TransactionId>().map_err(|_| {
                ApiError::field(
                    "original_transaction_id",
                    format!("is {}; accepted is a UUID", quote(text)),
                )
            })
        })
        .transpose()?;
    if original_id.is_some() && kind != Kind::Reversal {
        return Err(ApiError::field(
            "original_transaction_id",
            "is accepted with kind reversal only",
        ));
    }
    let owned = |name: &str| fields.text(name).map(|text| text.map(str::to_owned));
    Ok(Registration {
        partner_id,
        client_request_id: Some(fields.required_text("client_request_id")?.to_owned()),
        provider,
        kind,
        msisdn: Some(msisdn(fields, provider)?),
        amount: amount(fields)?,
        currency: word(fields, "currency")?.unwrap_or_else(|| provider.default_currency()),
        origin: owned("origin")?.unwrap_or_else(|| DEFAULT_ORIGIN.to_owned()),
        tenant_id: owned("tenant_id")?,
        customer_id: owned("customer_id")?,
        account_reference: owned("account_reference")?,
        ids: provider_ids(fields)?,
        original_id,
        intent: None,
    })
}

pub(super) fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    fields: &Fields,
    name: &str,
) -> Result<Option<T>, ApiError> {
    fields
        .text(name)?
        .map(|text| {
            text.parse()
                .map_err(|error| ApiError::field(name, format!("{} {error}", quote(text))))
        })
        .transpose()
}

pub(super) fn msisdn(fields: &Fields, provider: Provider) -> Result<Msisdn, ApiError> {
    let text = fields.required_text("msisdn")?;
    MsisdnInput::parse(text)
        .map(|input| input.in_country(provider.country()))
        .map_err(|error| ApiError::field("msisdn", format!("{} {error}", quote(text))))
}

/// A number or a decimal text, read digit by digit: no binary float is ever in between.
pub(super) fn amount(fields: &Fields) -> Result<Amount, ApiError> {
    let text = match fields.value("amount") {
        None => return Err(missing("amount")),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(wrong_type("amount", "a number or a decimal text", other)),
    };
    text.parse::<Amount>()
        .ok()
        .filter(|amount| (1..=MAX_AMOUNT_MINOR).contains(&amount.minor()))
        .ok_or_else(|| {
            ApiError::field(
                "amount",
                format!(
                    "is {}; accepted is a plain number from 0.01 to {} with at most two decimals",
                    quote(&text),
                    Amount(MAX_AMOUNT_MINOR)
                ),
            )
        })
}

fn provider_ids(fields: &Fields) -> Result<ProviderIds, ApiError> {
    let mut ids = ProviderIds::default();
    for field in IdField::GIVEN {
        if let Some(value) = fields.text(field.as_str())? {
            ids.set(field, value.to_owned());
        }
    }
    Ok(ids)
}

pub(super) fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound => unknown(),
        Refusal::Reused {
            field,
            transaction_id,
        } => ApiError::conflict(
            "client_request_id",
            format!("was used before with another {field}, by transaction {transaction_id}"),
        ),
        Refusal::Held {
            field,
            transaction_id,
        } => ApiError::conflict(
            field.as_str(),
            format!("is held by transaction {transaction_id}"),
        ),
        Refusal::ToldBefore {
            field,
            transaction_id,
        } => ApiError::conflict(
            field.as_str(),
            format!(
                "is held by transaction {transaction_id}, which the provider told of before anybody named it here; both \
                 have been told of and stay, and {transaction_id} has the payment's status"
            ),
        ),
        Refusal::Fixed { field } => ApiError::conflict(
            field.as_str(),
            "has another value already, which cannot be changed",
        ),
        Refusal::Twin { transaction_id } => ApiError::conflict(
            "client_request_id",
            format!(
                "is missing, and transaction {transaction_id} of the last {} minutes is the same payment",
                TWIN_SPAN.num_minutes()
            ),
        ),
        Refusal::OriginalUnknown => ApiError {
            code: ErrorCode::InvalidField,
            ..ApiError::field(
                "original_transaction_id",
                "names no transaction of this partner",
            )
        },
    }
}
