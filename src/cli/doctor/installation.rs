//! The installation itself: master key, database, clock, what strangers can reach, whether the public address answers.

use std::time::Duration;

use secrecy::ExposeSecret;
use url::Url;

use super::Finding;
use crate::cli::rekey;
use crate::domain::clock::Clock;
use crate::providers::client::{Call, HttpClient};
use crate::settings::Settings;
use crate::store::{DatabaseUrl, Store, StoreError};
use crate::vault::Vault;

/// How far the machine's clock may be from the database's. Daraja's passwords and webhook signatures carry the time;
/// receivers of the latter allow five minutes.
const CLOCK_TOLERANCE: chrono::Duration = chrono::Duration::seconds(5);
/// How long the public address may take to answer.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// How many stuck transactions are named.
const STUCK_NAMED: i64 = 5;

pub fn master_key(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Vault> {
    const CHECK: &str = "master key";
    let Some(key) = &settings.master_key else {
        findings.push(
            Finding::failing(CHECK, "MASTER_KEY is not set")
                .remedy("make one with: openssl rand -base64 32, and keep it"),
        );
        return None;
    };
    let previous = settings.master_key_previous.as_ref();
    match Vault::new(
        key.expose_secret(),
        previous.map(ExposeSecret::expose_secret),
    ) {
        Ok(vault) => {
            findings.push(Finding::ok(CHECK, "is a key"));
            Some(vault)
        }
        Err(error) => {
            findings.push(Finding::failing(
                CHECK,
                format!("MASTER_KEY or MASTER_KEY_PREVIOUS {error}"),
            ));
            None
        }
    }
}

pub fn no_database(settings: &Settings, error: &StoreError) -> Finding {
    Finding::failing("database", format!("{:?}: {error}", settings.database_url))
        .remedy("check DATABASE_URL, the server and the user's rights")
}

/// A file that is not there is not made just to look at it.
pub fn missing_file(settings: &Settings) -> Option<Finding> {
    match &settings.database_url {
        DatabaseUrl::Sqlite(path) if !std::path::Path::new(path).exists() => Some(
            Finding::failing("database", format!("there is no file {path}"))
                .remedy("run: ussd-status migrate, or check DATABASE_URL"),
        ),
        _ => None,
    }
}

/// Whether the checks that need the database can go on.
pub async fn database(
    settings: &Settings,
    store: &dyn Store,
    clock: &dyn Clock,
    findings: &mut Vec<Finding>,
) -> bool {
    match store.list_pending_migrations().await {
        Ok(pending) if pending.is_empty() => {
            findings.push(Finding::ok(
                "database",
                format!("{:?} answers", settings.database_url),
            ));
            findings.push(Finding::ok("migrations", "none is pending"));
        }
        Ok(pending) => {
            findings.push(
                Finding::failing("migrations", format!("pending: {}", pending.join(", ")))
                    .remedy("run: ussd-status migrate"),
            );
            return false;
        }
        Err(error) => {
            findings.push(no_database(settings, &error));
            return false;
        }
    }
    findings.extend(time(store, clock).await);
    findings.extend(backlog(store).await);
    true
}

async fn time(store: &dyn Store, clock: &dyn Clock) -> Option<Finding> {
    const CHECK: &str = "clock";
    let theirs = store.read_clock().await.ok()?;
    let apart = (clock.now() - theirs).abs();
    Some(if apart > CLOCK_TOLERANCE {
        Finding::failing(
            CHECK,
            format!("is {} s away from the database's", apart.num_seconds()),
        )
        .remedy("let both follow NTP: passwords and signatures carry the time")
    } else {
        Finding::ok(CHECK, "agrees with the database's")
    })
}

async fn backlog(store: &dyn Store) -> Vec<Finding> {
    let Ok(counted) = store.count_backlog().await else {
        return Vec::new();
    };
    let mut findings = vec![Finding::ok(
        "backlog",
        format!(
            "{} transactions open, {} webhooks to deliver, {} callbacks wait for their id",
            counted.open_transactions, counted.pending_deliveries, counted.waiting_callbacks
        ),
    )];
    if counted.stuck_transactions > 0 {
        let named = store
            .list_stuck(None, STUCK_NAMED)
            .await
            .unwrap_or_default();
        let named: Vec<String> = named
            .iter()
            .map(|(transaction, _)| transaction.id.to_string())
            .collect();
        findings.push(
            Finding::warning(
                "stuck transactions",
                format!(
                    "{}, the newest: {}",
                    counted.stuck_transactions,
                    named.join(", ")
                ),
            )
            .remedy("nobody ever told what became of them: look them up in the provider's portal"),
        );
    }
    findings
}

/// Whether the previous master key is still needed.
pub async fn previous_key(store: &dyn Store, vault: &Vault) -> Option<Finding> {
    const CHECK: &str = "previous master key";
    if !vault.has_previous() {
        return None;
    }
    Some(match rekey::count_previous(store, vault).await {
        Ok(0) => Finding::ok(
            CHECK,
            "nothing is sealed under it any more; MASTER_KEY_PREVIOUS may go",
        ),
        Ok(count) => Finding::warning(CHECK, format!("{count} values are still sealed under it"))
            .remedy("run: ussd-status rekey"),
        Err(error) => Finding::failing(CHECK, error.to_string()),
    })
}

/// What strangers can reach, and who watches.
pub fn exposure(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_https = settings
        .public_url
        .as_ref()
        .is_some_and(|url| url.scheme() == "https");
    if is_https && settings.trusted_proxies.is_empty() {
        findings.push(
            Finding::warning(
                "proxy",
                "PUBLIC_URL is https but TRUSTED_PROXIES is empty: every caller looks like the proxy",
            )
            .remedy("name the proxy's address in TRUSTED_PROXIES"),
        );
    }
    if settings.webhook_allow_private {
        findings.push(
            Finding::warning(
                "webhooks",
                "WEBHOOK_ALLOW_PRIVATE lets webhooks go to private addresses",
            )
            .remedy("for tests only"),
        );
    }
    findings.push(match settings.admin_listen_addr {
        Some(address) => Finding::ok("monitoring", format!("/metrics on {address}")),
        None => Finding::ok("monitoring", "/metrics for this machine only"),
    });
    findings
}

/// Whether the public address leads here with a certificate that is in order.
pub async fn reach(public_url: Option<&Url>) -> Option<Finding> {
    const CHECK: &str = "public address";
    let url = public_url.filter(|url| url.scheme() == "https")?;
    let client = HttpClient::with_timeout(REACH_TIMEOUT).ok()?;
    let livez = format!("{}/livez", url.as_str().trim_end_matches('/'));
    Some(match client.exchange(Call::get(livez)).await {
        Ok(heard) if heard.status == 200 => Finding::ok(CHECK, "answers with a valid certificate"),
        // The example proxy keeps /livez to this machine.
        Ok(heard) if heard.status < 500 => Finding::ok(
            CHECK,
            format!("answers {} with a valid certificate", heard.status),
        ),
        Ok(heard) => Finding::failing(CHECK, format!("answers {}", heard.status))
            .remedy("is the service running behind the proxy?"),
        Err(no_answer) => Finding::warning(CHECK, no_answer.reason)
            .remedy("check from outside: DNS, firewall, certificate"),
    })
}
