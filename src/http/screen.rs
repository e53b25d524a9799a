//! `GET /api/ussd/transaction-status/screen`: the newest match as one USSD screen, plain text that a menu passes on as it
//! is. Errors are JSON as everywhere: it is the menu's program that reads them, not the customer.

use actix_web::http::header::ContentType;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use super::authentication::AuthenticatedPartner;
use super::deadline::{Deadline, end_of_wait, in_time};
use super::error::ApiError;
use super::request::Query;
use super::status_search::{News, Until};
use super::{expand, status_search, wait};
use crate::domain::search::Filter;
use crate::providers::catalogue::{Language, screen};

const PARAMETERS: [&str; 10] = [
    "conversation_id",
    "client_request_id",
    "msisdn",
    "transaction_id",
    "status",
    "transaction_receipt",
    "from",
    "to",
    LANGUAGE,
    wait::PARAMETER,
];
const LANGUAGE: &str = "lang";

/// The handler.
///
/// # Errors
/// VALIDATION_1002 for a parameter, and without any filter: the newest payment of all is some other customer's. The
/// database's.
pub async fn show(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let filter = status_search::filter(&query)?;
    if filter == Filter::default() {
        return Err(ApiError::field(
            status_search::FILTERS.join(", "),
            "is required: at least one of them",
        ));
    }
    let language = query
        .parsed(LANGUAGE, "en or sw", |text| text.parse().ok())?
        .unwrap_or(Language::English);
    let wait = wait::time(&query, &request)?;
    let deadline = Deadline::of(&request)?;
    let partner = partner.partner.id;
    let news = News::new(&state, partner, request.query_string(), &filter);
    let show = async {
        if !wait.is_zero() {
            let end = end_of_wait(wait, deadline.as_ref());
            news.wait(end, Until::Settled).await?;
        }
        Ok(match &news.look().await? {
            Some(row) => {
                let line = expand::line(&state, partner, row, state.clock.now()).await?;
                screen::of_payment(&line, row.status.is_final(), language)
            }
            None => screen::of_nothing(language),
        })
    };
    let text = in_time(deadline.as_ref(), show).await?;
    let mut response = HttpResponse::Ok();
    if let Some(applied) = wait::applied(&query, &request) {
        response.insert_header(applied);
    }
    Ok(response.content_type(ContentType::plaintext()).body(text))
}
