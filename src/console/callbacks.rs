//! Callbacks that could not be understood when they came: what they are, masked, and reading them again once a newer
//! version understands them. What one says then takes effect through the ledger, once.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::Console;
use super::notice::Notice;
use super::page::{Frame, Section, page, redirect_with};
use super::rows;
use super::story::{self, Callback};
use super::text;
use super::viewer::Viewer;
use crate::domain::identity::CallbackId;
use crate::domain::inbox::InboxRecord;
use crate::domain::ledger::CallbackState;
use crate::domain::partner::{Partner, Scope};
use crate::http::{ApiError, Query, State};
use crate::store::StoreError;

/// Where they are listed.
const LIST: &str = "/console/callbacks";
/// Lines of a page, and callbacks that are read again at once.
pub const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "console/callbacks.html")]
struct CallbacksPage {
    frame: Frame,
    callbacks: Vec<Line>,
    can_read_again: bool,
    cursor: Option<String>,
    is_first: bool,
    next: Option<String>,
}

/// A callback in the list.
struct Line {
    path: String,
    provider: &'static str,
    partner: Option<String>,
    callback: Callback,
}

/// The callbacks of the partner, or of everybody and nobody.
pub async fn list(
    state: Data<State>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let query = Query::parse(request.query_string(), &["cursor"])?;
    let before: Option<CallbackId> =
        query.parsed("cursor", "the link to an older page", |text| {
            text.parse().ok()
        })?;
    let partner = viewer.partner().map(|partner| partner.id);
    let found = state
        .store
        .list_unreadable(partner, before, PAGE + 1)
        .await?;
    let partners = rows::partners(state.store.as_ref(), &viewer).await?;
    let size = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let shown = found.get(..size).unwrap_or(&found);
    let next = shown
        .last()
        .filter(|_| found.len() > shown.len())
        .map(|last| format!("{LIST}?cursor={}", last.id));
    page(&CallbacksPage {
        frame: Frame::of(&viewer, Section::Callbacks),
        callbacks: shown
            .iter()
            .map(|record| line(record, partners.as_deref()))
            .collect(),
        can_read_again: viewer.may(Scope::PaymentsWrite),
        cursor: before.map(|before| before.to_string()),
        is_first: before.is_none(),
        next,
    })
}

fn line(record: &InboxRecord, partners: Option<&[Partner]>) -> Line {
    let partner = partners.map(|partners| {
        partners
            .iter()
            .find(|partner| Some(partner.id) == record.partner_id)
            .map_or_else(|| "nobody’s".to_owned(), |partner| partner.name.clone())
    });
    Line {
        path: format!("{LIST}/{}/read-again", record.id),
        provider: text::provider(record.provider),
        partner,
        callback: story::callback(record, false),
    }
}

/// Reads one again.
pub async fn read_again(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let none = || ApiError::not_found("There is no such callback");
    let id: CallbackId = path.parse().map_err(|_| none())?;
    let partner = viewer.partner().map(|partner| partner.id);
    let kept = state.store.find_callback(partner, id).await?;
    let kept = kept.ok_or_else(none)?;
    let notice = match read(&state, &viewer, &kept).await? {
        Some(CallbackState::Unreadable) => {
            Notice::problem("It still cannot be understood. Nothing changed.")
        }
        Some(state) => Notice::done(format!("It was read: {}.", word(state))),
        None => Notice::problem("It was read before. Nothing changed."),
    };
    Ok(redirect_with(&console, LIST, &notice))
}

/// Reads a page of them again, the newest first.
pub async fn read_all_again(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    form: super::form::Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let before: Option<CallbackId> = form
        .text("cursor")?
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::field("cursor", "is not the place of a page"))
        })
        .transpose()?;
    let partner = viewer.partner().map(|partner| partner.id);
    let mut understood = 0;
    let mut others = 0;
    for kept in state.store.list_unreadable(partner, before, PAGE).await? {
        match read(&state, &viewer, &kept).await? {
            Some(CallbackState::Unreadable) | None => others += 1,
            Some(_) => understood += 1,
        }
    }
    let notice = Notice::done(format!(
        "{} understood now, {} still not.",
        text::count(understood),
        text::count(others)
    ));
    Ok(redirect_with(&console, LIST, &notice))
}

/// On record first; `None` if it was understood before.
async fn read(
    state: &State,
    viewer: &Viewer,
    kept: &InboxRecord,
) -> Result<Option<CallbackState>, StoreError> {
    if kept.state != CallbackState::Unreadable.as_str() {
        return Ok(None);
    }
    let audit = viewer.audit("callback.read_again", kept.partner_id, kept.id);
    state.store.record_audit(audit).await?;
    match state.ingest.read_again(kept).await {
        Ok(state) => Ok(Some(state)),
        Err(error) => {
            // Somebody else may have been first in the same moment.
            let now = state.store.find_callback(None, kept.id).await?;
            match now {
                Some(now) if now.state != kept.state => Ok(None),
                _ => Err(error),
            }
        }
    }
}

fn word(state: CallbackState) -> &'static str {
    match state {
        CallbackState::Applied => "it moved its transaction",
        CallbackState::Duplicate => "it said what was known already",
        CallbackState::Noted => "there was nothing to move",
        CallbackState::Waiting => "it waits until its id becomes known",
        CallbackState::Conflict => "it contradicts what stands, and nothing moved",
        CallbackState::Unmatched => "it is nobody’s, and nothing moved",
        CallbackState::Unreadable => "it cannot be understood",
    }
}
