//! The accounts at the providers, and whether they work: the checks of `doctor`, one account at a time, for each makes a
//! real token call.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::page::{Frame, Section, page};
use super::rows;
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::account::Account;
use crate::domain::identity::AccountId;
use crate::domain::partner::{Partner, Scope};
use crate::http::{ApiError, State};
use crate::payments::health::{Finding, Verdict};

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsPage {
    frame: Frame,
    has_partners: bool,
    accounts: Vec<Line>,
    checked: Option<Checked>,
}

/// An account in the list.
struct Line {
    id: String,
    path: String,
    partner: Option<String>,
    provider: &'static str,
    environment: String,
    is_production: bool,
    number: String,
    created_at: Time,
}

/// What the checks of one account found.
struct Checked {
    account: String,
    findings: Vec<Found>,
}

/// One finding.
struct Found {
    tone: &'static str,
    verdict: &'static str,
    why: String,
    remedy: String,
}

/// The accounts of the partner, or of all.
pub async fn list(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    listed(&state, &viewer, None).await
}

async fn listed(
    state: &State,
    viewer: &Viewer,
    checked: Option<Checked>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.partner().map(|partner| partner.id);
    let accounts = state.store.list_accounts(partner).await?;
    let partners = rows::partners(state.store.as_ref(), viewer).await?;
    page(&AccountsPage {
        frame: Frame::of(viewer, Section::Accounts),
        has_partners: partners.is_some(),
        accounts: accounts
            .iter()
            .map(|account| line(account, partners.as_deref()))
            .collect(),
        checked,
    })
}

fn line(account: &Account, partners: Option<&[Partner]>) -> Line {
    let partner = partners.map(|partners| {
        partners
            .iter()
            .find(|partner| partner.id == account.partner_id)
            .map_or_else(
                || account.partner_id.to_string(),
                |partner| partner.name.clone(),
            )
    });
    let number = account.till_number.as_ref().or(account.shortcode.as_ref());
    Line {
        id: account.id.to_string(),
        path: format!(
            "/console/accounts/{}/{}/check",
            account.partner_id, account.id
        ),
        partner,
        provider: text::provider(account.provider),
        is_production: account.environment == "production",
        environment: account.environment.clone(),
        number: number.cloned().unwrap_or_default(),
        created_at: Time(account.created_at),
    }
}

/// Checks one account and shows what was found.
pub async fn check(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::PaymentsWrite)?;
    let partner = viewer.partner_in_path(&path.0)?;
    let none = || ApiError::not_found("There is no such account");
    let id: AccountId = path.1.parse().map_err(|_| none())?;
    let accounts = state.store.list_accounts(Some(partner)).await?;
    let account = accounts
        .into_iter()
        .find(|account| account.id == id)
        .ok_or_else(none)?;
    let audit = viewer.audit("account.check", partner, id);
    state.store.record_audit(audit).await?;
    let payments = std::sync::Arc::clone(&state.payments);
    let work = async move { payments.accounts.examine(&account).await };
    let findings = state.payments.run(work).await?;
    let checked = Checked {
        account: id.to_string(),
        findings: findings.into_iter().map(found).collect(),
    };
    listed(&state, &viewer, Some(checked)).await
}

fn found(finding: Finding) -> Found {
    Found {
        tone: match finding.verdict {
            Verdict::Ok => "success",
            Verdict::Warning => "",
            Verdict::Failing => "failed",
        },
        verdict: finding.verdict.as_str(),
        why: finding.why,
        remedy: finding.remedy,
    }
}
