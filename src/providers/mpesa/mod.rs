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
