//! ClickPesa, Tanzania.

pub mod callback;
pub mod checksum;
pub mod client;
mod credentials;
mod error;
mod message;
mod order_reference;
pub mod status_word;
