//! The command line: one file a command. Answers go to standard output, with `--json` as exactly one object; logs go
//! to standard error. Exit 0 done, 1 failed, 2 wrong usage or wrong settings.

mod account;
mod backup;
mod check;
mod console_user;
mod copy;
mod demo;
mod doctor;
mod export;
mod healthcheck;
mod import;
mod key;
mod migrate;
mod output;
mod partner;
mod partner_erase;
mod progress;
mod reconcile;
mod rekey;
mod serve;
mod serve_lock;
mod simulator;
mod webhook;
mod webhook_changes;
mod webhook_check;
mod webhook_deliveries;
mod webhook_listen;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::app;
use crate::domain::clock::{Clock, CorrectedClock, SystemClock};
use crate::instances::set_time;
use crate::settings::{Settings, SettingsError, Sources};
use crate::store::{Actor, Audit, Store, StoreError};
use crate::telemetry;
use crate::vault::Vault;

pub use output::Output;

/// The status of mobile-money payments: callbacks in, one true answer out, signed webhooks on.
#[derive(Debug, Parser)]
#[command(name = "ussd-status", version, arg_required_else_help = true)]
struct Arguments {
    /// The database, instead of DATABASE_URL: sqlite://PATH or postgres://…
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole story on one machine: two partners, simulated providers, webhooks
    Demo(demo::DemoArguments),
    /// The service
    Serve(serve::ServeArguments),
    /// Run pending migrations
    Migrate(output::JsonArguments),
    /// Partners
    #[command(subcommand)]
    Partner(partner::PartnerCommand),
    /// API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Provider credentials
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Webhook endpoints
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Operators of the console
    #[command(subcommand)]
    ConsoleUser(console_user::ConsoleUserCommand),
    /// Move a SQLite installation to PostgreSQL; run again after a break, it goes on
    Copy(copy::CopyArguments),
    /// Copy the SQLite file while the service runs, and verify the copy
    Backup(backup::BackupArguments),
    /// Seal every secret anew, from MASTER_KEY_PREVIOUS to MASTER_KEY
    Rekey(output::JsonArguments),
    /// Check settings, database, clock, master key, credentials and callback URLs; one line each
    Doctor(output::JsonArguments),
    /// Ask the service at LISTEN_ADDR whether it is ready, for containers
    Healthcheck(output::JsonArguments),
    /// Ask providers about silent transactions, as the service does by itself
    Reconcile(reconcile::ReconcileArguments),
    /// A statement with control totals; with --check a provider's own statement is compared with the table
    Export(export::ExportArguments),
    /// Bring in a history (CSV or NDJSON); a second time changes nothing
    Import(import::ImportArguments),
    /// The provider simulator alone: Daraja's and ClickPesa's own paths on one port
    Simulator(simulator::SimulatorArguments),
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage or wrong settings: exit 2.
    #[error("{0}")]
    Usage(String),
    /// Everything else: exit 1.
    #[error("{0}")]
    Failed(String),
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<app::StartError> for CliError {
    fn from(error: app::StartError) -> Self {
        match error {
            app::StartError::Settings(text) => Self::Usage(text),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// Runs the program.
pub async fn run() -> ExitCode {
    // Clap prints usage errors itself and ends with 2.
    let arguments = Arguments::parse();
    match dispatch(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Output::problem(&error.to_string());
            match error {
                CliError::Usage(_) => ExitCode::from(2),
                CliError::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), CliError> {
    if let Command::Demo(arguments) = arguments.command {
        return demo::run(arguments).await;
    }
    let mut sources = Sources::from_process()?;
    sources.set_flag("DATABASE_URL", arguments.database_url);
    match arguments.command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments, sources).await,
        Command::Migrate(arguments) => migrate::run(arguments, &sources).await,
        Command::Partner(command) => partner::run(command, &sources).await,
        Command::Key(command) => key::run(command, &sources).await,
        Command::Account(command) => account::run(command, &sources).await,
        Command::Webhook(command) => webhook::run(command, &sources).await,
        Command::ConsoleUser(command) => console_user::run(command, &sources).await,
        Command::Copy(arguments) => copy::run(arguments, sources).await,
        Command::Backup(arguments) => backup::run(arguments, &sources).await,
        Command::Rekey(output) => rekey::run(output, &sources).await,
        Command::Doctor(output) => doctor::run(output, &sources).await,
        Command::Healthcheck(output) => healthcheck::run(output, &sources).await,
        Command::Reconcile(arguments) => reconcile::run(arguments, &sources).await,
        Command::Export(arguments) => export::run(arguments, &sources).await,
        Command::Import(arguments) => import::run(arguments, &sources).await,
        Command::Simulator(arguments) => simulator::run(arguments, &sources).await,
    }
}

/// What the short commands work with: settings, the migrated database, the clock.
pub struct Desk {
    settings: Settings,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// Opens the database and runs pending migrations.
    async fn open(sources: &Sources) -> Result<Self, CliError> {
        let settings = Settings::read(sources)?;
        telemetry::start_logging(&settings, true);
        let clock = Arc::new(CorrectedClock::new(Arc::new(SystemClock)));
        let store = app::open_store(&settings, clock.clone()).await?;
        store.migrate().await?;
        set_time(store.as_ref(), &clock).await?;
        app::refuse_half_a_copy(store.as_ref()).await?;
        Ok(Self {
            settings,
            store,
            clock,
        })
    }

    fn audit(
        action: &'static str,
        partner_id: Option<crate::domain::identity::PartnerId>,
        subject: impl ToString,
    ) -> Audit {
        Actor::new("cli").audit(action, partner_id, subject)
    }

    /// The partner, or an error that says there is none.
    async fn partner(
        &self,
        id: crate::domain::identity::PartnerId,
    ) -> Result<crate::domain::partner::Partner, CliError> {
        self.store
            .list_partners()
            .await?
            .into_iter()
            .find(|partner| partner.id == id)
            .ok_or_else(|| CliError::Failed(format!("there is no partner {id}")))
    }
}

/// The vault of the settings.
///
/// # Errors
/// If `MASTER_KEY` is missing or is no key.
pub fn vault(settings: &Settings) -> Result<Vault, CliError> {
    let current = settings.master_key.as_ref().ok_or_else(|| {
        CliError::Usage(
            "MASTER_KEY: nothing was found; 32 random bytes in base64 are accepted. It encrypts provider credentials and \
             webhook secrets at rest. Make one with: openssl rand -base64 32"
                .to_owned(),
        )
    })?;
    let previous = settings.master_key_previous.as_ref();
    Vault::new(
        current.expose_secret(),
        previous.map(ExposeSecret::expose_secret),
    )
    .map_err(|error| {
        CliError::Usage(format!(
            "MASTER_KEY or MASTER_KEY_PREVIOUS: what was found {error}"
        ))
    })
}

/// An instant as answers write it.
pub fn timestamp(at: crate::domain::clock::Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
