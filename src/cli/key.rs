//! `key create`, `list`, `revoke`. A partner may have several keys, so that rotation has no gap.

use std::collections::HashMap;

use chrono::SecondsFormat;
use clap::Subcommand;
use serde_json::json;

use super::output::JsonArguments;
use super::{CliError, Desk, Output};
use crate::domain::clock::Instant;
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::partner::{ApiKey, Scope};
use crate::http;
use crate::settings::{Sources, parse_duration};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown this once
    Create {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        /// What it may do; all but msisdn:reveal unless told
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
        /// When it stops working, such as 90d
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// List a partner's keys, with when each was last used, to the minute or so
    List {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Make a key stop working
    Revoke {
        /// The key's id (not the key)
        id: KeyId,
        #[command(flatten)]
        output: JsonArguments,
    },
}

/// A new key, and the text that is shown this once.
///
/// # Errors
/// If the system has no randomness to give.
pub fn new_key(
    partner_id: PartnerId,
    scopes: Vec<Scope>,
    expires_at: Option<Instant>,
    now: Instant,
) -> Result<(ApiKey, String), CliError> {
    http::new_key(partner_id, scopes, expires_at, now)
        .map_err(|error| CliError::Failed(error.to_string()))
}

pub async fn run(command: KeyCommand, sources: &Sources) -> Result<(), CliError> {
    match command {
        KeyCommand::Create {
            partner,
            scopes,
            expires_in,
            output,
        } => {
            let lifetime = expires_in.as_deref().map(lifetime).transpose()?;
            let desk = Desk::open(sources).await?;
            create(&desk, partner, scopes, lifetime, output).await
        }
        KeyCommand::List { partner, output } => {
            list(&Desk::open(sources).await?, partner, output).await
        }
        KeyCommand::Revoke { id, output } => revoke(&Desk::open(sources).await?, id, output).await,
    }
}

fn lifetime(text: &str) -> Result<chrono::Duration, CliError> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .and_then(|duration| chrono::Duration::from_std(duration).ok())
        .ok_or_else(|| {
            CliError::Usage(format!(
                "--expires-in: {text:?} is not accepted; a number with its unit is: s, m, h or d, such as 90d"
            ))
        })
}

async fn create(
    desk: &Desk,
    partner: PartnerId,
    mut scopes: Vec<Scope>,
    lifetime: Option<chrono::Duration>,
    output: JsonArguments,
) -> Result<(), CliError> {
    desk.partner(partner).await?;
    if scopes.is_empty() {
        scopes = Scope::DEFAULT.to_vec();
    }
    scopes.sort_unstable();
    scopes.dedup();
    let now = desk.clock.now();
    let expires_at = lifetime.map(|lifetime| now + lifetime);
    let (key, secret) = new_key(partner, scopes, expires_at, now)?;
    let audit = Desk::audit("key.create", Some(partner), key.id);
    desk.store.insert_key(key.clone(), audit).await?;
    Output::answer(
        output.json,
        &json!({
            "id": key.id.to_string(),
            "api_key": secret,
            "scopes": scope_names(&key),
            "expires_at": key.expires_at.map(timestamp),
        }),
        &[
            format!("key {} ({})", key.id, scope_names(&key).join(" ")),
            format!("api key {secret}"),
            "The key is shown this once.".to_owned(),
        ],
    );
    Ok(())
}

async fn list(desk: &Desk, partner: PartnerId, output: JsonArguments) -> Result<(), CliError> {
    desk.partner(partner).await?;
    let keys = desk.store.list_keys(partner).await?;
    let uses: HashMap<KeyId, Instant> = desk
        .store
        .list_key_uses(partner)
        .await?
        .into_iter()
        .collect();
    let objects: Vec<_> = keys
        .iter()
        .map(|key| {
            json!({
                "id": key.id.to_string(),
                "prefix": key.prefix,
                "scopes": scope_names(key),
                "created_at": timestamp(key.created_at),
                "expires_at": key.expires_at.map(timestamp),
                "revoked_at": key.revoked_at.map(timestamp),
                "last_used_at": uses.get(&key.id).copied().map(timestamp),
            })
        })
        .collect();
    let now = desk.clock.now();
    let lines: Vec<String> = keys
        .iter()
        .map(|key| {
            let state = match (key.revoked_at.is_some(), key.is_valid(now)) {
                (true, _) => "revoked",
                (false, false) => "expired",
                (false, true) => "valid",
            };
            let used = match uses.get(&key.id) {
                Some(at) => format!("last used {}", timestamp(*at)),
                None => "never used".to_owned(),
            };
            format!(
                "{}  {}…  {}  {state}  {used}",
                key.id,
                key.prefix,
                scope_names(key).join(" ")
            )
        })
        .collect();
    Output::answer(output.json, &json!({ "keys": objects }), &lines);
    Ok(())
}

async fn revoke(desk: &Desk, id: KeyId, output: JsonArguments) -> Result<(), CliError> {
    let audit = Desk::audit("key.revoke", None, id);
    if !desk.store.revoke_key(id, desk.clock.now(), audit).await? {
        return Err(CliError::Failed(format!("there is no key {id}")));
    }
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "done": true}),
        &[format!("key {id} revoked")],
    );
    Ok(())
}

fn scope_names(key: &ApiKey) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.as_str()).collect()
}

fn timestamp(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
