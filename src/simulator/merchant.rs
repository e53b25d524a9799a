//! The other system of the demo: it registers a payment with the service, asks the provider for it by
//! itself, and tells the service which ids the provider gave. Numbers, kinds and amounts come from a seed.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::outcome::{ENDINGS, ending_of};
use super::{Now, clickpesa};

/// Public knowledge: the shortcode and a passkey for a provider that accepts any.
const SHORTCODE: &str = "174379";
const PASSKEY: &str = "simulated-passkey";

/// Whom a merchant works with.
#[derive(Clone)]
pub struct MerchantSettings {
    /// Base URL of the service.
    pub service_url: String,
    /// The partner's key there.
    pub api_key: String,
    /// Base URL of the simulator.
    pub simulator_url: String,
    /// Which provider, and what it needs.
    pub provider: MerchantProvider,
    /// The same seed gives the same payments.
    pub seed: u64,
    /// Begins every reference: letters and digits, at most ten, and another one for every run against the
    /// same database.
    pub reference_prefix: String,
    /// The clock.
    pub now: Now,
}

/// The provider's side of a merchant.
#[derive(Clone)]
pub enum MerchantProvider {
    /// Callback URLs go along with each call; `/{transaction_id}` is added to them.
    Mpesa {
        /// Not the service's own: a new token ends the one before of the same key.
        consumer_key: String,
        /// For STK pushes.
        stk_callback_url: String,
        /// For B2C results.
        b2c_result_url: String,
        /// For B2C queue timeouts.
        b2c_timeout_url: String,
    },
    /// Webhooks go where the simulator was told to send those of `client_id`.
    ClickPesa {
        /// The application.
        client_id: String,
        /// If the application signs its requests.
        checksum_key: Option<String>,
    },
}

/// A payment that was tried.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// The service's id.
    pub transaction_id: String,
    /// Ours.
    pub client_request_id: String,
    /// `stk_push`, `b2c` or `ussd_push`.
    pub kind: &'static str,
    /// Made up.
    pub msisdn: String,
    /// Whole units.
    pub amount: u64,
    /// The name of the number's ending, if it is in the table.
    pub ending: Option<&'static str>,
    /// What the provider said.
    pub answer: ProviderAnswer,
}

/// How a provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// Taken; the service has the ids.
    Accepted,
    /// Not taken, in the provider's words.
    Refused(String),
    /// Nobody knows.
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
    token: Option<String>,
}

/// What is drawn before anybody is asked.
struct Order {
    reference: String,
    kind: &'static str,
    msisdn: String,
    amount: u64,
}

/// The provider's ids, as the service's PATCH takes them.
type Ids = Value;

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
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            rng: StdRng::seed_from_u64(settings.seed),
            settings,
            client,
            count: 0,
            token: None,
        })
    }

    /// One payment, from registration to the provider's ids. What becomes of it comes by callback.
    ///
    /// # Errors
    /// If the service refuses, or somebody cannot be reached before the provider was asked to pay.
    pub async fn pay_one(&mut self) -> Result<Payment, MerchantError> {
        let order = self.draw();
        let transaction_id = self.register(&order).await?;
        let answer = match self.ask_provider(&order, &transaction_id).await? {
            Ok(ids) => {
                let url = format!(
                    "{}/api/ussd/transactions/{transaction_id}",
                    self.settings.service_url
                );
                self.call_service(self.client.patch(url).json(&ids)).await?;
                ProviderAnswer::Accepted
            }
            Err(answer) => answer,
        };
        Ok(Payment {
            transaction_id,
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
        let (country, kind) = match self.settings.provider {
            MerchantProvider::Mpesa { .. } if self.rng.random_range(0..3) == 0 => ("2547", "b2c"),
            MerchantProvider::Mpesa { .. } => ("2547", "stk_push"),
            MerchantProvider::ClickPesa { .. } => ("2557", "ussd_push"),
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

    async fn register(&self, order: &Order) -> Result<String, MerchantError> {
        let provider = match self.settings.provider {
            MerchantProvider::Mpesa { .. } => "mpesa",
            MerchantProvider::ClickPesa { .. } => "clickpesa",
        };
        let url = format!("{}/api/ussd/transactions", self.settings.service_url);
        let answer = self
            .call_service(self.client.post(url).json(&json!({
                "client_request_id": order.reference,
                "msisdn": order.msisdn,
                "amount": order.amount,
                "provider": provider,
                "kind": order.kind,
            })))
            .await?;
        answer
            .pointer("/transaction/transaction_id")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| MerchantError::Service {
                status: 200,
                body: "the answer has no transaction id".to_owned(),
            })
    }

    async fn call_service(&self, request: RequestBuilder) -> Result<Value, MerchantError> {
        let answer = request
            .header("x-api-key", &self.settings.api_key)
            .send()
            .await?;
        let status = answer.status();
        let body = answer.text().await?;
        let json = serde_json::from_str(&body).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            _ => Err(MerchantError::Service {
                status: status.as_u16(),
                body: body.chars().take(500).collect(),
            }),
        }
    }

    /// The ids that the provider gave, or how else it answered.
    async fn ask_provider(
        &mut self,
        order: &Order,
        transaction_id: &str,
    ) -> Result<Result<Ids, ProviderAnswer>, MerchantError> {
        let (path, body) = self.provider_request(order, transaction_id);
        let url = format!("{}{path}", self.settings.simulator_url);
        // A token that was replaced or has expired is refused before anything is done: once more, then.
        for fresh in [false, true] {
            let token = self.token(fresh).await?;
            let sent = self
                .client
                .post(&url)
                .header("authorization", token)
                .json(&body)
                .send()
                .await;
            let Ok(answer) = sent else {
                return Ok(Err(ProviderAnswer::Unknown));
            };
            let status = answer.status();
            let Ok(said) = answer.json::<Value>().await else {
                return Ok(Err(ProviderAnswer::Unknown));
            };
            if status.is_success() {
                return Ok(ids(order, &said).ok_or(ProviderAnswer::Unknown));
            }
            let stale = status.as_u16() == 401
                || said.get("errorCode").and_then(Value::as_str) == Some("404.001.03");
            if !stale || fresh {
                return Ok(Err(ProviderAnswer::Refused(refusal(&said))));
            }
        }
        Ok(Err(ProviderAnswer::Unknown))
    }

    fn provider_request(&self, order: &Order, transaction_id: &str) -> (&'static str, Value) {
        match (&self.settings.provider, order.kind) {
            (
                MerchantProvider::Mpesa {
                    b2c_result_url,
                    b2c_timeout_url,
                    ..
                },
                "b2c",
            ) => (
                "/mpesa/b2c/v3/paymentrequest",
                json!({
                    "OriginatorConversationID": order.reference,
                    "InitiatorName": "merchant",
                    "SecurityCredential": "c2ltdWxhdGVk",
                    "CommandID": "BusinessPayment",
                    "Amount": order.amount,
                    "PartyA": SHORTCODE,
                    "PartyB": order.msisdn,
                    "Remarks": "demo payout",
                    "QueueTimeOutURL": format!("{b2c_timeout_url}/{transaction_id}"),
                    "ResultURL": format!("{b2c_result_url}/{transaction_id}"),
                }),
            ),
            (
                MerchantProvider::Mpesa {
                    stk_callback_url, ..
                },
                _,
            ) => {
                let now = (self.settings.now)() + chrono::TimeDelta::hours(3);
                let timestamp = now.format("%Y%m%d%H%M%S").to_string();
                (
                    "/mpesa/stkpush/v1/processrequest",
                    json!({
                        "BusinessShortCode": SHORTCODE,
                        "Password": STANDARD.encode(format!("{SHORTCODE}{PASSKEY}{timestamp}")),
                        "Timestamp": timestamp,
                        "TransactionType": "CustomerPayBillOnline",
                        "Amount": order.amount,
                        "PartyA": order.msisdn,
                        "PartyB": SHORTCODE,
                        "PhoneNumber": order.msisdn,
                        "CallBackURL": format!("{stk_callback_url}/{transaction_id}"),
                        "AccountReference": "DEMO",
                        "TransactionDesc": "demo",
                    }),
                )
            }
            (MerchantProvider::ClickPesa { checksum_key, .. }, _) => {
                let mut body = json!({
                    "amount": order.amount.to_string(),
                    "currency": "TZS",
                    "orderReference": order.reference,
                    "phoneNumber": order.msisdn,
                });
                if let (Some(key), Some(fields)) = (checksum_key, body.as_object_mut()) {
                    let checksum = clickpesa::checksum(fields, key);
                    fields.insert("checksum".to_owned(), Value::from(checksum));
                }
                ("/third-parties/payments/initiate-ussd-push-request", body)
            }
        }
    }

    /// The whole Authorization header.
    async fn token(&mut self, fresh: bool) -> Result<String, MerchantError> {
        if let (Some(token), false) = (&self.token, fresh) {
            return Ok(token.clone());
        }
        let base = &self.settings.simulator_url;
        let token = match &self.settings.provider {
            MerchantProvider::Mpesa { consumer_key, .. } => {
                let url = format!("{base}/oauth/v1/generate?grant_type=client_credentials");
                let answer = self
                    .client
                    .get(url)
                    .basic_auth(consumer_key, Some("secret"))
                    .send()
                    .await?;
                format!(
                    "Bearer {}",
                    text(&answer.json().await?, "access_token").unwrap_or_default()
                )
            }
            MerchantProvider::ClickPesa { client_id, .. } => {
                let answer = self
                    .client
                    .post(format!("{base}/third-parties/generate-token"))
                    .header("client-id", client_id)
                    .header("api-key", "merchant")
                    .send()
                    .await?;
                text(&answer.json().await?, "token").unwrap_or_default()
            }
        };
        self.token = Some(token.clone());
        Ok(token)
    }
}

fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name)?.as_str().map(str::to_owned)
}

fn ids(order: &Order, said: &Value) -> Option<Ids> {
    Some(match order.kind {
        "b2c" => json!({
            "conversation_id": text(said, "ConversationID")?,
            "originator_conversation_id": text(said, "OriginatorConversationID")?,
        }),
        "stk_push" => json!({"conversation_id": text(said, "CheckoutRequestID")?}),
        _ => json!({
            "conversation_id": text(said, "id")?,
            "order_reference": text(said, "orderReference")?,
        }),
    })
}

fn refusal(said: &Value) -> String {
    text(said, "errorMessage")
        .or_else(|| text(said, "message"))
        .unwrap_or_default()
}
