//! What a provider can do for us, in our own words: collect, pay out, reverse, tell balances, answer questions. Each
//! folder beside this file implements it over HTTP in its `client.rs`. What a provider has not is a typed
//! [`Unsupported`], never a silent nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::answer::{Answer, BalanceAnswer, Outcome, Reply, TokenError, Unsupported};
use super::client::HttpClient;
use super::token::TokenHome;
use crate::domain::account::Account;
use crate::domain::clock::Clock;
use crate::domain::identity::{EnquiryId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Msisdn;
use crate::domain::status_update::CallbackKind;
use crate::domain::transaction::{Kind, Provider, ProviderIds, Transaction};

/// Where a provider posts its news about one account: the public base and the account's token.
#[derive(Clone)]
pub struct CallbackBase {
    base: Url,
    token: String,
}

impl fmt::Debug for CallbackBase {
    /// Without the token, which opens the callback paths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackBase")
    }
}

impl CallbackBase {
    /// Paths below `base` for the account that `token` names.
    pub fn new(base: Url, token: impl Into<String>) -> Self {
        Self {
            base,
            token: token.into(),
        }
    }

    /// The account's address for `kind`.
    pub fn url(&self, kind: CallbackKind) -> String {
        format!(
            "{}/callbacks/{}/{kind}",
            self.base.as_str().trim_end_matches('/'),
            self.token
        )
    }

    /// The address for `kind` that names one payment, so that news of it is matched even if the answer to our call,
    /// and with it every id of the provider's, got lost.
    pub fn url_of(&self, kind: CallbackKind, transaction_id: TransactionId) -> String {
        format!("{}/{transaction_id}", self.url(kind))
    }

    /// The same for a question about balances.
    pub fn url_of_enquiry(&self, kind: CallbackKind, enquiry_id: EnquiryId) -> String {
        format!("{}/{enquiry_id}", self.url(kind))
    }
}

/// A prompt on the customer's phone.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Our id: names the payment in callback paths.
    pub transaction_id: TransactionId,
    /// Who shall pay.
    pub msisdn: Msisdn,
    /// How much, in minor units.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// What the payer sees as reference.
    pub reference: Option<String>,
    /// What the payer sees as description.
    pub description: Option<String>,
    /// M-Pesa: `CustomerPayBillOnline` or `CustomerBuyGoodsOnline`; by the account's till number unless told.
    pub transaction_type: Option<String>,
    /// The ids we chose ourselves and committed before this call (ClickPesa's order reference).
    pub ids: ProviderIds,
    /// Where news shall go.
    pub callbacks: CallbackBase,
}

/// Why money is paid out; decides M-Pesa's CommandID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Money given back.
    Refund,
    /// Any other payment.
    Payout,
    /// Wages.
    Salary,
    /// Extra wages.
    Bonus,
    /// A promotion's prize.
    Promotion,
}

impl Purpose {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::Refund,
        Self::Payout,
        Self::Salary,
        Self::Bonus,
        Self::Promotion,
    ];

    /// The word in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Payout => "payout",
            Self::Salary => "salary",
            Self::Bonus => "bonus",
            Self::Promotion => "promotion",
        }
    }
}

/// Not a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one of refund, payout, salary, bonus, promotion")]
pub struct PurposeError;

impl std::str::FromStr for Purpose {
    type Err = PurposeError;

    fn from_str(text: &str) -> Result<Self, PurposeError> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or(PurposeError)
    }
}

/// Money to a customer.
#[derive(Debug, Clone)]
pub struct PayOut {
    /// Our id: names the payment in callback paths.
    pub transaction_id: TransactionId,
    /// Who gets it.
    pub msisdn: Msisdn,
    /// How much, in minor units.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// What for.
    pub purpose: Purpose,
    /// A remark the provider keeps.
    pub remarks: Option<String>,
    /// The occasion, if told.
    pub occasion: Option<String>,
    /// The ids we chose ourselves and committed before this call: M-Pesa's OriginatorConversationID, ClickPesa's order
    /// reference. They are what keeps a repeat from paying twice.
    pub ids: ProviderIds,
    /// Where news shall go.
    pub callbacks: CallbackBase,
}

/// A payment to be taken back.
#[derive(Debug, Clone)]
pub struct ReversalRequest {
    /// Our id of the reversal.
    pub transaction_id: TransactionId,
    /// The receipt of what is taken back.
    pub receipt: String,
    /// How much was paid, in minor units: M-Pesa reverses whole payments only.
    pub amount: Amount,
    /// A remark the provider keeps.
    pub remarks: Option<String>,
    /// Where news shall go.
    pub callbacks: CallbackBase,
}

/// A question about one payment.
#[derive(Debug, Clone)]
pub struct Question {
    /// Our id: names the payment in callback paths.
    pub transaction_id: TransactionId,
    /// What it is.
    pub kind: Kind,
    /// The provider's ids, as far as known.
    pub ids: ProviderIds,
    /// Its receipt, where known.
    pub receipt: Option<String>,
    /// Where an answer shall go that comes later.
    pub callbacks: CallbackBase,
}

impl Question {
    /// About `transaction`, by all that is known of it.
    pub fn about(transaction: &Transaction, callbacks: CallbackBase) -> Self {
        Self {
            transaction_id: transaction.id,
            kind: transaction.kind,
            ids: transaction.ids.clone(),
            receipt: transaction.receipt.clone(),
            callbacks,
        }
    }
}

/// One account at one provider, over its HTTP API. Calls carry their own time limits and never repeat a money call
/// except after an answer that says the token was refused before anything was done.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Which provider this is.
    fn provider(&self) -> Provider;

    /// The ids we choose ourselves for a payment of ours, to be committed before the call.
    fn own_ids(&self, kind: Kind, transaction_id: TransactionId) -> ProviderIds;

    /// Asks the customer to pay.
    async fn collect(&self, request: &Collection) -> Result<Outcome, Unsupported>;

    /// Says what [`Self::collect`] would do and cost.
    async fn preview_collection(&self, request: &Collection) -> Result<Reply, Unsupported>;

    /// Pays a customer.
    async fn pay_out(&self, request: &PayOut) -> Result<Outcome, Unsupported>;

    /// Says what [`Self::pay_out`] would do and cost.
    async fn preview_pay_out(&self, request: &PayOut) -> Result<Reply, Unsupported>;

    /// Takes a payment back.
    async fn reverse(&self, request: &ReversalRequest) -> Result<Outcome, Unsupported>;

    /// Asks where a payment stands.
    async fn query(&self, question: &Question) -> Result<Answer, Unsupported>;

    /// Asks what is on the account; an answer that is posted later names the question.
    async fn balance(
        &self,
        callbacks: &CallbackBase,
        enquiry_id: EnquiryId,
    ) -> Result<BalanceAnswer, Unsupported>;

    /// Tells the provider where to post payments that nobody started here (M-Pesa C2B).
    async fn register_callbacks(&self, callbacks: &CallbackBase) -> Result<Reply, Unsupported>;

    /// Fetches a token with the account's credentials, whatever is cached.
    ///
    /// # Errors
    /// The provider's words, or why there are none.
    async fn check_credentials(&self) -> Result<(), TokenError>;
}

/// What a client is made of.
pub struct Setup<'a> {
    /// The account, its public facts.
    pub account: &'a Account,
    /// Its credentials, opened.
    pub credentials: &'a serde_json::Map<String, serde_json::Value>,
    /// Another address than the environment's own, from the settings (a simulator); the account's own `base_url` comes
    /// before it.
    pub base_url: Option<&'a Url>,
    /// The HTTP client, shared by all.
    pub http: HttpClient,
    /// The clock: tokens end, and Daraja's passwords carry the time.
    pub clock: Arc<dyn Clock>,
    /// Where other processes find the account's token; without it the token is this client's own.
    pub tokens: Option<Arc<dyn TokenHome>>,
}

/// A key of an account's credentials that cannot be used; never quotes its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {message}")]
pub struct CredentialsError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it and what is accepted.
    pub message: String,
}
