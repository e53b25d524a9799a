//! Foreign words in, our own words out: what Safaricom M-Pesa (Daraja) and ClickPesa post to us becomes `News`.
//! Pure: no I/O, no clock, and no panic whatever the bytes are. Who may post, and what comes of the news, is for
//! others to say.

mod amount;
pub mod clickpesa;
pub mod client;
mod json;
pub mod mpesa;
mod payer;
pub mod payment_provider;
mod redaction;
pub mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::domain::identity::TransactionId;
use crate::domain::status_update::{CallbackKind, News};
use crate::domain::transaction::Provider;
use payment_provider::{CredentialsError, PaymentProvider, Setup};

/// A client for an account at its provider; the only place that tells one provider from another to call it.
///
/// # Errors
/// The first key of the account's credentials that cannot be used.
pub fn connect(setup: Setup<'_>) -> Result<Arc<dyn PaymentProvider>, CredentialsError> {
    Ok(match setup.account.provider {
        Provider::Mpesa => Arc::new(mpesa::client::Client::open(setup)?),
        Provider::Clickpesa => Arc::new(clickpesa::client::Client::open(setup)?),
    })
}

/// What a callback's body says. `path_transaction_id` is our own id, if the callback's path carries one.
pub fn parse_callback(
    kind: CallbackKind,
    path_transaction_id: Option<TransactionId>,
    body: &[u8],
) -> News {
    match kind.provider() {
        Provider::Mpesa => mpesa::callback::parse(kind, path_transaction_id, body),
        Provider::Clickpesa => clickpesa::callback::parse(path_transaction_id, body),
    }
}

/// The body as it may be stored: byte for byte the same, except that the values of the provider's secret fields
/// are replaced. A queue timeout may echo our request with its SecurityCredential.
pub fn redact(kind: CallbackKind, body: &[u8]) -> Vec<u8> {
    let secret_fields = match kind.provider() {
        Provider::Mpesa => mpesa::callback::SECRET_FIELDS,
        Provider::Clickpesa => clickpesa::callback::SECRET_FIELDS,
    };
    redaction::redact(body, secret_fields)
}
