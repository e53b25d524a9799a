//! The store's contract: whatever it promises, it promises on both databases.

mod console;
mod deliveries;
mod feed;
mod listing;
mod migrations;
mod notices;
mod orders;
mod plans;
mod races;
mod records;
mod registering;
mod replay;
mod statistics;
mod stories;
mod unclaimed;
