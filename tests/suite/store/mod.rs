//! The store's contract: whatever it promises, it promises on both databases.

mod backup;
mod console;
mod copy;
mod deliveries;
mod erasure;
mod feed;
mod listing;
mod migrations;
mod notices;
mod online_migrations;
mod orders;
mod plans;
mod races;
mod records;
mod registering;
mod rekey;
mod replay;
mod statistics;
mod stories;
mod unclaimed;
