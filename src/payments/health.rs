//! What is set up wrong with an account, before a payment finds out: the checks of `doctor` and of the console. They change
//! nothing and, but for one token call an account, send nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::account::Account;
use crate::domain::clock::Clock;
use crate::domain::transaction::Provider;
use crate::providers;
use crate::providers::answer::TokenError;
use crate::providers::client::HttpClient;
use crate::providers::payment_provider::Setup;
use crate::settings::Settings;
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

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not for everything or not for long.
    Warning,
    /// It does not work.
    Failing,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failing => "failing",
        }
    }
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// What to do; empty when nothing is.
    pub remedy: String,
}

impl Finding {
    fn new(verdict: Verdict, check: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict,
            why: why.into(),
            remedy: String::new(),
        }
    }

    /// All is well.
    pub fn ok(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, why)
    }

    /// Something to know.
    pub fn warning(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, check, why)
    }

    /// Something to mend.
    pub fn failing(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Verdict::Failing, check, why)
    }

    /// The same, with what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// As a line of text.
    pub fn line(&self) -> String {
        let mut line = format!("{:<8} {}: {}", self.verdict.as_str(), self.check, self.why);
        if !self.remedy.is_empty() {
            line.push_str("; ");
            line.push_str(&self.remedy);
        }
        line
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "check": self.check,
            "verdict": self.verdict.as_str(),
            "why": self.why,
            "remedy": self.remedy,
        })
    }
}

/// Every check of one account; without an HTTP client there is no token call.
pub async fn examine_account(
    account: &Account,
    vault: Option<&Vault>,
    settings: &Settings,
    http: Option<&HttpClient>,
    clock: &Arc<dyn Clock>,
) -> Vec<Finding> {
    let check = format!("account {} ({})", account.id, account.provider);
    let Some(vault) = vault else {
        return vec![Finding::failing(
            check,
            "cannot be opened without MASTER_KEY",
        )];
    };
    let credentials = match credentials(vault, account) {
        Ok(credentials) => credentials,
        Err(why) => {
            return vec![
                Finding::failing(check, why)
                    .remedy("is this the key that sealed it? see MASTER_KEY_PREVIOUS"),
            ];
        }
    };
    let mut findings = gaps(&check, account, &credentials);
    if let Some(http) = http {
        findings.push(token(settings, &check, account, &credentials, http, clock).await);
    }
    findings
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
