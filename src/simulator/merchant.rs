//! The shop of the demo: it asks the service for payments as a partner's own system would, in one call each, and leaves
//! the rest to it. Numbers, kinds and amounts come from a seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::outcome::{ENDINGS, ending_of};

/// Whom a merchant works with.
#[derive(Clone)]
pub struct MerchantSettings {
    /// Base URL of the service.
    pub service_url: String,
    /// The partner's key there.
    pub api_key: String,
    /// At which provider the partner has its account.
    pub provider: MerchantProvider,
    /// The same seed gives the same payments.
    pub seed: u64,
    /// Begins every reference: letters and digits, at most ten, and another one for every run against the
    /// same database.
    pub reference_prefix: String,
}

/// A merchant's provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MerchantProvider {
    /// Prompts and payouts in Kenya.
    Mpesa,
    /// Prompts and payouts in Tanzania.
    ClickPesa,
}

/// A payment that was tried.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// The service's id; none of a payment that was refused.
    pub transaction_id: Option<String>,
    /// Ours.
    pub client_request_id: String,
    /// `stk_push`, `b2c`, `ussd_push` or `payout`.
    pub kind: &'static str,
    /// Made up.
    pub msisdn: String,
    /// Whole units.
    pub amount: u64,
    /// The name of the number's ending, if it is in the table.
    pub ending: Option<&'static str>,
    /// What the service said of the provider.
    pub answer: ProviderAnswer,
}

/// What the service said of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// It has the payment.
    Accepted,
    /// It refused, in its own words.
    Refused(String),
    /// Nobody knows yet.
    Unknown,
}

/// Why a payment could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum MerchantError {
    /// The service said no.
    #[error("the service answered {status}: {body}")]
    Service {
        /// HTTP status.
        status: u16,
        /// The answer.
        body: String,
    },
    /// Nothing came back.
    #[error("no answer: {0}")]
    Unreachable(#[from] reqwest::Error),
}

/// See the module.
pub struct Merchant {
    settings: MerchantSettings,
    client: reqwest::Client,
    rng: StdRng,
    count: u64,
}

/// What is drawn before anybody is asked.
struct Order {
    reference: String,
    kind: &'static str,
    msisdn: String,
    amount: u64,
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The number is left out: none is ever printed whole, not even a made-up one.
        f.debug_struct("Payment")
            .field("transaction_id", &self.transaction_id)
            .field("client_request_id", &self.client_request_id)
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .field("ending", &self.ending)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

impl Merchant {
    /// A merchant that has not done anything yet.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(settings: MerchantSettings) -> Result<Self, MerchantError> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(40))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            rng: StdRng::seed_from_u64(settings.seed),
            settings,
            client,
            count: 0,
        })
    }

    /// One payment, started by one call. What becomes of it the service tells by webhook.
    ///
    /// # Errors
    /// If the service refuses for a reason of its own, or cannot be reached.
    pub async fn pay_one(&mut self) -> Result<Payment, MerchantError> {
        let order = self.draw();
        let provider = match self.settings.provider {
            MerchantProvider::Mpesa => "mpesa",
            MerchantProvider::ClickPesa => "clickpesa",
        };
        let answer = self
            .client
            .post(format!("{}/api/ussd/payments", self.settings.service_url))
            .header("x-api-key", &self.settings.api_key)
            .json(&json!({
                "provider": provider,
                "kind": order.kind,
                "msisdn": order.msisdn,
                "amount": order.amount,
                "client_request_id": order.reference,
            }))
            .send()
            .await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let answer = match (status, text_at(&said, "/error_code").as_deref()) {
            (200 | 201, _) => ProviderAnswer::Accepted,
            (202, _) => ProviderAnswer::Unknown,
            (502, Some("PROVIDER_1001")) => {
                ProviderAnswer::Refused(text_at(&said, "/error").unwrap_or_default())
            }
            _ => {
                return Err(MerchantError::Service {
                    status,
                    body: text.chars().take(500).collect(),
                });
            }
        };
        Ok(Payment {
            transaction_id: text_at(&said, "/transaction/transaction_id"),
            client_request_id: order.reference,
            kind: order.kind,
            ending: ending_of(&order.msisdn).map(|ending| ending.name),
            msisdn: order.msisdn,
            amount: order.amount,
            answer,
        })
    }

    /// Three numbers in four pay; the fourth has one of the endings.
    fn draw(&mut self) -> Order {
        self.count += 1;
        // Every third payment goes out, as wages or a refund would.
        let goes_out = self.rng.random_range(0..3) == 0;
        let (country, kind) = match (self.settings.provider, goes_out) {
            (MerchantProvider::Mpesa, true) => ("2547", "b2c"),
            (MerchantProvider::Mpesa, false) => ("2547", "stk_push"),
            (MerchantProvider::ClickPesa, true) => ("2557", "payout"),
            (MerchantProvider::ClickPesa, false) => ("2557", "ussd_push"),
        };
        let wanted = if self.rng.random_range(0..4) == 0 {
            ENDINGS.get(self.rng.random_range(0..ENDINGS.len()))
        } else {
            None
        };
        let msisdn = if let Some(ending) = wanted {
            format!(
                "{country}{:04}{}",
                self.rng.random_range(1_000..10_000),
                ending.code
            )
        } else {
            loop {
                let number = format!(
                    "{country}{:08}",
                    self.rng.random_range(10_000_000..100_000_000)
                );
                if ending_of(&number).is_none() {
                    break number;
                }
            }
        };
        Order {
            reference: format!("{}{:06}", self.settings.reference_prefix, self.count),
            kind,
            msisdn,
            amount: self.rng.random_range(1..=500) * 10,
        }
    }
}

fn text_at(answer: &Value, place: &str) -> Option<String> {
    answer.pointer(place)?.as_str().map(str::to_owned)
}
