//! `webhook create`, `list`, `remove`; `listen` and `check` have files of their own.

use chrono::SecondsFormat;
use clap::Subcommand;
use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Desk, Output, vault, webhook_check, webhook_listen};
use crate::domain::delivery::Endpoint;
use crate::domain::identity::{EndpointId, PartnerId};
use crate::domain::timeline::EVENT_TYPES;
use crate::settings::{Settings, Sources};
use crate::webhooks::address_guard;
use crate::webhooks::signature::Secret;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Tell a URL of every status change; the signing secret is shown this once
    Create {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        /// An https URL (http and private addresses with WEBHOOK_ALLOW_PRIVATE)
        #[arg(long)]
        url: String,
        /// Only these event types, such as transaction.success; all unless told
        #[arg(long = "event", value_name = "TYPE")]
        events: Vec<String>,
        /// For people
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// List a partner's endpoints
    List {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Relay a partner's live events to a local address, signed with a fresh secret that is printed first
    Listen(webhook_listen::ListenArguments),
    /// Send a receiver a valid, a tampered, an old, a repeated and an unknown event, and print how it did
    Check(webhook_check::CheckArguments),
    /// Remove an endpoint
    Remove {
        /// The endpoint
        id: EndpointId,
        #[command(flatten)]
        output: JsonArguments,
    },
}

pub async fn run(command: WebhookCommand, sources: &Sources) -> Result<(), CliError> {
    match command {
        WebhookCommand::Create {
            partner,
            url,
            events,
            description,
            output,
        } => create(sources, partner, url, events, description, output).await,
        WebhookCommand::List { partner, output } => {
            list(&Desk::open(sources).await?, partner, output).await
        }
        WebhookCommand::Listen(arguments) => webhook_listen::run(arguments, sources).await,
        WebhookCommand::Check(arguments) => webhook_check::run(arguments).await,
        WebhookCommand::Remove { id, output } => {
            remove(&Desk::open(sources).await?, id, output).await
        }
    }
}

async fn create(
    sources: &Sources,
    partner: PartnerId,
    url: String,
    events: Vec<String>,
    description: Option<String>,
    output: JsonArguments,
) -> Result<(), CliError> {
    if let Some(unknown) = events
        .iter()
        .find(|event| !EVENT_TYPES.contains(&event.as_str()))
    {
        return Err(CliError::Usage(format!(
            "--event: {unknown:?} is not an event type; accepted are {}",
            EVENT_TYPES.join(", ")
        )));
    }
    let settings = Settings::read(sources)?;
    let vault = vault(&settings)?;
    let allow_private = settings.webhook_allow_private;
    let wrong = |error: address_guard::UrlError| CliError::Usage(format!("--url: {error}"));
    let url = address_guard::check_url(&url, allow_private).map_err(wrong)?;
    address_guard::resolve_and_check(&url, allow_private)
        .await
        .map_err(wrong)?;
    let desk = Desk::open(sources).await?;
    desk.partner(partner).await?;
    let failed = |error: crate::vault::VaultError| CliError::Failed(error.to_string());
    let secret = Secret::generate().map_err(failed)?;
    let now = desk.clock.now();
    let id = EndpointId::new(now);
    let sealed_secret = vault
        .seal(&format!("endpoint:{id}"), secret.reveal().as_bytes())
        .map_err(failed)?;
    let endpoint = Endpoint {
        id,
        partner_id: partner,
        url: url.to_string(),
        events,
        description,
        sealed_secret,
        disabled_at: None,
        created_at: now,
        transaction_id: None,
    };
    let audit = Desk::audit("webhook.create", Some(partner), id);
    desk.store.insert_endpoint(endpoint, audit).await?;
    let shown = secret.reveal();
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "url": url.as_str(), "secret": shown.as_str()}),
        &[
            format!("endpoint {id} {url}"),
            format!("secret {}", shown.as_str()),
            "The secret is shown this once.".to_owned(),
        ],
    );
    Ok(())
}

async fn list(desk: &Desk, partner: PartnerId, output: JsonArguments) -> Result<(), CliError> {
    desk.partner(partner).await?;
    let endpoints = desk.store.list_endpoints(partner).await?;
    let timestamp =
        |at: crate::domain::clock::Instant| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let objects: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "id": endpoint.id.to_string(),
                "url": endpoint.url,
                "events": endpoint.events,
                "description": endpoint.description,
                "enabled": endpoint.disabled_at.is_none(),
                "created_at": timestamp(endpoint.created_at),
            })
        })
        .collect();
    let lines: Vec<String> = endpoints
        .iter()
        .map(|endpoint| {
            let state = if endpoint.disabled_at.is_some() {
                "  disabled"
            } else {
                ""
            };
            format!("{}  {}{state}", endpoint.id, endpoint.url)
        })
        .collect();
    Output::answer(output.json, &json!({ "endpoints": objects }), &lines);
    Ok(())
}

async fn remove(desk: &Desk, id: EndpointId, output: JsonArguments) -> Result<(), CliError> {
    let audit = Desk::audit("webhook.remove", None, id);
    if !desk
        .store
        .remove_endpoint(id, desk.clock.now(), audit)
        .await?
    {
        return Err(CliError::Failed(format!("there is no endpoint {id}")));
    }
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "done": true}),
        &[format!("endpoint {id} removed")],
    );
    Ok(())
}
