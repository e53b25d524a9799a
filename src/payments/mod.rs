//! Starting payments: the accounts they go through.

pub mod accounts;
