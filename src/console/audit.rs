//! The audit log: who changed what, when, and from where. A partner sees the lines of its own things, with the addresses
//! of its own keys only.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;

use super::page::{Frame, Section, page_with};
use super::rows;
use super::text::Time;
use super::transactions::Filters;
use super::viewer::Viewer;
use crate::domain::identity::AuditId;
use crate::domain::oversight::{AuditFilter, AuditRecord};
use crate::domain::partner::{Partner, Scope};
use crate::http::{ApiError, Query, State};

/// Where it is.
const LIST: &str = "/console/audit";
/// Lines of a page.
pub const PAGE: i64 = 50;
/// What it can be filtered by, and the place of a page.
const FILTERS: [&str; 6] = ["actor", "action", "subject", "from", "to", "cursor"];

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    filters: Filters,
    problem: Option<String>,
    has_partners: bool,
    lines: Vec<Line>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

/// A line of the log.
struct Line {
    at: Time,
    actor: String,
    action: String,
    partner: Option<String>,
    subject: String,
    source: String,
    detail: String,
}

/// The log, the newest first.
pub async fn list(
    state: Data<State>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let filters = Filters::parse(request.query_string());
    let (filter, before) = match read(&filters, &viewer) {
        Ok(read) => read,
        Err(error) => {
            let problem = Some(error.text);
            return answer(
                &viewer,
                StatusCode::BAD_REQUEST,
                filters,
                problem,
                None,
                &[],
            );
        }
    };
    let found = state.store.list_audit(filter, before, PAGE + 1).await?;
    let partners = rows::partners(state.store.as_ref(), &viewer).await?;
    answer(&viewer, StatusCode::OK, filters, None, partners, &found)
}

fn answer(
    viewer: &Viewer,
    status: StatusCode,
    filters: Filters,
    problem: Option<String>,
    partners: Option<Vec<Partner>>,
    found: &[AuditRecord],
) -> Result<HttpResponse, ApiError> {
    let size = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let shown = found.get(..size).unwrap_or(found);
    let query = filters.query();
    let next = shown
        .last()
        .filter(|_| found.len() > shown.len())
        .map(|last| match query.as_str() {
            "" => format!("{LIST}?cursor={}", last.id),
            query => format!("{LIST}?{query}&cursor={}", last.id),
        });
    page_with(
        status,
        &AuditPage {
            frame: Frame::of(viewer, Section::Audit),
            has_partners: partners.is_some(),
            lines: shown
                .iter()
                .map(|record| line(record, partners.as_deref(), viewer))
                .collect(),
            is_first: filters.value("cursor").is_empty(),
            first: format!("{LIST}?{query}"),
            next,
            problem,
            filters,
        },
    )
}

fn read(filters: &Filters, viewer: &Viewer) -> Result<(AuditFilter, Option<AuditId>), ApiError> {
    let query = Query::parse(&filters.whole(), &FILTERS)?;
    let text = |name: &str| query.value(name).map(str::to_owned);
    let filter = AuditFilter {
        partner: viewer.partner().map(|partner| partner.id),
        actor: text("actor"),
        action: text("action"),
        subject: text("subject"),
        from: query.instant("from")?,
        to: query.instant("to")?,
    };
    let before = query.parsed("cursor", "the link to an older page", |text| {
        text.parse().ok()
    })?;
    Ok((filter, before))
}

fn line(record: &AuditRecord, partners: Option<&[Partner]>, viewer: &Viewer) -> Line {
    let partner = partners.map(|partners| {
        partners
            .iter()
            .find(|partner| Some(partner.id) == record.partner_id)
            .map_or_else(|| "–".to_owned(), |partner| partner.name.clone())
    });
    // Where an operator sat is no partner's business.
    let may_see_source = viewer.is_operator() || record.actor.starts_with("key:");
    Line {
        at: Time(record.at),
        actor: record.actor.clone(),
        action: record.action.clone(),
        partner,
        subject: record.subject.clone(),
        source: record
            .source
            .clone()
            .filter(|_| may_see_source)
            .unwrap_or_default(),
        detail: record.detail.clone().unwrap_or_default(),
    }
}
