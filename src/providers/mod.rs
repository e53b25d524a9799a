//! Foreign words in, our own words out: what Safaricom M-Pesa (Daraja) and ClickPesa post to us becomes `News`, pure and
//! without a panic whatever the bytes are; and our intent in, a foreign call out (`payment_provider`). Who may post, and
//! what comes of the news, is for others to say.

mod amount;
pub mod answer;
pub mod catalogue;
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

use serde_json::{Map, Value};

use crate::domain::identity::TransactionId;
use crate::domain::status_update::{CallbackKind, News};
use crate::domain::transaction::Provider;
use payment_provider::{CredentialsError, PaymentProvider, Setup};

/// What this room's neighbours ask of a provider's folder. A new provider is a folder with one of these, and a line in
/// [`folder`].
pub struct Folder {
    parse: fn(CallbackKind, Option<TransactionId>, &[u8]) -> News,
    secret_fields: &'static [&'static str],
    connect: fn(Setup<'_>) -> Result<Arc<dyn PaymentProvider>, CredentialsError>,
    check_credentials: fn(&Map<String, Value>) -> Result<(), CredentialsError>,
    /// The keys of its credentials: required.
    pub required_keys: &'static [&'static str],
    /// The keys of its credentials: optional.
    pub optional_keys: &'static [&'static str],
}

/// The folder of a provider.
pub fn folder(provider: Provider) -> &'static Folder {
    match provider {
        Provider::Mpesa => &mpesa::FOLDER,
        Provider::Clickpesa => &clickpesa::FOLDER,
    }
}

/// A client for an account at its provider.
///
/// # Errors
/// The first key of the account's credentials that cannot be used.
pub fn connect(setup: Setup<'_>) -> Result<Arc<dyn PaymentProvider>, CredentialsError> {
    (folder(setup.account.provider).connect)(setup)
}

/// Whether an account with these credentials could be used.
///
/// # Errors
/// The first key that cannot be used, and what is accepted.
pub fn check_credentials(
    provider: Provider,
    credentials: &Map<String, Value>,
) -> Result<(), CredentialsError> {
    (folder(provider).check_credentials)(credentials)
}

/// What a callback's body says. `path_transaction_id` is our own id, if the callback's path carries one.
pub fn parse_callback(
    kind: CallbackKind,
    path_transaction_id: Option<TransactionId>,
    body: &[u8],
) -> News {
    (folder(kind.provider()).parse)(kind, path_transaction_id, body)
}

/// The body as it may be stored: byte for byte the same, except that the values of the provider's secret fields
/// are replaced. A queue timeout may echo our request with its SecurityCredential.
pub fn redact(kind: CallbackKind, body: &[u8]) -> Vec<u8> {
    redaction::redact(body, folder(kind.provider()).secret_fields)
}
