//! `webhook update`, `enable`, `disable`, `rotate-secret`, `test`.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::output::JsonArguments;
use super::{CliError, Desk, Output, vault};
use crate::domain::delivery::{
    ENDPOINT_CONCURRENCY_MAX, ENDPOINT_RATE_MAX, Endpoint, EndpointChange, Pace, SignatureScheme,
};
use crate::domain::identity::EndpointId;
use crate::domain::timeline::EVENT_TYPES;
use crate::settings::{Settings, Sources};
use crate::webhooks::endpoints::{Actor, EndpointError, Endpoints};
use crate::webhooks::sender::{Sender, SenderError};

/// What `webhook update` takes.
#[derive(Debug, Args)]
pub struct UpdateArguments {
    /// The endpoint
    id: EndpointId,
    /// An https URL (http and private addresses with WEBHOOK_ALLOW_PRIVATE)
    #[arg(long)]
    url: Option<String>,
    /// Only these event types from now on
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
    /// All event types from now on
    #[arg(long, conflicts_with = "events")]
    all_events: bool,
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// Requests at the same time, 1 to 64
    #[arg(long)]
    concurrency: Option<u32>,
    /// Deliveries a second at most, 1 to 1000; 0 lifts the limit
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<u32>,
    /// How webhooks are signed from now on: v1 (a secret) or v1a (a public key); the key before signs too for 24 hours
    #[arg(long)]
    signature: Option<SignatureScheme>,
    #[command(flatten)]
    output: JsonArguments,
}

impl From<EndpointError> for CliError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Url(error) => Self::Usage(format!("--url: {error}")),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<SenderError> for CliError {
    fn from(error: SenderError) -> Self {
        match error {
            SenderError::Authorities(error) => Self::Usage(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// The desk, and what works on endpoints.
///
/// # Errors
/// If a setting is missing or wrong, or the database cannot be opened.
pub async fn endpoints(sources: &Sources) -> Result<(Desk, Endpoints), CliError> {
    let settings = Settings::read(sources)?;
    let vault = Arc::new(vault(&settings)?);
    let allow_private = settings.webhook_allow_private;
    let sender = Sender::from_settings(&settings)?;
    let desk = Desk::open(sources).await?;
    let (store, clock) = (Arc::clone(&desk.store), Arc::clone(&desk.clock));
    let endpoints = Endpoints::new(store, vault, clock, sender, allow_private);
    Ok((desk, endpoints))
}

/// What an endpoint's receiver verifies with: the secret, this once, or the public key.
pub fn show_key(
    endpoint: &Endpoint,
    secret: Option<&str>,
    object: &mut Value,
    lines: &mut Vec<String>,
) {
    let mut say = |name: &str, words: &str, key: &str| {
        lines.push(format!("{words} {key}"));
        if let Some(fields) = object.as_object_mut() {
            fields.insert(name.to_owned(), json!(key));
        }
    };
    if let Some(public) = &endpoint.public_key {
        say("public_key", "public key", public);
    }
    if let Some(secret) = secret {
        say("secret", "secret", secret);
        lines.push("The secret is shown this once.".to_owned());
    }
}

/// Who does it, for the audit log.
pub fn actor() -> Actor {
    Actor::new("cli")
}

/// The event types, if all are known and none is repeated.
///
/// # Errors
/// With what was sent and what is accepted.
pub fn known_events(events: Vec<String>) -> Result<Vec<String>, CliError> {
    for (index, event) in events.iter().enumerate() {
        if !EVENT_TYPES.contains(&event.as_str()) {
            return Err(CliError::Usage(format!(
                "--event: {event:?} is not an event type; accepted are {}",
                EVENT_TYPES.join(", ")
            )));
        }
        if events.iter().take(index).any(|earlier| earlier == event) {
            return Err(CliError::Usage(format!(
                "--event: {event} was given more than once"
            )));
        }
    }
    Ok(events)
}

/// How fast, from what was told.
///
/// # Errors
/// With what was sent and what is accepted.
pub fn pace(concurrency: Option<u32>, rate: Option<u32>) -> Result<Pace, CliError> {
    let usual = Pace::default();
    Ok(Pace {
        concurrency: known_concurrency(concurrency)?.unwrap_or(usual.concurrency),
        rate_per_second: known_rate(rate)?.flatten(),
    })
}

fn known_concurrency(concurrency: Option<u32>) -> Result<Option<u32>, CliError> {
    match concurrency {
        Some(sent) if !(1..=ENDPOINT_CONCURRENCY_MAX).contains(&sent) => Err(CliError::Usage(
            format!("--concurrency: {sent} was given; accepted is 1 to {ENDPOINT_CONCURRENCY_MAX}"),
        )),
        known => Ok(known),
    }
}

fn known_rate(rate: Option<u32>) -> Result<Option<Option<u32>>, CliError> {
    match rate {
        Some(sent) if sent > ENDPOINT_RATE_MAX => Err(CliError::Usage(format!(
            "--rate: {sent} was given; accepted is 1 to {ENDPOINT_RATE_MAX}, and 0 for no limit"
        ))),
        known => Ok(known.map(|rate| (rate > 0).then_some(rate))),
    }
}

pub async fn update(sources: &Sources, arguments: UpdateArguments) -> Result<(), CliError> {
    let events = known_events(arguments.events)?;
    let change = EndpointChange {
        url: arguments.url,
        events: (arguments.all_events || !events.is_empty()).then_some(events),
        description: arguments.description,
        enabled: None,
        concurrency: known_concurrency(arguments.concurrency)?,
        rate_per_second: known_rate(arguments.rate)?,
        signature: arguments.signature,
        key: None,
    };
    if change == EndpointChange::default() {
        return Err(CliError::Usage(
            "nothing to change was given; accepted are --url, --event, --all-events, --description, --concurrency, --rate, --signature"
                .to_owned(),
        ));
    }
    changed(sources, arguments.id, change, &arguments.output, "updated").await
}

pub async fn set_enabled(
    sources: &Sources,
    id: EndpointId,
    enabled: bool,
    output: JsonArguments,
) -> Result<(), CliError> {
    let change = EndpointChange {
        enabled: Some(enabled),
        ..EndpointChange::default()
    };
    let word = if enabled { "enabled" } else { "disabled" };
    changed(sources, id, change, &output, word).await
}

async fn changed(
    sources: &Sources,
    id: EndpointId,
    change: EndpointChange,
    output: &JsonArguments,
    word: &str,
) -> Result<(), CliError> {
    let (_, endpoints) = endpoints(sources).await?;
    let known = found(&endpoints, id).await?;
    let is_rotation = change
        .signature
        .is_some_and(|signature| signature != known.signature());
    let (endpoint, secret) = endpoints
        .update(known.partner_id, id, change, &actor())
        .await?;
    let mut object = json!({"id": id.to_string(), "done": true});
    let mut lines = vec![format!("endpoint {id} {word}")];
    if is_rotation {
        show_key(
            &endpoint,
            secret.as_ref().map(|secret| secret.as_str()),
            &mut object,
            &mut lines,
        );
    }
    Output::answer(output.json, &object, &lines);
    Ok(())
}

pub async fn rotate_secret(
    sources: &Sources,
    id: EndpointId,
    output: JsonArguments,
) -> Result<(), CliError> {
    let (_, endpoints) = endpoints(sources).await?;
    let known = found(&endpoints, id).await?;
    let (endpoint, secret) = endpoints
        .rotate_secret(known.partner_id, id, &actor())
        .await?;
    let until = endpoint
        .previous_secret
        .as_ref()
        .map(|previous| super::timestamp(previous.until));
    let mut object = json!({"id": id.to_string(), "previous_secret_until": until});
    let mut lines = Vec::new();
    show_key(
        &endpoint,
        secret.as_ref().map(|secret| secret.as_str()),
        &mut object,
        &mut lines,
    );
    lines.push(format!(
        "The one before signs too until {}.",
        until.as_deref().unwrap_or_default()
    ));
    Output::answer(output.json, &object, &lines);
    Ok(())
}

pub async fn send_test(
    sources: &Sources,
    id: EndpointId,
    output: JsonArguments,
) -> Result<(), CliError> {
    let (_, endpoints) = endpoints(sources).await?;
    let known = found(&endpoints, id).await?;
    let sent = endpoints.send_test(known.partner_id, id, &actor()).await?;
    let result = &sent.result;
    let is_delivered = matches!(result.status, Some(200..=299));
    let milliseconds = u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX);
    let outcome = match (result.status, &result.error) {
        (Some(status), _) => format!("answered {status} after {milliseconds} ms"),
        (None, Some(error)) => error.clone(),
        (None, None) => "no answer".to_owned(),
    };
    Output::answer(
        output.json,
        &json!({
            "id": id.to_string(),
            "webhook_id": sent.message_id,
            "delivered": is_delivered,
            "status": result.status,
            "duration_ms": milliseconds,
            "response": result.response,
            "error": result.error,
        }),
        &[outcome],
    );
    if is_delivered {
        Ok(())
    } else {
        Err(CliError::Failed("the test event was not taken".to_owned()))
    }
}

async fn found(endpoints: &Endpoints, id: EndpointId) -> Result<Endpoint, CliError> {
    match endpoints.find(None, id).await {
        Err(EndpointError::Unknown) => Err(no_endpoint(id)),
        found => Ok(found?),
    }
}

/// There is no such endpoint.
pub fn no_endpoint(id: EndpointId) -> CliError {
    CliError::Failed(format!("there is no endpoint {id}"))
}
