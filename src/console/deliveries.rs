//! An endpoint's page: what it is, its deliveries with every attempt, and sending again: one, the dead ones, or a range,
//! which can be counted first.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::Console;
use super::form::Form;
use super::notice::Notice;
use super::page::{Frame, Section, page};
use super::story::{Attempt, attempts, state_name};
use super::text::{self, Time};
use super::viewer::Viewer;
use super::webhooks::{self, Health, back, find};
use crate::domain::clock::Instant;
use crate::domain::delivery::Endpoint;
use crate::domain::delivery_record::{
    DELIVERIES_DEFAULT_LIMIT, DeliveryPage, DeliveryRecord, DeliveryState, OneReplayed, REPLAY_MAX,
    RangeReplayed, ReplayRange,
};
use crate::domain::identity::DeliveryId;
use crate::http::{ApiError, ErrorCode, Query, State, quote};
use crate::webhooks::endpoints::previous_until;

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct EndpointPage {
    frame: Frame,
    path: String,
    url: String,
    description: Option<String>,
    events: Vec<String>,
    health: Health,
    is_enabled: bool,
    signature: &'static str,
    public_key: Option<String>,
    previous_until: Option<Time>,
    concurrency: u32,
    rate: Option<u32>,
    created_at: Time,
    pending: String,
    dead: i64,
    states: Vec<(String, &'static str, bool)>,
    deliveries: Vec<Delivery>,
    is_first: bool,
    first: String,
    next: Option<String>,
}

/// A delivery in the list.
struct Delivery {
    path: String,
    event: String,
    state: &'static str,
    tone: &'static str,
    story: Option<String>,
    created_at: Time,
    due: Option<Time>,
    replayed_at: Option<Time>,
    attempts: Vec<Attempt>,
}

/// The page.
pub async fn show(
    state: Data<State>,
    viewer: Viewer,
    path: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let query = Query::parse(request.query_string(), &["state", "cursor"])?;
    let wanted: Option<DeliveryState> =
        query.parsed("state", "pending, delivered or dead", |text| {
            text.parse().ok()
        })?;
    let before = query.parsed("cursor", "the link to an older page", |text| {
        text.parse::<i64>().ok()
    })?;
    let deliveries = state
        .store
        .list_deliveries(
            partner,
            endpoint.id,
            DeliveryPage {
                state: wanted,
                before,
                limit: DELIVERIES_DEFAULT_LIMIT,
            },
        )
        .await?;
    let backlogs = state.store.list_endpoint_backlogs(partner).await?;
    let backlog = backlogs
        .iter()
        .find(|backlog| backlog.endpoint_id == endpoint.id);
    let now = state.clock.now();
    let own = webhooks::path(endpoint.id);
    let link = |wanted, cursor| address(&own, wanted, cursor);
    let is_full =
        i64::try_from(deliveries.len()).is_ok_and(|count| count == DELIVERIES_DEFAULT_LIMIT);
    let next = deliveries
        .last()
        .filter(|_| is_full)
        .map(|last| link(wanted, Some(last.sequence)));
    page(&EndpointPage {
        frame: Frame::of(&viewer, Section::Webhooks),
        url: endpoint.url.clone(),
        description: endpoint.description.clone(),
        events: endpoint.events.clone(),
        health: webhooks::health(&endpoint, backlog, now),
        is_enabled: endpoint.disabled_at.is_none(),
        signature: endpoint.signature().as_str(),
        public_key: endpoint.public_key.clone(),
        previous_until: previous_until(&endpoint, now).map(Time),
        concurrency: endpoint.pace.concurrency,
        rate: endpoint.pace.rate_per_second,
        created_at: Time(endpoint.created_at),
        pending: text::count(backlog.map_or(0, |backlog| backlog.pending)),
        dead: backlog.map_or(0, |backlog| backlog.dead),
        states: states(wanted, |state| link(state, None)),
        deliveries: deliveries
            .iter()
            .map(|record| delivery(record, &own, partner.to_string().as_str()))
            .collect(),
        is_first: before.is_none(),
        first: link(wanted, None),
        next,
        path: own.clone(),
    })
}

/// Where these deliveries are listed, from a place on.
fn address(own: &str, wanted: Option<DeliveryState>, cursor: Option<i64>) -> String {
    let state = wanted.map(|state| format!("state={state}"));
    let cursor = cursor.map(|cursor| format!("cursor={cursor}"));
    let parts: Vec<String> = state.into_iter().chain(cursor).collect();
    if parts.is_empty() {
        own.to_owned()
    } else {
        format!("{own}?{}", parts.join("&"))
    }
}

fn states(
    wanted: Option<DeliveryState>,
    link: impl Fn(Option<DeliveryState>) -> String,
) -> Vec<(String, &'static str, bool)> {
    [None]
        .into_iter()
        .chain(DeliveryState::ALL.map(Some))
        .map(|state| {
            let name = match state {
                None => "All",
                Some(DeliveryState::Pending) => "Pending",
                Some(DeliveryState::Delivered) => "Delivered",
                Some(DeliveryState::Dead) => "Dead letters",
            };
            (link(state), name, state == wanted)
        })
        .collect()
}

fn delivery(record: &DeliveryRecord, endpoint: &str, partner: &str) -> Delivery {
    let (state, tone) = state_name(record.state);
    let story = record
        .transaction_id
        .map(|id| format!("/console/transactions/{partner}/{id}"));
    Delivery {
        path: format!("{endpoint}/deliveries/{}/replay", record.id),
        event: record
            .event_type
            .clone()
            .unwrap_or_else(|| format!("event {}", record.sequence)),
        state,
        tone,
        story,
        created_at: Time(record.created_at),
        due: (record.state == DeliveryState::Pending).then_some(Time(record.due_at)),
        replayed_at: record.replayed_at.map(Time),
        attempts: attempts(record),
    }
}

/// One delivery again, whatever became of it.
pub async fn replay_one(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path.0).await?;
    let none =
        || ApiError::not_found("There is no such delivery, or its event is not kept any more");
    let id: DeliveryId = path.1.parse().map_err(|_| none())?;
    let known = state.store.find_delivery(partner, id).await?;
    if known.is_none_or(|known| known.endpoint_id != endpoint.id) {
        return Err(none());
    }
    let audit = viewer.audit("delivery.replay", partner, id);
    let now = state.clock.now();
    match state
        .store
        .requeue_delivery(partner, id, now, audit)
        .await?
    {
        OneReplayed::Unknown => Err(none()),
        OneReplayed::Disabled => Err(disabled()),
        OneReplayed::Done => Ok(back(
            &console,
            endpoint.id,
            &Notice::done("The delivery will be made again."),
        )),
    }
}

fn disabled() -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        "The webhook endpoint is disabled; enable it first",
    )
}

/// Events of a range again, or those that were given up; or how many that would be.
pub async fn replay_range(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let now = state.clock.now();
    let range = range(&form, &endpoint, now)?;
    let audit = viewer
        .audit("webhook.replay", partner, endpoint.id)
        .with(format!(
            "{} to {}{}",
            Time(range.since).iso(),
            Time(range.until).iso(),
            if range.only_failed {
                ", dead ones only"
            } else {
                ""
            }
        ));
    match state
        .store
        .requeue_range(partner, endpoint.id, range, now, audit)
        .await?
    {
        RangeReplayed::Unknown => Err(ApiError::not_found("There is no such webhook endpoint")),
        RangeReplayed::Disabled => Err(disabled()),
        RangeReplayed::Done { count, next_since } => {
            let sentence = sentence(count, range.dry_run, next_since);
            Ok(back(&console, endpoint.id, &Notice::done(sentence)))
        }
    }
}

fn sentence(count: i64, is_counted_only: bool, next_since: Option<Instant>) -> String {
    let events = match count {
        1 => "1 event".to_owned(),
        count => format!("{} events", text::count(count)),
    };
    let verb = match (is_counted_only, count) {
        (true, _) => "would be sent again",
        (false, 1) => "is sent again",
        (false, _) => "are sent again",
    };
    match next_since {
        None => format!("{events} {verb}."),
        Some(_) if is_counted_only => format!("{events} {verb}, and more."),
        Some(at) => format!(
            "{events} {verb}, {} at once at most. More follow: go on from {} UTC.",
            text::count(REPLAY_MAX),
            Time(at).exact()
        ),
    }
}

/// The range that a form names. The dead ones are those of all time.
fn range(form: &Form, endpoint: &Endpoint, now: Instant) -> Result<ReplayRange, ApiError> {
    let dry_run = form.is_ticked("dry_run");
    if form.is_ticked("dead") {
        return Ok(ReplayRange {
            since: endpoint.created_at,
            until: now,
            only_failed: true,
            dry_run,
        });
    }
    let since = instant(form, "since")?.ok_or_else(|| ApiError::field("since", "is required"))?;
    let until = instant(form, "until")?.unwrap_or(now);
    if until < since {
        return Err(ApiError::field("until", "is before since"));
    }
    Ok(ReplayRange {
        since,
        until,
        only_failed: form.is_ticked("only_failed"),
        dry_run,
    })
}

/// A time as a browser's field for it sends it, in UTC.
fn instant(form: &Form, name: &str) -> Result<Option<Instant>, ApiError> {
    let Some(text) = form.text(name)? else {
        return Ok(None);
    };
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M")
        .or_else(|_| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S"))
        .map(|at| Some(at.and_utc()))
        .map_err(|_| {
            let found = quote(text);
            ApiError::field(
                name,
                format!("is {found}; accepted is a time such as 2026-11-25T12:34"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_again_is_said_in_a_sentence() {
        let at: Instant = "2026-03-14T10:00:00Z".parse().unwrap();
        for (count, dry, next, told) in [
            (0, true, None, "0 events would be sent again."),
            (1, false, None, "1 event is sent again."),
            (
                1_200,
                true,
                Some(at),
                "1,200 events would be sent again, and more.",
            ),
            (
                1_000,
                false,
                Some(at),
                "1,000 events are sent again, 1,000 at once at most. More follow: go on from 14 Mar 2026 10:00:00.000 UTC.",
            ),
        ] {
            assert_eq!(sentence(count, dry, next), told);
        }
    }
}
