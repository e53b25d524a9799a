//! `account create`, `list`, `update`, `remove`. Credentials come from a file or standard input, never as arguments,
//! and are sealed before they are kept.

use std::io::Read;

use clap::{Args, Subcommand};
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value, json};

use super::output::JsonArguments;
use super::{CliError, Desk, Output, vault};
use crate::domain::account::Account;
use crate::domain::identity::{AccountId, PartnerId, hex};
use crate::domain::status_update::CallbackKind;
use crate::domain::transaction::Provider;
use crate::providers;
use crate::settings::{Settings, Sources};
use crate::vault::random_bytes;

/// Random bytes of a callback token: 128 bits.
const TOKEN_BYTES: usize = 16;
/// The largest credentials file.
const CREDENTIALS_MAX: u64 = 64 * 1024;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Keep a partner's credentials at a provider
    Create {
        /// The partner
        #[arg(long)]
        partner: PartnerId,
        /// mpesa or clickpesa
        #[arg(long)]
        provider: Provider,
        #[command(flatten)]
        source: CredentialsSource,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// List accounts
    List {
        /// Of this partner only
        #[arg(long)]
        partner: Option<PartnerId>,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Replace an account's credentials; its callback URLs stay
    Update {
        /// The account
        id: AccountId,
        #[command(flatten)]
        source: CredentialsSource,
        #[command(flatten)]
        output: JsonArguments,
    },
    /// Remove an account; its callback URLs stop working
    Remove {
        /// The account
        id: AccountId,
        #[command(flatten)]
        output: JsonArguments,
    },
}

/// Where credentials come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct CredentialsSource {
    /// A file with one JSON object; - is standard input
    #[arg(long, value_name = "FILE")]
    credentials: Option<String>,
    /// The variables MPESA_ENVIRONMENT, MPESA_SHORTCODE, … or CLICKPESA_ENVIRONMENT, CLICKPESA_CLIENT_ID, …
    #[arg(long)]
    from_env: bool,
}

pub async fn run(command: AccountCommand, sources: &Sources) -> Result<(), CliError> {
    match command {
        AccountCommand::Create {
            partner,
            provider,
            source,
            output,
        } => create(sources, partner, provider, source, output).await,
        AccountCommand::List { partner, output } => {
            list(&Desk::open(sources).await?, partner, output).await
        }
        AccountCommand::Update { id, source, output } => update(sources, id, source, output).await,
        AccountCommand::Remove { id, output } => {
            remove(&Desk::open(sources).await?, id, output).await
        }
    }
}

async fn create(
    sources: &Sources,
    partner: PartnerId,
    provider: Provider,
    source: CredentialsSource,
    output: JsonArguments,
) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    let vault = vault(&settings)?;
    let credentials = credentials(provider, &source, sources)?;
    let desk = Desk::open(sources).await?;
    desk.partner(partner).await?;
    let token =
        random_bytes::<TOKEN_BYTES>().map_err(|error| CliError::Failed(error.to_string()))?;
    let now = desk.clock.now();
    let account = sealed(
        &vault,
        &credentials,
        Account {
            id: AccountId::new(now),
            partner_id: partner,
            provider,
            environment: String::new(),
            shortcode: None,
            till_number: None,
            callback_token: hex(&token),
            sealed_credentials: Vec::new(),
            created_at: now,
        },
    )?;
    let audit = Desk::audit("account.create", Some(partner), account.id);
    desk.store.insert_account(account.clone(), audit).await?;
    let urls = callback_urls(&desk.settings, &account);
    let mut lines = vec![
        format!(
            "account {} ({provider}, {})",
            account.id, account.environment
        ),
        "callback URLs:".to_owned(),
    ];
    lines.extend(
        urls.iter()
            .map(|(kind, url)| format!("  {kind:<18} {}", url.as_str().unwrap_or_default())),
    );
    if provider == Provider::Clickpesa && !credentials.contains_key("checksum_key") {
        lines.push(
            "No checksum_key: callbacks are believed on the token in the URL alone.".to_owned(),
        );
    }
    Output::answer(
        output.json,
        &json!({
            "id": account.id.to_string(),
            "callback_token": account.callback_token,
            "callback_urls": urls,
        }),
        &lines,
    );
    Ok(())
}

async fn list(
    desk: &Desk,
    partner: Option<PartnerId>,
    output: JsonArguments,
) -> Result<(), CliError> {
    let accounts = desk.store.list_accounts(partner).await?;
    let objects: Vec<_> = accounts
        .iter()
        .map(|account| {
            json!({
                "id": account.id.to_string(),
                "partner_id": account.partner_id.to_string(),
                "provider": account.provider.as_str(),
                "environment": account.environment,
                "shortcode": account.shortcode,
                "till_number": account.till_number,
                "callback_urls": callback_urls(&desk.settings, account),
            })
        })
        .collect();
    let lines: Vec<String> = accounts
        .iter()
        .map(|account| {
            format!(
                "{}  {}  {}  {}  {}",
                account.id,
                account.partner_id,
                account.provider,
                account.environment,
                account.shortcode.as_deref().unwrap_or("-")
            )
        })
        .collect();
    Output::answer(output.json, &json!({ "accounts": objects }), &lines);
    Ok(())
}

async fn update(
    sources: &Sources,
    id: AccountId,
    source: CredentialsSource,
    output: JsonArguments,
) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    let vault = vault(&settings)?;
    let desk = Desk::open(sources).await?;
    let unknown = || CliError::Failed(format!("there is no account {id}"));
    let account = desk
        .store
        .list_accounts(None)
        .await?
        .into_iter()
        .find(|account| account.id == id)
        .ok_or_else(unknown)?;
    let credentials = credentials(account.provider, &source, sources)?;
    let audit = Desk::audit("account.update", Some(account.partner_id), id);
    let account = sealed(&vault, &credentials, account)?;
    if !desk.store.update_account(account, audit).await? {
        return Err(unknown());
    }
    done(id, "updated", output);
    Ok(())
}

async fn remove(desk: &Desk, id: AccountId, output: JsonArguments) -> Result<(), CliError> {
    let audit = Desk::audit("account.remove", None, id);
    if !desk.store.remove_account(id, audit).await? {
        return Err(CliError::Failed(format!("there is no account {id}")));
    }
    done(id, "removed", output);
    Ok(())
}

fn done(id: AccountId, word: &str, output: JsonArguments) {
    Output::answer(
        output.json,
        &json!({"id": id.to_string(), "done": true}),
        &[format!("account {id} {word}")],
    );
}

/// The account with `credentials` sealed into it, and beside them what ingestion needs in clear.
fn sealed(
    vault: &crate::vault::Vault,
    credentials: &Map<String, Value>,
    account: Account,
) -> Result<Account, CliError> {
    let text = |name: &str| {
        credentials
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let plain = Zeroizing::new(Value::Object(credentials.clone()).to_string());
    let sealed_credentials = vault
        .seal(&account.id.seal_owner(), plain.as_bytes())
        .map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(Account {
        environment: text("environment").unwrap_or_default(),
        shortcode: text("shortcode"),
        till_number: text("till_number"),
        sealed_credentials,
        ..account
    })
}

/// Where the provider posts, by kind.
fn callback_urls(settings: &Settings, account: &Account) -> Map<String, Value> {
    let base = settings.public_url.as_ref().map_or_else(
        || format!("http://{}", settings.listen_addr),
        |url| url.as_str().trim_end_matches('/').to_owned(),
    );
    CallbackKind::ALL
        .into_iter()
        .filter(|kind| kind.provider() == account.provider)
        .map(|kind| {
            let url = format!("{base}/callbacks/{}/{kind}", account.callback_token);
            (kind.to_string(), Value::from(url))
        })
        .collect()
}

/// Reads and checks credentials. Their values are never part of an error.
fn credentials(
    provider: Provider,
    source: &CredentialsSource,
    sources: &Sources,
) -> Result<Map<String, Value>, CliError> {
    let folder = providers::folder(provider);
    let (required, optional) = (folder.required_keys, folder.optional_keys);
    let given = if source.from_env {
        let prefix = provider.as_str().to_ascii_uppercase();
        required
            .iter()
            .chain(optional)
            .filter_map(|name| {
                let variable = format!("{prefix}_{}", name.to_ascii_uppercase());
                let value = sources.value(&variable)?;
                Some(((*name).to_owned(), Value::from(value)))
            })
            .collect()
    } else {
        read_object(source.credentials.as_deref().unwrap_or("-"))?
    };
    let accepted = format!(
        "accepted are {} and optionally {}",
        required.join(", "),
        optional.join(", ")
    );
    for (name, value) in &given {
        if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
            return Err(CliError::Usage(format!(
                "credentials: {name:?} is not a key of a {provider} account; {accepted}"
            )));
        }
        if value.as_str().is_none_or(|text| text.trim().is_empty()) {
            return Err(CliError::Usage(format!(
                "credentials: {name} must be a text that is not empty"
            )));
        }
    }
    if let Some(missing) = required.iter().find(|name| !given.contains_key(**name)) {
        let place = if source.from_env {
            let prefix = provider.as_str().to_ascii_uppercase();
            format!("{prefix}_{}", missing.to_ascii_uppercase())
        } else {
            (*missing).to_owned()
        };
        return Err(CliError::Usage(format!(
            "credentials: {place} is missing; {accepted}"
        )));
    }
    let environment = given.get("environment").and_then(Value::as_str);
    if !matches!(environment, Some("sandbox" | "production")) {
        return Err(CliError::Usage(format!(
            "credentials: environment {environment:?} is not accepted; sandbox or production is"
        )));
    }
    providers::check_credentials(provider, &given)
        .map_err(|error| CliError::Usage(format!("credentials: {error}")))?;
    Ok(given)
}

fn read_object(path: &str) -> Result<Map<String, Value>, CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("{path}: {error}"));
    let mut text = Zeroizing::new(String::new());
    if path == "-" {
        std::io::stdin()
            .take(CREDENTIALS_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(CREDENTIALS_MAX).read_to_string(&mut text))
            .map_err(failed)?;
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(CliError::Usage(format!(
            "{path}: is not one JSON object of at most {} KiB",
            CREDENTIALS_MAX / 1024
        ))),
    }
}
