//! `partner create`, `list`, `suspend`, `resume`, `erase-msisdn`.

use clap::Subcommand;
use serde_json::json;

use super::key::new_key;
use super::output::JsonArguments;
use super::{CliError, Desk, Output, partner_erase};
use crate::domain::identity::PartnerId;
use crate::domain::money::Currency;
use crate::domain::partner::{Partner, Scope};
use crate::settings::Sources;

/// The longest name of a partner, in characters.
const NAME_MAX: usize = 100;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum PartnerCommand {
    /// Make a partner; its API key is shown this once
    Create {
        /// Its name, for people
        #[arg(long)]
        name: String,
        /// The currency its statistics are told in
        #[arg(long, default_value = "KES")]
        currency: Currency,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// List partners
    List(JsonArguments),
    /// Refuse a partner's API calls; callbacks and webhooks go on
    Suspend {
        /// The partner
        id: PartnerId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Accept a partner's API calls again
    Resume {
        /// The partner
        id: PartnerId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Blank a phone number in everything that is kept for a partner
    ///
    /// Ids stay as they are, and the command says how many hold the number's digits: M-Pesa's newer CheckoutRequestIDs
    /// end in them. The provider, late callbacks and the partner's own books know a payment by its id; without it nobody
    /// could tell any more which one it was. Whatever may still change keeps the number too, until it is final.
    EraseMsisdn {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        /// The number with its country: 254712345678
        #[arg(long)]
        msisdn: String,
        #[command(flatten)]
        output: JsonArguments,
    },
}

pub async fn run(command: PartnerCommand, sources: &Sources) -> Result<(), CliError> {
    match command {
        PartnerCommand::Create {
            name,
            currency,
            output,
        } => {
            let desk = Desk::open(sources).await?;
            create(&desk, name, currency, output).await
        }
        PartnerCommand::List(output) => list(&Desk::open(sources).await?, output).await,
        PartnerCommand::Suspend { id, output } => {
            set_suspended(&Desk::open(sources).await?, id, true, output).await
        }
        PartnerCommand::Resume { id, output } => {
            set_suspended(&Desk::open(sources).await?, id, false, output).await
        }
        PartnerCommand::EraseMsisdn {
            partner,
            msisdn,
            output,
        } => {
            let desk = Desk::open(sources).await?;
            partner_erase::run(&desk, partner, &msisdn, output).await
        }
    }
}

async fn create(
    desk: &Desk,
    name: String,
    currency: Currency,
    output: JsonArguments,
) -> Result<(), CliError> {
    let length = name.trim().chars().count();
    if length == 0 || length > NAME_MAX || name.chars().any(char::is_control) {
        return Err(CliError::Usage(format!(
            "--name: 1 to {NAME_MAX} characters without control characters are accepted"
        )));
    }
    let now = desk.clock.now();
    let partner = Partner {
        id: PartnerId::new(now),
        name: name.trim().to_owned(),
        currency,
        suspended: false,
        created_at: now,
    };
    let (key, secret) = new_key(partner.id, Scope::DEFAULT.to_vec(), None, now)?;
    let audit = Desk::audit("partner.create", Some(partner.id), partner.id);
    desk.store
        .insert_partner(partner.clone(), key, audit)
        .await?;
    Output::answer(
        output.json,
        &json!({"id": partner.id.to_string(), "name": partner.name, "api_key": secret}),
        &[
            format!("partner {} ({})", partner.id, partner.name),
            format!("api key {secret}"),
            "The key is shown this once.".to_owned(),
        ],
    );
    Ok(())
}

async fn list(desk: &Desk, output: JsonArguments) -> Result<(), CliError> {
    let partners = desk.store.list_partners().await?;
    let objects: Vec<_> = partners
        .iter()
        .map(|partner| {
            json!({
                "id": partner.id.to_string(),
                "name": partner.name,
                "currency": partner.currency.as_str(),
                "suspended": partner.suspended,
                "created_at": partner.created_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            })
        })
        .collect();
    let lines: Vec<String> = partners
        .iter()
        .map(|partner| {
            let state = if partner.suspended { "  suspended" } else { "" };
            format!(
                "{}  {}  {}{state}",
                partner.id, partner.currency, partner.name
            )
        })
        .collect();
    Output::answer(output.json, &json!({ "partners": objects }), &lines);
    Ok(())
}

async fn set_suspended(
    desk: &Desk,
    id: PartnerId,
    suspend: bool,
    output: JsonArguments,
) -> Result<(), CliError> {
    let (action, word) = if suspend {
        ("partner.suspend", "suspended")
    } else {
        ("partner.resume", "resumed")
    };
    let at = suspend.then(|| desk.clock.now());
    let audit = Desk::audit(action, Some(id), id);
    if !desk.store.set_partner_suspended(id, at, audit).await? {
        return Err(CliError::Failed(format!("there is no partner {id}")));
    }
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "done": true}),
        &[format!("partner {id} {word}")],
    );
    Ok(())
}
