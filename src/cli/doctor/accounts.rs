//! Every account's credentials, with a real token call, and the production checklist.

use std::sync::Arc;

use crate::domain::account::Account;
use crate::domain::clock::Clock;
use crate::domain::search::{Filter, Position, Search};
use crate::domain::status::Status;
use crate::payments::health::{Finding, examine_account};
use crate::providers::client::HttpClient;
use crate::settings::Settings;
use crate::store::{Store, StoreError};
use crate::vault::Vault;

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
        findings.extend(examine_account(account, vault, settings, http.as_ref().ok(), clock).await);
    }
    findings.extend(checklist(store, &accounts, clock.as_ref()).await?);
    Ok(findings)
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
