//! One question: whom to ask, the asking with its time limit, and what the answer is to the ledger and to the pace.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::pace::Sign;
use crate::domain::asking::AskSchedule;
use crate::domain::clock::Instant;
use crate::domain::identity::AccountId;
use crate::domain::ledger::Word;
use crate::domain::transaction::Transaction;
use crate::providers::answer::{Answer, NoAnswer, Refusal};
use crate::providers::payment_provider::{CallbackBase, PaymentProvider, Question};
use crate::store::StoreError;

/// How long a question may take in all, a new token and a repeat included; then it counts as not answered.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// An account that can be asked through.
#[derive(Clone)]
pub struct Line {
    /// The account.
    pub account_id: AccountId,
    /// Its client.
    pub client: Arc<dyn PaymentProvider>,
    /// Where answers shall go that come later.
    pub callbacks: CallbackBase,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum NoLine {
    /// No account, several, or one whose credentials cannot be used.
    #[error("{0}")]
    Impossible(String),
    /// The database could not be asked for it.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
}

/// Finds the account to ask about a transaction through: its own, else its partner's only one at the provider.
#[async_trait]
pub trait Lines: Send + Sync + 'static {
    /// The line for `transaction`.
    ///
    /// # Errors
    /// Why there is none.
    async fn find_line(&self, transaction: &Transaction) -> Result<Line, NoLine>;
}

/// Asks, once.
pub async fn ask(line: Line, transaction: &Transaction) -> Answer {
    let question = Question::about(transaction, line.callbacks.clone());
    match tokio::time::timeout(QUESTION_TIMEOUT, line.client.query(&question)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(unsupported)) => Answer::Impossible(unsupported.to_string()),
        Err(_) => Answer::Unknown(NoAnswer {
            reason: "no answer in time".to_owned(),
            http_status: None,
            is_down: true,
        }),
    }
}

/// What an answer says about the provider.
pub fn sign(answer: &Answer) -> Sign {
    match answer {
        Answer::Nothing(Refusal {
            throttled: true, ..
        }) => Sign::Throttled,
        Answer::News(_) | Answer::Asked { .. } | Answer::Nothing(_) => Sign::Good,
        Answer::Unknown(silence) if silence.is_down => Sign::Down,
        Answer::Unknown(_) | Answer::Impossible(_) => Sign::None,
    }
}

/// The word for metrics.
pub fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::News(_) => "news",
        Answer::Asked { .. } => "asked",
        Answer::Nothing(refusal) if refusal.throttled => "throttled",
        Answer::Nothing(_) => "nothing",
        Answer::Unknown(_) => "unknown",
        Answer::Impossible(_) => "impossible",
    }
}

/// What an answer is to the ledger. A failure that may be overturned is asked about once: that is, until a question
/// was taken, or none can be put. A provider that answered "too much" or something unreadable has not taken it, and
/// M-Pesa says at random that it knows nothing of ids it knows (PROVIDERS 1.4).
pub fn word(
    answer: Answer,
    transaction: &Transaction,
    schedule: &AskSchedule,
    now: Instant,
) -> Word {
    let ask_again_at = schedule.next(transaction.updated_at, now);
    match answer {
        Answer::News(update) => Word::News {
            update,
            ask_again_at,
        },
        Answer::Asked { .. } | Answer::Impossible(_) => Word::NoNews {
            ask_again_at,
            was_heard: true,
        },
        Answer::Nothing(_) | Answer::Unknown(_) => Word::NoNews {
            ask_again_at,
            was_heard: false,
        },
    }
}
