//! What a provider says, in our words: to an order, to a question, or nothing that we could understand.

use crate::domain::status_update::{Balance, StatusUpdate};
use crate::domain::transaction::ProviderIds;

/// What came of a call that moves money.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider has it.
    Accepted(Box<Acceptance>),
    /// The provider refused; nothing was sent.
    Refused(Refusal),
    /// Nobody knows: no answer, a 5xx, a broken connection, a body that is not what it should be. The payment may have
    /// been made; only a question or a callback can tell. Never to be sent again.
    Unknown(NoAnswer),
}

/// The provider's words on taking a payment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Acceptance {
    /// The ids it gave.
    pub ids: ProviderIds,
    /// STK's MerchantRequestID.
    pub merchant_request_id: Option<String>,
    /// Its code for the acceptance (`0`).
    pub code: Option<String>,
    /// Its sentence.
    pub description: Option<String>,
    /// Its sentence for the customer.
    pub customer_message: Option<String>,
    /// Set if the answer tells where the payment stands already (ClickPesa).
    pub update: Option<StatusUpdate>,
    /// The provider's own answer, for those who are given it as it is (ClickPesa's shape).
    pub body: Option<serde_json::Value>,
}

/// The provider's words on refusing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its code, where it has codes.
    pub code: Option<String>,
    /// Its sentence, or ours where it has none.
    pub message: String,
    /// The HTTP status it came with.
    pub http_status: Option<u16>,
    /// Whether the same request may succeed later, as a new payment: throttled, busy subscriber, no float.
    pub retryable: bool,
    /// Whether it was refused because we ask too much (500.003.02, 500.003.03, 429).
    pub throttled: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// For the timeline and the log: no secrets, no numbers.
    pub reason: String,
    /// The HTTP status, if there was one.
    pub http_status: Option<u16>,
    /// Whether the provider could not be reached or failed inside, as a circuit breaker counts it.
    pub is_down: bool,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It said where the payment stands.
    News(Box<StatusUpdate>),
    /// It took the question and will post the answer to the callback path.
    Asked {
        /// The id of the question, for the log and the caller.
        ids: ProviderIds,
        /// Its code (`0`).
        code: Option<String>,
        /// Its sentence.
        description: Option<String>,
    },
    /// It says nothing about the payment (not visible yet, or a failed question).
    Nothing(Refusal),
    /// No answer.
    Unknown(NoAnswer),
    /// There is nothing to ask by: no id that this provider's queries take, or no credentials for it.
    Impossible(String),
}

/// What came of asking for balances.
#[derive(Debug, Clone, PartialEq)]
pub enum BalanceAnswer {
    /// Said at once.
    Balances(Vec<Balance>),
    /// Will be posted to the callback path.
    Asked(Box<Acceptance>),
    /// Refused.
    Refused(Refusal),
    /// No answer.
    Unknown(NoAnswer),
}

/// What a provider cannot do, by the name of the thing: "IPN registration", "reversal".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} not supported by this provider")]
pub struct Unsupported(pub &'static str);

/// A call that only passes words on: previews, registering callback addresses.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Its answer.
    Body(serde_json::Value),
    /// Refused.
    Refused(Refusal),
    /// No answer.
    Unknown(NoAnswer),
}

/// Why there is no access token; nothing was sent then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// The credentials were refused.
    Refused(Refusal),
    /// No answer.
    Unknown(NoAnswer),
}
