//! Why a payment was not made, as the caller is told.

use crate::domain::ledger::Refusal as LedgerRefusal;
use crate::domain::payment::CallAnswer;
use crate::domain::status::Status;
use crate::http::error::{ApiError, Words};
use crate::http::transactions::refused;
use crate::payments::accounts::AccountError;
use crate::payments::{PayError, Settled};
use crate::providers::answer::{NoAnswer, Refusal};

impl From<PayError> for ApiError {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Account(error) => error.into(),
            // "reversal not supported by this provider"
            PayError::Unsupported(unsupported) => Self {
                text: unsupported.to_string(),
                ..Self::field("kind", unsupported.to_string())
            },
            PayError::Refused(LedgerRefusal::Held {
                field,
                transaction_id,
            }) => Self::conflict(
                field.as_str(),
                format!("is already used by transaction {transaction_id}"),
            ),
            PayError::Refused(refusal) => refused(refusal),
            PayError::OtherOrder(id) => Self::conflict(
                "client_request_id",
                format!("was used before for another order, by transaction {id}"),
            ),
            PayError::OnlyRegistered(id) => Self::conflict(
                "client_request_id",
                format!("was used before by transaction {id}, which another system started"),
            ),
            PayError::Store(error) => error.into(),
            PayError::Lost => Self::server(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown(id) => Self::field(
                "account_id",
                format!("is {id}; this partner has no such account at this provider"),
            ),
            AccountError::None(provider) => Self::field(
                "provider",
                format!("is {provider}; this partner has no account there"),
            ),
            AccountError::Several(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                Self::field(
                    "account_id",
                    format!(
                        "is required, for there are several accounts; accepted are {}",
                        ids.join(", ")
                    ),
                )
            }
            AccountError::Unusable { .. } => {
                let mut refused = Self::provider(
                    "the account's credentials cannot be used",
                    Words {
                        code: None,
                        retryable: false,
                        safe_to_retry: true,
                        transaction_id: None,
                    },
                );
                refused.cause = Some(error.to_string().into());
                refused
            }
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for ApiError {
    /// Of a question or another call that moves no money.
    fn from(refusal: Refusal) -> Self {
        Self::provider(
            &refusal.message,
            Words {
                code: refusal.code,
                retryable: refusal.retryable,
                safe_to_retry: true,
                transaction_id: None,
            },
        )
    }
}

impl From<NoAnswer> for ApiError {
    /// Of a question or another call that moves no money.
    fn from(silence: NoAnswer) -> Self {
        let words = Words {
            code: None,
            retryable: true,
            safe_to_retry: true,
            transaction_id: None,
        };
        Self {
            text: "The provider gave no answer".to_owned(),
            ..Self::provider(&silence.reason, words)
        }
    }
}

/// The payment, unless the provider refused it; a repeat of a refused payment is told the same again.
///
/// # Errors
/// PROVIDER_1001.
pub fn unless_refused(settled: Settled) -> Result<Settled, ApiError> {
    match &settled.answer {
        Some(CallAnswer::Refused {
            code,
            message,
            is_retryable,
        }) if settled.transaction.status == Status::Failed => Err(ApiError::provider(
            message,
            Words {
                code: code.clone(),
                retryable: *is_retryable,
                safe_to_retry: true,
                transaction_id: Some(settled.transaction.id.to_string()),
            },
        )),
        _ => Ok(settled),
    }
}
