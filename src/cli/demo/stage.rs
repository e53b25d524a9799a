//! Sets the demo's stage: its settings and master key, the two partners with their accounts and endpoints, and the
//! merchants that will pay.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;

use super::DemoArguments;
use crate::cli::key::new_key;
use crate::cli::{CliError, Desk};
use crate::console::password;
use crate::domain::account::Account;
use crate::domain::clock::Instant;
use crate::domain::delivery::{Endpoint, Pace};
use crate::domain::identity::{AccountId, EndpointId, OperatorId, PartnerId, hex};
use crate::domain::money::Currency;
use crate::domain::operator::Operator;
use crate::domain::partner::{Partner, Scope};
use crate::domain::transaction::Provider;
use crate::settings::{Settings, Sources};
use crate::simulator::merchant::{Merchant, MerchantProvider, MerchantSettings};
use crate::simulator::receiver::Receiver;
use crate::simulator::{Application as ClickpesaApplication, CERTIFICATE, RunningSimulator};
use crate::store::Store;
use crate::vault::{Vault, new_master_key, random_bytes};
use crate::webhooks::Secret;

/// The simulator takes any credentials.
const CREDENTIAL: &str = "demo";

/// The operator of the console.
pub const OPERATOR: &str = "demo";

/// One of the two partners.
pub struct DemoPartner {
    id: PartnerId,
    /// Its name.
    pub name: &'static str,
    /// Its key.
    pub api_key: String,
    account: Account,
    checksum_key: Option<String>,
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

pub fn settings(
    arguments: &DemoArguments,
    folder: &Path,
    simulator: &RunningSimulator,
) -> Result<Settings, CliError> {
    let providers = simulator.url();
    let database = format!("sqlite://{}", folder.join("ussd-status.db").display());
    // Both partners together stay under the quota of one.
    let quota = (arguments.rate * 60 * 2).max(600).to_string();
    let sources = Sources::from_pairs(&[
        ("DATABASE_URL", &database),
        ("LISTEN_ADDR", &listen_address(arguments).to_string()),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("RATE_LIMIT_WRITE", &quota),
        ("MPESA_BASE_URL", &providers),
        ("CLICKPESA_BASE_URL", &providers),
        ("RECONCILE_AFTER", "3s"),
        ("SHUTDOWN_GRACE", "5s"),
        ("LOG_FORMAT", "text"),
    ]);
    Ok(Settings::read(&sources)?)
}

/// The master key lies beside the demo's database, so that a second run on the same folder can open the first's
/// secrets. A real installation keeps it elsewhere.
pub fn vault(folder: &Path) -> Result<Vault, CliError> {
    let path = folder.join("demo-master.key");
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let key = match std::fs::read_to_string(&path) {
        Ok(key) => key,
        Err(_) => {
            let key = new_master_key().map_err(|error| CliError::Failed(error.to_string()))?;
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| file.write_all(key.as_bytes()))
                .map_err(failed)?;
            key
        }
    };
    Vault::new(&key, None)
        .map_err(|error| CliError::Failed(format!("{}: its content {error}", path.display())))
}

/// The demo's operator, with a password of this run; one of an earlier run on the same folder gives way.
pub async fn make_operator(store: &Arc<dyn Store>, now: Instant) -> Result<String, CliError> {
    let bytes = random_bytes::<9>().map_err(|error| CliError::Failed(error.to_string()))?;
    let text = hex(&bytes);
    let name = OPERATOR.to_owned();
    let operator = Operator {
        id: OperatorId::new(now),
        name: name.clone(),
        password_hash: password::hash(&SecretString::from(text.as_str()))
            .map_err(CliError::Failed)?,
        created_at: now,
    };
    let audit = |action| Desk::audit(action, None, &name);
    let removed = store.remove_operator(name.clone(), now, audit("console_user.remove"));
    removed.await?;
    let inserted = store.insert_operator(operator, audit("console_user.create"));
    inserted.await?;
    Ok(text)
}

pub async fn make_partner(
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
            "consumer_key": CREDENTIAL, "consumer_secret": CREDENTIAL, "passkey": CREDENTIAL,
            "initiator_name": CREDENTIAL, "initiator_password": CREDENTIAL, "certificate": CERTIFICATE}),
        Provider::Clickpesa => {
            json!({"environment": "sandbox", "client_id": CREDENTIAL, "api_key": CREDENTIAL,
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
            .seal(&account_id.seal_owner(), credentials.to_string().as_bytes())
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

pub async fn make_endpoint(
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
            .seal(&id.seal_owner(), secret.reveal().as_bytes())
            .map_err(sealing)?,
        disabled_at: None,
        created_at: now,
        transaction_id: None,
        previous_secret: None,
        failing_since: None,
        pace: Pace::default(),
        public_key: None,
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

/// Six characters that tell this run's references from those of another on the same database.
pub fn run_prefix() -> Result<String, CliError> {
    let bytes = random_bytes::<3>().map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(hex(&bytes).to_ascii_uppercase())
}

/// Tells the simulated ClickPesa where webhooks go, as its dashboard is told.
pub fn set_dashboard(partner: &DemoPartner, service: &str, simulator: &RunningSimulator) {
    if partner.account.provider == Provider::Clickpesa {
        let token = &partner.account.callback_token;
        simulator.set_clickpesa_application(
            CREDENTIAL,
            ClickpesaApplication {
                webhook_url: format!("{service}/callbacks/{token}/clickpesa"),
                checksum_key: partner.checksum_key.clone(),
            },
        );
    }
}

pub fn merchants(
    partners: &[DemoPartner; 2],
    service: &str,
    seed: u64,
    prefix: &str,
) -> Result<Vec<Merchant>, CliError> {
    partners
        .iter()
        .map(|partner| {
            let (country, provider) = match partner.account.provider {
                Provider::Mpesa => ("K", MerchantProvider::Mpesa),
                Provider::Clickpesa => ("T", MerchantProvider::ClickPesa),
            };
            Merchant::new(MerchantSettings {
                service_url: service.to_owned(),
                api_key: partner.api_key.clone(),
                provider,
                seed,
                reference_prefix: format!("{country}{prefix}"),
            })
            .map_err(|error| CliError::Failed(error.to_string()))
        })
        .collect()
}
