//! What came of a call, in the words of the seam: taken, refused, or nobody knows. Told apart strictly, for a refused
//! payment may be made again and an unknown one never.

use serde_json::Value;

use super::error::{self, Failure, Meaning};
use crate::domain::transaction::ProviderIds;
use crate::providers::answer::{Acceptance, Answer, NoAnswer, Outcome, Refusal, TokenError};
use crate::providers::client::Heard;

/// Why a call has no answer to read.
pub(super) enum Trouble {
    /// Daraja's own error.
    Failed(Failure),
    Silent(NoAnswer),
    /// There is no token, so nothing was sent.
    NoToken(TokenError),
}

/// What came of a call that moves money. `ids` are the ones we sent.
pub(super) fn of_money(submitted: Result<Acceptance, Trouble>, ids: ProviderIds) -> Outcome {
    match submitted {
        Ok(mut acceptance) => {
            // What we committed stays, whatever the answer echoes.
            if ids.originator_conversation_id.is_some() {
                acceptance.ids.originator_conversation_id = ids.originator_conversation_id;
            }
            Outcome::Accepted(Box::new(acceptance))
        }
        // The first request with our id was taken, and its result will come.
        Err(Trouble::Failed(failure)) if failure.meaning == Meaning::AlreadySubmitted => {
            Outcome::Accepted(Box::new(Acceptance {
                ids,
                code: failure.code,
                description: Some(failure.message),
                ..Acceptance::default()
            }))
        }
        // Without a token nothing was sent, whatever the reason: the payment need not hang.
        Err(Trouble::NoToken(TokenError::Unknown(silence))) => Outcome::Refused(Refusal {
            code: None,
            message: format!("no access token: {}", silence.reason),
            http_status: silence.http_status,
            retryable: true,
            throttled: false,
        }),
        Err(trouble) => match refused_or_silent(trouble) {
            Ok(refusal) => Outcome::Refused(refusal),
            Err(silence) => Outcome::Unknown(silence),
        },
    }
}

/// What came of a question that was not taken.
pub(super) fn of_question(trouble: Trouble) -> Answer {
    match trouble {
        Trouble::Failed(failure) if failure.meaning == Meaning::NotVisible => {
            Answer::Nothing(failure.refusal())
        }
        trouble => match refused_or_silent(trouble) {
            Ok(refusal) => Answer::Nothing(refusal),
            Err(silence) => Answer::Unknown(silence),
        },
    }
}

pub(super) fn refused_or_silent(trouble: Trouble) -> Result<Refusal, NoAnswer> {
    match trouble {
        Trouble::Failed(failure) => match failure.meaning {
            Meaning::Rejected
            | Meaning::TokenRefused
            | Meaning::SubscriberBusy
            | Meaning::Throttled => Ok(failure.refusal()),
            Meaning::StillOpen
            | Meaning::NotVisible
            | Meaning::AlreadySubmitted
            | Meaning::Unknown => Err(failure.no_answer()),
        },
        Trouble::Silent(silence) => Err(silence),
        Trouble::NoToken(TokenError::Refused(refusal)) => Ok(Refusal {
            message: format!("no access token: {}", refusal.message),
            ..refusal
        }),
        // Nothing was sent, but why not is not known either.
        Trouble::NoToken(TokenError::Unknown(silence)) => Err(NoAnswer {
            reason: format!("no access token: {}", silence.reason),
            ..silence
        }),
    }
}

/// The error in an answer, if it is one.
pub(super) fn failure(call: error::Call, heard: &Heard, body: Option<&Value>) -> Option<Failure> {
    body.and_then(|body| Failure::read(call, heard.status, body))
        .or_else(|| (heard.status == 429).then(Failure::too_many_requests))
}

/// The body of a token answer. Nothing was asked but a token, so that every refusal is one.
pub(super) fn read_token_answer(heard: &Heard) -> Result<Value, TokenError> {
    let body = heard.json();
    match failure(error::Call::Money, heard, body.as_ref().ok()) {
        Some(failure) if failure.meaning == Meaning::Unknown && heard.status >= 500 => {
            Err(TokenError::Unknown(failure.no_answer()))
        }
        Some(failure) => Err(TokenError::Refused(failure.refusal())),
        // Wrong keys are answered without a body.
        None if (400..500).contains(&heard.status) && heard.status != 408 => {
            Err(TokenError::Refused(Refusal {
                http_status: Some(heard.status),
                ..wordless(
                    "M-Pesa gives no token: consumer_key or consumer_secret is wrong, or of the \
                     other environment",
                )
            }))
        }
        None if !(200..300).contains(&heard.status) => {
            Err(TokenError::Unknown(unusable(heard, "without a token")))
        }
        None => body.map_err(TokenError::Unknown),
    }
}

/// An answer that cannot be what was asked for.
pub(super) fn unusable(heard: &Heard, what: &str) -> NoAnswer {
    NoAnswer {
        reason: format!("HTTP {} {what}", heard.status),
        http_status: Some(heard.status),
        is_down: heard.status >= 500,
    }
}

/// A refusal of our own: nothing was sent, or the answer has no words.
pub(super) fn wordless(reason: impl Into<String>) -> Refusal {
    Refusal {
        code: None,
        message: reason.into(),
        http_status: None,
        retryable: false,
        throttled: false,
    }
}
