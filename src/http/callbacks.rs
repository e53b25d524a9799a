//! Where providers post. Thin: whose it is and what it means is `ingest`'s business.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::State;
use super::error::{ApiError, ErrorCode};
use super::request::{body, contains};
use crate::domain::identity::TransactionId;
use crate::domain::status_update::CallbackKind;
use crate::ingest::{Acknowledgement, IngestError, Received, refused};

/// Headers in which ClickPesa integrations have seen the checksum; the provider's documentation names none.
const SIGNATURE_HEADERS: [&str; 2] = ["x-clickpesa-signature", "x-clickpesa-checksum"];
/// The longest media type that is kept.
const CONTENT_TYPE_MAX: usize = 200;

/// `POST /callbacks/{token}/{kind}`.
///
/// # Errors
/// NOT_FOUND_1001 for a wrong address, AUTH_1002 for a wrong checksum, PAYLOAD_1001; the database's.
pub async fn with_token(
    state: Data<State>,
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (token, kind) = path.into_inner();
    receive_with_token(&state, &request, &token, &kind, None, payload).await
}

/// `POST /callbacks/{token}/{kind}/{transaction_id}`.
///
/// # Errors
/// As [`with_token`].
pub async fn with_token_and_id(
    state: Data<State>,
    request: HttpRequest,
    path: Path<(String, String, String)>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (token, kind, id) = path.into_inner();
    let id: TransactionId = id.parse().map_err(|_| no_such_address())?;
    receive_with_token(&state, &request, &token, &kind, Some(id), payload).await
}

async fn receive_with_token(
    state: &State,
    request: &HttpRequest,
    token: &str,
    kind: &str,
    transaction_id: Option<TransactionId>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let kind: CallbackKind = kind.parse().map_err(|()| no_such_address())?;
    let received = received(state, request, kind, transaction_id, payload).await?;
    let acknowledgement = state.ingest.receive_with_token(token, received).await?;
    Ok(acknowledge(acknowledgement))
}

/// One of the guide's own paths: no token, so only from the provider's addresses.
///
/// # Errors
/// AUTH_1003 for a wrong source, AUTH_1002 for a wrong checksum, PAYLOAD_1001; the database's.
pub async fn without_token(
    state: Data<State>,
    request: HttpRequest,
    kind: CallbackKind,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let is_allowed = state
        .proxies
        .source(&request)
        .is_some_and(|source| contains(&state.callback_allowed_ips, source));
    if !is_allowed {
        refused("source", IngestError::UnknownToken);
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "Callbacks are not accepted from this address",
        ));
    }
    let received = received(&state, &request, kind, None, payload).await?;
    let acknowledgement = state.ingest.receive_without_token(received).await?;
    Ok(acknowledge(acknowledgement))
}

async fn received(
    state: &State,
    request: &HttpRequest,
    kind: CallbackKind,
    transaction_id: Option<TransactionId>,
    payload: Payload,
) -> Result<Received, ApiError> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Received {
        kind,
        transaction_id,
        body: body(payload).await?,
        content_type: header(CONTENT_TYPE.as_str())
            .map(|text| text.chars().take(CONTENT_TYPE_MAX).collect()),
        signatures: SIGNATURE_HEADERS.into_iter().filter_map(header).collect(),
        source: state
            .proxies
            .source(request)
            .map(|source| source.to_string()),
    })
}

fn no_such_address() -> ApiError {
    ApiError::not_found("No such callback address")
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::UnknownToken => no_such_address(),
            IngestError::WrongChecksum => {
                Self::new(ErrorCode::KeyInvalid, "The checksum is missing or wrong")
            }
            IngestError::Store(error) => error.into(),
        }
    }
}

/// Safaricom's words: a number for results, texts for C2B validation.
fn acknowledge(acknowledgement: Acknowledgement) -> HttpResponse {
    HttpResponse::Ok().json(match acknowledgement {
        Acknowledgement::Accepted => json!({"ResultCode": 0, "ResultDesc": "Accepted"}),
        Acknowledgement::ValidationAccepted => {
            json!({"ResultCode": "0", "ResultDesc": "Accepted"})
        }
        Acknowledgement::ValidationRejected(code) => {
            json!({"ResultCode": code, "ResultDesc": "Rejected"})
        }
    })
}
