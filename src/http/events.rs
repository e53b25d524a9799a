//! `GET /api/ussd/events`: the partner's status events in commit order, for whoever missed its webhooks.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::State;
use super::authentication::AuthenticatedPartner;
use super::error::ApiError;
use super::request::Query;
use super::wait;
use crate::domain::watch::WatchKey;
use crate::feed::Look;
use crate::store::EventPage;
use crate::webhooks::body::EventBody;

/// Events of one answer unless told otherwise.
const DEFAULT_LIMIT: i64 = 50;
/// Events of one answer at most.
const MAX_LIMIT: i64 = 100;

const PARAMETERS: [&str; 3] = ["after", "limit", wait::PARAMETER];

#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    events: Vec<EventBody<'a>>,
    next_after: i64,
    oldest: Option<i64>,
}

/// The handler. With `wait` it answers as soon as there is an event.
///
/// # Errors
/// VALIDATION_1002 for a parameter; the database's.
pub async fn list(
    state: Data<State>,
    partner: AuthenticatedPartner,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let after = query.whole_number("after", 0..=i64::MAX)?.unwrap_or(0);
    let limit = query.whole_number("limit", 1..=MAX_LIMIT)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let wait = wait::time(&query, &request)?;
    let partner = partner.partner.id;
    let look = async || {
        let page = state.store.list_events(partner, after, limit).await?;
        // That events are missing is news too.
        Ok::<_, ApiError>(if page.events.is_empty() && page.oldest.is_none() {
            Look::NotYet(page, vec![WatchKey::partner(partner)])
        } else {
            Look::Enough(page)
        })
    };
    let page = state.feed.look_until(partner, wait, look).await?;
    let mut response = HttpResponse::Ok();
    if let Some(applied) = wait::applied(&query, &request) {
        response.insert_header(applied);
    }
    Ok(response.json(Answer {
        success: true,
        events: page.events.iter().map(EventBody::from).collect(),
        next_after: next_after(&page, after),
        oldest: page.oldest,
    }))
}

/// Where to read on. Past a gap with nothing behind it too: it has been told.
pub fn next_after(page: &EventPage, after: i64) -> i64 {
    match (page.events.last(), page.oldest) {
        (Some(last), _) => last.sequence,
        (None, Some(oldest)) => oldest - 1,
        (None, None) => after,
    }
}
