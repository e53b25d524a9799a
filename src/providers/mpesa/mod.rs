//! Safaricom M-Pesa (Daraja), Kenya.

mod balance;
pub mod c2b;
pub mod callback;
mod certificate;
pub mod client;
pub mod credential;
mod error;
mod message;
mod outcome;
mod parameters;
pub mod result_code;
mod time;

use std::sync::Arc;

use super::Folder;

/// This folder, for its neighbours.
pub(super) const FOLDER: Folder = Folder {
    parse: callback::parse,
    secret_fields: callback::SECRET_FIELDS,
    connect: |setup| Ok(Arc::new(client::Client::open(setup)?)),
    check_credentials: credential::check,
    required_keys: &[
        "environment",
        "shortcode",
        "consumer_key",
        "consumer_secret",
    ],
    optional_keys: &[
        "passkey",
        "initiator_name",
        "initiator_password",
        "certificate",
        "till_number",
        "b2c_version",
        "base_url",
    ],
};
