//! Work in progress.
//!
//! - `domain` is what a payment-status service *is*: pure, and imports nothing of ours.
//! - `providers` turns foreign words into the domain's: pure parsers of callbacks, result codes, checksums. It
//!   imports `domain`.
//! - `webhooks` tells partners: leases due deliveries, signs, sends through the guarded client, records what came of
//!   it. It imports `domain`, `store` and `vault`.

pub mod domain;
pub mod providers;
pub mod store;
pub mod vault;
pub mod webhooks;
