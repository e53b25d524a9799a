//! `webhook create`, `list`, `remove`; the other commands are in the files beside.

use chrono::SecondsFormat;
use clap::Subcommand;
use serde_json::json;

use super::output::JsonArguments;
use super::webhook_changes::{
    self, UpdateArguments, actor, endpoints, known_events, pace, show_key,
};
use super::webhook_deliveries::{self, DeliveriesArguments, ReplayArguments};
use super::{CliError, Desk, Output, webhook_check, webhook_listen};
use crate::domain::delivery::SignatureScheme;
use crate::domain::identity::{EndpointId, PartnerId};
use crate::settings::Sources;
use crate::webhooks::endpoints::NewEndpoint;

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
        /// Requests at the same time, 1 to 64; 8 unless told
        #[arg(long)]
        concurrency: Option<u32>,
        /// Deliveries a second at most, 1 to 1000; no limit unless told
        #[arg(long, value_name = "PER_SECOND")]
        rate: Option<u32>,
        /// How webhooks are signed: v1, with a secret that is shown this once, or v1a, with a private key whose public
        /// half verifies; v1 unless told
        #[arg(long)]
        signature: Option<SignatureScheme>,
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
    /// Change an endpoint; what is not told stays
    Update(UpdateArguments),
    /// Tell an endpoint again
    Enable {
        /// The endpoint
        id: EndpointId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Tell an endpoint nothing more, until it is enabled
    Disable {
        /// The endpoint
        id: EndpointId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Make a new signing secret, shown this once; the one before signs too for 24 hours
    RotateSecret {
        /// The endpoint
        id: EndpointId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Send a test event now
    Test {
        /// The endpoint
        id: EndpointId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// An endpoint's deliveries with their attempts, the latest event first
    Deliveries(DeliveriesArguments),
    /// Send events again: one delivery, or what happened in a range of time
    Replay(ReplayArguments),
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
            concurrency,
            rate,
            signature,
            output,
        } => {
            let new = NewEndpoint {
                url,
                events: known_events(events)?,
                description,
                pace: pace(concurrency, rate)?,
                signature: signature.unwrap_or_default(),
            };
            create(sources, partner, new, output).await
        }
        WebhookCommand::List { partner, output } => {
            list(&Desk::open(sources).await?, partner, output).await
        }
        WebhookCommand::Listen(arguments) => webhook_listen::run(arguments, sources).await,
        WebhookCommand::Check(arguments) => webhook_check::run(arguments, sources).await,
        WebhookCommand::Update(arguments) => webhook_changes::update(sources, arguments).await,
        WebhookCommand::Enable { id, output } => {
            webhook_changes::set_enabled(sources, id, true, output).await
        }
        WebhookCommand::Disable { id, output } => {
            webhook_changes::set_enabled(sources, id, false, output).await
        }
        WebhookCommand::RotateSecret { id, output } => {
            webhook_changes::rotate_secret(sources, id, output).await
        }
        WebhookCommand::Test { id, output } => {
            webhook_changes::send_test(sources, id, output).await
        }
        WebhookCommand::Deliveries(arguments) => {
            webhook_deliveries::list(&Desk::open(sources).await?, arguments).await
        }
        WebhookCommand::Replay(arguments) => {
            webhook_deliveries::replay(&Desk::open(sources).await?, arguments).await
        }
        WebhookCommand::Remove { id, output } => {
            remove(&Desk::open(sources).await?, id, output).await
        }
    }
}

async fn create(
    sources: &Sources,
    partner: PartnerId,
    new: NewEndpoint,
    output: JsonArguments,
) -> Result<(), CliError> {
    let (desk, endpoints) = endpoints(sources).await?;
    desk.partner(partner).await?;
    let (endpoint, secret) = endpoints.create(partner, new, &actor()).await?;
    let mut object = json!({"id": endpoint.id.to_string(), "url": endpoint.url});
    let mut lines = vec![format!("endpoint {} {}", endpoint.id, endpoint.url)];
    let secret = secret.as_ref().map(|secret| secret.as_str());
    show_key(&endpoint, secret, &mut object, &mut lines);
    Output::answer(output.json, &object, &lines);
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
                "concurrency": endpoint.pace.concurrency,
                "rate_per_second": endpoint.pace.rate_per_second,
                "signature": endpoint.signature().as_str(),
                "public_key": endpoint.public_key,
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
