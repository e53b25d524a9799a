//! `webhook listen`: a partner's live events on a port of the developer's own machine.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::serve::cancel_on_signal;
use super::{CliError, Desk, Output};
use crate::domain::identity::PartnerId;
use crate::settings::{Settings, Sources};
use crate::webhooks::relay::{Relay, Told};
use crate::webhooks::{Secret, Sender, address_guard};

/// Its flags.
#[derive(Debug, Args)]
pub struct ListenArguments {
    /// The partner
    #[arg(long)]
    partner: PartnerId,
    /// Where to post them, such as http://127.0.0.1:3000/hooks
    #[arg(long, value_name = "URL")]
    forward_to: String,
    /// Begin after this sequence of the partner's feed (0: the oldest kept); with what is yet to come unless told
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
}

/// Relays until interrupted.
pub async fn run(arguments: ListenArguments, sources: &Sources) -> Result<(), CliError> {
    // The operator typed the address: private ones are what this is for.
    let url = address_guard::check_url(&arguments.forward_to, true)
        .map_err(|error| CliError::Usage(format!("--forward-to: {error}")))?;
    let sender = Sender::to_a_typed_address(&Settings::read(sources)?)?;
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    let desk = Desk::open(sources).await?;
    desk.partner(arguments.partner).await?;
    let after = match arguments.after {
        Some(after) => after,
        None => newest(&desk, arguments.partner).await?,
    };
    let secret = Secret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
    Output::line(&format!("secret {}", secret.reveal().as_str()));
    Output::line(&format!("events after {after} go to {url}; Ctrl-C ends"));
    let mut relay = Relay {
        store: desk.store,
        clock: desk.clock,
        sender,
        secret,
        partner: arguments.partner,
        url: url.to_string(),
        after,
    };
    tokio::select! {
        () = relay.run(tell) => {}
        () = stop.cancelled() => {}
    }
    Output::line(&format!("go on with --after {}", relay.after));
    Ok(())
}

async fn newest(desk: &Desk, partner: PartnerId) -> Result<i64, CliError> {
    let heads = desk.store.list_feed_heads(vec![partner]).await?;
    Ok(heads.first().map_or(0, |(_, head)| *head))
}

fn tell(told: Told) {
    match told {
        Told::Sent {
            event,
            result,
            attempts,
        } => {
            let verdict = match attempts {
                _ if !result.is_success() => format!(", not taken after {attempts} attempts"),
                1 => String::new(),
                _ => format!(", taken at attempt {attempts}"),
            };
            Output::line(&format!(
                "{}  {}  {}  {}{verdict}",
                event.sequence,
                event.event_type(),
                event.transaction_id,
                result.summary(),
            ));
        }
        Told::Removed { from, to } => {
            Output::line(&format!("events {from} to {to} are no longer kept"));
        }
        Told::Troubled(reason) => Output::problem(&format!("{reason}; it is tried again")),
    }
}
