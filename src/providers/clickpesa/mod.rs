//! ClickPesa, Tanzania.

pub mod callback;
pub mod checksum;
pub mod client;
mod credentials;
mod error;
mod message;
mod order_reference;
pub mod status_word;

use std::sync::Arc;

use super::Folder;

/// This folder, for its neighbours.
pub(super) const FOLDER: Folder = Folder {
    parse: |_, path_transaction_id, body| callback::parse(path_transaction_id, body),
    secret_fields: callback::SECRET_FIELDS,
    connect: |setup| Ok(Arc::new(client::Client::open(setup)?)),
    check_credentials: credentials::check,
    required_keys: &["environment", "client_id", "api_key"],
    optional_keys: &["checksum_key", "base_url"],
};
