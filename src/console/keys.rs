//! A partner's API keys. A partner sees its own; making and revoking them is for operators: a key that leaked must not be
//! able to make itself a successor, or to lock its partner out.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::Console;
use super::form::{Complaint, Form};
use super::notice::Notice;
use super::page::{Frame, Section, page_with, redirect_with};
use super::text::Time;
use super::viewer::Viewer;
use super::webhooks::show_secret;
use crate::domain::clock::Instant;
use crate::domain::identity::KeyId;
use crate::domain::partner::{ApiKey, Scope};
use crate::http::{ApiError, State, new_key, quote};

/// Where the keys are listed.
const LIST: &str = "/console/keys";
/// The longest life a new key may be given, days; without one it ends by being revoked.
pub const LIFETIME_MAX_DAYS: i64 = 3_650;

#[derive(Template)]
#[template(path = "console/keys.html")]
struct KeysPage {
    frame: Frame,
    partner: String,
    keys: Vec<Line>,
    can_change: bool,
    scopes: Vec<(&'static str, &'static str, bool)>,
    days: String,
    problem: Option<String>,
    /// The field that is wrong.
    wrong: String,
}

/// A key in the list.
struct Line {
    id: String,
    prefix: String,
    scopes: Vec<&'static str>,
    created_at: Time,
    expires_at: Option<Time>,
    used: Option<(Time, String)>,
    tone: &'static str,
    state: &'static str,
    is_valid: bool,
    is_own: bool,
}

/// The keys.
pub async fn list(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    listed(&state, &viewer, &Form::default(), None).await
}

async fn listed(
    state: &State,
    viewer: &Viewer,
    form: &Form,
    error: Option<ApiError>,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.one_partner()?;
    let keys = state.store.list_keys(partner.id).await?;
    let used: HashMap<KeyId, Instant> = state
        .store
        .list_key_uses(partner.id)
        .await?
        .into_iter()
        .collect();
    let now = state.clock.now();
    let sent: Vec<&str> = form.all("scopes").collect();
    let complaint = Complaint::from(error);
    page_with(
        complaint.status,
        &KeysPage {
            frame: Frame::of(viewer, Section::Keys),
            partner: partner.name.clone(),
            keys: keys
                .iter()
                .rev()
                .map(|key| line(key, used.get(&key.id), now, viewer))
                .collect(),
            can_change: viewer.is_operator(),
            scopes: Scope::ALL
                .iter()
                .map(|scope| {
                    let is_chosen = if sent.is_empty() {
                        Scope::DEFAULT.contains(scope)
                    } else {
                        sent.contains(&scope.as_str())
                    };
                    (scope.as_str(), meaning(*scope), is_chosen)
                })
                .collect(),
            days: form.value("days").unwrap_or_default().trim().to_owned(),
            wrong: complaint.wrong,
            problem: complaint.problem,
        },
    )
}

fn meaning(scope: Scope) -> &'static str {
    match scope {
        Scope::StatusRead => "read statuses",
        Scope::PaymentsWrite => "register and start payments",
        Scope::WebhooksWrite => "manage webhook endpoints",
        Scope::MsisdnReveal => "see whole phone numbers here",
    }
}

fn line(key: &ApiKey, used: Option<&Instant>, now: Instant, viewer: &Viewer) -> Line {
    let (tone, state) = match (key.revoked_at.is_some(), key.is_valid(now)) {
        (true, _) => ("failed", "revoked"),
        (false, false) => ("failed", "expired"),
        (false, true) => ("success", "valid"),
    };
    Line {
        id: key.id.to_string(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
        created_at: Time(key.created_at),
        expires_at: key.expires_at.map(Time),
        used: used.map(|at| (Time(*at), Time(*at).age(now))),
        tone,
        state,
        is_valid: state == "valid",
        is_own: viewer.holds(key.id),
    }
}

/// Makes a key; it is shown this once.
pub async fn create(
    state: Data<State>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require_operator()?;
    let partner = viewer.one_partner()?;
    let (scopes, days) = match wanted(&form) {
        Ok(wanted) => wanted,
        Err(error) => return listed(&state, &viewer, &form, Some(error)).await,
    };
    let now = state.clock.now();
    let expires_at = days.map(|days| now + chrono::Duration::days(days));
    let (key, secret) = new_key(partner.id, scopes, expires_at, now).map_err(|error| ApiError {
        cause: Some(error.to_string().into()),
        ..ApiError::server()
    })?;
    let names: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let audit = viewer
        .audit("key.create", partner.id, key.id)
        .with(names.join(" "));
    state.store.insert_key(key, audit).await?;
    show_secret(
        Frame::of(&viewer, Section::Keys),
        ("Key created", format!("An API key of {}", partner.name)),
        (
            secret,
            "Copy the key now: it is shown this once. Revoke the one it replaces when nobody uses that any more."
                .to_owned(),
        ),
        (LIST, "On to the keys"),
    )
}

fn wanted(form: &Form) -> Result<(Vec<Scope>, Option<i64>), ApiError> {
    let mut scopes = Vec::new();
    for sent in form.all("scopes") {
        let scope: Scope = sent
            .parse()
            .map_err(|error| ApiError::field("scopes", format!("has {}; {error}", quote(sent))))?;
        scopes.push(scope);
    }
    if scopes.is_empty() {
        return Err(ApiError::field("scopes", "is required: at least one"));
    }
    scopes.sort_unstable();
    scopes.dedup();
    let days = match form.text("days")? {
        None => None,
        Some(text) => {
            let days = text
                .parse()
                .ok()
                .filter(|days| (1..=LIFETIME_MAX_DAYS).contains(days));
            Some(days.ok_or_else(|| {
                let found = quote(text);
                ApiError::field(
                    "days",
                    format!("is {found}; accepted is a whole number from 1 to {LIFETIME_MAX_DAYS}"),
                )
            })?)
        }
    };
    Ok((scopes, days))
}

/// Makes a key of the partner stop working.
pub async fn revoke(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    viewer.require_operator()?;
    let partner = viewer.one_partner()?.id;
    let keys = state.store.list_keys(partner).await?;
    let key = keys
        .iter()
        .find(|key| key.id.to_string() == *path)
        .ok_or_else(|| ApiError::not_found("There is no such key"))?;
    let audit = viewer.audit("key.revoke", partner, key.id);
    let now = state.clock.now();
    state.store.revoke_key(key.id, now, audit).await?;
    let sentence = format!(
        "The key {}… is revoked: it stops working within 5 s.",
        key.prefix
    );
    Ok(redirect_with(&console, LIST, &Notice::done(sentence)))
}
