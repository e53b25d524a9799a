//! Work in progress.
//!
//! - `domain` is what a payment-status service *is*: pure, and imports nothing of ours.
//! - `providers` turns foreign words into the domain's: pure parsers of callbacks, result codes, checksums. It
//!   imports `domain`.

pub mod domain;
pub mod http;
pub mod ingest;
pub mod providers;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod vault;
