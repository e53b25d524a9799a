//! `serve`: the service.

use std::sync::Arc;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CliError, serve_lock, vault};
use crate::app::{self, Application};
use crate::domain::clock::{Clock, CorrectedClock, SystemClock};
use crate::instances::{keep_time, set_time};
use crate::settings::{Settings, Sources};
use crate::telemetry;

/// The flags.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Where to listen, instead of LISTEN_ADDR; :0 picks a port
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Refuse to start if a migration is pending, instead of running it
    #[arg(long)]
    no_migrate: bool,
}

pub async fn run(arguments: ServeArguments, mut sources: Sources) -> Result<(), CliError> {
    sources.set_flag("LISTEN_ADDR", arguments.listen);
    let settings = Settings::read(&sources)?;
    telemetry::start_logging(&settings, false);
    let metrics = telemetry::start_metrics();
    let vault = Arc::new(vault(&settings)?);
    let corrected = Arc::new(CorrectedClock::new(Arc::new(SystemClock)));
    let clock: Arc<dyn Clock> = corrected.clone();
    let store = app::open_store(&settings, Arc::clone(&clock)).await?;
    let _alone = serve_lock::take(&settings.database_url)?;
    if arguments.no_migrate {
        let pending = store.list_pending_migrations().await?;
        if !pending.is_empty() {
            return Err(CliError::Failed(format!(
                "migrations are pending ({}); run: ussd-status migrate",
                pending.join(", ")
            )));
        }
    } else {
        let applied = store.migrate().await?;
        if !applied.is_empty() {
            tracing::info!(applied = applied.join(", "), "migrated");
        }
    }
    app::refuse_half_a_copy(store.as_ref()).await?;
    app::check_seals(store.as_ref(), &vault).await?;
    allow_many_connections();
    set_time(store.as_ref(), &corrected).await?;
    let stop = CancellationToken::new();
    tokio::spawn(keep_time(Arc::clone(&store), corrected, stop.clone()));
    let application = Application::build(&settings, store, vault, clock, metrics)?;
    tracing::info!(
        address = %application.address(),
        database = ?settings.database_url,
        "listening"
    );
    if let Some(address) = application.admin_address() {
        tracing::info!(%address, "metrics");
    }
    tokio::spawn(cancel_on_signal(stop.clone()));
    application.run_until_stopped(stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// Takes as many open files as the system grants: the usual 1 024 are fewer than the connections that slow clients may
/// hold, and who has none left keeps everybody waiting.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, files = limit.current, "the limit of open files stays");
    }
}

/// Cancels on SIGTERM or SIGINT.
pub async fn cancel_on_signal(stop: CancellationToken) {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    } else {
        let _ = tokio::signal::ctrl_c().await;
    }
    stop.cancel();
}
