//! `demo`: the whole story on one machine, with no settings, no database server and no network: two partners, the
//! provider simulator and a webhook receiver on loopback ports, and payments that keep going.

mod stage;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::serve::cancel_on_signal;
use super::{CliError, Output, serve_lock};
use crate::app::{self, Application};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::status::Status;
use crate::domain::transaction::Provider;
use crate::settings::parse_duration;
use crate::simulator::merchant::{Merchant, MerchantError};
use crate::simulator::receiver::{ReceivedWebhook, Receiver};
use crate::simulator::{Fault, FaultPlan, Now, RunningSimulator, Simulator, SimulatorSettings};
use crate::store::{CommitNotice, Move, Store};
use crate::telemetry;
use stage::{
    DemoPartner, OPERATOR, make_endpoint, make_operator, make_partner, merchants, run_prefix,
    set_dashboard, settings, vault,
};

/// Payments a second at most: beyond it the demo would test the machine and not show the service.
const RATE_MAX: u32 = 100;
/// The share of callbacks that get lost on the way, so that reconciliation has something to do.
const LOST_CALLBACKS: f64 = 0.1;

/// The flags.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Where the service listens; 127.0.0.1:8080, or a free port if that is taken, unless told
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where the database is kept; a fresh temporary folder unless told
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Stop by itself after this time, such as 20s
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Payments a second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: u32,
    /// The same seed gives the same payments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a number with its unit is accepted, such as 20s".to_owned())
}

#[derive(Default)]
struct Tally {
    payments: u64,
    success: u64,
    failed: u64,
    reconciled: u64,
    verified: u64,
    repeated: u64,
    rejected: u64,
}

/// Plays it. No setting is read: what stands in the environment or `.env` is for the real service.
pub async fn run(arguments: DemoArguments) -> Result<(), CliError> {
    let failed = |what: &'static str| {
        move |error: std::io::Error| CliError::Failed(format!("{what}: {error}"))
    };
    let temporary = match &arguments.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(failed("temporary folder"))?),
    };
    let folder = match (&arguments.data_dir, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::from("."),
    };
    std::fs::create_dir_all(&folder).map_err(failed("data folder"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now: Now = {
        let clock = Arc::clone(&clock);
        Arc::new(move || clock.now())
    };
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut simulator_settings = SimulatorSettings::new(loopback);
    simulator_settings.seed = arguments.seed;
    simulator_settings.now = Arc::clone(&now);
    let simulator = Simulator::start(simulator_settings)
        .await
        .map_err(failed("simulator"))?;
    simulator.set_faults(FaultPlan {
        seed: arguments.seed,
        rates: [(Fault::LostCallback, LOST_CALLBACKS)].into(),
        account: None,
        msisdn: None,
        late_callback_ms: 0,
        slow_answer_ms: 0,
    });
    let settings = settings(&arguments, &folder, &simulator)?;
    telemetry::start_logging(&settings, true);
    let metrics = telemetry::start_metrics();
    let vault = Arc::new(vault(&folder)?);
    let store = app::open_store(&settings, Arc::clone(&clock)).await?;
    let _alone = serve_lock::take(&settings.database_url)?;
    store.migrate().await?;

    let (receiver, webhooks) = Receiver::start(loopback, Arc::clone(&now))
        .await
        .map_err(failed("webhook receiver"))?;
    let partners = [
        make_partner(&store, &vault, clock.now(), Provider::Mpesa).await?,
        make_partner(&store, &vault, clock.now(), Provider::Clickpesa).await?,
    ];
    for partner in &partners {
        make_endpoint(&store, &vault, clock.now(), partner, &receiver).await?;
    }
    let password = make_operator(&store, clock.now()).await?;
    let commits = store.commits();
    let application = Application::build(
        &settings,
        Arc::clone(&store),
        vault,
        Arc::clone(&clock),
        metrics,
    )?;
    let service = format!("http://{}", application.address());
    for partner in &partners {
        set_dashboard(partner, &service, &simulator);
    }
    introduce(&service, &partners, &password, &simulator, &folder);

    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    if let Some(duration) = arguments.duration {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            stop.cancel();
        });
    }
    let prefix = run_prefix()?;
    let merchants = merchants(&partners, &service, arguments.seed, &prefix)?;
    let running = tokio::spawn(application.run_until_stopped(stop.clone()));
    let paying = tokio::spawn(pay(merchants, arguments.rate, stop.clone()));
    let mut tally = watch(store.as_ref(), commits, webhooks, stop.clone()).await;
    tally.payments = paying.await.unwrap_or_default();
    simulator.stop().await;
    let _ = running.await;
    receiver.stop().await;
    summarise(&tally);
    Ok(())
}

fn introduce(
    service: &str,
    partners: &[DemoPartner; 2],
    password: &str,
    simulator: &RunningSimulator,
    folder: &Path,
) {
    let [kenya, tanzania] = partners;
    let key = &kenya.api_key;
    for line in [
        format!("API key ({}, M-Pesa):     {key}", kenya.name),
        format!(
            "API key ({}, ClickPesa):   {}",
            tanzania.name, tanzania.api_key
        ),
        String::new(),
        "Paste in another terminal:".to_owned(),
        format!("curl -s -H 'x-api-key: {key}' '{service}/api/ussd/transaction-status?limit=3'"),
        format!(
            "curl -s -H 'x-api-key: {key}' '{service}/api/ussd/transaction-status?status=failed&limit=3'"
        ),
        format!(
            "curl -s -X POST -H 'x-api-key: {key}' -H 'Content-Type: application/json' \
             -d '{{\"provider\":\"mpesa\",\"kind\":\"stk_push\",\"client_request_id\":\"HELLO-1\",\"msisdn\":\"0712345678\",\"amount\":1200}}' \
             '{service}/api/ussd/payments'"
        ),
        String::new(),
        format!(
            "Console: {service}/console   with an API key, or as operator {OPERATOR} with the password {password}"
        ),
        format!(
            "API in a browser: {service}/api-docs/   simulator: {}/simulator   data: {}",
            simulator.url(),
            folder.display()
        ),
        "Ctrl-C ends it.".to_owned(),
        String::new(),
    ] {
        Output::line(&line);
    }
}

/// Pays in turn with each merchant, at the rate, until told to stop; how many payments were made.
async fn pay(merchants: Vec<Merchant>, rate: u32, stop: CancellationToken) -> u64 {
    let count = u32::try_from(merchants.len()).unwrap_or(1).max(1);
    let period = Duration::from_secs(1) * count / rate;
    let mut tasks = JoinSet::new();
    for (index, mut merchant) in merchants.into_iter().enumerate() {
        let stop = stop.clone();
        tasks.spawn(async move {
            let offset = period / count * u32::try_from(index).unwrap_or_default();
            let start = tokio::time::Instant::now() + offset;
            let mut ticks = tokio::time::interval_at(start, period);
            let mut paid = 0_u64;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return paid,
                    _ = ticks.tick() => {}
                }
                match merchant.pay_one().await {
                    Ok(_) => paid += 1,
                    Err(_) if stop.is_cancelled() => return paid,
                    Err(MerchantError::Service { status, body }) => {
                        Output::problem(&format!("the service answered {status}: {body}"));
                    }
                    Err(error) => Output::problem(&error.to_string()),
                }
            }
        });
    }
    let mut all = 0;
    while let Some(paid) = tasks.join_next().await {
        all += paid.unwrap_or_default();
    }
    all
}

/// Prints one line a status change and one a webhook.
async fn watch(
    store: &dyn Store,
    mut commits: broadcast::Receiver<CommitNotice>,
    mut webhooks: mpsc::UnboundedReceiver<ReceivedWebhook>,
    stop: CancellationToken,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return tally,
            notice = commits.recv() => match notice {
                Ok(notice) => {
                    for moved in notice.moves.iter() {
                        match moved.status {
                            Status::Success => tally.success += 1,
                            Status::Failed => tally.failed += 1,
                            Status::Queued | Status::Accepted => {}
                        }
                        let asked = moved.status.is_final() && was_asked(store, moved).await;
                        tally.reconciled += u64::from(asked);
                        Output::line(&format!(
                            "status   {}  {}{}",
                            moved.transaction_id,
                            moved.status,
                            if asked { "  (found out by asking the provider)" } else { "" }
                        ));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return tally,
            },
            webhook = webhooks.recv() => {
                let Some(webhook) = webhook else { return tally };
                show(&webhook, &mut tally);
            }
        }
    }
}

/// Whether a question of ours brought the news, not the provider's own callback.
async fn was_asked(store: &dyn Store, moved: &Move) -> bool {
    let found = store
        .find_transaction(moved.partner_id, moved.transaction_id)
        .await;
    let Ok(Some((_, timeline))) = found else {
        return false;
    };
    timeline.iter().rev().any(|entry| {
        entry.to == Some(moved.status)
            && (entry.source.starts_with("query:") || entry.source == "callback:status-result")
    })
}

fn show(webhook: &ReceivedWebhook, tally: &mut Tally) {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let word = match (webhook.verified, webhook.duplicate) {
        (true, false) => {
            tally.verified += 1;
            "verified"
        }
        (true, true) => {
            tally.repeated += 1;
            "verified, repeated"
        }
        (false, _) => {
            tally.rejected += 1;
            "REJECTED"
        }
    };
    Output::line(&format!(
        "webhook  {}  {}  → {} ({word})",
        text(&webhook.transaction_id),
        text(&webhook.event_type),
        webhook.label,
    ));
}

fn summarise(tally: &Tally) {
    Output::line("");
    Output::line(&format!(
        "{} payments: {} became success, {} failed, the others are open; {} were found out by asking",
        tally.payments, tally.success, tally.failed, tally.reconciled
    ));
    Output::line(&format!(
        "{} webhooks verified, {} repeated, {} rejected",
        tally.verified, tally.repeated, tally.rejected
    ));
}
