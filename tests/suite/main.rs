//! The tests that need more than one room: the store's contract on both databases, and the rules of the house.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test that is surprised must stop, loudly"
)]

#[macro_use]
mod support;

mod api;
mod commands;
mod commands_webhook;
mod console;
mod deployment;
mod doctor;
mod fuzz;
mod house_rules;
mod instances;
mod kill;
mod kill_delivery;
mod outage;
mod outage_full_disk;
mod providers;
mod reconciliation;
mod slow_clients;
mod statements;
mod store;
mod storm;
