//! The errors Daraja answers at once, by errorCode and text: one code (500.001.1001) has at least seven meanings, and
//! the HTTP status is not always the one the code begins with. A text that is not here is unknown, never guessed.

use serde_json::Value;

use crate::domain::msisdn::Msisdn;
use crate::providers::answer::{NoAnswer, Refusal};
use crate::providers::json;

/// What kind of call an error answers: the same words mean different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// STK push, B2C, reversal; and fetching a token.
    Money,
    /// STK query.
    StkQuery,
    /// Balance, transaction status.
    Question,
    /// C2B URL registration.
    Registration,
}

/// What an error says of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Refused for good: the request, the configuration or a missing permission. Nothing was sent.
    Rejected,
    /// The token is not accepted (any more). Refused before acting.
    TokenRefused,
    /// Another prompt is open on that phone. Nothing was sent; later it may be.
    SubscriberBusy,
    /// We ask too much. Refused before acting.
    Throttled,
    /// STK query: the prompt is still open.
    StillOpen,
    /// STK query: no answer, which says nothing about the payment.
    NotVisible,
    /// The first request with this OriginatorConversationID was taken.
    AlreadySubmitted,
    /// Nobody knows.
    Unknown,
}

/// What the text must be for a row to hold.
enum Text {
    Any,
    Empty,
    /// Contains this, whatever the case.
    Says(&'static str),
}

struct Row {
    /// Any code where empty.
    codes: &'static [&'static str],
    text: Text,
    /// Any call where empty.
    calls: &'static [Call],
    meaning: Meaning,
}

const fn row(
    codes: &'static [&'static str],
    text: Text,
    calls: &'static [Call],
    meaning: Meaning,
) -> Row {
    Row {
        codes,
        text,
        calls,
        meaning,
    }
}

/// The first row that holds counts. Sources: the error tables of Safaricom's portal; the throttling codes, the
/// authorisation code of B2C v3 and the empty text as developers reported them.
const TABLE: &[Row] = &[
    row(
        &[
            "401.002.01",
            "404.001.03",
            "400.003.01",
            "401.003.01",
            "401.001",
        ],
        Text::Any,
        &[],
        Meaning::TokenRefused,
    ),
    row(
        &["400.002.02", "400.002.05", "400.003.02"],
        Text::Any,
        &[],
        Meaning::Rejected,
    ),
    // Of the token's own endpoint: authentication type, grant type. And no Authorization header at all.
    row(
        &["400.008.01", "400.008.02", "404.001.04"],
        Text::Any,
        &[],
        Meaning::Rejected,
    ),
    row(&["403.002.1001"], Text::Any, &[], Meaning::Rejected),
    row(
        &["404.001.01", "404.002.01", "404.003.01", "405.001"],
        Text::Any,
        &[],
        Meaning::Rejected,
    ),
    row(
        &["500.001.1001"],
        Text::Says("merchant does not exist"),
        &[],
        Meaning::Rejected,
    ),
    row(
        &["500.001.1001"],
        Text::Says("wrong credentials"),
        &[],
        Meaning::Rejected,
    ),
    row(
        &["500.001.1001"],
        Text::Says("unable to lock subscriber"),
        &[Call::Money],
        Meaning::SubscriberBusy,
    ),
    row(
        &["500.001.1001"],
        Text::Says("being processed"),
        &[Call::StkQuery],
        Meaning::StillOpen,
    ),
    // Also answered at random for ids that M-Pesa knows.
    row(
        &["500.001.1001"],
        Text::Says("transaction does not exist"),
        &[Call::StkQuery],
        Meaning::NotVisible,
    ),
    row(
        &["500.001.1001"],
        Text::Empty,
        &[Call::StkQuery],
        Meaning::NotVisible,
    ),
    row(
        &["500.002.1001"],
        Text::Says("duplicate originatorconversationid"),
        &[Call::Money],
        Meaning::AlreadySubmitted,
    ),
    row(
        &["500.003.02", "500.003.03"],
        Text::Any,
        &[],
        Meaning::Throttled,
    ),
    // "Urls are already registered", "Duplicate notification info": nothing that asking again would change.
    row(
        &["500.003.1001"],
        Text::Any,
        &[Call::Registration],
        Meaning::Rejected,
    ),
    // The app at the portal has no such product.
    row(
        &[],
        Text::Says("no apiproduct match found"),
        &[],
        Meaning::Rejected,
    ),
];

impl Row {
    fn holds(&self, call: Call, code: Option<&str>, text: &str) -> bool {
        (self.codes.is_empty() || code.is_some_and(|code| self.codes.contains(&code)))
            && (self.calls.is_empty() || self.calls.contains(&call))
            && match self.text {
                Text::Any => true,
                Text::Empty => text.is_empty(),
                Text::Says(words) => text.to_ascii_lowercase().contains(words),
            }
    }
}

/// What an error says of `call`.
pub(super) fn meaning(call: Call, code: Option<&str>, text: &str) -> Meaning {
    TABLE
        .iter()
        .find(|row| row.holds(call, code, text))
        .map_or(Meaning::Unknown, |row| row.meaning)
}

/// An error as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) meaning: Meaning,
    pub(super) code: Option<String>,
    /// Fit for logs and timelines.
    pub(super) message: String,
    pub(super) http_status: u16,
}

impl Failure {
    /// The error in an answer to `call`, if it is one: Daraja's envelope, or the `fault` of the gateway before it.
    pub(super) fn read(call: Call, http_status: u16, body: &Value) -> Option<Self> {
        let fault = json::member(body, "fault");
        let code = json::field(body, "errorCode").and_then(json::id);
        if code.is_none() && json::member(body, "errorMessage").is_none() && fault.is_none() {
            return None;
        }
        let text = json::field(body, "errorMessage")
            .or_else(|| json::field(fault?, "faultstring"))
            .unwrap_or_default();
        let meaning = match meaning(call, code.as_deref(), &text) {
            Meaning::Unknown if http_status == 429 => Meaning::Throttled,
            known => known,
        };
        Some(Self {
            meaning,
            message: match meaning {
                // Its own sentence quotes the token.
                Meaning::TokenRefused => "M-Pesa does not accept the access token".to_owned(),
                _ => without_numbers(json::sentence(text)),
            },
            code,
            http_status,
        })
    }

    /// HTTP's own "too many requests", without an envelope.
    pub(super) fn too_many_requests() -> Self {
        Self {
            meaning: Meaning::Throttled,
            code: None,
            message: "too many requests".to_owned(),
            http_status: 429,
        }
    }

    pub(super) fn refusal(self) -> Refusal {
        let throttled = self.meaning == Meaning::Throttled;
        Refusal {
            retryable: throttled
                || matches!(
                    self.meaning,
                    Meaning::SubscriberBusy
                        | Meaning::TokenRefused
                        | Meaning::NotVisible
                        | Meaning::StillOpen
                ),
            throttled,
            message: self.sentence(),
            code: self.code,
            http_status: Some(self.http_status),
        }
    }

    /// An error that tells nothing is no answer.
    pub(super) fn no_answer(self) -> NoAnswer {
        let code = self.code.as_deref().unwrap_or("no error code");
        NoAnswer {
            reason: format!("HTTP {}, {code}: {}", self.http_status, self.sentence()),
            http_status: Some(self.http_status),
            is_down: self.http_status >= 500,
        }
    }

    fn sentence(&self) -> String {
        if self.message.is_empty() {
            "no reason given".to_owned()
        } else {
            self.message.clone()
        }
    }
}

/// The text with phone numbers masked.
fn without_numbers(text: String) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut masked = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(is_digit) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|c| !is_digit(c)).unwrap_or(tail.len());
        let (run, after) = tail.split_at(end);
        masked.push_str(before);
        match Msisdn::from_international(run) {
            Ok(msisdn) => masked.push_str(&msisdn.masked()),
            Err(_) => masked.push_str(run),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
