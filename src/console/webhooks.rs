//! A partner's webhook endpoints: how each stands, making, enabling, disabling and removing them, a new secret, a test.
//! A secret is on the page that its making answers with, and on no other.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::Console;
use super::form::{Complaint, Form};
use super::notice::Notice;
use super::page::{Frame, Section, page, page_with, redirect_with};
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::clock::Instant;
use crate::domain::delivery::{Endpoint, EndpointChange, FAILING_PATIENCE, ROTATION_OVERLAP};
use crate::domain::identity::{EndpointId, PartnerId};
use crate::domain::oversight::EndpointBacklog;
use crate::domain::partner::Scope;
use crate::domain::timeline::EVENT_TYPES;
use crate::http::{ApiError, State, quote};
use crate::webhooks::breaker::LONGEST_PAUSE;
use crate::webhooks::endpoints::{NewEndpoint, Shown};

/// Where the endpoints are listed.
pub const LIST: &str = "/console/webhooks";
/// A delivery that is due for longer than this waits too long, seconds.
const BEHIND_SECONDS: i64 = 60;

#[derive(Template)]
#[template(path = "console/webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    partner: String,
    endpoints: Vec<Line>,
    events: Vec<(&'static str, bool)>,
    url: String,
    description: String,
    wants_public_key: bool,
    problem: Option<String>,
    /// The field that is wrong.
    wrong: String,
}

#[derive(Template)]
#[template(path = "console/secret.html")]
struct SecretPage {
    frame: Frame,
    title: &'static str,
    what: String,
    /// Shown this once.
    secret: Option<String>,
    public_key: Option<String>,
    hint: String,
    next: String,
    next_name: &'static str,
}

/// An endpoint in the list.
struct Line {
    path: String,
    url: String,
    description: Option<String>,
    health: Health,
    pending: String,
    dead: String,
    has_dead: bool,
}

/// How an endpoint stands.
pub struct Health {
    /// How that looks.
    pub tone: &'static str,
    /// In a word.
    pub word: &'static str,
    /// Since when.
    pub since: Option<Time>,
    /// What follows from it.
    pub sentence: String,
}

/// How an endpoint stands, by what is kept of it.
pub fn health(endpoint: &Endpoint, backlog: Option<&EndpointBacklog>, now: Instant) -> Health {
    let due = backlog.and_then(|backlog| backlog.oldest_due_at);
    if let Some(at) = endpoint.disabled_at {
        return Health {
            tone: "failed",
            word: "disabled",
            since: Some(Time(at)),
            sentence: "It is told nothing. What it missed can be sent again once it is enabled."
                .to_owned(),
        };
    }
    if let Some(at) = endpoint.failing_since {
        let last = backlog.and_then(|backlog| backlog.last_failure.as_ref());
        return Health {
            tone: "failed",
            word: "failing",
            since: Some(Time(at)),
            sentence: format!(
                "No attempt succeeded since. It is tried one at a time with growing pauses, and disabled after {} days.{}{}",
                FAILING_PATIENCE.num_days(),
                last.map_or_else(String::new, |(at, how)| format!(
                    " Last failure {}: {how}.",
                    Time(*at)
                )),
                due.map_or_else(String::new, |due| next_try(
                    due,
                    last.map(|(at, _)| *at),
                    now
                )),
            ),
        };
    }
    match due {
        Some(at) if (now - at).num_seconds() > BEHIND_SECONDS => Health {
            tone: "",
            word: "behind",
            since: Some(Time(at)),
            sentence:
                "Deliveries wait longer than they should: it is slow, or its own limits are low."
                    .to_owned(),
        },
        _ => Health {
            tone: "success",
            word: "healthy",
            since: None,
            sentence: "Its last attempt succeeded, or it has had none yet.".to_owned(),
        },
    }
}

/// When a failing endpoint is tried again. Each instance of the service leaves it alone by what it saw itself, but none for
/// longer than the longest pause after the last failure that any of them saw.
fn next_try(due: Instant, last_failure_at: Option<Instant>, now: Instant) -> String {
    if due > now {
        return format!(" The next try is due {}.", Time(due));
    }
    let due_at = Time(due);
    match last_failure_at.map(|at| at + LONGEST_PAUSE) {
        Some(end) if end > now => format!(
            " A try is due since {due_at}; it is paused after its failures, until {} at the latest.",
            Time(end)
        ),
        Some(_) => format!(
            " A try is due since {due_at}, and no pause lasts so long: nobody delivers, or all are busy."
        ),
        // It failed before failures were written down.
        None => format!(" A try is due since {due_at}."),
    }
}

/// The endpoints, and a form for another one.
pub async fn list(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::WebhooksWrite)?;
    listed(&state, &viewer, &Form::default(), None).await
}

async fn listed(
    state: &State,
    viewer: &Viewer,
    form: &Form,
    error: Option<ApiError>,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.one_partner()?;
    let endpoints = state.store.list_endpoints(partner.id).await?;
    let backlogs: HashMap<EndpointId, EndpointBacklog> = state
        .store
        .list_endpoint_backlogs(partner.id)
        .await?
        .into_iter()
        .map(|backlog| (backlog.endpoint_id, backlog))
        .collect();
    let now = state.clock.now();
    let value = |name: &str| form.value(name).unwrap_or_default().trim().to_owned();
    let complaint = Complaint::from(error);
    page_with(
        complaint.status,
        &WebhooksPage {
            frame: Frame::of(viewer, Section::Webhooks),
            partner: partner.name.clone(),
            endpoints: endpoints
                .iter()
                .map(|endpoint| line(endpoint, backlogs.get(&endpoint.id), now))
                .collect(),
            events: EVENT_TYPES
                .iter()
                .map(|name| (*name, form.all("events").any(|sent| sent == *name)))
                .collect(),
            url: value("url"),
            description: value("description"),
            wants_public_key: form.value("signature") == Some("v1a"),
            wrong: complaint.wrong,
            problem: complaint.problem,
        },
    )
}

fn line(endpoint: &Endpoint, backlog: Option<&EndpointBacklog>, now: Instant) -> Line {
    let (pending, dead) = backlog.map_or((0, 0), |backlog| (backlog.pending, backlog.dead));
    Line {
        path: path(endpoint.id),
        url: endpoint.url.clone(),
        description: endpoint.description.clone(),
        health: health(endpoint, backlog, now),
        pending: text::count(pending),
        dead: text::count(dead),
        has_dead: dead > 0,
    }
}

/// Where an endpoint is looked after.
pub fn path(id: EndpointId) -> String {
    format!("{LIST}/{id}")
}

/// The partner for whom it is done, and the endpoint the path names, which is the partner's own.
///
/// # Errors
/// AUTH_1003 without the scope, CONFLICT_1001 if no partner is chosen, NOT_FOUND_1001; the database's.
pub async fn find(
    state: &State,
    viewer: &Viewer,
    id: &str,
) -> Result<(PartnerId, Endpoint), ApiError> {
    viewer.require(Scope::WebhooksWrite)?;
    let partner = viewer.one_partner()?.id;
    let id = id
        .parse()
        .map_err(|_| ApiError::not_found("There is no such webhook endpoint"))?;
    let endpoint = state.endpoints.find(Some(partner), id).await?;
    Ok((partner, endpoint))
}

/// Makes an endpoint; its secret is shown this once.
pub async fn create(
    state: Data<State>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::WebhooksWrite)?;
    let partner = viewer.one_partner()?.id;
    let made = async {
        let new = new_endpoint(&form)?;
        let actor = viewer.actor();
        Ok::<_, ApiError>(state.endpoints.create(partner, new, &actor).await?)
    };
    match made.await {
        Ok(made) => secret_page(&viewer, "Endpoint created", made),
        Err(error) if error.code.status().is_client_error() => {
            listed(&state, &viewer, &form, Some(error)).await
        }
        Err(error) => Err(error),
    }
}

fn new_endpoint(form: &Form) -> Result<NewEndpoint, ApiError> {
    let mut events: Vec<String> = Vec::new();
    for sent in form.all("events") {
        if !EVENT_TYPES.contains(&sent) {
            return Err(ApiError::field(
                "events",
                format!(
                    "has {}; accepted are {}",
                    quote(sent),
                    EVENT_TYPES.join(", ")
                ),
            ));
        }
        if !events.iter().any(|known| known == sent) {
            events.push(sent.to_owned());
        }
    }
    let signature = match form.text("signature")? {
        None => Ok(crate::domain::delivery::SignatureScheme::default()),
        Some(text) => text.parse().map_err(|_| {
            let found = quote(text);
            ApiError::field("signature", format!("is {found}; accepted are v1, v1a"))
        }),
    }?;
    Ok(NewEndpoint {
        // Judged by the address guard, which has a limit of its own.
        url: form
            .value("url")
            .map(|url| url.trim().to_owned())
            .ok_or_else(|| ApiError::field("url", "is required"))?,
        events,
        description: form.text("description")?.map(str::to_owned),
        signature,
        ..NewEndpoint::default()
    })
}

fn secret_page(
    viewer: &Viewer,
    title: &'static str,
    (endpoint, secret): Shown,
) -> Result<HttpResponse, ApiError> {
    let before = endpoint.previous_secret.as_ref().map_or_else(
        String::new,
        |_| {
            format!(
                " The one before signs too for {} hours, so that nothing is lost while you change it.",
                ROTATION_OVERLAP.num_hours()
            )
        },
    );
    page(&SecretPage {
        frame: Frame::of(viewer, Section::Webhooks),
        title,
        what: endpoint.url.clone(),
        hint: match secret {
            Some(_) => format!("Copy the secret now: it is shown this once.{before}"),
            None => format!(
                "The public key verifies its messages; it can be looked at any time.{before}"
            ),
        },
        secret: secret.map(|secret| secret.to_string()),
        public_key: endpoint.public_key.clone(),
        next: path(endpoint.id),
        next_name: "On to the endpoint",
    })
}

/// The secret page of something else that has one.
///
/// # Errors
/// SERVER_1001 if it cannot be written.
pub fn show_secret(
    frame: Frame,
    (title, what): (&'static str, String),
    (secret, hint): (String, String),
    (next, next_name): (&str, &'static str),
) -> Result<HttpResponse, ApiError> {
    page(&SecretPage {
        frame,
        title,
        what,
        secret: Some(secret),
        public_key: None,
        hint,
        next: next.to_owned(),
        next_name,
    })
}

/// Enables or disables it.
pub async fn change(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let enabled = match form.required("state")? {
        "enabled" => true,
        "disabled" => false,
        other => {
            return Err(ApiError::field(
                "state",
                format!("is {}; accepted are enabled, disabled", quote(other)),
            ));
        }
    };
    let change = EndpointChange {
        enabled: Some(enabled),
        ..EndpointChange::default()
    };
    state
        .endpoints
        .update(partner, endpoint.id, change, &viewer.actor())
        .await?;
    let sentence = if enabled {
        "The endpoint is enabled."
    } else {
        "The endpoint is disabled: it is told nothing."
    };
    Ok(back(&console, endpoint.id, &Notice::done(sentence)))
}

/// To the endpoint's page, with a sentence.
pub fn back(console: &Console, id: EndpointId, notice: &Notice) -> HttpResponse {
    redirect_with(console, &path(id), notice)
}

/// Removes it.
pub async fn remove(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let audit = viewer.audit("webhook.remove", partner, endpoint.id);
    let now = state.clock.now();
    state.store.remove_endpoint(endpoint.id, now, audit).await?;
    let notice = Notice::done("The endpoint is removed.");
    Ok(redirect_with(&console, LIST, &notice))
}

/// A new secret, shown this once.
pub async fn rotate(
    state: Data<State>,
    viewer: Viewer,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let rotated = state
        .endpoints
        .rotate_secret(partner, endpoint.id, &viewer.actor())
        .await?;
    secret_page(&viewer, "Secret rotated", rotated)
}

/// Sends a test event and says what came of it.
pub async fn send_test(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (partner, endpoint) = find(&state, &viewer, &path).await?;
    let sent = state
        .endpoints
        .send_test(partner, endpoint.id, &viewer.actor())
        .await?
        .result;
    let took = sent.duration.as_millis();
    let notice = match (sent.status, sent.error) {
        (Some(status @ 200..=299), _) => Notice::done(format!(
            "The test event was delivered: {status}, in {took} ms."
        )),
        (Some(status), _) => Notice::problem(format!(
            "The test event was not accepted: {status}, in {took} ms."
        )),
        (None, error) => Notice::problem(format!(
            "The test event did not arrive: {}.",
            error.unwrap_or_else(|| "no answer".to_owned())
        )),
    };
    Ok(back(&console, endpoint.id, &notice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_endpoint_is_paused_no_longer_than_the_longest_pause_after_its_last_failure() {
        let now: Instant = "2026-03-14T10:10:00Z".parse().unwrap();
        let minutes = chrono::Duration::minutes;
        for (due, last, words) in [
            (now + minutes(1), Some(now), "is due 14 Mar 10:11:00."),
            (
                now - minutes(1),
                Some(now - minutes(4)),
                "due since 14 Mar 10:09:00; it is paused after its failures, until 14 Mar 10:11:00 at the latest.",
            ),
            (now - minutes(1), Some(now - minutes(5)), "nobody delivers"),
            (now, None, " A try is due since 14 Mar 10:10:00."),
        ] {
            let told = next_try(due, last, now);
            assert!(told.contains(words), "{told}");
        }
    }
}
