//! Every account's credentials, with a real token call, and the production checklist.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Finding;
use crate::domain::account::Account;
use crate::domain::clock::Clock;
use crate::domain::search::{Filter, Position, Search};
use crate::domain::status::Status;
use crate::domain::transaction::Provider;
use crate::providers;
use crate::providers::client::HttpClient;
use crate::providers::payment_provider::{Setup, TokenError};
use crate::settings::Settings;
use crate::store::{Store, StoreError};
use crate::vault::Vault;

/// The shortcode of Safaricom's sandbox.
const SANDBOX_SHORTCODE: &str = "174379";

/// What an account cannot do without a key of its credentials.
const NEEDED_FOR: [(&str, &str); 4] = [
    ("passkey", "STK push and STK query"),
    (
        "initiator_name",
        "B2C, reversal, balance and status queries",
    ),
    (
        "initiator_password",
        "B2C, reversal, balance and status queries",
    ),
    ("certificate", "B2C, reversal, balance and status queries"),
];

pub async fn examine(
    settings: &Settings,
    store: &dyn Store,
    vault: Option<&Vault>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Finding>, StoreError> {
    let accounts = store.list_accounts(None).await?;
    if accounts.is_empty() {
        return Ok(vec![
            Finding::warning("accounts", "there is none")
                .remedy("make one with: ussd-status account create"),
        ]);
    }
    let mut findings = Vec::new();
    let http = HttpClient::new();
    for account in &accounts {
        let check = format!("account {} ({})", account.id, account.provider);
        let Some(vault) = vault else {
            findings.push(Finding::failing(
                check,
                "cannot be opened without MASTER_KEY",
            ));
            continue;
        };
        match credentials(vault, account) {
            Ok(credentials) => {
                findings.extend(gaps(&check, account, &credentials));
                if let Ok(http) = &http {
                    findings
                        .push(token(settings, &check, account, &credentials, http, clock).await);
                }
            }
            Err(why) => findings.push(
                Finding::failing(check, why)
                    .remedy("is this the key that sealed it? see MASTER_KEY_PREVIOUS"),
            ),
        }
    }
    findings.extend(checklist(store, &accounts, clock.as_ref()).await?);
    Ok(findings)
}

fn credentials(vault: &Vault, account: &Account) -> Result<Map<String, Value>, String> {
    let plain = vault
        .open(&account.id.seal_owner(), &account.sealed_credentials)
        .map_err(|error| format!("its credentials: {error}"))?;
    serde_json::from_slice(&plain).map_err(|_| "its credentials are no JSON object".to_owned())
}

/// What is missing, and what it is missing for.
fn gaps(check: &str, account: &Account, credentials: &Map<String, Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match account.provider {
        Provider::Mpesa => {
            let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (key, purpose) in NEEDED_FOR {
                if !credentials.contains_key(key) {
                    missing.entry(purpose).or_default().push(key);
                }
            }
            findings.extend(missing.into_iter().map(|(purpose, keys)| {
                Finding::warning(check, format!("no {}: no {purpose}", keys.join(", ")))
            }));
            if account.environment == "production"
                && account.shortcode.as_deref() == Some(SANDBOX_SHORTCODE)
            {
                findings.push(
                    Finding::failing(
                        check,
                        format!("shortcode {SANDBOX_SHORTCODE} is the sandbox's"),
                    )
                    .remedy("use the shortcode of your own paybill or till"),
                );
            }
        }
        Provider::Clickpesa => {
            if !credentials.contains_key("checksum_key") {
                findings.push(
                    Finding::warning(
                        check,
                        "no checksum_key: callbacks are believed on their token alone",
                    )
                    .remedy("turn the checksum on in ClickPesa's dashboard and add its key"),
                );
            }
        }
    }
    if account.environment == "production" && credentials.contains_key("base_url") {
        findings.push(Finding::warning(
            check,
            "base_url sends a production account's calls to another address than the provider's",
        ));
    }
    findings
}

async fn token(
    settings: &Settings,
    check: &str,
    account: &Account,
    credentials: &Map<String, Value>,
    http: &HttpClient,
    clock: &Arc<dyn Clock>,
) -> Finding {
    let setup = Setup {
        account,
        credentials,
        base_url: settings.provider_base_url(account.provider),
        http: http.clone(),
        clock: Arc::clone(clock),
        tokens: None,
    };
    let client = match providers::connect(setup) {
        Ok(client) => client,
        Err(error) => return Finding::failing(check, format!("credentials: {error}")),
    };
    match client.check_credentials().await {
        Ok(()) => Finding::ok(
            check,
            format!("{}: the provider gave a token", account.environment),
        ),
        Err(TokenError::Refused(refusal)) => Finding::failing(
            check,
            format!(
                "the provider refuses its credentials: {} {}",
                refusal.code.unwrap_or_default(),
                refusal.message
            ),
        )
        .remedy("compare them with the portal, and the environment too"),
        Err(TokenError::Unknown(no_answer)) => Finding::warning(
            check,
            format!("the provider did not answer: {}", no_answer.reason),
        )
        .remedy("a wrong key and secret may look like this at Safaricom; otherwise try again"),
    }
}

/// The guide's production checklist, as far as a program can tick it.
async fn checklist(
    store: &dyn Store,
    accounts: &[Account],
    clock: &dyn Clock,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let in_production: Vec<&Account> = accounts
        .iter()
        .filter(|account| account.environment == "production")
        .collect();
    if in_production.is_empty() {
        return Ok(vec![Finding::warning(
            "production",
            "every account is a sandbox's: no real money moves",
        )]);
    }
    for account in in_production {
        let search = Search {
            filter: Filter {
                status: Some(Status::Success),
                ..Filter::default()
            },
            limit: 1,
            position: Position::Offset(0),
            with_statistics: false,
        };
        let found = store
            .list_transactions(account.partner_id, search, clock.now())
            .await?;
        let check = format!("production, account {}", account.id);
        findings.push(if found.transactions.is_empty() {
            Finding::warning(check, "no payment of this partner has ever succeeded")
                .remedy("test with a small amount and a real phone")
        } else {
            Finding::ok(check, "payments have succeeded")
        });
    }
    Ok(findings)
}
