//! Safaricom M-Pesa (Daraja), Kenya.

mod balance;
pub mod c2b;
pub mod callback;
mod parameters;
pub mod result_code;
mod time;
