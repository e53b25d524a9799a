//! Fields of payments on every route, checked before anything is sent. Each error names the field as the route calls
//! it, what was sent and what is accepted.

use actix_web::HttpRequest;
use serde_json::Value;

use crate::domain::identity::AccountId;
use crate::domain::money::{Amount, Currency, MAX_AMOUNT_MINOR};
use crate::domain::msisdn::{Msisdn, MsisdnInput};
use crate::domain::transaction::{Kind, Provider};
use crate::http::error::ApiError;
use crate::http::request::{Fields, checked_text, missing, quote, wrong_type};

/// The largest M-Pesa payment, whole shillings (PROVIDERS 1.4, 1.14).
pub const MPESA_MAX: i64 = 250_000;
/// The smallest M-Pesa prompt, whole shillings.
pub const STK_PUSH_MIN: i64 = 1;
/// The smallest M-Pesa payment to a customer, whole shillings.
pub const B2C_MIN: i64 = 10;
/// M-Pesa's AccountReference, characters.
pub const ACCOUNT_REFERENCE_MAX: usize = 12;
/// M-Pesa's TransactionDesc, characters.
pub const DESCRIPTION_MAX: usize = 13;
/// M-Pesa's Remarks, characters.
pub const REMARKS: std::ops::RangeInclusive<usize> = 2..=100;
/// M-Pesa's Occasion, characters.
pub const OCCASION_MAX: usize = 100;
/// M-Pesa's two types of prompt.
pub const TRANSACTION_TYPES: [&str; 2] = ["CustomerPayBillOnline", "CustomerBuyGoodsOnline"];

/// A customer's number in the provider's country.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn phone(fields: &Fields, name: &str, provider: Provider) -> Result<Msisdn, ApiError> {
    parse_phone(name, fields.required_text(name)?, provider)
}

/// The same of a text.
///
/// # Errors
/// VALIDATION_1002.
pub fn parse_phone(name: &str, text: &str, provider: Provider) -> Result<Msisdn, ApiError> {
    let msisdn = MsisdnInput::parse(text)
        .map(|input| input.in_country(provider.country()))
        .map_err(|error| ApiError::field(name, format!("{} {error}", quote(text))))?;
    let code = provider.country().calling_code();
    if msisdn.as_str().starts_with(code) {
        Ok(msisdn)
    } else {
        Err(ApiError::field(
            name,
            format!("is {msisdn}; accepted with {provider} is a number of {code}"),
        ))
    }
}

/// An amount as written: a number or a decimal text.
fn amount_text(fields: &Fields, name: &str) -> Result<String, ApiError> {
    match fields.value(name) {
        None => Err(missing(name)),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong_type(name, "a number or a decimal text", other)),
    }
}

/// What a payment of this kind may come to. M-Pesa moves whole shillings only.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn amount(
    fields: &Fields,
    name: &str,
    (provider, kind): (Provider, Kind),
) -> Result<Amount, ApiError> {
    let text = amount_text(fields, name)?;
    let parsed = text.parse::<Amount>().ok();
    let (fits, accepted): (fn(Amount, i64) -> bool, _) = match provider {
        Provider::Mpesa => (
            |amount, min| {
                amount.is_whole() && (min * 100..=MPESA_MAX * 100).contains(&amount.minor())
            },
            format!("a whole number from {} to {MPESA_MAX}", smallest(kind)),
        ),
        Provider::Clickpesa => (
            |amount, _| (1..=MAX_AMOUNT_MINOR).contains(&amount.minor()),
            format!(
                "a plain number from 0.01 to {} with at most two decimals",
                Amount(MAX_AMOUNT_MINOR)
            ),
        ),
    };
    parsed
        .filter(|amount| fits(*amount, smallest(kind)))
        .ok_or_else(|| {
            ApiError::field(name, format!("is {}; accepted is {accepted}", quote(&text)))
        })
}

fn smallest(kind: Kind) -> i64 {
    match kind {
        Kind::B2c => B2C_MIN,
        _ => STK_PUSH_MIN,
    }
}

/// A text of so many characters.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn limited(
    fields: &Fields,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<Option<String>, ApiError> {
    let Some(text) = fields.text(name)? else {
        return Ok(None);
    };
    let length = text.chars().count();
    if lengths.contains(&length) {
        return Ok(Some(text.to_owned()));
    }
    Err(ApiError::field(
        name,
        format!(
            "{} has {length} characters; accepted are {} to {}",
            quote(text),
            lengths.start(),
            lengths.end()
        ),
    ))
}

/// A text that is kept as it is.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn owned(fields: &Fields, name: &str) -> Result<Option<String>, ApiError> {
    Ok(fields.text(name)?.map(str::to_owned))
}

/// One of a few words.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn one_of(fields: &Fields, name: &str, words: &[&str]) -> Result<Option<String>, ApiError> {
    match fields.text(name)? {
        Some(text) if !words.contains(&text) => Err(ApiError::field(
            name,
            format!("is {}; accepted are {}", quote(text), words.join(", ")),
        )),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The account that is chosen among several.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn account_id(fields: &Fields) -> Result<Option<AccountId>, ApiError> {
    fields.text("account_id")?.map(parse_account_id).transpose()
}

/// The same of a text.
///
/// # Errors
/// VALIDATION_1002.
pub fn parse_account_id(text: &str) -> Result<AccountId, ApiError> {
    text.parse().map_err(|_| {
        ApiError::field(
            "account_id",
            format!("is {}; accepted is a UUID", quote(text)),
        )
    })
}

/// What can be paid in at a provider.
///
/// # Errors
/// VALIDATION_1002, VALIDATION_1003.
pub fn currency(fields: &Fields, (provider, kind): (Provider, Kind)) -> Result<Currency, ApiError> {
    let accepted: &[&str] = match (provider, kind) {
        (Provider::Mpesa, _) => &["KES"],
        (Provider::Clickpesa, Kind::Payout) => &["TZS", "USD"],
        (Provider::Clickpesa, _) => &["TZS"],
    };
    let chosen = one_of(fields, "currency", accepted)?;
    Ok(chosen
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| provider.default_currency()))
}

/// The idempotency key: `client_request_id` in the body or the header `Idempotency-Key`.
///
/// # Errors
/// VALIDATION_1002 if both are there and differ, or the header is no text; VALIDATION_1003.
pub fn idempotency_key(request: &HttpRequest, fields: &Fields) -> Result<Option<String>, ApiError> {
    const HEADER: &str = "Idempotency-Key";
    let in_body = fields.text("client_request_id")?;
    let mut headers = request.headers().get_all("idempotency-key");
    let Some(value) = headers.next() else {
        return Ok(in_body.map(str::to_owned));
    };
    if headers.next().is_some() {
        return Err(ApiError::field(HEADER, "was sent more than once"));
    }
    let text = value
        .to_str()
        .map_err(|_| ApiError::field(HEADER, "is not visible ASCII"))?;
    let in_header = checked_text(HEADER, text.trim())?;
    match in_body {
        Some(other) if other != in_header => Err(ApiError::field(
            HEADER,
            format!(
                "is {} while client_request_id is {}; accepted is one of them, or the same twice",
                quote(in_header),
                quote(other)
            ),
        )),
        _ => Ok(Some(in_header.to_owned())),
    }
}
