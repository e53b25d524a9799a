//! `demo`: the whole story on one machine, with no settings, no database server and no network: two partners, the
//! provider simulator and a webhook receiver on loopback ports, and payments that keep going.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::key::new_key;
use super::serve::cancel_on_signal;
use super::{CliError, Desk, Output};
use crate::app::{self, Application};
use crate::domain::account::Account;
use crate::domain::clock::{Clock, Instant, SystemClock};
use crate::domain::delivery::Endpoint;
use crate::domain::identity::{AccountId, EndpointId, PartnerId, hex};
use crate::domain::money::Currency;
use crate::domain::partner::{Partner, Scope};
use crate::domain::status::Status;
use crate::domain::transaction::Provider;
use crate::settings::{Settings, Sources, parse_duration};
use crate::simulator::merchant::{Merchant, MerchantError, MerchantProvider, MerchantSettings};
use crate::simulator::receiver::{ReceivedWebhook, Receiver};
use crate::simulator::{
    Application as ClickpesaApplication, Now, RunningSimulator, Simulator, SimulatorSettings,
};
use crate::store::{CommitNotice, Store};
use crate::telemetry;
use crate::vault::{Vault, new_master_key, random_bytes};
use crate::webhooks::signature::Secret;

/// Payments a second at most: beyond it the demo would test the machine and not show the service.
const RATE_MAX: u32 = 100;
/// Calls at the service for one payment: register it, attach the provider's ids.
const CALLS_A_PAYMENT: u32 = 2;

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

/// One of the two partners.
struct DemoPartner {
    id: PartnerId,
    name: &'static str,
    api_key: String,
    account: Account,
    checksum_key: Option<String>,
}

#[derive(Default)]
struct Tally {
    payments: u64,
    success: u64,
    failed: u64,
    verified: u64,
    repeated: u64,
    rejected: u64,
}

pub async fn run(arguments: DemoArguments, _: Sources) -> Result<(), CliError> {
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
    let settings = settings(&arguments, &folder)?;
    telemetry::start_logging(&settings, true);
    let metrics = telemetry::start_metrics();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let vault = Arc::new(vault(&folder)?);
    let store = app::open_store(&settings, Arc::clone(&clock)).await?;
    store.migrate().await?;

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
    let commits = store.commits();
    let application = Application::build(
        &settings,
        Arc::clone(&store),
        vault,
        Arc::clone(&clock),
        metrics,
    )?;
    let service = format!("http://{}", application.address());
    introduce(&service, &partners, &simulator, &folder);

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
    let merchants = merchants(&partners, &service, &simulator, &arguments, &prefix, &now)?;
    let running = tokio::spawn(application.run_until_stopped(stop.clone()));
    let paying = tokio::spawn(pay(merchants, arguments.rate, stop.clone()));
    let mut tally = watch(commits, webhooks, stop.clone()).await;
    tally.payments = paying.await.unwrap_or_default();
    simulator.stop().await;
    let _ = running.await;
    receiver.stop().await;
    summarise(&tally);
    Ok(())
}

/// The usual port, or any if somebody else has it.
fn listen_address(arguments: &DemoArguments) -> SocketAddr {
    arguments.listen.unwrap_or_else(|| {
        let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
        match std::net::TcpListener::bind(usual) {
            Ok(_) => usual,
            Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    })
}

fn settings(arguments: &DemoArguments, folder: &Path) -> Result<Settings, CliError> {
    let database = format!("sqlite://{}", folder.join("ussd-status.db").display());
    // Both partners together stay under the quota of one.
    let quota = (arguments.rate * CALLS_A_PAYMENT * 60 * 2)
        .max(600)
        .to_string();
    let sources = Sources::from_pairs(&[
        ("DATABASE_URL", &database),
        ("LISTEN_ADDR", &listen_address(arguments).to_string()),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("RATE_LIMIT_WRITE", &quota),
        ("SHUTDOWN_GRACE", "5s"),
        ("LOG_FORMAT", "text"),
    ]);
    Ok(Settings::read(&sources)?)
}

/// The master key lies beside the demo's database, so that a second run on the same folder can open the first's
/// secrets. A real installation keeps it elsewhere.
fn vault(folder: &Path) -> Result<Vault, CliError> {
    let path = folder.join("demo-master.key");
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let key = match std::fs::read_to_string(&path) {
        Ok(key) => key,
        Err(_) => {
            let key = new_master_key().map_err(|error| CliError::Failed(error.to_string()))?;
            std::fs::write(&path, &key).map_err(failed)?;
            key
        }
    };
    Vault::new(&key, None)
        .map_err(|error| CliError::Failed(format!("{}: its content {error}", path.display())))
}

async fn make_partner(
    store: &Arc<dyn Store>,
    vault: &Vault,
    now: Instant,
    provider: Provider,
) -> Result<DemoPartner, CliError> {
    let sealing = |error: crate::vault::VaultError| CliError::Failed(error.to_string());
    let (name, currency) = match provider {
        Provider::Mpesa => ("Duka Nairobi", Currency::kes()),
        Provider::Clickpesa => ("Duka Dodoma", Currency::tzs()),
    };
    let id = PartnerId::new(now);
    let (key, api_key) = new_key(id, Scope::DEFAULT.to_vec(), None, now)?;
    let partner = Partner {
        id,
        name: name.to_owned(),
        currency,
        suspended: false,
        created_at: now,
    };
    let audit = Desk::audit("partner.create", Some(id), id);
    store.insert_partner(partner, key, audit).await?;
    let checksum_key = match provider {
        Provider::Mpesa => None,
        Provider::Clickpesa => Some(hex(&random_bytes::<16>().map_err(sealing)?)),
    };
    let credentials = match provider {
        Provider::Mpesa => json!({"environment": "sandbox", "shortcode": "174379",
            "consumer_key": "demo", "consumer_secret": "demo"}),
        Provider::Clickpesa => {
            json!({"environment": "sandbox", "client_id": "demo", "api_key": "demo",
            "checksum_key": checksum_key})
        }
    };
    let account_id = AccountId::new(now);
    let account = Account {
        id: account_id,
        partner_id: id,
        provider,
        environment: "sandbox".to_owned(),
        shortcode: (provider == Provider::Mpesa).then(|| "174379".to_owned()),
        till_number: None,
        callback_token: hex(&random_bytes::<16>().map_err(sealing)?),
        sealed_credentials: vault
            .seal(
                &format!("account:{account_id}"),
                credentials.to_string().as_bytes(),
            )
            .map_err(sealing)?,
        created_at: now,
    };
    let audit = Desk::audit("account.create", Some(id), account_id);
    store.insert_account(account.clone(), audit).await?;
    Ok(DemoPartner {
        id,
        name,
        api_key,
        account,
        checksum_key,
    })
}

async fn make_endpoint(
    store: &Arc<dyn Store>,
    vault: &Vault,
    now: Instant,
    partner: &DemoPartner,
    receiver: &Receiver,
) -> Result<(), CliError> {
    let sealing = |error: crate::vault::VaultError| CliError::Failed(error.to_string());
    let label = label(partner.account.provider);
    let secret = Secret::generate().map_err(sealing)?;
    receiver.set_secrets(label, &[&secret.reveal()]);
    let id = EndpointId::new(now);
    let endpoint = Endpoint {
        id,
        partner_id: partner.id,
        url: receiver.url(label),
        events: Vec::new(),
        description: Some("the demo's receiver".to_owned()),
        sealed_secret: vault
            .seal(&format!("endpoint:{id}"), secret.reveal().as_bytes())
            .map_err(sealing)?,
        disabled_at: None,
        created_at: now,
    };
    let audit = Desk::audit("webhook.create", Some(partner.id), id);
    store.insert_endpoint(endpoint, audit).await?;
    Ok(())
}

fn label(provider: Provider) -> &'static str {
    match provider {
        Provider::Mpesa => "nairobi",
        Provider::Clickpesa => "dodoma",
    }
}

fn introduce(
    service: &str,
    partners: &[DemoPartner; 2],
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
             -d '{{\"client_request_id\":\"HELLO-1\",\"msisdn\":\"0712345678\",\"amount\":1200}}' '{service}/api/ussd/transactions'"
        ),
        String::new(),
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

/// Six characters that tell this run's references from those of another on the same database.
fn run_prefix() -> Result<String, CliError> {
    let bytes = random_bytes::<3>().map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(hex(&bytes).to_ascii_uppercase())
}

fn merchants(
    partners: &[DemoPartner; 2],
    service: &str,
    simulator: &RunningSimulator,
    arguments: &DemoArguments,
    prefix: &str,
    now: &Now,
) -> Result<Vec<Merchant>, CliError> {
    partners
        .iter()
        .zip(["K", "T"])
        .map(|(partner, country)| {
            let callback = |kind: &str| {
                format!(
                    "{service}/callbacks/{}/{kind}",
                    partner.account.callback_token
                )
            };
            let provider = match partner.account.provider {
                Provider::Mpesa => MerchantProvider::Mpesa {
                    consumer_key: "demo-merchant".to_owned(),
                    stk_callback_url: callback("stk"),
                    b2c_result_url: callback("b2c-result"),
                    b2c_timeout_url: callback("b2c-timeout"),
                },
                Provider::Clickpesa => {
                    simulator.set_clickpesa_application(
                        "demo-merchant",
                        ClickpesaApplication {
                            webhook_url: callback("clickpesa"),
                            checksum_key: partner.checksum_key.clone(),
                        },
                    );
                    MerchantProvider::ClickPesa {
                        client_id: "demo-merchant".to_owned(),
                        checksum_key: partner.checksum_key.clone(),
                    }
                }
            };
            Merchant::new(MerchantSettings {
                service_url: service.to_owned(),
                api_key: partner.api_key.clone(),
                simulator_url: simulator.url(),
                provider,
                seed: arguments.seed,
                reference_prefix: format!("{country}{prefix}"),
                now: Arc::clone(now),
            })
            .map_err(|error| CliError::Failed(error.to_string()))
        })
        .collect()
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
                        Output::line(&format!("status   {}  {}", moved.transaction_id, moved.status));
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
        "{} payments: {} became success, {} failed, the others are open",
        tally.payments, tally.success, tally.failed
    ));
    Output::line(&format!(
        "{} webhooks verified, {} repeated, {} rejected",
        tally.verified, tally.repeated, tally.rejected
    ));
}
